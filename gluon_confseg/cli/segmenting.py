"""Pictures in, PNGs of class ids and of colours out."""

from __future__ import annotations

from pathlib import Path

import cv2
import mxnet as mx
import numpy as np

from gluon_confseg import engine, files, runtime
from gluon_confseg.datasets import normalize, png
from gluon_confseg.errors import DatasetError
from gluon_confseg.fusion import Fusion
from gluon_confseg.inference import PLAIN, Inference
from gluon_confseg.labels import LabelSpace

OPACITY = 0.6  # of the colours over the picture


def read(path: Path) -> np.ndarray:
    """A picture as (H, W, 3) uint8 RGB; DatasetError where it is none, or a damaged PNG."""
    if path.suffix.lower() == ".png":
        return png.read_image(path)
    content = np.frombuffer(path.read_bytes(), np.uint8)
    picture = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if picture is None:
        raise DatasetError(f"{path}: can't be read as a picture; give a PNG or JPEG file")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def segmenter(loaded, inference: Inference = PLAIN):
    """Function from a picture (H, W, 3) uint8 to its classes (H, W) uint8."""
    context = runtime.default_context()
    fuse = Fusion.of(loaded.network, loaded.rule)
    fuse.hybridize()

    def segment(picture: np.ndarray) -> np.ndarray:
        images = mx.nd.array(normalize(picture, **loaded.network.normalisation)[None], ctx=context)
        return engine.predict(loaded.network, {loaded.rule: fuse}, images, inference)[loaded.rule][0]

    return segment


def write(out: Path, path: Path, picture: np.ndarray, classes: np.ndarray, labels: LabelSpace) -> dict:
    """Write the two PNGs of a picture; returns what was written and the share of each class."""
    colors = labels.colorize(classes)
    blended = cv2.addWeighted(picture, 1 - OPACITY, colors, OPACITY, 0)
    written = {"ids": out / "ids" / f"{path.stem}.png", "overlay": out / "overlay" / f"{path.stem}.png"}
    for file, content in zip(written.values(), (classes, cv2.cvtColor(blended, cv2.COLOR_RGB2BGR))):
        files.write_bytes(file, cv2.imencode(".png", content)[1].tobytes())
    shares = np.bincount(classes.ravel(), minlength=labels.num_classes) / classes.size
    about = {"image": str(path), "width": classes.shape[1], "height": classes.shape[0]}
    return {**about, **{kind: str(file) for kind, file in written.items()}, "shares": shares.tolist()}
