"""Forward and backward of the improved cross-entropy against MXNet's own softmax cross-entropy, in one run.

Run:   make bench-loss
       make bench-loss ARGS=--other-losses     those of docs/peers.md against our plain cross-entropy
Gives: a ratio of at most 1 at 4 x 19 x 512 x 512; what was measured: experiments/README.md.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from gluon_confseg import losses
from gluon_confseg.cli import frame

from .. import argument_parser

CLASSES = 19


def main(argv: list | None = None) -> int:
    """Time both sides in turn and print the medians and the median of the ratios; the exit status."""
    parser = argument_parser("benchmarks.bench_loss", __doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="3 rounds at 1 x 19 x 256 x 256")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--other-losses", action="store_true", help="the other losses, at 4 x 11 x 160 x 224")
    arguments = parser.parse_args(argv)
    return frame.run(lambda: _run(arguments))


def _run(arguments) -> None:
    if arguments.other_losses:
        result = other_ratios(arguments.rounds)
        print(json.dumps(result) if arguments.json else other_text(result))
        return
    shape = (1, CLASSES, 256, 256) if arguments.quick else (4, CLASSES, 512, 512)
    times = measure(shape, 3 if arguments.quick else arguments.rounds)
    result = summary(shape, times)
    print(json.dumps(result) if arguments.json else text(result))


def measure(shape: tuple, rounds: int) -> dict:
    """Seconds of each side, round by round, the sides taking turns."""
    draws = np.random.RandomState(0)
    logits = mx.nd.array(draws.normal(size=shape) * 3)
    labels = mx.nd.array(draws.randint(0, CLASSES, (shape[0], *shape[2:])))
    logits.attach_grad()
    confusion = draws.dirichlet(np.ones(CLASSES), CLASSES)
    sides = {
        "improved": losses.ConfusionCELoss(losses.confusion_weights(confusion)),
        "ours_plain": losses.CrossEntropyLoss(CLASSES),
        "mxnet": gluon.loss.SoftmaxCrossEntropyLoss(axis=1),
        "operators": naive(losses.confusion_weights(confusion)),
    }
    times = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            seconds = forward_backward(side, logits, labels)
            if number:  # the first round warms up
                times[name].append(seconds)
    return times


def other_ratios(rounds: int, shape: tuple = (4, 11, 160, 224)) -> dict:
    """Each other loss's median time as a multiple of our plain cross-entropy's, turn by turn in one run."""
    draws = np.random.RandomState(0)
    logits = mx.nd.array(draws.normal(size=shape) * 3)
    labels = draws.randint(0, shape[1], (shape[0], *shape[2:])).astype(np.uint8)
    logits.attach_grad()
    counted = losses.LabelStatistics.count(labels, shape[1])
    plain = losses.CrossEntropyLoss(shape[1])
    sides = {name: losses.other_loss(name, shape[1], counted) for name in losses.OTHER_LOSSES}
    ratios = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            pair = forward_backward(side, logits, labels), forward_backward(plain, logits, labels)
            if number:  # the first round warms up
                ratios[name].append(pair[0] / pair[1])
    return {
        "shape": list(shape),
        "ratios": {name: statistics.median(values) for name, values in ratios.items()},
        "ranges": {name: [min(values), max(values)] for name, values in ratios.items()},
    }


def other_text(result: dict) -> str:
    """The other losses' ratios for a person."""
    lines = [f"forward and backward at {' x '.join(map(str, result['shape']))}, times plain cross-entropy's"]
    for name, ratio in sorted(result["ratios"].items(), key=lambda item: item[1]):
        low, high = result["ranges"][name]
        lines.append(f"  {name:<18} {ratio:5.2f} (rounds from {low:.2f} to {high:.2f})")
    return "\n".join(lines)


def forward_backward(loss, logits, labels) -> float:
    """Seconds of one forward and backward."""
    mx.nd.waitall()
    began = time.perf_counter()
    with autograd.record():
        value = loss(logits, labels)
    value.backward()
    mx.nd.waitall()
    return time.perf_counter() - began


def naive(weights: np.ndarray, penalty: float = 5.0):
    """Eq. 3 as one would write it with operators, for comparison; not stable."""
    table = penalty * weights
    np.fill_diagonal(table, 0)
    table = mx.nd.array(table)

    def loss(logits, labels):
        probabilities = mx.nd.softmax(logits, axis=1)
        right = -mx.nd.pick(mx.nd.log_softmax(logits, axis=1), labels, axis=1)
        columns = mx.nd.take(table, labels).transpose((0, 3, 1, 2))
        wrong = -(columns * mx.nd.log(1 - probabilities + 1e-12)).sum(axis=1)
        return (right + wrong).mean(axis=(1, 2))

    return loss


def summary(shape: tuple, times: dict) -> dict:
    """Medians, and ratios round by round."""
    ratios = [a / b for a, b in zip(times["improved"], times["mxnet"])]
    return {
        "shape": list(shape),
        "seconds": {name: statistics.median(values) for name, values in times.items()},
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
    }


def text(result: dict) -> str:
    """The result for a person."""
    seconds = result["seconds"]
    low, high = result["ratio_range"]
    return "\n".join(
        [
            f"forward and backward at {' x '.join(map(str, result['shape']))}, medians",
            f"  improved cross-entropy, ours          {seconds['improved']:.3f} s",
            f"  plain cross-entropy, ours             {seconds['ours_plain']:.3f} s",
            f"  softmax cross-entropy, MXNet's own    {seconds['mxnet']:.3f} s",
            f"  improved, naively with operators      {seconds['operators']:.3f} s",
            f"improved / MXNet's own: {result['ratio']:.2f} (rounds from {low:.2f} to {high:.2f})",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
