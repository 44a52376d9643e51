"""The compiled operators against MXNet's and NumPy's, and the building of their library."""

import json
import os
import shutil
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

from gluon_confseg import compiled, encoders, engine, network, tracing
from gluon_confseg.compiled import enlarge, training
from gluon_confseg.compiled import loss as compiled_loss
from gluon_confseg.losses import ConfusionCELoss, blockwise
from gluon_confseg.subnets import HeadSettings

built = pytest.mark.skipif(compiled.library() is None, reason=f"compiled operators: {compiled.state()}")
COMPILER = shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")


def close(found, wanted, rtol=2e-5):
    """Equal up to rounding, relative to the largest value."""
    found, wanted = found.asnumpy(), wanted.asnumpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=rtol * max(abs(wanted).max(), 1e-6))


@pytest.mark.skipif(COMPILER is None or compiled._is_turned_off(), reason="no C++ compiler, or turned off")
def test_set_up_has_built_the_library_where_there_is_a_compiler():
    assert compiled.state() == "in use"


# ---- operators


def gradients(function, arrays: dict, upstream):
    """{name: gradient} of a function of fresh copies of arrays, and its value."""
    copies = {name: mx.nd.array(value) for name, value in arrays.items()}
    for array in copies.values():
        array.attach_grad()
    with autograd.record():
        value = function(**copies)
    value.backward(mx.nd.array(upstream))
    return value, {name: array.grad for name, array in copies.items()}


@built
@pytest.mark.parametrize("shape", [(4, 24, 20, 28), (1, 3, 7, 5), (2, 8, 1, 1), (3, 5, 33, 9)])
@pytest.mark.parametrize("low, high", [(0, 6), (-3e38, 3e38)])
def test_norm_and_clip_are_mxnet_s(shape, low, high):
    draws, channels = np.random.RandomState(0), shape[1]
    settings = {"eps": 1e-3, "momentum": 0.9}
    arrays = {
        "x": draws.randn(*shape) * 3 + 2,
        "gamma": draws.rand(channels) * 3 + 0.5,
        "beta": draws.randn(channels) * 2,
    }
    running = {way: (mx.nd.zeros(channels), mx.nd.ones(channels)) for way in ("ours", "theirs")}

    def ours(x, gamma, beta):
        bounds = {"low": low, "high": high}
        return mx.nd.confseg_norm_clip(x, gamma, beta, *running["ours"], **settings, **bounds)[0]

    def theirs(x, gamma, beta):
        y = mx.nd.BatchNorm(x, gamma, beta, *running["theirs"], fix_gamma=False, **settings)
        return y if high > 6 else mx.nd.clip(y, low, high)

    upstream = draws.randn(*shape)
    (value, found), (wanted_value, wanted) = (gradients(f, arrays, upstream) for f in (ours, theirs))
    close(value, wanted_value)
    for name in wanted:
        close(found[name], wanted[name], 2e-4)  # one pixel a channel has a variance of rounding alone
    for ours_, theirs_ in zip(running["ours"], running["theirs"]):
        close(ours_, theirs_)


@built
@pytest.mark.parametrize("kernel, stride", [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize(
    "shape", [(2, 8, 20, 28), (1, 3, 7, 9), (3, 2, 1, 1), (2, 4, 2, 40), (1, 5, 16, 8), (2, 3, 11, 17)]
)
def test_depthwise_convolution_is_mxnet_s(kernel, stride, shape):
    draws, channels = np.random.RandomState(1), shape[1]
    arrays = {"x": draws.randn(*shape), "weight": draws.randn(channels, 1, kernel, kernel)}
    pad = (kernel // 2,) * 2
    usual = {"num_filter": channels, "num_group": channels, "no_bias": True, "pad": pad}

    def ours(x, weight):
        return mx.nd.confseg_depthwise(x, weight, kernel=kernel, stride=stride)

    def theirs(x, weight):
        return mx.nd.Convolution(x, weight, kernel=(kernel,) * 2, stride=(stride,) * 2, **usual)

    size = [(length + 2 * pad[0] - kernel) // stride + 1 for length in shape[2:]]
    upstream = draws.randn(*shape[:2], *size)
    (value, found), (wanted_value, wanted) = (gradients(f, arrays, upstream) for f in (ours, theirs))
    assert value.shape == wanted_value.shape
    close(value, wanted_value)
    for name in wanted:
        close(found[name], wanted[name])


@built
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "shape, filters, dilation",
    [
        ((2, 5, 9, 11), 7, 4),
        ((1, 3, 5, 7), 8, 12),  # only the middle of the kernel ever meets a pixel
        ((2, 4, 3, 13), 2, 3),
        ((1, 300, 6, 5), 19, 2),  # more channels than are taken at once
        ((3, 2, 1, 1), 4, 2),
    ],
)
def test_dilated_convolution_is_mxnet_s(shape, filters, dilation, bias):
    draws = np.random.RandomState(2)
    arrays = {"x": draws.randn(*shape), "weight": draws.randn(filters, shape[1], 3, 3)}
    if bias:
        arrays["bias"] = draws.randn(filters)
    usual = {"kernel": (3, 3), "dilate": (dilation,) * 2, "pad": (dilation,) * 2, "num_filter": filters}

    def ours(x, weight, bias=None):
        given = [x, weight] if bias is None else [x, weight, bias]
        return mx.nd.confseg_dilated(*given, dilation=dilation, filters=filters, bias=int(bias is not None))

    def theirs(x, weight, bias=None):
        return mx.nd.Convolution(x, weight, bias, no_bias=bias is None, **usual)

    upstream = draws.randn(shape[0], filters, *shape[2:])
    (value, found), (wanted_value, wanted) = (gradients(f, arrays, upstream) for f in (ours, theirs))
    close(value, wanted_value)
    for name in wanted:
        close(found[name], wanted[name])


# ---- the encoder in training


def lite0(norm="batch", output_stride=8):
    mx.random.seed(3)
    built_network = network.build(
        "efficientnet_lite0", 4, output_stride=output_stride, last_stage=3, norm=norm,
        head=HeadSettings(channels=16, dilation=2, stages=(3,)),
    )  # fmt: skip
    draws = np.random.RandomState(4)
    for name, parameter in built_network.encoder.collect_params().items():
        if name.endswith(("gamma", "beta")):  # at their initial values many gradients are rounding alone
            parameter.set_data(mx.nd.array(draws.rand(*parameter.shape) + 0.5))
    engine.hybridize_parts(built_network)
    return built_network


@built
@pytest.mark.parametrize("subnets", ["plain", pytest.param("residual", marks=pytest.mark.slow)])
def test_dilated_networks_have_the_gradients_of_mxnet_s_operators(subnets):
    draws, found = np.random.RandomState(6), []
    images = mx.nd.array(draws.randn(2, 3, 64, 96))
    labels = draws.randint(0, 4, (2, 64, 96)).astype(np.uint8)
    for way in ("compiled", "mxnet"):
        mx.random.seed(7)
        head = HeadSettings(channels=16, dilation=4)
        model = network.build("resnet18", 4, [(0, 1), (2, 3)], subnets=subnets, head=head, subnet_heads=head)
        engine.hybridize_parts(model)
        criteria = [ConfusionCELoss(np.eye(channels)) for channels in (4, 3, 3)]
        steps = engine.Subnet0Step(model, criteria[:1]), engine.SubnetStep(model, criteria[1:])
        forms = [steps[0]._encoder, steps[0]._subnet0, *steps[1]._subnets]
        assert all(isinstance(form, tracing.OnParameters) for form in forms)
        if way == "mxnet":
            steps[0]._encoder, steps[0]._subnet0 = model.encoder, model.subnet0
            steps[1]._subnets = list(model.subnets)
        arrays = {}
        for step in steps:
            arrays.update({name: loss.asnumpy() for name, loss in step(images, labels).items()})
            mx.nd.waitall()
            arrays.update(
                {n: p.grad().asnumpy() for n, p in step.parameters().items() if p.grad_req != "null"}
            )
        found.append(arrays)
    most = max(np.linalg.norm(array) for array in found[1].values())
    for name, wanted in found[1].items():
        away = np.linalg.norm(found[0][name] - wanted)
        assert away < 0.01 * max(np.linalg.norm(wanted), 1e-3 * most), name


class Branches(gluon.HybridBlock):
    """The sum of several dilated convolutions of one input."""

    def __init__(self, count, channels=6):
        super().__init__()
        self.before = gluon.nn.Conv2D(channels, 1, in_channels=4)
        self.branches = gluon.nn.HybridSequential()
        for number in range(count):
            dilation = 4 + number
            self.branches.add(
                gluon.nn.Conv2D(channels, 3, padding=dilation, dilation=dilation, in_channels=channels)
            )

    def hybrid_forward(self, F, x):
        x = self.before(x)
        return F.add_n(*[branch(x) for branch in self.branches._children.values()])


@built
@pytest.mark.parametrize("channels", [6, training.LEAST_CHANNELS])
@pytest.mark.parametrize("count", [1, 7, 8, 12])
def test_gradients_of_an_array_with_many_readers_are_added_up(count, channels):
    mx.random.seed(8)
    block = Branches(count, channels)
    block.initialize(mx.init.Xavier())
    x, upstream = mx.nd.random.normal(shape=(2, 4, 15, 17)), mx.nd.random.normal(shape=(2, channels, 15, 17))
    found = []
    for form in (training.training_form(block), block):
        with autograd.record():
            y = form(x)
        y.backward(upstream)
        found.append([p.grad().copy() for p in block.collect_params().values()])
    assert isinstance(training.training_form(block), tracing.OnParameters) == (count < 8)
    for one, other in zip(*found):
        close(one, other)


@built
@pytest.mark.parametrize("channels", [6, training.LEAST_CHANNELS])
def test_fixed_inputs_get_no_gradient_and_parameters_the_same(channels):
    mx.random.seed(9)
    block = gluon.nn.HybridSequential()
    for _ in range(2):
        block.add(gluon.nn.Conv2D(channels, 3, padding=4, dilation=4, in_channels=channels))
    block.initialize(mx.init.Xavier())
    x, upstream = (mx.nd.random.normal(shape=(2, channels, 15, 17)) for _ in range(2))
    found = []
    for fixed in (True, False):
        form = training.training_form(block, fixed=fixed)
        nodes = json.loads(form.symbol.tojson())["nodes"]
        of_x = [node["attrs"]["of_x"] for node in nodes if node["op"] in training.OPERATORS]
        assert of_x == ["0" if fixed else "1", "1"]  # the second convolution reads the first
        with autograd.record():
            y = form(x)
        y.backward(upstream)
        found.append([p.grad().asnumpy() for p in block.collect_params().values()])
    for one, other in zip(*found):
        np.testing.assert_array_equal(one, other)


@built
@pytest.mark.parametrize(
    "settings",
    [
        {"strides": 2},
        {"padding": 3},
        {"kernel_size": 5, "padding": 8},
        {"kernel_size": (3, 1), "padding": (4, 0)},
        {"groups": 2},
        {"dilation": (4, 5), "padding": (4, 5)},
        {"dilation": 3, "padding": 3},
    ],
    ids=str,
)
def test_other_convolutions_stay_mxnet_s_in_training(settings):
    usual = {"channels": 6, "kernel_size": 3, "padding": 4, "dilation": 4, "in_channels": 4}
    block = gluon.nn.HybridSequential()
    block.add(gluon.nn.Conv2D(**usual), gluon.nn.Conv2D(**{**usual, "in_channels": 6, **settings}))
    block.initialize()
    operators = [node["op"] for node in json.loads(training.training_form(block).symbol.tojson())["nodes"]]
    assert operators.count("confseg_dilated") == operators.count("Convolution") == 1


@built
def test_parameters_whose_gradients_are_added_up_stay_with_mxnet_s_operators():
    block = Branches(2)
    block.initialize()
    block.before.weight.grad_req = "add"
    assert training.training_form(block) is block


@built
def test_in_place_activated_encoders_are_not_made_a_graph():
    encoder = encoders.build("resnet18", 8)
    encoders.norms.apply(encoder, "inplace")
    encoder.initialize()
    encoder(mx.nd.zeros((1, 3, 32, 32)))
    assert training.training_form(encoder) is encoder


@built
@pytest.mark.parametrize("norm", ["batch", "frozen"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_a_step_of_lite0_has_the_gradients_of_mxnet_s_operators(norm, output_stride):
    draws, found = np.random.RandomState(5), []
    images = mx.nd.array(draws.randn(2, 3, 64, 96))
    labels = draws.randint(0, 4, (2, 64, 96)).astype(np.uint8)
    weights = draws.rand(4, 4).astype(np.float32)
    for way in ("compiled", "mxnet"):
        model = lite0(norm, output_stride)
        step = engine.Subnet0Step(model, [ConfusionCELoss(weights)])
        assert isinstance(step._encoder, tracing.OnParameters)
        if way == "mxnet":
            step._encoder = model.encoder
        loss = step(images, labels)["subnet0"].asnumpy()
        mx.nd.waitall()
        arrays = {
            name: (p.data() if p.grad_req == "null" else p.grad()).asnumpy()
            for name, p in step.parameters().items()
        }
        found.append((loss, arrays))
    (loss, arrays), (wanted_loss, wanted) = found
    np.testing.assert_allclose(loss, wanted_loss, rtol=1e-5)
    # a value beside a corner of ReLU6 falls on the other side by rounding, and its gradient with it
    most = max(np.linalg.norm(array) for array in wanted.values())
    for name, array in wanted.items():
        away = np.linalg.norm(arrays[name] - array)
        assert away < 0.02 * max(np.linalg.norm(array), 1e-3 * most), name


@built
def test_inference_keeps_the_running_statistics_after_a_compiled_step():
    model = lite0()
    step = engine.Subnet0Step(model, [ConfusionCELoss(np.eye(4))])
    images = mx.nd.random.normal(shape=(1, 3, 64, 64))
    step(images, np.zeros((1, 64, 64), np.uint8))
    before = model(images)[0].asnumpy()
    batch_of_others = mx.nd.concat(images, images * 3, dim=0)
    np.testing.assert_allclose(model(batch_of_others)[0].asnumpy()[:1], before, rtol=1e-4, atol=1e-4)


def test_an_encoder_without_compiled_operators_is_called_itself(monkeypatch):
    monkeypatch.setattr(training, "is_wide", lambda: False)
    encoder = network.build("resnet18", 3, output_stride=16, head=HeadSettings(channels=8)).encoder
    assert training.training_form(encoder) is encoder


@built
def test_float16_goes_without_compiled_operators():
    encoder = encoders.build("efficientnet_lite0", 8, False, 3)
    encoder.initialize()
    encoder.cast("float16")
    assert training.training_form(encoder) is encoder


# ---- the loss


@built
@pytest.mark.parametrize("classes, pixels", [(2, 1), (3, 31), (19, 1024), (19, 1000), (150, 777), (1500, 40)])
@pytest.mark.parametrize("spread", [1, 60])
@pytest.mark.parametrize("penalty", [0, 5])
def test_the_compiled_loss_is_numpy_s(monkeypatch, classes, pixels, spread, penalty):
    draws = np.random.RandomState(classes + pixels)
    logits = (draws.randn(2, classes, pixels) * spread).astype(np.float32)
    labels = draws.randint(0, classes, (2, pixels))
    labels[draws.rand(2, pixels) < 0.2] = 2000
    weights = draws.rand(classes, classes).astype(np.float32)
    weights[~np.eye(classes, dtype=bool)] *= penalty
    arguments = (logits, labels, weights, 2000, np.array([pixels, 3.5]), True)
    loss, gradient = blockwise.value_and_gradient(*arguments)
    monkeypatch.setattr(compiled_loss, "is_available", lambda: False)
    wanted_loss, wanted = blockwise.value_and_gradient(*arguments)
    np.testing.assert_allclose(loss, wanted_loss, rtol=1e-5)
    np.testing.assert_allclose(gradient, wanted, rtol=2e-4, atol=1e-6 * abs(wanted).max())


@built
def test_the_compiled_loss_does_not_depend_on_the_threads():
    draws = np.random.RandomState(7)
    logits, labels = draws.randn(3, 5, 5000).astype(np.float32), draws.randint(0, 5, (3, 5000))
    arguments = (logits, labels, draws.rand(5, 5).astype(np.float32), 255, np.full(3, 5000.0), True)
    (loss, gradient), (other_loss, other) = (
        compiled_loss.value_and_gradient(*arguments, threads) for threads in (1, 3)
    )
    assert np.array_equal(loss, other_loss) and np.array_equal(gradient, other)


# ---- the largest enlarged class


@built
@pytest.mark.parametrize("classes", [1, 2, 19, 256])
@pytest.mark.parametrize("stride, size", [(2, (5, 7)), (8, (37, 61)), (16, (16, 129)), (32, (1, 33))])
def test_the_compiled_largest_class_is_numpy_s(monkeypatch, stride, size, classes):
    draws, grid = np.random.RandomState(classes), [-(-length // stride) for length in size]
    like = mx.nd.zeros((2, 3, *size))
    for scores in (draws.randn(2, classes, *grid), draws.randint(-2, 2, (2, classes, *grid)) * 0.1):
        scores = mx.nd.array(scores)
        found = engine.largest_enlarged(scores, stride, like)
        with monkeypatch.context() as patch:
            patch.setattr(enlarge, "is_available", lambda: False)
            wanted = engine.largest_enlarged(scores, stride, like)
            patch.setattr(engine.runtime, "threads", lambda: 3)
            patch.setattr(enlarge, "is_available", lambda: True)
            np.testing.assert_array_equal(engine.largest_enlarged(scores, stride, like), wanted)
        np.testing.assert_array_equal(found, wanted)


@built
@pytest.mark.parametrize("available", [True, False])
def test_no_class_is_larger_than_one_that_is_no_number(monkeypatch, available):
    monkeypatch.setattr(enlarge, "is_available", lambda: available)
    scores = mx.nd.array([1.0, np.nan, 2.0]).reshape((1, 3, 1, 1)).tile((1, 1, 2, 3))
    assert not engine.largest_enlarged(scores, 4, mx.nd.zeros((1, 3, 7, 9))).any()


# ---- the library


@pytest.mark.parametrize("word", ["0", "off", "False", "no"])
def test_it_can_be_turned_off(monkeypatch, word):
    monkeypatch.setenv(compiled.OFF, word)
    assert compiled.library.__wrapped__() is None and compiled.functions.__wrapped__() is None
    assert compiled.state() == f"turned off by CONFSEG_COMPILED={word}"


def test_without_a_library_all_goes_on(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled, "path", lambda: tmp_path / "none.so")
    monkeypatch.delenv(compiled.OFF, raising=False)
    assert compiled.library.__wrapped__() is None and compiled.functions.__wrapped__() is None


def test_a_file_that_is_no_library_is_passed_over(monkeypatch, tmp_path):
    (tmp_path / "other.so").write_text("no library")
    monkeypatch.setattr(compiled, "path", lambda: tmp_path / "other.so")
    monkeypatch.delenv(compiled.OFF, raising=False)
    assert compiled.library.__wrapped__() is None and compiled.functions.__wrapped__() is None


def test_a_machine_without_a_compiler_is_told_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled, "path", lambda: tmp_path / "new.so")
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(compiled.BuildError, match="no C.. compiler is installed: install g"):
        compiled.build()


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
def test_a_compiler_s_complaint_is_passed_on_and_leaves_nothing(monkeypatch, tmp_path):
    (tmp_path / "wrong.cc").write_text("this is no C++\n")
    monkeypatch.setattr(compiled, "HERE", tmp_path)
    monkeypatch.setattr(compiled, "SOURCES", ("wrong.cc",))
    monkeypatch.setattr(compiled, "_mxnet", lambda: tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "lib_api.cc").write_text("")
    monkeypatch.setattr(compiled, "path", lambda: tmp_path / "made" / "new.so")
    with pytest.raises(compiled.BuildError, match="could not compile"):
        compiled.build()
    assert not (tmp_path / "made").exists()


def test_a_folder_that_can_t_be_written_is_said_before_compiling(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled, "path", lambda: tmp_path / "made" / "new.so")
    monkeypatch.setattr(compiled.os, "access", lambda folder, mode: folder != tmp_path)
    monkeypatch.setattr(compiled.subprocess, "run", lambda *_, **__: pytest.fail("compiled"))
    monkeypatch.setenv("CXX", "g++")
    with pytest.raises(compiled.BuildError, match="made: Permission denied; the library can't be written"):
        compiled.build()


def test_the_command_says_that_nothing_is_lost_without_a_compiler(tmp_path):
    code = (
        "import sys, runpy; from gluon_confseg import compiled; from pathlib import Path;"
        f"compiled.path = lambda: Path({str(tmp_path)!r}, 'new.so'); compiled.shutil.which = lambda name: None;"
        "sys.argv = ['compiled']; runpy.run_module('gluon_confseg.compiled')"
    )
    environment = {k: v for k, v in os.environ.items() if k != "CXX"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 1
    assert done.stderr.startswith("confseg: no C++ compiler is installed")
    assert "Everything works without the compiled operators" in done.stderr


@built
@pytest.mark.parametrize("share", [0, 0.0001, 0.3, 0.75, 0.999, 1])
def test_a_library_that_was_cut_short_is_not_loaded(tmp_path, share):
    content = compiled.path().read_bytes()
    (tmp_path / "cut.so").write_bytes(content[: int(share * len(content))])
    code = (
        "from pathlib import Path; from gluon_confseg import compiled; "
        f"compiled.path = lambda: Path({str(tmp_path / 'cut.so')!r}); print(compiled.functions() is not None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{share == 1}\n"), done.stderr
