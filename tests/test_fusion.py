"""Mapping between output spaces, and the rules that combine them: Section 3.3."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest

from gluon_confseg import fusion

CLASSES = 6
GROUPS = ((0, 1, 4), (5, 2))
RULES = ("sum", "product", "residual_product", "conditional")


def draw(channels: int, scale: float = 3.0, seed: int = 0, size=(4, 5)):
    return mx.nd.array(np.random.RandomState(seed + channels).uniform(-scale, scale, (2, channels, *size)))


def logits(scale: float = 3.0, seed: int = 0) -> tuple:
    return (
        draw(CLASSES, scale, seed),
        *(draw(len(g) + 1, scale, seed + 10 * i) for i, g in enumerate(GROUPS)),
    )


def fuse(rule: str, *each, groups=GROUPS) -> np.ndarray:
    return fusion.Fusion(groups, CLASSES, rule)(*each).asnumpy()


def softmax(array) -> np.ndarray:
    array = array.asnumpy() if hasattr(array, "asnumpy") else array
    powers = np.exp(array.astype(np.float64) - array.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def spread_by_hand(scores: np.ndarray, group) -> np.ndarray:
    classes = [scores[:, 1 + group.index(k)] if k in group else scores[:, 0] for k in range(CLASSES)]
    return np.stack(classes, 1)


# ---- mapping


@pytest.mark.parametrize("group", GROUPS)
def test_spreading_copies_others_and_maps_the_group_one_to_one(group):
    scores = draw(len(group) + 1)
    wanted = spread_by_hand(scores.asnumpy(), group)
    np.testing.assert_array_equal(fusion.spread(scores, group, CLASSES).asnumpy(), wanted)


@pytest.mark.parametrize("group", GROUPS)
def test_a_view_is_the_softmax_with_the_classes_outside_added_up(group):
    first = draw(CLASSES)
    q = softmax(first)
    outside = [k for k in range(CLASSES) if k not in group]
    wanted = np.concatenate([q[:, outside].sum(1, keepdims=True), q[:, list(group)]], 1)
    np.testing.assert_allclose(softmax(fusion.view(first, group, CLASSES)), wanted, rtol=1e-5)


def test_a_view_keeps_the_groups_logits():
    first = draw(CLASSES)
    seen = fusion.view(first, GROUPS[1], CLASSES).asnumpy()
    np.testing.assert_array_equal(seen[:, 1:], first.asnumpy()[:, [5, 2]])


@pytest.mark.parametrize("size", [1e4, -1e4, 1e30])
def test_a_view_is_exact_for_large_logits(size):
    first = mx.nd.full((1, CLASSES, 1, 1), size)
    seen = fusion.view(first, GROUPS[1], CLASSES).asnumpy().ravel()
    np.testing.assert_allclose(seen, [size + np.log(4), size, size], rtol=1e-6)


def test_the_graph_of_a_mapping_is_the_mapping():
    scores, first = draw(len(GROUPS[0]) + 1), draw(CLASSES)
    for mapping, given in ((fusion.spread, scores), (fusion.view, first)):
        graph = mapping(mx.sym.var("x"), GROUPS[0], CLASSES)
        found = graph.eval(ctx=mx.cpu(), x=given)[0]
        np.testing.assert_array_equal(found.asnumpy(), mapping(given, GROUPS[0], CLASSES).asnumpy())


# ---- rules


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("klass", range(CLASSES))
def test_one_hot_scores_stay_one_hot_after_fusion(rule, klass):
    def one_hot(channels: int, channel: int):
        scores = np.full((1, channels, 1, 1), -40, np.float32)
        scores[0, channel] = 40
        return mx.nd.array(scores)

    each = [one_hot(len(g) + 1, 1 + g.index(klass) if klass in g else 0) for g in GROUPS]
    fused = softmax(fuse(rule, one_hot(CLASSES, klass), *each))[0, :, 0, 0]
    if rule == "sum":  # "others" copied: a class outside every group shares with the others outside
        copied = np.mean([np.eye(CLASSES)[klass], *(outside_or(g, klass) for g in GROUPS)], 0)
        np.testing.assert_allclose(fused, copied / copied.sum(), atol=1e-6)
        assert fused.argmax() == klass
    else:
        np.testing.assert_allclose(fused, np.eye(CLASSES)[klass], atol=1e-6)


def outside_or(group, klass: int) -> np.ndarray:
    """A sure subnet's scores on all classes."""
    outside = np.array([float(k not in group) for k in range(CLASSES)])
    return np.eye(CLASSES)[klass] if klass in group else outside


def test_sum_rule_is_kittlers_mean_of_probabilities():
    each = logits()
    spreads = [spread_by_hand(softmax(x), g) for x, g in zip(each[1:], GROUPS)]
    wanted = (softmax(each[0]) + sum(spreads)) / 3
    np.testing.assert_allclose(np.exp(fuse("sum", *each)), wanted, rtol=1e-5)


def test_product_rule_is_kittlers_product_of_probabilities():
    each = logits()
    product = softmax(each[0])
    for x, g in zip(each[1:], GROUPS):
        product = product * spread_by_hand(softmax(x), g)
    np.testing.assert_allclose(
        np.exp(fuse("product", *each)), product / product.sum(1, keepdims=True), rtol=1e-4
    )


def test_product_rule_is_the_sum_of_raw_logits():
    each = logits()
    raw = each[0].asnumpy() + sum(spread_by_hand(x.asnumpy(), g) for x, g in zip(each[1:], GROUPS))
    np.testing.assert_allclose(softmax(fuse("product", *each)), softmax(raw), rtol=1e-4)


def test_residual_product_divides_by_what_subnet_0_says():
    each = logits()
    product = softmax(each[0])
    for x, g in zip(each[1:], GROUPS):
        seen = softmax(fusion.view(each[0], g, CLASSES))
        product = product * spread_by_hand(softmax(x) / seen, g)
    wanted = product / product.sum(1, keepdims=True)
    np.testing.assert_allclose(np.exp(fuse("residual_product", *each)), wanted, rtol=1e-4)


@pytest.mark.parametrize("rule", ["residual_product", "conditional"])
@pytest.mark.parametrize("groups", [GROUPS, ((0, 1), (1, 2), (1, 5, 0), (3, 2, 1, 0, 4, 5))])
def test_subnets_that_agree_with_subnet_0_are_subnet_0_exactly(rule, groups):
    first = draw(CLASSES, 20.0)
    agreeing = [fusion.view(first, g, CLASSES) for g in groups]
    np.testing.assert_array_equal(fuse(rule, first, *agreeing, groups=groups), fuse("subnet0", first))


def test_subnet_0_alone_is_its_softmax_and_hears_no_other():
    each = logits()
    np.testing.assert_allclose(np.exp(fuse("subnet0", *each)), softmax(each[0]), rtol=1e-5)
    for rule in RULES:
        np.testing.assert_array_equal(fuse(rule, each[0]), fuse("subnet0", *each))


@pytest.mark.parametrize("rule", RULES)
def test_order_of_the_groups_changes_nothing(rule):
    first, one, two = logits()
    swapped = fuse(rule, first, two, one, groups=GROUPS[::-1])
    np.testing.assert_allclose(fuse(rule, first, one, two), swapped, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_order_inside_a_group_changes_nothing(rule):
    first, one, two = logits()
    renamed = mx.nd.take(one, mx.nd.array([0, 3, 1, 2]), axis=1)
    found = fuse(rule, first, renamed, two, groups=((4, 0, 1), GROUPS[1]))
    np.testing.assert_allclose(fuse(rule, first, one, two), found, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_a_constant_added_to_a_subnets_logits_changes_nothing(rule):
    each = logits()
    moved = [x + c for x, c in zip(each, (7, -3, 2))]
    np.testing.assert_allclose(softmax(fuse(rule, *each)), softmax(fuse(rule, *moved)), rtol=1e-4)


@pytest.mark.parametrize("rule", ("subnet0", *RULES))
@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4])
def test_fused_scores_are_finite_at_any_size(rule, scale):
    fused = fuse(rule, *logits(scale))
    assert np.isfinite(fused).all()
    np.testing.assert_allclose(softmax(fused).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("rule", ("subnet0", *RULES))
def test_hybridized_fusion_equals_live_at_every_size(rule):
    live, hybrid = fusion.Fusion(GROUPS, CLASSES, rule), fusion.Fusion(GROUPS, CLASSES, rule)
    hybrid.hybridize()
    for size in ((4, 5), (1, 1), (7, 3)):
        each = [draw(c, size=size) for c in (CLASSES, 4, 3)]
        np.testing.assert_allclose(hybrid(*each).asnumpy(), live(*each).asnumpy(), rtol=1e-5, atol=1e-5)


def test_an_unknown_rule_is_answered_with_the_known():
    with pytest.raises(ValueError, match="residual_product"):
        fusion.Fusion(GROUPS, CLASSES, "max")
