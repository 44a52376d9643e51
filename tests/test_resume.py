"""A run that is killed and goes on ends with the same bytes as one that was not."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import pytest
import small
from test_recipe import SETTINGS

from experiments.tools import kill_test
from gluon_confseg import build, checkpoint, train
from gluon_confseg.recipe import Cell, phase
from gluon_confseg.run_folder import RunFolder
from gluon_confseg.subnets import HeadSettings

PROJECT = Path(__file__).resolve().parents[1]
# the command line, less the report, which is made of a finished run's files and takes as long as the training here
SCRIPT = """
import sys
from gluon_confseg import cli, report
report.write = lambda run: run
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")  # the scenes are drawn below it, once
    words = [sys.executable, "-c", SCRIPT, "train", "drawn", "--profile", "smoke", "--save-every", "0"]
    for setting in SETTINGS:
        words += ["--set", setting]

    def start(out):
        return subprocess.Popen(
            [*words, "--out", str(out)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def run_to_the_end(command, out) -> dict:
    process = command(out)
    errors = process.communicate()[1]
    assert process.returncode == 0, errors
    return kill_test.fingerprint(out)


@pytest.fixture(scope="module")
def uninterrupted(command, tmp_path_factory):
    return run_to_the_end(command, tmp_path_factory.mktemp("whole") / "run")


def lines_before_the_kill(process, wanted: int) -> None:
    for _ in range(wanted):
        if not process.stderr.readline():
            return


@pytest.mark.slow
@pytest.mark.parametrize("moment", random.Random(0).sample(range(3, 8), 3))
def test_resumed_equals_uninterrupted(command, uninterrupted, tmp_path, moment):
    process = command(tmp_path / "run")
    lines_before_the_kill(process, moment)  # each line is a part of the run that ended
    process.kill()
    process.communicate()
    assert process.returncode != 0
    assert run_to_the_end(command, tmp_path / "run") == uninterrupted


# ---- every moment of one phase, in this process: three batches an epoch, a state saved after each

KINDS = ("subnet0", "subnets")
DROPPING = HeadSettings(
    channels=8, stages=(3,), kind="aspp_v3"
)  # its dropout draws from MXNet's own random state


class Kill(BaseException):
    """What nothing catches."""


def recipe(kind: str):
    """One phase of two epochs; that of subnets starts from a network as it is."""
    trained = {"epochs": 2, "learning_rate": 0.1, "warm_up": 2}
    if kind == "subnets":
        phases = [phase("base", epochs=0), phase(kind, "base", "subnets", **trained)]
    else:
        phases = [phase(kind, **trained)]
    cells = [Cell("cell", "all" if kind == "subnets" else "0", "CE", kind)]
    return small.recipe(phases, cells, **({"head": DROPPING} if kind == "dropout" else {}))


def run(folder, kind: str) -> RunFolder:
    """Train and score (on), saving a state after every step."""
    told = recipe(kind)
    run = RunFolder(folder, told.config(), save_every=0.0)
    train.run(told, small.data(), run)
    return run


def outcome(folder, kind: str) -> tuple:
    """Arrays and description of the finished checkpoints, results, and the log but for the seconds."""
    run = RunFolder(folder, recipe(kind).config())
    finished, best = (checkpoint.load(file) for file in (run.checkpoint(kind), run.best(kind)))
    log = [{k: v for k, v in record.items() if k != "seconds"} for record in run.logged()]
    results = json.loads((run.path / "results.json").read_text())
    return finished[0], best[0], finished[1], best[1], log, results


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    found = {}
    for kind in (*KINDS, "dropout"):
        place = tmp_path_factory.mktemp(kind) / "run"
        run(place, kind)
        found[kind] = outcome(place, kind)
    return found


def assert_same(found, wanted) -> None:
    assert small.same_bits(found[0], wanted[0]) and small.same_bits(found[1], wanted[1])
    assert found[2:] == wanted[2:]


def killed_at(monkeypatch, folder, kind: str, sync: int) -> None:
    """Train until something is synced to the disk for the n-th time: that call never happens."""
    own, left = os.fsync, [sync]

    def counted(descriptor):
        left[0] -= 1
        if left[0] == 0:
            raise Kill
        return own(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", counted)
        with pytest.raises(Kill):
            run(folder, kind)


def with_other_initial_values(monkeypatch) -> None:
    """What a resumed phase draws at first, its state replaces."""
    own = build.runtime.seed
    monkeypatch.setattr(build.runtime, "seed", lambda value: own(value + 5))


# Each file is synced before it gets its name (odd numbers), its folder after that (even ones). The files of a run:
# 1 config.json, 2 to 4 states, 5 log.jsonl, 6 to 9 states, 10 predictions, 11 evaluation, 12 best, 13 log.jsonl,
# 14 state, 15 the result, 16 and 17 confusion.npz, 18 groups.json, 19 to 23 examples, 24 results.json, 25 timing.json;
# of subnets after 2 base.npz and 3 confusion.npz
SYNCS = {"subnet0": 2 * 25, "subnets": 2 * 26}


def count_syncs(monkeypatch, folder, kind: str) -> int:
    own, made = os.fsync, []
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: (made.append(1), own(descriptor))[1])
        run(folder, kind)
    return len(made)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_moments_below_are_all_there_are(monkeypatch, tmp_path, kind):
    assert count_syncs(monkeypatch, tmp_path / "run", kind) == SYNCS[kind]


@pytest.mark.parametrize(
    "kind, sync",
    [
        pytest.param(kind, n, marks=() if n == 3 else pytest.mark.slow)
        for kind in KINDS
        for n in range(3, SYNCS[kind] + 1, 5)
    ],
)
def test_killed_before_or_after_a_file_gets_its_name_a_phase_ends_bit_identically(
    monkeypatch, tmp_path, whole, kind, sync
):
    killed_at(monkeypatch, tmp_path / "run", kind, sync)
    if list(tmp_path.rglob(f"{kind}.progress-*")):
        with_other_initial_values(monkeypatch)
    run(tmp_path / "run", kind)
    assert_same(outcome(tmp_path / "run", kind), whole[kind])
    assert not list(tmp_path.rglob("*.part")) and not list(tmp_path.rglob("*progress*"))


@pytest.mark.slow
def test_killed_again_and_again_a_phase_ends_bit_identically(monkeypatch, tmp_path, whole):
    for sync in (11, 4, 5, 3):
        killed_at(monkeypatch, tmp_path / "run", "subnets", sync)
    run(tmp_path / "run", "subnets")
    assert_same(outcome(tmp_path / "run", "subnets"), whole["subnets"])


@pytest.mark.slow
def test_a_resumed_phase_drops_what_it_would_have_dropped(monkeypatch, tmp_path, whole):
    killed_at(monkeypatch, tmp_path / "run", "dropout", 7)
    mx.random.seed(99)
    run(tmp_path / "run", "dropout")
    assert_same(outcome(tmp_path / "run", "dropout"), whole["dropout"])


def test_a_damaged_state_costs_a_step_and_no_bit(monkeypatch, tmp_path, whole, capsys):
    killed_at(monkeypatch, tmp_path / "run", "subnet0", 8)
    states = list(tmp_path.rglob("subnet0.progress-*.npz"))
    assert len(states) == 2  # the third has taken the place of the first
    latest = max(states, key=lambda file: file.stat().st_mtime_ns)
    content = bytearray(latest.read_bytes())
    content[len(content) // 2] ^= 1
    latest.write_bytes(content)
    capsys.readouterr()
    run(tmp_path / "run", "subnet0")
    said = [line for line in capsys.readouterr().err.splitlines() if "damaged" in line]
    assert len(said) == 1 and latest.name in said[0]
    assert_same(outcome(tmp_path / "run", "subnet0"), whole["subnet0"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_finished_phase_is_loaded_and_not_trained(monkeypatch, tmp_path, kind):
    file = run(tmp_path / "run", kind).checkpoint(kind)
    before = file.read_bytes(), outcome(tmp_path / "run", kind)
    with_other_initial_values(monkeypatch)
    run(tmp_path / "run", kind)
    assert file.read_bytes() == before[0]
    assert_same(outcome(tmp_path / "run", kind), before[1])


def test_the_rate_decays_linearly_to_0_after_the_warm_up():
    base = small.recipe([phase("base", epochs=4, learning_rate=0.6, warm_up=3)]).phases[0]
    rates = [base.rate_at(step, 12) for step in range(12)]
    assert rates[3:] == pytest.approx([0.6 * (1 - step / 12) for step in range(3, 12)])
    assert rates[:3] == pytest.approx([0.6 * (1 - step / 12) * (step + 1) / 3 for step in range(3)])
    assert base.rate_at(12, 12) == 0
