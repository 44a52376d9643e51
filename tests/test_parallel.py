"""Shares of a batch: on several devices, one after the other; the network is that of the whole batch up to rounding."""

from __future__ import annotations

import json
import re
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
import small

from gluon_confseg import checkpoint, cli, scenes, tracing, train
from gluon_confseg.build import Data, build
from gluon_confseg.cli import options
from gluon_confseg.datasets import Augment, Batches
from gluon_confseg.distributed import Communicator
from gluon_confseg.encoders.norms import sync
from gluon_confseg.errors import RunError, Stopped
from gluon_confseg.parallel import Parallel, cut
from gluon_confseg.recipe import Cell, phase
from gluon_confseg.run_folder import RunFolder
from gluon_confseg.shared_folder import FolderOfRoot, open_folder
from gluon_confseg.side_by_side import schedule

IMAGES, BATCH, EPOCHS = 12, 4, 7  # 21 steps
TWO = (mx.cpu(0), mx.cpu(1))


def recipe(**settings):
    """Frozen batch norms, and a rate at which rounding stays rounding."""
    phases = (
        phase("base", epochs=EPOCHS, norm="frozen"),
        phase("subnets", start="base", trains="subnets", subnets="plain", rule="sum", epochs=1),
    )
    cells = (Cell("one", "0", "ce", "base"), Cell("all", "all", "ce", "subnets"))
    return small.recipe(phases, cells, **{"batch_size": BATCH, "learning_rate": 0.005, **settings})


def trained(folder, parallel=None, **settings) -> RunFolder:
    """The folder of a run of `recipe`."""
    made, parallel = recipe(**settings), parallel or Parallel()
    opened = open_folder(parallel.communicator, folder, made.config(), 0)
    data = Data(small.Images(count=IMAGES), small.Images("val", 3))
    train.run(made, data, opened, parallel=parallel, jobs=1)
    return opened


def values(folder: RunFolder, phase_name: str) -> dict:
    return checkpoint.load(folder.checkpoint(phase_name))[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same run on one device, with whole batches."""
    return trained(tmp_path_factory.mktemp("whole"))


def gradients(parallel=None) -> tuple:
    """The losses and the gradients of one step."""
    data = Data(small.Images(count=BATCH), small.Images("val", 2))
    trainee, batches = build(recipe().phases[0], data, seed=0, parallel=parallel or Parallel())
    trainee.spread()
    with batches:
        (batch,) = batches.epoch(0)
        losses = trainee.step(batch, lambda share: share)["subnet0"]
    found = {name: p.grad().asnumpy() for name, p in zip(trainee.trainer.names, trainee.trainer._params)}
    return losses if isinstance(losses, np.ndarray) else losses.asnumpy(), found


def test_shares_of_a_step_give_the_gradients_of_the_whole_batch():
    losses, whole_batch = gradients()
    largest = max(np.abs(gradient).max() for gradient in whole_batch.values())
    for parallel in (Parallel(accumulate=3), Parallel(TWO), Parallel(TWO, accumulate=2)):
        shared_losses, shared = gradients(parallel)
        np.testing.assert_allclose(shared_losses, losses, rtol=1e-5)
        assert shared.keys() == whole_batch.keys()
        for name, gradient in whole_batch.items():
            assert np.abs(shared[name] - gradient).max() < 1e-5 * largest, name


@pytest.mark.slow
@pytest.mark.parametrize(
    "parallel",
    [Parallel(accumulate=2), Parallel(TWO), Parallel(TWO, accumulate=2)],
    ids=["accumulate", "devices", "both"],
)
def test_shares_train_the_network_of_the_whole_batch(whole, parallel, tmp_path):
    shared = trained(tmp_path, parallel)
    for name in ("base", "subnets"):
        one, other = values(whole, name), values(shared, name)
        assert one.keys() == other.keys()
        assert max(np.abs(one[key] - other[key]).max() for key in one) < 1e-5
    for one, other in zip(whole.logged(), shared.logged()):
        assert one["images"] == other["images"]
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert one["learning_rate"] == other["learning_rate"]


@pytest.mark.slow
def test_the_network_does_move(whole):
    before, name = small.values(small.build(groups=())), "subnet0.output.weight"
    assert np.abs(values(whole, "base")[f"parameter:{name}"] - before[name]).max() > 1e-3


@pytest.mark.slow
def test_unequal_shares(tmp_path, whole):
    """Three shares of a batch of four."""
    shared = trained(tmp_path, Parallel(accumulate=3))
    one, other = values(whole, "base"), values(shared, "base")
    assert max(np.abs(one[key] - other[key]).max() for key in one) < 1e-5


def test_running_statistics_are_means_over_the_devices(tmp_path):
    """With batch norms of a batch's share, both devices go on with the same running statistics."""
    parallel = Parallel(TWO)
    made = small.recipe((phase("base", epochs=1),), (Cell("one", "0", "ce", "base"),), batch_size=BATCH)
    trainee, batches = build(
        made.phases[0], Data(small.Images(count=4), small.Images("val", 2)), seed=0, parallel=parallel
    )
    trainee.spread()
    first = small.values(trainee.network)
    with batches:
        (batch,) = batches.epoch(0)
        trainee.step(batch, lambda share: share)
        trainee.update(0.01, range(BATCH))
    one, other = (small.values(network) for network in trainee.networks)
    assert small.same_bits(one, other)
    moved = [name for name in one if name.endswith("running_mean") and not (one[name] == first[name]).all()]
    assert moved


def test_synchronised_norms_are_in_the_graphs_that_steps_run(monkeypatch):
    """A graph that is traced before the norms are joined would hold those of one device."""
    made = small.recipe(
        (phase("base", epochs=1, norm="sync"),), (Cell("one", "0", "ce", "base"),), batch_size=BATCH
    )
    monkeypatch.setattr(sync, "_check_engine", lambda *_: None)  # nothing is computed here
    data = Data(small.Images(count=4), small.Images("val", 2))
    trainee, batches = build(made.phases[0], data, seed=0, parallel=Parallel(TWO))
    with batches:
        pass
    for network, step in zip(trainee.networks, trainee._steps):
        form = step._encoder
        symbol = form.symbol if isinstance(form, tracing.OnParameters) else form(mx.sym.var("data"))
        symbol = mx.sym.Group(list(symbol)) if isinstance(symbol, (list, tuple)) else symbol
        operators = [node["op"] for node in json.loads(symbol.tojson())["nodes"]]
        assert "_contrib_SyncBatchNorm" in operators and "BatchNorm" not in operators, network


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    parallel = Parallel(TWO, accumulate=2)
    uninterrupted = trained(tmp_path / "whole", parallel)
    saved, count = RunFolder.save, []

    def stopped(self, *given):
        saved(self, *given)
        count.append(1)
        if len(count) == 5:
            raise Stopped(15)

    monkeypatch.setattr(RunFolder, "save", stopped)
    with pytest.raises(Stopped):
        trained(tmp_path / "stopped", parallel)
    resumed = trained(tmp_path / "stopped", parallel)
    for name in ("base", "subnets"):
        assert small.same_bits(values(uninterrupted, name), values(resumed, name))


@pytest.mark.slow
def test_another_sharing_is_said(tmp_path, monkeypatch, capsys):
    saved = RunFolder.save

    def stopped(self, *given):
        saved(self, *given)
        raise Stopped(15)

    monkeypatch.setattr(RunFolder, "save", stopped)
    with pytest.raises(Stopped):
        trained(tmp_path, Parallel(accumulate=2))
    monkeypatch.setattr(RunFolder, "save", saved)
    trained(tmp_path)
    assert (
        "began with 1 process, gradients of 2 shares accumulated and goes on with 1 process"
        in capsys.readouterr().err
    )


def test_a_batch_that_is_too_small_is_refused(tmp_path):
    with pytest.raises(RunError, match="batches of 4 can't be cut into 6 shares .*set batch_size=6"):
        trained(tmp_path, Parallel(TWO, accumulate=3))


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"norm": "batch"}, "batch norms"),
        ({"loss": "recall"}, "recall"),
        ({"average": "batch"}, "average=batch"),
    ],
)
def test_what_depends_on_the_whole_batch_is_said(settings, words):
    made = small.recipe(
        (phase("base", epochs=1, **{"norm": "frozen", **settings}),), (Cell("one", "0", "ce", "base"),)
    )
    assert words in Parallel(accumulate=2).caution(made.phases[0])
    assert Parallel().caution(made.phases[0]) == ""


def test_nothing_is_said_where_only_rounding_differs():
    assert Parallel(accumulate=2).caution(recipe().phases[0]) == ""


@pytest.mark.parametrize("count, parts", [(4, 2), (5, 2), (7, 3), (16, 5)])
def test_cut(count, parts):
    pieces = cut(count, parts)
    assert [n for piece in pieces for n in range(count)[piece]] == list(range(count))
    sizes = [piece.stop - piece.start for piece in pieces]
    assert max(sizes) - min(sizes) <= 1 and min(sizes) > 0


def test_processes_see_parts_of_the_same_batches():
    images = small.Images(count=10)
    augment = Augment((32, 32), (0.5, 2.0))
    whole = list(Batches(images, augment, 4, seed=3, workers=0).epoch(2))
    parts = [
        list(Batches(images, augment, 4, seed=3, workers=0, part=lambda n, r=rank: cut(n, 3)[r]).epoch(2, 1))
        for rank in range(3)
    ]
    for number, batch in enumerate(whole[1:]):
        together = [part[number] for part in parts]
        assert all(each.names == batch.names for each in together)
        assert (np.concatenate([each.images for each in together]) == batch.images).all()
        assert (np.concatenate([each.labels for each in together]) == batch.labels).all()


def test_devices_are_read():
    assert options.devices("gpu:0-2") == (("gpu", 0), ("gpu", 1), ("gpu", 2))
    assert options.devices("cpu:0, cpu:1") == (("cpu", 0), ("cpu", 1))


@pytest.mark.parametrize("text", ["gpu", "gpu:3-1", "gpu:0,gpu:0", "cpu:0,gpu:0", "tpu:1", ""])
def test_devices_that_are_none_are_refused(text):
    with pytest.raises(options.argparse.ArgumentTypeError):
        options.devices(text)


class Other(Communicator):
    """Rank 0 of two. What rank 1 adds to every sum: as rank 0, for its own images, and the signal that it caught."""

    size = 2

    def __init__(self, caught: int):
        self.caught = caught

    def allreduce(self, arrays):
        for gradient in arrays[:-1]:
            gradient *= 2
        losses = arrays[-1]
        half = (losses.shape[0] - 2) // 2
        losses[half : 2 * half] = losses[:half].copy()
        losses[-1] = self.caught


@pytest.mark.parametrize("here, there, ends", [(0, 0, 0), (15, 0, 15), (0, 2, 2), (15, 15, 15)])
def test_a_signal_that_one_process_caught_is_known_to_all(here, there, ends):
    made = small.recipe((phase("base", epochs=1),), (Cell("one", "0", "ce", "base"),), batch_size=BATCH)
    data = Data(small.Images(count=4), small.Images("val", 2))
    trainee, batches = build(made.phases[0], data, seed=0, parallel=Parallel(communicator=Other(there)))
    with batches:
        (batch,) = batches.epoch(0)
        losses = trainee.step(batch, lambda share: share, here)["subnet0"]
    assert trainee.stop == ends
    assert len(batch.images) == 2 and len(batch.names) == 4
    assert losses.shape == (4,) and (losses[:2] == losses[2:]).all() and losses.all()


@pytest.mark.parametrize(
    "words", [["--accumulate", "2"], ["--devices", "cpu:0,cpu:1"], ["--kvstore", "dist_sync"]]
)
def test_a_dry_run_refuses_what_it_does_not_measure(words, capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "drawn", "--dry-run", *words])
    assert "do nothing in a dry run" in capsys.readouterr().err


def test_batches_that_can_not_be_cut_leave_no_run_folder(tmp_path, capsys):
    root, out = scenes.draw(tmp_path / "scenes", train=3, val=1, size=(64, 32), seed=2), tmp_path / "run"
    command = ["train", "drawn", "--profile", "smoke", "--root", str(root), "--out", str(out)]
    assert cli.main([*command, "--accumulate", "1000"]) == 1
    assert "can't be cut into 1000 shares" in capsys.readouterr().err and not out.exists()


def test_phases_at_once_and_shares_are_refused_together(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "drawn", "--jobs", "2", "--accumulate", "2"])
    assert "--jobs trains phases at the same time" in capsys.readouterr().err


def test_every_name_that_the_shared_folder_passes_on_is_one_of_the_run_folders():
    for name in (*FolderOfRoot.SENT, *FolderOfRoot.OF_ROOT):
        assert callable(getattr(RunFolder, name)), name


def test_the_training_loop_asks_the_shared_folder_for_nothing_else():
    """Whatever train.py and the schedule ask of a folder, every process has; else a training by several would fail."""
    there = {*FolderOfRoot.SENT, *FolderOfRoot.OF_ROOT, *vars(FolderOfRoot)}
    for module in (train, schedule):
        source = Path(module.__file__).read_text(encoding="utf-8")
        asked = set(re.findall(r"(?<!\w)folder\.(\w+)", source)) - {"RunFolder", "FolderOfRoot"}
        alone = {"threads"} if module is schedule else set()  # for phases side by side
        assert asked and asked - alone <= there
