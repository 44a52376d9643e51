"""What is sent back of a segmented picture: PNGs, and figures as JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from gluon_confseg.confusion_map import Confusion, confusion_of
from gluon_confseg.datasets.photograph import Photograph
from gluon_confseg.labels import LabelSpace
from gluon_confseg.serve.limits import Refusal

PICTURES = ("labels", "overlay", "confusion")
ANSWERS = ("json", *PICTURES)
_OPACITY = 0.6  # of the classes' colours, as `confseg predict` lays them over a picture
_MOST_REGIONS = 20


class Wanted(NamedTuple):
    """What a request asks for.

    answer    of ANSWERS
    include   PICTURES that a JSON answer holds as well
    """

    answer: str = "json"
    include: tuple = ()

    @classmethod
    def of(cls, query: Sequence[tuple[str, str]]) -> Wanted:
        """From the (name, value) pairs of an address; Refusal 400 for what is unknown."""
        found = {}
        for name, value in query:
            if name not in ("answer", "include"):
                raise Refusal(400, "the address has an unknown parameter; there are answer and include")
            if name in found:
                raise Refusal(400, f"the address gives {name} twice; give it once")
            found[name] = value
        answer = found.get("answer", "json")
        if answer not in ANSWERS:
            raise Refusal(400, f"there is no such answer; choose one of {', '.join(ANSWERS)}")
        include = tuple(dict.fromkeys(filter(None, found.get("include", "").split(","))))
        if not set(include) <= set(PICTURES):
            raise Refusal(
                400,
                f"include names what is no picture; give some of {','.join(PICTURES)}, with commas between",
            )
        if include and answer != "json":
            raise Refusal(400, "include is for JSON answers; leave it out, or ask for answer=json")
        return cls(answer, include)


class Answerer:
    """Makes answers of a network's classes."""

    def __init__(self, segmenter):
        self._segmenter, self._labels = segmenter, segmenter.labels

    def make(self, wanted: Wanted, photograph: Photograph, classes: np.ndarray) -> tuple[str, bytes]:
        """(media type, content). classes: (H, W) uint8. The network runs again where confusions are asked for."""
        confusion = None
        if self._segmenter.gives_probabilities and wanted.answer in ("json", "confusion"):
            probabilities = self._segmenter.probabilities(photograph.pixels)
            confusion = confusion_of(probabilities, self._segmenter.groups)
        pictures = {
            "labels": lambda: classes,
            "overlay": lambda: overlay(photograph.pixels, classes, self._labels),
            "confusion": lambda: confusion.picture(photograph.pixels),
        }
        if wanted.answer != "json":
            return "image/png", png(pictures[wanted.answer]())
        record = figures(photograph, classes, self._labels)
        record["confused"] = None if confusion is None else confused(confusion, self._labels)
        record["pictures"] = {
            name: f"data:image/png;base64,{base64.b64encode(png(pictures[name]())).decode()}"
            for name in wanted.include
        }
        return "application/json", (json.dumps(record, allow_nan=False) + "\n").encode()


def figures(photograph: Photograph, classes: np.ndarray, labels: LabelSpace) -> dict:
    """A picture's size, what to know of how it was read, and the share of each class that is in it, largest first."""
    counts = np.bincount(classes.ravel(), minlength=labels.num_classes)
    order = [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]]
    return {
        "width": classes.shape[1],
        "height": classes.shape[0],
        "notes": photograph.notes(),
        "classes": [
            {
                "class": labels.classes[k],
                "id": k,
                "color": "#{:02x}{:02x}{:02x}".format(*labels.colors[k]),
                "pixels": int(counts[k]),
                "share": counts[k] / classes.size,
            }
            for k in order
        ],
    }


def confused(confusion: Confusion, labels: LabelSpace) -> dict:
    """The share of a picture that is confused, and its largest confused regions."""
    regions = confusion.regions(_MOST_REGIONS)
    return {
        "share": float(confusion.mask.mean()),
        "regions": [
            {
                "classes": [labels.classes[k] for k in region.classes],
                "pixels": region.pixels,
                "share": region.pixels / confusion.mask.size,
                "box": list(region.box),
                "closeness": region.closeness,
            }
            for region in regions
        ],
    }


def overlay(pixels: np.ndarray, classes: np.ndarray, labels: LabelSpace) -> np.ndarray:
    """The classes' colours over the picture, (H, W, 3) uint8."""
    return cv2.addWeighted(pixels, 1 - _OPACITY, labels.colorize(classes), _OPACITY, 0)


def png(pixels: np.ndarray) -> bytes:
    """(H, W) or (H, W, 3) uint8 RGB as a PNG file."""
    content = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    return cv2.imencode(".png", content)[1].tobytes()
