"""Exported networks on a GPU, by onnxruntime: what `onnx_gpu.py` needs there, and the table of what it measured.

Run:   .venv/bin/python -m experiments.benchmarks.bench_onnx_gpu --prepare FOLDER [--trained CHECKPOINT PICTURE ...]
       python onnx_gpu.py FOLDER --out onnx_gpu.json     on the machine with the GPU, with FOLDER and onnx_gpu.py
       .venv/bin/python -m experiments.benchmarks.bench_onnx_gpu --table onnx_gpu.json
Cost:  5 minutes and 4 GB to prepare
Gives: experiments/results/onnx/gpu.json and the table of docs/onnx.md

FOLDER takes little room: weights that nobody trained are made there from seeds. A trained network comes with its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx

from gluon_confseg import files, groups, network, onnx_export, trained
from gluon_confseg.cli import frame
from gluon_confseg.datasets.colour import normalize
from gluon_confseg.network import FusedNetwork

from .. import PROJECT, argument_parser
from ..tools import made_up_values
from ..tools.marked_text import replace_between

ENCODERS = ("resnet101", "resnet50", "efficientnet_lite0")
SIZES = ((1, 1), (64, 96), (101, 203))  # of the pictures that MXNet's scores are compared on
LARGE = 2**16  # values from which a weight stays outside of the graph
PAGE = PROJECT / "docs" / "onnx.md"
KEPT = PROJECT / "experiments" / "results" / "onnx" / "gpu.json"
MARKS = ("<!-- table: python -m experiments.benchmarks.bench_onnx_gpu -->", "<!-- end of table -->")


def main(argv: list | None = None) -> int:
    """Prepare the folder, or write the table; the exit status."""
    parser = argument_parser("benchmarks.bench_onnx_gpu", __doc__)
    parser.add_argument("--prepare", type=Path, metavar="FOLDER")
    parser.add_argument("--only", nargs="*", metavar="ENCODER", default=ENCODERS)
    parser.add_argument(
        "--trained", nargs="+", metavar="FILE", help="a checkpoint, and pictures to compare on"
    )
    parser.add_argument("--table", type=Path, metavar="FILE.json", help="what onnx_gpu.py measured")
    arguments = parser.parse_args(argv)
    if not (arguments.prepare or arguments.table):
        parser.error("give --prepare FOLDER or --table FILE.json")
    return frame.run(lambda: _run(arguments))


def _run(arguments) -> None:
    if arguments.table:
        write_table(json.loads(arguments.table.read_text()))
        return
    arguments.prepare.mkdir(parents=True, exist_ok=True)
    for encoder in arguments.only:
        prepare(arguments.prepare, encoder)
    if arguments.trained:
        prepare_trained(arguments.prepare, *arguments.trained)


def prepare(folder: Path, encoder: str) -> None:
    """Write the files of one network with the paper's three groups: four subnets, the sum rule, made-up values."""
    built = network.build(encoder, 19, groups=groups.PAPER["cityscapes"], output_stride=8)
    title = f"{encoder}, output stride 8, subnets 0-3, sum rule, made-up weights"
    prepare_made_up(folder, encoder, title, built)


def prepare_made_up(folder: Path, name: str, title: str, built) -> None:
    """Fill a network with made-up values, and write its files; its large weights are only described."""
    drawn = made_up_values.fill(built)
    shapes = {name: parameter.shape for name, parameter in built.collect_params().items()}
    large = {name for name in drawn if np.prod(shapes[name]) >= LARGE}
    noise = [
        np.random.RandomState(n).randint(0, 256, (*size, 3)).astype(np.uint8) for n, size in enumerate(SIZES)
    ]
    outside = _write(folder, name, FusedNetwork(built, "sum"), noise, large)
    weights = [{"seed": drawn[n][0], "scale": drawn[n][1], "shape": list(shapes[n])} for n in outside]
    files.write_json(folder / f"{name}.json", {"name": name, "title": title, "weights": weights})


def prepare_trained(folder: Path, checkpoint: str, *pictures) -> None:
    """Write the files of a trained network, with its weights."""
    loaded = trained.load(Path(checkpoint), None)
    images = [cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB) for file in pictures]
    _write(folder, "trained", FusedNetwork(loaded.network, loaded.rule), images, set())
    title = f"{trained.describe(loaded)}, trained"
    files.write_json(folder / "trained.json", {"name": "trained", "title": title, "weights": []})


def _write(folder: Path, name: str, fused: FusedNetwork, pictures: list, large: set) -> list:
    """Both graphs and MXNet's scores; returns the names of the weights in NAME.bin, in their order."""
    outside = []
    for ending, takes_pictures in (("", True), ("-scores", False)):
        content = onnx_export.model(fused, pictures=takes_pictures, fold_norms=not large)
        if not large:
            files.write_bytes(folder / f"{name}{ending}.onnx", content)
            continue
        model, offset, outside = onnx.load_from_string(content), 0, []
        for tensor in model.graph.initializer:
            if tensor.name in large:
                outside.append(tensor.name)
                offset = _move_outside(tensor, f"{name}.bin", offset)
        if set(outside) != large:
            sys.exit(
                f"{name}: {len(large) - len(outside)} large weights are not in the graph as they were drawn"
            )
        files.write_bytes(folder / f"{name}{ending}.onnx", model.SerializeToString())
    arrays = {}
    for number, picture in enumerate(pictures):
        images = normalize(picture, **fused.network.normalisation)[None]
        arrays[f"images{number}"], arrays[f"scores{number}"] = images, onnx_export.live_scores(fused, images)
    np.savez_compressed(folder / f"{name}.npz", **arrays)
    return outside


def _move_outside(tensor, file: str, offset: int) -> int:
    length = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return offset + length


def write_table(measured: dict) -> None:
    """Keep what was measured, and write the page's table."""
    files.write_json(KEPT, measured)
    height, width = measured["size"]
    lines = [
        f"{measured['card']}; onnxruntime {measured['onnxruntime']}, CUDA provider; one picture of {width} x {height}, "
        f"uint8 in, classes out, from and to the host's memory; median of {measured['rounds']} after "
        "warm-up, with the quartiles.",
        "",
        "| network | TF32 | milliseconds | largest difference of scores | pixels with the same class |",
        "|---|---|---|---|---|",
    ]
    for row in measured["rows"]:
        low, high = (1000 * seconds for seconds in row["quartiles_s"])
        lines.append(
            f"| {row['network']} | {'on' if row['tf32'] else 'off'} | {1000 * row['median_s']:.1f} "
            f"({low:.1f} to {high:.1f}) | {row['difference']:.1e} | {100 * row['equal_pixels']:.3f} % of "
            f"{row['pixels']:,} |"
        )
    replace_between(PAGE, MARKS, "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
