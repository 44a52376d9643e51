"""ResNet-38: its layers, the names of the released files, and the scores of the original graph."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import gluon_confseg  # noqa: F401  before MXNet

# isort: split
import mxnet as mx
import numpy as np
import pytest

from gluon_confseg import encoders, network, weights
from gluon_confseg.encoders.resnet38 import ResNet38Encoder
from gluon_confseg.errors import WeightsError
from gluon_confseg.subnets import HeadSettings, PlainHead
from gluon_confseg.weights import released

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"
NORM = ("gamma", "beta", "moving_mean", "moving_var")
BLOCKS = {2: 3, 3: 3, 4: 6, 5: 3, 6: 1, 7: 1}
THIN = 16


def reference(name: str) -> Path:
    if not (REFERENCE / name).is_file():
        pytest.skip(f"no {name} of the original graph beside the repository")
    return REFERENCE / name


def released_names():
    """Every name of a released file for 19 classes, from the facts."""
    yield "arg:conv1a_weight"
    for level, count in BLOCKS.items():
        yield f"arg:res{level}a_branch1_weight"
        for block in ["a"] + [f"b{i}" for i in range(1, count)]:
            for branch in ("2a", "2b1", "2b2") if level > 5 else ("2a", "2b1"):
                yield f"arg:res{level}{block}_branch{branch}_weight"
                yield from norm_names(f"bn{level}{block}_branch{branch}")
    yield from norm_names("bn7")
    yield from (f"arg:{layer}_{end}" for layer in ("conv6a", "linear19") for end in ("weight", "bias"))


def norm_names(layer: str):
    return [f"{'aux' if 'moving' in end else 'arg'}:{layer}_{end}" for end in NORM]


def parts(output_stride=8, thin=1, classes=19):
    """Encoder and head without values: 496 MB less than the network."""
    encoder = ResNet38Encoder(output_stride, thin)
    return encoder, PlainHead(encoder, classes, HeadSettings(channels=512 // thin))


def shapes(encoder, head):
    named = {**encoder._collect_params_with_prefix("encoder"), **head._collect_params_with_prefix("subnet0")}
    return {name: tuple(parameter.shape) for name, parameter in named.items()}


def thin_network(classes=19, seed=0):
    mx.random.seed(seed)
    encoder, head = parts(thin=THIN, classes=classes)
    built = network.SubnetNetwork(encoder, head, [], [], classes, "plain")
    built.initialize(mx.init.Xavier())
    return built


def thin_encoder(output_stride=8, like=None):
    mx.random.seed(1)
    encoder = ResNet38Encoder(output_stride, THIN)
    encoder.initialize(mx.init.Xavier())
    if like is not None:
        for name, parameter in like._collect_params_with_prefix().items():
            encoder._collect_params_with_prefix()[name].set_data(parameter.data())
    return encoder


def noise(*shape, seed=0):
    return mx.nd.array(np.random.RandomState(seed).normal(size=shape))


def arrays(block):
    return {name: p.data().asnumpy() for name, p in block._collect_params_with_prefix().items()}


def write_released(path, built, leave_out=(), seed=3):
    """A released file for a thin network -> its arrays by our names."""
    named, draw = built._collect_params_with_prefix(), np.random.RandomState(seed)
    stored = {}
    for key in released_names():
        if not any(part in key for part in leave_out):
            stored[key] = mx.nd.array(draw.normal(size=named[released.structural_name(key[4:])].shape))
    mx.nd.save(str(path), stored)
    return {released.structural_name(key[4:]): array.asnumpy() for key, array in stored.items()}


def test_every_released_name_is_one_parameter_and_every_parameter_has_one():
    names = list(released_names())
    assert len(names) == len(set(names)) == 195
    assert sorted(released.structural_name(key[4:]) for key in names) == sorted(shapes(*parts()))


def test_names_and_shapes_are_those_of_the_released_file():
    stored = json.loads(reference("resnet38_a1_cls19_names.json").read_text())["params"]
    assert set(stored) == set(released_names())
    ours = shapes(*parts())
    assert {released.structural_name(key[4:]): tuple(shape) for key, shape in stored.items()} == ours


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("conv1a_weight", "encoder.stem.blocks.0.weight"),
        ("bn2a_branch2a_gamma", "encoder.stem.norm.gamma"),
        ("res2a_branch1_weight", "encoder.level2.blocks.0.projection.weight"),
        ("bn4b5_branch2a_moving_var", "encoder.level4.blocks.5.bn1.running_var"),
        ("bn5a_branch2a_beta", "encoder.level4.norm.beta"),
        ("res6a_branch2b2_weight", "encoder.level6.blocks.0.conv3.weight"),
        ("bn7_moving_mean", "encoder.level7.norm.running_mean"),
        ("conv6a_bias", "subnet0.body.0.bias"),
        ("linear21_weight", "subnet0.output.weight"),
        ("res8a_branch2a_weight", None),
        ("bn2a_branch2c_gamma", None),
        ("fc_weight", None),
    ],
)
def test_a_released_name_in_our_structure(theirs, ours):
    assert released.structural_name(theirs) == ours


def test_every_layer_has_the_settings_of_the_original():
    wanted = json.loads(reference("resnet38_a1_cls19_names.json").read_text())["layers"]
    encoder, head = parts()
    by_parameter = {p.name: n for n, p in encoder._collect_params_with_prefix("encoder").items()}
    by_parameter.update({p.name: n for n, p in head._collect_params_with_prefix("subnet0").items()})
    found = layers_of(head(*encoder(mx.sym.var("data"))), by_parameter)
    assert found == {ours(layer): facts(layer) for layer in wanted}


GEOMETRY = ("kernel", "stride", "dilate", "pad")


def ours(layer):
    """Our name of an original layer; a dropout is named after the convolution that it feeds."""
    name, end = layer["name"], "gamma" if layer["op"] == "bn" else "weight"
    if layer["op"] == "dropout":
        return "dropout before " + ours({"name": name[: -len("_do")], "op": "conv"})
    return released.structural_name(f"{name}_{end}").rpartition(".")[0]


def facts(layer):
    if layer["op"] == "bn":
        return layer["eps"], layer["fix_gamma"]
    if layer["op"] == "dropout":
        return layer["p"]
    return tuple(layer[fact] for fact in ("filters", "kernel", "stride", "dilate", "pad", "bias"))


def layers_of(graph, by_parameter):
    """Structural name -> facts of every convolution, batch norm and dropout in a graph."""
    nodes, found = json.loads(graph.tojson())["nodes"], {}
    for node in nodes:
        if node["op"] not in ("Convolution", "BatchNorm"):
            continue
        name = by_parameter[nodes[node["inputs"][1][0]]["name"]].rpartition(".")[0]
        attrs = node["attrs"]
        if node["op"] == "BatchNorm":
            found[name] = float(attrs["eps"]), attrs["fix_gamma"] == "True"
        else:
            pairs = [json.loads(attrs[k].replace("(", "[").replace(")", "]")) for k in GEOMETRY]
            assert all(y == x for y, x in pairs)
            found[name] = (int(attrs["num_filter"]), *(y for y, _ in pairs), attrs["no_bias"] == "False")
            read = nodes[node["inputs"][0][0]]
            if read["op"] == "Dropout":
                found[f"dropout before {name}"] = float(read["attrs"]["p"])
    return found


@pytest.mark.parametrize("size", [(64, 96), (101, 77), (33, 130)])
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_stage_sizes_are_the_images_over_their_strides_rounded_up(output_stride, size):
    encoder = encoders.build("resnet38", output_stride)
    features = mx.sym.Group(list(encoder(mx.sym.var("data"))))
    _, sizes, _ = features.infer_shape(data=(2, 3, *size))
    assert encoder.channels == (256, 512, 1024, 4096)
    assert encoder.strides == tuple(min(s, output_stride) for s in (4, 8, 16, 32))
    assert sizes == [
        (2, c, -(-size[0] // s), -(-size[1] // s)) for c, s in zip(encoder.channels, encoder.strides)
    ]


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilation_gives_the_features_that_strides_give_and_those_between(output_stride):
    dense = thin_encoder(output_stride)
    strided = thin_encoder(32, like=dense)
    images = noise(1, 3, 75, 101)
    for fine, coarse in zip(dense(images)[2:], strided(images)[2:]):
        step = -(-fine.shape[2] // coarse.shape[2])
        np.testing.assert_allclose(fine[:, :, ::step, ::step].asnumpy(), coarse.asnumpy(), atol=1e-5)


def dilations(encoder) -> dict:
    """Structural name -> dilation of every 3x3 convolution that looks further than its neighbours."""
    names = {p.name: n.rpartition(".")[0] for n, p in encoder._collect_params_with_prefix().items()}
    nodes, found = json.loads(mx.sym.Group(list(encoder(mx.sym.var("data")))).tojson())["nodes"], {}
    for node in nodes:
        if node["op"] == "Convolution" and node["attrs"]["dilate"] != "(1, 1)":
            assert node["attrs"]["pad"] == node["attrs"]["dilate"] and node["attrs"]["kernel"] == "(3, 3)"
            found[names[nodes[node["inputs"][1][0]]["name"]]] = int(node["attrs"]["dilate"].strip("()")[0])
    return found


@pytest.mark.parametrize("output_stride, scale", [(8, 2), (16, 1), (32, 0)])
def test_dilation_rises_inside_the_blocks_that_give_up_their_strides(output_stride, scale):
    """5a: 1, then 2; the 3x3 of 6a: 4 already."""
    after5 = {f"level5.blocks.{b}.conv{i}": 2 for b in range(3) for i in (1, 2) if (b, i) != (0, 1)}
    after6 = {f"level{level}.blocks.0.conv2": 2**scale for level in (6, 7)}
    wanted = {**(after5 if scale == 2 else {}), **(after6 if scale else {})}
    assert dilations(ResNet38Encoder(output_stride, THIN)) == wanted


def test_features_are_exact_where_variances_are_as_small_as_epsilon():
    """With the usual 1e-5 they would be off by 5 in 10,000."""
    encoder, images = thin_encoder(), noise(1, 3, 16, 16)
    norm = encoder.stem.norm
    norm.running_var.set_data(mx.nd.full(norm.running_var.shape, 1e-6))
    raw = encoder.stem.blocks(images).asnumpy().astype(np.float64)
    found = encoder.stem(images).asnumpy()
    np.testing.assert_allclose(found, np.maximum(raw, 0) / np.sqrt(1e-6 + 1.001e-5), rtol=2e-6, atol=1e-6)
    every = []
    encoder.apply(lambda b: every.append(b._kwargs) if isinstance(b, mx.gluon.nn.BatchNorm) else None)
    assert len(every) == 37 and {(k["eps"], k["fix_gamma"]) for k in every} == {(1.001e-5, False)}


def test_hybridizing_changes_no_feature():
    encoder, images = thin_encoder(), noise(1, 3, 37, 50)
    before = [x.asnumpy() for x in encoder(images)]
    encoder.hybridize()
    for x, y in zip(encoder(images), before):
        np.testing.assert_allclose(x.asnumpy(), y, atol=1e-5)


def test_features_are_activated():
    assert all(float(x.min().asscalar()) == 0 for x in thin_encoder()(noise(1, 3, 32, 32)))


def test_dropout_acts_in_training_only_and_on_the_last_stage_only():
    encoder, images = thin_encoder(), noise(1, 3, 32, 32)
    first, second = encoder(images), encoder(images)
    assert all(bool((x == y).min().asscalar()) for x, y in zip(first, second))
    with mx.autograd.record(train_mode=True):
        first, second = encoder(images), encoder(images)
    same = [bool((x == y).min().asscalar()) for x, y in zip(first, second)]
    assert same == [True, True, True, False]


def test_there_are_no_weights_in_the_zoo():
    with pytest.raises(WeightsError, match="--weights"):
        encoders.build("resnet38", pretrained=True)


def test_loading_a_released_file_sets_every_parameter_and_no_multiplier(tmp_path):
    built = thin_network()
    wanted = write_released(tmp_path / "released.params", built)
    report = weights.load(built, tmp_path / "released.params")
    assert (len(report.loaded), report.left, report.unused) == (195, [], [])
    assert all(np.array_equal(array, wanted[name]) for name, array in arrays(built).items())
    assert {(p.lr_mult, p.wd_mult) for p in built.collect_params().values()} == {(1.0, 1.0)}


def test_a_file_without_segmentation_head_loads_the_encoder_and_leaves_its_classifier(tmp_path):
    built, file = thin_network(), tmp_path / "released.params"
    write_released(file, built, leave_out=("conv6a", "linear19"))
    stored = mx.nd.load(str(file))
    mx.nd.save(str(file), {**stored, "arg:linear1000_weight": mx.nd.zeros((1000, 256))})
    report = weights.load(built, file)
    assert report.left == [
        f"subnet0.{n}" for n in ("body.0.bias", "body.0.weight", "output.bias", "output.weight")
    ]
    assert (len(report.loaded), report.unused) == (191, ["arg:linear1000_weight"])


def test_a_file_for_other_classes_is_refused_and_nothing_changes(tmp_path):
    built = thin_network(classes=11)
    before = arrays(built)
    write_released(tmp_path / "released.params", thin_network())
    with pytest.raises(WeightsError, match=r"subnet0\.output\.\w+ has shape \(19,.*wants \(11,"):
        weights.load(built, tmp_path / "released.params")
    assert all(np.array_equal(array, before[name]) for name, array in arrays(built).items())


def test_two_classifiers_in_one_file_are_refused(tmp_path):
    built, file = thin_network(), tmp_path / "released.params"
    write_released(file, built)
    mx.nd.save(str(file), {**mx.nd.load(str(file)), "arg:linear21_bias": mx.nd.zeros(21)})
    with pytest.raises(WeightsError, match=r"arg:linear(19|21)_bias.* are both subnet0\.output\.bias"):
        weights.load(built, file)


def test_a_released_file_of_another_network_is_refused(tmp_path):
    file = tmp_path / "other.params"
    mx.nd.save(str(file), {"arg:stage1_conv_weight": mx.nd.zeros((2, 2))})
    with pytest.raises(WeightsError, match="arg:stage1_conv_weight"):
        weights.load(thin_network(), file)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The recipe of the reference's parameters, and our network with them; their file of 496 MB is gone."""
    spec = importlib.util.spec_from_file_location("make_params", reference("make_params.py"))
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    built = network.build("resnet38", 19, output_stride=8)
    file = tmp_path_factory.mktemp("released") / "resnet38_a1_cls19.params"
    try:
        recipe.write_params(str(file))
        report = weights.load(built, file)
    finally:
        file.unlink(missing_ok=True)
    assert (len(report.loaded), report.left, report.unused) == (195, [], [])
    return recipe, built


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "tolerance"), [("input", (64, 96), 2e-4), ("input_b", (208, 272), 1e-3)]
)
def test_scores_are_those_of_the_original_graph(original, name, size, tolerance):
    recipe, built = original
    (scores,) = built(mx.nd.array(recipe.input_value(name, (1, 3, *size))))
    with np.load(reference("resnet38_a1_cls19_ref.npz")) as wanted:
        np.testing.assert_allclose(scores.asnumpy(), wanted[f"{name}_scores"], rtol=0, atol=tolerance)
