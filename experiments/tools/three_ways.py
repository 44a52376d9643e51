"""One trained network three ways on a data set's images: the live block, the exported symbol, and onnxruntime.

Run:   .venv/bin/python -m experiments.tools.three_ways CHECKPOINT --data camvid --root DATA
Cost:  a second an image of CamVid on 2 cores, for a ResNet-18
Gives: each way's mIoU, and how its scores and classes differ from the live block's. The exit status is 1 where the
       classes agree at less than 99.99 % of the pixels, scores differ by more than 1e-4, or mIoU by more than 0.01.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import mxnet as mx
import numpy as np

from gluon_confseg import export, onnx_export, trained
from gluon_confseg.cli import data, frame, options
from gluon_confseg.datasets import whole_images
from gluon_confseg.metrics import ConfusionMatrix
from gluon_confseg.network import FusedNetwork

from .. import argument_parser


def main(argv: list | None = None) -> int:
    """Compare and print; the exit status."""
    parser = argument_parser("tools.three_ways", __doc__)
    options.add_checkpoint(parser)
    options.add_data(parser, "val", "data set")
    arguments = parser.parse_args(argv)
    return frame.run(lambda: _run(arguments))


def _run(arguments) -> int:
    loaded = trained.load(arguments.checkpoint, arguments.rule)
    dataset = data.of_network(arguments, loaded.labels, labelled=True)
    with tempfile.TemporaryDirectory() as folder:
        ways = _ways(loaded, Path(folder))
    matrices = {name: ConfusionMatrix(dataset.labels.num_classes) for name in ways}
    worst, equal, pixels = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0), 0
    for batch in whole_images(dataset, workers=0, **loaded.network.normalisation):
        images, labels = np.asarray(batch.images), np.asarray(batch.labels)
        scores = {name: way(images) for name, way in ways.items()}
        live, pixels = scores["live block"], pixels + labels.size
        for name, found in scores.items():
            matrices[name].update(labels, found.argmax(1))
            worst[name] = float(np.maximum(worst[name], np.abs(found - live).max()))
            equal[name] += int((found.argmax(1) == live.argmax(1)).sum())
    print(f"Data: {dataset.description}\nNetwork: {trained.describe(loaded)}.\n")
    print("| way | mIoU | largest difference of scores | pixels with the same class |\n|---|---|---|---|")
    for name in ways:
        share = 100 * equal[name] / pixels
        print(
            f"| {name} | {100 * matrices[name].mean_iou():.3f} | {worst[name]:.1e} | {share:.4f} % of {pixels:,} |"
        )
    means = [100 * matrix.mean_iou() for matrix in matrices.values()]
    agree = min(equal.values()) >= 0.9999 * pixels and max(worst.values()) <= onnx_export.TOLERANCE
    return 0 if agree and max(means) - min(means) <= 0.01 else 1


def _ways(loaded, folder: Path) -> dict:
    """{name: function (N, 3, H, W) -> scores (N, K, H, W), both arrays of NumPy}."""
    about = loaded.network, loaded.rule, loaded.labels
    symbol = export.write(*about, folder / "symbol")
    block = mx.gluon.SymbolBlock.imports(str(symbol.symbol), ["data"], str(symbol.parameters))
    onnx = onnx_export.write(*about, folder / "network.onnx")
    session = onnx_export.session(str(onnx.model))
    live = FusedNetwork(loaded.network, loaded.rule)
    return {
        "live block": lambda images: live(mx.nd.array(images)).asnumpy(),
        "exported symbol": lambda images: block(mx.nd.array(images)).asnumpy(),
        "onnxruntime": lambda images: session.run(None, {"data": images})[0],
    }


if __name__ == "__main__":
    sys.exit(main())
