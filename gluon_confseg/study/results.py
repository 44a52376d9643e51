"""The record of a study, OUT/study.json: every arm's scores by seed, and differences with how sure they are."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gluon_confseg import build, checkpoint, metrics, run_folder
from gluon_confseg.errors import RunError
from gluon_confseg.phases import Phase
from gluon_confseg.results import scores
from gluon_confseg.run_folder import read_evaluation, read_json

from . import arms, claims, designs, fitted, statistics, tuning
from .run import Study, chosen

PAIRS = 10
OF_CLAIMS = {claim.key: (claim.arm, claim.reference) for claim in claims.CLAIMS}
DESIGNS = tuple(
    pair for pair in ((d.arm, d.reference) for d in designs.DESIGNS) if pair not in OF_CLAIMS.values()
)
FITTED = [arm.key for arm in arms.ARMS.values() if arm.candidates]
# further differences that are worth a row
OTHERS = (
    *DESIGNS,
    *(
        (arm.key, usual)
        for family in ("structures", "emphasis")
        for arm in arms.FAMILIES[family]
        for usual in ("subnets_confusion_ce", "one_confusion_ce")
        if arm.key.startswith(usual)
    ),
    ("confusion_ce_shuffled", "ce"),
    ("subnets_ce", "ce"),
    ("subnets_ce", "one_ce"),
    ("subnets_ce", "whole_ce"),
    ("subnets_ce", "random_ce"),
    ("subnets_confusion_ce", "ce"),
    ("subnets_confusion_ce", "confusion_ce"),
    ("subnets_confusion_ce", "whole_confusion_ce"),
    ("subnets_confusion_ce", "whole_confusion_ce_mean"),
    ("confusion_ce_continued", "ce_continued"),
    ("subnets_confusion_ce_long", "confusion_ce_continued"),
    ("subnets_confusion_ce_long", "ce_longer"),
    ("subnets_confusion_ce_long", "confusion_ce_longer"),
    ("subnets_confusion_ce_long", "one_confusion_ce_long"),
    ("confusion_ce_longer", "ce_longer"),
    ("subnets_confusion_ce_conditional", "subnets_confusion_ce_sum"),
    ("subnets_confusion_ce_learned", "subnets_confusion_ce_sum"),
    ("subnets_confusion_ce", "subnets_confusion_ce_sum"),
    ("subnets_confusion_ce_learned", "subnets_confusion_ce"),
    ("subnets_confusion_ce_iterated", "subnets_confusion_ce"),
    ("plain_ce", "ce"),
    ("plain_ce", "ce_continued"),
    *((arm.key, "ce") for family in ("losses", "search") for arm in arms.FAMILIES[family]),
)


class Source(NamedTuple):
    """Where an arm's scores are: the name of its network, its fusion rule, and a phase of as many updates."""

    network: str
    rule: str
    phase: Phase


class Seed:
    """What is known of a finished seed.

    counts       arm -> (images, K, K)
    groups       those that its training matrix gives
    parameters   arm -> how many are trained in its heads; None of arms without heads
    choices      arm with candidates -> `fitted.choice`
    """

    def __init__(self, study: Study, recipe, sources: dict, rates: dict, number: int):
        path = study.folder(number)
        self.choices = {
            key: fitted.choice(path, arms.ARMS[key], rates, study.block_length)
            for key in sources
            if key in FITTED
        }
        self.counts, self.parameters = {}, {}
        for key, source in sources.items():
            found = read_evaluation(path, source.network, split=study.split).get(source.rule)
            if found is not None and self.choices.get(
                key, True
            ):  # a choice that is none is of other candidates
                self.counts[key] = found
                self.parameters[key] = parameters(path / "checkpoints" / f"{source.network}.npz")
        if not self.counts:
            raise RunError(
                f"{path}: holds no scores on split {study.split}; give the `confseg study` command again"
            )
        matrix = run_folder.read_matrices(path / "confusion.npz", only=lambda name, _: name == "train")[
            "train"
        ]
        heads = next((p for p in recipe.phases if p.part.trains_subnets), None)
        self.groups = [list(group) for group in build.discovered(heads or recipe.phases[0], matrix)]
        timing = path / "timing.json"
        self.minutes = round(read_json(timing)["minutes"], 1) if timing.exists() else None

    def inside(self, key: str) -> np.ndarray | None:
        """(images, 2) of `statistics.inside`; None without groups."""
        return statistics.inside(self.counts[key], self.groups) if self.groups else None

    def record(self, key: str) -> dict:
        """An arm's scores in this seed."""
        counts = self.counts[key].sum(0)
        found = {**scores(counts), "inside": None, "outside": None, "parameters": self.parameters[key]}
        if self.groups:
            for name in ("inside", "outside"):
                value = statistics.share(getattr(statistics, name)(counts, self.groups))
                found[name] = None if np.isnan(value) else float(value)
            without = statistics.mean_iou(statistics.resolved(counts, self.groups))
            found["room"] = float(without) - found["mean_iou"]
        return found


def collect(study: Study, name: str, command: str = "") -> dict:
    """The record of what is finished; arms that no seed has are left out.

    command   how the study was begun, for the reader
    """
    rates, tuned = chosen(study), tuning.read(study.out)
    known = tuple(arm for arm in arms.ARMS.values() if arms.has_rates(arm, rates))
    recipe = study.recipe(known, {key: [rate] for key, rate in rates.items()}, rates, tuned["seed"])
    by_key = {cell.key: cell for cell in recipe.cells}
    sources = {arms.BASE: Source(arms.BASE, recipe.rule_of(by_key[arms.BASE]), recipe.phase(arms.BASE))}
    for arm in known:
        phase = recipe.phase(arms.phase_of(arm, rates))
        rule = recipe.rule_at(phase) if arm.candidates else recipe.rule_of(by_key[arms.cell_of(arm, rates)])
        sources[arm.key] = Source(arm.key if arm.candidates else phase.name, rule, phase)
    found = {number: Seed(study, recipe, sources, rates, number) for number in study.seeds}
    evaluated, train = study.evaluated(), study.splits.train
    block = study.block or evaluated.block
    present = [key for key in sources if any(key in seed.counts for seed in found.values())]
    config = {key: value for key, value in recipe.config().items() if key != "cells"}
    return {
        "schema": claims.SCHEMA,
        "command": command,
        "name": name,
        "title": f"What confusing groups are worth on {name}",
        "data": {
            "name": study.data,
            "description": evaluated.description,
            "train_images": len(train),
            "images": len(evaluated),
            "classes": list(evaluated.classes),
            "block": block,
            "split": study.split,
            "drawn": bool(evaluated.drawn),
        },
        "settings": config,
        "tuning": tuned,
        "groups": {str(number): seed.groups for number, seed in found.items()},
        "arms": [_arm(recipe, key, sources[key].phase, found, len(train)) for key in present],
        "differences": differences(found, block),
        "pairs": pairs(found, evaluated.classes, block),
        "choices": [_choices(key, found) for key in present if key in FITTED],
        "minutes": {str(number): seed.minutes for number, seed in found.items()},
    }


def parameters(file) -> int | None:
    """How many numbers are trained in the heads beside subnet 0 of a checkpoint's network; None without such heads."""
    shapes = checkpoint.parameter_shapes(checkpoint.peek(file)[0])
    # running statistics are counted, not trained, and what standardises features has no scale
    fixed = ("running_mean", "running_var", "standardise.gamma")
    sizes = [math.prod(s) for n, s in shapes.items() if n.startswith("subnets.") and not n.endswith(fixed)]
    return sum(sizes) or None


def _choices(key: str, found: dict) -> dict:
    """What was chosen for an arm with candidates in each seed."""
    names = ("images", "scores", "chosen")
    each = {
        str(number): {name: seed.choices[key][name] for name in names}
        for number, seed in found.items()
        if key in seed.counts
    }
    return {"arm": key, "candidates": list(arms.ARMS[key].candidates), "seeds": each}


def _arm(recipe, key: str, phase, found: dict, train_images: int) -> dict:
    each = {str(number): seed.record(key) for number, seed in found.items() if key in seed.counts}
    values = [scored["mean_iou"] for scored in each.values()]
    iou = np.array([metrics.iou(seed.counts[key].sum(0)) for seed in found.values() if key in seed.counts])
    what = "the network that all others go on from" if key == arms.BASE else arms.ARMS[key].what
    return {
        "key": key,
        "what": what,
        "updates": build.updates(recipe, phase, train_images),
        "epochs": sum(recipe.phase(name).epochs for name in phase.path),
        "seeds": each,
        "mean_iou": float(np.mean(values)),
        "spread": statistics.spread(values),
        "iou": [_mean(column) for column in iou.T],
        "parameters": _mean([_number(scored["parameters"]) for scored in each.values()]),
        "inside": _mean([_number(scored["inside"]) for scored in each.values()]),
        "outside": _mean([_number(scored["outside"]) for scored in each.values()]),
    }


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _mean(values) -> float | None:
    """Mean of what is a number; None of nothing."""
    known = [float(value) for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else None


# ---- differences


def differences(found: dict, block: int) -> list:
    """Every difference that some seed has both arms of, in mean IoU and then in confusion inside the groups.

    found   number of a seed -> `Seed`, or anything with `counts` and `inside`
    """
    compared = [*((claim, *pair) for claim, pair in OF_CLAIMS.items()), *((None, *pair) for pair in OTHERS)]
    result = []
    for measure in ("mean_iou", "inside"):
        for claim, arm, reference in compared:
            both = {n: seed for n, seed in found.items() if arm in seed.counts and reference in seed.counts}
            result.append(_difference(claim, arm, reference, measure, both, block))
    return [entry for entry in result if entry]


def _difference(claim, arm: str, reference: str, measure: str, seeds: dict, block: int) -> dict | None:
    if measure == "mean_iou":
        score, sums = statistics.mean_iou, {n: (s.counts[arm], s.counts[reference]) for n, s in seeds.items()}
    else:
        score, sums = statistics.share, {n: (s.inside(arm), s.inside(reference)) for n, s in seeds.items()}
        sums = {n: pair for n, pair in sums.items() if pair[0] is not None and pair[0].sum(0)[1]}
    if not sums:
        return None
    each = {str(n): float(score(a.sum(0)) - score(b.sum(0))) for n, (a, b) in sums.items()}
    values = list(each.values())
    low, high = statistics.interval(list(sums.values()), block, score)
    found = {
        "arm": arm,
        "reference": reference,
        "claim": claim,
        "measure": measure,
        "seeds": each,
        "mean": float(np.mean(values)),
        "spread": statistics.spread(values),
        "interval": [low, high],
    }
    return {**found, "settled": claims.verdict(found) in (claims.RISES, claims.FALLS)}


def pairs(found: dict, classes, block: int) -> list:
    """The pairs of classes with the most wrong pixels in `base`: their shares of the true class in each arm."""
    based = [seed for seed in found.values() if arms.BASE in seed.counts]
    if not based:
        return []
    total = sum(seed.counts[arms.BASE].sum(0) for seed in based)
    return [
        _pair(found, classes, truth, prediction, block)
        for truth, prediction in statistics.largest_pairs(total, PAIRS)
    ]


def _pair(found: dict, classes, truth: int, prediction: int, block: int) -> dict:
    def sums(key: str) -> dict:
        known = {
            n: statistics.pair(s.counts[key], truth, prediction) for n, s in found.items() if key in s.counts
        }
        return {n: each for n, each in known.items() if each[:, 1].sum()}

    by_arm = {key: sums(key) for key in (arms.BASE, *arms.ARMS)}
    by_arm = {key: each for key, each in by_arm.items() if each}
    rows = []
    for arm, reference in OF_CLAIMS.values():
        both = [
            (by_arm[arm][n], by_arm[reference][n])
            for n in by_arm.get(arm, {})
            if n in by_arm.get(reference, {})
        ]
        if both:
            gains = [float(statistics.share(a.sum(0)) - statistics.share(b.sum(0))) for a, b in both]
            low, high = statistics.interval(both, block, statistics.share)
            rows.append(
                {"arm": arm, "reference": reference, "mean": float(np.mean(gains)), "interval": [low, high]}
            )
    return {
        "truth": classes[truth],
        "prediction": classes[prediction],
        "groups": sum(
            any({truth, prediction} <= set(group) for group in seed.groups) for seed in found.values()
        ),
        "shares": {
            key: _mean([statistics.share(s.sum(0)) for s in each.values()]) for key, each in by_arm.items()
        },
        "differences": rows,
    }
