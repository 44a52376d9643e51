"""Exports a network with its fusion as one graph, which MXNet runs without this package, at any image size."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import statistics
import tempfile
import time
from pathlib import Path

import mxnet as mx
import numpy as np

from . import checkpoint, files, frozen, run_folder, tracing
from .errors import RunError
from .network import FusedNetwork
from .results import SCHEMA

SIZES = ((64, 96), (101, 77), (128, 256))  # one is odd: the graph must not depend on a size
TOLERANCE = 1e-5
FUSED_TOLERANCE = 1e-4  # folded batch norms round their weights anew
TIMED, ROUNDS = (256, 512), 7  # (height, width) of the image that variants are timed on


@dataclasses.dataclass(frozen=True)
class Exported:
    """Files of an exported network, and the largest difference between its scores and those of the original network.

    seconds   variant -> (median, least, most) of an image, where a variant was timed beside the plain graph
    """

    symbol: Path
    parameters: Path
    description: Path
    difference: float
    seconds: dict | None = None


def write(
    network, rule: str, labels, prefix, origin: dict | None = None, *, variant: str = "plain"
) -> Exported:
    """Write PREFIX-symbol.json, PREFIX-0000.params and PREFIX.json, each atomically, after checking them.

    The graph maps `data` (N, 3, H, W), normalised, to scores (N, K, H, W). The files are first loaded by MXNet alone
    and compared with the network at three sizes; RunError where they differ by more than 1e-5.
    origin      where the network comes from, for the description: the function `origin` gives it
    variant     "fused": batch norms are part of the convolutions, and oneDNN computes with a convolution what follows
                it; such a graph runs on CPUs alone. It may differ by 1e-4. RunError where it is not faster.
    """
    prefix = Path(prefix)
    fused = FusedNetwork(network, rule)
    fused.hybridize()
    about = {**describe(network, rule, labels), "variant": variant, "origin": origin}
    with tempfile.TemporaryDirectory() as folder:
        chosen, seconds = f"{folder}/graph", None
        difference = save_plain(fused, chosen)
        if variant == "fused":
            chosen = f"{folder}/fused"
            difference = save_fused(fused, chosen)
            seconds = compare({"plain": f"{folder}/graph", "fused": chosen})
        return Exported(*keep(chosen, prefix, about), difference, seconds)


def save_plain(fused: FusedNetwork, prefix: str) -> float:
    """Write PREFIX-symbol.json and PREFIX-0000.params, not atomically; returns what `check` finds."""
    fused(mx.nd.zeros((1, 3, *SIZES[0]), ctx=_context(fused.network)))
    mx.nd.waitall()  # see checkpoint.network_arrays
    fused.export(prefix)
    return check(fused, prefix)


def save_fused(fused: FusedNetwork, prefix: str) -> float:
    """The same of the graph in the form that evaluation runs, without the compiled operators, which MXNet alone does
    not have."""
    symbol, args, aux = folded(fused, "fused")
    shapes = {"data": (1, 3, *SIZES[0])}
    symbol = symbol.optimize_for(frozen.BACKEND, args, aux, ctx=mx.cpu(), shape_dict=shapes)
    save(symbol, args, aux, prefix)
    return check(fused, prefix, FUSED_TOLERANCE)


def folded(fused: FusedNetwork, variant: str) -> tuple:
    """(symbol, arguments, auxiliary states) with batch norms inside the convolutions; RunError where not on a CPU."""
    if not frozen.usable(fused.network):
        raise RunError(
            f"--variant {variant} needs MXNet for CPUs with oneDNN, and a network on the CPU: leave the variant out"
        )
    symbol, values = frozen.fold(tracing.trace(fused, tracing.FROZEN), frozen.values_of(fused))
    names = symbol.list_arguments(), symbol.list_auxiliary_states()
    args, aux = ({name: values[name] for name in kind if name in values} for kind in names)
    return symbol, args, aux


def save(symbol, args: dict, aux: dict, prefix: str) -> None:
    """Write PREFIX-symbol.json and PREFIX-0000.params with what the symbol reads of these arrays, not atomically."""
    symbol.save(f"{prefix}-symbol.json")
    stored = {f"arg:{name}": args[name] for name in symbol.list_arguments() if name in args}
    stored.update({f"aux:{name}": aux[name] for name in symbol.list_auxiliary_states() if name in aux})
    mx.nd.save(f"{prefix}-0000.params", stored)


def keep(saved: str, prefix: Path, about: dict) -> tuple:
    """Copy a graph's two files from one prefix to another, each atomically, and write the description beside them.

    about    the description, which gets the files' sizes and checksums
    returns  the paths of the three
    """
    paths = [prefix.with_name(prefix.name + end) for end in ("-symbol.json", "-0000.params", ".json")]
    content = [Path(f"{saved}{end}").read_bytes() for end in ("-symbol.json", "-0000.params")]
    for path, data in zip(paths, content):
        files.write_bytes(path, data)
    sums = {path.name: checksum(data) for path, data in zip(paths, content)}
    files.write_json(paths[2], {**about, "files": sums})
    return tuple(paths)


def compare(prefixes: dict) -> dict:
    """variant -> (median, least, most) seconds of an image of noise, in rounds that take turns; the first is the plain
    graph. RunError where another one is not faster."""
    noise = np.random.RandomState(0).normal(size=(1, 3, *TIMED)).astype(np.float32)
    images, graphs, spent = mx.nd.array(noise), {}, {name: [] for name in prefixes}
    for name, prefix in prefixes.items():
        graphs[name] = mx.gluon.SymbolBlock.imports(
            f"{prefix}-symbol.json", ["data"], f"{prefix}-0000.params"
        )
        graphs[name](images).wait_to_read()
    for _ in range(ROUNDS):
        for name, graph in graphs.items():
            began = time.perf_counter()
            graph(images).wait_to_read()
            spent[name].append(time.perf_counter() - began)
    found = {name: (statistics.median(each), min(each), max(each)) for name, each in spent.items()}
    plain, *others = found
    for name in others:
        if found[name][0] >= found[plain][0]:
            raise RunError(
                f"--variant {name}: is not faster here: {1000 * found[name][0]:.1f} ms for an image of {TIMED[1]} x "
                f"{TIMED[0]}, and {1000 * found[plain][0]:.1f} ms without it; leave the variant out"
            )
    return found


def check(fused: FusedNetwork, prefix: str, tolerance: float | None = None) -> float:
    """Largest difference between the exported graph and the network over `SIZES`.

    Raises RunError where it is above `tolerance`; None: TOLERANCE.
    """
    tolerance = TOLERANCE if tolerance is None else tolerance
    context = _context(fused.network)
    graph = mx.gluon.SymbolBlock.imports(
        f"{prefix}-symbol.json", ["data"], f"{prefix}-0000.params", ctx=context
    )
    worst = 0.0
    for number, size in enumerate(SIZES):
        noise = np.random.RandomState(number).normal(size=(1, 3, *size)).astype(np.float32)
        images = mx.nd.array(noise, ctx=context)
        worst = max(worst, float((graph(images) - fused(images)).abs().max().asscalar()))
    if not worst <= tolerance:
        raise RunError(
            f"the exported graph's scores differ by {worst:.2g} from the network's: nothing was written"
        )
    return worst


def describe(network, rule: str, labels) -> dict:
    """What a program needs to know to use the graph."""
    return {
        "input": "data: (N, 3, H, W) float32, RGB, (value / 255 - mean) / std, any H and W",
        "output": "scores: (N, K, H, W) float32, each pixel's sum to 1",
        **{name: list(values) for name, values in network.normalisation.items()},
        "classes": list(labels.classes),
        "colors": np.asarray(labels.colors).tolist(),
        "labels": labels.record(),
        "groups": [[labels.classes[k] for k in group] for group in network.groups],
        "rule": rule,
        "network": network.settings,
    }


def checksum(content: bytes) -> dict:
    """Size and SHA-256 of a file's content, for a description."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def origin(path, rule: str) -> dict:
    """Where the network of a checkpoint comes from, as far as its file and the run folder around it say.

    checkpoint   the file's name, size and SHA-256
    phase, epoch the phase that it is the result of
    run, data    the name of the run folder, and its data in words; None outside of one
    mean_iou     of this network with this fusion rule on the run's validation images; None where nobody measured it
    """
    path = Path(path)
    meta, results = checkpoint.peek(path)[1], None
    with contextlib.suppress(RunError):
        results = run_folder.read_json(path.resolve().parent.parent / "results.json")
    if not isinstance(results, dict) or results.get("schema") != SCHEMA:
        results = {}
    scored = {cell["key"] for cell in results.get("cells", []) if _is_of(cell, path)}
    found = [cell for cell in results.get("cells", []) if cell["key"] in scored and cell["rule"] == rule]
    found += [
        other for other in results.get("other_rules", []) if other["cell"] in scored and other["rule"] == rule
    ]
    best = meta.get("mean_iou") if meta.get("rule") == rule else None
    return {
        "checkpoint": {"name": path.name, **checksum(path.read_bytes())},
        "phase": meta.get("phase"),
        "epoch": meta.get("epoch"),
        "run": path.resolve().parent.parent.name if results else None,
        "data": results.get("data", {}).get("description"),
        "mean_iou": found[0]["mean_iou"] if found else best,
    }


def _is_of(cell: dict, checkpoint_path: Path) -> bool:
    return cell["tta"] == "single" and Path(cell["checkpoint"]).name == checkpoint_path.name


def graph(network, rule: str):
    """The fused network as a Symbol, without parameters."""
    return FusedNetwork(network, rule)(mx.sym.var("data"))


def _context(network):
    return next(iter(network.collect_params().values())).list_ctx()[0]
