"""Every head and context in a whole network: as subnet 0, as further subnets, trained, saved and exported."""

from __future__ import annotations

import json

import mxnet as mx
import numpy as np
import pytest
import small

from gluon_confseg import checkpoint, engine, fusion, losses, network
from gluon_confseg.subnets import HeadSettings

KINDS = {
    "plain": HeadSettings(8, 2, 2, (3,)),
    "aspp_v2": HeadSettings(kind="aspp_v2", rates=(1, 2), stages=(3,)),
    "aspp_v2, published": HeadSettings(kind="aspp_v2", stages=(2, 3)),
    "aspp_v3": HeadSettings(kind="aspp_v3", channels=8, rates=(1, 2), stages=(3,)),
    "gcn": HeadSettings(kind="gcn", kernel=3, stages=(3,)),
    "gcn of stages": HeadSettings(kind="gcn", kernel=5, stages=(1, 2, 3)),
    "after aspp": HeadSettings(8, 2, 1, (2, 3), context="aspp", rates=(1, 2)),
    "after gcn": HeadSettings(8, 1, 1, (3,), context="gcn", kernel=3),
}
CONTEXTS = ("after aspp", "after gcn")
SIZES = ((32, 64), (47, 101))


def settings(kind: str) -> dict:
    return {"head": KINDS[kind], "subnet_heads": KINDS[kind]}


def shaken(kind: str, stride: int = 16):
    subnets = "residual" if kind in CONTEXTS else "plain"
    return small.shaken(subnets, stride=stride, **settings(kind))


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_subnet_0_and_the_others_share_one_grid_at_any_size_and_fuse(kind, stride):
    built = shaken(kind, stride)
    each = built(small.images(height=33, width=65))
    size = (-(-33 // stride), -(-65 // stride))
    assert [x.shape for x in each] == [(2, 5, *size), (2, 3, *size), (2, 3, *size)]
    scores = network.FusedNetwork(built, "sum")(small.images(height=33, width=65)).asnumpy()
    assert scores.shape == (2, 5, 33, 65)
    np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_exported_graph_gives_the_live_scores_at_any_size(kind, tmp_path):
    live = network.FusedNetwork(shaken(kind), "sum")
    wanted = [live(small.images(height=h, width=w)).asnumpy() for h, w in SIZES]
    live.hybridize()
    live(small.images())
    mx.nd.waitall()
    live.export(str(tmp_path / "net"))
    files = str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params")
    graph = mx.gluon.SymbolBlock.imports(*files)
    for (height, width), scores in zip(SIZES, wanted):
        found = graph(small.images(height=height, width=width)).asnumpy()
        np.testing.assert_allclose(found, scores, rtol=1e-4, atol=1e-5)


def blocks() -> np.ndarray:
    """(2, 32, 64) labels, one class for each 16 x 16 block: what a grid of that stride can learn by heart."""
    drawn = np.random.RandomState(0).randint(0, small.CLASSES, (2, 2, 4)).astype(np.uint8)
    return drawn.repeat(16, 1).repeat(16, 2)


def trained_losses(step, count: int, rate: float) -> list:
    """Mean losses, summed over subnets, of SGD steps on one batch."""
    trainer, means = engine.sgd(step.parameters()), []
    trainer.set_learning_rate(rate)
    for _ in range(count):
        each = step(small.images(), blocks())
        means.append(sum(float(loss.mean().asscalar()) for loss in each.values()))
        trainer.step(2)
    return means


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_training_on_one_batch_lowers_the_loss(kind):
    """Of encoder and subnet 0 first; then of further subnets, on the frozen encoder that this leaves."""
    subnets = "residual" if kind in CONTEXTS else "plain"
    built = small.build(subnets, **settings(kind))
    engine.hybridize_parts(built)
    first = engine.Subnet0Step(built, [losses.CrossEntropyLoss(5)])
    further = engine.SubnetStep(built, [losses.CrossEntropyLoss(len(g) + 1) for g in built.groups])
    means = trained_losses(first, 15, 0.01)
    assert means[-1] < 0.95 * means[0], means
    # DeepLabV2's 3x3 convolutions read the features straight: the rate that others need makes them overshoot
    means = trained_losses(further, 15, 0.002 if kind.startswith("aspp_v2") else 0.02)
    assert means[-1] < 0.95 * means[0], means


@pytest.mark.parametrize("kind", CONTEXTS)
def test_residual_subnets_start_at_subnet_0_after_a_context_too(kind):
    built = small.build("residual", **settings(kind))
    first, *others = built(small.images())
    for logits, group in zip(others, built.groups):
        np.testing.assert_array_equal(logits.asnumpy(), fusion.view(first, group, 5).asnumpy())


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_builds_its_heads_again(kind, tmp_path):
    built = shaken(kind)
    about = {"network": built.settings, "rule": "sum", "labels": "cityscapes"}
    checkpoint.save(tmp_path / "net.npz", checkpoint.network_arrays(built), about)
    loaded = network.load(tmp_path / "net.npz").network
    assert loaded.settings == built.settings
    assert small.same_bits(small.values(loaded), small.values(built))
    assert json.loads(json.dumps(loaded.settings)) == json.loads(json.dumps(built.settings))


def test_a_checkpoint_without_the_newer_settings_loads(tmp_path):
    built = small.shaken()
    old = json.loads(json.dumps(built.settings))
    for head in (old["head"], *old["subnet_heads"]):
        for name in ("kind", "context", "rates", "kernel"):
            head.pop(name)
    about = {"network": old, "rule": "sum", "labels": "cityscapes"}
    checkpoint.save(tmp_path / "old.npz", checkpoint.network_arrays(built), about)
    loaded = network.load(tmp_path / "old.npz").network
    assert loaded.settings == built.settings
    assert small.same_bits(small.values(loaded), small.values(built))
