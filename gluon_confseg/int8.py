"""INT8 variants of exported networks: convolutions compute in 8 bits, where that is faster.

MXNet quantizes a graph for oneDNN, onnxruntime by its static quantization. The range of each feature is what it is on
some training images. Neither gives the float network's scores, so an INT8 variant is compared with it on validation
images: the time, the mIoU, and where the classes are the same. The figures are those of this CPU. Another kind may be
slower in 8 bits, and one without instructions for them (VNNI) may give other classes by onnxruntime.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import mxnet as mx
import numpy as np

from . import engine, export, files, hardware, onnx_export
from .datasets.base import spread_indices
from .datasets.colour import normalize
from .errors import DatasetError, RunError
from .metrics import ConfusionMatrix
from .network import FusedNetwork
from .progress import Progress

CALIBRATED = 16  # training images that ranges are taken from
MOST = (512, 1024)  # (height, width): more is cut from none of them
SCORED = 120  # validation images, spread over all, on which the variants are compared
SEEN = (1024, 2048)  # (height, width): more is cut from none of them, since they are segmented whole
TIMED = 20  # times that each variant is timed at least
LEAST_EQUAL = 0.5  # share of the pixels with the float network's class; below, a variant is another network
RUN_AT = ((1, 1), (33, 47), (64, 96), (101, 77))  # (height, width): the graph must not depend on a size


@dataclasses.dataclass(frozen=True)
class Variant:
    """What a network gives on validation images in one of its variants.

    seconds    (median, least, most) of an image
    mean_iou   over all of them
    equal      share of the pixels that have the class that the first variant gives them
    """

    seconds: tuple
    mean_iou: float
    equal: float


@dataclasses.dataclass(frozen=True)
class ExportedInt8:
    """Files of an exported INT8 network, {variant: `Variant`}, and how many images were compared."""

    files: tuple
    variants: dict
    images: int


def write_graph(network, rule: str, labels, prefix, train, val, origin: dict | None = None) -> ExportedInt8:
    """Write the three files of an INT8 graph for MXNet, as `export.write` names them.

    train, val   splits of a data set with the network's classes; `val` has labels
    Raises RunError where the variant is not faster than the plain and the fused graph, and off the CPU.
    """
    fused, prefix = FusedNetwork(network, rule), Path(prefix)
    fused.hybridize()
    with tempfile.TemporaryDirectory() as folder:
        saved = {name: f"{folder}/{name}" for name in ("plain", "fused", "int8")}
        quantize_graph(fused, saved["int8"], examples(train, network.normalisation))
        export.save_plain(fused, saved["plain"])
        export.save_fused(fused, saved["fused"])
        runs = {name: run_of_graph(saved[name], network.normalisation) for name in saved}
        found = compared(runs, val)
        check(found)
        about = {**export.describe(network, rule, labels), "variant": "int8", "origin": origin}
        kept = export.keep(saved["int8"], prefix, {**about, "measured": record(found, val)})
    return ExportedInt8(kept, found, _scored(val))


def write_onnx(
    network, rule: str, labels, path, train, val, *, pictures: bool = False, origin: dict | None = None
) -> ExportedInt8:
    """Write PATH and PATH.json, as `onnx_export.write` does, of an INT8 network for onnxruntime.

    train, val   as of `write_graph`
    Raises RunError where the variant is not faster than the float network, and where `onnx_export.write` does.
    """
    path, fused = Path(path), FusedNetwork(network, rule)
    about = {**onnx_export.description(network, rule, labels, pictures), "variant": "int8", "origin": origin}
    content = onnx_export.model(fused, pictures=pictures)
    onnx_export.check(fused, content, pictures)
    shown = examples(train, None if pictures else network.normalisation)
    quantized = onnx_export.with_card(quantized_onnx(content, shown), about)
    normalisation = None if pictures else network.normalisation
    runs = {"float": run_of_onnx(content, normalisation), "int8": run_of_onnx(quantized, normalisation)}
    found = compared(runs, val)
    check(found)
    files.write_bytes(path, quantized)
    beside, sums = path.with_name(f"{path.name}.json"), {path.name: export.checksum(quantized)}
    files.write_json(beside, {**about, "measured": record(found, val), "files": sums})
    return ExportedInt8((path, beside), found, _scored(val))


def examples(dataset, normalisation: dict | None) -> np.ndarray:
    """What a network sees of some images, cut from their middles to one size: (N, 3, H, W) float32.

    Images less than half as high or as wide as the median one are left out, since they would make all others small.
    normalisation   None: pictures (N, H, W, 3) uint8 instead
    """
    pictures = [dataset.read_image(index) for index in spread_indices(len(dataset), CALIBRATED)]
    if not pictures:
        raise DatasetError(f"{dataset.root}: split {dataset.split} has no image to calibrate on")
    half = [statistics.median(picture.shape[axis] for picture in pictures) / 2 for axis in (0, 1)]
    large = [p for p in pictures if p.shape[0] >= half[0] and p.shape[1] >= half[1]] or pictures
    height, width = (min(MOST[axis], *(p.shape[axis] for p in large)) for axis in (0, 1))
    cut = np.stack([_middle(picture, height, width) for picture in large])
    return cut if normalisation is None else np.stack([normalize(p, **normalisation) for p in cut])


def _middle(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    height, width = min(height, picture.shape[0]), min(width, picture.shape[1])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


# ---- quantization


def quantize_graph(fused: FusedNetwork, prefix: str, images: np.ndarray) -> None:
    """Write an INT8 graph as PREFIX-symbol.json and PREFIX-0000.params; images: what `examples` gives."""
    from mxnet.contrib import quantization

    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")  # else MXNet tells on stderr what it does here
    symbol, args, aux = export.folded(fused, "int8")
    shown = mx.io.NDArrayIter(images, batch_size=1)
    # ranges by entropy took most of a minute for a small network, and gave no better classes
    settings = {"calib_mode": "naive", "quantized_dtype": "auto", "quantize_mode": "smart"}
    symbol, args, aux = quantization.quantize_model_mkldnn(
        symbol, args, aux, label_names=(), calib_data=shown, **settings
    )
    export.save(symbol, args, aux, prefix)


def quantized_onnx(content: bytes, images: np.ndarray) -> bytes:
    """The content of an ONNX file, in INT8. images: what `examples` gives, as pictures where the file takes these."""
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        left = iter(images)

        def get_next(self):
            image = next(self.left, None)
            return None if image is None else {name: image[None]}

    name = "pictures" if images.dtype == np.uint8 else "data"
    kinds = quantization.QuantType
    with tempfile.TemporaryDirectory() as folder, _quiet():
        given, made = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        files.write_bytes(given, content)
        # onnxruntime fails where there is a Softmax whose range it was not told to take
        last = [node.name for node in onnx.load_from_string(content).graph.node if node.op_type == "Softmax"]
        settings = {"quant_format": quantization.QuantFormat.QDQ, "nodes_to_exclude": last}
        settings["op_types_to_quantize"] = ["Conv", "Relu", "Clip", "Add", "Softmax"]
        settings.update(per_channel=True, activation_type=kinds.QUInt8, weight_type=kinds.QInt8)
        quantization.quantize_static(str(given), str(made), Reader(), **settings)
        return made.read_bytes()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without onnxruntime's advice to prepare a graph, which ours needs not."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


# ---- comparison


def run_of_graph(prefix: str, normalisation: dict) -> Callable:
    """A function of a picture, (H, W, 3) uint8 -> (1, H, W) classes, by MXNet alone."""
    block = mx.gluon.SymbolBlock.imports(f"{prefix}-symbol.json", ["data"], f"{prefix}-0000.params")
    return lambda picture: engine.largest_class(block(mx.nd.array(normalize(picture, **normalisation)[None])))


def run_of_onnx(content: bytes, normalisation: dict | None) -> Callable:
    """The same by onnxruntime. normalisation: None where the file takes pictures."""
    session = onnx_export.session(content)
    if normalisation is None:
        return lambda picture: session.run(None, {"pictures": picture[None]})[0]
    return lambda picture: engine.largest_class(
        session.run(None, {"data": normalize(picture, **normalisation)[None]})[0]
    )


def _scored(val) -> int:
    return min(SCORED, len(val))


def compared(runs: dict, val) -> dict:
    """{variant: `Variant`} of functions that map a picture (H, W, 3) to its classes (1, H, W), all on the same images.

    They take turns on each image, several times where there are few images; the first run at a size is not counted.
    Raises RunError where one of them can't segment pictures of any size, DatasetError where no pixel is labelled.
    """
    for height, width in RUN_AT:
        noise = np.random.RandomState(height).randint(0, 256, (height, width, 3)).astype(np.uint8)
        for name, run in runs.items():
            if run(noise).shape != (1, height, width):
                raise RunError(f"--variant {name}: gives no classes of a picture of {width} x {height}")
    times = -(-TIMED // max(1, _scored(val)))
    spent, equal, sizes = {name: [] for name in runs}, dict.fromkeys(runs, 0), set()
    matrices = {name: ConfusionMatrix(val.labels.num_classes) for name in runs}
    order, pixels = list(runs), 0
    with Progress(f"{', '.join(runs)} in turn", _scored(val), "image") as bar:
        for index in spread_indices(len(val), SCORED):
            picture, labels = (_middle(array, *SEEN) for array in val[index])
            for name in [] if picture.shape in sizes else order:
                runs[name](picture)
            sizes.add(picture.shape)
            classes = {}
            for _ in range(times):
                for name in order:
                    began = time.perf_counter()
                    classes[name] = runs[name](picture)
                    spent[name].append(time.perf_counter() - began)
                order = [*order[1:], order[0]]
            for name in runs:
                matrices[name].update(labels[None], classes[name])
            pixels += labels.size
            for name in runs:
                equal[name] += int((classes[name] == classes[next(iter(runs))]).sum())
            bar.update(1)
    if not next(iter(matrices.values())).counts.any():
        raise DatasetError(
            f"{val.root}: the labels of split {val.split} have no pixel of any class, so nothing can be compared"
        )
    return {
        name: Variant(
            (statistics.median(spent[name]), min(spent[name]), max(spent[name])),
            matrices[name].mean_iou(),
            equal[name] / pixels,
        )
        for name in runs
    }


def check(found: dict) -> None:
    """RunError, with all figures, where the last variant is not the fastest, or another network than the first."""
    figures, (*_, last) = "; ".join(lines(found)), found
    fastest = min(found, key=lambda name: found[name].seconds[0])
    if fastest != last:
        instead = "leave the variant out" if fastest in ("plain", "float") else f"take --variant {fastest}"
        raise RunError(
            f"--variant {last}: is not the fastest here, so nothing was written: {figures}; {instead}"
        )
    if found[last].equal < LEAST_EQUAL:
        raise RunError(
            f"--variant {last}: is too unlike the float network, so nothing was written: {figures}"
        )


def lines(found: dict) -> list:
    """A line on each variant: its time, mIoU, and how many pixels have the class of the first."""
    first, said = next(iter(found)), []
    for name, each in found.items():
        middle, least, most = (1000 * seconds for seconds in each.seconds)
        same = "" if name == first else f", {100 * each.equal:.2f} % of the pixels as {first}"
        said.append(
            f"{name} {middle:.1f} ms an image ({least:.1f} to {most:.1f}), mIoU {100 * each.mean_iou:.2f}{same}"
        )
    return said


def record(found: dict, val) -> dict:
    """The same for programs, with the data."""
    return {
        "data": val.description,
        "images": _scored(val),
        "cpu": hardware.cpu_name(),
        "variants": {name: dataclasses.asdict(each) for name, each in found.items()},
    }
