"""Mixed precision: where graphs get 16 bits, how a loss is scaled, and that a training goes on from its states."""

from __future__ import annotations

import json
import re

import mxnet as mx
import numpy as np
import pytest
import small

from gluon_confseg import compiled, engine, losses, precision, tracing
from gluon_confseg.build import Data, build
from gluon_confseg.errors import DivergedError, RunError, Stopped
from gluon_confseg.parallel import SINGLE
from gluon_confseg.phases import Cell
from gluon_confseg.recipe import phase
from gluon_confseg.run_folder import Position, RunFolder
from gluon_confseg.shared_folder import open_folder
from gluon_confseg.subnets import HeadSettings
from gluon_confseg.train import run
from gluon_confseg.trainee import Trainee

DETAIL = {"subnet_heads": HeadSettings(channels=8, dilation=2, stages=(2, 3), detail=1)}
wide = pytest.mark.skipif(not compiled.has_avx512(), reason="bfloat16 needs a CPU with AVX-512")
CELLS = (Cell("one", "0", "ce", "base"), Cell("all", "0-2", "ce", "heads"))


def recipe(**settings):
    """The recipe of these tests."""
    base = phase("base", epochs=2)
    heads = phase("heads", start="base", trains="subnets", epochs=2, groups="a,b;e,c")
    return small.recipe((base, heads), CELLS, batch_size=2, **settings)


def operators(symbol) -> list:
    return [node["op"] for node in json.loads(symbol.tojson(remove_amp_cast=False))["nodes"]]


def types(symbol) -> dict:
    """The inferred type of every array of a graph whose inputs are float32."""
    inside = symbol.get_internals()
    known = {name: np.float32 for name in inside.list_inputs()}
    found = inside.infer_type(**known)[1]
    return dict(zip(inside.list_outputs(), found))


@pytest.mark.parametrize("subnets", ["plain", "residual"])
def test_all_convolutions_have_sixteen_bits_and_all_outputs_float32(subnets):
    built = small.build(subnets)
    symbol = tracing.trace(built, tracing.PLAIN)
    low = precision._with_casts(symbol, "float16")
    found = types(low)
    nodes = [
        node for node in json.loads(low.tojson(remove_amp_cast=False))["nodes"] if node["op"] == "Convolution"
    ]
    assert len(nodes) > 15
    assert {found[f"{node['name']}_output"] for node in nodes} == {np.float16}
    assert {found[name] for name in low.list_outputs()} == {np.float32}
    statistics = [name for name in found if name.endswith(("running_mean", "gamma", "weight"))]
    assert {found[name] for name in statistics} == {np.float32}


def test_between_convolutions_values_keep_sixteen_bits():
    """A cast of every convolution's weight, of the images, and of the outputs: no others."""
    built = small.build(groups=())
    symbol = tracing.trace(built.encoder, tracing.PLAIN)
    low = precision._with_casts(symbol, "float16")
    count = operators(symbol).count("Convolution")
    assert operators(low).count("amp_cast") == count + 1 + len(symbol.list_outputs())


def test_an_operator_that_is_not_known_to_keep_sixteen_bits_gets_float32():
    data = mx.sym.var("data")
    weight = mx.sym.var("weight")
    found = mx.sym.Convolution(data, weight, kernel=(1, 1), num_filter=2, no_bias=True, name="c")
    low = precision._with_casts(mx.sym.softmax(found, axis=1, name="s") + 1, "float16")
    assert types(low)["c_output"] == np.float16
    assert types(low)["s_output"] == np.float32


def test_a_branch_for_detail_keeps_sixteen_bits():
    low = precision._with_casts(tracing.trace(small.build(**DETAIL), tracing.PLAIN), "float16")
    found = [
        kind for name, kind in types(low).items() if re.search(r"(upsampling|pad|pooling)\d+_output$", name)
    ]
    assert len(found) == 8 and set(found) == {np.float16}


@wide
@pytest.mark.parametrize("step, settings", [("Subnet0Step", {}), ("SubnetStep", {}), ("SubnetStep", DETAIL)])
def test_gradients_in_bfloat16_are_near_those_in_float32(step, settings):
    images, labels, found = small.images(), small.labels(), []
    for kind in ("float32", "bfloat16"):
        built = small.shaken(**settings)
        seen = [range(small.CLASSES)] if step == "Subnet0Step" else built.groups
        criteria = [losses.CrossEntropyLoss(len(g) + (len(g) < small.CLASSES)) for g in seen]
        one = getattr(engine, step)(built, criteria, kind)
        lost = one(images, labels)
        grads = {n: p.grad().asnumpy() for n, p in one.parameters().items() if p.grad_req != "null"}
        found.append(({n: v.asnumpy() for n, v in lost.items()}, grads))
    (wanted, exact), (lost, rounded) = found
    for name, values in wanted.items():
        np.testing.assert_allclose(lost[name], values, rtol=0.05)
        assert (lost[name] != values).any()
    flat, other = (np.concatenate([g[n].ravel() for n in exact]) for g in (exact, rounded))
    assert np.dot(flat, other) / np.linalg.norm(flat) / np.linalg.norm(other) > 0.98
    assert all(values.dtype == np.float32 for values in rounded.values())


def made(kind: str) -> tuple:
    """A trainee whose loss is scaled as for this precision, in float32, and a batch."""
    data = Data(small.Images(count=4), small.Images("val", 2))
    trainee, batches = build(recipe().phases[0], data, seed=0)
    scaled = Trainee([(trainee.network, trainee._steps[0])], SINGLE, precision=kind)
    with batches:
        return scaled, next(iter(batches.epoch(0)))


def test_a_scaled_loss_trains_the_same_bits():
    """A scale is a power of two, so that only its overflow could be seen."""
    after = []
    for kind in ("float32", "float16"):
        trainee, batch = made(kind)
        for _ in range(2):
            trainee.step(batch, lambda share: share)
            trainee.update(0.01, batch.names)
        after.append(small.values(trainee.network))
    assert trainee.loss_scale.value == precision.FIRST_SCALE
    assert trainee.loss_scale.clean == 2
    assert small.same_bits(*after)


@pytest.mark.parametrize("precision, named", [("float16", True), ("float32", False), ("bfloat16", False)])
def test_a_loss_that_float16_can_not_hold_names_float32_beside_the_rate(precision, named):
    with pytest.raises(DivergedError, match=r"not finite on a\.png: .*lower the learning rate") as raised:
        Position().add({"subnet0": np.array([np.inf], np.float32)}, ["a.png"], precision)
    assert ("set precision=float32" in str(raised.value)) == named


def test_an_overflow_leaves_the_step_out_and_halves_the_scale():
    trainee, batch = made("float16")
    trainee.step(batch, lambda share: share)
    mx.nd.waitall()
    before = {n: p.data().asnumpy() for n, p in trainee._steps[0].parameters().items()}
    trainee._gradients[0][1][:] = np.inf
    trainee.update(0.01, batch.names)
    after = {n: p.data().asnumpy() for n, p in trainee._steps[0].parameters().items()}
    assert small.same_bits(before, after)
    assert trainee.loss_scale.value == precision.FIRST_SCALE / 2
    trainee.step(batch, lambda share: share)
    trainee.update(0.01, batch.names)
    moved = {n: p.data().asnumpy() for n, p in trainee._steps[0].parameters().items()}
    assert not small.same_bits(after, moved)


def test_a_scale_grows_after_many_steps_and_ends_the_run_below_one():
    scale = precision.LossScale("float16")
    for _ in range(precision.GROWS_AFTER):
        scale.update(True)
    assert (scale.value, scale.clean) == (2 * precision.FIRST_SCALE, 0)
    for _ in range(17):
        scale.update(False)
    scale.check(["a.png"])
    scale.update(False)
    with pytest.raises(DivergedError, match=r"gradients on a\.png are too large for float16"):
        scale.check(["a.png"])


def test_a_loss_that_is_not_scaled_stays_so():
    for kind in ("float32", "bfloat16"):
        scale = precision.LossScale(kind)
        scale.update(False)
        assert scale.value == 1


@pytest.mark.slow
@wide
def test_a_training_in_bfloat16_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    data = Data(small.Images(count=4), small.Images("val", 2))

    def train(name: str):
        chosen = recipe(precision="bfloat16")
        folder = open_folder(SINGLE.communicator, tmp_path / name, chosen.config(), 0)
        run(chosen, data, folder, jobs=1)
        return folder

    whole = train("whole")
    saved, count = RunFolder.save, []

    def stopped(self, *given):
        saved(self, *given)
        count.append(1)
        if len(count) == 3:
            raise Stopped(15)

    monkeypatch.setattr(RunFolder, "save", stopped)
    with pytest.raises(Stopped):
        train("stopped")
    monkeypatch.setattr(RunFolder, "save", saved)
    resumed = train("stopped")
    for name in ("base", "heads"):
        one, other = (f.checkpoint(name).read_bytes() for f in (whole, resumed))
        assert one == other


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("float16", "phase base: precision=float16 works on GPUs alone"),
        ("half", "precision is one of float32, float16, bfloat16, not 'half'"),
    ],
)
def test_a_precision_that_a_cpu_lacks_is_refused_with_a_sentence(kind, said):
    data = Data(small.Images(count=4), small.Images("val", 2))
    with pytest.raises(RunError, match=said):
        build(recipe(precision=kind).phases[0], data, seed=0)


def test_bfloat16_without_avx512_is_refused_with_a_sentence(monkeypatch):
    monkeypatch.setattr(compiled, "has_avx512", lambda: False)
    with pytest.raises(
        RunError, match=r"bfloat16 can't be used: this CPU has no AVX-512; set precision=float32"
    ):
        precision.check(recipe(precision="bfloat16").phases[0], mx.cpu())
