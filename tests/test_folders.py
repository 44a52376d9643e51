"""`confseg confusion` on two folders of anyone's files, against brute force."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import layouts
import numpy as np
import pytest

from gluon_confseg import metrics
from gluon_confseg.cli import id_files
from gluon_confseg.errors import DatasetError
from gluon_confseg.labels import CAMVID, CITYSCAPES

HEIGHT, WIDTH = 12, 20
OWN = "name,r,g,b,value\nwater,0,0,255,1\nland,0,255,0,2\nice,200,200,200,3\nignore,9,9,9,0\n"


def write_ids(folder: Path, arrays: dict) -> Path:
    for name, array in arrays.items():
        layouts.write_png(folder / f"{name}.png", array.astype(np.uint8))
    return folder


def ids(seed: int, values=range(19)) -> np.ndarray:
    return layouts.label(seed, list(values), HEIGHT, WIDTH)


@pytest.fixture
def own(tmp_path):
    """A list of three classes whose values in files are 1, 2, 3; 0 is ignored."""
    path = tmp_path / "own" / "classes.csv"
    path.parent.mkdir()
    path.write_text(OWN)
    return path


def brute(truth, answer, classes: int) -> metrics.ConfusionMatrix:
    matrix = metrics.ConfusionMatrix(classes)
    matrix.update(np.asarray(truth)[None], np.asarray(answer)[None])
    return matrix


def test_raw_ids_and_train_ids_of_the_same_scenes_give_the_same_matrix(tmp_path, ask):
    raw = np.full(256, 255)
    raw[list(range(19))] = layouts.RAW_IDS
    raw[255] = 0  # unlabelled
    names = [f"town_{n:06d}_000019" for n in range(3)]
    truth = {name: ids(n, [*range(19), 255]) for n, name in enumerate(names)}
    answer = {name: ids(n + 9) for n, name in enumerate(names)}
    brute = metrics.ConfusionMatrix(19)
    brute.update(np.stack(list(truth.values())), np.stack(list(answer.values())))
    kinds = {
        "train": (
            write_ids(tmp_path / "t", {f"{n}_gtFine_labelTrainIds": a for n, a in truth.items()}),
            write_ids(tmp_path / "p", {f"{n}_leftImg8bit": a for n, a in answer.items()}),
        ),
        "raw": (
            write_ids(
                tmp_path / "rt" / "town", {f"{n}_gtFine_labelIds": raw[a] for n, a in truth.items()}
            ).parent,
            write_ids(tmp_path / "rp", {n: raw[a] for n, a in answer.items()}),
        ),
    }
    for label_kind, (labels, _) in kinds.items():
        for kind, (_, predictions) in kinds.items():
            found = ask("confusion", "--predictions", predictions, "--labels", labels, "--data", "cityscapes")
            assert found["confusion"] == brute.counts.tolist() and sum(found["misses"]) == 0
            assert (found["labels_are"], found["predictions_are"]) == (f"{label_kind} ids", f"{kind} ids")


def test_pixels_predicted_as_no_class_are_misses(tmp_path, ask, call):
    truth, answer = ids(0, [*range(11), 11]), ids(1, [*range(11), 255])
    brute = metrics.ConfusionMatrix(11)
    brute.update(np.where(truth == 11, 255, truth), answer)
    labels, predictions = write_ids(tmp_path / "l", {"a": truth}), write_ids(tmp_path / "p", {"a": answer})
    words = ["confusion", "--predictions", predictions, "--labels", labels, "--data", "camvid"]
    found = ask(*words, "--out", tmp_path / "m.npz", "--picture", tmp_path / "m.png")
    assert found["misses"] == brute.misses.tolist() and found["mean_iou"] == pytest.approx(brute.mean_iou())
    assert ask("confusion", tmp_path / "m.npz")["mean_iou"] == found["mean_iou"]
    assert "Pedestrian" in call("groups", tmp_path / "m.npz")
    assert cv2.imread(str(tmp_path / "m.png")) is not None and not list(tmp_path.glob("*.part"))


def test_folders_that_do_not_fit_are_refused(tmp_path, refuse):
    good = {"a": ids(0), "b": ids(1)}
    labels = write_ids(tmp_path / "labels", good)

    def said(name: str, arrays: dict) -> str:
        folder = write_ids(tmp_path / name, arrays)
        return refuse("confusion", "--predictions", folder, "--labels", labels, "--data", "cityscapes")

    unpaired = said("unpaired", {"b": ids(1), "c": ids(2)})
    assert "a.png has no prediction" in unpaired and "c.png has no label" in unpaired
    assert "is 5 x 4 pixels" in said("size", {**good, "b": np.zeros((4, 5))})
    assert "value 77 at row" in said("value", {**good, "b": np.full((HEIGHT, WIDTH), 77)})
    mixed = said("mixed", {"a": np.full((HEIGHT, WIDTH), 26), "b": np.where(ids(1) > 9, 255, 3)})
    assert "a.png holds raw Cityscapes ids" in mixed and "b.png train ids" in mixed
    assert "that of no class" in said("colours", {**good, "b": layouts.picture(0, HEIGHT, WIDTH)})
    write_ids(tmp_path / "twice", {"a_pred": ids(0), "a_output": ids(0)})
    assert "could belong to the prediction" in said("twice", {"b": ids(1)})
    assert "no such folder" in refuse(
        "confusion", "--predictions", tmp_path / "none", "--labels", labels, "--data", "voc"
    )


# ---- own classes


def test_own_classes_are_scored_in_every_form_that_predictions_have(tmp_path, ask, own):
    truth = ids(0, range(3))
    answer = np.where(ids(1, range(4)) == 3, (truth + 1) % 3, truth)
    wanted = brute(truth, answer, 3).counts.tolist()
    stored, colors = np.array([1, 2, 3]), np.array([[0, 0, 255], [0, 255, 0], [200, 200, 200]], np.uint8)
    labels = write_ids(tmp_path / "l", {"a_mask": stored[truth]})
    forms = {
        "train ids": lambda folder: write_ids(folder, {"a": answer}),
        "values": lambda folder: write_ids(folder, {"a": stored[answer]}),
        "colours": lambda folder: layouts.write_png(folder / "a.png", colors[answer]),
        "16 bits": lambda folder: cv2.imwrite(str(folder / "a.png"), answer.astype(np.uint16)),
        "npy": lambda folder: np.save(folder / "a.npy", answer.astype(np.int64)[None]),
        "float": lambda folder: np.save(folder / "a.npy", answer.astype(np.float32)),
        "npz": lambda folder: np.savez_compressed(folder / "a.npz", stored[answer].astype(np.uint16)),
    }
    for name, save in forms.items():
        folder = tmp_path / name
        folder.mkdir()
        save(folder)
        found = ask("confusion", "--labels", labels, "--predictions", folder, "--classes", own)
        assert found["confusion"] == wanted, name
    layouts.write_png(own.parent / "images/val/a.jpg.png", layouts.picture(0, HEIGHT, WIDTH))
    write_ids(own.parent / "labels/val", {"a": stored[truth]})
    for words in (["--data", "custom", "--root", own.parent], ["--classes", own, "--root", own.parent]):
        found = ask("confusion", "--predictions", tmp_path / "values", *words)
        assert found["confusion"] == wanted


def test_a_matrix_without_names_gets_those_of_a_list(tmp_path, call, refuse, own):
    np.savez(tmp_path / "m.npz", counts=np.arange(9).reshape(3, 3))
    assert "water" in call("confusion", tmp_path / "m.npz", "--classes", own)
    assert "water" in call("groups", tmp_path / "m.npz", "--classes", own)
    np.savez(tmp_path / "two.npz", counts=np.arange(4).reshape(2, 2))
    assert "its 2 classes are not the 3 of" in refuse("confusion", tmp_path / "two.npz", "--classes", own)


def test_254_classes_are_counted(tmp_path, ask, call):
    rows = "".join(f"class {k},{k},{k // 2},{255 - k}\n" for k in range(253))
    (tmp_path / "classes.csv").write_text("name,r,g,b\n" + rows)
    truth, answer = (np.random.RandomState(seed).randint(0, 253, (40, 60)) for seed in (0, 1))
    labels, predictions = (write_ids(tmp_path / name, {"a": v}) for name, v in (("l", truth), ("p", answer)))
    words = ["--labels", labels, "--predictions", predictions, "--classes", tmp_path / "classes.csv"]
    assert ask("confusion", *words)["confusion"] == brute(truth, answer, 253).counts.tolist()
    shown = call("confusion", *words)
    assert (
        "253 classes are too many for a table" in shown and "Worst pairs" in shown and "\n252 " not in shown
    )


# ---- ids that may be raw or train ids


def test_ids_that_nothing_tells_are_read_as_the_other_side_agrees_and_that_is_said(tmp_path, call):
    values = ids(0, [7, 8, 11, 17])
    labels = write_ids(tmp_path / "l", {"x_gtFine_labelIds": values})
    predictions = write_ids(tmp_path / "p", {"x": values})
    words = ["--labels", labels, "--predictions", predictions, "--data", "cityscapes"]
    text = call("confusion", *words)
    assert "read as raw ids, by which 100 % of the pixels agree, and by the other" in text
    assert "mIoU 100.00 %" in text


def test_ids_that_nothing_tells_on_both_sides_are_asked_for(tmp_path, ask, refuse):
    truth, answer = ids(0, [7, 8, 11]), ids(1, [7, 8, 11])
    labels, predictions = write_ids(tmp_path / "l", {"x": truth}), write_ids(tmp_path / "p", {"x": answer})
    words = ["--labels", labels, "--predictions", predictions, "--data", "cityscapes"]
    said = refuse("confusion", *words)
    assert "road, sidewalk, building as raw ids but traffic sign, vegetation, person as train ids" in said
    assert "--labels-are raw or --labels-are train" in said
    found = ask("confusion", *words, "--labels-are", "train", "--predictions-are", "train")
    assert found["confusion"] == brute(truth, answer, 19).counts.tolist()


def test_a_prediction_that_would_be_void_as_raw_ids_is_of_train_ids(tmp_path, ask):
    truth, answer = ids(0, [*range(19), 255]), ids(1, [0, 1, 2, 8, 10])
    labels = write_ids(tmp_path / "l", {"x_labelTrainIds": truth})
    predictions = write_ids(tmp_path / "p", {"x": answer})
    found = ask("confusion", "--labels", labels, "--predictions", predictions, "--data", "cityscapes")
    assert found["predictions_are"] == "train ids"
    assert found["confusion"] == brute(truth, answer, 19).counts.tolist()


def test_raw_ids_beside_train_ids_of_the_same_scene_are_one_label(tmp_path, call):
    raw = np.array(layouts.RAW_IDS)
    train = ids(0)
    files = {"x_gtFine_labelIds": raw[train], "x_gtFine_labelTrainIds": train, "x_gtFine_instanceIds": train}
    labels, predictions = (
        write_ids(tmp_path / "l/city", files).parent,
        write_ids(tmp_path / "p", {"x": train}),
    )
    text = call("confusion", "--labels", labels, "--predictions", predictions, "--data", "cityscapes")
    assert "2 files of the labels were left out" in text and "read as raw ids" in text


# ---- arrays


@pytest.mark.parametrize(
    "array, said",
    [
        (np.zeros((19, 4, 5), np.float32), "save their argmax"),
        (np.full((4, 5), 0.5), "whole numbers are wanted"),
        (np.full((4, 5), 26001), "instance ids"),
        (np.full((4, 5), -2), "from -2 to -2"),
        (np.array([["a"]]), "whole numbers are wanted"),
        (np.zeros((0, 5), int), "its shape is"),
    ],
)
def test_arrays_that_hold_no_ids_are_a_sentence(tmp_path, array, said):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DatasetError, match=said):
        id_files.of_data_set(CAMVID)(tmp_path / "a.npy")


def test_damaged_and_hostile_arrays_are_a_sentence(tmp_path):
    read = id_files.of_data_set(CAMVID)
    np.save(tmp_path / "good.npy", np.zeros((4, 5), int))
    whole = (tmp_path / "good.npy").read_bytes()
    huge = whole.replace(b"(4, 5), }       ", b"(900000, 90000)}")
    hostile = {"cut": whole[:-8], "huge": huge, "text": b"hello", "empty": b"", "head": whole[:20]}
    assert huge != whole
    for name, content in hostile.items():
        (tmp_path / f"{name}.npy").write_bytes(content)
        with pytest.raises(DatasetError, match=f"{name}.npy: "):
            read(tmp_path / f"{name}.npy")
    np.save(tmp_path / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    np.savez(tmp_path / "two.npz", np.zeros((4, 5), int), np.zeros((4, 5), int))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "two.npz").read_bytes()[:100])
    for name in ("objects.npy", "two.npz", "cut.npz"):
        with pytest.raises(DatasetError, match=name):
            read(tmp_path / name)


# ---- what people stumble over


def test_masks_of_0_and_255_in_arrays_are_read_as_those_in_pictures(tmp_path, ask, refuse):
    truth, answer = ids(0, [0, 1]), ids(1, [0, 1])
    (tmp_path / "gray.csv").write_text("name,r,g,b\nbackground,0,0,0\nlesion,255,255,255\n")
    (tmp_path / "red.csv").write_text("name,r,g,b\nbackground,0,0,0\nlesion,255,0,0\n")
    labels, folder = write_ids(tmp_path / "l", {"a": 255 * truth}), tmp_path / "p"
    folder.mkdir()
    np.save(folder / "a.npy", 255 * answer.astype(np.int32))
    words = ["--labels", labels, "--predictions", folder, "--classes"]
    assert (
        ask("confusion", *words, tmp_path / "gray.csv")["confusion"]
        == brute(truth, answer, 2).counts.tolist()
    )
    assert "may stand for lesion" in refuse("confusion", *words, tmp_path / "red.csv")


def test_raw_ids_beside_what_looks_like_train_ids_are_refused(tmp_path, refuse):
    raw, train = np.array(layouts.RAW_IDS), {"a": ids(0, range(19)), "b": ids(1, [0, 1, 2, 8, 10])}
    labels = write_ids(tmp_path / "l", {name: raw[values] for name, values in train.items()})
    predictions = write_ids(tmp_path / "p", {"a": raw[train["a"]], "b": train["b"]})
    said = refuse("confusion", "--labels", labels, "--predictions", predictions, "--data", "cityscapes")
    assert "a.png holds raw ids" in said and "b.png looks as if it held train ids" in said


def test_a_matrix_that_nobody_can_have_meant_is_said_to_be_one(tmp_path, call):
    truth = ids(0, range(11))
    labels = write_ids(tmp_path / "l", {"a": truth})
    shifted = write_ids(tmp_path / "p", {"a": (truth + 1) % 11})
    words = ["--labels", labels, "--data", "camvid", "--predictions"]
    assert "only 0.0 % of the pixels agree" in call("confusion", *words, shifted)
    assert "are the same folder" in call("confusion", *words, labels)
    nothing = write_ids(tmp_path / "n", {"a": np.full_like(truth, 255)})
    words = ["--labels", nothing, "--data", "camvid", "--predictions"]
    assert "no pixel of any class" in call("confusion", *words, shifted)


def test_what_pytorch_ignores_is_no_class(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[0, -100], [-1, 3]]))
    assert id_files.of_data_set(CAMVID)(tmp_path / "a.npy")[0].tolist() == [[0, 255], [255, 3]]


def test_names_in_several_folders_are_named_as_such(tmp_path, refuse):
    labels = write_ids(tmp_path / "l", {"a": ids(0, range(11))})
    twice = write_ids(tmp_path / "p", {"north/a": ids(0, range(11)), "south/a": ids(0, range(11))})
    said = refuse("confusion", "--labels", labels, "--predictions", twice, "--data", "camvid")
    assert "the name a occurs in several folders" in said and "has no label" in said


def test_no_class_in_a_prediction_of_ones_own_values_says_nothing_of_its_kind(tmp_path, ask, own):
    truth = ids(0, [1, 2])
    answer = truth.copy()
    answer[0, 0] = 255
    labels, predictions = write_ids(tmp_path / "l", {"x": truth}), write_ids(tmp_path / "p", {"x": answer})
    found = ask("confusion", "--labels", labels, "--predictions", predictions, "--classes", own)
    assert np.trace(found["confusion"]) == truth.size - 1
    assert sum(found["misses"]) == 1


def test_predictions_under_the_names_of_labels_are_read_by_their_values(tmp_path, ask):
    train = ids(0, range(19))
    labels = write_ids(tmp_path / "l", {"x_gtFine_labelIds": np.array(layouts.RAW_IDS)[train]})
    predictions = write_ids(tmp_path / "p", {"x_gtFine_labelIds": train})
    found = ask("confusion", "--labels", labels, "--predictions", predictions, "--data", "cityscapes")
    assert found["mean_iou"] == 1


def test_16_bits_that_stand_for_8_are_no_ids(tmp_path, refuse):
    labels, folder = write_ids(tmp_path / "l", {"a": ids(0, range(11))}), tmp_path / "p"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), 257 * ids(0, range(11)).astype(np.uint16))
    said = refuse("confusion", "--labels", labels, "--predictions", folder, "--data", "camvid")
    assert "holds 16-bit values beyond 255" in said


def test_a_pipe_is_refused(tmp_path, refuse):
    labels, folder = write_ids(tmp_path / "l", {"a": ids(0, range(11))}), tmp_path / "p"
    folder.mkdir()
    os.mkfifo(folder / "a.npy")
    assert "no regular file" in refuse(
        "confusion", "--labels", labels, "--predictions", folder, "--data", "camvid"
    )


def test_what_predict_wrote_is_known_and_held_against_the_classes(tmp_path, ask, call, refuse):
    truth, answer = ids(0, [7, 8, 11]), ids(1, [7, 8, 11])
    labels = write_ids(tmp_path / "l", {"x_labelTrainIds": truth})
    predictions = write_ids(tmp_path / "p", {"x": answer})
    about = predictions / "classes.json"
    about.write_text(json.dumps({"ids": "train", "classes": list(CITYSCAPES.classes)}))
    words = ["confusion", "--labels", labels, "--predictions", predictions, "--data"]
    assert ask(*words, "cityscapes")["confusion"] == brute(truth, answer, 19).counts.tolist()
    assert "of the classes road, sidewalk, building" in refuse(*words, "camvid")
    about.write_text("[]")  # of another program
    assert "may be raw ids or train ids" in call(*words, "cityscapes")
