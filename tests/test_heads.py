"""Subnet heads: what they read, how they start."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd

from gluon_confseg import encoders, fusion
from gluon_confseg.heads import PLAIN, RESIDUAL, Gather, HeadSettings, PlainHead, ResidualHead


class Encoder:
    """Only what a head asks of an encoder."""

    channels = (3, 4, 5, 6)

    def __init__(self, output_stride: int):
        self.output_stride = output_stride
        self.strides = tuple(min(s, output_stride) for s in (4, 8, 16, 32))


def features(encoder, height: int, width: int, seed: int = 0) -> tuple:
    draws = np.random.RandomState(seed)
    return tuple(
        mx.nd.array(draws.normal(size=(2, channels, -(-height // stride), -(-width // stride))))
        for channels, stride in zip(encoder.channels, encoder.strides)
    )


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
