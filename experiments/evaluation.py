"""Evaluating a run's networks: matrices per image, and the prediction panels of Fig. 8."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np

from gluon_confseg import engine, files, hardware, metrics
from gluon_confseg.crf import DenseCRF
from gluon_confseg.datasets import normalize, whole_images
from gluon_confseg.errors import RunError
from gluon_confseg.fusion import Fusion
from gluon_confseg.inference import PLAIN, Inference
from gluon_confseg.progress import Progress

PANELS = 6
ABREAST = 6  # arms that a panel can show
# how whole images are put to the test; the scales are a usual set, the paper names none
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5)
TESTS = {
    "single": PLAIN,
    "flip": Inference(flip=True),
    "flip-bicubic": Inference(flip=True, bicubic=True),  # ResNet-38's authors
    "multi-scale": Inference(scales=SCALES, flip=True),
    "window": Inference(window=(512, 1024)),
    "crf": Inference(crf=DenseCRF()),
}
FEW = 32  # are read sooner than a process starts


class Matrices:
    """confusion.npz: int64 (K, K) counts by name, rows truth, columns prediction; every change is on disk at once."""

    def __init__(self, path):
        self._path = Path(path)

    def _all(self) -> dict:
        if not self._path.exists():
            return {}
        with np.load(self._path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    def __contains__(self, name: str) -> bool:
        return name in self._all()

    def __getitem__(self, name: str) -> np.ndarray:
        return self._all()[name]

    def __setitem__(self, name: str, counts: np.ndarray) -> None:
        content = io.BytesIO()
        np.savez_compressed(content, **{**self._all(), name: counts.astype(np.int64)})
        files.write_bytes(self._path, content.getvalue())


def file_name(stage: str, test: str = "single", split: str = "val") -> str:
    """Name of the file of a stage's per-image matrices, rule -> (images, K, K)."""
    parts = [stage, *([] if test == "single" else [test]), *([] if split == "val" else [split])]
    return ".".join([*parts, "evaluation", "npz"])


def check_tests(tests) -> None:
    """Raise RunError for a way of testing that is not known or can't be had here: before the training, not after it."""
    for test in sorted(tests):
        if test not in TESTS:
            raise RunError(f"no test {test!r}: choose one of {', '.join(TESTS)}")
        TESTS[test].check()


def run(network, dataset, indices, rules, title: str, context=None, inference: Inference = PLAIN) -> dict:
    """Evaluate whole images at their own size: rule -> (images, K, K) int64 counts, in the order of `indices`."""
    counted = {rule: [] for rule in rules}
    classes = dataset.labels.num_classes
    with Progress(title, len(indices), "image") as bar:
        workers = readers(len(indices), context)
        samples = whole_images(dataset, workers=workers, indices=indices, **network.normalisation)
        views = {"context": context, "inference": inference}
        for _, _, matrices in engine.evaluate(network, samples, rules, classes, **views):
            for rule in rules:
                counted[rule].append(matrices[rule].counts)
            bar.update(1)
    return {rule: np.stack(counts) for rule, counts in counted.items()}


def readers(samples: int, context=None) -> int:
    """Processes that read ahead: on CPUs one, since the network needs the cores; none for a handful of images."""
    if samples < FEW:
        return 0
    on_gpu = context is not None and context.device_type == "gpu"
    return max(1, min(8, hardware.physical_cores() - 1)) if on_gpu else 1


# ---- panels


def write_panels(experiment) -> None:
    """Crops where the arms differ most inside the groups, and one where the last arm did worst: Fig. 8.

    None where there are more arms than can stand side by side: their networks would not fit in memory together.
    """
    folder = experiment.folder.path / "panels"
    chosen = choose(experiment) if len(experiment.arms) <= ABREAST else []
    networks = {}
    for arm in experiment.arms:
        if chosen and arm.stage not in networks:
            networks[arm.stage] = experiment.load(experiment.recipe.stage(arm.stage))
    records = [_panel(experiment, folder, networks, index, pair, worse) for index, pair, worse in chosen]
    files.write_json(folder / "panels.json", records)


def choose(experiment) -> list:
    """[(image index, (true class, predicted class), whether it got worse)]: at most PANELS, none twice."""
    first, last = experiment.arms[0], experiment.arms[-1]
    before, after = experiment.per_image(first), experiment.per_image(last)
    pairs = _worst_pairs(before.sum(0), experiment.groups())
    chosen, used = [], set()
    for i, j in pairs:
        index = _best_unused((before - after)[:, i, j], used)
        if index is not None and len(chosen) < PANELS - 1:
            chosen.append((index, (i, j), False))
    if pairs:
        i, j = max(pairs, key=lambda pair: (after - before)[:, pair[0], pair[1]].max())
        index = _best_unused((after - before)[:, i, j], used)
        if index is not None:
            chosen.append((index, (i, j), True))
    if pairs and not chosen:  # nothing changed: show where the worst pair is confused most
        chosen.append((int(before[:, pairs[0][0], pairs[0][1]].argmax()), pairs[0], False))
    return chosen


def _best_unused(scores: np.ndarray, used: set):
    for index in np.argsort(-scores, kind="stable"):
        if scores[index] <= 0:
            return None
        if int(index) not in used:
            used.add(int(index))
            return int(index)
    return None


def _worst_pairs(counts: np.ndarray, groups) -> list:
    """Pairs (truth, prediction) inside the groups by their share of the truth, the groups taking turns."""
    shares = metrics.normalize(counts)
    ranked = [
        sorted(
            ((i, j) for i in group for j in group if i != j and shares[i, j] > 0), key=lambda p: -shares[p]
        )
        for group in groups
    ]
    longest = max((len(pairs) for pairs in ranked), default=0)
    return [pairs[turn] for turn in range(longest) for pairs in ranked if turn < len(pairs)]


def _panel(experiment, folder: Path, networks: dict, index: int, pair: tuple, worse: bool) -> dict:
    dataset, name = experiment.val_set, experiment.val_set.names[index].replace("/", "_")
    image, mask = dataset[index]
    pictures = {"truth": mask}
    for arm in experiment.arms:
        pictures[arm.key] = _predict(networks[arm.stage], arm, image, experiment)
    first, last = (pictures[arm.key] for arm in (experiment.arms[0], experiment.arms[-1]))
    changed = (mask == pair[0]) & ((first == pair[1]) != (last == pair[1]))
    _write_png(folder / name / "image.png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    for key, picture in pictures.items():
        _write_png(folder / name / f"{key}.png", picture)
    i, j = (dataset.classes[k] for k in pair)
    why = f"{i} taken for {j}" + (", worse with the last arm" if worse else "")
    return {"name": name, "why": why, "worse": worse, "box": _box(changed, mask.shape), "classes": list(pair)}


def _predict(network, arm, image: np.ndarray, experiment) -> np.ndarray:
    import mxnet as mx

    rule = experiment.recipe.rule_of(arm)
    images = mx.nd.array(normalize(image, **network.normalisation)[None], ctx=experiment.context)
    fuse = Fusion.of(network, rule)
    return engine.predict(network, {rule: fuse}, images, TESTS[arm.test])[rule][0]


def _box(changed: np.ndarray, shape: tuple) -> list:
    """[top, left, bottom, right] of 60 % of the image's height and half its width, about the changed pixels."""
    height, width = round(shape[0] * 0.6), round(shape[1] * 0.5)
    rows, columns = np.nonzero(changed)
    row, column = (
        int(np.median(v)) if v.size else s // 2 for v, s in ((rows, shape[0]), (columns, shape[1]))
    )
    top = min(max(row - height // 2, 0), shape[0] - height)
    left = min(max(column - width // 2, 0), shape[1] - width)
    return [top, left, top + height, left + width]


def _write_png(path: Path, picture: np.ndarray) -> None:
    encoded, content = cv2.imencode(".png", picture)
    files.write_bytes(path, content.tobytes())
