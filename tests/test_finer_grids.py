"""Subnets on a finer grid than the encoder's: what they read, how they are fused, and what their networks give."""

from __future__ import annotations

import dataclasses

import cv2
import mxnet as mx
import numpy as np
import pytest
import small
from grids import Encoder, features
from mxnet import autograd

from gluon_confseg import (
    checkpoint,
    compiled,
    complexity,
    engine,
    export,
    frozen,
    fusion,
    grids,
    losses,
    network,
)
from gluon_confseg.compiled import training
from gluon_confseg.errors import RunError
from gluon_confseg.frozen import FrozenNetwork
from gluon_confseg.inference import Inference, probabilities
from gluon_confseg.recipe import phase
from gluon_confseg.subnets import Gather, HeadSettings, ResidualHead, build_head

SIZES = ((32, 64), (33, 47), (61, 90))
FINE = HeadSettings(channels=8, dilation=2, stages=(1, 2, 3), output_stride=4)
MIDDLE = HeadSettings(channels=8, dilation=1, stages=(1, 3), output_stride=8)
DETAIL = HeadSettings(channels=8, dilation=2, stages=(2, 3), detail=1)  # a branch on the grid of stage 1
HEADS = {
    "first": [FINE, small.SUBNET_HEAD],
    "second": [small.SUBNET_HEAD, MIDDLE],
    "both": [MIDDLE, FINE],
    "detail": [DETAIL, DETAIL],
    "detail and others": [dataclasses.replace(DETAIL, output_stride=8), small.SUBNET_HEAD],
}
WITH_KIND = [(h, kind) for h in HEADS for kind in network.SUBNETS if kind == "residual" or "detail" not in h]
FINEST = {"first": 4, "second": 8, "both": 4, "detail": 4, "detail and others": 4}


def shaken(heads: str = "both", subnets: str = "residual", **settings):
    """`small`'s network of output stride 16 with these heads."""
    return small.shaken(subnets, subnet_heads=HEADS[heads], **settings)


def resized(array: np.ndarray, factor: int, size: tuple) -> np.ndarray:
    """OpenCV's bilinear enlargement of (N, C, h, w) by a factor, cut to a size."""
    shape = (array.shape[3] * factor, array.shape[2] * factor)
    planes = [cv2.resize(plane, shape, interpolation=cv2.INTER_LINEAR) for plane in np.concatenate(array)]
    return np.stack(planes).reshape(*array.shape[:2], *shape[::-1])[:, :, : size[0], : size[1]]


# ---- heads


@pytest.mark.parametrize("height, width", SIZES)
@pytest.mark.parametrize("wanted", [4, 8, 16])
def test_features_of_all_stages_gather_on_the_grid_of_any(wanted, height, width):
    encoder = Encoder(16)
    each = features(encoder, height, width)
    gathered = Gather(encoder, (1, 2, 3, 4), wanted)(*each).asnumpy()
    size = -(-height // wanted), -(-width // wanted)
    assert gathered.shape == (2, sum(encoder.channels), *size)
    place = encoder.strides.index(wanted)
    before = sum(encoder.channels[:place])
    own = gathered[:, before : before + encoder.channels[place]]
    np.testing.assert_array_equal(own, each[place].asnumpy())
    if wanted < 16:
        coarse = resized(each[3].asnumpy(), 16 // wanted, size)
        np.testing.assert_allclose(gathered[:, -encoder.channels[3] :], coarse, atol=1e-5)


@pytest.mark.parametrize("kind", ["plain", "aspp_v2", "aspp_v3", "gcn"])
def test_every_kind_of_head_works_on_a_finer_grid(kind):
    encoder = Encoder(16)
    head = build_head(encoder, 3, HeadSettings(kind=kind, stages=(2, 4), output_stride=8))
    head.initialize()
    assert head.output_stride == 8 and head(*features(encoder, 33, 47)).shape == (2, 3, 5, 6)


def test_published_rates_see_as_far_on_a_finer_grid():
    def rates(stride):
        head = build_head(Encoder(16), 3, HeadSettings(kind="aspp_v3", output_stride=stride))
        return [branch[0]._kwargs["dilate"][0] for branch in head.aspp.branches]

    assert rates(4) == [1, 24, 48, 72] and rates(None) == [1, 6, 12, 18]


@pytest.mark.parametrize("height, width", SIZES)
@pytest.mark.parametrize("times, stride", [(2, 8), (4, 16)])
def test_enlarging_with_a_gradient_is_bilinear_and_so_is_its_gradient(times, stride, height, width):
    rng = np.random.default_rng(0)
    own, large = ((2, 3, -(-height // n), -(-width // n)) for n in (stride, stride // times))
    logits, given = (mx.nd.array(rng.normal(size=shape)) for shape in (own, large))
    logits.attach_grad()
    gradients = []
    for function in (grids.enlarge_with_gradient, grids.enlarge):
        with autograd.record():
            found = function(mx.nd, logits, times, given)
        found.backward(given)
        np.testing.assert_allclose(
            found.asnumpy(), resized(logits.asnumpy(), times, large[2:]), rtol=0, atol=1e-5
        )
        gradients.append(logits.grad.asnumpy())
    np.testing.assert_allclose(*gradients, rtol=0, atol=1e-4)


def test_a_branch_for_detail_adds_to_the_enlarged_correction():
    encoder = Encoder(16)
    head = ResidualHead(encoder, (1, 2), 5, DETAIL)
    head.initialize(mx.init.Normal(0.3))
    each, logits = features(encoder, 33, 47), mx.nd.random.normal(shape=(2, 5, 3, 3))
    size = (9, 12)
    hidden, detail = head.hidden(each)
    seen = fusion.view(mx.nd.array(resized(logits.asnumpy(), 4, size)), (1, 2), 5).asnumpy()
    wanted = seen + resized(head.output(hidden).asnumpy(), 4, size) + head.detail.output(detail).asnumpy()
    assert detail.shape[2:] == size and head.output_stride == 4
    np.testing.assert_allclose(head(logits, *each).asnumpy(), wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "make, wanted",
    [
        (lambda: HeadSettings(detail=4), "one of the stages 1, 2, 3, or none, got 4"),
        (lambda: HeadSettings(kind="gcn", detail=1), "a gcn head has no detail"),
        (lambda: build_head(Encoder(16), 3, DETAIL), "only residual subnets have a branch for detail"),
        (lambda: small.build(head=DETAIL), "only residual subnets have a branch for detail"),
        (
            lambda: small.build(subnet_heads=dataclasses.replace(DETAIL, detail=3)),
            "stage 3 has the stride 16, no finer grid than the head's",
        ),
    ],
)
def test_detail_where_there_can_be_none_is_an_error(make, wanted):
    with pytest.raises(ValueError, match=wanted):
        make()


@pytest.mark.parametrize("stride, encoder", [(32, Encoder(16)), (16, Encoder(8))])
def test_a_stride_that_no_stage_has_is_an_error(stride, encoder):
    with pytest.raises(ValueError, match=rf"one of this encoder's strides, 4, .*got {stride}"):
        Gather(encoder, (4,), stride)
    with pytest.raises(ValueError, match="a head's output stride is one of 4, 8, 16, 32, got 5"):
        HeadSettings(output_stride=5)


# ---- networks


@pytest.mark.parametrize("heads, kind", WITH_KIND)
def test_each_subnet_has_its_own_grid(heads, kind):
    built = shaken(heads, kind)
    strides = [16, *(4 if head.detail else head.output_stride or 16 for head in HEADS[heads])]
    for height, width in SIZES:
        found = [x.shape[2:] for x in built(small.images(height=height, width=width))]
        assert found == [(-(-height // stride), -(-width // stride)) for stride in strides]


@pytest.mark.parametrize("rule", ["residual_product", "conditional"])
@pytest.mark.parametrize("heads", HEADS)
def test_residual_subnets_start_at_the_enlarged_subnet_0(heads, rule):
    built = small.build(subnet_heads=HEADS[heads])
    fuse = fusion.Fusion.of(built, rule)
    assert fuse.finer == 16 // FINEST[heads]
    for height, width in SIZES:
        logits = built(small.images(height=height, width=width))
        wanted = logits[0].asnumpy()
        size = -(-height // FINEST[heads]), -(-width // FINEST[heads])
        wanted = mx.nd.log_softmax(mx.nd.array(resized(wanted, fuse.finer, size)), axis=1).asnumpy()
        np.testing.assert_allclose(fuse(*logits).asnumpy(), wanted, atol=1e-5)


def test_subnet_0_alone_stays_on_its_grid():
    built = shaken()
    logits, fuse = built(small.images()), fusion.Fusion.of(built, "subnet0")
    assert fuse.finer == 1 and fuse(*logits).shape == logits[0].shape


@pytest.mark.parametrize("heads, kind", [pair for pair in WITH_KIND if pair[0] != "second"])
@pytest.mark.parametrize("rule", [*fusion.RULES, fusion.LEARNED])
def test_a_frozen_network_gives_the_live_ones_scores(heads, rule, kind):
    built = shaken(heads, kind, learned_fusion=True)
    engine.hybridize_parts(built)
    fuse = fusion.Fusion.of(built, rule)
    seen = FrozenNetwork(built, {rule: fuse})
    for number, (height, width) in enumerate((*SIZES, SIZES[0])):
        images = small.images(number, 2, height, width)
        found, wanted = seen.log_probabilities(images)[rule].asnumpy(), fuse(*built(images)).asnumpy()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=3e-5 * np.abs(wanted).max())
    assert isinstance(seen._scores._graph, frozen.Graph)


@pytest.mark.parametrize("heads", ["both", "detail"])
@pytest.mark.parametrize("rule", ["subnet0", "residual_product"])
def test_predictions_are_the_largest_of_the_scores_at_the_images_size(rule, heads):
    built = shaken(heads)
    fused, fusions = network.FusedNetwork(built, rule), {rule: fusion.Fusion.of(built, rule)}
    for height, width in SIZES:
        images = small.images(height=height, width=width)
        scores = fused(images).asnumpy()
        assert scores.shape == (2, small.CLASSES, height, width)
        found = engine.predict(built, fusions, images)[rule]
        chosen = np.take_along_axis(scores, found[:, None].astype(np.int64), axis=1)[:, 0]
        assert (chosen >= scores.max(1) - 1e-4).all() and len(np.unique(found)) > 1
        np.testing.assert_allclose(probabilities(built, fusions, images)[rule], scores, atol=1e-4)


@pytest.mark.parametrize("views", [Inference(flip=True), Inference(window=(32, 40)), Inference(bicubic=True)])
def test_views_have_the_images_size_and_sum_to_1(views):
    built, images = shaken(), small.images(height=61, width=90)
    found = probabilities(built, {"sum": fusion.Fusion.of(built, "sum")}, images, views)["sum"]
    assert found.shape == (2, small.CLASSES, 61, 90)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-4)
    plain = probabilities(built, {"sum": fusion.Fusion.of(built, "sum")}, images)["sum"]
    assert np.abs(found - plain).mean() < 0.1 * plain.std() or not views.bicubic


@pytest.mark.parametrize("heads", ["both", "detail"])
@pytest.mark.parametrize("rule", ["subnet0", "residual_product"])
def test_the_exported_graph_gives_the_live_scores(tmp_path, rule, heads):
    space = small.Images().labels
    assert export.write(shaken(heads), rule, space, tmp_path / "net").difference <= 1e-5


@pytest.mark.parametrize("heads, finer", [("both", (2, 4)), ("detail", (4, 4))])
def test_a_checkpoint_builds_its_grids_again_and_an_older_one_has_none(tmp_path, heads, finer):
    built = shaken(heads)
    about = {"network": built.settings, "rule": "sum", "labels": "cityscapes"}
    checkpoint.save(tmp_path / "net.npz", checkpoint.network_arrays(built), about)
    loaded = network.load(tmp_path / "net.npz").network
    assert loaded.settings == built.settings and loaded.finer == finer
    assert small.same_bits(small.values(loaded), small.values(built))
    old = small.shaken()
    settings = {**old.settings, "subnet_heads": [dict(head) for head in old.settings["subnet_heads"]]}
    for head in settings["subnet_heads"]:
        del head["output_stride"], head["detail"]
    checkpoint.save(tmp_path / "old.npz", checkpoint.network_arrays(old), {**about, "network": settings})
    assert network.load(tmp_path / "old.npz").network.finer == (1, 1)


def test_subnet_0_keeps_the_networks_stride():
    with pytest.raises(ValueError, match="subnet 0 works at the network's output stride 16, not at 8"):
        small.build(head=HeadSettings(channels=8, stages=(3,), output_stride=8))


def test_the_cost_of_a_finer_grid_is_counted():
    coarse = HeadSettings(channels=8, dilation=2, stages=(1, 2, 3))
    costs = [
        complexity.multiply_adds(small.build(subnet_heads=[head, small.SUBNET_HEAD]), (1, 3, 64, 96))
        for head in (FINE, coarse)
    ]
    per_position = (64 + 128 + 256) * 8 * 9 + 8 * 3
    assert costs[0] - costs[1] == per_position * (16 * 24 - 4 * 6)


# ---- training


def subnet_step(built):
    return engine.SubnetStep(built, [losses.CrossEntropyLoss(3)] * 2)


@pytest.mark.parametrize("heads, strides", [("both", (8, 4)), ("detail", (4, 4))])
def test_a_step_is_the_loss_of_logits_at_the_images_size(heads, strides):
    built, images, labels = shaken(heads), small.images(), small.labels()
    found = subnet_step(built)(images, labels)
    with autograd.pause(train_mode=False):
        features = built.encoder(images)
        first = built.subnet0(*features)
    with autograd.train_mode():
        each = built.subnet_logits(first, features)
    for m, (group, logits, stride) in enumerate(zip(built.groups, each, strides), 1):
        large = network.enlarge(mx.nd, logits, stride, images)
        wanted = losses.CrossEntropyLoss(3)(large, engine.group_channels(group)[labels])
        np.testing.assert_allclose(found[f"subnet{m}"].asnumpy(), wanted.asnumpy(), rtol=1e-4)


@pytest.mark.parametrize("heads", ["both", "detail"])
def test_training_changes_the_subnets_alone_and_gives_the_same_bits_again(heads):
    outcomes = []
    for _ in range(2):
        built = small.build(subnet_heads=HEADS[heads])
        engine.hybridize_parts(built)
        before, step = small.values(built), subnet_step(built)
        trainer = engine.sgd(step.parameters())
        trainer.set_learning_rate(0.1)
        for number in range(3):
            step(small.images(number), small.labels(number))
            trainer.step(2)
        after = small.values(built)
        changed = {name for name in before if not np.array_equal(before[name], after[name])}
        assert changed and all(name.startswith("subnets.") for name in changed)
        assert {name for name in before if name.startswith("subnets.") and name.endswith("weight")} <= changed
        outcomes.append(after)
    assert small.same_bits(*outcomes)


def test_the_learned_fusion_trains_on_mixed_grids():
    built = shaken(learned_fusion=True)
    step = engine.FusionStep(built, [losses.CrossEntropyLoss(small.CLASSES)])
    trainer = engine.sgd(step.parameters())
    trainer.set_learning_rate(0.02)
    means = []
    for _ in range(6):
        means.append(step(small.images(), small.labels())["fusion"].mean().asscalar())
        trainer.step(2)
    assert means[-1] < means[0]


@pytest.mark.parametrize("detail", [None, 1])
def test_the_compiled_form_of_a_head_has_its_gradients(detail):
    """Those of MXNet's operators, up to rounding."""
    encoder, groups = Encoder(8), (1, 2)
    head = ResidualHead(
        encoder, groups, 5, HeadSettings(channels=64, dilation=4, stages=(2, 3), detail=detail)
    )
    head.initialize(mx.init.Normal(0.05))
    each, logits = features(encoder, 32, 48), mx.nd.random.normal(shape=(2, 5, 4, 6))
    found = []
    for function in (head, training.training_form(head, 1 + len(each), fixed=True)):
        with autograd.record():
            loss = (function(logits, *each) ** 2).mean()
        loss.backward()
        found.append(
            {name: p.grad().asnumpy() for name, p in head.collect_params().items() if p.grad_req != "null"}
        )
    assert (function is not head) == (compiled.library() is not None)
    for name, wanted in found[0].items():
        np.testing.assert_allclose(
            found[1][name], wanted, rtol=0, atol=1e-4 * max(np.abs(wanted).max(), 1e-3)
        )


# ---- recipes


def recipe(**settings):
    phases = [phase("base", epochs=1), phase("heads", "base", "subnets", epochs=1)]
    return small.recipe(phases, **settings)


def test_one_groups_subnet_can_have_a_grid_of_its_own():
    found = recipe().override(["subnet_head.2.output_stride=4", "subnet_head.2.stages=1,2,3"]).phase("heads")
    assert dict(found.subnet_heads)[2].output_stride == 4 and found.subnet_head.output_stride is None
    found = recipe().override(["subnet_head.1.detail=1"]).phase("heads")
    assert dict(found.subnet_heads)[1].detail == 1 and found.subnet_head.detail is None
    heads = recipe().override(["subnet_head.detail=1", "subnet_head.kind=plain"]).phase("heads").subnet_head
    assert heads.detail == 1 and heads.kind == "plain"
    with pytest.raises(
        RunError, match="a branch of residual subnets alone, and these are plain: set subnet_head.det"
    ):
        recipe().override(["subnet_head.detail=1", "subnets=plain"])
    back = recipe().override(["subnet_head.output_stride=4", "phases.heads.subnet_head.output_stride=none"])
    assert back.phase("heads").subnet_head.output_stride is None


@pytest.mark.parametrize(
    "given, wanted",
    [
        ("subnet_head.output_stride=32", "that of a stage of its encoder, 4 or 8 or 16, not 32"),
        ("subnet_head.1.output_stride=32", "phase heads: a subnet's output stride is"),
        ("subnet_head.output_stride=5", "is one of 4, 8, 16, 32, or none"),
        ("head.output_stride=4", "there is no setting 'head.output_stride'"),
        ("head.detail=1", "there is no setting 'head.detail'"),
        ("subnet_head.detail=4", "is one of the stages 1, 2, 3, or none"),
        ("subnet_head.detail=3", "a subnet's detail is a stage with a finer grid than the subnet's"),
        ("subnet_head.2.detail=3", r"choose an earlier stage, or set subnet_head\.2\.detail=none"),
    ],
)
def test_a_stride_that_can_not_be_meant_is_one_sentence(given, wanted):
    with pytest.raises(RunError, match=wanted):
        recipe().override([given])


def test_a_recipes_head_of_subnet_0_has_the_networks_stride():
    with pytest.raises(RunError, match="subnet 0 works at the network's output stride"):
        recipe(head=HeadSettings(channels=8, stages=(3,), output_stride=8))
