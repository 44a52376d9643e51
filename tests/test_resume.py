"""A run that is killed and goes on ends with the same bytes as one that was not."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import mxnet as mx
import pytest
import small

from experiments import kill_test
from gluon_confseg import checkpoint, engine, losses, stages
from gluon_confseg.datasets.batches import Batch
from gluon_confseg.runs import RunFolder
from gluon_confseg.subnets import HeadSettings

SCRIPT = """
import pathlib, sys
sys.path[:0] = [{tests!r}, {project!r}]
from test_recipe import TINY
from experiments import runner
runner.run(TINY, pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), save_every=0.0)
"""


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    script = SCRIPT.format(tests=str(kill_test.PROJECT / "tests"), project=str(kill_test.PROJECT))

    def start(out):
        arguments = [sys.executable, "-c", script, str(folder / "scenes"), str(out)]
        return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

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


@pytest.mark.parametrize("moment", random.Random(0).sample(range(3, 11), 3))
def test_resumed_equals_uninterrupted(command, uninterrupted, tmp_path, moment):
    process = command(tmp_path / "run")
    lines_before_the_kill(process, moment)  # each line is a part of the run that ended
    process.kill()
    process.communicate()
    assert process.returncode != 0
    assert run_to_the_end(command, tmp_path / "run") == uninterrupted


# ---- every moment of one stage, in this process: three batches an epoch, a state saved after each

KINDS = ("baseline", "subnets")
DROPPING = HeadSettings(
    channels=8, stages=(3,), kind="aspp_v3"
)  # its dropout draws from MXNet's own random state


class Batches:
    """Batches that depend on epoch and number alone."""

    def __len__(self) -> int:
        return 3

    def epoch(self, epoch: int, start: int = 0):
        for number in range(start, 3):
            seed = 10 * epoch + number
            yield Batch(small.images(seed).asnumpy(), small.labels(seed), (f"{epoch}/{number}", "other"))


class Kill(BaseException):
    """What nothing catches."""


def train(folder, kind: str, seed: int = 0, warn=print) -> dict:
    """Train the stage (on): its final values. Another seed has other initial values, which a resumed run replaces."""
    built = small.build(seed=seed, **({"head": DROPPING} if kind == "dropout" else {}))
    engine.hybridize_parts(built)
    if kind != "subnets":
        step = engine.BaselineStep(built, losses.CrossEntropyLoss(small.CLASSES))
    else:
        step = engine.SubnetStep(built, [losses.CrossEntropyLoss(len(group) + 1) for group in built.groups])
    stage = stages.Stage(kind, step, Batches(), epochs=2, learning_rate=0.1, warm_up=2)
    stages.train(RunFolder(folder, {}), stage, built, save_every=0.0, warn=warn)
    return small.values(built)


def outcome(folder, kind: str):
    """Arrays of the finished checkpoint, and the log but for the seconds."""
    run = RunFolder(folder, {})
    arrays, meta = checkpoint.load(run.finished(kind))
    return arrays, meta, [{k: v for k, v in record.items() if k != "seconds"} for record in run.logged()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    found = {}
    for kind in (*KINDS, "dropout"):
        train(tmp_path_factory.mktemp(kind) / "run", kind)
        found[kind] = outcome(tmp_path_factory.getbasetemp() / f"{kind}0" / "run", kind)
    return found


def assert_same(found, wanted) -> None:
    assert small.same_bits(found[0], wanted[0])
    assert found[1:] == wanted[1:]


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
            train(folder, kind)


# Each file is synced before it gets its name (odd numbers), its folder after that (even ones). The files of a stage:
# 1 config.json, 2 to 4 states, 5 log.jsonl, 6 state, 7 to 9 states, 10 log.jsonl, 11 state, 12 the result
SYNCS = 2 * 12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sync", range(3, SYNCS + 1, 3))
def test_killed_before_or_after_a_file_gets_its_name_a_stage_ends_bit_identically(
    monkeypatch, tmp_path, whole, kind, sync
):
    killed_at(monkeypatch, tmp_path / "run", kind, sync)
    train(tmp_path / "run", kind, seed=0 if sync < 4 else 5)
    assert_same(outcome(tmp_path / "run", kind), whole[kind])
    assert not list(tmp_path.rglob("*.part")) and not list(tmp_path.rglob("*progress*"))


def test_killed_again_and_again_a_stage_ends_bit_identically(monkeypatch, tmp_path, whole):
    for sync in (7, 4, 5, 3):
        killed_at(monkeypatch, tmp_path / "run", "subnets", sync)
    train(tmp_path / "run", "subnets")
    assert_same(outcome(tmp_path / "run", "subnets"), whole["subnets"])


def test_a_resumed_stage_drops_what_it_would_have_dropped(monkeypatch, tmp_path, whole):
    killed_at(monkeypatch, tmp_path / "run", "dropout", 7)
    mx.random.seed(99)
    train(tmp_path / "run", "dropout")
    assert_same(outcome(tmp_path / "run", "dropout"), whole["dropout"])


def test_a_damaged_state_costs_a_step_and_no_bit(monkeypatch, tmp_path, whole):
    killed_at(monkeypatch, tmp_path / "run", "baseline", 8)
    latest = tmp_path / "run" / "checkpoints" / "baseline.progress.npz"
    content = bytearray(latest.read_bytes())
    content[len(content) // 2] ^= 1
    latest.write_bytes(content)
    warnings = []
    train(tmp_path / "run", "baseline", warn=warnings.append)
    assert len(warnings) == 1 and "baseline.progress.npz" in warnings[0]
    assert_same(outcome(tmp_path / "run", "baseline"), whole["baseline"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_finished_stage_is_loaded_and_not_trained(tmp_path, whole, kind):
    first = train(tmp_path / "run", kind)
    file = tmp_path / "run" / "checkpoints" / f"{kind}.npz"
    before = file.read_bytes()
    assert small.same_bits(train(tmp_path / "run", kind, seed=7), first)
    assert file.read_bytes() == before


def test_the_rate_decays_linearly_to_0_after_the_warm_up():
    stage = stages.Stage("base", None, Batches(), epochs=4, learning_rate=0.6, warm_up=3)
    rates = [stage.rate(step) for step in range(stage.total_steps)]
    assert rates[3:] == pytest.approx([0.6 * (1 - step / 12) for step in range(3, 12)])
    assert rates[:3] == pytest.approx([0.6 * (1 - step / 12) * (step + 1) / 3 for step in range(3)])
    assert stage.rate(stage.total_steps) == 0
