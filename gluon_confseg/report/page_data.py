"""What the script of the report's page shows, as JSON holds it."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import numpy as np

from gluon_confseg.report import explain
from gluon_confseg.report.comparison import MANY, Comparison
from gluon_confseg.report.crops import Crop
from gluon_confseg.report.discovery import Discovery
from gluon_confseg.report.folder import Run
from gluon_confseg.report.pictures.curves import PHASES
from gluon_confseg.terminal import clean

EXPLAINED = 200  # pairs that have sentences, of the first arm and of the best
IMAGES = 300  # that cost most
GREW = 100  # images with more wrong pixels than in the first arm
IMAGES_OF = {"pair": 60, "class": 20}  # that have most of a pair, and cost a class most
FAINTEST = 0.002  # of the edges that are drawn


def data(compared: Comparison, shown: Sequence[Crop]) -> dict:
    """Everything; classes, arms and images are indices."""
    arms = compared.arms
    pairs = explained(compared)
    images, of_classes, of_pairs = (
        _images(compared),
        _images_of_classes(compared),
        _images_of_pairs(compared, pairs),
    )
    named = {crop.image for crop in shown} | {one["image"] for one in images}
    named |= {image for listed in of_classes for image, _ in listed}
    named |= {image for of_pair in of_pairs.values() for image, _ in of_pair["listed"]}
    return {
        "classes": list(map(clean, compared.classes)),
        "colors": [[int(part) for part in color] for color in compared.colors],
        "noClass": bool(any(arm.misses.any() for arm in arms)),
        "arms": [
            {
                "name": clean(arm.name),
                "counts": arm.full.tolist(),
                "costs": np.rint(1e6 * arm.costs).astype(np.int64).tolist(),
                **{name: list(map(_number, getattr(arm, name))) for name in ("iou", "precision", "recall")},
            }
            for arm in arms
        ],
        "best": next(place for place, arm in enumerate(arms) if arm is compared.best),
        "groups": [list(map(int, group)) for group in compared.groups],
        "worst": list(map(list, arms[0].ranked[:EXPLAINED])),
        "explained": {f"{i}/{j}": _sections(explain.pair(compared, i, j)) for i, j in pairs},
        "images": images,
        "imagesOf": of_pairs,
        "imagesOfClasses": of_classes,
        "numImages": len(compared.names),
        "names": {str(index): clean(compared.names[index]) for index in sorted(named)},
        "cropArms": compared.abreast,
        "crops": list(map(_crop, shown)),
        "discoveries": list(map(_discovery, compared.discoveries)),
        "phases": [phase for run in compared.runs for phase in _phases(run, len(compared.runs) > 1)],
        "many": MANY,
    }


def explained(compared: Comparison) -> list:
    """The pairs that the page has sentences on, and lists of images: those that cost the first arm or the best most."""
    ranked = [arm.ranked[:EXPLAINED] for arm in (compared.arms[0], compared.best)]
    return list(dict.fromkeys(pair for of_arm in ranked for pair in of_arm))


def _sections(record: dict) -> list:
    return [[section["title"], list(map(clean, section["text"]))] for section in record["sections"]]


def _number(value) -> float | None:
    """A number of JSON: None for what is none, or not finite."""
    is_number = isinstance(value, (int, float)) and math.isfinite(value)
    return round(float(value), 7) if is_number else None


# ---- images


def _images(compared: Comparison) -> list:
    """The images that cost the first arm most mIoU, and those that the best has more wrong pixels in.

    Each with what it costs each arm, its wrong pixels in each, and the confusions that cost the first arm most there.
    """
    known = [arm.per_image for arm in compared.arms]
    if known[0] is None:
        return []
    of_arms = [None if of_arm is None else of_arm.costs for of_arm in known]
    ranked = [image for image in np.argsort(-of_arms[0], kind="stable").tolist() if of_arms[0][image] > 0]
    wrong = [None if of_arm is None else of_arm.wrong for of_arm in known]
    chosen = ranked[:IMAGES]
    if compared.best.per_image is not None:
        grew = compared.best.per_image.wrong - wrong[0]
        worse = [place for place in np.argsort(-grew, kind="stable").tolist() if grew[place] > 0]
        chosen += [place for place in worse[:GREW] if place not in chosen]
    # what a confusion costs is shared out among the images that it is in
    of_pixel = compared.arms[0].costs / np.maximum(compared.arms[0].full, 1)
    found = []
    for image in chosen:
        counts = known[0].matrix(image)
        cost = of_pixel * counts
        worst = [
            divmod(int(place), cost.shape[1]) for place in np.argsort(-cost, axis=None, kind="stable")[:3]
        ]
        lost = [None if costs is None else _number(costs[image]) for costs in of_arms]
        pairs = [[i, j, int(counts[i, j]), _number(cost[i, j])] for i, j in worst if cost[i, j] > 0]
        of_image = [None if of_arm is None else int(of_arm[image]) for of_arm in wrong]
        found.append({"image": image, "lost": lost, "wrong": of_image, "pairs": pairs})
    return found


def _images_of_classes(compared: Comparison) -> list:
    """Of each class, the images that cost it most IoU in the first arm: [[image, [IoU, that in the best arm]], ...]."""
    known = [arm.per_image for arm in (compared.arms[0], compared.best)]
    if known[0] is None:
        return []
    losses = [None if of_arm is None else np.nan_to_num(of_arm.losses) for of_arm in known]
    found = []
    for k, lost in enumerate(losses[0].T):
        ranked = np.argsort(-lost, kind="stable")[: IMAGES_OF["class"]].tolist()
        found.append(
            [
                [image, [None if of_arm is None else _number(of_arm[image, k]) for of_arm in losses]]
                for image in ranked
                if lost[image] > 0
            ]
        )
    return found


def _images_of_pairs(compared: Comparison, pairs: Sequence) -> dict:
    """Of each pair, as "i/j", how many images have this confusion, and which have most of it in any arm.

    returns  {"i/j": {"any": images that have it in any arm, "of": [in each arm], "listed": [[image, [pixels in each
             arm]], ...]}}; None for an arm whose single images are not known
    """
    known, found = [arm.per_image for arm in compared.arms], {}
    for i, j in pairs if known[0] is not None else ():
        pixels = [None if of_arm is None else of_arm.pixels(i, j) for of_arm in known]
        most = np.max([of_arm for of_arm in pixels if of_arm is not None], axis=0)
        ranked = np.argsort(-most, kind="stable")[: IMAGES_OF["pair"]].tolist()
        rows = [
            [place, [None if p is None else int(p[place]) for p in pixels]] for place in ranked if most[place]
        ]
        of_arms = [None if p is None else int(np.count_nonzero(p)) for p in pixels]
        found[f"{i}/{j}"] = {"any": int(np.count_nonzero(most)), "of": of_arms, "listed": rows}
    return found


def _crop(crop: Crop) -> dict:
    def text(content: bytes | None) -> str | None:
        return None if content is None else base64.b64encode(content).decode("ascii")

    return {
        "image": crop.image,
        "box": list(map(int, crop.box)),
        "size": list(map(int, crop.size)),
        "photograph": text(crop.photograph),
        "truth": text(crop.truth),
        "predictions": list(map(text, crop.predictions)),
        "confusions": crop.confusions,
        "values": crop.values,
    }


# ---- groups, and training


def _discovery(found: Discovery) -> dict:
    """A discovery, with an order of its classes in which groups stand side by side at most thresholds."""
    size = len(found.strength)
    automatic = next(step for step, (threshold, _) in enumerate(found.steps) if threshold == found.automatic)
    places = []  # of each class at each threshold: the number of its group
    for _, groups in [found.steps[automatic], *found.steps]:
        place = {klass: number for number, group in enumerate(groups or [range(size)]) for klass in group}
        places.append([place.get(klass, size) for klass in range(size)])
    # of many classes, those with the strongest confusions
    shown = np.argsort(-found.strength.max(1), kind="stable")[:MANY].tolist()
    rows, columns = np.nonzero(np.triu(found.strength) >= FAINTEST)
    return {
        "name": clean(found.name),
        "edges": [[int(i), int(j), _number(found.strength[i, j])] for i, j in zip(rows, columns)],
        "order": sorted(shown, key=lambda klass: ([of_step[klass] for of_step in places], klass)),
        "automatic": automatic,
        "steps": [[_number(threshold), groups] for threshold, groups in found.steps],
    }


def _phases(run: Run, is_one_of_several: bool) -> list:
    """The training curves: one entry for each phase, its epochs counted from 1."""
    found = {}
    for line in run.epochs:
        found.setdefault(line["phase"], []).append(line)
    of_run = f"{clean(run.folder.name)}: " if is_one_of_several else ""
    return [
        {
            "name": of_run + clean(PHASES.get(phase, phase)),
            "epochs": list(range(1, len(lines) + 1)),
            "losses": {
                clean(name).replace("subnet", "subnet "): [_number(_losses(line).get(name)) for line in lines]
                for name in dict.fromkeys(name for line in lines for name in _losses(line))
            },
            "val": [_number(line.get("val_mean_iou")) for line in lines],
        }
        for phase, lines in found.items()
    ]


def _losses(line: dict) -> dict:
    losses = line.get("loss")
    return losses if isinstance(losses, dict) else {}
