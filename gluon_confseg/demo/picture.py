"""One picture of a scene for `confseg demo`: image, ground truth, and each prediction beside its errors."""

from __future__ import annotations

import cv2
import numpy as np

from gluon_confseg.labels import LabelSpace

_STRIP, _GAP, _SWATCH = (
    24,
    6,
    14,
)  # pixels: a heading's height, between parts, the side of a colour in the legend
_PAPER, _INK, _WRONG = (250, 250, 250), (40, 40, 40), (215, 25, 28)
_FONT, _LETTERS = cv2.FONT_HERSHEY_SIMPLEX, 0.45


def draw(image: np.ndarray, truth: np.ndarray, predictions: dict, labels: LabelSpace) -> np.ndarray:
    """The whole picture, (H, W, 3) uint8 RGB.

    image        (h, w, 3) uint8 RGB
    truth        (h, w) train ids; ignored pixels are black, and never wrong
    predictions  heading -> (h, w) train ids; each gets a row with its colours, and its wrong pixels in red
    """
    rows = [_row({"image": image, "ground truth": labels.colorize(truth)})]
    for heading, classes in predictions.items():
        wrong = (classes != truth) & (truth != labels.ignore_label)
        share = 100 * wrong.sum() / max((truth != labels.ignore_label).sum(), 1)
        parts = {heading: labels.colorize(classes), f"wrong in red: {share:.1f} %": _errors(image, wrong)}
        rows.append(_row(parts))
    shown = np.unique(np.concatenate([truth.ravel(), *(classes.ravel() for classes in predictions.values())]))
    rows.append(_legend([k for k in shown if k < labels.num_classes], labels, rows[0].shape[1]))
    return np.concatenate(rows)


def _errors(image: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    faint = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) // 2 + 110
    faint[wrong] = _WRONG
    return faint.astype(np.uint8)


def _row(parts: dict) -> np.ndarray:
    """Parts beside each other, each under its heading."""
    columns = []
    for heading, pixels in parts.items():
        strip = np.full((_STRIP, pixels.shape[1], 3), _PAPER, np.uint8)
        _write(strip, heading, (2, _STRIP - 8))
        columns += [
            np.concatenate([strip, pixels]),
            np.full((_STRIP + len(pixels), _GAP, 3), _PAPER, np.uint8),
        ]
    return np.concatenate(columns[:-1], axis=1)


def _legend(classes: list, labels: LabelSpace, width: int) -> np.ndarray:
    """The names of classes beside their colours, on as many lines as they need."""
    lines, place = [[]], 2
    for k in classes:
        wide = _SWATCH + 24 + cv2.getTextSize(labels.classes[k], _FONT, _LETTERS, 1)[0][0]
        if place + wide > width and lines[-1]:
            lines, place = [*lines, []], 2
        lines[-1].append((k, place))
        place += wide
    legend = np.full((_STRIP * len(lines) + _GAP, width, 3), _PAPER, np.uint8)
    for number, line in enumerate(lines):
        for k, left in line:
            top = _STRIP * number + _GAP
            legend[top : top + _SWATCH, left : left + _SWATCH] = labels.colors[k]
            _write(legend, labels.classes[k], (left + _SWATCH + 5, top + _SWATCH - 3))
    return legend


def _write(pixels: np.ndarray, text: str, place: tuple) -> None:
    cv2.putText(pixels, text, place, _FONT, _LETTERS, _INK, 1, cv2.LINE_AA)
