"""The course of a study: one seed tries the learning rates, wave by wave; then the other seeds, side by side.

All of it is in one folder, OUT: a run folder for each seed, and tuning.json. A study that was killed goes on from
there, since all that it chooses depends on finished phases alone; so does one that gets more arms or seeds. (With more
tries another rate may be chosen. What goes on from it is then another training, which the run folder refuses.)
"""

from __future__ import annotations

import collections
import dataclasses
import sys
from pathlib import Path

from gluon_confseg import files, train
from gluon_confseg.build import Data
from gluon_confseg.datasets import open_dataset
from gluon_confseg.errors import RunError
from gluon_confseg.progress import say
from gluon_confseg.run_folder import RunFolder

from . import arms, fitted, seeds, tuning
from .plan import Plan

TRAIN, VAL = "train", "val"


@dataclasses.dataclass(frozen=True)
class Study:
    """What is studied, on which data, and where.

    data       name of the data set, of `datasets.DATASETS`
    splits     of training and validation
    plan       crops, scales and epochs
    arms       `arms.Arm`s, with those that they need
    tries      how many learning rates each arm tries
    seeds      those that are trained; the first, or that of an earlier tuning in `out`, tries the rates
    split      what is evaluated on at last; rates are always chosen on the validation split
    block      images that belong together; None: as the data set says
    """

    data: str
    root: Path
    splits: Data
    plan: Plan
    arms: tuple
    tries: int
    seeds: tuple
    out: Path
    split: str = VAL
    save_every: float = 60.0
    block: int | None = None

    @property
    def tuning_seed(self) -> int:
        """The seed whose networks the learning rates are chosen by."""
        before = tuning.read(self.out)
        return before["seed"] if before else self.seeds[0]

    @property
    def block_length(self) -> int:
        """Neighbouring images that belong together, at least one."""
        return self.block or self.splits.val.block

    def folder(self, seed: int) -> Path:
        """The run folder of a seed."""
        return self.out / f"seed{seed}"

    def evaluated(self):
        """The split that the arms are compared on."""
        return self.splits.val if self.split == VAL else open_dataset(self.data, self.root, self.split)

    def recipe(self, known, tried: dict, rates: dict, seed: int):
        """The recipe of these arms: see `arms.recipe`."""
        return arms.recipe(self.plan, self.data, known, tried, rates, seed)

    def final(self, rates: dict, seed: int):
        """The recipe of a seed at the chosen rates, of the arms that have one."""
        known = tuple(arm for arm in self.arms if arms.has_rates(arm, rates))
        return self.recipe(known, {key: [rate] for key, rate in rates.items()}, rates, seed)


def open_splits(data: str, root: Path, *, look: bool) -> Data:
    """Both splits of a data set; `look`: every file is read once."""
    splits = Data(*(open_dataset(data, root, split) for split in (TRAIN, VAL)))
    if look:
        splits.check()
    return splits


def train_all(study: Study, command: list, processes: int) -> None:
    """Train all seeds, or what is left of them, and score them on the split asked for.

    command     this study's command line for Python; with `--worker SEED` it trains a further seed: `train_seed`
    processes   trainings side by side
    """
    seed = study.tuning_seed
    tune(study, processes)
    others = [other for other in study.seeds if other != seed]
    commands = {f"seed {n}": [sys.executable, *command, "--worker", str(n)] for n in others}
    if others:
        seeds.run_each(commands, processes)


def tune(study: Study, processes: int) -> None:
    """Train `base` and all tries of all arms by the tuning seed, and write OUT/tuning.json."""
    seed, before = study.tuning_seed, tuning.read(study.out)
    record = {"seed": seed, "tries": study.tries, "arms": dict(before["arms"]) if before else {}}
    tried = {arm.key: tuning.rates(arm, study.tries) for arm in study.arms if arm.trained}
    known, rates, folder = [], {}, None
    for wave in ([], *arms.waves([arm for arm in study.arms if not arm.candidates])):
        wave = [arm for arm in wave if all(key in rates for key in arm.needs)]
        known += wave
        recipe = study.recipe(known, tried, rates, seed)
        config = {**recipe.config(), "images": study.splits.fingerprint()}
        if folder is None:
            folder = RunFolder(study.folder(seed), config, study.save_every)
        else:
            folder.go_on(config)
        names = {
            arm.key: {r: arms.phase_name(arm.key, r) for r in tried[arm.key]} for arm in wave if arm.trained
        }
        cells = [arms.BASE, *(name for phases in names.values() for name in phases.values())]
        cells += [arms.cell_of(arm, rates) for arm in wave if arm.rule is not None]
        settings = {"jobs": processes, "leave_out_diverged": True, "later": (_later(study, known), processes)}
        train.run(recipe, study.splits, folder, cells=cells, **settings)
        for key, phases in names.items():
            found = tuning.outcome(recipe, folder, phases)
            record["arms"][key] = found
            if found["chosen"] is None:
                say(f"{key} is left out, and what goes on from it: it has no training that ended")
            else:
                rates[key] = found["chosen"]
                say(f"{key}: {tuning.sentence(found)}")
        if wave:
            files.write_json(study.out / tuning.NAME, record)
    _finish(study, study.final(rates, seed), folder, rates)


def train_seed(study: Study, seed: int) -> None:
    """Train and score one further seed, at the rates that were chosen."""
    rates = chosen(study)
    recipe = study.final(rates, seed)
    config = {**recipe.config(), "images": study.splits.fingerprint()}
    folder = RunFolder(study.folder(seed), config, study.save_every)
    train.run(recipe, study.splits, folder, jobs=1, leave_out_diverged=True)
    _finish(study, recipe, folder, rates)


def chosen(study: Study) -> dict:
    """Arm -> the learning rate that was chosen. RunError before the tuning."""
    found = tuning.read(study.out)
    if found is None:
        raise RunError(
            f"{study.out / tuning.NAME}: there is no such file, so no learning rate was chosen yet"
        )
    return {key: arm["chosen"] for key, arm in found["arms"].items() if arm["chosen"] is not None}


def _finish(study: Study, recipe, folder, rates: dict) -> None:
    """Put the arms together that are made of trained ones, and score all on another split where one was asked for."""
    if study.split != VAL:
        splits = Data(study.splits.train, study.evaluated())
        trained = [cell for cell in recipe.cells if folder.finished(cell.phase)]
        train.score(train.Job(recipe, splits, tuple(trained)), trained, folder)
    for arm in study.arms:
        if arm.candidates and arms.has_rates(arm, rates):
            fitted.fit(study, arm, recipe, folder, rates)


def _later(study: Study, known: list) -> dict:
    """The work that is left when these arms have been tried: other arms, and other seeds that have not ended once."""
    one = {arm.key: arm.rate for arm in study.arms}
    recipe = study.recipe(study.arms, {key: [rate] for key, rate in one.items()}, one, 0)
    others = sum(
        not (study.folder(seed) / "results.json").exists()
        for seed in study.seeds
        if seed != study.tuning_seed
    )
    times = {arms.BASE: others}
    for arm in study.arms:
        if arm.trained:
            times[arms.phase_of(arm, one)] = others + (0 if arm in known else study.tries)
    found = collections.Counter()
    for name, count in times.items():
        for kind, units in train.work(recipe, [recipe.phase(name)], study.splits).items():
            found[kind] += count * units
    return dict(found)
