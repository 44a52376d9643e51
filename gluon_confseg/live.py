"""What can be seen of a phase in TensorBoard while it is trained: its curves, its confusion, and some images."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import cv2
import mxnet as mx
import numpy as np
from PIL import Image

from . import engine, groups, metrics
from .datasets import normalize
from .datasets.base import spread_indices
from .event_files import OF_STEPS
from .frozen import FrozenNetwork
from .fusion import Fusion

IMAGES = 3  # of the validation split: the same ones after every validation
HEIGHT, GAP = 192, 4  # pixels, of such an image and between two
CLASSES = 40  # most classes that a picture of a confusion matrix shows


class Live:
    """Tells the event files of a phase what goes on; it does nothing where there are none.

    events   an `event_files.Events`, or None
    used     the groups whose confusion is followed, as tuples of classes
    It changes nothing of the training: what it computes are further predictions of the network as it is.
    """

    def __init__(self, events, phase, dataset, used, *, rule: str, device=None, inference):
        self._events, self._phase, self._dataset, self._used = events, phase, dataset, used
        self._rule, self._device, self._inference = rule, device, inference
        self._numbers, self._pictures = {}, {}  # of the validation of the epoch that ends next
        self._moment = time.monotonic()

    def step(self, step: int, loss: float, rate: float, images: int) -> None:
        """After update number `step` of so many images: their mean loss, the learning rate, images per second."""
        if self._events is None:
            return
        before, self._moment = self._moment, time.monotonic()
        said = {"loss": loss, "learning rate": rate, "images per second": images / (self._moment - before)}
        self._events.add(step, {OF_STEPS + name: number for name, number in said.items()})

    def validated(self, network, record: dict, counts: np.ndarray) -> None:
        """Prepare what `epoch` shows of a validation.

        record   the epoch's line of the log, with its scores
        counts   (images, K, K) counts by the phase's rule
        """
        if self._events is None:
            return
        matrix, names = counts.sum(0), self._dataset.classes
        shares = metrics.normalize(matrix)
        found = {"validation/mIoU": record["val_mean_iou"]}
        if "train_mean_iou" in record:
            found["validation/mIoU on training images"] = record["train_mean_iou"]
        iou = dict(zip(names, metrics.iou(matrix)))
        found.update(
            {f"validation IoU of classes/{name}": value for name, value in iou.items() if not np.isnan(value)}
        )
        for number, group in enumerate(self._used, 1):
            words = ", ".join(names[klass] for klass in group)
            found[f"confusion inside groups/group {number}: {words}"] = groups.inside(shares, group)
        self._numbers = found
        title = f"{self._phase.name}, epoch {record['epoch']}: mIoU {100 * record['val_mean_iou']:.1f} %"
        self._pictures = {
            "pictures/confusion matrix": _confusion(shares, names, self._used, title),
            "pictures/predictions": self._predictions(network),
        }

    def epoch(self, step: int, record: dict) -> None:
        """When an epoch has ended, after update number `step`: its losses, and its validation if it had one."""
        if self._events is None:
            return
        losses = {f"losses of epochs/{name}": value for name, value in record["loss"].items()}
        self._events.add(step, {**losses, **self._numbers}, self._pictures)
        self._numbers, self._pictures = {}, {}
        self._moment = time.monotonic()

    def _predictions(self, network) -> tuple:
        """Image, label, prediction and errors of some images, side by side."""
        dataset, rows = self._dataset, []
        network = FrozenNetwork(network, {self._rule: Fusion.of(network, self._rule)})
        for index in spread_indices(len(dataset), IMAGES):
            image, label = dataset[index]
            batch = mx.nd.array(normalize(image, **network.normalisation)[None], ctx=self._device)
            (found,) = engine.predict(network, network.fusions, batch, self._inference).values()
            rows.append(_row(image, label, found[0], dataset.labels.colors))
        width = max(row.shape[1] for row in rows)
        rows = [cv2.copyMakeBorder(row, 0, GAP, 0, width - row.shape[1], cv2.BORDER_CONSTANT) for row in rows]
        picture = np.concatenate(rows)[:-GAP]
        return *picture.shape[:2], cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes()


def _row(image, label, prediction, colors) -> np.ndarray:
    """(HEIGHT, W, 3) RGB: where a pixel is wrong it is red, where it is right gray, and black where it has no label."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colors)] = colors
    errors = np.where((label == prediction)[..., None], np.uint8(200), np.uint8((213, 50, 20)))
    errors[label >= len(colors)] = 0
    width = max(1, round(HEIGHT * image.shape[1] / image.shape[0]))
    photograph = cv2.resize(image, (width, HEIGHT), interpolation=cv2.INTER_AREA)
    others = [
        cv2.resize(each, (width, HEIGHT), interpolation=cv2.INTER_NEAREST)
        for each in (table[label], table[prediction], errors)
    ]
    gap = np.zeros((HEIGHT, GAP, 3), np.uint8)
    parts = [part for each in (photograph, *others) for part in (each, gap)]
    return np.concatenate(parts[:-1], axis=1)


def _confusion(shares: np.ndarray, names, used, title: str) -> tuple:
    from .report import pictures

    kept = list(range(len(names)))
    if len(names) > CLASSES:
        wrong = shares + shares.T - 2 * np.diag(np.diag(shares))
        kept = sorted(np.argsort(-wrong.sum(0), kind="stable")[:CLASSES].tolist())
        title += f"; the {CLASSES} most confused of {len(names)} classes"
    place = {klass: number for number, klass in enumerate(kept)}
    shown = [[place[klass] for klass in group if klass in place] for group in used]
    inside = shares[np.ix_(kept, kept)]
    return _drawn(pictures.confusion_matrix, inside, [names[klass] for klass in kept], shown, title)


def _drawn(draw, *content) -> tuple:
    """(height, width, PNG) of a picture that `draw(path, ...)` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        draw(path, *content)
        with Image.open(path) as picture:
            width, height = picture.size
        return height, width, path.read_bytes()
