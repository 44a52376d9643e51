"""Frozen graphs: what live networks compute, at any size, with the values of the moment when they were made."""

from __future__ import annotations

import json

import mxnet as mx
import numpy as np
import pytest
import small
from mxnet import autograd
from mxnet.gluon import nn

from gluon_confseg import encoders, engine, export, frozen, fusion, losses, network, tracing
from gluon_confseg.dry_run import memory
from gluon_confseg.encoders import norms, resnet38
from gluon_confseg.frozen import Frozen, FrozenNetwork
from gluon_confseg.subnets import HeadSettings

SIZES = ((32, 64), (33, 47), (61, 90))


def shake(block) -> None:
    """Give every parameter a value that is not special."""
    draws = np.random.RandomState(0)
    for name, parameter in sorted(block._collect_params_with_prefix().items()):
        noise = draws.uniform(-1, 1, parameter.shape).astype(np.float32)
        values = parameter.data().asnumpy()
        if name.endswith(("running_var", "gamma")):
            values = 1 + 0.3 * noise
        else:
            values = values * (1 + 0.1 * noise) if values.any() else 0.2 * noise
        parameter.set_data(mx.nd.array(values))


def encoder(name: str, stride: int, norm: str = "batch"):
    if name == "resnet38":
        built = resnet38.ResNet38Encoder(stride, thin=16)
        norms.apply(built, norm)
        built.initialize(mx.init.Xavier())
    else:
        built = encoders.build(name, stride)
        norms.apply(built, norm)
        built.initialize(mx.init.Xavier())
    built(mx.nd.zeros((1, 3, 32, 32)))
    shake(built)
    return built


def assert_same(graph, block, sizes=SIZES, count: int = 2) -> None:
    """A frozen graph's outputs against those of the block, at several sizes and back at the first."""
    for number, (height, width) in enumerate((*sizes, sizes[0])):
        images = small.images(number, count, height, width)
        live = block(images)
        for found, wanted in zip(graph(images), live if isinstance(live, (list, tuple)) else [live]):
            found, wanted = found.asnumpy(), wanted.asnumpy()
            assert np.isfinite(wanted).all() and wanted.std() > 0
            np.testing.assert_allclose(found, wanted, rtol=0, atol=3e-5 * np.abs(wanted).max())


def operators(graph) -> list:
    """The operators of a frozen graph on constants and images, by name."""
    symbol, _ = frozen.fold(tracing.trace(graph._function, tracing.FROZEN), frozen.values_of(graph._block))
    return [node["op"] for node in json.loads(symbol.tojson())["nodes"]]


# ---- parity


@pytest.mark.parametrize("stride", encoders.OUTPUT_STRIDES)
@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "resnet18_v1s", "resnet38", "efficientnet_lite0"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet50", "resnext101_32x4d")),
    ],
)
def test_a_frozen_encoder_gives_its_features(name, stride):
    built = encoder(name, stride)
    graph = Frozen(built, built)
    assert_same(graph, built)
    assert frozen.usable(built) and isinstance(graph._graph, frozen.Graph)


@pytest.mark.parametrize("norm", ["frozen", "fixed", "inplace"])
@pytest.mark.parametrize("name", ["resnet18", "resnet38"])
def test_every_kind_of_batch_norm_can_be_frozen(name, norm):
    built = encoder(name, 16, norm)
    assert_same(Frozen(built, built), built)


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("kind", network.SUBNETS)
@pytest.mark.parametrize("rule", [*fusion.RULES, fusion.LEARNED])
def test_frozen_scores_are_those_of_every_fusion_rule(rule, kind, hybrid):
    built = small.shaken(kind, learned_fusion=True)
    if hybrid:
        engine.hybridize_parts(built)
    fuse = fusion.Fusion.of(built, rule)
    seen = FrozenNetwork(built, {rule: fuse})
    assert_same(lambda images: [seen.log_probabilities(images)[rule]], lambda images: fuse(*built(images)))


@pytest.mark.parametrize(
    "head",
    [
        HeadSettings(kind="aspp_v2", stages=(3,)),
        HeadSettings(kind="aspp_v3", stages=(3,)),
        HeadSettings(kind="gcn", stages=(2, 3)),
    ],
    ids=["v2", "v3", "gcn"],
)
def test_every_kind_of_head_can_be_frozen(head):
    built = small.shaken("plain", head=head)
    assert_same(Frozen(built, built), built)


def test_batch_norms_become_part_of_convolutions_and_flipped_kernels_are_constants():
    built = encoder("efficientnet_lite0", 8)
    found = operators(Frozen(built, built))
    assert "BatchNorm" not in found and "Pad" not in found
    assert found.count("slice") == 1 + len(built.channels)  # the images, and each stage's features
    assert found.count("clip") and "_minimum_scalar" not in found


class Both(nn.HybridSequential):
    """A convolution that is read by the next layer and by others."""

    def hybrid_forward(self, F, x):
        y = self[0](x)
        return self[1](y), y, F.sigmoid(y)


@pytest.mark.parametrize("layer", ["norm", "relu"])
def test_a_convolution_with_several_readers_is_fused_for_none_of_the_others(layer):
    block = Both()
    block.add(nn.Conv2D(4, 3, in_channels=3))
    block.add(nn.BatchNorm(in_channels=4) if layer == "norm" else nn.Activation("relu"))
    block.initialize(mx.init.Xavier())
    shake(block)
    graph = Frozen(block, block)
    assert_same(graph, block)
    assert isinstance(graph._graph, frozen.Graph)


def test_a_graph_with_other_values_than_the_network_is_not_used(monkeypatch):
    built = small.shaken()
    right = frozen.fold

    def wrong(symbol, values):
        symbol, arrays = right(symbol, values)
        return symbol, {name: array * 1.01 for name, array in arrays.items()}

    monkeypatch.setattr(frozen, "fold", wrong)
    graph = Frozen(built, built)
    for found, wanted in zip(graph(small.images()), built(small.images())):
        np.testing.assert_array_equal(found.asnumpy(), wanted.asnumpy())


def test_a_convolution_with_a_bias_and_a_fixed_gamma_is_folded():
    block = nn.HybridSequential()
    block.add(nn.Conv2D(4, 3, in_channels=3), nn.BatchNorm(in_channels=4, scale=False, epsilon=0.1))
    block.initialize(mx.init.Xavier())
    shake(block)
    wanted = block(small.images())
    graph = Frozen(lambda images: (block(images),), block)
    np.testing.assert_allclose(graph(small.images())[0].asnumpy(), wanted.asnumpy(), atol=1e-5)
    assert "BatchNorm" not in operators(graph)


# ---- the live network stays what it is, and no graph outlives its values


def test_freezing_changes_nothing_of_the_network_and_records_nothing():
    built = small.shaken()
    engine.hybridize_parts(built)
    before, graph = small.values(built), fusion_graph(built)
    with autograd.record():
        scores = FrozenNetwork(built, {"sum": fusion.Fusion.of(built, "sum")}).log_probabilities(
            small.images()
        )
        with pytest.raises(mx.MXNetError):
            scores["sum"].backward()
    assert small.same_bits(small.values(built), before)
    assert fusion_graph(built) == graph and not tracing.is_for(tracing.FROZEN)


def fusion_graph(built) -> list:
    nodes = json.loads(export.graph(built, "sum").tojson())["nodes"]
    return [(node["op"], node.get("attrs")) for node in nodes]


def test_a_network_that_is_trained_on_is_evaluated_with_its_new_values():
    built, images = small.shaken(), small.images(height=45, width=70)
    fusions = {rule: fusion.Fusion.of(built, rule) for rule in ("subnet0", "sum")}
    other = small.shaken(seed=1)
    wanted = engine.predict(other, fusions, images)
    first = engine.predict(built, fusions, images)
    for name, parameter in built._collect_params_with_prefix().items():
        parameter.set_data(mx.nd.array(small.values(other)[name]))
    second = engine.predict(built, fusions, images)
    for rule in fusions:
        np.testing.assert_array_equal(second[rule], wanted[rule])
        assert (first[rule] != second[rule]).any()


def test_a_step_takes_the_values_that_were_loaded_after_it_was_made():
    built, other = small.shaken(), small.shaken(seed=1)
    step = engine.SubnetStep(built, [losses.CrossEntropyLoss(3)] * 2)
    for name, parameter in built._collect_params_with_prefix().items():
        parameter.set_data(mx.nd.array(small.values(other)[name]))
    wanted = engine.SubnetStep(other, [losses.CrossEntropyLoss(3)] * 2)
    for found, right in zip(step.features(small.images())[1], wanted.features(small.images())[1]):
        np.testing.assert_array_equal(found.asnumpy(), right.asnumpy())


@pytest.mark.parametrize("kind", network.SUBNETS)
def test_subnets_gradients_are_those_on_ordinary_features(kind, monkeypatch):
    found = []
    for is_usable in (True, False):
        built = small.shaken(kind)
        if not is_usable:
            monkeypatch.setattr(frozen, "usable", lambda block: False)
        step = engine.SubnetStep(built, [losses.CrossEntropyLoss(3)] * 2)
        step(small.images(), small.labels())
        assert isinstance(step._frozen._graph, frozen.Graph) == is_usable
        trained = {n: p for n, p in step.parameters().items() if p.grad_req != "null"}
        found.append({name: parameter.grad().asnumpy() for name, parameter in trained.items()})
    for name, gradient in found[0].items():
        np.testing.assert_allclose(gradient, found[1][name], atol=1e-4 * np.abs(found[1][name]).max() + 1e-7)


# ---- where it can't be used, and memory


@pytest.mark.parametrize("name, value", [("MXNET_SUBGRAPH_BACKEND", "NONE"), ("MXNET_MKLDNN_ENABLED", "0")])
def test_the_environment_turns_it_off(name, value, monkeypatch):
    built = small.shaken()
    assert frozen.usable(built)
    monkeypatch.setenv(name, value)
    assert not frozen.usable(built)
    graph = Frozen(built, built)
    for found, wanted in zip(graph(small.images()), built(small.images())):
        np.testing.assert_array_equal(found.asnumpy(), wanted.asnumpy())


def test_networks_on_several_devices_are_not_frozen():
    block = nn.HybridSequential()
    block.add(nn.Conv2D(4, 3, in_channels=3))
    block.initialize(ctx=[mx.cpu(0), mx.cpu(1)])
    assert not frozen.usable(block)
    images = small.images()
    np.testing.assert_array_equal(
        Frozen(lambda x: (block(x),), block)(images)[0].asnumpy(), block(images).asnumpy()
    )


@pytest.mark.slow
def test_images_of_many_sizes_do_not_fill_the_memory():
    built = small.shaken(groups=())
    seen = FrozenNetwork(built, {"subnet0": fusion.Fusion.of(built, "subnet0")})

    def run(sizes):
        for height in sizes:
            seen.log_probabilities(small.images(count=1, height=height, width=300 + height))[
                "subnet0"
            ].asnumpy()
        return memory.now() / 2**20

    run([300])
    before = run(range(200, 230))
    assert run(range(230, 290)) - before < 60


# ---- the largest class without enlarged scores


@pytest.mark.parametrize("stride", [2, 4, 8, 16, 32])
@pytest.mark.parametrize("step", [None, 1, 0.1], ids=["distinct", "ties", "rounded ties"])
def test_the_largest_class_is_that_of_the_enlarged_scores(stride, step):
    draws = np.random.RandomState(stride)
    for grid, cut in (((5, 7), (1, 3)), ((1, 1), (0, 0)), ((1, 4), (0, 1)), ((6, 1), (1, 0))):
        shape = (2, 6, *grid)
        scores = draws.normal(size=shape) if step is None else draws.randint(-2, 2, shape) * step
        scores = mx.nd.array(scores.astype(np.float32))
        like = mx.nd.zeros((2, 3, *(side * stride - less for side, less in zip(grid, cut))))
        wanted = network.enlarge(mx.nd, scores, stride, like).asnumpy().argmax(1)
        np.testing.assert_array_equal(engine.largest_enlarged(scores, stride, like), wanted)
