"""`confseg export`: a network as one graph, for MXNet or as ONNX, checked against the live network."""

from __future__ import annotations

import argparse
from pathlib import Path

from gluon_confseg import trained
from gluon_confseg.cli import data, options, writable
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
    (
        "export RUN --variant int8 --root MYDATA --out mynet.onnx",
        "convolutions in 8 bits, calibrated and compared on your data",
    ),
)
FORMATS = ("mxnet", "onnx")
VARIANTS = ("plain", "fused", "int8")
ONNX_OPTIONS = ("pictures", "keep_norms")
INT8_OPTIONS = ("data", "root")
FEW_IMAGES = "Note: with so few images the mIoU says little, and times on a busy machine may say as little."


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
        type=options.one_of(VARIANTS),
        default="plain",
        metavar="VARIANT",
        help="plain (default); fused (mxnet): several times as fast on CPUs, by oneDNN, and for CPUs alone; int8: "
        "convolutions in 8 bits, calibrated on the training images of --root and compared on its validation images",
    )
    parser.add_argument(
        "--data",
        type=options.data_set,
        metavar="NAME",
        help=f"int8: {', '.join(options.DATASETS)} (default: the one whose classes the network has)",
    )
    parser.add_argument(
        "--root", type=Path, metavar="FOLDER", help="int8: its folder (default: $CITYSCAPES_ROOT, ...)"
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
    if as_onnx and arguments.variant == "fused":
        arguments.usage("--variant fused is of --format mxnet: onnxruntime fuses a graph when it loads it")
    as_int8 = arguments.variant == "int8"
    given = [f"--{name}" for name in INT8_OPTIONS if getattr(arguments, name) is not None]
    if given and not as_int8:
        arguments.usage(f"{given[0]} gives the images for --variant int8: give that as well")
    if as_int8 and arguments.keep_norms:
        arguments.usage(
            "--keep-norms can't be used with --variant int8, whose batch norms are in the convolutions"
        )
    writable.folder(prefix.parent)
    if as_onnx:
        from gluon_confseg import onnx_export

        onnx_export.libraries()  # before a large network is read
    checkpoint, rule = trained.chosen(arguments.checkpoint, arguments.rule)
    loaded = trained.load(checkpoint, rule)

    from gluon_confseg import export

    splits = [_split(arguments, loaded.labels, name) for name in ("train", "val")] if as_int8 else None
    origin = export.origin(checkpoint, loaded.rule)
    if as_onnx:
        prefix = prefix if names_onnx else prefix.with_name(f"{prefix.name}.onnx")
    if as_int8:
        return _int8(arguments, loaded, origin, prefix, splits, as_onnx)
    if as_onnx:
        return _onnx(arguments, loaded, origin, prefix)
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


def _split(arguments, labels, name: str):
    """A split of the data that --variant int8 is calibrated and compared on."""
    given = argparse.Namespace(**{**vars(arguments), "split": name})
    return data.of_network(given, labels, labelled=name == "val")


def _int8(arguments, loaded, origin: dict, out: Path, splits: list, as_onnx: bool) -> Output:
    from gluon_confseg import int8

    given = (loaded.network, loaded.rule, loaded.labels, out, *splits)
    if as_onnx:
        written = int8.write_onnx(*given, pictures=arguments.pictures, origin=origin)
        alone, program = "onnxruntime, numpy and opencv", f"symbols/run_onnx.py {out}"
    else:
        written = int8.write_graph(*given, origin)
        alone, program = "mxnet, numpy and opencv", f"symbols/run.py {out}"
    train, val = splits
    calibrated = min(int8.CALIBRATED, len(train))
    first, *_, last = written.variants.values()
    text = [
        f"Calibrated on {calibrated} images of split {train.split}.",
        f"In turn, on {written.images} images of split {val.split}:",
        *(f"  {line}" for line in int8.lines(written.variants)),
        *(["Note: its mIoU is more than a point lower."] if last.mean_iou < first.mean_iou - 0.01 else []),
        *([FEW_IMAGES] if written.images < int8.TIMED else []),
        f"Run it at any size, with only {alone} (from a checkout of this project):",
        f"  python {program} picture.png --out labels.png",
    ]
    record = {
        "format": "onnx" if as_onnx else "mxnet",
        "variant": "int8",
        "calibrated": calibrated,
        "measured": int8.record(written.variants, val),
    }
    return _output(loaded, origin, written.files, text, record)


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
        "variant": "plain",
        "pictures": arguments.pictures,
        "difference": written.difference,
        "equal_pixels": written.equal,
        "checked_sizes": [list(size) for size in onnx_export.CHECKED],
    }
    return _output(loaded, origin, (written.model, written.description), text, record)


def _output(loaded, origin: dict, files: tuple, text: list, record: dict) -> Output:
    sizes = {str(file): file.stat().st_size for file in files}
    widest, score = max(map(len, sizes)), origin["mean_iou"]
    of = " of the float network" if record["variant"] == "int8" else ""
    measured = "" if score is None else f" (mIoU{of} {100 * score:.2f} on the run's validation images)"
    before = [
        f"Network: {trained.describe(loaded)}, from {origin['checkpoint']['name']}{measured}.",
        *(f"  {name:<{widest}}  {_size(size):>8}" for name, size in sizes.items()),
    ]
    about = {"network": trained.record(loaded), "files": sizes, "origin": origin}
    return Output("\n".join([*before, *text]), {**about, **record})


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
