"""Arms that are put together: each group has that subnet, of several trained ones, which does best for it.

Subnets on one frozen encoder know nothing of each other, so those of several trainings (the candidates) can be put
together without training again. A group's choice is the candidate by which the fused network has the best mIoU on
validation images while the other groups keep their usual subnet, that of the first candidate; so it does not depend on
the order of the groups. One head for all classes is a single group here: of it, the best candidate is taken.

A score on the images that a choice was made on would flatter it. So the validation images are cut into two halves, and
each half is scored by the network that was chosen on the other. For every other split, and for use, there is the
network that was chosen on all validation images.
"""

from __future__ import annotations

import itertools

import numpy as np
from mxnet import gluon

from gluon_confseg import checkpoint, engine, network, runtime, train
from gluon_confseg.errors import RunError
from gluon_confseg.fusion import Fusion
from gluon_confseg.parallel import Parallel
from gluon_confseg.progress import Progress, say
from gluon_confseg.run_folder import read_json

from . import arms, statistics

# the validation images that a choice is made on
FIRST, SECOND, ALL = "first half", "second half", "all"


def fit(study, arm, recipe, folder, rates: dict) -> None:
    """Choose, save and score what is not there yet of an arm with candidates, in a seed's run folder.

    rates   arm -> the chosen learning rate
    Where a candidate is missing, or the images can't be halved, the arm is left out, with a line that says so.
    """
    names, val, block = phases(arm, rates), study.splits.val, study.block_length
    missing = [name for name in names if not folder.finished(name)]
    if missing:
        say(f"{arm.key} is left out: {missing[0]} was not trained")
        return
    files, rule = [folder.checkpoint(name) for name in names], recipe.rule_at(recipe.phase(names[0]))
    own, halves = [folder.evaluation(name)[rule] for name in names], statistics.halves(len(val), block)
    if halves is None or not all(own[0][halves == half].any() for half in (0, 1)):
        why = "are one block, without halves" if halves is None else "of one half have no labelled pixel"
        say(f"{arm.key} is left out: the validation images {why}")
        return
    device, inference = runtime.default_context(), recipe.evaluation
    settings = {"device": device, "inference": inference}
    found = choice(folder.path, arm, rates, block)
    if found is None:
        folder.forget(arm.key)
        scores = scored(by_group(arm.key, files, rule, own, val, halves, settings))
        found = {
            "candidates": names,
            "block": block,
            "images": [int((halves == half).sum()) for half in (0, 1)],
            "scores": {on: each.tolist() for on, each in scores.items()},
            "chosen": {on: [arm.candidates[c] for c in chosen(each)] for on, each in scores.items()},
        }
        folder.write(_place(arm.key), found)
    picked = {on: [arm.candidates.index(key) for key in keys] for on, keys in found["chosen"].items()}

    def made(on: str):
        return _assembled(files, list(zip(picked[on], range(len(picked[on])))), device)

    def counted(on: str, dataset, indices) -> np.ndarray:
        title = f"evaluating {arm.key}, chosen on {on}"
        shared = {"parallel": Parallel((device,)), "inference": inference}
        return train.counted(title, made(on), dataset, indices, [rule], **shared)[rule]

    if not folder.finished(arm.key):
        meta = checkpoint.peek(files[0])[1]
        about = {name: meta[name] for name in ("labels", "rule", "evaluation", "epoch", "steps")}
        folder.finish(arm.key, made(ALL), {**about, "cells": {}})
    if not folder.evaluation(arm.key):
        counts = np.empty_like(own[0])
        for half, on in ((0, SECOND), (1, FIRST)):
            (indices,) = np.nonzero(halves == half)
            alike = len(set(picked[on])) == 1  # then it is that candidate's own network
            counts[indices] = own[picked[on][0]][indices] if alike else counted(on, val, indices.tolist())
        folder.save_evaluation(arm.key, {rule: counts})
    if study.split != val.split and not folder.evaluation(arm.key, split=study.split):
        other = study.evaluated()
        counts = counted(ALL, other, range(len(other)))
        folder.save_evaluation(arm.key, {rule: counts}, split=study.split)


def phases(arm, rates: dict) -> list:
    """The phases of an arm's candidates at the chosen rates."""
    return [arms.phase_of(arms.ARMS[key], rates) for key in arm.candidates]


def choice(path, arm, rates: dict, block: int) -> dict | None:
    """What was chosen in a run folder for an arm; None where that was not yet, or from other candidates or halves.

    candidates   their phases, as in `arm.candidates`
    block        images of a block of the halves
    images       images of both halves
    scores       FIRST, SECOND or ALL -> for each group the fused network's mIoU with each candidate's subnet
    chosen       the same -> each group's candidate, the name of an arm
    """
    file = path / _place(arm.key)
    if not file.exists():
        return None
    found = read_json(file, "give the `confseg study` command again: it is made anew")
    try:
        same = (found["candidates"], found["block"]) == (phases(arm, rates), block)
        found["images"], [list(map(arm.candidates.index, keys)) for keys in found["chosen"].values()]
        if {FIRST, SECOND, ALL} != set(found["chosen"]) or set(found["scores"]) != set(found["chosen"]):
            raise ValueError
        return found if same else None
    except (AttributeError, KeyError, TypeError, ValueError):
        again = "delete it and give the `confseg study` command again"
        raise RunError(f"{file}: is no choice of subnets; {again}") from None


def _place(key: str) -> str:
    return f"checkpoints/{key}.choice.json"


# ---- choosing


def by_group(title: str, files, rule: str, own, dataset, halves, settings: dict) -> np.ndarray:
    """(groups, candidates, 2, K, K) int64 counts on both halves, with that candidate's subnet for that group alone.

    files    the candidates' checkpoints
    own      (images, K, K) counts of each candidate's network
    halves   (images,) 0 or 1
    All subnets of all candidates run on one pass of the encoder over the images.
    """
    own = np.stack([[counts[halves == half].sum(0) for half in (0, 1)] for counts in own])
    groups = len(checkpoint.peek(files[0])[1]["network"]["groups"])
    if groups == 1:
        return own[None]
    sums = np.repeat(own[None], groups, axis=0)
    pool = _assembled(files, list(itertools.product(range(len(files)), range(groups))), settings["device"])
    trials = {}
    for group, candidate in itertools.product(range(groups), range(1, len(files))):
        sums[group, candidate] = 0
        places = [(candidate if m == group else 0) * groups + m for m in range(groups)]
        trials[group, candidate] = Part(pool, places, rule)
    every = range(len(dataset))
    with Progress(f"choosing subnets for {title}", len(dataset), "image") as bar:
        for half, (counts, _) in zip(
            halves, engine.evaluate_images(pool, dataset, every, trials, **settings)
        ):
            for (group, candidate), of_image in counts.items():
                sums[group, candidate, half] += of_image
            bar.update(1)
    return sums


def scored(sums: np.ndarray) -> dict:
    """FIRST, SECOND and ALL -> (groups, candidates) mIoU, from the counts of `by_group`."""
    on = {FIRST: sums[:, :, 0], SECOND: sums[:, :, 1], ALL: sums.sum(2)}
    return {name: statistics.mean_iou(counts) for name, counts in on.items()}


def chosen(scores: np.ndarray) -> list:
    """Each group's candidate: that of the best score, the first of equal ones."""
    return [int(candidate) for candidate in np.argmax(scores, axis=1)]


class Part(gluon.Block):
    """The fusion of some of a network's subnets, at these places among them: a block like `Fusion`."""

    def __init__(self, whole, places: list, rule: str, **kwargs):
        super().__init__(**kwargs)
        groups, grids = ([each[place] for place in places] for each in (whole.groups, whole.finer))
        self._places = places
        self.fuse = Fusion(groups, whole.num_classes, rule, subnets_finer=grids)
        self.rule, self.finer = rule, self.fuse.finer

    def forward(self, subnet0_logits, *subnet_logits):
        """Logits of subnet 0 and of all subnets -> log-scores of the K classes."""
        return self.fuse(subnet0_logits, *(subnet_logits[place] for place in self._places))


def _assembled(files: list, parts: list, device):
    built = network.assemble(files, parts, device)
    engine.hybridize_parts(built)
    return built
