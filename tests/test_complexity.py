"""Parameters and multiply-adds: counted by hand on small networks, published on known ones."""

from __future__ import annotations

import gluon_confseg  # noqa: F401  before MXNet

# isort: split
import mxnet as mx
import pytest
from gluoncv.model_zoo import mobilenet, resnetv1b
from mxnet import gluon
from mxnet.gluon import nn

from gluon_confseg import complexity, encoders

SHAPE = (1, 4, 10, 12)


@pytest.mark.parametrize(
    "layer, parameters, multiply_adds",
    [
        (nn.Conv2D(6, 3, padding=1, use_bias=False), 6 * 4 * 9, 6 * 4 * 9 * 10 * 12),
        (nn.Conv2D(6, 3, padding=1), 6 * 4 * 9 + 6, 6 * 4 * 9 * 10 * 12),
        (nn.Conv2D(6, 3, 2, 1, use_bias=False), 6 * 4 * 9, 6 * 4 * 9 * 5 * 6),
        (nn.Conv2D(6, 3, groups=2, padding=1, use_bias=False), 6 * 2 * 9, 6 * 2 * 9 * 10 * 12),
        (nn.Conv2D(6, (1, 3), 1, (0, 2), (1, 2), use_bias=False), 6 * 4 * 3, 6 * 4 * 3 * 10 * 12),
        (nn.Conv2D(6, 3, dilation=2, use_bias=False), 6 * 4 * 9, 6 * 4 * 9 * 6 * 8),
        (nn.Conv2DTranspose(6, 4, 2, 1, use_bias=False), 4 * 6 * 16, 4 * 6 * 16 * 10 * 12),
        (
            nn.Conv2DTranspose(6, 4, 2, 1, groups=2, use_bias=False, in_channels=4),
            4 * 3 * 16,
            4 * 3 * 16 * 10 * 12,
        ),
        (nn.Dense(7), 7 * 480 + 7, 7 * 480),
        (nn.Dense(7, flatten=False, use_bias=False), 7 * 12, 7 * 12 * 4 * 10),
        (nn.BatchNorm(), 8, 0),
        (nn.BatchNorm(scale=False), 4, 0),
        (nn.MaxPool2D(), 0, 0),
    ],
)
def test_a_layer_counts_as_by_hand(layer, parameters, multiply_adds):
    assert complexity.parameters(layer, SHAPE) == parameters
    assert complexity.multiply_adds(layer, SHAPE) == multiply_adds
    assert complexity.multiply_adds(layer, (3, *SHAPE[1:])) == 3 * multiply_adds


class Twice(gluon.HybridBlock):
    """The same convolution on its own output; two outputs."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2D(4, 3, 2, 1, use_bias=False)

    def hybrid_forward(self, F, x):
        x = self.layer(x)
        return x, self.layer(x)


def test_a_shared_layer_is_one_set_of_parameters_that_works_twice():
    assert complexity.parameters(Twice(), SHAPE) == 4 * 4 * 9
    assert complexity.multiply_adds(Twice(), SHAPE) == 4 * 4 * 9 * (5 * 6 + 3 * 3)


@pytest.mark.parametrize(
    "make, millions, billions",
    [
        (resnetv1b.resnet18_v1b, 11.69, 1.81),
        (resnetv1b.resnet50_v1b, 25.56, 4.09),
        (resnetv1b.resnet101_v1b, 44.55, 7.80),
        (mobilenet.mobilenet_v2_1_0, 3.50, 0.30),
    ],
)
def test_known_classifiers_have_their_published_figures(make, millions, billions):
    network = make()
    assert round(complexity.parameters(network) / 1e6, 2) == millions
    assert round(complexity.multiply_adds(network) / 1e9, 2) == billions


def test_counting_leaves_the_block_without_values_and_open_sizes_open():
    network = encoders.build("resnet18")
    complexity.parameters(network), complexity.multiply_adds(network, (1, 3, 1024, 2048))
    assert all(p._data is None for p in network.collect_params().values())
    assert network.layer1[0].conv1.weight.shape == (64, 0, 3, 3)


def test_counts_are_the_same_frozen_hybridized_and_initialised():
    network = encoders.build("resnet18", 16)
    before = complexity.parameters(network), complexity.multiply_adds(network)
    network.initialize()
    network.hybridize()
    network(mx.nd.zeros((1, 3, 32, 32)))
    network.collect_params().setattr("grad_req", "null")
    assert (complexity.parameters(network), complexity.multiply_adds(network)) == before


def test_half_the_output_stride_makes_the_dilated_stages_four_times_as_long():
    stage4 = [
        complexity.multiply_adds(encoders.build("resnet50", s))
        - complexity.multiply_adds(encoders.build("resnet50", s, last_stage=3))
        for s in (8, 16)
    ]
    assert stage4[0] == 4 * stage4[1]


def test_a_parameter_that_the_input_does_not_reach_is_named():
    class Idle(gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Dense(2), nn.Dense(3, prefix="idle_")

        def hybrid_forward(self, F, x):
            return self.used(x)

    with pytest.raises(ValueError, match="idle_weight is open"):
        complexity.parameters(Idle(), SHAPE)
