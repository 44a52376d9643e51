"""Kills a small training at random moments, and compares what the resumed runs end with, byte by byte.

Run:   .venv/bin/python -m experiments.tools.kill_test --kills 10
Cost:  about half a minute a kill on 2 cores.
Gives: "10 of 10 resumed runs ended bit-identical", exit status 0; else the files that differ, and 1.
"""

from __future__ import annotations

import hashlib
import json
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


def main(argv: list | None = None) -> int:
    """Run once to the end, then once per kill; the exit status."""
    parser = argument_parser("tools.kill_test", __doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--profile", default="smoke", help="of the recipe drawn")
    parser.add_argument(
        "--jobs", default="1", help="phases at once; the same for all runs, since last bits depend on it"
    )
    arguments = parser.parse_args(argv)
    return frame.run(lambda: _run(arguments))


def _run(arguments) -> int:
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        whole = Path(folder, "whole", "run")  # all run folders have one name, which results.csv holds
        run(arguments, whole)
        length = time.monotonic() - began
        wanted = fingerprint(whole)
        print(f"uninterrupted: {length:.1f} s, {len(wanted)} files compared", flush=True)
        same = 0
        for number in range(arguments.kills):
            after = moments.uniform(0.15, 1.0) * length
            same += killed_once(arguments, Path(folder, f"kill{number}", "run"), after, wanted)
    print(f"{same} of {arguments.kills} resumed runs ended bit-identical")
    return 0 if same == arguments.kills else 1


def killed_once(arguments, out: Path, after: float, wanted: dict) -> bool:
    """Start, kill -9 after so many seconds, resume, compare; says where the kill fell."""
    process = start(arguments, out)
    try:
        process.wait(after)
        where = "had ended before the kill"
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        where = f"killed after {after:.1f} s with {len(list(out.glob('checkpoints/*.npz')))} checkpoints"
    finally:
        process.stderr.close()
    run(arguments, out)
    found = fingerprint(out)
    differing = sorted(k for k in set(wanted) | set(found) if wanted.get(k) != found.get(k))
    print(
        f"{out.parent.name}: {where}: {'identical' if not differing else 'DIFFERS in ' + ', '.join(differing)}",
        flush=True,
    )
    return not differing


def start(arguments, out: Path) -> subprocess.Popen:
    """`confseg train drawn`, with a checkpoint after every step."""
    command = [sys.executable, "-m", "gluon_confseg", "train", "drawn", "--profile", arguments.profile]
    command += ["--jobs", arguments.jobs, "--save-every", "0", "--out", str(out)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def run(arguments, out: Path) -> None:
    """Run to the end. Raises RunError, with the run's own last line, where that fails."""
    process = start(arguments, out)
    _, errors = process.communicate()
    if process.returncode:
        raise RunError(f"{out}: {(errors.decode().strip() or 'no message').splitlines()[-1]}")


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
