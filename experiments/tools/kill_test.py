"""Kills a small training at random moments, and compares what the resumed runs end with, byte by byte.

Run:   .venv/bin/python -m experiments.tools.kill_test --kills 50
       .venv/bin/python -m experiments.tools.kill_test --kills 50 --workers 2
Cost:  two runs a kill, the first of which is cut off; the first line says what one takes.
Gives: a table of the kills, "50 of 50 resumed runs ended bit-identical" and exit status 0; else the files that differ,
       and 1.

The training is the recipe `drawn` with all its phases, from drawing its images to its report, made as small as can be.
A state is saved after every step. Every second kill waits, after its moment, for the next file that is being written,
and falls into that. With several workers, which `confseg launch` starts, every process is killed at once, as when a
machine dies, or, the next time, one worker alone: then the others must end within a minute by themselves.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gluon_confseg.cli import frame
from gluon_confseg.errors import RunError

from .. import PROJECT, argument_parser

# what a run may end with differently, only seconds; and the lock, which holds nothing
DIFFERING = ("timing.json", "threads.json", "log.jsonl", "report.html", "report.md", ".lock")
SETTINGS = (
    "head.channels=8",
    "head.dilation=1",
    "subnet_head.channels=8",
    "subnet_head.stages=2,3",
    "crop=32,32",
    "matrix_images=2",
    "draw.train=4",
    "draw.val=2",
    "draw.size=128,64",
)
LOOKS = 0.0005  # seconds between two looks for a file that is being written
RANK = {"dist_sync": "DMLC_TASK_ID", "horovod": "HOROVOD_RANK"}  # the variable that holds a worker's number
PATIENCE = 60  # seconds after which the others must have ended when one worker was killed


def main(argv: list | None = None) -> int:
    """Run once to the end, then once per kill; the exit status."""
    parser = argument_parser("tools.kill_test", __doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--profile", default="smoke", help="of the recipe drawn")
    parser.add_argument(
        "--full-size", action="store_true", help="leave the profile's sizes as they are: minutes a kill"
    )
    parser.add_argument(
        "--jobs", default="1", help="phases at once; the same for all runs, since last bits depend on it"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that train together")
    parser.add_argument("--kvstore", choices=sorted(RANK), default="dist_sync", help="how they do")
    arguments = parser.parse_args(argv)
    return frame.run(lambda: _run(arguments))


def _run(arguments) -> int:
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole", "run")  # all run folders have one name, which results.csv holds
        length = run(arguments, whole)
        wanted = fingerprint(whole)
        print(f"Uninterrupted: {length:.1f} CPU seconds, {len(wanted)} files are compared.\n", flush=True)
        print("| kill | after | of | states and results there | in the middle of | the resumed run |")
        print("| --: | --: | --- | --: | --- | --- |", flush=True)
        same = 0
        for number in range(1, arguments.kills + 1):
            out = Path(folder, f"kill{number}", "run")
            after = moments.uniform(0.1, 1.0) * length
            rank = moments.randrange(arguments.workers) if arguments.workers > 1 and number % 4 < 2 else None
            told = kill(arguments, out, after, in_a_write=number % 2 == 0, rank=rank)
            run(arguments, out)
            found = fingerprint(out)
            differing = sorted(k for k in set(wanted) | set(found) if wanted.get(k) != found.get(k))
            same += not differing
            ended = "identical" if not differing else f"DIFFERS in {', '.join(differing)}"
            print(f"| {number} | {' | '.join(told)} | {ended} |", flush=True)
    print(f"\n{same} of {arguments.kills} resumed runs ended bit-identical")
    return 0 if same == arguments.kills else 1


def kill(arguments, out: Path, after: float, in_a_write: bool, rank: int | None) -> tuple:
    """Start, kill -9 after so many CPU seconds; returns when that was, of what, and what was there, in words.

    rank   of the only worker that is killed; None: every process
    Raises RunError where the others still run a minute later, or end as if nothing had happened.
    """
    process, writing = start(arguments, out), ""
    seconds = watch(process, after)
    while in_a_write and not writing and process.poll() is None:
        writing = unfinished(out)
        time.sleep(LOOKS)
    there = process_tree(process.pid)
    if rank is not None:
        there = [pid for pid in there if f"{RANK[arguments.kvstore]}={rank}" in environment_of(pid)]
    for pid in there:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    try:
        status = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        what = "all processes were" if rank is None else f"worker {rank} was"
        raise RunError(f"{out}: {PATIENCE} s after {what} killed, the command still runs") from None
    took = time.monotonic() - killed
    if status == 0 and there and rank is not None and not (out / "report.html").exists():
        raise RunError(f"{out}: worker {rank} was killed, and the command ended with exit status 0")
    if status == 0:
        return f"{seconds:.1f} s", "-", "all", "nothing, it had ended"
    if in_a_write and rank is None:
        writing = unfinished(out) or f"{writing} (just written)"
    of = "all" if rank is None else f"worker {rank}; the others ended {took:.0f} s later"
    states = len(list(out.glob("checkpoints/*.npz")))
    return f"{seconds:.1f} s", of, str(states), writing or unfinished(out) or "-"


def process_tree(pid: int) -> list:
    """A process and all that come from it, itself first."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    tree = [pid]
    for each in tree:  # grows
        tree += [child for child, parent in parents.items() if parent == each]
    return tree


def environment_of(pid: int) -> list:
    """The variables of a process as NAME=VALUE; empty if it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return []


def unfinished(out: Path) -> str:
    """The name of a file in a run folder that is being written; "" if there is none."""
    for folder in (out / "checkpoints", out, out / "examples", out / "pictures"):
        for name in os.listdir(folder) if folder.is_dir() else ():
            if name.endswith(".part"):
                return name[1:].rsplit(".", 2)[0]
    return ""


def watch(process: subprocess.Popen, until: float = float("inf")) -> float:
    """Wait until a process, with those that it started, has worked for so many seconds, or has ended; returns for how
    many it has.

    By a clock on the wall, kills would fall elsewhere whenever the machine is busy with other work.
    """
    spent, tree, looked = 0.0, [process.pid], 0.0
    while process.poll() is None and spent < until:
        if time.monotonic() > looked + 0.5:
            tree, looked = process_tree(process.pid), time.monotonic()
        spent = max(spent, sum(map(cpu_seconds, tree)))
        time.sleep(0.005)
    return spent


def cpu_seconds(pid: int) -> float:
    """For how many seconds a process has worked; 0 if it has ended."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def start(arguments, out: Path) -> subprocess.Popen:
    """`confseg train drawn`, with a checkpoint after every step; its scenes are drawn beside the run folder."""
    confseg = [sys.executable, "-m", "gluon_confseg"]
    command = [*confseg, "train", "drawn", "--profile", arguments.profile]
    command += ["--save-every", "0", "--out", out.name]
    if arguments.workers > 1:
        number = str(arguments.workers)
        horovodrun = [
            str(Path(sys.executable).with_name("horovodrun")),
            "-np",
            number,
            "-H",
            f"localhost:{number}",
        ]
        launchers = {"dist_sync": [*confseg, "launch", "--workers", number, "--"], "horovod": horovodrun}
        command = [*launchers[arguments.kvstore], *command, "--kvstore", arguments.kvstore]
    else:
        command += ["--jobs", arguments.jobs]
    for setting in () if arguments.full_size else SETTINGS:
        command += ["--set", setting]
    out.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with open(out.parent / "stderr", "wb") as errors:
        streams = {"stdout": subprocess.DEVNULL, "stderr": errors}
        return subprocess.Popen(command, cwd=out.parent, env=environment, **streams)


def run(arguments, out: Path) -> float:
    """Run to the end; returns the CPU seconds. Raises RunError, with the run's own last line, where that fails."""
    process = start(arguments, out)
    spent = watch(process)
    if process.returncode:
        lines = (out.parent / "stderr").read_text(errors="replace").strip().splitlines() or ["no message"]
        raise RunError(f"{out}: {lines[-1]}")
    return spent


def fingerprint(out: Path) -> dict:
    """SHA-256 of every file that has to be the same; of the log, everything but the seconds."""
    files = {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in DIFFERING
    }
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    files["log.jsonl"] = str([{k: v for k, v in record.items() if k != "seconds"} for record in log])
    return files


if __name__ == "__main__":
    sys.exit(main())
