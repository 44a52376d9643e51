"""ASPP of DeepLabV2 and V3, against convolutions written out in NumPy."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest
from grids import Encoder, arrays, convolve, features, reached, started
from mxnet import autograd

from gluon_confseg.errors import RunError
from gluon_confseg.subnets import AsppV2, AsppV3, HeadSettings, PlainHead, ResidualHead, build_head
from gluon_confseg.subnets.aspp import ImagePooling, published_rates

V3 = HeadSettings(kind="aspp_v3", channels=4)


def noise(*shape) -> np.ndarray:
    return np.random.RandomState(0).normal(size=shape)


def activated(values: dict, name: str, x, dilation: int = 1) -> np.ndarray:
    """Convolution, batch norm by running statistics, ReLU: layers 0 to 2 of the sequence `name`."""
    x = convolve(x, values[f"{name}.0.weight"], dilation=dilation)
    gamma, beta, mean, var = (
        values[f"{name}.1.{part}"][:, None, None] for part in ("gamma", "beta", "running_mean", "running_var")
    )
    return np.maximum((x - mean) / np.sqrt(var + 1e-5) * gamma + beta, 0)


def test_v2_is_the_sum_of_its_dilated_convolutions():
    block, x, rates = started(AsppV2(3, 5, (1, 2, 6))), noise(2, 3, 9, 14), (1, 2, 6)
    values = arrays(block)
    wanted = sum(
        convolve(x, values[f"branches.{b}.weight"], values[f"branches.{b}.bias"], rate)
        for b, rate in enumerate(rates)
    )
    np.testing.assert_allclose(block(mx.nd.array(x)).asnumpy(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rates", [(2,), (1, 2, 6)])
def test_v3_concatenates_its_branches_and_the_images_mean_and_projects(rates):
    block, x = started(AsppV3(3, 4, rates)), noise(2, 3, 9, 14)
    values = arrays(block)
    branches = [activated(values, "branches.0", x)]
    branches += [activated(values, f"branches.{b}", x, rate) for b, rate in enumerate(rates, 1)]
    pooled = activated(values, "pooling.body", x.mean((2, 3), keepdims=True))
    branches.append(np.broadcast_to(pooled, (2, 4, 9, 14)))
    wanted = activated(values, "projection", np.concatenate(branches, 1))
    assert (wanted > 0).any()
    np.testing.assert_allclose(block(mx.nd.array(x)).asnumpy(), wanted, rtol=1e-4, atol=1e-5)


def test_image_pooling_is_constant_over_the_grid_and_does_not_depend_on_its_size():
    block, tile = started(ImagePooling(3, 8)), noise(2, 3, 5, 4)
    small = block(mx.nd.array(tile)).asnumpy()
    large = block(mx.nd.array(np.tile(tile, (1, 1, 3, 2)))).asnumpy()
    assert large.shape == (2, 8, 15, 8) and small.any()
    np.testing.assert_allclose(large, np.broadcast_to(small[:, :, :1, :1], large.shape), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rates", [(2, 7), (6, 12, 18, 24)])
def test_a_pixel_reaches_as_far_as_the_rates_say_and_nowhere_else(rates):
    block = started(AsppV2(3, 2, rates))
    wanted = {(i * rate, j * rate) for rate in rates for i in (-1, 0, 1) for j in (-1, 0, 1)}
    assert reached(block, 51, 3, (25, 25)) == wanted


def test_v3_reaches_everywhere_through_the_images_mean():
    block = started(AsppV3(3, 4, (2,)))
    x = mx.nd.array(noise(1, 3, 21, 21))
    before = block(x).asnumpy()
    x[:, :, 10, 10] += 400
    changed = (block(x).asnumpy() != before).any((0, 1))
    assert changed.mean() > 0.9 and changed[0, 0]


@pytest.mark.parametrize(
    "kind, stride, rates",
    [
        ("aspp_v2", 8, (6, 12, 18, 24)),
        ("aspp_v3", 8, (12, 24, 36)),
        ("aspp_v3", 16, (6, 12, 18)),
        ("aspp_v3", 32, (3, 6, 9)),
    ],
)
def test_published_rates_are_the_default(kind, stride, rates):
    assert published_rates(kind, stride) == rates
    head = build_head(Encoder(stride), 7, HeadSettings(kind=kind))
    dilations = [layer._kwargs["dilate"] for layer in convolutions(head.aspp.branches)]
    assert dilations == [(rate, rate) for rate in ((1,) if kind == "aspp_v3" else ()) + rates]


def convolutions(block) -> list:
    found = []
    block.apply(lambda child: found.append(child) if isinstance(child, mx.gluon.nn.Conv2D) else None)
    return found


def test_the_default_v3_head_is_256_wide():
    shapes = {
        k: p.shape
        for k, p in build_head(Encoder(8), 7, HeadSettings(kind="aspp_v3"))
        ._collect_params_with_prefix()
        .items()
    }
    weights = {k: shape for k, shape in shapes.items() if k.endswith("weight")}
    assert weights == {
        "aspp.branches.0.0.weight": (256, 6, 1, 1),
        **{f"aspp.branches.{b}.0.weight": (256, 6, 3, 3) for b in (1, 2, 3)},
        "aspp.pooling.body.0.weight": (256, 6, 1, 1),
        "aspp.projection.0.weight": (256, 5 * 256, 1, 1),
        "output.weight": (7, 256, 1, 1),
    }


# ---- image pooling normalises over images: one alone has no variance


def heads_with_image_pooling() -> list:
    after = HeadSettings(channels=4, depth=2, dilation=1, context="aspp")
    encoder = Encoder(16)
    return [build_head(encoder, 3, V3), PlainHead(encoder, 3, after), ResidualHead(encoder, (0, 1), 5, after)]


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("number", range(3))
def test_training_on_one_image_is_refused_and_inference_is_not(number, hybrid):
    head, each = started(heads_with_image_pooling()[number]), features(Encoder(16), 48, 64)
    if hybrid:
        head.hybridize()
    inputs = ([mx.nd.zeros((2, 5, 3, 4))] if head.reads_subnet0 else []) + list(each)
    alone = [x[:1] for x in inputs]
    assert head(*alone).shape == (1, 3, 3, 4)
    with autograd.record():
        assert head(*inputs).shape == (2, 3, 3, 4)
        with pytest.raises(RunError, match="batch of 2 or more, or freeze"):
            head(*alone)


def test_training_on_one_image_is_fine_where_batch_norm_uses_global_statistics():
    head = started(build_head(Encoder(16), 3, V3))
    for layer in head.aspp.pooling.body:
        if isinstance(layer, mx.gluon.nn.BatchNorm):
            layer._kwargs["use_global_stats"] = True
    with autograd.record():
        assert head(*(x[:1] for x in features(Encoder(16), 48, 64))).shape == (1, 3, 3, 4)


@pytest.mark.parametrize(
    "settings", [HeadSettings(kind="aspp_v2"), HeadSettings(channels=4), HeadSettings(kind="gcn")]
)
def test_other_heads_train_on_one_image(settings):
    head, alone = (
        started(build_head(Encoder(16), 3, settings)),
        [x[:1] for x in features(Encoder(16), 48, 64)],
    )
    with autograd.record():
        assert head(*alone).shape == (1, 3, 3, 4)
