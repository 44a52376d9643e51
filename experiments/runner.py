"""Runs a recipe in a run folder, from data to results. Killed anywhere, it goes on from there."""

from __future__ import annotations

import dataclasses
import time

from gluon_confseg import files, runtime, scenes
from gluon_confseg.datasets import open_dataset, pack
from gluon_confseg.errors import DatasetError
from gluon_confseg.progress import Progress
from gluon_confseg.runs import RunFolder, read_json

from . import evaluation, results
from .experiment import Experiment, say
from .recipe import Recipe


def run(
    recipe: Recipe, root, out, save_every: float = 30.0, list_weights: bool = False, packs=None, cells=None
):
    """Run (the rest of) a recipe on the data set at `root`; returns the run folder.

    list_weights   name what the recipe's file of weights filled, and did not
    packs          folder for packs of the data, which training then reads; None: the files are read
    cells          keys of the arms to do; None: all. What others have done in the folder is used
    """
    experiment, began = prepare(recipe, root, out, save_every, list_weights, packs, cells), time.monotonic()
    experiment.train_all()
    experiment.evaluate_all()
    conclude(experiment)
    add_time(experiment.folder, time.monotonic() - began)
    return experiment.folder


def prepare(
    recipe: Recipe, root, out, save_every: float = 30.0, list_weights: bool = False, packs=None, cells=None
) -> Experiment:
    """Open data and run folder; nothing is trained yet."""
    context, arms = runtime.default_context(), recipe.cells(cells)
    if recipe.draw is not None:
        draw(root, recipe.draw)
    train_set, val_set = (
        open_dataset(recipe.data, root, split) for split in (recipe.train_split or "train", "val")
    )
    say(f"Data: {train_set.description} {val_set.description}")
    if recipe.draw is None and not any(out.glob("checkpoints/*.npz")):
        look_through(train_set, val_set)
    if packs is not None:
        train_set, val_set = (packed(dataset, packs) for dataset in (train_set, val_set))
    if recipe.groups == "discover" and train_set.labels.num_classes < 3:
        raise DatasetError(
            f"{root}: two classes can't form a group with any class outside: subnets need three or more"
        )
    folder = RunFolder(out, {**dataclasses.asdict(recipe), "root_name": root.resolve().name})
    return Experiment(recipe, train_set, val_set, folder, context, save_every, list_weights, arms)


def conclude(experiment: Experiment) -> None:
    """Matrices, groups, results, panels: what the report reads."""
    for arm in experiment.arms:
        experiment.matrices[arm.key] = experiment.per_image(arm).sum(0)
    path = experiment.folder.path
    files.write_json(path / "groups.json", results.groups_record(experiment))
    evaluation.write_panels(experiment)
    files.write_json(path / "results.json", results.record(experiment))


def add_time(folder: RunFolder, seconds: float) -> None:
    """Add this session's time to timing.json: kept apart, since all other results are the same for every run."""
    file = folder.path / "timing.json"
    sessions = read_json(file)["sessions"] if file.exists() else []
    # a session that found everything done would only blur the sum
    if not sessions or seconds > 30:
        sessions.append(round(seconds, 1))
    files.write_json(file, {"sessions": sessions, "minutes": sum(sessions) / 60})


def draw(root, settings: dict) -> None:
    """Draw the scenes of a recipe, unless they are there."""
    total = settings["train"] + settings["val"]
    with Progress("drawing street scenes", total, "image") as bar:
        scenes.draw(root, progress=lambda done, _: bar.update(done - bar.done), **settings)


def look_through(*datasets) -> None:
    """Read every file once before the first step: a fault in the last one would otherwise show after hours."""
    for dataset in datasets:
        with Progress(f"checking {dataset.split}", len(dataset), "image") as bar:
            dataset.check(thorough=True, progress=lambda done, bar=bar: bar.update(done - bar.done))


def packed(dataset, packs):
    """The data set's pack in a folder below `packs`, made where it has to be."""
    folder = packs / dataset.split  # as `data/prepare.py --pack` has it
    with Progress(f"packing {dataset.split}", len(dataset), "image") as bar:
        found = pack(dataset, folder, lambda done: bar.update(done - bar.done), say=say)
        bar.update(len(dataset) - bar.done)
    return found
