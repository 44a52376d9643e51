"""ResNet v1b encoders: the features are GluonCV's own, at any output stride and size."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest
import small
from gluoncv.model_zoo import model_store, resnetv1b
from mxnet.gluon import nn

from gluon_confseg import encoders
from gluon_confseg.errors import WeightsError

STRIDES = encoders.OUTPUT_STRIDES
RESNETS = tuple(name for name in encoders.NAMES if name != "resnet38")


def encoder(output_stride: int, values: dict, last_stage: int = 4):
    built = encoders.build("resnet18", output_stride, last_stage=last_stage)
    built.initialize(mx.init.Zero())
    for key, parameter in built._collect_params_with_prefix().items():
        parameter.set_data(mx.nd.array(values[key]))
    return built


@pytest.fixture(scope="module")
def reference():
    """GluonCV's ResNet-18 with drawn values, statistics included: (network without strides, its values)."""
    own = resnetv1b.resnet18_v1b(dilated=True, classes=10)
    own.initialize(mx.init.Xavier())
    own(mx.nd.zeros((1, 3, 32, 32)))
    draws = np.random.RandomState(0)
    for name, parameter in sorted(own._collect_params_with_prefix().items()):
        if name.endswith(("running_mean", "running_var", "beta", "gamma")):
            parameter.set_data(mx.nd.array(draws.uniform(0.5, 1.5, parameter.shape)))
    values = {k: v for k, v in small.values(own).items() if not k.startswith("fc")}
    return own, values


@pytest.mark.parametrize("hybrid", [False, True])
def test_features_at_stride_8_are_gluoncvs_own(reference, hybrid):
    own, values = reference
    built, images = encoder(8, values), small.images(height=45, width=64)
    if hybrid:
        built.hybridize()
    stages = own.maxpool(own.relu(own.bn1(own.conv1(images))))
    for layer, features in zip((own.layer1, own.layer2, own.layer3, own.layer4), built(images)):
        stages = layer(stages)
        np.testing.assert_allclose(features.asnumpy(), stages.asnumpy(), rtol=1e-5, atol=1e-5)
    pooled = own.fc(own.flat(own.avgpool(built(images)[3])))
    np.testing.assert_allclose(pooled.asnumpy(), own(images).asnumpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("height, width", [(64, 32), (45, 77)])
def test_features_of_a_finer_stride_hold_those_of_stride_32(reference, output_stride, height, width):
    """Dilation in the place of a stride: every second (fourth) feature is the coarse one."""
    _, values = reference
    images = small.images(1, 1, height, width)
    fine, coarse = encoder(output_stride, values), encoder(32, values)
    for own, other, stride, coarser in zip(fine(images), coarse(images), fine.strides, coarse.strides):
        step = coarser // stride
        np.testing.assert_allclose(own[:, :, ::step, ::step].asnumpy(), other.asnumpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("output_stride", STRIDES)
@pytest.mark.parametrize("height, width", [(32, 64), (33, 65), (47, 101), (7, 1)])
def test_shapes_round_up_at_every_stage(reference, output_stride, height, width):
    built = encoder(output_stride, reference[1])
    features = built(small.images(0, 1, height, width))
    for stage, channels, stride in zip(features, built.channels, built.strides):
        assert stage.shape == (1, channels, -(-height // stride), -(-width // stride))
    assert built.strides[-1] == output_stride


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_all_strides_have_the_same_parameters(name):
    shapes = []
    for stride in STRIDES:
        built = encoders.build(name, stride)
        built.infer_shape(mx.nd.zeros((1, 3, 32, 32)))
        shapes.append({k: p.shape for k, p in built._collect_params_with_prefix().items()})
    assert shapes[0] == shapes[1] == shapes[2]


@pytest.mark.parametrize("output_stride", [8, 16])
def test_without_its_last_stage_an_encoder_is_the_same_up_to_there(reference, output_stride):
    _, values = reference
    images, whole = small.images(height=45), encoder(output_stride, values)
    short = encoder(output_stride, values, last_stage=3)
    assert short.channels == whole.channels[:3] and short.strides == whole.strides[:3]
    assert not any(name.startswith("layer4") for name in short._collect_params_with_prefix())
    for features, wanted in zip(short(images), whole(images)[:3]):
        np.testing.assert_array_equal(features.asnumpy(), wanted.asnumpy())


@pytest.mark.parametrize("name, blocks", list(zip(RESNETS, (8, 16, 16, 33, 50))))
def test_blocks_and_channels_are_those_of_the_name(name, blocks):
    built = encoders.build(name, 16)
    assert sum(len(getattr(built, f"layer{i}")) for i in (1, 2, 3, 4)) == blocks
    basic = name in ("resnet18", "resnet34")
    assert built.channels == ((64, 128, 256, 512) if basic else (256, 512, 1024, 2048))


@pytest.mark.parametrize("output_stride", STRIDES)
def test_pretrained_values_arrive_at_every_stride(tmp_path, monkeypatch, output_stride):
    zoo = resnetv1b.resnet18_v1b()
    zoo.initialize(mx.init.Uniform(1))
    zoo(mx.nd.zeros((1, 3, 32, 32)))
    mx.nd.waitall()
    zoo.save_parameters(str(tmp_path / "zoo.params"))
    monkeypatch.setattr(model_store, "get_model_file", lambda name, tag: str(tmp_path / "zoo.params"))
    found = small.values(encoders.build("resnet18", output_stride, pretrained=True))
    wanted = {k: v for k, v in small.values(zoo).items() if not k.startswith("fc")}
    assert small.same_bits(found, wanted)


def test_a_zoo_out_of_reach_is_one_sentence_with_ways_out(monkeypatch):
    def offline(name, tag):
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(model_store, "get_model_file", offline)
    with pytest.raises(WeightsError, match="resnet34_v1b.*no route to host.*--weights") as caught:
        encoders.build("resnet34", pretrained=True)
    assert "\n" not in str(caught.value)


def test_building_without_pretrained_weights_asks_no_zoo(monkeypatch):
    monkeypatch.setattr(model_store, "get_model_file", None)
    for stride in STRIDES:
        encoders.build("resnet18", stride)


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"name": "vgg16"}, "resnet101"),
        ({"name": "resnet18", "output_stride": 4}, "16"),
        ({"name": "resnet18", "last_stage": 2}, "stage 4"),
        ({"name": "resnet18", "output_stride": 32, "last_stage": 3}, "stride 8 or 16"),
        ({"name": "resnet38", "last_stage": 3}, "v1b"),
    ],
)
def test_unknown_settings_are_answered_with_the_known(settings, named):
    with pytest.raises(ValueError, match=named):
        encoders.build(**settings)


def test_batch_norms_are_everywhere_gluons_own():
    """What freezes them knows one kind."""
    norms = []
    encoders.build("resnet18", 16).apply(lambda b: norms.append(b) if "Norm" in type(b).__name__ else None)
    assert norms and all(type(block) is nn.BatchNorm for block in norms)
