"""Two worker processes against one process with two threads, what they exchange, and what more workers would take.

Run:   make bench-workers                  measure, keep, write the table of docs/planning.md
       make bench-workers ARGS=--quick     one round of one step; nothing is kept
       make bench-workers ARGS=--table     measure nothing, and write the table again
Cost:  2 GB and about 5 minutes on 2 cores
Gives: experiments/results/workers/steps.json, and the table.

A step is the first phase of the recipe `drawn` (EfficientNet-Lite0, encoder and subnet 0), with the same batch for all.
The sides take turns: in every round each is started anew, warms up, and then makes its steps. Horovod is measured
where it is installed. What more workers would take is computed by `distributed.cost` from measured parts: a step
with a worker's share of the batch in one process with one thread, and the network as `confseg doctor` measures it.
Launchers start workers in sessions of their own, to which Linux gives a priority of their own; here they get that of
this command's session.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gluon_confseg import files, runtime
from gluon_confseg.cli import frame
from gluon_confseg.distributed import cost, open_communicator, probe
from gluon_confseg.dry_run.workers import share
from gluon_confseg.errors import RunError
from gluon_confseg.report.grid import Grid

from .. import PROJECT, argument_parser
from ..tools.marked_text import replace_between

KEPT = PROJECT / "experiments" / "results" / "workers" / "steps.json"
PAGE = PROJECT / "docs" / "planning.md"
MARKS = ("<!-- table: make bench-workers -->", "<!-- end of table -->")
BATCH, SCENES = 16, (256, 512)
ROUNDS, STEPS, MEGABYTES = 3, 4, (1, 16)
PRIORITY = Path("/proc/self/autogroup")  # of a session, where Linux schedules by sessions
SAME_PRIORITY = f'echo "$0" 2> /dev/null > {PRIORITY}; exec "$@"'  # what a launcher's session begins with
COMPUTED = (2, 4, 16)  # workers


@dataclasses.dataclass(frozen=True)
class Side:
    """What is measured. workers: processes; threads: of each; images: of the batch that they share."""

    kind: str | None
    workers: int
    threads: int
    images: int

    @property
    def name(self) -> str:
        """By which its figures are kept."""
        return f"{self.kind or 'alone'} {self.workers} x {self.threads}, {self.images} images"

    def command(self) -> list:
        """The launcher of its processes."""
        if self.kind == "dist_sync":
            return [sys.executable, "-m", "gluon_confseg", "launch", "--workers", str(self.workers), "--"]
        if self.kind == "horovod":
            launcher = Path(sys.executable).parent / "horovodrun"
            return [str(launcher), "-np", str(self.workers), "-H", f"localhost:{self.workers}"]
        return []


def sides() -> list:
    """One process with two threads, two processes with one thread, and the parts from which more are computed."""
    kinds = ["dist_sync"] + (["horovod"] if runtime.version_of("horovod") else [])
    parts = sorted({share(BATCH, workers) for workers in COMPUTED}, reverse=True)
    return [
        Side(None, 1, 2, BATCH),
        *(Side(kind, 2, 1, BATCH) for kind in kinds),
        *(Side(None, 1, 1, images) for images in parts),
    ]


def main(argv: list | None = None) -> int:
    """Measure every side, keep it unless quick, and print the table; the exit status."""
    parser = argument_parser("benchmarks.bench_workers", __doc__)
    parser.add_argument("--quick", action="store_true", help="one round of one step; keep nothing")
    parser.add_argument("--table", action="store_true", help="write the table of what was measured before")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # what a process of its own runs
    arguments = parser.parse_args(argv)
    return frame.run(lambda: _run(arguments))


def _run(arguments) -> None:
    if arguments.one:
        found = measure(**json.loads(arguments.one))
        if found:
            print(json.dumps(found))
        return
    if arguments.table:
        kept = json.loads(KEPT.read_text(encoding="utf-8"))
    else:
        kept = measure_all(*((1, 1) if arguments.quick else (ROUNDS, STEPS)))
    text = table(kept)
    if not arguments.quick:
        files.write_json(KEPT, kept)
        replace_between(PAGE, MARKS, text)
    print(text)


def measure_all(rounds: int, steps: int) -> dict:
    """Every side in turn, round by round: what is kept."""
    found: dict = {side.name: [] for side in sides()}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="confseg-bench-workers-") as folder:
        _draw(Path(folder))
        for number in range(rounds):
            for side in sides():
                began = time.monotonic()
                found[side.name].append(_in_processes(side, steps, folder))
                took = time.monotonic() - began
                print(
                    f"round {number + 1} of {rounds}: {side.name}: {took:.0f} s", file=sys.stderr, flush=True
                )
    return {
        "recipe": "drawn, profile quick",
        "encoder": _phase().encoder,
        "crop": list(_phase().crop),
        "batch": BATCH,
        "cores": os.cpu_count(),
        "load": round(load, 1),
        "rounds": rounds,
        "steps": steps,
        "sides": {side.name: {**dataclasses.asdict(side), "rounds": found[side.name]} for side in sides()},
    }


def _in_processes(side: Side, steps: int, folder: str) -> dict:
    """A round of a side: what its rank 0 measured."""
    wanted = json.dumps({"kind": side.kind, "images": side.images, "steps": steps, "folder": folder})
    own = [sys.executable, "-m", "experiments.benchmarks.bench_workers", "--one", wanted]
    if side.kind and PRIORITY.exists():
        own = ["sh", "-c", SAME_PRIORITY, PRIORITY.read_text().split()[-1], *own]
    command = [*side.command(), *own]
    environment = {**os.environ, "OMP_NUM_THREADS": str(side.threads)}
    done = subprocess.run(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True)
    lines = [line for line in done.stdout.splitlines() if "{" in line]
    if done.returncode or not lines:
        raise RunError(
            f"{side.name}: its processes ended with status {done.returncode}; their own message is above"
        )
    return json.loads(lines[-1][lines[-1].index("{") :])  # horovodrun writes the rank before it


def _recipe():
    from gluon_confseg import recipe_files

    return recipe_files.find("drawn").profile("quick").override(["norm=frozen"])


def _phase():
    return _recipe().phases[0]


def _draw(folder: Path) -> None:
    from gluon_confseg import scenes

    scenes.draw(folder, BATCH, 1, SCENES[::-1], 0)


def measure(kind: str | None, images: int, steps: int, folder: str) -> dict | None:
    """In a process of a side: seconds of each step, and of the exchange in it; None at ranks other than 0.

    The exchange begins when this process's gradients are there, so it contains the wait for the slower process.
    """
    import mxnet as mx

    from gluon_confseg.build import Data, build
    from gluon_confseg.datasets import open_dataset
    from gluon_confseg.parallel import Parallel

    with open_communicator(kind) as communicator:
        data = Data(*(open_dataset("cityscapes", Path(folder), split) for split in ("train", "val")))
        phase = dataclasses.replace(_phase(), batch_size=images, pretrained=False)
        parallel = Parallel((mx.cpu(),), 1, communicator)
        trainee, batches = build(phase, data, seed=0, parallel=parallel)
        trainee.spread()
        exchanged, sizes, allreduce = [], [], communicator.allreduce

        def timed(arrays: list) -> None:
            mx.nd.waitall()
            began = time.perf_counter()
            allreduce(arrays)
            exchanged.append(time.perf_counter() - began)
            sizes.append(sum(4 * array.size for array in arrays))

        communicator.allreduce = timed
        with batches:
            batch = next(iter(batches.epoch(0, 0)))
        seconds = []
        for step in range(steps + 1):
            mx.nd.waitall()
            began = time.perf_counter()
            trainee.step(batch, lambda number, step=step: step + number)
            trainee.update(1e-6, batch.names)
            mx.nd.waitall()
            seconds.append(time.perf_counter() - began)
        communicator.allreduce = allreduce
        network = probe.measure(communicator, MEGABYTES) if communicator.size > 1 else None
        if communicator.rank:
            return None
        found = {"seconds": seconds[1:], "exchanging": exchanged[1:], "bytes": sizes[-1] if sizes else 0}
        return {**found, "network": network and cost.record(kind, network, 1)}


# ---- the table


def table(kept: dict) -> str:
    """Markdown: under which conditions it was measured, then a line for each side and each computed number."""
    rows, measured = [], kept["sides"].values()
    for side in measured:
        if side["images"] == kept["batch"]:
            rows.append(_measured_row(kept, side))
    for side in measured:
        if side["workers"] > 1:
            rows += [_computed_row(kept, side, workers) for workers in COMPUTED]
    head = ["", "processes x threads", "seconds of a step", "images a second", "exchange", "how it was found"]
    height, width = kept["crop"]
    said = (
        f"Recipe {kept['recipe']}, its first phase: {kept['encoder']}, batches of {kept['batch']} crops of {width} x "
        f"{height}; median of {kept['rounds']} rounds of {kept['steps']} steps that took turns, with the quartiles, "
        f"on a machine of {kept['cores']} cores whose load average was {kept['load']} when it began."
    )
    return f"{said}\n\n{Grid(head, rows, words=2).markdown()}"


def _measured_row(kept: dict, side: dict) -> list:
    seconds, exchanging = _all(side, "seconds"), _all(side, "exchanging")
    low, _, high = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else seconds * 3
    took = statistics.median(seconds)
    part = statistics.median(e / s for e, s in zip(exchanging, seconds)) if exchanging else 0
    what = f"{side['kind']}, {side['workers']} workers" if side["kind"] else "one process"
    row = [what, f"{side['workers']} x {side['threads']}", f"{took:.2f} ({low:.2f} to {high:.2f})"]
    return [*row, f"{kept['batch'] / took:.1f}", f"{100 * part:.0f} %", "measured"]


def _computed_row(kept: dict, side: dict, workers: int) -> list:
    """So many workers of this side's kind, each on a core of its own machine, from the parts."""
    images = share(kept["batch"], workers)
    (part,) = (
        s for s in kept["sides"].values() if s["threads"] == 1 and s["images"] == images and not s["kind"]
    )
    computing = statistics.median(_all(part, "seconds"))
    exchanging = cost.exchange(side["kind"], side["rounds"][0]["bytes"], workers).seconds(network_of(side))
    took = computing + exchanging
    row = [
        f"{side['kind']}, {workers} workers",
        f"{workers} x 1",
        f"{took:.2f}",
        f"{kept['batch'] / took:.1f}",
    ]
    return [*row, f"{100 * exchanging / took:.0f} %", "computed"]


def network_of(side: dict) -> cost.Network:
    """The network that a side's rounds measured: the medians of their latencies, and of the times of each size."""
    found = [each["network"] for each in side["rounds"]]
    seconds = {
        int(size): statistics.median(each["seconds_by_megabytes"][size] for each in found)
        for size in found[0]["seconds_by_megabytes"]
    }
    latency = statistics.median(each["latency"] for each in found)
    return cost.measured(side["kind"], found[0]["workers"], latency, seconds, "measured")


def _all(side: dict, what: str) -> list:
    return [value for each in side["rounds"] for value in each[what]]


if __name__ == "__main__":
    sys.exit(main())
