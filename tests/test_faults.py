"""Faults of the machine: a full disk at each write, too little memory, a folder that is gone, clocks, signals, bits."""

from __future__ import annotations

import ast
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
import test_resume
from mxnet.gluon import nn

import gluon_confseg
from gluon_confseg import checkpoint, engine, files, out_of_memory, report, train
from gluon_confseg.cli import frame
from gluon_confseg.datasets import packing
from gluon_confseg.errors import CheckpointError, DivergedError, RunError
from gluon_confseg.run_folder import Position, RunFolder
from gluon_confseg.scenes import writer as scenes_writer

PACKAGE = Path(gluon_confseg.__file__).parent
WRITES = (
    25  # files that a run of test_resume.run(folder, "subnet0") writes, in the order that is listed there
)


# ---- a full disk


class Full:
    """A stream on a disk that has room for half of what is written."""

    def __init__(self, stream):
        self._stream = stream

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stream.close()

    def write(self, content):
        self._stream.write(content[: len(content) // 2])
        self._stream.flush()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_at(monkeypatch, write: int) -> list:
    """From the n-th file on, counted from 1, the disk is full. Returns the files' names as they come."""
    names = []

    def opened(path, *mode):
        names.append(Path(path).name)
        stream = open(path, *mode)
        return Full(stream) if len(names) >= write else stream

    monkeypatch.setattr(files, "open", opened, raising=False)
    return names


def assert_said(err: str, name: str) -> None:
    """The last line is one sentence that names the file of a temporary name and what to do."""
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    target = name[1:].rsplit(".", 2)[0]  # of .NAME.PID.part
    assert last.startswith("confseg: ") and f"/{target}" in last and "the disk is full; make room" in last


def checkpoints_load(folder: Path) -> int:
    found = [checkpoint.load(file) for file in folder.rglob("checkpoints/*.npz")]
    return len(found)


@pytest.mark.parametrize(
    "write", [pytest.param(n, marks=() if n == 3 else pytest.mark.slow) for n in range(1, WRITES + 1)]
)
def test_a_disk_that_is_full_at_any_write_costs_no_bit(monkeypatch, tmp_path, whole, write, capsys):
    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        names = full_at(patched, write)
        assert frame.run(lambda: test_resume.run(run, "subnet0"), goes_on=True) == 1
    assert_said(capsys.readouterr().err, names[write - 1])
    assert not list(tmp_path.rglob("*.part"))
    assert checkpoints_load(run) >= (write > 3)
    test_resume.run(run, "subnet0")
    test_resume.assert_same(test_resume.outcome(run, "subnet0"), whole["subnet0"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole") / "run"
    test_resume.run(place, "subnet0")
    return {"subnet0": test_resume.outcome(place, "subnet0")}


@pytest.mark.slow
def test_a_state_larger_than_the_system_allows_is_named_and_the_run_goes_on_later(tmp_path, whole, capsys):
    """The system itself refuses here, in the middle of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        assert frame.run(lambda: test_resume.run(tmp_path / "run", "subnet0"), goes_on=True) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    last = capsys.readouterr().err.splitlines()[-1]
    assert "subnet0.progress-1.npz: the file is larger than" in last and last.endswith(frame.AGAIN)
    assert not list(tmp_path.rglob("*.part")) and not checkpoints_load(tmp_path)
    test_resume.run(tmp_path / "run", "subnet0")
    test_resume.assert_same(test_resume.outcome(tmp_path / "run", "subnet0"), whole["subnet0"])


@pytest.mark.slow
def test_a_disk_that_is_full_at_any_file_of_the_report(monkeypatch, tmp_path, capsys):
    run = test_resume.run(tmp_path / "run", "subnets").path
    with monkeypatch.context() as patched:
        names = full_at(patched, 10**6)
        report.write(run)
        total = len(names)
    wanted = {file.name: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    for write in range(1, total + 1):
        with monkeypatch.context() as patched:
            names = full_at(patched, write)
            assert frame.run(lambda: report.write(run)) == 1
        assert_said(capsys.readouterr().err, names[write - 1])
        assert not list(run.rglob("*.part"))
        assert wanted == {file.name: file.read_bytes() for file in run.rglob("*") if file.is_file()}


# functions of the package that write without files.write_bytes, and what takes care of a full disk there
OTHERS = {
    "datasets/packing/filling.py": "the data of a pack, which count only with an index: tested below",
    "run_folder.py": "the lock, which holds nothing",
    "dry_run/memory.py": "a file of the kernel",
}


def test_every_other_writer_of_the_package_writes_by_that_one_function():
    """So what was shown of it holds for checkpoints, exports, predictions, archives, tables, pictures and scenes."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            values = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            opens = name == "open" and any(set(v) <= set("wxab+t") and set(v) & set("wxa") for v in values)
            if opens or name in ("write_text", "imwrite", "savefig", "tofile", "mkstemp"):
                found.add(str(path.relative_to(PACKAGE)))
            if name == "write_bytes" and isinstance(node.func, ast.Attribute):
                if getattr(node.func.value, "id", "") != "files":
                    found.add(str(path.relative_to(PACKAGE)))
    assert found - {"files.py"} == set(OTHERS)


def test_scenes_that_the_disk_has_no_room_for_are_one_sentence_and_drawn_later(monkeypatch, tmp_path, capsys):
    settings = {"train": 1, "val": 1, "size": (64, 32)}
    scenes_writer.draw(tmp_path / "whole", **settings)
    wanted = {file.name: file.read_bytes() for file in (tmp_path / "whole").rglob("*") if file.is_file()}
    for write in range(1, 7):
        with monkeypatch.context() as patched:
            names = full_at(patched, write)
            assert frame.run(lambda: scenes_writer.draw(tmp_path / "part", **settings)) == 1
        err = capsys.readouterr().err
        assert names[write - 1][1:].rsplit(".", 2)[0] in err and "No space left" in err
        assert not list(tmp_path.rglob("*.part"))
        scenes_writer.draw(tmp_path / "part", **settings)
        assert wanted == {f.name: f.read_bytes() for f in (tmp_path / "part").rglob("*") if f.is_file()}
        shutil.rmtree(tmp_path / "part")


def test_a_pack_that_the_disk_has_no_room_for_leaves_no_data(monkeypatch, tmp_path):
    from gluon_confseg.datasets import open_dataset
    from gluon_confseg.errors import DatasetError

    scenes_writer.draw(tmp_path / "scenes", 2, 1, (64, 32))
    dataset = open_dataset("cityscapes", tmp_path / "scenes", "train")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("posix_fallocate", "pwrite", "fsync"):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, full)
            with pytest.raises(DatasetError, match=r"No space left on device\); make room"):
                packing.pack(dataset, tmp_path / "pack")
        assert [file.name for file in (tmp_path / "pack").iterdir()] == ["lock"]
    assert len(packing.pack(dataset, tmp_path / "pack")) == 2


def test_a_full_disk_below_event_files_names_them(tmp_path, monkeypatch):
    event_files = pytest.importorskip("gluon_confseg.event_files")
    pytest.importorskip("tensorboardX")
    events = event_files.Events(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(events._writer, "flush", full)
    with pytest.raises(OSError, match="No space left") as raised:
        events.sync()
    assert event_files.NAME in raised.value.filename


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_can_not_sync_a_folder_is_no_error(monkeypatch, tmp_path, number):
    own = os.fsync

    def refuse(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        own(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    files.write_bytes(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"


# ---- a run folder that is gone, clocks, bits

CONFIG = {"seed": 0, "phases": [{"name": "base", "epochs": 3}], "cells": []}


def states(folder):
    """A folder, a network of one layer and its trainer."""
    network = nn.Dense(3, in_units=2)
    network.initialize()
    return RunFolder(folder, CONFIG), network, engine.sgd(network._collect_params_with_prefix())


@pytest.mark.parametrize("what", ["deleted", "moved", "replaced"])
def test_a_folder_that_is_gone_gets_nothing_more(tmp_path, what):
    run, network, trainer = states(tmp_path / "run")
    run.save("base", Position(epoch=1), network, trainer)
    if what == "moved":
        (tmp_path / "run").rename(tmp_path / "elsewhere")
    else:
        shutil.rmtree(tmp_path / "run")
    other = RunFolder(tmp_path / "run", {**CONFIG, "seed": 1}) if what == "replaced" else None
    before = sorted(tmp_path.rglob("*"))
    for write in (
        lambda: run.save("base", Position(epoch=2), network, trainer),
        lambda: run.log({"phase": "base", "epoch": 1}),
        lambda: run.write("results.json", {}),
        lambda: run.save_matrices({"a": np.eye(2)}),
        lambda: run.save_examples({}, {"a.jpg": b""}),
        lambda: run.finish("base", network, {}),
    ):
        with pytest.raises(RunError, match="was deleted, moved or replaced while the run was working in it"):
            write()
    assert sorted(tmp_path.rglob("*")) == before and (other is None or other.logged() == [])


@pytest.mark.parametrize("jump", [-(10**6), 10**6])
def test_a_clock_that_jumps_costs_no_state(tmp_path, jump):
    """The state before the newest is the one that is replaced, whatever the files' times say."""
    run, network, trainer = states(tmp_path)
    now = 10**9
    for epoch in range(1, 6):
        run.save("base", Position(epoch=epoch), network, trainer)
        newest = next(file for file in run._progress("base") if checkpoint.peek(file)[1]["epoch"] == epoch)
        now += jump
        os.utime(newest, (now, now))
        kept = {checkpoint.peek(file)[1]["epoch"] for file in run._progress("base") if file.exists()}
        assert kept == ({epoch - 1, epoch} - {0})
        if epoch == 3:  # another process goes on, and does not ask first
            del run
            run, network, trainer = states(tmp_path)


def test_a_thousand_flipped_bits_and_cuts_are_refused_and_the_state_before_is_taken(tmp_path, capsys):
    run, network, trainer = states(tmp_path)
    for epoch in (1, 2):
        run.save("base", Position(epoch=epoch), network, trainer)
    newest = max(run._progress("base"), key=lambda file: checkpoint.peek(file)[1]["epoch"])
    content, draws, refused = newest.read_bytes(), np.random.RandomState(0), 0
    for number in range(1000):
        damaged = bytearray(content)
        if number % 4:
            damaged[draws.randint(len(content))] ^= 1 << draws.randint(8)
        else:
            del damaged[draws.randint(len(content)) :]
        newest.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            checkpoint.load(newest)
        refused += 1
        if number % 20 < 2:  # one that is cut and one with a flipped bit
            assert run.resume("base", network, trainer).epoch == 1
    assert refused == 1000 and capsys.readouterr().err.count("going on from the state before it") == 100


# ---- memory


class Step:
    """A step that has room for so many pixels."""

    def __init__(self, pixels: int):
        self.pixels = pixels

    def __call__(self, count: int, height: int, width: int) -> None:
        if count * height * width > self.pixels:
            raise mx.MXNetError("cudaMalloc retry failed: out of memory")


def said_of(pixels: int, shape=(16, 3, 512, 512)) -> str:
    step = Step(pixels)
    with pytest.raises(RunError) as raised, out_of_memory.told("base", np.zeros(shape, np.uint8), step):
        step(shape[0], *shape[2:])
    return str(raised.value)


@pytest.mark.parametrize(
    "pixels, wanted",
    [
        (
            8 * 512**2,
            "8 images at once fit, as was tried just now: give --accumulate 2 (the result then differs by rounding",
        ),
        (4 * 512**2, "4 images at once fit, as was tried just now: give --accumulate 4"),
        (512**2, "one image at once fit, as was tried just now: give --accumulate 16"),
        (256**2, "one image of 256 x 256 fits, as was tried just now: give --set crop=256,256"),
        (9, "nor for one small image: take a smaller encoder"),
    ],
)
def test_too_little_memory_is_one_sentence_with_what_fits(pixels, wanted):
    said = said_of(pixels)
    assert said.startswith("base: there is not enough memory for a step of 16 images of 512 x 512")
    assert wanted in said and said.endswith("the last saved state is as it was")


def test_other_errors_pass():
    with pytest.raises(ValueError, match="other"), out_of_memory.told(
        "base", np.zeros((1, 3, 8, 8)), Step(0)
    ):
        raise ValueError("other")


def test_memory_that_mxnet_can_not_get_is_known_as_such():
    code = (
        "import resource, sys, numpy as np, mxnet as mx\n"
        "from gluon_confseg import out_of_memory\nfrom gluon_confseg.cli import frame\n"
        "mx.nd.ones(4).asnumpy()\n"
        "size = 4096 * int(open('/proc/self/statm').read().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + 300 * 2**20,) * 2)\n"
        "part = lambda n, h, w: mx.nd.ones((n, 32, h, w)).wait_to_read()\n"
        "def step():\n"
        "    with out_of_memory.told('base', np.zeros((16, 3, 512, 512), np.uint8), part):\n"
        "        part(16, 512, 512)\n"
        "sys.exit(frame.run(step))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "a step of 16 images of 512 x 512: it needs about 0.5 GB beside the network" in done.stderr
    assert "8 images at once fit, as was tried just now: give --accumulate 2" in done.stderr


@pytest.mark.slow
def test_a_training_without_memory_keeps_its_state_and_says_what_fits(monkeypatch, tmp_path, whole, capsys):
    own, made = engine.Subnet0Step.__call__, []

    def step(self, images, labels):
        made.append(len(labels))
        if len(made) >= 3 and len(labels) > 1:
            raise mx.MXNetError("Failed to allocate CPU Memory")
        return own(self, images, labels)

    with monkeypatch.context() as patched:
        patched.setattr(engine.Subnet0Step, "__call__", step)
        assert frame.run(lambda: test_resume.run(tmp_path / "run", "subnet0"), goes_on=True) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert "a step of 2 images of 32 x 32" in last and "give --accumulate 2" in last
    assert made == [2, 2, 2, 1] and checkpoints_load(tmp_path) == 2
    test_resume.run(tmp_path / "run", "subnet0")
    test_resume.assert_same(test_resume.outcome(tmp_path / "run", "subnet0"), whole["subnet0"])


# ---- what is not finite


@pytest.mark.slow
def test_a_gradient_that_is_not_finite_names_its_own_images_and_changes_nothing(
    monkeypatch, tmp_path, whole, capsys
):
    """The loss of these images is finite; without a look at gradients, the next ones would be named."""
    own, made = engine.Subnet0Step.__call__, []

    def step(self, images, labels):
        losses = own(self, images, labels)
        made.append(1)
        if len(made) == 3:
            next(iter(self.parameters().values())).grad()[:] = np.inf
        return losses

    named, add = [], Position.add
    with monkeypatch.context() as patched:
        patched.setattr(engine.Subnet0Step, "__call__", step)
        patched.setattr(
            Position,
            "add",
            lambda at, terms, names, *more: (named.append(names), add(at, terms, names, *more))[1],
        )
        with pytest.raises(DivergedError) as raised:
            test_resume.run(tmp_path / "run", "subnet0")
    assert f"the loss is finite on {', '.join(named[2])}, but its gradient is not" in str(raised.value)
    assert checkpoints_load(tmp_path) == 2
    test_resume.run(tmp_path / "run", "subnet0")
    test_resume.assert_same(test_resume.outcome(tmp_path / "run", "subnet0"), whole["subnet0"])


# ---- signals


def at_moment(monkeypatch, place, name: str, number: int):
    """A signal comes when a function is called for the first time."""
    own, sent = getattr(place, name), []

    def signalled(*arguments, **settings):
        if not sent:
            sent.append(number)
            os.kill(os.getpid(), number)
        return own(*arguments, **settings)

    monkeypatch.setattr(place, name, signalled)
    return sent


MOMENTS = {
    "set-up": (train, "build"),
    "a step": (engine.Subnet0Step, "__call__"),
    "a state": (checkpoint, "save"),
    "validation": (train, "validate"),
    "the matrix": (train, "measure_training_set"),
    "the end": (train, "conclude"),
}


@pytest.mark.parametrize(
    "moment", [pytest.param(m, marks=() if m == "a state" else pytest.mark.slow) for m in MOMENTS]
)
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_at_any_moment_is_a_sentence_and_costs_no_bit(
    monkeypatch, tmp_path, whole, moment, number, capsys
):
    with monkeypatch.context() as patched:
        sent = at_moment(patched, *MOMENTS[moment], number)
        assert frame.run(lambda: test_resume.run(tmp_path / "run", "subnet0"), goes_on=True) == 128 + number
    last = capsys.readouterr().err.splitlines()[-1]
    assert sent and last.startswith("confseg: stopped by ") and last.endswith(frame.AGAIN)
    assert not list(tmp_path.rglob("*.part"))
    assert checkpoints_load(tmp_path) >= (moment != "set-up")
    test_resume.run(tmp_path / "run", "subnet0")
    test_resume.assert_same(test_resume.outcome(tmp_path / "run", "subnet0"), whole["subnet0"])
