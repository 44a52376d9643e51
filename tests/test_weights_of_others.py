"""Checkpoints of other programs: objects beside the weights or around them, several copies, other formats."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import enum
import functools
import gzip
import io
import pathlib
import pickle
import random
import re
import tarfile
import uuid
import zipfile

import mxnet as mx
import numpy as np
import pytest
import small
import torch_writer
from torch_writer import Object, Opcodes, name, text

from gluon_confseg import build, encoders, weights
from gluon_confseg.cli import train as train_verb
from gluon_confseg.errors import RunError, WeightsError
from gluon_confseg.recipe import phase
from gluon_confseg.weights import torch_file


def cut():
    """The encoder for the weights below, without values."""
    return encoders.build("resnet18", 16, last_stage=3)


@pytest.fixture(scope="module")
def arrays() -> dict:
    """The values of an encoder under PyTorch's names, and what stands beside them in a classifier."""
    encoder, ends = cut(), {"gamma": "weight", "beta": "bias"}
    encoder.initialize(mx.init.Uniform(1))
    encoder(small.images())
    found = {}
    for called, array in small.values(encoder).items():
        start, _, end = called.rpartition(".")
        found[f"{start}.{ends.get(end, end)}"] = array
    return {**found, "fc.weight": np.ones((4, 3), np.float32)}


def prefixed(prefix: str, arrays: dict, factor: float = 1) -> dict:
    return {prefix + called: array * np.float32(factor) for called, array in arrays.items()}


def load(root, tmp_path, write=torch_writer.write_zip, **how):
    """Write, load, and return the report and by how much the first weights were multiplied."""
    write(tmp_path / "a.pth", root)
    return load_file(tmp_path / "a.pth", **how)


def load_file(file, **how):
    encoder = cut()
    report = weights.load(encoder, file, **how)
    assert (len(report.loaded), report.left) == (75, [])
    return report, small.values(encoder)["conv1.weight"]


def is_times(found, arrays: dict, factor: float) -> bool:
    return np.array_equal(found, arrays["conv1.weight"] * np.float32(factor))


# ---- objects beside the weights


class Color(enum.Enum):
    RED = 1


class Slots:
    __slots__ = ("a", "b")

    def __init__(self):
        self.a, self.b = 1, [2]


class OwnDict(dict):
    pass


class OwnList(list):
    pass


class Reduced:
    """Says how it is made, its state, its items and its entries."""

    def __reduce__(self):
        return Reduced, (), {"x": 1}, iter([1, 2]), iter([("a", 1)])

    def append(self, _):
        pass

    def extend(self, _):
        pass

    def __setitem__(self, *_):
        pass


class Stateful:
    def __setstate__(self, state):
        raise AssertionError("is run")

    def __getstate__(self):
        return [1, 2]


class ByName:
    def __getnewargs_ex__(self):
        return (1,), {"key": 2}

    def __new__(cls, *_, **__):
        return super().__new__(cls)


def with_attributes(made, **attributes):
    vars(made).update(attributes)
    return made


BESIDE = {
    "NumPy's": [np.float64(0.7), np.arange(5.0), np.array([{}, 1], object), np.random.RandomState(0)],
    "newer NumPy's": [
        np.random.default_rng(0),
        np.datetime64("2020-01-01"),
        np.ma.array([1, 2], mask=[0, 1]),
    ],
    "settings": [argparse.Namespace(lr=0.1, nested=argparse.Namespace(a=[1])), pathlib.PurePosixPath("a")],
    "times": [datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc), datetime.timedelta(1)],
    "numbers": [decimal.Decimal("1.5"), uuid.UUID(int=2**128 - 1), 10**60, 1 + 2j, float("nan")],
    "containers": [
        collections.defaultdict(list, a=[1]),
        collections.deque([1], 5),
        collections.Counter("ab"),
    ],
    "sets": [{1, 2}, frozenset([1]), bytearray(b"a"), range(3), slice(1, 2), ...],
    "code": [
        re.compile("a.*b", re.I),
        functools.partial(print, 1, end=""),
        len,
        Color,
        Color.RED,
        ValueError("x"),
    ],
    "classes": [Slots(), with_attributes(OwnDict(a=1), b=2), with_attributes(OwnList([1]), b=2), Reduced()],
    "states": [Stateful(), ByName(), random.getstate()],
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("beside", BESIDE)
def test_objects_beside_the_weights_are_read_past(arrays, tmp_path, beside, protocol):
    write = torch_writer.write_legacy if protocol == 5 else torch_writer.write_zip
    content = pickle.dumps(BESIDE[beside], protocol)
    content = content[2 if protocol == 2 else 11 : -1]  # less the protocol, the frame and the end
    report, found = load({"beside": Opcodes(content), "model": arrays}, tmp_path, write)
    assert report.unused == ["model.fc.weight"] and is_times(found, arrays, 1)


def test_classes_that_are_nowhere_are_read_past_and_named_where_loading_fails(arrays, tmp_path):
    history = Object("mmengine.logging.history_buffer.HistoryBuffer", {"_log_history": [1, 2]})
    config = Object(
        "omegaconf.dictconfig.DictConfig", {"_content": {"a": Object("omegaconf.nodes.AnyNode", {})}}
    )
    root = {"message_hub": history, "hyper_parameters": config, "state_dict": arrays}
    assert load(root, tmp_path)[0].unused == ["state_dict.fc.weight"]
    torch_writer.write_zip(tmp_path / "b.pth", {"message_hub": history})
    with pytest.raises(WeightsError, match=r"holds no tensors.*HistoryBuffer, which is no tensor"):
        weights.load(cut(), tmp_path / "b.pth")


def test_tensors_that_are_no_weights_are_read_past(arrays, tmp_path):
    quantised = (
        name("torch._utils", "_rebuild_tensor_v2")
        + torch_writer.row(
            [
                torch_writer.row(
                    [text("storage"), name("torch", "Float8Storage"), text("99"), text("cpu"), b"K\x04"]
                )
                + b"Q",
                *(b"K\x00", b"K\x04\x85", b"K\x01\x85", b"\x89", b"}"),
            ]
        )
        + b"R"
    )
    assert is_times(load({"model": arrays, "small": Opcodes(quantised)}, tmp_path)[1], arrays, 1)


# ---- weights inside of objects, and names that wrappers changed


def as_module(tree: dict) -> Object:
    """A whole module as `torch.save(model)` keeps it: parameters and buffers apart, modules inside."""
    inside = {key: as_module(value) for key, value in tree.items() if isinstance(value, dict)}
    own = {key: value for key, value in tree.items() if not isinstance(value, dict)}
    buffers = {key: own.pop(key) for key in list(own) if key.startswith("running_")}
    return Object(
        "my.project.Net", {"training": 1, "_parameters": own, "_buffers": buffers, "_modules": inside}
    )


def tree_of(arrays: dict) -> dict:
    tree: dict = {}
    for called, array in arrays.items():
        *above, last = called.split(".")
        functools.reduce(lambda place, key: place.setdefault(key, {}), above, tree)[last] = array
    return tree


@pytest.mark.parametrize("write", [torch_writer.write_zip, torch_writer.write_legacy])
def test_a_whole_module_is_read_as_its_state_dict(arrays, tmp_path, write):
    report, found = load({"epoch": 3, "model": as_module(tree_of(arrays))}, tmp_path, write)
    assert is_times(found, arrays, 1) and report.prefix == "model"
    assert "(model.fc: 1)" in str(report)


@pytest.mark.parametrize(
    "around",
    [
        lambda arrays: Object("argparse.Namespace", {"model": arrays}),
        lambda arrays: {"trainer": Object("my.Trainer", {"net": Object("my.Holder", {"weights": arrays})})},
        lambda arrays: [{"epoch": 1}, arrays],
    ],
)
def test_weights_inside_of_objects_are_found(arrays, tmp_path, around):
    assert is_times(load(around(arrays), tmp_path)[1], arrays, 1)


@pytest.mark.parametrize("part", ["_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."])
def test_what_wrappers_put_into_names_is_left_out_wherever_it_stands(arrays, tmp_path, part):
    for root in (
        prefixed(part, arrays),
        prefixed(f"model.{part}backbone.", arrays),
        {called.replace("layer2.0.", f"layer2.{part}0.{part}"): array for called, array in arrays.items()},
    ):
        assert is_times(load(root, tmp_path)[1], arrays, 1)


# ---- several copies


COPIES = [  # the copy that is taken first
    ("teacher", "student"),
    ("model_ema", "model"),
    ("state_dict_ema", "state_dict"),
    ("modelEma", "model"),
    ("ema_net", "net"),
    ("swa_model", "model"),
    ("online", "target"),
    ("base_encoder", "momentum_encoder"),
    ("encoder_q", "encoder_k"),
]


@pytest.mark.slow
@pytest.mark.parametrize("in_front", [False, True])
@pytest.mark.parametrize("taken, other", COPIES)
def test_of_two_copies_the_report_says_which_was_taken_and_how_to_take_the_other(
    arrays, tmp_path, taken, other, in_front
):
    root = {taken: prefixed("backbone.", arrays), other: prefixed("backbone.", arrays, 2)}
    root = {"state": dict(reversed(root.items()) if in_front else root)}
    report, found = load(root, tmp_path)
    assert is_times(found, arrays, 1)
    assert report.prefix == f"state.{taken}.backbone" and report.copies == (f"state.{other}.backbone",)
    assert f"loaded from state.{taken}.backbone" in str(report) and f"(state.{other}: 76" in str(report)
    assert f"give FILE:state.{other}.backbone to take that" in str(report)
    for prefix in (*report.copies, f"state.{other}", f"state.{other}."):
        report, found = load_file(tmp_path / "a.pth", prefix=prefix)
        assert is_times(found, arrays, 2) and report.copies == (f"state.{taken}.backbone",)


def test_an_average_by_pytorchs_swa_is_told_by_its_counter(arrays, tmp_path):
    averaged = {"n_averaged": np.ones(1, np.float32), **prefixed("module.", arrays, 2)}
    report, found = load({"first": arrays, "second": averaged}, tmp_path)
    assert report.prefix == "second.module" and is_times(found, arrays, 2)


def test_mmengine_keeps_the_average_in_state_dict(arrays, tmp_path):
    root = {"state_dict": arrays, "ema_state_dict": prefixed("module.", arrays, 2)}
    assert load(root, tmp_path)[0].prefix == "ema_state_dict.module"
    history = Object("mmengine.logging.history_buffer.HistoryBuffer", {})
    report, found = load({**root, "message_hub": history}, tmp_path)
    assert is_times(found, arrays, 1) and report.copies == ("ema_state_dict.module",)


def test_a_copy_without_a_prefix_is_taken_by_an_empty_one(arrays, tmp_path):
    report, found = load({**arrays, **prefixed("ema.", arrays, 2)}, tmp_path)
    assert is_times(found, arrays, 2) and report.copies == ("",)
    assert is_times(load_file(tmp_path / "a.pth", prefix="")[1], arrays, 1)


def test_shapes_decide_between_networks_of_one_kind(arrays, tmp_path):
    wide = {called: np.concatenate([array, array]) for called, array in arrays.items()}
    root = {**prefixed("a.", wide), **prefixed("depth_branch.", arrays)}
    report, found = load(root, tmp_path)
    assert report.prefix == "depth_branch" and not report.copies and is_times(found, arrays, 1)


def test_a_prefix_under_which_nothing_lies_lists_those_there_are(arrays, tmp_path):
    torch_writer.write_zip(tmp_path / "a.pth", {"teacher": arrays, "student": arrays})
    with pytest.raises(WeightsError, match="nothing of this network under 'studnet'.* teacher, student$"):
        weights.load(cut(), tmp_path / "a.pth", prefix="studnet")


def test_file_and_prefix_in_one_word(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"")
    (tmp_path / "a:b.pth").write_bytes(b"")
    file = f"{tmp_path}/a.pth"
    assert weights.split_prefix(f"{file}:student.net") == (file, "student.net")
    assert weights.split_prefix(f"{file}:") == (file, "")
    for path in (file, f"{tmp_path}/a:b.pth", f"{tmp_path}/none.pth:x"):
        assert weights.split_prefix(path) == (path, None)


def test_a_recipes_weights_may_name_a_copy(arrays, tmp_path, capsys):
    file = tmp_path / "a.pth"
    torch_writer.write_zip(file, {"teacher": prefixed("", arrays), "student": prefixed("", arrays, 2)})
    recipe = small.recipe([phase("base", epochs=1)], weights=f"{file}:student")
    built = build.build(recipe.phases[0], small.data(), seed=0)[0].network
    assert is_times(small.values(built)["encoder.conv1.weight"], arrays, 2)
    assert f"{file}:student: 75 of the network's parameters loaded from student" in capsys.readouterr().err
    given = argparse.Namespace(settings=[], seed=None, weights=f"{tmp_path}/b.pth:student", root=None)
    with pytest.raises(RunError, match="b.pth:student: there is no such file"):
        train_verb.with_settings(recipe, given)


# ---- files that are named for what they are


def zipped(**records) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for called, inside in records.items():
            archive.writestr(called.replace("__", "/"), inside)
    return content.getvalue()


def tarred() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("net.pth"))
    return content.getvalue()


def numpy_pickle(arrays: dict, **more) -> bytes:
    return pickle.dumps({"model": arrays, **more}, 2)


ARRAY = np.ones((2, 3), np.float32)
FORMATS = {
    "a.pkl Detectron2": (numpy_pickle({"stem.conv1.weight": ARRAY}, matching_heuristics=True), "Detectron2"),
    "b.pkl Detectron2": (numpy_pickle({"backbone.res2.0.conv1.weight": ARRAY}), "Detectron2.*torchvision"),
    "c.pkl Caffe2": (pickle.dumps({"blobs": {"res2_0_branch2a_w": ARRAY}}, 4), "Detectron2"),
    "a.pdparams": (pickle.dumps({"w": ARRAY, "StructuredToParameterName@@": {}}, 2), "PaddlePaddle"),
    "d.pkl NumPy": (numpy_pickle({"conv1.weight": ARRAY}), "pickle of NumPy arrays.*save_file"),
    "a.pth page": (b"\xef\xbb\xbf\n <!DOCTYPE html><html>", "a web page"),
    "a.pth answer": (b"404: Not Found", "text, which begins with '404: Not Found'"),
    "a.pth JSON": (b'{"message": "quota exceeded"}', "quota exceeded"),
    "a-symbol.json": (b'{\n  "nodes": [{"op": "null"}]}', "exported graph; give the checkpoint"),
    "a.pth.tar tar": (tarred(), "a tar archive: unpack it"),
    "a.pth.gz": (gzip.compress(b"x"), "gzip: unpack it"),
    "a.zip around": (zipped(deep__net_pth=b"x", **{"net.pth": b"x"}), "holds 'net.pth': unpack it"),
    "a.npz JAX": (zipped(**{"resnet__conv1__kernel.npy": b"x"}), ".npz file of NumPy arrays"),
    "a.keras": (zipped(**{"config.json": b"", "model.weights.h5": b""}), "a Keras network"),
    "a.pt script": (zipped(**{"m__data.pkl": b"", "m__code__m.py": b""}), "TorchScript"),
    "a.pt2": (zipped(**{"serialized_exported_program.json": b"{}"}), "torch.export"),
    "a.h5": (b"\x89HDF\r\n\x1a\n", "HDF5"),
    "a.ckpt.index": (
        b"\x00\x00\x08" + bytes(90) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb",
        "TensorFlow checkpoint",
    ),
    "a.ckpt.data-00000-of-00001": (b"\x01\x02\xff\xfe" * 9, "TensorFlow checkpoint"),
    "saved_model.pb": (b"\x08\x01\x12\xf4\x9a\x06\x0a\x81", "SavedModel"),
    "frozen.pb": (b"\x0a\x30\x0a\x05input\x12\x0b\xfe\xff", "TensorFlow graph, by its name"),
    "a.onnx": (b"\x08\x07\x12\x07pytorch\x1a\x051.13.:\x8a", "ONNX"),
    "a.tflite": (b"\x1c\x00\x00\x00TFL3\xff", "TensorFlow Lite"),
    "a.msgpack": (b"\x82\xa6params\x81\xa5conv1\x80", "msgpack"),
    "a.weights": (b"\x00\x00\x00\x00\x02\x00\x00\x00\xff\xfe", "Darknet"),
    "a.npy": (b"\x93NUMPY\x01\x00", "single NumPy array"),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_other_formats_are_named_with_what_to_give(tmp_path, kind):
    content, said = FORMATS[kind]
    file = tmp_path / kind.split()[0]
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=said) as caught:
        weights.load(cut(), file)
    assert str(caught.value).startswith(f"{file}: ") and "\n" not in str(caught.value)


def test_a_pickle_that_is_too_large_to_be_read_is_named_by_its_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_file, "_FIRST_PART", 4000)
    content = {"stem.conv1.weight": ARRAY, "res2.0.conv1.weight": np.ones(10_000, np.float32), "more": ARRAY}
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps({"model": content, "matching_heuristics": True}))
    with pytest.raises(WeightsError, match="Detectron2"):
        weights.load(cut(), tmp_path / "R-50.pkl")


@pytest.mark.parametrize(
    "names, said",
    [
        (
            ["backbone.bottom_up.stem.conv1.weight", "backbone.bottom_up.res2.0.conv1.weight"],
            "Detectron2's names",
        ),
        (["resnet.encoder.stages.0.layers.0.shortcut.convolution.weight"], "Hugging Face's names"),
        (["arg:conv0_weight", "aux:bn_moving_mean"], "exported graph.*give the checkpoint"),
        (
            ["resnetv1b0_conv0_weight", "resnetv1b0_batchnorm0_gamma"],
            r"collect_params\(\).save.*save_parameters",
        ),
    ],
)
def test_other_names_are_said_to_be_someones(tmp_path, names, said):
    mx.nd.save(str(tmp_path / "a.params"), {called: mx.nd.ones((64, 3, 7, 7)) for called in names})
    with pytest.raises(WeightsError, match=said):
        weights.load(cut(), tmp_path / "a.params")
