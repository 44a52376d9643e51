"""A dry run: a recipe's real networks at their real sizes, two steps of each phase, one whole image per evaluation.

It is `train.run` on a handful of images, in a run folder that measures: what is wrong with settings, losses, shapes or
memory shows here, in minutes and without the data set. What the whole will need is in `estimate`.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from pathlib import Path

import mxnet as mx

from gluon_confseg import runtime, train
from gluon_confseg.errors import RunError
from gluon_confseg.out_of_memory import is_out_of_memory
from gluon_confseg.parallel import Parallel
from gluon_confseg.progress import say

from .data import can_draw, first_images
from .estimate import record, text
from .folder import STEPS, DryFolder
from .workers import Workers, fits, plan, share

__all__ = ["RATE", "STEPS", "Workers", "can_draw", "run", "run_for_workers", "shortened", "text"]

RATE = 1e-6  # of the recipe's learning rate: what starts from random values may not stay finite at all of it


def run_for_workers(
    recipe, workers: Workers, root=None, out=None, cells=None, images=None, **settings
) -> dict:
    """`run`, and beside its record, as "workers", what the whole needs with these workers: `workers.plan`.

    images   of a measured step; None: as many as a share of the batch has, after a run with one that shows whether
             they fit into this machine's memory; where they don't, what one image took counts
    Raises RunError also where batches can't be cut so, or where the plan lacks a bandwidth.
    """
    workers.check()
    phases = recipe.needed(recipe.choose(cells))
    for phase in phases:
        workers.parallel().check(phase, phase.batch_size)
    found = run(recipe, root, out, cells, 1 if images is None else images, **settings)
    most = max(
        share(phase.batch_size, workers.shares) for phase in phases if phase.epochs or len(phases) == 1
    )
    if images is None and most > 1:
        if fits(found, workers):
            say(f"Again with {most} images of a step, as many as a share of a batch has:")
            found = run(recipe, root, _beside(out), cells, shares=workers.shares, **settings)
        else:
            say(f"The {most} images of a share do not fit into this machine's memory: one image counts.")
    cautions = {phase.name: workers.parallel().caution(phase) for phase in phases}
    return {
        **found,
        "workers": {**plan(found, workers), "cautions": {k: v for k, v in cautions.items() if v}},
    }


def _beside(out):
    """Where the second run's folder goes: no run folder is begun twice."""
    return None if out is None else Path(out).with_name(f"{Path(out).name}-share")


def run(
    recipe,
    root=None,
    out=None,
    cells=None,
    images: int = 1,
    *,
    shares: int | None = None,
    list_weights: bool = False,
) -> dict:
    """Dry-run the cells of a recipe; returns what `estimate.record` makes of it, for JSON.

    root           the data set, whose first images are then taken; None: images of its size are drawn
    out            keep the run folder there; None: nothing is left behind
    cells          keys of the cells to do, with the phases that they need; None: all
    images         images of a training step; time and memory of a full batch are extrapolated from them
    shares         instead of `images`: as many as the largest of so many shares of the phase's batch has
    list_weights   name what a file of weights filled, and did not
    Raises RunError for what does not work, with the phase that it showed in.
    """
    began, load, chosen = time.monotonic(), os.getloadavg()[0], recipe.choose(cells)
    if images < 1:
        raise RunError(f"a step of {images} images can't be made: give --dry-batch 1 or more")
    if out and Path(out).exists():
        raise RunError(
            f"{out}: is there already, and a dry run begins anew: choose another folder with --out"
        )
    short, device = shortened(recipe, chosen, images, shares), runtime.default_context()
    with tempfile.TemporaryDirectory(prefix="confseg-dry-run-") as temporary:
        data = first_images(
            recipe, root, Path(temporary) / "data", STEPS * max(p.batch_size for p in short.phases)
        )
        say(f"Dry run of {recipe.name}, profile {recipe.profile}: {data.splits.train.description}")
        folder = DryFolder(out or Path(temporary) / "run", short, chosen, data.splits)
        try:
            settings = {"parallel": Parallel((device,)), "jobs": 1, "list_weights": list_weights}
            train.run(short, data.splits, folder, cells=cells, **settings)
        except (ValueError, mx.MXNetError) as error:
            if is_out_of_memory(error):
                raise
            lines = str(error).strip().splitlines() or [type(error).__name__]
            why = lines[-1 if isinstance(error, mx.MXNetError) else 0].strip()  # MXNet says it last
            raise RunError(f"{recipe.name}, {folder.doing}: {why}") from error
        left_out = folder.records["results.json"]["left_out"]
        return record(recipe, chosen, data, folder, left_out, device, load, time.monotonic() - began)


def shortened(recipe, cells, images: int, shares: int | None = None):
    """The recipe with two steps of `images` where a phase has any, one image for each matrix, nothing downloaded.

    shares   instead of `images`: steps of the largest of so many shares of a batch

    Where a phase of these cells has ASPP that pools over the image, whose batch norm needs two, steps are of two.
    """
    pools = any(
        head.kind == "aspp_v3" or head.context == "aspp"
        for phase in recipe.needed(cells)
        for head in (phase.head, phase.subnet_head, *dict(phase.subnet_heads).values())
    )

    def short(phase):
        count = share(phase.batch_size, shares) if shares else images
        return dataclasses.replace(
            phase,
            epochs=min(1, phase.epochs),
            learning_rate=RATE * phase.learning_rate,
            batch_size=max(2, count) if pools else count,
            pretrained=False,
        )

    phases = tuple(short(phase) for phase in recipe.phases)
    return dataclasses.replace(recipe, phases=phases, matrix_images=1, draw=None)
