"""What the encoder's batch norms do in training: frozen, over all devices, in-place activated."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
import small
from mxnet import autograd
from mxnet.gluon import nn

from gluon_confseg import checkpoint, encoders, engine, export, losses, network
from gluon_confseg.encoders import norms
from gluon_confseg.encoders.norms import sync
from gluon_confseg.encoders.norms.inplace import SLOPE, InPlaceABN
from gluon_confseg.encoders.resnet38 import ResNet38Encoder

TWO = [mx.cpu(0), mx.cpu(1)]
CHANNELS = 4
STATISTICS = ("running_mean", "running_var")


@pytest.fixture
def enough_temporaries(monkeypatch):
    """The guard reads the environment; MXNet has read it already, which inference does not mind."""
    monkeypatch.setenv("MXNET_CPU_TEMP_COPY", "10000")


def encoder(name: str):
    return ResNet38Encoder(8, thin=16) if name == "resnet38" else encoders.build(name, 16)


def with_norm(norm: str, subnets: str = "residual", **settings):
    """A small network with shaken values; on two devices for "sync"."""
    return small.shaken(subnets, norm=norm, device=TWO if norm == "sync" else None, **settings)


def statistics(block) -> dict:
    return {name: value for name, value in small.values(block).items() if name.endswith(STATISTICS)}


def drawn(block, seed: int = 0, hybrid: bool = False):
    """A batch norm block with values at no special place, gamma of both signs."""
    draws = np.random.RandomState(seed)
    block.initialize()
    for name, low, high in (
        ("gamma", -2, 2),
        ("beta", -1, 1),
        ("running_mean", -1, 1),
        ("running_var", 0.5, 2),
    ):
        getattr(block, name).set_data(mx.nd.array(draws.uniform(low, high, CHANNELS)))
    block.hybridize(active=hybrid)
    return block


def recorded(block, x, upstream) -> dict:
    """Output, gradients and running statistics of one training step, as NumPy arrays."""
    x = mx.nd.array(x)
    x.attach_grad()
    with autograd.record():
        output = block(x)
    output.backward(mx.nd.array(upstream))
    found = {"output": output, "x": x.grad, "gamma": block.gamma.grad(), "beta": block.beta.grad()}
    found.update({name: getattr(block, name).data() for name in STATISTICS})
    return {name: array.asnumpy() for name, array in found.items()}


def sample(seed: int = 0) -> tuple:
    draws = np.random.RandomState(seed)
    return draws.normal(1, 2, (3, CHANNELS, 5, 7)), draws.normal(size=(3, CHANNELS, 5, 7))


def across(values):
    return np.asarray(values, np.float64).reshape(1, -1, 1, 1)


# ---- frozen


@pytest.mark.parametrize("norm", ["frozen", "fixed"])
@pytest.mark.parametrize("hybrid", [False, True])
def test_a_frozen_encoders_statistics_and_features_do_not_depend_on_the_batch(norm, hybrid):
    body = with_norm(norm, groups=()).encoder
    body.hybridize(active=hybrid)
    images, before = small.images(count=3), statistics(body)
    with autograd.record():
        together, alone = body(images)[-1], body(images[:1])[-1]
        loss = together.sum() + alone.sum()
    loss.backward()
    assert before and small.same_bits(before, statistics(body))
    np.testing.assert_allclose(together[:1].asnumpy(), alone.asnumpy(), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(together.asnumpy(), body(images)[-1].asnumpy(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_frozen_batch_norm_is_an_affine_map_with_its_gradients(hybrid):
    block = nn.BatchNorm(in_channels=CHANNELS)
    norms.apply(block, "frozen")
    values = {k: v.astype(np.float64) for k, v in small.values(drawn(block, hybrid=hybrid)).items()}
    x, upstream = sample()
    found = recorded(block, x, upstream)
    inverse = 1 / np.sqrt(values["running_var"] + block._kwargs["eps"])
    normalised = (x - across(values["running_mean"])) * across(inverse)
    wanted = {
        "output": normalised * across(values["gamma"]) + across(values["beta"]),
        "x": upstream * across(values["gamma"] * inverse),
        "gamma": (upstream * normalised).sum((0, 2, 3)),
        "beta": upstream.sum((0, 2, 3)),
        **{name: values[name] for name in STATISTICS},
    }
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-4, err_msg=name)


def test_training_a_frozen_encoder_moves_gamma_and_leaves_its_statistics():
    built = with_norm("frozen", groups=())
    before, step = small.values(built.encoder), engine.Subnet0Step(built, [losses.CrossEntropyLoss(5)])
    trainer = engine.sgd(step.parameters())
    trainer.set_learning_rate(0.1)
    step(small.images(), small.labels())
    trainer.step(2)
    after = small.values(built.encoder)
    assert {k for k in before if before[k].tobytes() != after[k].tobytes()} == set(before) - set(
        statistics(built.encoder)
    )


def test_fixed_trains_no_scale_and_no_shift():
    parameters = with_norm("fixed", groups=()).encoder._collect_params_with_prefix()
    trained = {name.rpartition(".")[2] for name, p in parameters.items() if p.grad_req != "null"}
    assert trained == {"weight"}


def test_heads_keep_their_own_batch_norms():
    for norm in ("frozen", "fixed", "inplace"):
        for block in norms.batch_norms(with_norm(norm).subnets):
            assert type(block) is nn.BatchNorm and not block._kwargs["use_global_stats"]


# ---- in-place activated


def reference(x, gamma, beta, epsilon):
    """Batch norm by |gamma| + epsilon and leaky ReLU in double precision."""
    mean, variance = (across(f(x, axis=(0, 2, 3))) for f in (np.mean, np.var))
    z = (x - mean) / np.sqrt(variance + epsilon) * across(np.abs(gamma) + epsilon) + across(beta)
    return np.where(z > 0, z, SLOPE * z)


@pytest.mark.parametrize("hybrid", [False, True])
def test_in_place_values_and_gradients_are_those_of_double_precision(hybrid):
    block = InPlaceABN(in_channels=CHANNELS)
    values = {k: v.astype(np.float64) for k, v in small.values(drawn(block, hybrid=hybrid)).items()}
    x, upstream = sample()
    found, epsilon, at = (
        recorded(block, x, upstream),
        block._kwargs["eps"],
        [x, values["gamma"], values["beta"]],
    )
    np.testing.assert_allclose(found["output"], reference(*at, epsilon), rtol=1e-4, atol=1e-5)
    for position, name in enumerate(("x", "gamma", "beta")):
        for seed in range(4):
            direction = np.random.RandomState(seed).normal(size=at[position].shape)
            ends = []
            for step in (1e-6, -1e-6):
                moved = list(at)
                moved[position] = at[position] + step * direction
                ends.append((reference(*moved, epsilon) * upstream).sum())
            slope = (ends[0] - ends[1]) / 2e-6
            assert (found[name] * direction).sum() == pytest.approx(slope, rel=1e-3, abs=1e-3), name


def trained(block, x, frozen=(), request: str = "write", times: int = 1, of_x: bool = True) -> dict:
    """Gradients after some backward passes; `of_x`: whether anything before the block needs one."""
    block.initialize()
    for name in ("gamma", "beta"):
        getattr(block, name).grad_req = "null" if name in frozen else request
    x = mx.nd.array(x)
    if of_x:
        x.attach_grad(request)
    for _ in range(times):
        with autograd.record():
            loss = (block(x) ** 2).sum()
        loss.backward()
    found = {name: getattr(block, name).grad() for name in ("gamma", "beta") if name not in frozen}
    return {name: array.asnumpy() for name, array in {**found, **({"x": x.grad} if of_x else {})}.items()}


@pytest.mark.parametrize(
    "settings, times",
    [
        ({"request": "add", "times": 3}, 3),
        ({"frozen": ("gamma",)}, 1),
        ({"frozen": ("beta",)}, 1),
        ({"frozen": ("gamma", "beta")}, 1),
        ({"of_x": False}, 1),
        ({"of_x": False, "frozen": ("gamma",), "request": "add", "times": 2}, 2),
    ],
)
def test_in_place_gradients_do_not_depend_on_what_else_is_frozen_or_added_up(settings, times):
    x, _ = sample()
    wanted = trained(drawn(InPlaceABN(in_channels=CHANNELS)), x)
    found = trained(drawn(InPlaceABN(in_channels=CHANNELS)), x, **settings)
    assert found and all(np.abs(array).max() > 0.1 for array in found.values())
    for name, array in found.items():
        np.testing.assert_allclose(array, times * wanted[name], rtol=1e-5, atol=1e-4, err_msg=name)


def test_in_place_with_all_frozen_still_moves_its_statistics():
    block = drawn(InPlaceABN(in_channels=CHANNELS))
    block.gamma.grad_req = block.beta.grad_req = "null"
    before = statistics(block)
    with autograd.record():
        block(mx.nd.array(sample()[0]))
    assert not small.same_bits(before, statistics(block))


def test_in_place_function_and_operators_move_the_same_statistics():
    each = [
        recorded(drawn(InPlaceABN(in_channels=CHANNELS), hybrid=hybrid), *sample())
        for hybrid in (False, True)
    ]
    for name, array in each[0].items():
        np.testing.assert_allclose(array, each[1][name], rtol=1e-4, atol=1e-5, err_msg=name)
    moved = drawn(InPlaceABN(in_channels=CHANNELS)).running_var.data().asnumpy()
    assert not np.allclose(each[0]["running_var"], moved)


def test_in_place_inference_uses_the_running_statistics():
    block, (x, _) = drawn(InPlaceABN(in_channels=CHANNELS)), sample()
    together, alone = block(mx.nd.array(x)), block(mx.nd.array(x[:1]))
    np.testing.assert_array_equal(together[:1].asnumpy(), alone.asnumpy())


def test_in_place_gradients_between_convolutions_are_the_same_every_time():
    """MXNet frees what a Function's backward was given as soon as it returns."""
    layers = nn.HybridSequential()
    for _ in range(6):
        layers.add(nn.Conv2D(16, 3, padding=1, in_channels=16, use_bias=False), InPlaceABN(in_channels=16))
    layers.initialize(mx.init.Xavier())
    x, gradients = mx.nd.array(np.random.RandomState(0).normal(size=(2, 16, 32, 32))), []
    for turn in range(9):
        layers.hybridize(active=turn == 0)
        with autograd.record():
            loss = (layers(x) ** 2).sum()
        loss.backward()
        gradients.append(layers[0].weight.grad().asnumpy())
    for array in gradients[2:]:
        np.testing.assert_array_equal(array, gradients[1])
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-2, atol=1e-3 * np.abs(gradients[0]).max())


@pytest.mark.parametrize("name", ["resnet18", "resnet38"])
def test_an_in_place_encoder_has_the_same_gradients_imperative_and_hybridized(name):
    body, each = encoder(name), []
    norms.apply(body, "inplace")
    body.apply(without_dropout)
    mx.random.seed(0)
    body.initialize(mx.init.Xavier())
    for hybrid in (False, True):
        body.hybridize(active=hybrid)
        with autograd.record():
            loss = sum((x**2).mean() for x in body(small.images()))
        loss.backward()
        each.append({k: p.grad().asnumpy() for k, p in parameters(body) if p.grad_req != "null"})
    for key, array in each[0].items():
        np.testing.assert_allclose(
            array, each[1][key], rtol=1e-2, atol=1e-3 * np.abs(array).max(), err_msg=key
        )


def without_dropout(block) -> None:
    if isinstance(block, nn.Dropout):
        block._rate = 0


@pytest.mark.parametrize(
    "name, total, activated",
    [("resnet18", 20, 9), ("resnet50", 53, 33), ("resnext101_32x4d", 104, 67), ("resnet38", 37, 37)],
)
def test_in_place_replaces_what_a_relu_reads_and_no_addition(name, total, activated):
    body = encoder(name)
    norms.apply(body, "inplace")
    found = norms.batch_norms(body)
    assert (len(found), sum(type(block) is InPlaceABN for block in found)) == (total, activated)


def test_in_place_is_refused_where_nothing_can_be_inverted():
    with pytest.raises(ValueError, match="EfficientNetLite0Encoder has none: choose one of batch, frozen"):
        norms.apply(encoders.build("efficientnet_lite0", 16), "inplace")


@pytest.mark.slow
def test_in_place_training_ends_and_is_the_same_outside_of_a_graph_and_as_one():
    in_its_own_process("inplace")


def test_in_place_encoders_train_outside_of_a_graph():
    for norm in ("batch", "inplace"):
        built = with_norm(norm)
        engine.hybridize_parts(built)
        assert built.encoder._active == (norm == "batch") and built.subnet0._active


# ---- all of them


@pytest.mark.parametrize(
    "norm, name",
    [(norm, name) for norm in norms.NAMES for name in ("resnet18", "resnet18_v1s", "resnet38")]
    + [(norm, "efficientnet_lite0") for norm in norms.NAMES if norm != "inplace"],  # refused, see above
)
def test_parameters_keep_names_and_shapes(norm, name, enough_temporaries):
    shapes = []
    for each in ("batch", norm):
        body = encoder(name)
        norms.apply(body, each, TWO)
        body.infer_shape(mx.nd.zeros((1, 3, 32, 32)))
        shapes.append({k: p.shape for k, p in body._collect_params_with_prefix().items()})
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("norm", norms.NAMES)
def test_a_checkpoint_loads_whatever_the_norm(norm, enough_temporaries):
    first, second = with_norm("batch"), with_norm(norm, seed=1)
    checkpoint.restore_network(second, checkpoint.network_arrays(first), "memory")
    assert small.same_bits(
        small.values(first), {k: p.data(mx.cpu()).asnumpy() for k, p in parameters(second)}
    )
    if norm != "inplace":  # whose ReLUs leak
        for a, b in zip(first(small.images()), second(small.images())):
            np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), rtol=1e-4, atol=1e-5)


def parameters(block):
    return block._collect_params_with_prefix().items()


@pytest.mark.parametrize("norm", norms.NAMES)
def test_export_runs_at_any_size(norm, tmp_path, enough_temporaries):
    fused = network.FusedNetwork(with_norm(norm), "sum")
    fused.hybridize()
    fused(small.images())
    fused.export(str(tmp_path / "graph"))
    assert export.check(fused, str(tmp_path / "graph")) <= export.TOLERANCE


def test_settings_keep_the_norm_and_old_ones_mean_batch():
    settings = with_norm("frozen").settings
    assert settings["norm"] == "frozen"
    again = network.from_settings(settings)
    assert all(block._kwargs["use_global_stats"] for block in norms.batch_norms(again.encoder))
    old = network.from_settings({k: v for k, v in settings.items() if k != "norm"})
    assert not any(block._kwargs["use_global_stats"] for block in norms.batch_norms(old.encoder))


def test_an_unknown_norm_is_answered_with_the_known():
    with pytest.raises(
        ValueError, match="no norm 'group': choose one of batch, frozen, fixed, sync, inplace"
    ):
        small.build(norm="group")


# ---- over all devices


def test_on_one_device_synchronised_is_ordinary_and_says_so():
    with pytest.warns(UserWarning, match=r"one device \(cpu\(0\)\) is ordinary"):
        built = small.build(norm="sync")
    assert all(type(block) is nn.BatchNorm for block in norms.batch_norms(built.encoder))


@pytest.mark.parametrize(
    "contexts, environment, named",
    [
        ([mx.cpu(0), mx.cpu(0)], {}, "each device once"),
        ([mx.cpu(0), mx.gpu(99)], {}, "MXNet sees"),
        (TWO, {"MXNET_ENGINE_TYPE": "NaiveEngine"}, "unset it"),
        (TWO, {"MXNET_CPU_TEMP_COPY": "4"}, "set it to 800 before"),
    ],
)
def test_devices_that_would_hang_are_one_sentence(contexts, environment, named, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=named):
        norms.apply(encoder("resnet18"), "sync", contexts)


def test_a_device_without_its_part_is_refused_before_anything_runs(enough_temporaries):
    built, images = with_norm("sync"), small.images()
    for shards in ([images], [images, images], [images, images.as_in_context(mx.cpu(2))], []):
        with autograd.record(), pytest.raises(ValueError, match="one part of the batch for each of"):
            sync.forward(built, shards)
    with autograd.record(train_mode=False), pytest.raises(ValueError, match="inference mode"):
        sync.forward(built, [images.as_in_context(context) for context in TWO])


@pytest.mark.slow
def test_two_devices_give_what_one_gives_for_the_whole_batch():
    in_its_own_process("sync", MXNET_CPU_TEMP_COPY="2000")


def in_its_own_process(task: str, **environment) -> None:
    """With a limit: a step that waits for ever is a failure."""
    command = [sys.executable, str(Path(__file__).with_name("norms_task.py")), task]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
