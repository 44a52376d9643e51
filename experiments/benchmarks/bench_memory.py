"""Memory and time of a training step of an encoder: batch norm, in-place activated batch norm, recomputation.

Run:   .venv/bin/python -m experiments.benchmarks.bench_memory              measure, keep, write the table
       .venv/bin/python -m experiments.benchmarks.bench_memory --quick      a small encoder; nothing is kept
Cost:  2 GB and about 10 minutes on 2 cores; 1 minute with --quick
Gives: experiments/benchmarks/memory.json and the table of docs/memory.md, which says what follows from it.

Each variant runs in a process of its own, at output stride 8. Memory is that process's peak less what it held before
the encoder was built: parameters, gradients, features, and what convolutions take in passing. Linux only.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import mxnet as mx
import numpy as np

from gluon_confseg import encoders, files, runtime
from gluon_confseg.cli import frame
from gluon_confseg.encoders import norms
from gluon_confseg.errors import RunError

from .. import PROJECT, argument_parser
from ..tools.marked_text import replace_between

KEPT = PROJECT / "experiments" / "benchmarks" / "memory.json"
PAGE = PROJECT / "docs" / "memory.md"
MARKS = ("<!-- table: python -m experiments.benchmarks.bench_memory -->", "<!-- end of table -->")
SHAPES = {"resnet50": (2, 3, 289, 289), "resnext101_32x4d": (2, 3, 193, 193)}
QUICK = {"resnet18": (1, 3, 97, 97)}
STEPS = 3
MIRROR = {"MXNET_BACKWARD_DO_MIRROR": "1"}
EXACT = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # freed memory leaves the process at once


@dataclasses.dataclass(frozen=True)
class Variant:
    """runs: "imperative", "hybridized", "static" (hybridized, static_alloc) or "executor" (MXNet's Symbol API)."""

    title: str
    runs: str
    norm: str = "batch"
    environment: dict = dataclasses.field(default_factory=dict)


VARIANTS = (  # all others are compared with the first
    Variant("batch norm, hybridized", "hybridized"),
    Variant("... with `static_alloc`, as trained here", "static"),
    Variant("... and `MXNET_BACKWARD_DO_MIRROR=1`", "static", environment=MIRROR),
    Variant("batch norm, imperative", "imperative"),
    Variant("frozen, hybridized with `static_alloc`", "static", "frozen"),
    Variant("in-place activated, imperative", "imperative", "inplace"),
    Variant("in-place activated, hybridized", "hybridized", "inplace"),
    Variant("batch norm, symbolic executor", "executor"),
    Variant("... and `MXNET_BACKWARD_DO_MIRROR=1`", "executor", environment=MIRROR),
)


def main(argv: list | None = None) -> int:
    """Measure every variant of every encoder, print the table, and keep it unless quick; the exit status."""
    parser = argument_parser("benchmarks.bench_memory", __doc__)
    parser.add_argument("--quick", action="store_true", help="a small encoder; keep nothing")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # what a process of its own runs
    arguments = parser.parse_args(argv)
    return frame.run(lambda: _run(arguments))


def _run(arguments) -> None:
    if arguments.one:
        encoder, number, shape = json.loads(arguments.one)
        print(json.dumps(measure(encoder, VARIANTS[number], tuple(shape))))
        return
    shapes = QUICK if arguments.quick else SHAPES
    found = {name: _all(name, shape) for name, shape in shapes.items()}
    result = {"conditions": conditions(), "shapes": shapes, "encoders": found}
    text = table(result)
    if not arguments.quick:
        files.write_json(KEPT, result)
        replace_between(PAGE, MARKS, text)
    print(json.dumps(result) if arguments.json else text)


def conditions() -> dict:
    """What else decides the figures."""
    return {"mxnet": mx.__version__, "threads": runtime.threads(), "steps": STEPS, "device": "CPU"}


def measure(name: str, variant: Variant, shape: tuple) -> dict:
    """Median seconds of a step, and the peak in MB (10^6 bytes), in this process, which has built nothing before."""
    images = mx.nd.array(np.random.RandomState(0).normal(size=shape))
    mx.nd.waitall()
    held = resident("VmRSS")
    encoder = encoders.build(name, 8)
    norms.apply(encoder, variant.norm)
    step = (
        _executor_step(encoder, images)
        if variant.runs == "executor"
        else _step(encoder, variant.runs, images)
    )
    seconds = []
    for _ in range(STEPS + 1):
        began = time.perf_counter()
        step()
        mx.nd.waitall()
        seconds.append(time.perf_counter() - began)
    return {"seconds": statistics.median(seconds[1:]), "megabytes": round((resident("VmHWM") - held) / 1e6)}


def _step(encoder, runs: str, images):
    """A training step through Gluon's autograd."""
    encoder.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2))
    with mx.autograd.pause():
        encoder(mx.nd.zeros((1, 3, 32, 32)))  # fixes the shapes that were left open
    encoder.hybridize(active=runs != "imperative", static_alloc=runs == "static")

    def step() -> None:
        with mx.autograd.record():
            features = encoder(images)[-1]
        features.backward()

    return step


def _executor_step(encoder, images):
    """The same through the Symbol API, the only one whose graphs MXNet 1.9.1 recomputes parts of."""
    symbol = encoder(mx.sym.var("data"))[-1]
    requests = {name: "null" if name == "data" else "write" for name in symbol.list_arguments()}
    executor = symbol.simple_bind(mx.cpu(), data=images.shape, grad_req=requests)
    for name, array in {**executor.arg_dict, **executor.aux_dict}.items():
        array[:] = 1 if name.endswith(("gamma", "running_var")) else 0.01

    def step() -> None:
        executor.forward(is_train=True, data=images)
        executor.backward(mx.nd.ones(executor.outputs[0].shape))

    return step


def resident(field: str) -> int:
    """VmRSS (now) or VmHWM (the most ever) of this process in bytes."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError as error:
        raise RunError(f"/proc/self/status: can't be read ({error.strerror}); measure on Linux") from error
    return 1024 * int(re.search(rf"{field}:\s+(\d+)", text).group(1))


def _all(name: str, shape: tuple) -> list:
    """The figures of every variant, in order, each from a process of its own."""
    found = []
    for number, variant in enumerate(VARIANTS):
        found.append(_in_a_process(name, number, shape))
        print(f"{name}, {variant.title}: {found[-1]}", file=sys.stderr, flush=True)
    return found


def _in_a_process(name: str, number: int, shape: tuple) -> dict:
    one = json.dumps([name, number, shape])
    command = [sys.executable, "-m", "experiments.benchmarks.bench_memory", "--one", one]
    environment = {**os.environ, **EXACT, **VARIANTS[number].environment}
    done = subprocess.run(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        title = VARIANTS[number].title
        raise RunError(f"measuring {name}, {title} ended with status {done.returncode} (-9: out of memory)")
    return json.loads(done.stdout.splitlines()[-1])


def table(result: dict) -> str:
    """Memory and time of each variant as ratios to the first; Markdown."""
    names = list(result["encoders"])
    header = ["a step of the encoder", *(f"{name}: {what}" for name in names for what in ("memory", "time"))]
    rows = [header, ["---", *["--:"] * (len(header) - 1)]]
    for number, variant in enumerate(VARIANTS):
        row = [variant.title]
        for figures in result["encoders"].values():
            for key in ("megabytes", "seconds"):
                row.append(f"{figures[number][key] / figures[0][key]:.2f}")
        rows.append(row)
    ones = "; ".join(
        _one(name, result["shapes"][name], figures[0]) for name, figures in result["encoders"].items()
    )
    facts = result["conditions"]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + (
        f"\n\n1.00 is {ones}. MXNet {facts['mxnet']}, {facts['device']}, {facts['threads']} OpenMP threads, median of "
        f"{facts['steps']} steps."
    )


def _one(name: str, shape, first: dict) -> str:
    count, _, height, width = shape
    return f"{first['megabytes']} MB and {first['seconds']:.1f} s for {name} on {count} images of {height} x {width}"


if __name__ == "__main__":
    sys.exit(main())
