"""Subnet heads: what they read, how they start, which settings belong to them."""

from __future__ import annotations

import dataclasses
import json

import mxnet as mx
import numpy as np
import pytest
from grids import Encoder, features
from mxnet import autograd

from gluon_confseg import encoders, fusion
from gluon_confseg.subnets import PLAIN, RESIDUAL, Gather, HeadSettings, PlainHead, ResidualHead


def started(head):
    head.initialize(mx.init.Xavier())
    return head


@pytest.mark.parametrize("stages", [(4,), (2, 3, 4), (1, 2, 3, 4), (1, 4)])
@pytest.mark.parametrize("output_stride", encoders.OUTPUT_STRIDES)
@pytest.mark.parametrize("height, width", [(32, 64), (33, 65), (47, 101)])
def test_features_of_any_stages_gather_on_the_last_ones_grid(stages, output_stride, height, width):
    encoder = Encoder(output_stride)
    gathered = started(Gather(encoder, stages))(*features(encoder, height, width))
    channels = sum(encoder.channels[s - 1] for s in stages)
    assert gathered.shape == (2, channels, -(-height // output_stride), -(-width // output_stride))


def test_the_last_stage_is_gathered_unchanged():
    encoder = Encoder(16)
    each = features(encoder, 47, 33)
    gathered = Gather(encoder, (2, 4))(*each).asnumpy()
    np.testing.assert_array_equal(gathered[:, -6:], each[3].asnumpy())


def test_finer_stages_are_pooled_where_a_strided_convolution_looks():
    """Feature (i, j) of the coarse grid is the largest about (2i, 2j) of the fine one."""
    encoder = Encoder(16)
    each = features(encoder, 48, 80)
    fine = np.pad(each[1].asnumpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    gathered = Gather(encoder, (2, 4))(*each).asnumpy()
    for i, j in ((0, 0), (1, 2), (2, 4)):
        window = fine[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        np.testing.assert_array_equal(gathered[:, :4, i, j], window.max((2, 3)))


@pytest.mark.parametrize("dilation", [1, 2, 12])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_plain_heads_keep_the_grid_at_any_depth_and_dilation(depth, dilation):
    encoder = Encoder(8)
    head = started(PlainHead(encoder, 7, HeadSettings(8, depth, dilation, (3, 4))))
    assert head(*features(encoder, 41, 57)).shape == (2, 7, 6, 8)
    weights = [k for k in head._collect_params_with_prefix() if k.endswith("weight")]
    assert len(weights) == depth


def test_the_default_head_is_that_of_the_resnet_38_authors():
    head = PlainHead(Encoder(8), 19)
    shapes = {k: p.shape for k, p in head._collect_params_with_prefix().items()}
    assert shapes == {
        "body.0.weight": (512, 6, 3, 3),
        "body.0.bias": (512,),
        "output.weight": (19, 512, 3, 3),
        "output.bias": (19,),
    }
    assert (PLAIN.channels, PLAIN.depth, PLAIN.dilation, PLAIN.stages) == (512, 2, 12, (4,))


@pytest.mark.parametrize("group", [(0, 1), (4, 2)])
def test_a_residual_head_starts_at_subnet_0_in_training_and_inference(group):
    encoder = Encoder(16)
    head, first = started(ResidualHead(encoder, group, 5, RESIDUAL)), mx.nd.random.normal(shape=(2, 5, 3, 4))
    each, wanted = features(encoder, 48, 64), fusion.view(first, group, 5).asnumpy()
    np.testing.assert_array_equal(head(first, *each).asnumpy(), wanted)
    with autograd.record():
        trained = head(first, *each)
    np.testing.assert_array_equal(trained.asnumpy(), wanted)


def test_a_residual_head_can_leave_its_start():
    encoder = Encoder(16)
    head, first = (
        started(ResidualHead(encoder, (0, 1), 5, HeadSettings(8, 2, 1, (2, 3, 4)))),
        mx.nd.zeros((2, 5, 3, 4)),
    )
    with autograd.record():
        loss = (head(first, *features(encoder, 48, 64)) ** 2).sum()
    loss.backward()
    assert head.output.weight.grad().abs().max().asscalar() > 0


def test_a_residual_head_does_not_care_for_the_scale_of_a_feature():
    encoder, group = Encoder(16), (0, 1)
    head = started(ResidualHead(encoder, group, 5, HeadSettings(8, 2, 1, (2, 3, 4))))
    head.output.initialize(mx.init.Normal(1), force_reinit=True)
    each, first = features(encoder, 48, 64), mx.nd.zeros((2, 5, 3, 4))
    outcomes = []
    for scale in (1, 50):
        with autograd.train_mode():
            outcomes.append(head(first, each[0], each[1] * scale, each[2], each[3] + scale).asnumpy())
    np.testing.assert_allclose(outcomes[0], outcomes[1], rtol=1e-2, atol=1e-3)


def test_a_residual_head_standardises_in_inference_as_it_learnt_to():
    encoder = Encoder(16)
    head = started(ResidualHead(encoder, (0, 1), 5, HeadSettings(8, 2, 1, (2, 3, 4))))
    each, first = [3 + 2 * x for x in features(encoder, 48, 64)], mx.nd.zeros((2, 5, 3, 4))
    for _ in range(60):
        with autograd.record():
            loss = head(first, *each).sum()
        loss.backward()
    gathered = head.gather(*each)
    with autograd.train_mode():
        training = head.standardise(gathered).asnumpy()
    np.testing.assert_allclose(head.standardise(gathered).asnumpy(), training, rtol=0.05, atol=0.05)


def test_heads_say_whether_they_read_subnet_0():
    assert ResidualHead.reads_subnet0 and not PlainHead.reads_subnet0


# ---- settings


def test_settings_left_out_are_the_published_ones_of_their_kind():
    assert HeadSettings() == HeadSettings(512, 2, 12, (4,))
    assert HeadSettings(kind="aspp_v3").channels == 256
    assert HeadSettings(kind="gcn").kernel == 15
    after = HeadSettings(context="gcn")
    assert (after.channels, after.depth, after.dilation, after.kernel) == (512, 2, 12, 15)


EVERY = (
    PLAIN,
    RESIDUAL,
    HeadSettings(kind="aspp_v2"),
    HeadSettings(kind="aspp_v2", rates=(1, 2)),
    HeadSettings(kind="aspp_v3", channels=8, rates=[3]),
    HeadSettings(kind="gcn", stages=(2, 4), kernel=7),
    HeadSettings(context="aspp", rates=(1, 2)),
    HeadSettings(context="gcn", depth=1),
)


@pytest.mark.parametrize("settings", EVERY)
def test_settings_survive_json(settings):
    again = HeadSettings(**json.loads(json.dumps(dataclasses.asdict(settings))))
    assert again == settings and hash(again) == hash(settings)


def test_settings_of_older_checkpoints_are_those_of_a_plain_head():
    older = {"channels": 64, "depth": 3, "dilation": 2, "stages": [2, 3]}
    assert HeadSettings(**older) == HeadSettings(64, 3, 2, (2, 3), kind="plain", context=None)


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"kind": "psp"}, "no head 'psp': choose one of plain, aspp_v2, aspp_v3, gcn"),
        ({"context": "psp"}, "no context 'psp': choose None or one of aspp, gcn"),
        ({"kind": "gcn", "context": "aspp"}, "before plain heads, not before 'gcn'"),
        ({"kind": "gcn", "depth": 2}, "a gcn head has no depth: its settings are stages, kernel"),
        ({"kind": "gcn", "channels": 512}, "no channels"),
        ({"kind": "gcn", "rates": (6,)}, "no rates"),
        ({"kind": "aspp_v2", "channels": 8}, "aspp_v2 head has no channels"),
        ({"kind": "aspp_v3", "dilation": 1}, "no dilation"),
        ({"kind": "aspp_v3", "kernel": 15}, "no kernel"),
        ({"kernel": 15}, "a plain head has no kernel"),
        ({"rates": (6, 12)}, "a plain head has no rates"),
        ({"context": "gcn", "rates": (6,)}, "a plain head after gcn has no rates"),
        ({"kind": "gcn", "kernel": 14}, "odd.*14"),
        ({"kind": "aspp_v2", "rates": ()}, "rates"),
        ({"kind": "aspp_v2", "rates": (6, 0)}, "rates.*from 1"),
        ({"kind": "aspp_v2", "rates": (1.5,)}, "rates.*whole"),
        ({"depth": 0}, "depth.*from 1"),
        ({"channels": -4}, "channels.*from 1"),
        ({"dilation": 0}, "dilation.*from 1"),
    ],
)
def test_settings_that_would_do_nothing_or_make_no_sense_are_refused(settings, named):
    with pytest.raises(ValueError, match=named):
        HeadSettings(**settings)


@pytest.mark.parametrize("kind", ["aspp_v2", "aspp_v3", "gcn"])
def test_residual_heads_are_plain_ones(kind):
    with pytest.raises(ValueError, match=f"plain heads, got '{kind}'"):
        ResidualHead(Encoder(8), (0, 1), 5, HeadSettings(kind=kind))
