"""ONNX files: every operator and network gives MXNet's values, and what can't be written is an error that names it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import fake_run
import layouts
import mxnet as mx
import numpy as np
import pytest
import small

from gluon_confseg import checkpoint, cli, export, fusion, labels, network, onnx_export
from gluon_confseg.datasets import normalize
from gluon_confseg.encoders.resnet38 import ResNet38Encoder
from gluon_confseg.errors import RunError
from gluon_confseg.network import FusedNetwork
from gluon_confseg.subnets import CONTEXTS, HeadSettings, PlainHead

WHY = "the extra is not installed: make setup-onnx, or pip install '.[onnx]'"
onnx = pytest.importorskip("onnx", reason=WHY)
onnxruntime = pytest.importorskip("onnxruntime", reason=WHY)

from gluon_confseg import onnx_graph  # noqa: E402  it needs onnx

ROOT = Path(__file__).resolve().parents[1]
SPACE = labels.LabelSpace(
    "five", "Five", tuple("abcde"), np.uint8([[50 * k, 9, 255 - 50 * k] for k in range(5)])
)
NARROW = {"channels": 8, "depth": 2, "dilation": 2, "stages": (3,)}


@pytest.fixture(scope="module")
def trained():
    return small.shaken("residual", stride=8)


@pytest.fixture(scope="module")
def files(trained, tmp_path_factory) -> Path:
    """A folder with net.onnx, which gives scores, and pictures.onnx, which takes pictures."""
    folder = tmp_path_factory.mktemp("onnx")
    for name, pictures in (("net", False), ("pictures", True)):
        onnx_export.write(
            trained, "residual_product", SPACE, folder / f"{name}.onnx", pictures=pictures, origin=None
        )
    return folder


# ---- operators


def call(name: str, *inputs, **settings):
    operator = getattr(mx.sym, name, None) or getattr(mx.sym._internal, name)
    return operator(*inputs, **settings)


def convolution(x, y):
    settings = {"kernel": (3, 5), "stride": (2, 1), "dilate": (1, 2), "pad": (2, 3), "num_group": 2}
    return mx.sym.Convolution(
        x, mx.sym.var("w", shape=(4, 3, 3, 5)), mx.sym.var("b"), num_filter=4, **settings
    )


def batch_norm(x, y, **settings):
    return mx.sym.BatchNorm(x, name="norm", eps=0.01, **settings)


def resized(x, y):
    return mx.sym.contrib.BilinearResize2D(x, scale_height=4, scale_width=2, align_corners=False)


CASES = {
    "Convolution": [convolution],
    "BatchNorm": [
        lambda x, y: batch_norm(x, y, fix_gamma=False),
        lambda x, y: batch_norm(x, y, fix_gamma=True),
    ],
    "Activation": [lambda x, y: mx.sym.Activation(x, act_type="relu")],
    "LeakyReLU": [lambda x, y: mx.sym.LeakyReLU(x, act_type="leaky", slope=0.3)],
    "clip": [lambda x, y: mx.sym.clip(x, a_min=-0.5, a_max=1)],
    "Pooling": [
        lambda x, y: mx.sym.Pooling(x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max"),
        lambda x, y: mx.sym.Pooling(x, kernel=(2, 1), pool_type="max"),
        lambda x, y: mx.sym.Pooling(x, kernel=(4, 4), stride=(1, 1), pool_type="avg"),
    ],
    "Dropout": [lambda x, y: mx.sym.Dropout(x, p=0.5)],
    "BlockGrad": [lambda x, y: mx.sym.BlockGrad(x)],
    "identity": [],  # MXNet writes it as _copy
    "_copy": [lambda x, y: mx.sym.identity(x)],
    "_contrib_BilinearResize2D": [resized],
    "UpSampling": [lambda x, y: mx.sym.UpSampling(x, scale=4, sample_type="nearest")],
    "Pad": [lambda x, y: mx.sym.pad(x, mode="edge", pad_width=(0, 0, 0, 0, 2, 1, 3, 2))],
    "slice_like": [lambda x, y: mx.sym.slice_like(x, y, axes=(2, 3))],
    "broadcast_like": [
        lambda x, y: mx.sym.broadcast_like(
            mx.sym.mean(x, axis=(2, 3), keepdims=True), y, lhs_axes=(2, 3), rhs_axes=(2, 3)
        )
    ],
    "slice": [
        lambda x, y: mx.sym.slice(x, begin=(None,) * 4, end=(None,) * 4, step=(None, None, -1, -1)),
        lambda x, y: mx.sym.slice(x, begin=(None, 1, None, 5), end=(None, 6, None, 1), step=(None, 2, 1, -2)),
    ],
    "slice_axis": [lambda x, y: mx.sym.slice_axis(x, axis=1, begin=2, end=5)],
    "Concat": [
        lambda x, y: mx.sym.concat(x, 2 * x, dim=1),
        lambda x, y: mx.sym.concat(
            *(mx.sym.slice_axis(x, axis=1, begin=at, end=at + 1) for at in (3, 0, 3)), dim=1
        ),
    ],
    "elemwise_add": [lambda x, y: call("elemwise_add", x, x)],
    "broadcast_add": [lambda x, y: mx.sym.broadcast_add(x, mx.sym.max(x, axis=1, keepdims=True))],
    "_Plus": [],  # MXNet writes these three as elemwise_...
    "_Minus": [],
    "_Mul": [],
    "elemwise_sub": [lambda x, y: x - mx.sym.relu(x)],
    "broadcast_sub": [lambda x, y: mx.sym.broadcast_sub(x, mx.sym.max(x, axis=1, keepdims=True))],
    "elemwise_mul": [lambda x, y: x * x],
    "broadcast_mul": [lambda x, y: mx.sym.broadcast_mul(x, mx.sym.max(x, axis=1, keepdims=True))],
    "_maximum": [lambda x, y: mx.sym.maximum(x, 0.3 * x)],
    "broadcast_maximum": [lambda x, y: mx.sym.broadcast_maximum(x, mx.sym.max(x, axis=1, keepdims=True))],
    "relu": [lambda x, y: mx.sym.relu(x)],
    "exp": [lambda x, y: mx.sym.exp(x)],
    "log": [lambda x, y: mx.sym.log(mx.sym.exp(x) + 1)],
    "_plus_scalar": [lambda x, y: x + 1.5],
    "_mul_scalar": [lambda x, y: x * 1.2e-38],
    "_div_scalar": [lambda x, y: x / 3],
    "add_n": [lambda x, y: mx.sym.add_n(x, x, 2 * x)],
    "ones_like": [lambda x, y: mx.sym.ones_like(y)],
    "zeros_like": [lambda x, y: mx.sym.concat(mx.sym.zeros_like(x), x, dim=1)],
    "softmax": [lambda x, y: mx.sym.softmax(x, axis=1), lambda x, y: mx.sym.softmax(x)],
    "log_softmax": [lambda x, y: mx.sym.log_softmax(x, axis=1)],
    "mean": [lambda x, y: mx.sym.mean(x, axis=(2, 3), keepdims=True), lambda x, y: mx.sym.mean(x, axis=1)],
    "max": [lambda x, y: mx.sym.max(x, axis=1, keepdims=True)],
    "sum": [lambda x, y: mx.sym.sum(x, axis=1, keepdims=True)],
}


def both(make) -> tuple:
    """What onnxruntime and MXNet make of a function of two symbols."""
    draws = np.random.RandomState(0)
    arrays = {"x": draws.normal(size=(2, 6, 7, 9)), "y": draws.normal(size=(2, 6, 5, 4))}
    symbol = make(mx.sym.var("x"), mx.sym.var("y"))
    read = {name: arrays[name].astype(np.float32) for name in arrays if name in symbol.list_inputs()}
    shapes, _, statistics = symbol.infer_shape(**{name: array.shape for name, array in read.items()})
    names = [*symbol.list_arguments(), *symbol.list_auxiliary_states()]
    values = {
        name: draws.uniform(0.5, 2, shape).astype(np.float32)
        for name, shape in zip(names, [*shapes, *statistics])
        if name not in read
    }
    bound = {name: mx.nd.array(array) for name, array in {**values, **read}.items()}
    executor = symbol.bind(
        mx.cpu(),
        {name: bound[name] for name in symbol.list_arguments()},
        aux_states={name: bound[name] for name in symbol.list_auxiliary_states()},
    )
    graph, tensor = onnx_graph.Graph(), onnx.helper.make_tensor_value_info
    for name in read:
        graph.name(name)
    (output,) = onnx_graph.write(graph, symbol, values, {name: name for name in read})
    graph.add("Identity", output, called="out")
    wanted = executor.forward(is_train=False)[0].asnumpy()
    ends = [tensor(name, 1, [None] * 4) for name in read], [tensor("out", 1, [None] * wanted.ndim)]
    content = graph.model(*ends, {}).SerializeToString()
    onnx.checker.check_model(onnx.load_from_string(content))
    run = onnx_export.session(content)
    used = {value.name: read[value.name] for value in run.get_inputs()}
    return run.run(None, used)[0], wanted


@pytest.mark.parametrize("name, make", [(name, make) for name, cases in CASES.items() for make in cases])
def test_an_operator_gives_mxnets_values(name, make):
    nodes = json.loads(make(mx.sym.var("x"), mx.sym.var("y")).tojson())["nodes"]
    assert name in {node["op"] for node in nodes}
    found, wanted = both(make)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


def test_every_operator_that_can_be_written_is_tested():
    assert set(CASES) == set(onnx_graph._WRITERS)


@pytest.mark.parametrize(
    "make, named",
    [
        (lambda x, y: mx.sym.tanh(x), "operator tanh (node tanh"),
        (lambda x, y: mx.sym.Activation(x, act_type="sigmoid", name="here"), "act_type=sigmoid"),
        (
            lambda x, y: mx.sym.contrib.BilinearResize2D(x, scale_height=2, scale_width=2),
            "align_corners=True",
        ),
        (lambda x, y: mx.sym.contrib.BilinearResize2D(x, like=y, mode="like"), "_contrib_BilinearResize2D"),
        (
            lambda x, y: mx.sym.contrib.BilinearResize2D(x, height=9, width=9, align_corners=False),
            "scale_height",
        ),
        (lambda x, y: mx.sym.Pooling(x, kernel=(2, 2), pool_type="sum"), "pool_type=sum"),
        (lambda x, y: mx.sym.Pooling(x, kernel=(2, 2), pad=(1, 1), pool_type="avg"), "pad=(1, 1)"),
        (lambda x, y: mx.sym.UpSampling(x, y, scale=2, sample_type="bilinear", num_filter=3), "UpSampling"),
        (lambda x, y: mx.sym.pad(x, mode="reflect", pad_width=(0, 0, 0, 0, 1, 1, 1, 1)), "mode=reflect"),
        (
            lambda x, y: mx.sym.Pooling(x, kernel=(2, 2), stride=(2, 2), pooling_convention="full"),
            "pooling_convention=full",
        ),
        (lambda x, y: mx.sym.softmax(x, axis=1, temperature=2.0), "temperature=2"),
        (lambda x, y: mx.sym.Dropout(x, mode="always"), "mode=always"),
        (lambda x, y: mx.sym.slice_axis(x, axis=1, begin=-2, end=None), "bounds -2 and None"),
        (lambda x, y: mx.sym.slice_axis(x, axis=2, begin=0, end=2), "axis=2"),
        (lambda x, y: mx.sym.mean(x), "axis=None"),
        (lambda x, y: mx.sym.split(x, num_outputs=2, axis=1)[1], "operator SliceChannel"),
    ],
)
def test_what_can_t_be_written_is_an_error_that_names_it(make, named):
    symbol = make(mx.sym.var("x"), mx.sym.var("y"))
    with pytest.raises(RunError) as caught:
        onnx_graph.write(onnx_graph.Graph(), symbol, {}, {"x": "x", "y": "y"})
    said = str(caught.value)
    assert named in said and "can't be written as ONNX" in said and "\n" not in said


def test_a_parameter_that_is_not_float32_is_refused():
    symbol = mx.sym.broadcast_add(mx.sym.var("x"), mx.sym.var("w"))
    with pytest.raises(RunError, match="parameter w is float16"):
        onnx_graph.write(onnx_graph.Graph(), symbol, {"w": np.ones(3, np.float16)}, {"x": "x"})


# ---- networks


@pytest.mark.parametrize("kind", network.SUBNETS)
def test_every_rule_gives_the_live_scores(kind):
    built = small.shaken(kind, learned_fusion=True)
    for rule in (*fusion.RULES, fusion.LEARNED):
        fused = FusedNetwork(built, rule)
        difference, equal = onnx_export.check(fused, onnx_export.model(fused), sizes=((2, 33, 47),))
        assert difference < 1e-4 and equal > 0.999


@pytest.mark.parametrize(
    "settings",
    [
        {"head": HeadSettings(kind="aspp_v2", stages=(3,))},
        {"head": HeadSettings(kind="aspp_v3", channels=8, stages=(3,))},
        {"head": HeadSettings(kind="gcn", kernel=5, stages=(2, 3))},
        *({"subnet_heads": HeadSettings(context=context, **NARROW)} for context in CONTEXTS),
        {"subnet_heads": HeadSettings(**{**NARROW, "stages": (1, 3)}, output_stride=4)},
        {"subnets": "residual", "subnet_heads": HeadSettings(**{**NARROW, "stages": (2, 3)}, detail=1)},
        {"norm": "inplace"},
    ],
    ids=str,
)
def test_every_head_and_norm_gives_the_live_scores(settings):
    fused = FusedNetwork(small.shaken(**{"subnets": "plain", **settings}), "conditional")
    difference, equal = onnx_export.check(fused, onnx_export.model(fused), sizes=((1, 1, 1), (1, 45, 61)))
    assert difference < 1e-4 and equal > 0.999


def thin_resnet38():
    encoder, head = ResNet38Encoder(8, thin=16, prefix="encoder_"), HeadSettings(channels=8, dilation=2)
    built = network.SubnetNetwork(
        encoder, PlainHead(encoder, 5, head, prefix="subnet0_"), [], [], 5, "plain", prefix="network_"
    )
    mx.random.seed(0)
    built.initialize(mx.init.Xavier(magnitude=2))
    built(mx.nd.zeros((1, 3, 32, 32)))
    return built


def lite0(stride: int):
    head = HeadSettings(channels=8, dilation=2, stages=(3,))
    return network.build("efficientnet_lite0", 5, output_stride=stride, head=head, last_stage=3)


ENCODERS = {
    "resnet38": thin_resnet38,
    "efficientnet_lite0, 8": lambda: lite0(8),
    "efficientnet_lite0, 16": lambda: lite0(16),
}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("fold_norms", [True, False])
def test_every_family_of_encoders_gives_the_live_scores(name, fold_norms):
    fused = FusedNetwork(ENCODERS[name](), "subnet0")
    content = onnx_export.model(fused, fold_norms=fold_norms)
    difference, equal = onnx_export.check(fused, content, sizes=((1, 1, 1), (2, 33, 47), (1, 64, 40)))
    assert difference < 1e-4 and equal > 0.999
    kinds = [node.op_type for node in onnx.load_from_string(content).graph.node]
    # ResNet-38 has batch norms that no convolution comes before
    left = kinds.count("BatchNormalization")
    assert left > 10 if not fold_norms else (left > 0) == (name == "resnet38")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet101", "resnet38"])
def test_the_papers_networks_give_the_live_scores(name):
    from experiments.tools import made_up_values

    built = network.build(name, 19, groups=((2, 3, 4), (11, 12), (13, 14, 15)))
    made_up_values.fill(built)
    fused = FusedNetwork(built, "sum")
    difference, equal = onnx_export.check(fused, onnx_export.model(fused))
    assert difference < 1e-4 and equal > 0.999


@pytest.mark.slow
def test_a_picture_10_000_wide_gives_the_live_scores(trained):
    fused = FusedNetwork(trained, "residual_product")
    difference, equal = onnx_export.check(fused, onnx_export.model(fused), sizes=((1, 3, 10_000),))
    assert difference < 1e-4 and equal > 0.9999


# ---- files


def test_the_graph_has_one_input_and_output_of_any_size(files):
    for name, ends in (
        ("net", [("data", 1, ["N", 3, "H", "W"]), ("scores", 1, ["N", 5, "H", "W"])]),
        ("pictures", [("pictures", 2, ["N", "H", "W", 3]), ("classes", 2, ["N", "H", "W"])]),
    ):
        model = onnx.load(str(files / f"{name}.onnx"))
        onnx.checker.check_model(model, full_check=True)
        found = [
            (
                value.name,
                value.type.tensor_type.elem_type,
                [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim],
            )
            for value in (*model.graph.input, *model.graph.output)
        ]
        assert found == ends
        resizes = [node for node in model.graph.node if node.op_type == "Resize"]
        geometry = {attribute.name: attribute.s for node in resizes for attribute in node.attribute}
        assert resizes and geometry["coordinate_transformation_mode"] == b"half_pixel"


def test_the_classes_of_pictures_are_those_of_the_live_scores(trained, files):
    pictures = np.random.RandomState(3).randint(0, 256, (2, 50, 30, 3)).astype(np.uint8)
    images = np.stack([normalize(picture) for picture in pictures])
    (classes,) = onnx_export.session(str(files / "pictures.onnx")).run(None, {"pictures": pictures})
    wanted = onnx_export.live_scores(FusedNetwork(trained, "residual_product"), images).argmax(1)
    assert classes.dtype == np.uint8 and (classes == wanted).mean() > 0.999


def test_the_description_is_in_the_file_and_beside_it(trained, files):
    beside = json.loads((files / "net.onnx.json").read_text())
    model = onnx.load(str(files / "net.onnx"))
    inside = json.loads({prop.key: prop.value for prop in model.metadata_props}["confseg"])
    assert {key: beside[key] for key in inside} == inside
    assert beside["classes"] == list("abcde") and beside["groups"] == [["a", "b"], ["e", "c"]]
    assert beside["rule"] == "residual_product"
    assert network.from_settings(beside["network"]).settings == trained.settings
    content = (files / "net.onnx").read_bytes()
    sums = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert beside["files"] == {"net.onnx": sums}
    assert beside["checked"]["difference"] < 1e-4 and len(beside["checked"]["sizes"]) == 5


def test_small_constants_are_shared_and_nothing_is_left_unread(files):
    graph = onnx.load(str(files / "net.onnx")).graph
    read = {name for node in graph.node for name in node.input} | {"scores"}
    assert {tensor.name for tensor in graph.initializer} <= read
    assert all(read.intersection(node.output) for node in graph.node)


def wrong_geometry(monkeypatch):
    right = onnx_graph.Graph.add

    def add(self, operator, *inputs, **attributes):
        if operator == "Resize":
            attributes["coordinate_transformation_mode"] = "asymmetric"
        return right(self, operator, *inputs, **attributes)

    monkeypatch.setattr(onnx_graph.Graph, "add", add)


@pytest.mark.parametrize("pictures, what", [(False, "scores differ"), (True, "classes differ")])
def test_a_graph_that_differs_is_not_written(monkeypatch, tmp_path, pictures, what):
    built = small.shaken(groups=())
    wrong_geometry(monkeypatch)
    with pytest.raises(RunError, match=f"{what}.* nothing was written"):
        onnx_export.write(built, "subnet0", SPACE, tmp_path / "net.onnx", pictures=pictures)
    assert not list(tmp_path.iterdir())


def test_scores_that_are_no_numbers_are_not_written(monkeypatch, tmp_path):
    built = small.shaken(groups=())
    fused = FusedNetwork(built, "subnet0")
    content = onnx_export.model(fused)
    monkeypatch.setattr(onnx_export, "live_scores", lambda fused, images: np.full((1, 5, 1, 1), np.nan))
    with pytest.raises(RunError, match="nothing was written"):
        onnx_export.check(fused, content)


def test_more_classes_than_a_picture_holds_are_refused(tmp_path):
    built = network.build(
        "resnet18", 257, head=small.HEAD, last_stage=3, initial_values=False, output_stride=16
    )
    with pytest.raises(RunError, match="257 classes don't fit"):
        onnx_export.write(built, "subnet0", SPACE, tmp_path / "net.onnx", pictures=True)


def test_a_network_without_the_extra_is_one_sentence(monkeypatch, trained, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RunError, match="make setup-onnx") as caught:
        onnx_export.write(trained, "sum", SPACE, tmp_path / "net.onnx")
    pins = [
        line for line in (ROOT / "requirements" / "onnx.txt").read_text().split("\n") if line[:4] == "onnx"
    ]
    assert f"pip install {' '.join(pins)} (" in str(caught.value)


# ---- the command


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory) -> Path:
    """A run folder, whose last cell is the best."""
    folder = fake_run.make(tmp_path_factory.mktemp("run") / "mine")
    results = json.loads((folder / "results.json").read_text())
    for cell in results["cells"]:
        cell.update(rule="residual_product", tta="single", checkpoint=f"checkpoints/{cell['key']}.npz")
    results["other_rules"] = [{"cell": results["cells"][-1]["key"], "rule": "sum", "mean_iou": 0.25}]
    (folder / "results.json").write_text(json.dumps(results))
    about = {
        "network": trained.settings,
        "rule": "residual_product",
        "labels": SPACE.record(),
        "phase": "last",
    }
    (folder / "checkpoints").mkdir()
    arrays = checkpoint.network_arrays(trained)
    checkpoint.save(folder / "checkpoints" / "subnets_confusion_ce.npz", arrays, {**about, "epoch": 3})
    return folder


def test_the_command_exports_a_runs_best_network(run, tmp_path, ask):
    wrote = ask("export", run, "--out", tmp_path / "net.onnx")
    results = json.loads((run / "results.json").read_text())
    assert wrote["format"] == "onnx" and wrote["difference"] < 1e-4
    origin = json.loads((tmp_path / "net.onnx.json").read_text())["origin"]
    file = run / "checkpoints" / "subnets_confusion_ce.npz"
    assert origin == {
        "checkpoint": {"name": file.name, **export.checksum(file.read_bytes())},
        "phase": "last",
        "epoch": 3,
        "run": "mine",
        "data": results["data"]["description"],
        "mean_iou": results["cells"][-1]["mean_iou"],
    }
    assert export.origin(file, "sum")["mean_iou"] == 0.25
    assert export.origin(file, "product")["mean_iou"] is None


def test_the_command_writes_what_is_asked_for(run, tmp_path, call):
    file = run / "checkpoints" / "subnets_confusion_ce.npz"
    said = call(
        "export", file, "--format", "onnx", "--pictures", "--keep-norms", "--out", tmp_path / "a" / "net"
    )
    assert f"run_onnx.py {tmp_path / 'a' / 'net.onnx'}" in said
    model = onnx.load(str(tmp_path / "a" / "net.onnx"))
    assert model.graph.input[0].name == "pictures"
    assert "BatchNormalization" in {node.op_type for node in model.graph.node}


@pytest.mark.parametrize(
    "words, named",
    [
        (("--out", "{tmp}/net.onnx", "--format", "mxnet"), "names an ONNX file"),
        (("--out", "{tmp}/net", "--pictures"), "--pictures is of ONNX files"),
        (("--out", "{tmp}/net", "--keep-norms"), "--keep-norms is of ONNX files"),
        (("--out", "{tmp}/net", "--format", "onyx"), "did you mean onnx?"),
    ],
)
def test_a_wrong_command_line_says_what_to_do(tmp_path, capsys, words, named):
    with pytest.raises(SystemExit) as caught:
        cli.main(["export", "x.npz", *(word.format(tmp=tmp_path) for word in words)])
    assert caught.value.code == 2 and named in capsys.readouterr().err


# ---- symbols/run_onnx.py


@pytest.fixture
def picture(tmp_path) -> Path:
    pixels = np.random.RandomState(0).randint(0, 256, (45, 70, 3)).astype(np.uint8)
    assert cv2.imwrite(str(tmp_path / "street.png"), cv2.GaussianBlur(pixels, (0, 0), 4))
    return tmp_path / "street.png"


@pytest.fixture
def script():
    """symbols/run_onnx.py, as a function of its arguments."""
    spec = importlib.util.spec_from_file_location("run_onnx", ROOT / "symbols" / "run_onnx.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *words: module.main([str(word) for word in words])


def test_the_script_segments_a_picture_without_mxnet_and_the_package(trained, files, picture, tmp_path):
    alone = "import sys\nsys.modules['mxnet'] = sys.modules['gluon_confseg'] = None\n"
    text = (ROOT / "symbols" / "run_onnx.py").read_text()
    (tmp_path / "alone.py").write_text(text.replace("import argparse\n", f"{alone}import argparse\n", 1))
    words = ["alone.py", files / "net.onnx", picture, "--out", "out.png"]
    done = subprocess.run([sys.executable, *map(str, words)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    image = cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB)
    live = onnx_export.live_scores(FusedNetwork(trained, "residual_product"), normalize(image)[None])[
        0
    ].argmax(0)
    found = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert found.dtype == np.uint8 and found.shape == live.shape and (found == live).mean() > 0.999
    colours = cv2.imread(str(tmp_path / "out-colour.png"))
    wanted = 0.4 * cv2.imread(str(picture)) + 0.6 * SPACE.colors[found][:, :, ::-1]
    assert np.abs(colours - wanted).max() <= 1
    shares = [float(line.split("%")[0]) for line in done.stdout.splitlines()]
    assert sum(shares) == pytest.approx(100, abs=0.5)


def test_the_script_segments_a_folder_by_both_kinds_of_files(script, files, picture, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.PNG"):
        (tmp_path / "in" / name).write_bytes(picture.read_bytes())
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    for name in ("net", "pictures"):
        script(files / f"{name}.onnx", tmp_path / "in", "--out", tmp_path / name)
        names = {file.name for file in (tmp_path / name).iterdir()}
        assert names == {"a.png", "a-colour.png", "b.png", "b-colour.png"}
    first, second = (cv2.imread(str(tmp_path / name / "a.png"), -1) for name in ("net", "pictures"))
    assert (first == second).mean() > 0.999


def test_the_script_segments_what_a_camera_shows(script, files, tmp_path):
    """A video's file stands for the camera."""
    film = layouts.write_film(tmp_path / "film.avi", [layouts.picture(seed, 48, 64) for seed in range(3)])
    script(files / "pictures.onnx", f"camera:{film}", "--out", tmp_path / "out")
    shown = [tmp_path / "out" / f"{number:06d}.png" for number in (1, 2, 3)]
    assert len(list((tmp_path / "out").iterdir())) == 6 and all(file.exists() for file in shown)
    assert cv2.imread(str(shown[0]), -1).shape == (48, 64)
    with pytest.raises(SystemExit, match="camera:nothing.avi: can't be opened; give a camera's number"):
        script(files / "pictures.onnx", "camera:nothing.avi")


def test_the_program_of_the_page_runs_without_mxnet_and_the_package(files, picture, tmp_path):
    (tmp_path / "mynet.onnx").write_bytes((files / "pictures.onnx").read_bytes())
    picture.rename(tmp_path / "a.png")
    program = (ROOT / "docs" / "onnx.md").read_text().split("```python\n")[1].split("```")[0]
    alone = "import sys\nsys.modules['mxnet'] = sys.modules['gluon_confseg'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", alone + program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert set(ast.literal_eval(done.stdout)) <= set("abcde")
    colours = {
        tuple(colour) for colour in cv2.imread(str(tmp_path / "colours.png"))[:, :, ::-1].reshape(-1, 3)
    }
    assert colours <= {tuple(colour) for colour in SPACE.colors}


def test_a_damaged_picture_of_a_folder_is_left_out_and_named(script, files, picture, tmp_path):
    (tmp_path / "in").mkdir()
    for name, content in (("a.png", b"no picture"), ("b.png", picture.read_bytes())):
        (tmp_path / "in" / name).write_bytes(content)
    with pytest.raises(SystemExit, match="1 of 2 files were left out:\n.*a.png: can't be read as a picture"):
        script(files / "net.onnx", tmp_path / "in", "--out", tmp_path / "out")
    assert (tmp_path / "out" / "b.png").exists() and not (tmp_path / "out" / "a.png").exists()


@pytest.mark.parametrize(
    "words, named",
    [
        (("{files}/gone.onnx", "{picture}"), "gone.onnx: no such file; write it with"),
        (("{files}/net.onnx.json", "{picture}"), "net.onnx.json: can't be loaded"),
        (("{files}/net.onnx", "{tmp}/nothing.png"), "nothing.png: can't be read as a picture"),
        (("{files}/net.onnx", "{tmp}/empty"), "empty: holds no PNG or JPEG file"),
        (("{files}/net.onnx", "{tmp}/twice"), "would give one file of labels"),
        (("{files}/net.onnx", "{picture}", "--out", "{tmp}/no/folder.png"), "folder.png: can't be written"),
        (("{files}/net.onnx", "{picture}", "--out", "{tmp}/noending"), "noending: can't be written"),
        (("{files}/net.onnx", "{tmp}/in", "--out", "{picture}"), "street.png: can't be made"),
        (("{files}/net.onnx", "{picture}", "--gpu"), "--gpu: onnxruntime can't compute on a GPU here"),
    ],
)
def test_the_scripts_errors_are_one_sentence(script, files, picture, tmp_path, words, named):
    for folder, names in (("empty", ()), ("in", ("a.png",)), ("twice", ("a.png", "a.jpg"))):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_bytes(picture.read_bytes())
    with pytest.raises(SystemExit) as caught:
        script(*(word.format(files=files, picture=picture, tmp=tmp_path) for word in words))
    assert named in str(caught.value) and "\n" not in str(caught.value)


def test_the_script_refuses_a_file_that_names_no_classes(script, files, picture, tmp_path):
    model = onnx.load(str(files / "net.onnx"))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(SystemExit, match="says nothing of its classes"):
        script(tmp_path / "other.onnx", picture)


# ---- the networks that nobody trained


def test_the_page_shows_what_was_measured_of_every_network():
    from experiments.tools import onnx_table

    kept = json.loads(onnx_table.KEPT.read_text())
    names = {name for row in onnx_table.rows() for name in row.names()}
    assert {key.split(onnx_table.ALONE)[0] for key in kept} <= names
    start, end = onnx_table.MARKS
    page = onnx_table.PAGE.read_text()
    assert page.split(start)[1].split(end)[0].strip("\n") == onnx_table.page_table(kept)
    assert max(figures["difference"] for figures in kept.values()) <= onnx_export.TOLERANCE
    assert min(figures["equal_pixels"] for figures in kept.values()) >= 0.9999


def test_the_gpu_program_makes_the_same_weights_with_numpy_alone(tmp_path):
    from experiments.tools import made_up_values

    spec = importlib.util.spec_from_file_location(
        "onnx_gpu", ROOT / "experiments" / "benchmarks" / "onnx_gpu.py"
    )
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    drawn = [{"seed": 4, "scale": 0.1, "shape": [3, 2, 1, 1]}, {"seed": 5, "scale": 2.0, "shape": [7]}]
    program.make_weights(tmp_path, {"name": "net", "weights": drawn})
    wanted = [made_up_values.draw(each["seed"], each["shape"], each["scale"]) for each in drawn]
    assert (tmp_path / "net.bin").read_bytes() == b"".join(array.tobytes() for array in wanted)
    assert made_up_values.draw(1, 100_000, 3.0).std() == pytest.approx(3.0, rel=0.01)


@pytest.mark.slow
def test_the_gpu_program_compares_what_the_benchmark_prepares(tmp_path):
    from experiments.benchmarks import bench_onnx_gpu

    built = small.build("plain", head=HeadSettings(channels=32, depth=2, dilation=2, stages=(3,)))
    bench_onnx_gpu.prepare_made_up(tmp_path, "small", "A small network", built)
    assert (tmp_path / "small.onnx").stat().st_size < 2**21 and not (tmp_path / "small.bin").exists()
    program = ROOT / "experiments" / "benchmarks" / "onnx_gpu.py"
    words = [program, tmp_path, "--cpu", "--size", 32, 48, "--rounds", 4, "--out", tmp_path / "out.json"]
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["tf32"] for row in rows] == [False, True]
    assert all(
        row["difference"] < 1e-4 and row["equal_pixels"] > 0.999 and row["median_s"] > 0 for row in rows
    )
