"""`confseg demo`, the network that ships with the package, and the command that makes it."""

from __future__ import annotations

import hashlib
import json
import re

import cv2
import numpy as np
import pytest
import small

from experiments.tools import demo_network
from gluon_confseg import checkpoint, demo, files, network, recipe_files, runtime, scenes
from gluon_confseg.cli import matrices, options, train
from gluon_confseg.cli.evaluation import measure
from gluon_confseg.datasets import open_dataset
from gluon_confseg.demo import picture
from gluon_confseg.inference import PLAIN
from gluon_confseg.labels import CAMVID, CITYSCAPES

GROUPS = ((2, 3), (13, 14, 15))


def write_network(path, labels=CITYSCAPES, groups=GROUPS):
    """A checkpoint of a narrow network with values that no head starts with."""
    runtime.seed(3)
    built = network.build("efficientnet_lite0", labels.num_classes, groups, 16, "residual", small.HEAD, last_stage=3,
                          subnet_heads=small.SUBNET_HEAD)  # fmt: skip
    for parameter in built.subnets.collect_params().values():
        parameter.set_data(parameter.data() + 0.05)
    meta = {"labels": labels.record(), "rule": "sum", "network": built.settings, "phase": "subnets_ce"}
    checkpoint.save(path, checkpoint.network_arrays(built), meta)
    return path


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A folder with a network."""
    folder = tmp_path_factory.mktemp("demo")
    write_network(folder / "a.npz")
    return folder


@pytest.fixture(autouse=True)
def small_scenes(monkeypatch):
    """Scenes that are drawn in little time."""
    monkeypatch.setattr(demo, "SIZE", (96, 48))


def test_the_demonstration_s_numbers_are_those_of_its_scenes(shown, ask):
    record = ask("demo", shown / "a.npz", "--scenes", 2, "--out", shown / "out")
    loaded = network.load(shown / "a.npz")
    dataset = open_dataset("cityscapes", shown / "out" / "scenes", "val")
    assert (
        len(dataset) == 2 and dataset.drawn and not (shown / "out" / "scenes" / "gtFine" / "train").exists()
    )
    matrix = measure(loaded, dataset, PLAIN)
    assert record["mean_iou"]["sum"] == matrix.mean_iou() and set(record["mean_iou"]) == {"subnet0", "sum"}
    kept = matrices.load(shown / "out", None, None)
    assert np.array_equal(kept.matrix.counts, matrix.counts) and kept.classes == CITYSCAPES.classes
    assert [cv2.imread(name).shape[2] for name in record["pictures"]] == [3, 3]
    worst = record["worst"][0]
    truth, taken = (CITYSCAPES.classes.index(worst[side]) for side in ("truth", "prediction"))
    assert worst["pixels"] == matrix.counts[truth, taken]


def test_what_to_type_next_names_what_is_there(shown, call):
    text = call("demo", shown / "a.npz", "--scenes", 1, "--out", shown / "out")
    assert "building, wall; car, truck, bus" in text and f"confseg predict {shown / 'a.npz'} PICTURE" in text
    assert call("confusion", shown / "out") and call("groups", shown / "out")


def test_scenes_of_other_classes_are_refused(tmp_path, refuse):
    write_network(tmp_path / "a.npz", CAMVID, ((1, 2),))
    assert "knows the classes of CamVid" in refuse("demo", tmp_path / "a.npz", "--out", tmp_path / "out")


def test_without_a_network_one_sentence_says_what_to_do(tmp_path, monkeypatch, refuse):
    monkeypatch.setattr(demo, "NETWORK", tmp_path / "network.npz")
    monkeypatch.chdir(tmp_path)
    for words in (
        ["demo", demo.WORD, "--out", "out"],
        ["predict", demo.WORD, write_image(tmp_path), "--out", "out"],
    ):
        said = refuse(*words)
        assert "`confseg train drawn`" in said and "runs/drawn-quick-seed0/checkpoints/subnets_ce.npz" in said


def write_image(folder):
    cv2.imwrite(str(folder / "a.png"), small.Images()[0][0])
    return folder / "a.png"


def test_the_word_demo_is_the_network_unless_a_file_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert options.checkpoint("demo") == demo.NETWORK and options.checkpoint("other") != demo.NETWORK
    (tmp_path / "demo").mkdir()
    assert str(options.checkpoint("demo")) == "demo"


def test_the_checkpoint_that_the_sentence_names_is_what_the_recipe_leaves():
    run, file = re.search(r"runs/([\w-]+)/checkpoints/(\w+)\.npz", demo.MISSING).groups()
    recipe = recipe_files.find("drawn").profile(None)
    assert run == train.name_of(recipe, demo.NETWORK) and file in [phase.name for phase in recipe.phases]


def test_a_picture_marks_the_wrong_pixels_and_no_ignored_ones():
    truth = np.array([[0, 0, 255], [1, 1, 1]], np.uint8).repeat(40, 0).repeat(60, 1)
    predicted = truth.copy()
    predicted[:10, :10] = 1
    predicted[truth == 255] = 3
    image = np.full((*truth.shape, 3), 90, np.uint8)
    drawn = picture.draw(image, truth, {"a": predicted}, CITYSCAPES)
    red = (drawn == picture._WRONG).all(-1)
    assert red.sum() == 100
    assert np.array_equal(drawn[24 : 24 + 80, :180], image)


# ---- the command that makes the network


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder above data and a run, which look as the recipe drawn at its smallest size leaves them."""
    above = tmp_path_factory.mktemp("finished")
    recipe = recipe_files.find("drawn").profile("smoke")
    draw = {"seed": 0, **recipe.draw}
    run = above / "runs" / "drawn-smoke-seed0"
    write_network(run / "checkpoints" / "subnets_ce.npz")
    config = {**recipe.with_data(draw=draw).config(), "images": "0123"}
    files.write_json(run / "config.json", json.loads(json.dumps(config)))
    root = scenes.draw(above / train.drawn_root(draw), **draw)
    loaded = network.load(run / "checkpoints" / "subnets_ce.npz")
    mean = measure(loaded, open_dataset("cityscapes", root, "val"), PLAIN).mean_iou()
    cell = {"key": "subnets_ce", "subnets": "0-3", "rule": "sum", "checkpoint": "checkpoints/subnets_ce.npz",
            "updates": 6, "mean_iou": mean}  # fmt: skip
    files.write_json(run / "results.json", {"classes": list(CITYSCAPES.classes), "cells": [cell]})
    return above


@pytest.fixture
def run(finished, monkeypatch):
    """The run, with the working folder above it."""
    monkeypatch.chdir(finished)
    return finished / "runs" / "drawn-smoke-seed0"


def test_the_stored_network_is_the_run_s_rounded_to_float16(run, tmp_path, capsys):
    card = demo_network.make(run, out=tmp_path)
    file = tmp_path / demo.NETWORK.name
    assert file.stat().st_size < demo_network.LARGEST
    trained, stored = (
        small.values(network.load(path).network) for path in (run / "checkpoints/subnets_ce.npz", file)
    )
    for name, values in trained.items():
        expected = values.astype(np.float16).astype(np.float32) if values.ndim > 1 else values
        assert stored[name].dtype == np.float32 and np.array_equal(stored[name], expected)
    assert (tmp_path / demo.CARD.name).read_text() == card
    assert hashlib.sha256(file.read_bytes()).hexdigest() in card
    assert (
        "building, wall; car, truck, bus" in card and "confseg train drawn --profile smoke --seed 0" in card
    )


def test_a_network_that_scores_otherwise_when_stored_is_not_written(run, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_network, "score", lambda *_: 0.9)
    with pytest.raises(demo_network.RunError, match="90.00 % when stored as float16; nothing was written"):
        demo_network.make(run, out=tmp_path)
    monkeypatch.setattr(demo_network, "LARGEST", 1000)
    with pytest.raises(demo_network.RunError, match="ship with the package"):
        demo_network.make(run, out=tmp_path)
    assert not (tmp_path / demo.NETWORK.name).exists()


def test_a_run_with_other_settings_has_no_card(run):
    config = json.loads((run / "config.json").read_text())
    assert demo_network.command_of(run, config) == "confseg train drawn --profile smoke --seed 0"
    config["phases"][0]["penalty"] = 9.0
    with pytest.raises(demo_network.RunError, match="has other settings than .*phases"):
        demo_network.command_of(run, config)


def test_the_network_that_ships_is_the_one_of_its_card(ask, tmp_path):
    content, card = demo.NETWORK.read_bytes(), demo.CARD.read_text(encoding="utf-8")
    assert len(content) < demo_network.LARGEST and hashlib.sha256(content).hexdigest() in card
    record = ask("demo", "--scenes", 1, "--out", tmp_path / "out")
    assert 0.2 < record["mean_iou"][record["network"]["rule"]] <= 1
