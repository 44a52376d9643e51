"""GluonCV's encoders: the features are its own, at any output stride and size; where weights come from."""

from __future__ import annotations

import gluon_confseg  # noqa: F401  before MXNet

# isort: split
import mxnet as mx
import numpy as np
import pytest
import small
from gluoncv.model_zoo import model_store, resnetv1b, resnext
from mxnet import gluon
from mxnet.gluon import nn

from gluon_confseg import encoders
from gluon_confseg.encoders.dilation import dilate
from gluon_confseg.errors import WeightsError

STRIDES = encoders.OUTPUT_STRIDES
RESNETS = encoders.resnet.NAMES
GLUONCVS = (*RESNETS, *encoders.resnext.NAMES)


def draw(network) -> dict:
    """Give a network drawn values, statistics included, that keep features near 1 -> its values by name."""
    network.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2))
    network(mx.nd.zeros((1, 3, 32, 32)))
    draws = np.random.RandomState(0)
    for name, parameter in sorted(network._collect_params_with_prefix().items()):
        if name.endswith(("running_mean", "running_var", "beta", "gamma")):
            low, high = (0.1, 0.5) if name.endswith("gamma") else (0.5, 1.5)
            parameter.set_data(mx.nd.array(draws.uniform(low, high, parameter.shape)))
    return small.values(network)


def encoder(name: str, output_stride: int, values: dict, last_stage: int = 4):
    built = encoders.build(name, output_stride, last_stage=last_stage)
    built.initialize(mx.init.Zero())
    for key, parameter in built._collect_params_with_prefix().items():
        parameter.set_data(mx.nd.array(values[key]))
    return built


def near(features, wanted):
    assert len(features) == len(wanted)
    for found, known in zip(features, wanted):
        np.testing.assert_allclose(found.asnumpy(), known.asnumpy(), rtol=0, atol=1e-4)


@pytest.fixture(scope="module", params=["resnet101_v1b", "resnet101_v1s"])
def dilated(request):
    """GluonCV's own dilated ResNet-101: its name, the network, its values."""
    own = getattr(resnetv1b, request.param)(dilated=True, classes=1)
    return request.param, own, draw(own)


@pytest.fixture(scope="module")
def grouped():
    """GluonCV's own ResNeXt-101: the network, its values."""
    own = resnext.resnext101_32x4d(classes=1)
    return own, draw(own)


@pytest.fixture(scope="module")
def values():
    """Of a ResNet-18."""
    return draw(encoders.build("resnet18"))


def stages_of(own, images) -> list:
    x, stages = own.maxpool(own.relu(own.bn1(own.conv1(images)))), []
    for layer in (own.layer1, own.layer2, own.layer3, own.layer4):
        x = layer(x)
        stages.append(x)
    return stages


@pytest.mark.slow
def test_features_at_stride_8_are_those_of_gluoncvs_dilated_network(dilated):
    name, own, values = dilated
    built, images = encoder(name, 8, values), small.images(0, 1, height=45, width=64)
    wanted = stages_of(own, images)
    near(built(images), wanted)
    built.hybridize()
    near(built(images), wanted)
    assert all(0.1 < float(stage.max().asscalar()) < 100 for stage in wanted)


def test_resnext_features_at_stride_32_are_gluoncvs_own(grouped):
    own, values = grouped
    built, images = encoder("resnext101_32x4d", 32, values), small.images(0, 1, height=45, width=64)
    wanted, x = [], images
    for i in range(8):
        x = own.features[i](x)
        wanted.append(x)
    near(built(images), wanted[4:])
    built.hybridize()
    near(built(images), wanted[4:])


def hold(name: str, output_stride: int, values: dict, height: int, width: int):
    """Dilation in the place of a stride: every second (fourth) feature is the coarse one."""
    images = small.images(1, 1, height, width)
    fine, coarse = encoder(name, output_stride, values), encoder(name, 32, values)
    steps = [coarser // stride for stride, coarser in zip(fine.strides, coarse.strides)]
    near([own[:, :, ::step, ::step] for own, step in zip(fine(images), steps)], coarse(images))


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("height, width", [(64, 32), (45, 77)])
def test_features_of_a_finer_stride_hold_those_of_stride_32(values, output_stride, height, width):
    hold("resnet18", output_stride, values, height, width)


def test_bottleneck_features_at_stride_16_hold_those_of_stride_32():
    hold("resnet50_v1s", 16, draw(encoders.build("resnet50_v1s")), 45, 77)


def test_resnext_features_at_stride_8_hold_those_of_stride_32(grouped):
    hold("resnext101_32x4d", 8, grouped[1], 45, 77)


@pytest.mark.parametrize("output_stride", STRIDES)
@pytest.mark.parametrize("height, width", [(32, 64), (33, 65), (47, 101), (7, 1)])
def test_shapes_round_up_at_every_stage(values, output_stride, height, width):
    built = encoder("resnet18", output_stride, values)
    features = built(small.images(0, 1, height, width))
    for stage, channels, stride in zip(features, built.channels, built.strides):
        assert stage.shape == (1, channels, -(-height // stride), -(-width // stride))
    assert built.strides[-1] == output_stride


def inferred(built, height: int, width: int):
    """Shapes alone: of the parameters, by structural name, and of the features."""
    features = mx.sym.Group(list(built(mx.sym.var("data"))))
    arguments, sizes, states = features.infer_shape(data=(1, 3, height, width))
    found = dict(zip(features.list_arguments(), arguments))
    found.update(zip(features.list_auxiliary_states(), states))
    return {n: found[p.name] for n, p in built._collect_params_with_prefix().items()}, sizes


@pytest.mark.parametrize("name", encoders.NAMES)
def test_every_encoder_has_the_same_parameters_and_rounded_sizes_at_all_strides(name):
    height, width, parameters = 101, 77, []
    for output_stride in STRIDES:
        built = encoders.build(name, output_stride)
        shapes, sizes = inferred(built, height, width)
        parameters.append(shapes)
        rounded = [(-(-height // stride), -(-width // stride)) for stride in built.strides]
        assert sizes == [(1, channels, *size) for channels, size in zip(built.channels, rounded)]
        assert built.strides[-1] == built.output_stride == output_stride
    assert parameters[0] == parameters[1] == parameters[2]


@pytest.mark.parametrize("name", GLUONCVS)
def test_parameters_carry_gluoncvs_own_names_and_shapes(name):
    if name in RESNETS:
        depth, _, version = name.partition("_")
        own = encoders.resnet.whole(depth, version or "v1b")
        made = getattr(resnetv1b, f"{depth}_{version or 'v1b'}", None)
        assert (
            made is None
            or made()._collect_params_with_prefix().keys() == own._collect_params_with_prefix().keys()
        )
    else:
        own = getattr(resnext, name)()
    graph = own(mx.sym.var("data"))
    arguments, _, states = graph.infer_shape(data=(1, 3, 32, 32))
    found = dict(zip(graph.list_arguments() + graph.list_auxiliary_states(), arguments + states))
    wanted = {n: found[p.name] for n, p in own._collect_params_with_prefix().items()}
    shapes, _ = inferred(encoders.build(name), 32, 32)
    assert shapes == {n: shape for n, shape in wanted.items() if not n.startswith(("fc", "output"))}


def test_an_exported_dilated_encoder_runs_at_two_sizes(values, tmp_path):
    built = encoder("resnet18", 8, values)
    built.hybridize()
    wanted = {size: built(small.images(0, 1, *size)) for size in ((32, 48), (45, 77))}
    built.export(str(tmp_path / "encoder"))
    imported = gluon.SymbolBlock.imports(
        str(tmp_path / "encoder-symbol.json"), ["data"], str(tmp_path / "encoder-0000.params")
    )
    for size, features in wanted.items():
        near(imported(small.images(0, 1, *size)), features)


def test_every_dilated_convolution_of_a_stage_sees_twice_as_far_but_the_one_that_held_the_stride():
    stage = nn.HybridSequential()
    stage.add(
        nn.Conv2D(4, 5, padding=2), nn.Conv2D(4, (3, 5), 2, (1, 2)), nn.Conv2D(4, 1, 2), nn.Conv2D(4, 3, 1, 1)
    )
    plain = nn.HybridSequential()
    plain.add(nn.Conv2D(4, 3, 1, 1))
    dilate([nn.HybridSequential(), nn.HybridSequential(), stage, plain], 4, (2, 4, 8, 8))
    found = [[c._kwargs[k] for k in ("stride", "dilate", "pad")] for c in (*stage, *plain)]
    assert found == [
        [(1, 1), (1, 1), (2, 2)],
        [(1, 1), (1, 1), (1, 2)],
        [(1, 1), (1, 1), (0, 0)],
        [(1, 1), (2, 2), (2, 2)],
        [(1, 1), (2, 2), (2, 2)],
    ]


@pytest.mark.parametrize("output_stride", [8, 16])
def test_without_its_last_stage_an_encoder_is_the_same_up_to_there(values, output_stride):
    images, whole = small.images(height=45), encoder("resnet18", output_stride, values)
    short = encoder("resnet18", output_stride, values, last_stage=3)
    assert short.channels == whole.channels[:3] and short.strides == whole.strides[:3]
    assert not any(name.startswith("layer4") for name in short._collect_params_with_prefix())
    for features, wanted in zip(short(images), whole(images)[:3]):
        np.testing.assert_array_equal(features.asnumpy(), wanted.asnumpy())


@pytest.mark.parametrize("name, blocks", list(zip(RESNETS, 2 * (8, 16, 16, 33, 50))))
def test_blocks_and_channels_are_those_of_the_name(name, blocks):
    built = encoders.build(name, 16)
    assert sum(len(getattr(built, f"layer{i}")) for i in (1, 2, 3, 4)) == blocks
    basic = name.startswith(("resnet18", "resnet34"))
    assert built.channels == ((64, 128, 256, 512) if basic else (256, 512, 1024, 2048))


def test_a_resnext_may_end_with_stage_3():
    short = encoders.build("resnext101_32x4d", 8, last_stage=3)
    assert (short.channels, short.strides) == ((256, 512, 1024), (4, 8, 8))
    assert not any(name.startswith("features.7") for name in short._collect_params_with_prefix())


def test_gluoncvs_name_of_a_v1b_is_understood():
    assert encoders.canonical("resnet101_v1b") == "resnet101"
    assert encoders.canonical("resnet101_v1s") == "resnet101_v1s"
    assert all(encoders.canonical(name) == name for name in encoders.NAMES)
    assert encoders.build("resnet18_v1b").channels == encoders.build("resnet18").channels


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


@pytest.mark.parametrize("name", GLUONCVS)
def test_weights_are_asked_for_by_the_zoos_name_or_said_to_be_nowhere(name, monkeypatch):
    asked = []

    def offline(name, tag):
        asked.append(name)
        raise OSError("no route to host")

    monkeypatch.setattr(model_store, "get_model_file", offline)
    with pytest.raises(WeightsError, match="--weights") as caught:
        encoders.build(name, pretrained=True)
    if name in ("resnet18_v1s", "resnet34_v1s"):
        assert not asked and f"zoo has no {name}" in str(caught.value)
    else:
        assert asked == [name if "_" in name else f"{name}_v1b"]


def test_building_without_pretrained_weights_asks_no_zoo(monkeypatch):
    monkeypatch.setattr(model_store, "get_model_file", None)
    for stride in STRIDES:
        encoders.build("resnet18", stride)


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"name": "vgg16"}, "resnet101"),
        ({"name": "resnet18", "output_stride": 4}, "16"),
        ({"name": "resnet18", "last_stage": 2}, "stage 3 or 4"),
        ({"name": "resnet18", "output_stride": 32, "last_stage": 3}, "stride 8 or 16"),
        ({"name": "resnet38", "last_stage": 3}, "stage 4, not 3"),
    ],
)
def test_unknown_settings_are_answered_with_the_known(settings, named):
    with pytest.raises(ValueError, match=named):
        encoders.build(**settings)


@pytest.mark.parametrize("name", ["resnet18", "resnet50_v1s", "resnext101_32x4d"])
def test_batch_norms_are_everywhere_gluons_own(name):
    """What freezes them knows one kind."""
    norms = []
    encoders.build(name, 16).apply(lambda b: norms.append(b) if "Norm" in type(b).__name__ else None)
    assert norms and all(type(block) is nn.BatchNorm for block in norms)
