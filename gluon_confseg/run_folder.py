"""The folder of a run. Only this code writes and checks the run's files, except those of the report.

They are config.json, log.jsonl, checkpoints/, confusion.npz, groups.json, results.json, tensorboard/ and others. A
killed run goes on from them, and every table and picture is computed from them. A damaged file is computed again where
this is possible, with a line that says so, and is an error of one sentence otherwise.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import io
import json
import os
import re
import time
import weakref
from pathlib import Path

import numpy as np

from . import checkpoint, compiled, event_files, files, limits, npz, runtime
from .errors import CheckpointError, DivergedError, RunError
from .predictions import Predictions
from .progress import Progress, say

# lists of a configuration whose entries have names: key of the list -> key of an entry's name
NAMED = {"phases": "name", "cells": "key"}
# settings of these entries that configurations of earlier versions lack, with the values that these versions had
LATER = {"phases": {"crops": "random", "others_weight": 1.0, "precision": "float32"}}
_UNFINISHED = re.compile(
    r"\..+\.(npz|json|jsonl|png|jpg|html|md|csv)\.\d+\.part"
)  # the names that `files.write_bytes` gives
WAY = ("phases", "threads", "at_once", "seconds_of_a_step")  # of an entry of threads.json
MADE_WITH = ("threads", "compiled")  # of the description of a state or a result
ALONE = "1 process"
DIVERGED = 4.0  # times the loss that a phase began at


@dataclasses.dataclass
class Position:
    """How far a phase is: epochs and batches done, images and sums of losses in this epoch. It is saved with a state.

    began    the mean loss of the phase's first batch
    best     the best validation mIoU so far
    loss_scale, clean_steps   of mixed precision: see `precision.LossScale`; states of earlier versions lack them
    """

    epoch: int = 0
    batch: int = 0
    images: int = 0
    sums: dict = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    began: float | None = None
    best: float | None = None
    loss_scale: float | None = None
    clean_steps: int = 0

    def add(self, batch_losses: dict, names, precision: str = "float32") -> float:
        """Count a batch's (N,) losses by name and return their mean.

        precision    what the network was computed in, for the advice
        DivergedError names the images if it is not finite.
        """
        total, batch_sums = 0.0, {}
        for name, loss in batch_losses.items():
            values = (loss if isinstance(loss, np.ndarray) else loss.asnumpy()).astype(np.float64)
            batch_sums[name] = float(values.sum())
            total += float(values.mean())
        if not np.isfinite(total):
            # float16 ends at 65504, which activations alone may exceed
            advice = ", or set precision=float32," if precision == "float16" else ""
            raise DivergedError(
                f"the loss is not finite on {', '.join(names)}: the last checkpoint is as it was; "
                f"look at these images, or lower the learning rate{advice} and start a new run"
            )
        for name, value in batch_sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.batch, self.images = self.batch + 1, self.images + len(names)
        self.began = total if self.began is None else self.began
        return total

    def means(self) -> dict:
        """Mean loss per image of this epoch so far, by subnet."""
        return {name: value / max(self.images, 1) for name, value in self.sums.items()}

    def diverged(self) -> bool:
        """Whether the epoch's mean loss is far above where the phase began."""
        return self.began is not None and sum(self.means().values()) > DIVERGED * self.began + 1

    def next_epoch(self) -> None:
        """Begin the next epoch."""
        self.epoch, self.batch, self.images, self.sums, self.seconds = self.epoch + 1, 0, 0, {}, 0.0


class RunFolder:
    """The files of one run. Opening an existing folder continues its run; if its settings differ, that is an error.

    A recipe may have gained or lost phases and cells, which are told apart by name.
    Raises RunError for a folder that can't be made or written to, that another process is working in, or that holds
    another run. This is checked before anything in the folder is changed.

    save_every    seconds between saved states of a phase
    tensorboard   write TensorBoard event files of each phase that is trained, which needs tensorboardX: RunError
                  without it
    sharing       how processes and devices share a training, in words, for the saved states
    """

    sharing = ALONE

    def __init__(self, path, config: dict, save_every: float = 30.0, *, tensorboard: bool = False):
        if tensorboard:
            event_files.check()
        self.path, self.save_every, self._saved = Path(path), save_every, time.monotonic()
        self.tensorboard, self._events = tensorboard, None
        self._known = {}  # training matrices that were read
        self._newest = {}  # phase -> the file of its last state
        self._lock = self._opened = None
        self.go_on(config)
        self._remove_unfinished()

    def go_on(self, config: dict) -> None:
        """Go on with a recipe that has gained or lost phases and cells. Raises RunError as opening the folder does."""
        given, config = config, json.loads(json.dumps(config))
        before = self._checked(config)
        try:
            (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
            self._lock = self._lock or _locked(self.path)
            self._opened = self._opened or _opened(self, self.path)
            before = before or self._checked(config)  # another process may have been first
            if before != config:
                files.write_json(self._here("config.json"), _with_lost(config, before or {}))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):  # another folder would not help
                raise
            raise RunError(
                f"{error.filename or self.path}: can't be made or written to ({error.strerror}); choose another "
                "folder with --out"
            ) from error
        self.config = given

    def _checked(self, config: dict) -> dict | None:
        """The configuration in the folder, or None; RunError if it is that of another run."""
        file = self.path / "config.json"
        trained = any(self.path.glob("checkpoints/*.npz"))
        if not file.exists() and trained:
            raise RunError(
                f"{file}: is missing, so nobody knows the settings of the networks in this run folder; put it back, or "
                "choose another folder with --out"
            )
        if not file.exists():
            return None
        before = read_json(file)
        try:
            differing = _differences(_by_name(before), _by_name(config))
        except (AttributeError, KeyError, TypeError) as error:
            raise RunError(
                f"{file}: is no run's configuration; choose another folder with --out, or delete the run folder"
            ) from error
        if differing:
            raise RunError(
                f"{self.path} holds a run with other settings ({'; '.join(differing[:3])}): "
                "choose another folder with --out, or delete that one"
            )
        return before

    def _remove_unfinished(self) -> None:
        """Remove files of this package that a kill left half written."""
        for folder in (
            self.path,
            self.path / "checkpoints",
            self.path / "pictures",
            self.path / "examples",
        ):
            for file in folder.glob(".*.part"):
                if _UNFINISHED.fullmatch(file.name):
                    file.unlink(missing_ok=True)

    def _here(self, name: str) -> Path:
        """The path of a file that is to be written. RunError where the folder is gone, or another one has its place.

        Otherwise the rest of a run would go into a new folder, without what was there before.
        """
        try:
            there = os.path.samestat(os.stat(self.path), os.fstat(self._opened))
        except OSError as error:
            there = error.errno not in (errno.ENOENT, errno.ESTALE, errno.ENOTDIR)
        if not there:
            raise RunError(
                f"{self.path}: this run folder was deleted, moved or replaced while the run was working in it, so "
                "nothing more is written there; put it back, and the same command goes on from its last saved state"
            )
        return self.path / name

    # ---- the log

    def log(self, record: dict) -> None:
        """Add one line to log.jsonl; it replaces a line of the same phase and epoch that a killed run left.

        The lines are in the order of the phases, also where two phases are trained at once.
        """
        kept = [r for r in self.logged() if (r["phase"], r["epoch"]) != (record["phase"], record["epoch"])]
        order = [phase["name"] for phase in self.config.get("phases", ())]
        place = {name: number for number, name in enumerate(order)}
        records = sorted([*kept, record], key=lambda r: place.get(r["phase"], len(place)))
        lines = [json.dumps(r) for r in records]
        files.write_bytes(self._here("log.jsonl"), ("\n".join(lines) + "\n").encode())

    def logged(self) -> list:
        """All records of log.jsonl."""
        return read_log(self.path / "log.jsonl")

    # ---- checkpoints

    def checkpoint(self, phase: str) -> Path:
        """Path of the checkpoint of a finished phase, whether it exists or not."""
        return self.path / "checkpoints" / f"{phase}.npz"

    def best(self, phase: str) -> Path:
        """Path of the checkpoint of a phase's best validation, whether it exists or not."""
        return self.path / "checkpoints" / f"{phase}.best.npz"

    def finished(self, phase: str) -> bool:
        """Whether a phase is finished. Raises CheckpointError if its checkpoint is damaged."""
        file = self.checkpoint(phase)
        if not file.exists():
            return False
        checkpoint.verify(file)
        self._drop_progress(phase)  # a kill right after the result was written can leave some
        return True

    def give_up(self, phase: str, why: str) -> None:
        """Note that a phase can't be trained to its end, with the reason, and drop its intermediate states and the
        scores of a validation, which are those of no finished network."""
        files.write_json(self._here(f"checkpoints/{phase}.given-up.json"), {"why": why})
        self._drop_progress(phase)
        for kept in ("evaluation", "predictions"):
            for file in (self.path / "checkpoints").glob(f"{phase}.*{kept}*.npz"):
                file.unlink(missing_ok=True)

    def given_up(self, phase: str) -> str:
        """Why a phase can't be trained to its end; "" where that is not known of it."""
        file = self._given_up(phase)
        return read_json(file).get("why", "") if file.exists() else ""

    def _given_up(self, phase: str) -> Path:
        return self.path / "checkpoints" / f"{phase}.given-up.json"

    def forget(self, name: str) -> None:
        """Remove a network that was made of other phases' ones, with its evaluations, so that it is made anew."""
        for file in (self.path / "checkpoints").glob(f"{name}.*"):
            file.unlink(missing_ok=True)

    def begun(self, phase: str) -> bool:
        """Whether anything of a phase is saved: its result, or a state to go on from."""
        return any(file.exists() for file in (self.checkpoint(phase), *self._progress(phase)))

    def threads(self, phase: str) -> int | None:
        """With how many threads a phase was trained so far, on which the last bits of its result depend.

        None where nothing is saved of it, or was saved by a version that did not note it.
        """
        states = []
        for file in (self.checkpoint(phase), *self._progress(phase)):
            with contextlib.suppress(CheckpointError):  # said by whoever needs the state itself
                meta = checkpoint.peek(file)[1]
                if file == self.checkpoint(phase):
                    return meta.get("threads")
                states.append((meta.get("epoch", 0), meta.get("batch", 0), meta.get("threads")))
        return max(states, key=lambda state: state[:2])[2] if states else None

    def made_with(self, phase: str) -> dict:
        """With how many threads a finished phase ended, and whether with the compiled operators.

        A value is None where an earlier version did not note it.
        """
        meta = checkpoint.peek(self.checkpoint(phase))[1]
        return {name: meta.get(name) for name in MADE_WITH}

    def resume(self, phase: str, network, trainer) -> Position:
        """Set network and momentum to the newest undamaged state of an unfinished phase, and return its position."""
        states = []
        for file in self._progress(phase):
            if file.exists():
                try:
                    arrays, meta = checkpoint.load(file)
                    wanted = {field.name for field in dataclasses.fields(Position)}
                    if not wanted - {"loss_scale", "clean_steps"} <= meta.keys():
                        raise CheckpointError(f"{file}: is no state of a phase that goes on")
                    states.append((meta["epoch"], meta["batch"], file, arrays, meta))
                except CheckpointError as error:
                    say(f"{error}; going on from the state before it")
        self._saved = time.monotonic()
        if not states:
            return Position()
        _, _, file, arrays, meta = max(states, key=lambda state: state[:2])
        self._newest[phase] = file
        checkpoint.restore_network(network, arrays, file)
        checkpoint.restore_trainer(trainer, trainer.names, arrays)
        was, now = meta.get("compiled", False), _made_with(network)["compiled"]
        if was != now and _on_cpu(network):
            say(
                f"{phase} began {'with' if was else 'without'} the compiled operators and goes on "
                f"{'with' if now else 'without'} them: its result differs from that of an uninterrupted run by rounding"
            )
        if meta.get("sharing", ALONE) != self.sharing:
            say(
                f"{phase} began with {meta.get('sharing', ALONE)} and goes on with {self.sharing}: images and crops "
                "come in the same order, but the result differs from that of an uninterrupted run by rounding, or by "
                "more where batch norms or the loss count over a batch"
            )
        return Position(**{f.name: meta[f.name] for f in dataclasses.fields(Position) if f.name in meta})

    def save(self, phase: str, at: Position, network, trainer) -> None:
        """Save all that the rest of a phase depends on, over the older of two files, so that one is always whole."""
        self._here("checkpoints")
        if self._events is not None:
            self._events.sync()  # or a run that goes on from this state would lack steps there
        arrays = checkpoint.network_arrays(network)
        arrays.update(checkpoint.trainer_arrays(trainer, trainer.names))
        if phase not in self._newest:
            self._newest[phase] = max(reversed(self._progress(phase)), key=_place)
        older = next(file for file in self._progress(phase) if file != self._newest[phase])
        meta = {"phase": phase, **dataclasses.asdict(at), **_made_with(network), "sharing": self.sharing}
        checkpoint.save(older, arrays, meta)
        self._newest[phase] = older
        self._saved = time.monotonic()

    def save_if_due(self, phase: str, at: Position, network, trainer) -> None:
        """`save` if `save_every` seconds have passed since the last time."""
        if time.monotonic() - self._saved >= self.save_every:
            self.save(phase, at, network, trainer)

    def save_best(self, phase: str, at: Position, network, about: dict, score: float) -> None:
        """Save the network in a file of its own if its validation is the best so far."""
        if at.best is None or score > at.best:
            meta = {
                **about,
                "phase": phase,
                "epoch": at.epoch + 1,
                "network": network.settings,
                "mean_iou": score,
            }
            self._here("checkpoints")
            checkpoint.save(self.best(phase), checkpoint.network_arrays(network), meta)
            at.best = score  # only when it is on the disk: a signal in between saves `at`

    def finish(self, phase: str, network, about: dict) -> None:
        """Save a phase's result and drop its intermediate states."""
        self._here("checkpoints")
        if self._events is not None:
            self._events.sync()
        meta = {**about, "phase": phase, "network": network.settings, **_made_with(network)}
        checkpoint.save(self.checkpoint(phase), checkpoint.network_arrays(network), meta)
        self._drop_progress(phase)

    def events(self, phase: str, steps: int, closed: int):
        """The `event_files.Events` of a phase, which is the only one that this process trains now.

        None where they are not asked for. It goes on from `steps` updates, `closed` of which are of ended epochs.
        """
        if self._events is not None:
            self._events.close()
            self._events = None
        if self.tensorboard:
            self._events = event_files.Events(self.path / "tensorboard" / phase, steps, closed)
            if self._events.missing:
                say(
                    f"{phase}: its curves in {self._events.folder} have a gap before step {steps}, since earlier "
                    "steps were trained without --tensorboard"
                )
        return self._events

    def _drop_progress(self, phase: str) -> None:
        for file in self._progress(phase):
            file.unlink(missing_ok=True)

    def _progress(self, phase: str) -> tuple:
        folder = self.path / "checkpoints"
        return folder / f"{phase}.progress-1.npz", folder / f"{phase}.progress-2.npz"

    # ---- matrices and counts

    def matrices(self) -> dict:
        """confusion.npz: int64 (K, K) counts by name, rows are true classes. A damaged file gives none, with a line."""
        file = self.path / "confusion.npz"
        try:
            return read_matrices(file) if file.exists() else {}
        except RunError as error:
            say(f"{error}; it is computed again")
            return {}

    def save_matrices(self, counts: dict) -> None:
        """Add counts by name to confusion.npz, and write it at once."""
        content = io.BytesIO()
        np.savez_compressed(
            content, **{**self.matrices(), **{k: c.astype(np.int64) for k, c in counts.items()}}
        )
        files.write_bytes(self._here("confusion.npz"), content.getvalue())

    def matrix_name(self, phase: str) -> str:
        """The name in confusion.npz of a phase's training matrix: "train" for the recipe's `matrix_phase`."""
        return "train" if phase == self.config.get("matrix_phase") else f"train_{phase}"

    def training_matrix(self, phase: str) -> np.ndarray:
        """(K, K) counts of a phase's subnet 0 on training images."""
        name = self.matrix_name(phase)
        if name not in self._known:
            self._known[name] = self.matrices()[name]
        return self._known[name]

    def statistics(self, dataset):
        """`losses.LabelStatistics`: how many pixels each class has in the training split; counted once."""
        from .losses import LabelStatistics

        file = self.path / "statistics.json"
        if file.exists():
            try:
                return LabelStatistics.from_record(read_json(file))
            except (RunError, ValueError):
                say(f"{file}: is damaged; it is counted again")
        with Progress("counting labels", len(dataset), "image") as bar:

            def masks():
                for index in range(len(dataset)):
                    yield dataset[index][1]
                    bar.update(1)

            counted = LabelStatistics.count(masks(), dataset.labels.num_classes)
        files.write_json(self._here("statistics.json"), counted.record())
        return counted

    def evaluation(self, phase: str, tta: str = "single", split: str = "val") -> dict:
        """Fusion rule -> (images, K, K) int64 counts of a phase's network; {} if there are none or they are damaged."""
        try:
            return read_evaluation(self.path, phase, tta, split)
        except CheckpointError as error:
            say(f"{error}; it is evaluated again")
            return {}

    def save_evaluation(self, phase: str, counts: dict, tta: str = "single", split: str = "val") -> None:
        """Keep the per-image counts of a phase's network."""
        self._here("checkpoints")
        checkpoint.save(_evaluation(self.path, phase, tta, split), counts, {"phase": phase})

    def predictions(self, phase: str, tta: str = "single", split: str = "val") -> Predictions | None:
        """The kept predictions of a phase's network; None if there are none, or if they are damaged, with a line."""
        try:
            return read_predictions(self.path, phase, tta, split)
        except CheckpointError as error:
            say(f"{error}; the report goes without them")
            return None

    def save_predictions(
        self, phase: str, predictions: Predictions, tta: str = "single", split: str = "val"
    ) -> None:
        """Keep predictions of a phase's network."""
        self._here("checkpoints")
        checkpoint.save(_predictions(self.path, phase, tta, split), predictions.arrays(), {"phase": phase})

    # ---- what a finished run says

    def save_examples(self, record: dict, pictures: dict) -> None:
        """Replace examples/, the images that the report shows crops of: examples.json and its pictures by name."""
        for name, content in pictures.items():
            files.write_bytes(self._here(f"examples/{name}"), content)
        self.write("examples/examples.json", record)
        for file in (self.path / "examples").glob("*.*"):
            if file.name not in (*pictures, "examples.json"):
                file.unlink()

    def write(self, name: str, value) -> None:
        """Replace a JSON file of the run."""
        files.write_json(self._here(name), value)

    def save_way(self, phases, threads: int, at_once: int, measured: dict) -> None:
        """Note in threads.json how these phases are trained, for the reader: a run goes on as its states say.

        threads    of each phase's process
        at_once    how many of the phases are trained side by side
        measured   each way in words -> seconds that one step of each phase took
        """
        names = list(phases)
        entry = {"phases": names, "threads": threads, "at_once": at_once, "seconds_of_a_step": measured}
        self.write("threads.json", [*(e for e in self.ways() if e["phases"] != names), entry])

    def ways(self) -> list:
        """The entries of threads.json; none if there is no such file, or a damaged one, which is said."""
        file = self.path / "threads.json"
        try:
            found = read_json(file) if file.exists() else []
            return [{name: entry[name] for name in WAY} for entry in found]
        except (RunError, KeyError, TypeError):
            say(f"{file}: is damaged; the measured times of earlier sessions are lost")
            return []

    def add_time(self, seconds: float) -> None:
        """Add this session's time to timing.json, apart from the results, which are the same in every run.

        It also says which phases shared the cores, so that their seconds in log.jsonl are not added up.
        """
        file = self.path / "timing.json"
        try:
            sessions = [float(s) for s in read_json(file)["sessions"]] if file.exists() else []
        except (RunError, KeyError, TypeError, ValueError):
            say(f"{file}: is damaged; the time of earlier sessions is lost")
            sessions = []
        # a session that found everything done would only disturb the sum
        if not sessions or seconds > 30:
            sessions.append(round(seconds, 1))
        record = {"sessions": sessions, "minutes": sum(sessions) / 60}
        shared = [
            f"{', '.join(way['phases'])}: {way['at_once']} at once, threads of each: {way['threads']}"
            for way in self.ways()
            if way["at_once"] > 1
        ]
        if shared:
            record["side_by_side"] = "; ".join(shared)
        self.write("timing.json", record)


class PartOfRun(RunFolder):
    """A run's folder in a process that trains a phase for the process of the run, which holds the folder's lock.

    The phase's own files are written here. The files that phases share are not: `ask` hands what is for them to the
    process of the run, and returns when it has been written.
    """

    def __init__(self, path, config: dict, save_every: float, tensorboard: bool, ask):
        self.path, self.config, self.save_every, self._ask = Path(path), config, save_every, ask
        self.tensorboard, self._events = tensorboard, None
        self._saved, self._known, self._newest = time.monotonic(), {}, {}
        self._opened = _opened(self, self.path)

    def log(self, record: dict) -> None:
        """As there."""
        self._ask("log", record)

    def save_matrices(self, counts: dict) -> None:
        """As there."""
        self._ask("save_matrices", counts)


# ---- reading


AGAIN = "give the `confseg train` command of this run again: what is finished is not repeated"


def read_json(path, remedy: str = AGAIN):
    """A JSON file of a run. Raises RunError, which ends with the remedy, if it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            f"{path}: there is no such file, so the run did not end or this is no run folder; {remedy}"
        ) from None
    except OSError as error:
        raise RunError(f"{path}: can't be read ({error.strerror}); check its permissions") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: is damaged ({error}); delete it and {remedy}") from error


def read_log(path) -> list:
    """The records of a log.jsonl; none if there is no such file. Raises RunError for a line that is no record."""
    path, records = Path(path), []
    for number, line in enumerate(path.read_bytes().splitlines() if path.exists() else (), 1):
        try:
            record = json.loads(line)
            record["phase"], record["epoch"]
        except (ValueError, KeyError, TypeError):
            raise RunError(
                f"{path}: line {number} is no record of an epoch; delete that line and {AGAIN}"
            ) from None
        records.append(record)
    return records


def read_matrices(path, remedy: str = AGAIN, only=None) -> dict:
    """The arrays of an .npz file by name. Raises RunError if it is missing, damaged, or holds more than arrays.

    only    of a name and its `npz.Entry`: whether that array is wanted; the others are not read
    """
    try:
        with npz.opened(path) as archive:
            chosen = {
                name: entry for name, entry in archive.entries.items() if only is None or only(name, entry)
            }
            limits.check_bytes(sum(entry.size for entry in chosen.values()), "its arrays take")
            return {name: archive.read(name) for name in chosen}
    except FileNotFoundError:
        raise RunError(f"{path}: there is no such file; {remedy}") from None
    except OSError as error:
        raise RunError(f"{path}: can't be read ({error.strerror or error}); check the file") from error
    except limits.TooLarge as error:
        raise RunError(f"{path}: {error}") from error
    except ValueError as error:
        raise RunError(
            f"{path}: is no .npz file of plain arrays, or is damaged ({error}); {remedy}"
        ) from error


def read_evaluation(path, phase: str, tta: str = "single", split: str = "val") -> dict:
    """Fusion rule -> (images, K, K) int64 counts of a phase's network in a run folder; {} if it was not evaluated.

    Raises CheckpointError if the file is damaged.
    """
    file = _evaluation(Path(path), phase, tta, split)
    return checkpoint.load(file)[0] if file.exists() else {}


def read_predictions(path, phase: str, tta: str = "single", split: str = "val") -> Predictions | None:
    """The kept predictions of a phase's network in a run folder; None if none were kept.

    Raises CheckpointError if the file is damaged.
    """
    file = _predictions(Path(path), phase, tta, split)
    if not file.exists():
        return None
    try:
        return Predictions.from_arrays(checkpoint.load(file)[0])
    except ValueError as error:
        raise CheckpointError(f"{file}: its arrays are not ours ({error}); delete it") from error


def _evaluation(path: Path, phase: str, tta: str, split: str) -> Path:
    return _of_phase(path, phase, tta, split, "evaluation")


def _predictions(path: Path, phase: str, tta: str, split: str) -> Path:
    return _of_phase(path, phase, tta, split, "predictions")


def _of_phase(path: Path, phase: str, tta: str, split: str, what: str) -> Path:
    parts = [phase, *([] if tta == "single" else [tta]), *([] if split == "val" else [split])]
    return path / "checkpoints" / ".".join([*parts, what, "npz"])


def _locked(folder: Path):
    """The file .lock, locked until this process ends, however it ends; RunError if another process has the lock."""
    file = open(folder / ".lock", "a")  # open for as long as the folder is
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock, which forked readers would keep
    except OSError as error:
        file.close()
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise RunError(
                f"{folder}: another process is working in this run folder; wait for it, or choose another with --out"
            ) from error  # else it is a file system without locks
    return file


def _opened(user, folder: Path) -> int:
    """A descriptor of a folder, by which it is known again for as long as `user` lives: see `RunFolder._here`."""
    descriptor = os.open(folder, os.O_RDONLY)
    weakref.finalize(user, os.close, descriptor)
    return descriptor


def _place(file: Path) -> tuple:
    """How far the state in a file is; that of a damaged or missing one is before all others.

    The files' own times do not tell which is the newer one: clocks are set back, and some count in whole seconds.
    """
    try:
        meta = checkpoint.peek(file)[1] if file.exists() else {}
        return int(meta["epoch"]), int(meta["batch"])
    except (CheckpointError, KeyError, TypeError, ValueError):
        return (-1, -1)


def _made_with(network) -> dict:
    """What the last bits of a result depend on, beside data and settings."""
    return {"threads": runtime.threads(), "compiled": _on_cpu(network) and compiled.library() is not None}


def _on_cpu(network) -> bool:
    return next(iter(network.collect_params().values())).list_ctx()[0].device_type == "cpu"


# ---- configurations


def _by_name(config: dict) -> dict:
    """A configuration as one flat dict, with keys such as "phases.ce.epochs" for phases and cells.

    Settings that it lacks, since an earlier version wrote it, have the values that this version had.
    """
    flat = {k: _given(v) for k, v in config.items() if k not in NAMED}
    for key, name in NAMED.items():
        for entry in config.get(key, ()):
            entry = {**LATER.get(key, {}), **entry}
            flat.update({f"{key}.{entry[name]}.{k}": _given(v) for k, v in entry.items()})
    return flat


def _given(value):
    """A value without the settings of heads and the like that are None, which is what earlier versions left out."""
    if isinstance(value, list):
        return [_given(each) for each in value]
    if isinstance(value, dict):
        return {k: _given(v) for k, v in value.items() if v is not None}
    return value


def _with_lost(config: dict, before: dict) -> dict:
    """`config` with the phases and cells that it lost at the end, since the folder still holds their results."""
    merged = dict(config)
    for key, name in NAMED.items():
        present = {entry[name] for entry in config.get(key, ())}
        lost = [entry for entry in before.get(key, ()) if entry[name] not in present]
        if lost:
            merged[key] = [*config.get(key, ()), *lost]
    return merged


def _differences(before: dict, now: dict) -> list:
    """How two configurations by name differ, in words. Phases and cells that only one of them has do not count."""
    keys = sorted(set(before) | set(now))
    both = [k for k in keys if k.split(".")[0] not in NAMED or (k in before and k in now)]
    changed = [key for key in both if before.get(key) != now.get(key)]
    said = [f"{key}: {before.get(key)!r} there, {now.get(key)!r} now" for key in changed if key != "images"]
    return said + ["its images, labels or classes were others"] * ("images" in changed)
