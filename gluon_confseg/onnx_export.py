"""Exports a network with its fusion as an ONNX file, which onnxruntime runs on machines that have no MXNet.

It needs the extra `onnx`: `make setup-onnx`, or `pip install ".[onnx]"`, in a checkout.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import mxnet as mx
import numpy as np

from . import export, files, frozen, runtime, tracing
from .datasets.colour import normalize
from .errors import RunError
from .network import FusedNetwork

# (N, height, width) of the pictures on which a file is compared with the network before it is kept
CHECKED = ((1, 1, 1), (2, 33, 47), (1, 64, 96), (1, 101, 77), (1, 8, 1000))
TOLERANCE = 1e-4  # of scores
CARD = "confseg"  # the key of a file's metadata that holds its description
LARGEST = 2**31 - 2**20  # bytes of an ONNX file's parameters
MOST_CLASSES = 256  # in a uint8 picture


@dataclasses.dataclass(frozen=True)
class ExportedOnnx:
    """Files of an exported network, and how it compares with the original network.

    difference   the largest difference of scores; None where the file gives classes alone
    equal        share of the pixels with the same class, all pictures together
    """

    model: Path
    description: Path
    difference: float | None
    equal: float


def write(
    network,
    rule: str,
    labels,
    path,
    *,
    pictures: bool = False,
    fold_norms: bool = True,
    origin: dict | None = None,
) -> ExportedOnnx:
    """Write PATH and PATH.json (its description, which its metadata hold too), each atomically, after checking it.

    path         ends in .onnx
    pictures     normalisation and arg-max in the graph: `pictures` (N, H, W, 3) uint8 RGB -> `classes` (N, H, W) uint8;
                 otherwise `data` (N, 3, H, W) float32, normalised -> `scores` (N, K, H, W) float32
    fold_norms   make batch norms part of the convolutions before them
    origin       where the network comes from, for the description: see `export.origin`

    N, H and W are free. onnxruntime runs the graph on pictures of five sizes beside the network, on the CPU. Raises
    RunError where scores differ by more than 1e-4, where a class differs although the network's scores don't tie, for
    an operator that can't be written, and where the extra `onnx` is not installed; nothing is written then.
    """
    path, fused = Path(path), FusedNetwork(network, rule)
    about = {**description(network, rule, labels, pictures), "origin": origin}
    content = model(fused, pictures=pictures, fold_norms=fold_norms, metadata={CARD: json.dumps(about)})
    difference, equal = check(fused, content, pictures)
    beside = path.with_name(f"{path.name}.json")
    checked = {"sizes": [list(size) for size in CHECKED], "difference": difference, "equal_pixels": equal}
    sums = {path.name: export.checksum(content)}
    files.write_bytes(path, content)
    files.write_json(beside, {**about, "checked": checked, "files": sums})
    return ExportedOnnx(path, beside, difference, equal)


def description(network, rule: str, labels, pictures: bool) -> dict:
    """What a program needs to know to use the file: see `export.describe`."""
    ends = {
        "input": "pictures: (N, H, W, 3) uint8, RGB, any N, H and W",
        "output": "classes: (N, H, W) uint8, ids of the classes",
    }
    return {**export.describe(network, rule, labels), **(ends if pictures else {})}


def with_card(content: bytes, about: dict) -> bytes:
    """The content of an ONNX file with a description in its metadata, in place of any other."""
    onnx, _ = libraries()
    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, {CARD: json.dumps(about)})
    return model.SerializeToString()


def libraries() -> tuple:
    """The modules onnx and onnxruntime; RunError, one sentence, where one is not installed."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise RunError(
            f"ONNX files need onnx and onnxruntime ({error}): pip install onnx==1.17.0 onnxruntime==1.19.2 "
            "(in a checkout: make setup-onnx), or export for MXNet"
        ) from error
    return onnx, onnxruntime


def model(
    fused: FusedNetwork, *, pictures: bool = False, fold_norms: bool = True, metadata: dict | None = None
) -> bytes:
    """The content of an ONNX file; see `write`. Nothing is compared."""
    onnx, _ = libraries()

    from . import onnx_graph

    if pictures and fused.network.num_classes > MOST_CLASSES:
        raise RunError(
            f"{fused.network.num_classes} classes don't fit in uint8 pictures: leave normalisation and arg-max out"
        )
    symbol, values = frozen.fold(tracing.trace(fused, tracing.FROZEN), frozen.values_of(fused), fold_norms)
    size = sum(value.size * 4 for value in values.values())
    if size > LARGEST:
        raise RunError(
            f"the network's parameters take {size / 1e9:.1f} GB, and an ONNX file holds 2 GB at most"
        )
    graph, tensor, kinds = onnx_graph.Graph(), onnx.helper.make_tensor_value_info, onnx.TensorProto
    graph.name("pictures" if pictures else "data")
    data = _normalised(graph, fused.network.normalisation) if pictures else "data"
    (scores,) = onnx_graph.write(graph, symbol, values, {"data": data})
    if pictures:
        # the last softmax does not change which class is the best
        *_, last = graph.nodes
        best = graph.add("ArgMax", last.input[0] if last.op_type == "Softmax" else scores, axis=1, keepdims=0)
        graph.add("Cast", best, called="classes", to=kinds.UINT8)
        ends = [
            tensor("pictures", kinds.UINT8, ["N", "H", "W", 3]),
            tensor("classes", kinds.UINT8, ["N", "H", "W"]),
        ]
    else:
        graph.add("Identity", scores, called="scores")
        ends = [
            tensor("data", kinds.FLOAT, ["N", 3, "H", "W"]),
            tensor("scores", kinds.FLOAT, ["N", fused.network.num_classes, "H", "W"]),
        ]
    return graph.model(ends[:1], ends[1:], metadata or {}).SerializeToString()


def _normalised(graph, normalisation: dict) -> str:
    mean, std = (255 * np.array(normalisation[name]).reshape(1, 3, 1, 1) for name in ("mean", "std"))
    planes = graph.add("Transpose", "pictures", perm=(0, 3, 1, 2))
    numbers = graph.add("Cast", planes, to=1)  # float32
    return graph.add(
        "Mul",
        graph.add("Sub", numbers, graph.constant(mean, np.float32)),
        graph.constant(1 / std, np.float32),
    )


def check(fused: FusedNetwork, content: bytes, pictures: bool = False, sizes=CHECKED) -> tuple:
    """(largest difference of scores or None, share of equal pixels) of a file's content and the network.

    Compares them on random pictures of these sizes, (N, height, width). Raises RunError: see `write`.
    """
    run, worst, equal, pixels = session(content), 0.0, 0, 0
    for number, size in enumerate(sizes):
        shown = np.random.RandomState(number).randint(0, 256, (*size, 3)).astype(np.uint8)
        images = np.stack([normalize(picture, **fused.network.normalisation) for picture in shown])
        live = live_scores(fused, images)
        (found,) = run.run(None, {"pictures": shown} if pictures else {"data": images})
        wanted, classes = live.argmax(1), found if pictures else found.argmax(1)
        if found.shape != (wanted.shape if pictures else live.shape):
            raise RunError(f"the ONNX graph's result has the shape {found.shape}: nothing was written")
        if not pictures:
            worst = float(np.maximum(worst, np.abs(found - live).max()))  # NaN where one is
        loss = live.max(1) - np.take_along_axis(live, classes[:, None].astype(np.int64), 1)[:, 0]
        if not (worst <= TOLERANCE and loss.max() <= 2 * TOLERANCE):
            what = "classes differ" if worst <= TOLERANCE else f"scores differ by {worst:.2g}"
            raise RunError(
                f"the ONNX graph's {what} from the network's on a picture of {size[2]} x {size[1]}: "
                "nothing was written"
            )
        equal, pixels = equal + int((classes == wanted).sum()), pixels + wanted.size
    return None if pictures else worst, equal / pixels


def session(content, threads: int | None = None, *, keeps_memory: bool = True):
    """onnxruntime's session of a file, or of its content, on the CPU.

    threads        None takes as many as MXNet does
    keeps_memory   hold what a run took for the next one, and plan it by the pictures' size; False: give it back
    """
    _, onnxruntime = libraries()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads or runtime.threads() or 0, 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = options.enable_mem_pattern = keeps_memory
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def live_scores(fused: FusedNetwork, images: np.ndarray) -> np.ndarray:
    """(N, 3, H, W) normalised -> (N, K, H, W) of the network itself."""
    device = next(iter(fused.collect_params().values())).list_ctx()[0]
    with mx.autograd.pause(train_mode=False):
        return fused(mx.nd.array(images, ctx=device)).asnumpy()
