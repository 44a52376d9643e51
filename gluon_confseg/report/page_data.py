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

EXPLAINED = 200  # pairs that have sentences
IMAGES = 300  # that cost most
IMAGES_OF = 8  # that have most of a pair, and cost a class most
FAINTEST = 0.002  # of the edges that are drawn


def data(compared: Comparison, shown: Sequence[Crop]) -> dict:
    """Everything; classes, arms and images are indices."""
    arms = compared.arms
    pairs = arms[0].ranked[:EXPLAINED]
    images, of_classes, of_pairs = (
        _images(compared),
        _images_of_classes(compared),
        _images_of_pairs(compared, pairs),
    )
    named = {crop.image for crop in shown} | {one["image"] for one in images}
    named |= {image for listed in of_classes for image, _ in listed}
    named |= {image for _, listed in of_pairs.values() for image, _ in listed}
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
        "worst": list(map(list, pairs)),
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


def _sections(record: dict) -> list:
    return [[section["title"], list(map(clean, section["text"]))] for section in record["sections"]]


def _number(value) -> float | None:
    """A number of JSON: None for what is none, or not finite."""
    is_number = isinstance(value, (int, float)) and math.isfinite(value)
    return round(float(value), 7) if is_number else None


# ---- images


def _images(compared: Comparison) -> list:
    """The images that cost the first arm most mIoU, with what they cost each arm and by which confusions."""
    known = [arm.per_image for arm in compared.arms]
    if known[0] is None:
        return []
    of_arms = [None if of_arm is None else of_arm.costs for of_arm in known]
    ranked = [image for image in np.argsort(-of_arms[0], kind="stable").tolist() if of_arms[0][image] > 0]
    # what a confusion costs is shared out among the images that it is in
    of_pixel = compared.arms[0].costs / np.maximum(compared.arms[0].full, 1)
    found = []
    for image in ranked[:IMAGES]:
        counts = known[0].matrix(image)
        cost = of_pixel * counts
        worst = [
            divmod(int(place), cost.shape[1]) for place in np.argsort(-cost, axis=None, kind="stable")[:3]
        ]
        lost = [None if costs is None else _number(costs[image]) for costs in of_arms]
        pairs = [[i, j, int(counts[i, j])] for i, j in worst if cost[i, j] > 0]
        found.append({"image": image, "lost": lost, "pairs": pairs})
    return found


def _images_of_classes(compared: Comparison) -> list:
    """Of each class, the images that cost it most IoU in the first arm: [[image, IoU], ...]."""
    known = compared.arms[0].per_image
    if known is None:
        return []
    found = []
    for lost in np.nan_to_num(known.losses).T:
        ranked = np.argsort(-lost, kind="stable")[:IMAGES_OF].tolist()
        found.append([[image, _number(lost[image])] for image in ranked if lost[image] > 0])
    return found


def _images_of_pairs(compared: Comparison, pairs: Sequence) -> dict:
    """Of each pair, as "i/j": [how many images have this confusion, [[image, pixels of each arm], ...] of most]."""
    known, found = [arm.per_image for arm in compared.arms], {}
    for i, j in pairs if known[0] is not None else ():
        pixels = [None if of_arm is None else of_arm.pixels(i, j) for of_arm in known]
        most = np.max([of_arm for of_arm in pixels if of_arm is not None], axis=0)
        ranked = [place for place in np.argsort(-most, kind="stable")[:IMAGES_OF].tolist() if most[place]]
        rows = [[place, [None if p is None else int(p[place]) for p in pixels]] for place in ranked]
        found[f"{i}/{j}"] = [int(np.count_nonzero(most)), rows]
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
