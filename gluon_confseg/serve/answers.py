"""What is sent back of a segmented picture: PNGs, and figures as JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from gluon_confseg import drawing
from gluon_confseg.datasets.photograph import Photograph
from gluon_confseg.labels import IGNORE, LabelSpace
from gluon_confseg.segmenter import Planes
from gluon_confseg.serve import regions
from gluon_confseg.serve.limits import Refusal

_KINDS = {"labels": "ids", "overlay": "overlay", "confusion": "confusion"}  # as `confseg predict` calls them
PICTURES = tuple(_KINDS)
ANSWERS = ("json", *PICTURES)
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
    """Makes answers of what a network says.

    close   the difference of the two largest probabilities below which a pixel is confused
    """

    def __init__(self, segmenter, close: float):
        self._labels, self._knows_rivals, self._close = segmenter.labels, segmenter.gives_probabilities, close

    def close(self, wanted: Wanted) -> float | None:
        """What `Segmenter.planes` is to be given: None where rivals are not wanted, or not known."""
        asked = wanted.answer in ("json", "confusion")
        return self._close if asked and self._knows_rivals else None

    def make(self, wanted: Wanted, photograph: Photograph, planes: Planes) -> tuple[str, bytes]:
        """(media type, content)."""
        if wanted.answer != "json":
            return "image/png", self._png(wanted.answer, photograph, planes)
        record = figures(photograph, planes.classes, self._labels)
        record["confused"] = None if planes.rivals is None else confused(planes, self._labels, self._close)
        record["pictures"] = {
            name: f"data:image/png;base64,{base64.b64encode(self._png(name, photograph, planes)).decode()}"
            for name in wanted.include
        }
        return "application/json", (json.dumps(record, allow_nan=False) + "\n").encode()

    def _png(self, name: str, photograph: Photograph, planes: Planes) -> bytes:
        draw, _, _ = drawing.DRAWN[_KINDS[name]]
        return png(draw(photograph.pixels, planes, self._labels, slice(0, planes.classes.shape[0])))


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


def confused(planes: Planes, labels: LabelSpace, close: float) -> dict:
    """The share of a picture that is confused, and its largest confused regions."""
    return {
        "close": close,
        "share": float((planes.rivals != IGNORE).mean()),
        "regions": [
            {
                "classes": [labels.classes[k] for k in region.classes],
                "pixels": region.pixels,
                "share": region.pixels / planes.classes.size,
                "box": list(region.box),
            }
            for region in regions.largest(planes.classes, planes.rivals, _MOST_REGIONS)
        ],
    }


def png(pixels: np.ndarray) -> bytes:
    """(H, W) or (H, W, 3) uint8 RGB as a PNG file."""
    content = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    return cv2.imencode(".png", content)[1].tobytes()
