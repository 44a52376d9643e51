"""One trained network in every form that it is deployed in: time of an image, mIoU and classes, all in one run.

Run:   make bench-deploy                                        the network that ships with the package, on drawn scenes
       make bench-deploy ARGS="--network RUN --data camvid"     another one, on a data set with its classes
       make bench-deploy ARGS=--quick                           two images; nothing is kept
       make bench-deploy ARGS=--table                           measure nothing, and write the table again
Cost:  2 minutes on 2 cores for the network that ships; nothing else should run meanwhile
Gives: experiments/results/deploy/NAME.json, and the tables of docs/howto/export.md

Every form segments the same validation images, in turn, each from the picture in memory to its classes. INT8 forms are
calibrated on 16 training images. `confseg export --variant int8` refuses them where they are not the fastest; here they
are measured in any case. "images a second" is of the median.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import mxnet as mx

from gluon_confseg import demo, engine, export, files, int8, onnx_export, runtime, segmenter, trained
from gluon_confseg.cli import data, frame, options
from gluon_confseg.cli.train import drawn_root
from gluon_confseg.datasets import open_dataset
from gluon_confseg.datasets.colour import normalize
from gluon_confseg.errors import RunError
from gluon_confseg.network import FusedNetwork
from gluon_confseg.report.grid import Grid

from .. import PROJECT, argument_parser
from ..tools.marked_text import replace_between

KEPT = PROJECT / "experiments" / "results" / "deploy"
PAGE = PROJECT / "docs" / "howto" / "export.md"
MARKS = ("<!-- tables: make bench-deploy -->", "<!-- end of tables -->")
SCENES = {"train": 16, "val": 32, "size": (512, 256), "seed": 7}  # the network that ships never saw them
FORMS = {
    "live": "the live network, a hybridized block",
    "predict": "the same as confseg predict runs it",
    "subnet0": "its subnet 0 alone, as confseg predict runs it",
    "plain": "exported graph, MXNet alone",
    "fused": "exported with --variant fused, MXNet alone",
    "int8": "exported with --variant int8, MXNet alone",
    "onnx": "ONNX, onnxruntime",
    "onnx_int8": "ONNX with --variant int8, onnxruntime",
}


def main(argv: list | None = None) -> int:
    """Measure all forms, keep the figures and write the tables; the exit status."""
    parser = argument_parser("benchmarks.bench_deploy", __doc__)
    parser.add_argument("--network", type=Path, default=demo.NETWORK, help="a checkpoint, or a run folder")
    parser.add_argument("--data", type=options.data_set, metavar="NAME", help="the data set, with --network")
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="its folder (default: $CAMVID_ROOT, ...)")
    parser.add_argument("--name", default="demo", help="of the file that is kept (default: demo)")
    parser.add_argument("--quick", action="store_true", help="two images; keep nothing")
    parser.add_argument("--table", action="store_true", help="write the tables of what was measured before")
    arguments = parser.parse_args(argv)
    return frame.run(lambda: _run(arguments))


def _run(arguments) -> None:
    if not arguments.table:
        if arguments.quick:
            int8.SCORED, int8.CALIBRATED = 2, 2
        found = measure(arguments.network, *_splits(arguments))
        if arguments.quick:
            print(table(found))
            return
        files.write_json(KEPT / f"{arguments.name}.json", found)
    if not any(KEPT.glob("*.json")):
        raise RunError(f"{KEPT}: holds no figures; leave --table out to measure them")
    text = "\n\n".join(
        table(json.loads(file.read_text(encoding="utf-8"))) for file in sorted(KEPT.glob("*.json"))
    )
    replace_between(PAGE, MARKS, text)
    print(text)


def _splits(arguments) -> list:
    if arguments.network == demo.NETWORK and arguments.data is None and arguments.root is None:
        from gluon_confseg import scenes

        root = scenes.draw(PROJECT / drawn_root(SCENES), **SCENES)
        return [open_dataset("cityscapes", root, split) for split in ("train", "val")]
    path, rule = trained.chosen(arguments.network, None)
    labels = trained.load(path, rule).labels
    asked = {"checkpoint": arguments.network, "data": arguments.data, "root": arguments.root}
    return [
        data.of_network(argparse.Namespace(**asked, split=split), labels, labelled=split == "val")
        for split in ("train", "val")
    ]


def measure(path: Path, train, val) -> dict:
    """The figures of every form, as they are kept."""
    path, rule = trained.chosen(path, None)
    loaded = trained.load(path, rule)
    network, normalisation = loaded.network, loaded.network.normalisation
    fused = FusedNetwork(network, loaded.rule)
    fused.hybridize()
    with tempfile.TemporaryDirectory() as folder:
        shown = int8.examples(train, normalisation)
        saved = {name: f"{folder}/{name}" for name in ("plain", "fused", "int8")}
        export.save_plain(fused, saved["plain"])
        export.save_fused(fused, saved["fused"])
        int8.quantize_graph(fused, saved["int8"], shown)
        content = onnx_export.model(fused)
        runs = {
            "live": lambda picture: engine.largest_class(
                fused(mx.nd.array(normalize(picture, **normalisation)[None]))
            ),
            "predict": _opened(path, loaded.rule),
            "subnet0": _opened(path, "subnet0"),
            **{name: int8.run_of_graph(prefix, normalisation) for name, prefix in saved.items()},
            "onnx": int8.run_of_onnx(content, normalisation),
            "onnx_int8": int8.run_of_onnx(int8.quantized_onnx(content, shown), normalisation),
        }
        found = int8.compared(runs, val)
    picture = val.read_image(0)
    return {
        "network": trained.describe(loaded),
        "size": list(picture.shape[:2]),
        **int8.record(found, val),
        "drawn": bool(val.drawn),
        "threads": runtime.threads(),
        "versions": {
            "mxnet": runtime.version_of("mxnet", "mxnet-cu112"),
            "onnxruntime": runtime.version_of("onnxruntime"),
        },
    }


def _opened(path: Path, rule: str):
    network = segmenter.open_network(path, rule=rule)
    return lambda picture: network.classes(picture)[None]


def table(found: dict) -> str:
    """Markdown: a line of words, and a row for each form."""
    head = ["form", "ms an image (least to most)", "images a second", "mIoU", "classes as the live network's"]
    rows = []
    for name, words in FORMS.items():
        each = int8.Variant(**found["variants"][name])
        middle, least, most = (1000 * seconds for seconds in each.seconds)
        times = [f"{middle:.1f} ({least:.1f} to {most:.1f})", f"{1000 / middle:.1f}"]
        rows.append([words, *times, f"{100 * each.mean_iou:.2f}", f"{100 * each.equal:.2f} %"])
    height, width = found["size"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    said = f"{found['network']}. {found['images']} images of {width} x {height}: {found['data']} "
    said += f"{found['threads']} threads; {versions}."
    return f"{said}\n\n{Grid(head, rows).markdown()}"


if __name__ == "__main__":
    sys.exit(main())
