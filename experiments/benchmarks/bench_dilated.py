"""EfficientNet-Lite0 at output stride 8, forward and backward: space-to-batch layout against dilated convolutions.

Run:   .venv/bin/python -m experiments.benchmarks.bench_dilated
Gives: a ratio below 1, the same features either way; what was measured: experiments/README.md.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import mxnet as mx
import numpy as np
from mxnet import autograd

from gluon_confseg import runtime
from gluon_confseg.cli import frame
from gluon_confseg.encoders import norms
from gluon_confseg.encoders.efficientnet import EfficientNetLite0Encoder

from .. import argument_parser

SIDES = {"space-to-batch": True, "dilated": False}


def main(argv: list | None = None) -> int:
    """Time both sides in turn and print the medians and the median of the ratios; the exit status."""
    parser = argument_parser("benchmarks.bench_dilated", __doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--last-stage", type=int, choices=(3, 4), default=4)
    parser.add_argument("--quick", action="store_true", help="3 rounds of one image of 96 x 128")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    return frame.run(lambda: _run(arguments))


def _run(arguments) -> None:
    shape = (1, 3, 96, 128) if arguments.quick else (4, 3, 180, 240)
    rounds = 3 if arguments.quick else arguments.rounds
    result = summary(shape, arguments.last_stage, *measure(shape, arguments.last_stage, rounds))
    print(json.dumps(result) if arguments.json else text(result))


def measure(shape: tuple, last_stage: int, rounds: int) -> tuple:
    """Seconds of each side, round by round, the sides taking turns; and the features' largest difference."""
    images = mx.nd.array(np.random.RandomState(0).normal(size=shape))
    sides = {name: encoder(last_stage, split) for name, split in SIDES.items()}
    times = {name: {"forward": [], "backward": []} for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            seconds = forward_backward(side, images)
            if number:  # the first round warms up
                for part, value in seconds.items():
                    times[name][part].append(value)
    first, second = (side(images)[-1] for side in sides.values())
    return times, float((first - second).abs().max().asscalar() / first.abs().max().asscalar())


def encoder(last_stage: int, split: bool) -> EfficientNetLite0Encoder:
    """One side, hybridized; the same values on both, and global statistics, with which both compute the same."""
    runtime.seed(0)
    built = EfficientNetLite0Encoder(8, last_stage, split)
    built.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2))
    norms.apply(built, "frozen")
    built.hybridize(static_alloc=True, static_shape=True)
    return built


def forward_backward(encoder, images) -> dict:
    """Seconds of a training step's forward and backward, all parameters' gradients included."""
    mx.nd.waitall()
    began = time.perf_counter()
    with autograd.record():
        features = encoder(images)[-1]
    mx.nd.waitall()
    between = time.perf_counter()
    features.backward(mx.nd.random.normal(shape=features.shape))
    mx.nd.waitall()
    return {"forward": between - began, "backward": time.perf_counter() - between}


def summary(shape: tuple, last_stage: int, times: dict, difference: float) -> dict:
    """Medians, and ratios round by round."""
    sums = {name: [a + b for a, b in zip(side["forward"], side["backward"])] for name, side in times.items()}
    ratios = [a / b for a, b in zip(sums["space-to-batch"], sums["dilated"])]
    return {
        "shape": list(shape),
        "last_stage": last_stage,
        "seconds": {
            name: {part: statistics.median(values) for part, values in side.items()}
            for name, side in times.items()
        },
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "difference": difference,
    }


def text(result: dict) -> str:
    """The result for a person."""
    low, high = result["ratio_range"]
    sides = [
        f"  {name:<14}  forward {parts['forward']:.3f} s, backward {parts['backward']:.3f} s"
        for name, parts in result["seconds"].items()
    ]
    return "\n".join(
        [
            f"EfficientNet-Lite0 to stage {result['last_stage']}, output stride 8, "
            f"{' x '.join(map(str, result['shape']))}, medians",
            *sides,
            f"space-to-batch / dilated: {result['ratio']:.2f} (rounds from {low:.2f} to {high:.2f})",
            f"largest difference of the features, as a share of the largest: {result['difference']:.1g}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
