"""INT8 variants of exported networks: calibrated, compared with the float network on data, refused where slower."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import small

from gluon_confseg import cli, export, frozen, int8, onnx_export, scenes, segmenter
from gluon_confseg.errors import DatasetError, RunError


class Images(small.Images):
    """As `small.Images`, and as a data set of files reads images."""

    root = "memory"

    def read_image(self, index: int) -> np.ndarray:
        return self[index][0]


TRAIN, VAL = Images(), Images("val", 3)


@pytest.fixture(scope="module")
def network():
    return small.shaken(stride=8)


@pytest.fixture
def any_speed(monkeypatch):
    monkeypatch.setattr(int8, "check", lambda found: None)


def same(prefix, float_prefix) -> float:
    """Share of the pixels of the validation images with the same class."""
    one, other = (segmenter.open_network(path) for path in (prefix, float_prefix))
    pairs = [(one.classes(VAL[k][0]), other.classes(VAL[k][0])) for k in range(len(VAL))]
    return float(np.mean([first == second for first, second in pairs]))


def test_a_graph_computes_convolutions_in_8_bits_and_keeps_most_classes(network, tmp_path, any_speed):
    written = int8.write_graph(network, "sum", VAL.labels, tmp_path / "net", TRAIN, VAL, {"run": "r"})
    about = json.loads((tmp_path / "net.json").read_text())
    operators = [n["op"] for n in json.loads((tmp_path / "net-symbol.json").read_text())["nodes"]]
    assert "_contrib_quantize_v2" in operators and "_contrib_dequantize" in operators
    assert (
        about["variant"] == "int8"
        and about["origin"] == {"run": "r"}
        and set(about["files"])
        == {
            "net-symbol.json",
            "net-0000.params",
        }
    )
    export.write(network, "sum", VAL.labels, tmp_path / "float")
    found = same(tmp_path / "net", tmp_path / "float")
    assert 0.8 < found and found == pytest.approx(written.variants["int8"].equal, abs=0.01)
    assert list(about["measured"]["variants"]) == ["plain", "fused", "int8"] and written.images == 3
    smallest = segmenter.open_network(tmp_path / "net").classes(np.full((1, 1, 3), 90, np.uint8))
    assert smallest.shape == (1, 1)


@pytest.mark.parametrize("pictures", [False, True])
def test_an_onnx_file_computes_convolutions_in_8_bits_and_keeps_most_classes(
    network, tmp_path, any_speed, pictures
):
    path = tmp_path / "net.onnx"
    written = int8.write_onnx(network, "sum", VAL.labels, path, TRAIN, VAL, pictures=pictures)
    onnx, _ = onnx_export.libraries()
    operators = [node.op_type for node in onnx.load(str(path)).graph.node]
    assert operators.count("QuantizeLinear") > 0 and operators.count("DequantizeLinear") > 0
    onnx_export.write(network, "sum", VAL.labels, tmp_path / "float.onnx", pictures=pictures)
    found = same(path, tmp_path / "float.onnx")
    assert 0.8 < found and found == pytest.approx(written.variants["int8"].equal, abs=1e-9)
    about = json.loads((tmp_path / "net.onnx.json").read_text())
    assert about["variant"] == "int8" and list(about["measured"]["variants"]) == ["float", "int8"]
    assert logging.root.manager.disable == 0  # as before


def test_the_networks_take_turns_and_are_scored_on_the_same_images(monkeypatch):
    """By hand: the one takes 3 s, the other 2 s and is wrong in a quarter of the rows."""
    clock, order = [0.0], []

    def run(name, seconds, wrong):
        def classes(picture):
            clock[0] += seconds
            if picture.shape[0] == 32:
                order.append(name)
            labels = (
                next(VAL[k][1] for k in range(len(VAL)) if np.array_equal(VAL[k][0], picture))
                if (picture.shape[0] == 32)
                else np.zeros(picture.shape[:2], np.uint8)
            )
            found = labels.copy()
            found[:wrong] = (found[:wrong] + 1) % small.CLASSES
            return found[None]

        return classes

    monkeypatch.setattr(int8.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(int8, "TIMED", 3)
    found = int8.compared({"float": run("float", 3, 0), "int8": run("int8", 2, 8)}, VAL)
    assert order == [
        "float",
        "int8",
        *"float int8 int8 float float int8".split(),
    ]  # the first two are not counted
    assert found["float"] == int8.Variant((3, 3, 3), 1.0, 1.0)
    assert found["int8"].seconds == (2, 2, 2) and found["int8"].equal == 0.75
    assert 0.4 < found["int8"].mean_iou < 0.75
    int8.check(found)
    with pytest.raises(
        RunError, match="float: is not the fastest here, so nothing was written: int8 2000.0 ms an"
    ):
        int8.check({"int8": found["int8"], "float": found["float"]})


def refused(found):
    raise RunError("refused")


def test_what_is_refused_leaves_no_file(network, tmp_path, monkeypatch):
    monkeypatch.setattr(int8, "check", refused)
    with pytest.raises(RunError, match="refused"):
        int8.write_graph(network, "sum", VAL.labels, tmp_path / "net", TRAIN, VAL)
    with pytest.raises(RunError, match="refused"):
        int8.write_onnx(network, "sum", VAL.labels, tmp_path / "net.onnx", TRAIN, VAL)
    assert list(tmp_path.iterdir()) == []


def test_labels_of_no_class_and_classes_of_another_size_are_errors():
    class Empty(Images):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return image, np.full_like(label, 255)

    def zeros(picture):
        return np.zeros((1, *picture.shape[:2]), np.uint8)

    with pytest.raises(
        DatasetError, match="split val have no pixel of any class, so nothing can be compared"
    ):
        int8.compared({"float": zeros, "int8": zeros}, Empty("val", 2))
    with pytest.raises(RunError, match="int8: gives no classes of a picture of 77 x 101"):
        int8.compared({"float": zeros, "int8": lambda picture: zeros(picture[:100])}, VAL)


def test_a_network_that_is_not_on_a_cpu_with_onednn_is_told_so(network, tmp_path, monkeypatch):
    monkeypatch.setattr(frozen, "usable", lambda block: False)
    with pytest.raises(RunError, match="--variant int8 needs MXNet for CPUs with oneDNN"):
        int8.write_graph(network, "sum", VAL.labels, tmp_path / "net", TRAIN, VAL)


@pytest.mark.parametrize("name", ["net", "net.onnx"])
def test_the_command_calibrates_on_a_data_set_and_says_what_it_measured(name, tmp_path, any_speed, call, ask):
    root = scenes.draw(tmp_path / "scenes", train=2, val=1, size=(64, 32), seed=3)
    command = ("export", "demo", "--variant", "int8", "--root", root, "--out", tmp_path / name)
    printed = call(*command)
    assert "Calibrated on 2 images of split train." in printed and "  int8 " in printed and "mIoU" in printed
    (first, *_, last) = ask(*command)["measured"]["variants"].values()
    assert first["equal"] == 1.0 and last["equal"] > 0.8 and len(last["seconds"]) == 3


def test_images_of_several_sizes_are_cut_from_their_middles():
    class Sizes(Images):
        def read_image(self, index):
            return np.full((20 + 2 * index, 40 - 2 * index, 3), index, np.uint8)

    found = int8.examples(Sizes(), None)
    assert found.shape == (6, 20, 30, 3) and found[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]

    class Thumbnail(Sizes):
        def read_image(self, index):
            return super().read_image(index)[: 3 if index == 2 else None]

    assert int8.examples(Thumbnail(), None).shape == (5, 20, 30, 3)  # it would have made all of them 3 high
    normalised = int8.examples(Sizes(), {"mean": (0, 0, 0), "std": (1, 1, 1)})
    assert normalised.shape == (6, 3, 20, 30) and normalised.dtype == np.float32


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--root", "data"], "--root gives the images for --variant int8"),
        (["--variant", "int8", "--format", "onnx", "--keep-norms"], "--keep-norms can't be used with"),
        (["--variant", "fused", "--format", "onnx"], "--variant fused is of --format mxnet"),
    ],
)
def test_options_that_contradict_each_other_are_errors_of_use(words, said, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", "demo", "--out", str(tmp_path / "net"), *words])
    assert ended.value.code == 2 and said in capsys.readouterr().err
