"""`confseg export`: a network as one graph, for MXNet or as ONNX, checked against the live network."""

from __future__ import annotations

from pathlib import Path

from gluon_confseg import trained
from gluon_confseg.cli import options, writable
from gluon_confseg.cli.output import Output
from gluon_confseg.errors import RunError

SUMMARY = (
    "Write a network as one graph, which MXNet or onnxruntime runs alone, checked against the live network."
)
EXAMPLES = (
    ("export RUN/checkpoints/subnets_ce.npz --out mynet", "mynet-symbol.json, mynet-0000.params, mynet.json"),
    (
        "export RUN --pictures --out mynet.onnx",
        "the run's best network for onnxruntime: pictures in, classes out",
    ),
)
FORMATS = ("mxnet", "onnx")
ONNX_OPTIONS = ("pictures", "keep_norms")


def add_arguments(parser) -> None:
    """A checkpoint or a run, where to, and the format."""
    options.add_checkpoint(parser)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="PREFIX",
        help="what the files' names begin with; a name that ends in .onnx is an ONNX file's",
    )
    parser.add_argument(
        "--format",
        type=options.one_of(FORMATS),
        metavar="FORMAT",
        help="mxnet: symbol and parameters (default); onnx: an ONNX file, for onnxruntime",
    )
    parser.add_argument(
        "--variant",
        type=options.one_of(("plain", "fused")),
        default="plain",
        metavar="VARIANT",
        help="mxnet: plain (default); fused: several times as fast on CPUs, by oneDNN, and for CPUs alone",
    )
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="onnx: with normalisation and arg-max in the graph, uint8 RGB pictures in and uint8 class ids out",
    )
    parser.add_argument(
        "--keep-norms",
        action="store_true",
        help="onnx: leave batch norms apart, instead of making them part of the convolutions before them",
    )


def run(arguments) -> Output:
    """Write the graph and its description."""
    prefix = arguments.out
    if prefix.is_dir():
        raise RunError(f"{prefix}: is a folder, where a prefix is wanted; give {prefix / 'network'}, say")
    names_onnx = prefix.suffix.lower() == ".onnx"
    as_onnx = (arguments.format or ("onnx" if names_onnx else "mxnet")) == "onnx"
    if names_onnx and not as_onnx:
        arguments.usage(
            f"--out {prefix} names an ONNX file: leave out --format mxnet, or choose another name"
        )
    given = [f"--{name.replace('_', '-')}" for name in ONNX_OPTIONS if getattr(arguments, name)]
    if given and not as_onnx:
        arguments.usage(f"{given[0]} is of ONNX files: give --format onnx as well")
    if as_onnx and arguments.variant != "plain":
        arguments.usage(
            f"--variant {arguments.variant} is of --format mxnet: onnxruntime fuses a graph when it loads it"
        )
    writable.folder(prefix.parent)
    if as_onnx:
        from gluon_confseg import onnx_export

        onnx_export.libraries()  # before a large network is read
    checkpoint, rule = trained.chosen(arguments.checkpoint, arguments.rule)
    loaded = trained.load(checkpoint, rule)

    from gluon_confseg import export

    origin = export.origin(checkpoint, loaded.rule)
    if as_onnx:
        path = prefix if names_onnx else prefix.with_name(f"{prefix.name}.onnx")
        return _onnx(arguments, loaded, origin, path)
    return _mxnet(loaded, origin, prefix, arguments.variant)


def _mxnet(loaded, origin: dict, prefix: Path, variant: str) -> Output:
    from gluon_confseg import export

    written = export.write(loaded.network, loaded.rule, loaded.labels, prefix, origin, variant=variant)
    tolerance = export.TOLERANCE if variant == "plain" else export.FUSED_TOLERANCE
    checked = ", ".join(f"{width} x {height}" for height, width in export.SIZES)
    text = [
        "Loaded by MXNet alone, its scores differ from the live network's by at most "
        f"{written.difference:.1g} (images of {checked}; allowed: {tolerance:.0e}).",
        *_times(written.seconds, export.TIMED),
        "Run it at any size, with only mxnet, numpy and opencv (from a checkout of this project):",
        f"  python symbols/run.py {prefix} picture.png --out labels.png",
    ]
    record = {
        "format": "mxnet",
        "variant": variant,
        "seconds": written.seconds,
        "difference": written.difference,
        "checked_sizes": [list(size) for size in export.SIZES],
    }
    return _output(loaded, origin, (written.symbol, written.parameters, written.description), text, record)


def _times(seconds: dict | None, size: tuple) -> list:
    """What a variant gains, in a line."""
    if seconds is None:
        return []
    found = "; ".join(
        f"{name} {1000 * middle:.1f} ms ({1000 * least:.1f} to {1000 * most:.1f})"
        for name, (middle, least, most) in seconds.items()
    )
    return [f"Measured here on an image of {size[1]} x {size[0]}, medians in turn: {found}."]


def _onnx(arguments, loaded, origin: dict, path: Path) -> Output:
    from gluon_confseg import onnx_export

    written = onnx_export.write(
        loaded.network,
        loaded.rule,
        loaded.labels,
        path,
        pictures=arguments.pictures,
        fold_norms=not arguments.keep_norms,
        origin=origin,
    )
    sizes = ", ".join(f"{width} x {height}" for _, height, width in onnx_export.CHECKED)
    differs = (
        "its classes are those of the live network"
        if written.difference is None
        else f"its scores differ from the live network's by at most {written.difference:.1g} (allowed: "
        f"{onnx_export.TOLERANCE:.0e}), its classes are the same"
    )
    text = [
        f"Run by onnxruntime, {differs} at {100 * written.equal:.3f} % of the pixels (random pictures of {sizes}).",
        "Run it at any size, with only onnxruntime, numpy and opencv (from a checkout of this project):",
        f"  python symbols/run_onnx.py {path} picture.png --out labels.png",
    ]
    record = {
        "format": "onnx",
        "pictures": arguments.pictures,
        "difference": written.difference,
        "equal_pixels": written.equal,
        "checked_sizes": [list(size) for size in onnx_export.CHECKED],
    }
    return _output(loaded, origin, (written.model, written.description), text, record)


def _output(loaded, origin: dict, files: tuple, text: list, record: dict) -> Output:
    sizes = {str(file): file.stat().st_size for file in files}
    widest, score = max(map(len, sizes)), origin["mean_iou"]
    measured = "" if score is None else f" (mIoU {100 * score:.2f} on the run's validation images)"
    before = [
        f"Network: {trained.describe(loaded)}, from {origin['checkpoint']['name']}{measured}.",
        *(f"  {name:<{widest}}  {_size(size):>8}" for name, size in sizes.items()),
    ]
    about = {"network": trained.record(loaded), "files": sizes, "origin": origin}
    return Output("\n".join([*before, *text]), {**about, **record})


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
