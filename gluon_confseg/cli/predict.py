"""`confseg predict`: pictures to class ids, and to colours over the picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import mxnet as mx
import numpy as np

from gluon_confseg import engine, files, runtime
from gluon_confseg.cli import networks, outputs, views
from gluon_confseg.cli.answer import Answer
from gluon_confseg.datasets import normalize, png
from gluon_confseg.datasets.pairing import listed
from gluon_confseg.errors import DatasetError
from gluon_confseg.fusion import Fusion
from gluon_confseg.inference import PLAIN, Inference
from gluon_confseg.labels import LabelSpace
from gluon_confseg.progress import Progress

OPACITY = 0.6  # of the colours over the picture
SHOWN = 0.01  # classes with a smaller share of a picture are not listed


def run(arguments) -> Answer:
    """Segment every picture; OUT/ids/NAME.png and OUT/overlay/NAME.png each."""
    check(arguments.images)
    inference = views.inference(arguments)
    for kind in ("ids", "overlay"):
        outputs.folder(arguments.out / kind)
    loaded = networks.load(arguments.checkpoint, arguments.rule)
    segment, done = segmenter(loaded, inference), []
    with Progress("prediction", len(arguments.images), "image") as bar:
        for path in arguments.images:
            picture = read(path)
            done.append(write(arguments.out, path, picture, segment(picture), loaded.labels))
            bar.update(1)
    about = {"network": networks.record(loaded), "inference": views.record(inference)}
    record = {**about, "classes": list(loaded.labels.classes), "images": done}
    return Answer(_text(loaded, inference, done), record)


def check(paths: list) -> None:
    """One DatasetError for all pictures that are not there, and for two that would get the same name."""
    missing = [
        f"{path}: is {'a folder' if path.is_dir() else 'not there'}" for path in paths if not path.is_file()
    ]
    if missing:
        raise DatasetError(f"{listed(missing)}; give the files of pictures, such as FOLDER/*.png")
    first = {}
    for path in paths:
        if first.setdefault(path.stem, path) is not path:
            raise DatasetError(
                f"{path}: would get the same file as {first[path.stem]}; segment them into two folders"
            )


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


def _text(loaded, inference: Inference, done: list) -> str:
    names = loaded.labels.classes
    lines = [f"Network: {networks.describe(loaded)}; {inference.describe()}."]
    for image in done:
        most = [(share, k) for k, share in enumerate(image["shares"]) if share >= SHOWN]
        listing = ", ".join(
            f"{names[k]} {100 * share:.0f} %" for share, k in sorted(most, key=lambda s: -s[0])
        )
        lines.append(f"{image['image']} ({image['width']} x {image['height']}): {listing}")
        lines.append(f"  {image['ids']}  {image['overlay']}")
    ends = f"0 is {names[0]}, {len(names) - 1} is {names[-1]}"
    return "\n".join([*lines, f"ids/ holds train ids of {loaded.labels.title} ({ends})."])
