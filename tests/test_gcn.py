"""Global convolution and boundary refinement, against convolutions written out in NumPy."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest
from grids import Encoder, arrays, convolve, features, reached, started

from gluon_confseg.subnets import (
    GCN,
    BoundaryRefinement,
    GCNHead,
    GlobalConvolution,
    HeadSettings,
    build_head,
)


def noise(*shape) -> np.ndarray:
    return np.random.RandomState(0).normal(size=shape)


def both_paths(values: dict, x, prefix: str = "") -> np.ndarray:
    total = 0
    for layers in (("tall", "then_wide"), ("wide", "then_tall")):
        path = x
        for layer in layers:
            path = convolve(path, values[f"{prefix}{layer}.weight"], values[f"{prefix}{layer}.bias"])
        total = total + path
    return total


def refined(values: dict, x, prefix: str = "") -> np.ndarray:
    weights = [values[f"{prefix}conv{i}.{part}"] for i in (1, 2) for part in ("weight", "bias")]
    return x + convolve(np.maximum(convolve(x, *weights[:2]), 0), *weights[2:])


@pytest.mark.parametrize("kernel", [1, 3, 7, 15])
def test_a_global_convolution_is_the_sum_of_its_two_paths(kernel):
    block, x = started(GlobalConvolution(3, 4, kernel)), noise(2, 3, 6, 9)
    wanted = both_paths(arrays(block), x)
    np.testing.assert_allclose(block(mx.nd.array(x)).asnumpy(), wanted, rtol=1e-3, atol=1e-4)


def test_separable_kernels_give_a_dense_large_convolution():
    """Of one channel, with one path switched off, k x 1 then 1 x k is the k x k kernel of their outer product."""
    block, kernel = started(GlobalConvolution(1, 1, 7)), 7
    for name in ("tall.bias", "then_wide.bias", "then_tall.weight", "then_tall.bias"):
        parameter = block._collect_params_with_prefix()[name]
        parameter.set_data(mx.nd.zeros(parameter.shape))
    values, x = arrays(block), noise(1, 1, 12, 13)
    dense = np.outer(values["tall.weight"].ravel(), values["then_wide.weight"].ravel())
    assert dense.shape == (kernel, kernel)
    np.testing.assert_allclose(
        block(mx.nd.array(x)).asnumpy(), convolve(x, dense[None, None]), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("kernel", [3, 15])
def test_a_pixel_reaches_the_whole_square_of_the_kernel(kernel):
    half = range(-(kernel // 2), kernel // 2 + 1)
    block = started(GlobalConvolution(3, 2, kernel))
    assert reached(block, 21, 3, (10, 10)) == {(i, j) for i in half for j in half}


def test_boundary_refinement_adds_two_convolutions():
    block, x = started(BoundaryRefinement(4)), noise(2, 4, 6, 9)
    wanted = refined(arrays(block), x)
    np.testing.assert_allclose(block(mx.nd.array(x)).asnumpy(), wanted, rtol=1e-4, atol=1e-5)


def test_boundary_refinement_with_a_zero_second_convolution_is_the_identity():
    block, x = started(BoundaryRefinement(4)), mx.nd.array(noise(2, 4, 6, 9))
    for parameter in block.conv2.collect_params().values():
        parameter.set_data(mx.nd.zeros(parameter.shape))
    np.testing.assert_array_equal(block(x).asnumpy(), x.asnumpy())


def initial(block):
    """The block with the values that `network.build` gives it."""
    block.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2))
    return block


@pytest.mark.parametrize("scores, least, most", [(True, 0, 0.3), (False, 0.7, 2)])
def test_scores_start_near_0_and_features_as_large_as_what_they_come_from(scores, least, most):
    x = mx.nd.array(noise(2, 16, 24, 24))
    added = initial(GCN(16, 16, 5, scores))(x).asnumpy()
    assert least < added.std() / x.asnumpy().std() < most


def test_boundary_refinement_starts_near_the_identity():
    block, x = initial(BoundaryRefinement(19)), mx.nd.array(noise(2, 19, 16, 16))
    added = (block(x) - x).asnumpy()
    assert 0 < added.std() < 0.3 * x.asnumpy().std()


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("stages", [(4,), (3, 4), (2, 3, 4), (1, 2, 3, 4)])
@pytest.mark.parametrize("height, width", [(32, 64), (47, 101)])
def test_scores_of_any_stages_come_out_on_the_last_ones_grid(stride, stages, height, width):
    encoder = Encoder(stride)
    head = started(GCNHead(encoder, 7, HeadSettings(kind="gcn", kernel=5, stages=stages)))
    size = (-(-height // stride), -(-width // stride))
    assert head(*features(encoder, height, width)).shape == (2, 7, *size)


def test_scores_are_summed_from_the_last_stage_to_the_first_and_refined_after_each_sum():
    encoder = Encoder(8)  # whose stages 2 to 4 share one grid
    head = started(GCNHead(encoder, 4, HeadSettings(kind="gcn", kernel=3, stages=(2, 3, 4))))
    values, each = arrays(head), [x.asnumpy() for x in features(encoder, 41, 57)]
    scores = [
        refined(
            values,
            both_paths(values, each[stage - 1], f"scores.{i}.convolution."),
            f"scores.{i}.refinement.",
        )
        for i, stage in enumerate((4, 3, 2))
    ]
    wanted = refined(values, scores[0] + scores[1], "refinements.0.")
    wanted = refined(values, wanted + scores[2], "refinements.1.")
    np.testing.assert_allclose(head(*features(encoder, 41, 57)).asnumpy(), wanted, rtol=1e-3, atol=1e-4)


def test_one_stage_is_one_gcn():
    head = started(GCNHead(Encoder(16), 4, HeadSettings(kind="gcn")))
    assert len(head.refinements) == 0
    block = GCN(6, 4, 15)
    block.initialize()
    ours, its = block._collect_params_with_prefix(), head.scores[0]._collect_params_with_prefix()
    assert {k: p.shape for k, p in ours.items()} == {k: p.shape for k, p in its.items()}
    assert head.scores[0].convolution.tall.weight.shape == (4, 6, 15, 1)


@pytest.mark.parametrize("stages", [(), (0, 4), (3, 5)])
def test_stages_that_the_encoder_lacks_are_refused(stages):
    with pytest.raises(ValueError, match="stages 1 to 4"):
        build_head(Encoder(8), 3, HeadSettings(kind="gcn", stages=stages))
