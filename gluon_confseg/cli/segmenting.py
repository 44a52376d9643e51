"""Pictures in, PNGs of class ids and of colours out."""

from __future__ import annotations

from pathlib import Path

import cv2
import mxnet as mx
import numpy as np

from gluon_confseg import engine, files, runtime
from gluon_confseg.datasets import normalize
from gluon_confseg.datasets.photograph import Photograph
from gluon_confseg.frozen import FrozenNetwork
from gluon_confseg.fusion import Fusion
from gluon_confseg.inference import PLAIN, Inference
from gluon_confseg.labels import LabelSpace

OPACITY = 0.6  # of the colours over the picture


def segmenter(loaded, inference: Inference = PLAIN):
    """Function from a picture (H, W, 3) uint8 to its classes (H, W) uint8."""
    context = runtime.default_context()
    fuse = Fusion.of(loaded.network, loaded.rule)
    fuse.hybridize()
    fusions = {loaded.rule: fuse}
    network = FrozenNetwork(loaded.network, fusions)

    def segment(picture: np.ndarray) -> np.ndarray:
        images = mx.nd.array(normalize(picture, **loaded.network.normalisation)[None], ctx=context)
        return engine.predict(network, fusions, images, inference)[loaded.rule][0]

    return segment


def write(out: Path, path: Path, photograph: Photograph, classes: np.ndarray, labels: LabelSpace) -> dict:
    """Write the two PNGs of a picture; returns what was written, what to know of it, and the share of each class."""
    colors = labels.colorize(classes)
    blended = cv2.addWeighted(photograph.pixels, 1 - OPACITY, colors, OPACITY, 0)
    written = {"ids": out / "ids" / f"{path.stem}.png", "overlay": out / "overlay" / f"{path.stem}.png"}
    for file, content in zip(written.values(), (classes, cv2.cvtColor(blended, cv2.COLOR_RGB2BGR))):
        files.write_bytes(file, cv2.imencode(".png", content)[1].tobytes())
    shares = np.bincount(classes.ravel(), minlength=labels.num_classes) / classes.size
    about = {"image": str(path), "width": classes.shape[1], "height": classes.shape[0]}
    about.update({kind: str(file) for kind, file in written.items()})
    return {**about, "notes": photograph.notes(), "shares": shares.tolist()}
