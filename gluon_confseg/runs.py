"""A run folder: frozen configuration, log, checkpoints; all that a killed run needs to go on."""

from __future__ import annotations

import json
from pathlib import Path

from . import checkpoint, files
from .errors import CheckpointError, RunError

# lists of a configuration whose entries have names: key of the list -> what names an entry
NAMED = {"stages": "name", "arms": "key"}


class RunFolder:
    """The files of one run. Opening an existing folder continues it; another configuration there is an error.

    Stages and arms that a recipe has gained or lost are none: they are told apart by name.
    """

    def __init__(self, path, config: dict):
        self.path = Path(path)
        try:
            (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{path}: can't be made ({error.strerror}); choose another folder with --out"
            ) from error
        for unfinished in self.path.rglob(".*.part"):  # a kill while a file was being written leaves one
            unfinished.unlink()
        self._freeze(config)

    def _freeze(self, config: dict) -> None:
        file = self.path / "config.json"
        config = json.loads(json.dumps(config))
        if not file.exists():
            files.write_json(file, config)
            return
        before = read_json(file)
        try:
            differing = _differences(_by_name(before), _by_name(config))
        except (AttributeError, KeyError, TypeError) as error:
            raise RunError(
                f"{file}: is no run's configuration; choose another folder with --out, or delete this one"
            ) from error
        if differing:
            raise RunError(
                f"{self.path} holds a run with other settings ({'; '.join(differing[:3])}): "
                "choose another folder with --out, or delete that one"
            )
        if before != config:
            files.write_json(file, _with_lost(config, before))

    def log(self, record: dict) -> None:
        """Append one line to log.jsonl, replacing any of the same stage and epoch that a killed run left."""
        kept = [r for r in self.logged() if (r["stage"], r["epoch"]) != (record["stage"], record["epoch"])]
        lines = [json.dumps(r) for r in kept + [record]]
        files.write_bytes(self.path / "log.jsonl", ("\n".join(lines) + "\n").encode())

    def logged(self) -> list:
        """All records of log.jsonl."""
        file = self.path / "log.jsonl"
        if not file.exists():
            return []
        return [json.loads(line) for line in file.read_text().splitlines() if line]

    def finished(self, stage: str) -> Path:
        """Where the checkpoint of a finished stage is or will be."""
        return self.path / "checkpoints" / f"{stage}.npz"

    def save_progress(self, stage: str, arrays: dict, meta: dict) -> None:
        """Save a stage's state; the one before it is kept beside it."""
        latest, previous = self._progress(stage)
        if latest.exists():
            latest.replace(previous)
        checkpoint.save(latest, arrays, meta)

    def load_progress(self, stage: str, warn):
        """(arrays, meta) of the newest state that is whole, or None. `warn` is told of one that is not."""
        for file in self._progress(stage):
            if file.exists():
                try:
                    return checkpoint.load(file)
                except CheckpointError as error:
                    warn(f"{error}; going on from the state before it")
        return None

    def finish(self, stage: str, arrays: dict, meta: dict) -> None:
        """Save a stage's result and drop its intermediate states."""
        checkpoint.save(self.finished(stage), arrays, meta)
        self.drop_progress(stage)

    def drop_progress(self, stage: str) -> None:
        """Remove a stage's intermediate states, if there are any."""
        for file in self._progress(stage):
            file.unlink(missing_ok=True)

    def _progress(self, stage: str) -> tuple:
        folder = self.path / "checkpoints"
        return folder / f"{stage}.progress.npz", folder / f"{stage}.progress.previous.npz"


def read_json(path) -> dict:
    """A JSON file of a run. Raises RunError where it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text())
    except OSError as error:
        raise RunError(f"{path}: can't be read ({error.strerror}); is this a run folder?") from error
    except ValueError as error:
        raise RunError(f"{path}: is damaged ({error}); delete it and run again") from error


def _by_name(config: dict) -> dict:
    """A configuration with an entry for each setting of each named one: "stages.ce.epochs", ..."""
    flat = {k: v for k, v in config.items() if k not in NAMED}
    for key, name in NAMED.items():
        for entry in config.get(key, ()):
            flat.update({f"{key}.{entry[name]}.{k}": v for k, v in entry.items()})
    return flat


def _with_lost(config: dict, before: dict) -> dict:
    """`config`, its lists of named entries followed by those that it lost: what they made is in the folder."""
    merged = dict(config)
    for key, name in NAMED.items():
        present = {entry[name] for entry in config.get(key, ())}
        lost = [entry for entry in before.get(key, ()) if entry[name] not in present]
        if lost:
            merged[key] = [*config.get(key, ()), *lost]
    return merged


def _differences(before: dict, now: dict) -> list:
    """What two configurations by name differ in, in words; named entries that only one of them has are none."""
    keys = sorted(set(before) | set(now))
    both = [k for k in keys if k.split(".")[0] not in NAMED or (k in before and k in now)]
    return [f"{k}: {before.get(k)!r} there, {now.get(k)!r} now" for k in both if before.get(k) != now.get(k)]
