"""The runs of `make bench`, a line of JSON each, oldest first: history.jsonl only grows.

A line: {"commit", "dirty", "date", "machine": {"cpu", "cores", "load", "versions", "rates"}, "rows": [...],
"growths": [...]}, the last two as in `figures`. dirty: files that git tracks were changed. load: how many processes
ran on average in the minute before. rates: multiply-adds and copied bytes a second that the machine reached.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
from pathlib import Path

from gluon_confseg import hardware
from gluon_confseg.errors import RunError

from .. import PROJECT

FILE = PROJECT / "experiments" / "benchmarks" / "history.jsonl"


def read(file: Path = FILE) -> list:
    """All runs, oldest first; [] where there is no file. Raises RunError for a line that is no run."""
    if not file.exists():
        return []
    runs = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            run = json.loads(line)
            run["machine"]["cpu"], run["rows"], run["growths"], run["commit"]
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{file}: line {number} is no run of the benchmarks; remove it") from error
        runs.append(run)
    return runs


def append(run: dict, file: Path = FILE) -> None:
    """Add a run at the end."""
    with open(file, "a", encoding="utf-8") as target:
        target.write(json.dumps(run) + "\n")


def last(runs: list, kind: str, identifier: str, machine: dict | None = None) -> tuple:
    """(run, entry) of the newest run with this row or growth; (None, None) without one.

    kind      "rows" or "growths"
    machine   only runs on the same processor with as many cores count
    """
    for run in reversed(runs):
        if machine is not None and any(run["machine"].get(key) != machine[key] for key in ("cpu", "cores")):
            continue
        for entry in run[kind]:
            if entry["id"] == identifier:
                return run, entry
    return None, None


def begin(versions: dict, rates: dict, load: float) -> dict:
    """A run of now, with no rows yet."""
    commit, dirty = _commit()
    machine = {
        "cpu": hardware.cpu_name(),
        "cores": os.cpu_count(),
        "load": round(load, 2),
        "versions": versions,
        "rates": rates,
    }
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M")
    return {"commit": commit, "dirty": dirty, "date": now, "machine": machine, "rows": [], "growths": []}


def _commit() -> tuple:
    """(short hash, whether tracked files were changed); ("unknown", True) outside a repository."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD").strip()
        return commit, bool(_git("status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True


def _git(*words: str) -> str:
    command = ["git", *words]
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True, "check": True}
    return subprocess.run(command, cwd=PROJECT, **settings).stdout
