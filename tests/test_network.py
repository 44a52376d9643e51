"""One encoder, M subnets, one fused network: shapes, order, start, and what a checkpoint keeps of them."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest
import small

from gluon_confseg import export, fusion, labels, network, runtime
from gluon_confseg.subnets import HeadSettings

KINDS = network.SUBNETS
SIZES = ((32, 64), (33, 65), (47, 101))
LAST = HeadSettings(channels=4, depth=2, dilation=1, stages=(2, 4))


@pytest.fixture(scope="module")
def networks() -> dict:
    last = {"head": LAST, "subnet_heads": LAST, "last_stage": 4}
    built = {(kind, stride): small.shaken(kind, stride=stride) for kind in KINDS for stride in (8, 16)}
    return {**built, ("residual", 32): small.shaken("residual", stride=32, **last)}


@pytest.mark.parametrize("kind, stride", [*((k, s) for k in KINDS for s in (8, 16)), ("residual", 32)])
@pytest.mark.parametrize("height, width", SIZES)
def test_logits_are_subnet_0_first_then_the_groups_in_order_rounded_up(networks, kind, stride, height, width):
    each = networks[kind, stride](small.images(height=height, width=width))
    assert isinstance(each, tuple)
    size = (-(-height // stride), -(-width // stride))
    assert [x.shape for x in each] == [(2, 5, *size), (2, 3, *size), (2, 3, *size)]


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("height, width", SIZES)
def test_fused_scores_have_the_images_size_and_sum_to_1(networks, stride, height, width):
    for rule in fusion.RULES:
        fused = network.FusedNetwork(networks["residual", stride], rule)
        scores = fused(small.images(height=height, width=width)).asnumpy()
        assert scores.shape == (2, 5, height, width)
        assert (scores >= 0).all()
        np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", fusion.RULES)
def test_hybridized_equals_live_at_every_size(networks, kind, rule):
    live = network.FusedNetwork(networks[kind, 16], rule)
    hybrid = network.FusedNetwork(networks[kind, 16], rule)
    wanted = [live(small.images(height=h, width=w)).asnumpy() for h, w in SIZES]
    hybrid.hybridize()
    for scores, (height, width) in zip(wanted, SIZES):
        found = hybrid(small.images(height=height, width=width)).asnumpy()
        np.testing.assert_allclose(found, scores, rtol=1e-5, atol=1e-6)
    hybrid.hybridize(active=False)


def test_residual_subnets_start_at_subnet_0():
    built = small.build("residual")
    first, *others = built(small.images())
    for logits, group in zip(others, built.groups):
        np.testing.assert_array_equal(logits.asnumpy(), fusion.view(first, group, 5).asnumpy())
    alone, fused = (network.FusedNetwork(built, rule) for rule in ("subnet0", "residual_product"))
    np.testing.assert_array_equal(fused(small.images()).asnumpy(), alone(small.images()).asnumpy())


def test_without_groups_every_rule_is_subnet_0(networks):
    built = small.build(groups=())
    wanted = network.FusedNetwork(built, "subnet0")(small.images()).asnumpy()
    for rule in fusion.RULES:
        np.testing.assert_array_equal(network.FusedNetwork(built, rule)(small.images()).asnumpy(), wanted)


def test_a_sample_does_not_depend_on_its_batch(networks):
    fused, images = network.FusedNetwork(networks["residual", 16], "sum"), small.images(count=3)
    together = fused(images).asnumpy()
    for n in range(3):
        np.testing.assert_allclose(fused(images[n : n + 1]).asnumpy()[0], together[n], rtol=1e-4, atol=1e-6)


def test_scores_without_enlarging_stay_on_the_grid(networks):
    fused = network.FusedNetwork(networks["residual", 8], "sum", with_image_size=False)
    assert fused(small.images(height=33, width=65)).shape == (2, 5, 5, 9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [(), small.GROUPS, ((0, 1, 2),)])
def test_settings_build_the_same_network_again(kind, groups):
    built = small.build(kind, groups)
    again = network.from_settings(built.settings)
    assert again.settings == built.settings
    assert [(k, v.shape) for k, v in small.values(again).items()] == [
        (k, v.shape) for k, v in small.values(built).items()
    ]


def test_settings_are_plain_data():
    import json

    built = small.build()
    assert json.loads(json.dumps(built.settings)) == {**built.settings, **json_heads(built.settings)}
    assert network.from_settings(json.loads(json.dumps(built.settings))).groups == built.groups


def json_heads(settings: dict) -> dict:
    """Tuples of stages are lists in JSON."""
    heads = [{**head, "stages": list(head["stages"])} for head in settings["subnet_heads"]]
    return {"head": {**settings["head"], "stages": list(settings["head"]["stages"])}, "subnet_heads": heads}


def test_the_seed_decides_the_initial_values():
    first, again, other = small.build(seed=1), small.build(seed=1), small.build(seed=2)
    assert small.same_bits(small.values(first), small.values(again))
    assert not small.same_bits(small.values(first), small.values(other))


def test_initialize_as_gluon_users_type_it_says_and_changes_nothing(recwarn):
    built, images = small.build("residual"), small.images()
    before = built(images)[0].asnumpy()
    recwarn.clear()
    built.initialize()
    built.initialize(mx.init.Xavier(), ctx=[mx.cpu(0), mx.cpu(1)])
    assert not recwarn.list and next(iter(built.collect_params().values())).list_ctx() == [
        mx.cpu(0),
        mx.cpu(1),
    ]
    np.testing.assert_array_equal(built(images)[0].asnumpy(), before)
    built.initialize(mx.init.One(), force_reinit=True)
    assert (built(images)[0].asnumpy() != before).any()


def test_the_first_six_settings_may_be_given_by_position():
    """As programs do that were written when all could be."""
    from gluon_confseg import heads

    head = heads.HeadSettings(channels=8, depth=2, dilation=2, stages=(3,))
    further = {"subnet_heads": small.SUBNET_HEAD, "last_stage": 3}
    runtime.seed(0)
    built = network.build("resnet18", small.CLASSES, small.GROUPS, 16, "residual", head, **further)
    assert built.settings == small.build().settings
    assert small.same_bits(small.values(built), small.values(small.build()))
    with pytest.raises(TypeError, match="positional"):
        network.build("resnet18", small.CLASSES, (), 16, "residual", head, small.SUBNET_HEAD)


def test_the_earlier_name_of_subnets_has_all_of_its_names():
    from gluon_confseg import heads, subnets

    assert heads.__all__ == subnets.__all__ and heads.build is subnets.build_head
    assert all(getattr(heads, name) is getattr(subnets, name) for name in heads.__all__)


def test_each_group_may_have_a_head_of_its_own():
    heads = [HeadSettings(4, 2, 1, (3,)), HeadSettings(6, 3, 1, (1, 3))]
    built = small.build("plain", subnet_heads=heads)
    shapes = {k: v.shape for k, v in small.values(built).items()}
    assert shapes["subnets.0.body.0.weight"] == (4, 256, 3, 3)
    assert shapes["subnets.1.body.0.weight"] == (6, 64 + 256, 3, 3)
    assert shapes["subnets.0.output.weight"][0] == shapes["subnets.1.output.weight"][0] == 3


def test_groups_may_be_confusing_groups():
    from gluon_confseg.groups import PAPER

    heads = {"head": small.HEAD, "subnet_heads": small.SUBNET_HEAD, "last_stage": 3}
    built = network.build("resnet18", 19, groups=PAPER["cityscapes"], output_stride=16, **heads)
    assert [x.shape[1] for x in built(small.images())] == [19, 7, 5, 5]


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"encoder": "alexnet"}, "resnet101"),
        ({"output_stride": 12}, "output stride"),
        ({"subnets": "deep"}, "plain, residual"),
        ({"groups": [(1,)]}, "2 to 5 different classes"),
        ({"groups": [(1, 1)]}, "different"),
        ({"groups": [(0, 1, 2, 3, 4, 4)]}, "2 to 5 different classes"),
        ({"groups": [(3, 5)]}, "outside 0-4"),
        ({"groups": [(-1, 2)]}, "outside 0-4"),
        ({"groups": [(0, 1)], "subnet_heads": [small.HEAD, small.HEAD]}, "2 head settings for 1 groups"),
        ({"head": HeadSettings(stages=(3, 5))}, "stages 1 to 4"),
        ({"head": HeadSettings(stages=())}, "stages 1 to 4"),
        ({"output_stride": 16, "last_stage": 3}, "stages 1 to 3"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, named):
    with pytest.raises(ValueError, match=named):
        network.build(**{"encoder": "resnet18", "num_classes": 5, **settings})


def test_an_unknown_rule_is_refused(networks):
    with pytest.raises(ValueError, match="residual_product"):
        network.FusedNetwork(networks["plain", 16], "median")


def test_fused_network_of_subnet_0_runs_no_further_subnet(networks):
    built = networks["residual", 16]
    graph = network.FusedNetwork(built, "subnet0")(mx.sym.var("data"))
    used = set(graph.list_arguments())
    further = {p.name for p in built.subnets.collect_params().values()}
    assert further and not used & further


@pytest.mark.parametrize("encoder, mean", [("resnet18", 0.485), ("efficientnet_lite0", 127 / 255)])
def test_images_are_normalised_as_the_encoder_was_trained(encoder, mean):
    built = network.build(encoder, small.CLASSES, output_stride=16, head=small.HEAD, last_stage=3)
    assert built.normalisation["mean"][0] == pytest.approx(mean)
    about = export.describe(built, "subnet0", labels.CAMVID)
    assert about["mean"] == list(built.normalisation["mean"])
    assert about["std"] == list(built.normalisation["std"])
