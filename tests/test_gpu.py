"""What needs a GPU that MXNet can use: `make test-gpu`. Nobody has run these yet, since none was at hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
import small

from gluon_confseg import checkpoint, engine, losses, train
from gluon_confseg.build import Data
from gluon_confseg.fusion import Fusion
from gluon_confseg.parallel import Parallel
from gluon_confseg.phases import Cell
from gluon_confseg.recipe import phase
from gluon_confseg.shared_folder import open_folder

ROOT = Path(__file__).resolve().parent.parent
COUNT = mx.context.num_gpus()
one_gpu = pytest.mark.skipif(COUNT < 1, reason="MXNet finds no GPU")
two_gpus = pytest.mark.skipif(COUNT < 2, reason="MXNet finds fewer than two GPUs")
pytestmark = pytest.mark.gpu
CPU, GPU = Parallel((mx.cpu(),)), Parallel((mx.gpu(0),))


def trained(folder, parallel, **settings) -> dict:
    """What small phases of all parts end with: {phase: arrays by name}."""
    settings = {"norm": "frozen", "batch_size": 4, "learning_rate": 0.005, **settings}
    phases = (
        phase("base", epochs=4),
        phase(
            "heads",
            start="base",
            trains="subnets",
            subnets="plain",
            rule="sum",
            epochs=2,
            loss="confusion_ce",
        ),
        phase("learned", start="heads", trains="fusion", epochs=1),
    )
    cells = (Cell("one", "0", "ce", "base"), Cell("all", "all", "ce", "heads"))
    cells += (Cell("learned", "all", "ce", "learned"),)
    made = small.recipe(phases, cells, **settings)
    opened = open_folder(parallel.communicator, folder, made.config(), 0)
    data = Data(small.Images(count=8), small.Images("val", 3))
    train.run(made, data, opened, parallel=parallel, jobs=1)
    return {p.name: checkpoint.load(opened.checkpoint(p.name))[0] for p in made.phases}


def furthest(one: dict, other: dict) -> float:
    return max(np.abs(one[name][key] - other[name][key]).max() for name in one for key in one[name])


@one_gpu
def test_a_gpu_trains_the_network_of_the_cpu(tmp_path):
    assert furthest(trained(tmp_path / "cpu", CPU), trained(tmp_path / "gpu", GPU)) < 1e-3


@one_gpu
def test_accumulated_gradients_are_those_of_the_whole_batch_on_a_gpu(tmp_path):
    shared = Parallel((mx.gpu(0),), accumulate=2)
    assert furthest(trained(tmp_path / "whole", GPU), trained(tmp_path / "shared", shared)) < 1e-4


@two_gpus
def test_two_gpus_train_the_network_of_one(tmp_path):
    shared = Parallel((mx.gpu(0), mx.gpu(1)))
    assert furthest(trained(tmp_path / "one", GPU), trained(tmp_path / "two", shared)) < 1e-4


@two_gpus
def test_synchronised_batch_norms_are_those_of_the_whole_batch(tmp_path):
    one = trained(tmp_path / "one", GPU, norm="batch")
    two = trained(tmp_path / "two", Parallel((mx.gpu(0), mx.gpu(1))), norm="sync")
    assert furthest(one, two) < 1e-2


@one_gpu
def test_float16_trains_nearly_the_network_of_float32(tmp_path):
    exact = trained(tmp_path / "exact", GPU)
    half = trained(tmp_path / "half", GPU, precision="float16")
    start = small.values(small.build(groups=()))["subnet0.output.weight"]
    name = "parameter:subnet0.output.weight"
    moved = np.abs(exact["base"][name] - start).max()
    assert 0 < np.abs(exact["base"][name] - half["base"][name]).max() < 0.2 * moved


@one_gpu
def test_float16_needs_less_memory():
    peaks = []
    for kind in ("float32", "float16"):
        before = mx.context.gpu_memory_info(0)[0]
        built = small.build(groups=())
        built.initialize(ctx=mx.gpu(0))
        step = engine.Subnet0Step(built, [losses.CrossEntropyLoss(small.CLASSES)], kind)
        images = small.images(count=8, height=512, width=512).as_in_context(mx.gpu(0))
        step(images, small.labels(count=8, height=512, width=512))
        mx.nd.waitall()
        peaks.append(before - mx.context.gpu_memory_info(0)[0])
        del built, step, images
        mx.gpu(0).empty_cache()
    assert peaks[1] < 0.8 * peaks[0]


@one_gpu
@pytest.mark.parametrize("rule", ["subnet0", "sum", "product", "residual_product", "conditional"])
def test_predictions_are_those_of_the_cpu(rule):
    built = small.shaken("plain")
    fusions = {rule: Fusion.of(built, rule)}
    wanted = engine.predict(built, fusions, small.images())[rule]
    built.initialize(ctx=mx.gpu(0))
    found = engine.predict(built, fusions, small.images().as_in_context(mx.gpu(0)))[rule]
    assert (wanted == found).mean() > 0.999


@one_gpu
def test_doctor_names_the_gpu():
    command = [sys.executable, "-m", "gluon_confseg", "doctor"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300).stdout
    assert "compute capability" in said


@two_gpus
def test_two_horovod_workers_use_a_gpu_each(tmp_path):
    horovodrun = Path(sys.executable).with_name("horovodrun")
    if not horovodrun.exists():
        pytest.skip("Horovod is not installed: make setup-distributed")
    command = [horovodrun, "-np", "2", "-H", "localhost:2", sys.executable, "-m", "gluon_confseg", "train"]
    command += ["drawn", "--profile", "smoke", "--kvstore", "horovod", "--out", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "results.json").exists()
