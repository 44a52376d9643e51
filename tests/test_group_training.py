"""Training fitted to the groups: crops where their classes meet, and what "others" counts in a subnet's loss."""

from __future__ import annotations

import json

import mxnet as mx
import numpy as np
import pytest
import small
from layouts import picture

from gluon_confseg import build, checkpoint, losses, train
from gluon_confseg.datasets import Batches
from gluon_confseg.datasets.transforms import MEETING, Augment, rng, second_share
from gluon_confseg.errors import RunError
from gluon_confseg.groups import SubnetSpace
from gluon_confseg.recipe import Cell, phase
from gluon_confseg.run_folder import RunFolder

STILL = {"scale": (1.0, 1.0), "flip": False}
# classes 0 and 1 are confused, and 2 and 4; class 3 is in no group
MATRIX = np.array(
    [
        [800, 150, 0, 0, 0],
        [90, 150, 0, 0, 0],
        [0, 0, 60, 0, 30],
        [0, 0, 0, 400, 0],
        [0, 0, 20, 0, 40],
    ]
)
FOUND = [(2, 4), (0, 1)]


def recipe(*assignments, **settings):
    phases = [phase("base", epochs=1), phase("heads", "base", "subnets", epochs=2)]
    cells = [Cell("heads", "all", "CE", "heads")]
    return small.recipe(phases, cells, **settings).override(assignments)


def heads(*assignments, **settings):
    return recipe(*assignments, **settings).phase("heads")


# ---- crops where two classes of a group meet


def corner(height=60, width=80):
    """Class 5 everywhere, but for the meeting of 1 and 2 in a corner, and of 3 and 4 in another."""
    mask = np.full((height, width), 5, np.uint8)
    mask[:12, :12], mask[:12, 6:12] = 1, 2
    mask[-12:, -12:], mask[-12:, -6:] = 3, 4
    return picture(0, height, width), mask


def met(mask: np.ndarray, groups) -> list:
    return [second_share(mask, group) >= MEETING for group in groups]


def test_classes_of_a_group_meet_in_far_more_crops():
    groups = ((1, 2), (3, 4))
    shares = []
    for augment in (Augment((20, 20), **STILL), Augment((20, 20), groups=groups, **STILL)):
        crops = [augment(*corner(), rng(0, 0, index))[1] for index in range(200)]
        shares.append(np.mean([met(crop, groups) for crop in crops], axis=0))
    assert shares[1].min() > 2 * shares[0].max() > 0


def test_a_first_place_where_they_meet_is_kept():
    groups, kept = ((1, 2),), 0
    for index in range(200):
        free, choosing = (
            Augment((20, 20), **STILL, **own)(*corner(), rng(0, 0, index)) for own in ({}, {"groups": groups})
        )
        if met(free[1], groups) == [True]:
            kept += 1
            assert all(np.array_equal(a, b) for a, b in zip(free, choosing))
    assert kept > 5


@pytest.mark.parametrize("groups", [((1,),), ((1, 1),), ((0, 255),), ((-1, 2),)])
def test_classes_that_can_not_meet_are_an_error(groups):
    with pytest.raises(RunError, match="can't meet in a crop; give two or more, from 0 to 254"):
        Augment((20, 20), groups=groups)


def test_groups_that_an_image_lacks_are_not_looked_for():
    image, mask = corner()
    mask[mask == 4] = 5
    for index in range(40):
        both = Augment((20, 20), groups=((3, 4), (1, 2)), **STILL)
        alone = Augment((20, 20), groups=((1, 2),), **STILL)
        found = [augment(image, mask, rng(0, 0, index))[1] for augment in (both, alone)]
        assert np.array_equal(*found)


def test_without_any_group_in_an_image_the_crop_is_the_first_one():
    for index in range(20):
        absent = Augment((20, 20), groups=((6, 7),), **STILL)(*corner(), rng(0, 0, index))
        free = Augment((20, 20), **STILL)(*corner(), rng(0, 0, index))
        assert all(np.array_equal(a, b) for a, b in zip(absent, free))


def test_where_they_meet_nowhere_enough_the_nearest_place_is_taken():
    image, mask = np.zeros((40, 400, 3), np.uint8), np.full((40, 400), 1, np.uint8)
    mask[0, 300] = 2
    augment = Augment((40, 200), groups=((1, 2),), **STILL)
    crops = [augment(image, mask, rng(0, 0, index))[1] for index in range(40)]
    free = [Augment((40, 200), **STILL)(image, mask, rng(0, 0, index))[1] for index in range(40)]
    assert all((crop == 2).any() for crop in crops) and not all((crop == 2).any() for crop in free)


def test_meeting_and_the_largest_share_hold_together():
    groups = ((1, 2), (3, 4))
    both = Augment((20, 20), groups=groups, max_share=0.9, **STILL)

    def good(crop):
        return any(met(crop, groups)) and (crop == 5).mean() <= 0.9

    meeting = Augment((20, 20), groups=groups, **STILL)
    shares = [
        np.mean([good(augment(*corner(), rng(0, 0, index))[1]) for index in range(200)])
        for augment in (meeting, both)
    ]
    assert shares[1] > shares[0] > 0.1


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_the_same_from_any_start_and_worker(workers):
    data = small.Images(count=6)
    augment = Augment((16, 24), groups=((0, 1), (2, 4)))
    whole = list(Batches(data, augment, 2, seed=3, workers=0).epoch(1))
    with Batches(data, augment, 2, seed=3, workers=workers) as batches:
        later = [batch[:2] for batch in batches.epoch(1, 1)]
    for found, wanted in zip(later, whole[1:]):
        assert all(np.array_equal(a, b) for a, b in zip(found, wanted))
    assert len(later) == len(whole) - 1


@pytest.mark.parametrize(
    "groups, wanted", [("discover", FOUND), ("one", FOUND), ("whole", FOUND), ("a,b;e,c", [(0, 1), (4, 2)])]
)
def test_controls_get_the_crops_of_the_discovered_groups(groups, wanted):
    labels = small.Images().labels
    found = build.met_groups(heads("crops=meeting", groups=groups), labels, MATRIX)
    assert list(found) == wanted
    assert build.met_groups(heads(groups=groups), labels, MATRIX) == ()


def test_random_groups_meet_in_the_crops_of_their_own_subnets():
    phase = heads("crops=meeting", groups="random")
    labels = small.Images().labels
    assert list(build.met_groups(phase, labels, MATRIX)) == build.groups_of(phase, labels, MATRIX)


def test_only_phases_of_subnets_choose_their_crops():
    told = recipe("crops=meeting", groups="discover")
    assert build.met_groups(told.phase("base"), small.Images().labels, MATRIX) == ()
    with pytest.raises(
        RunError, match=r"would do nothing in phase base \(base: it trains subnet0, not subnets"
    ):
        recipe("phases.base.crops=meeting")
    with pytest.raises(RunError, match="crops is one of random, meeting, not 'near'"):
        recipe("crops=near")


# ---- what "others" counts


def weights(group, *assignments, groups: str = "discover") -> np.ndarray:
    return build.class_weights(heads(*assignments, groups=groups), group, 5, MATRIX)


def mean_weight(found: np.ndarray, group) -> float:
    """The mean over the pixels of the training images."""
    pixels = MATRIX.sum(1)
    return float((found[SubnetSpace(group, 5).channel_of_class()] * pixels).sum() / pixels.sum())


@pytest.mark.parametrize("given", ["0", "0.1", "3", "balanced"])
@pytest.mark.parametrize("group", FOUND)
def test_a_pixel_weighs_1_in_the_mean(group, given):
    found = weights(group, f"others_weight={given}")
    assert mean_weight(found, group) == pytest.approx(1)
    assert found.shape == (3,) and found[1] == found[2]
    if given != "balanced":
        assert found[0] == pytest.approx(float(given) * found[1])


def test_balanced_others_weigh_as_much_together_as_the_group():
    pixels = MATRIX.sum(1)
    found = weights((2, 4), "others_weight=balanced")
    assert found[0] * pixels[[0, 1, 3]].sum() == pytest.approx(found[1] * pixels[[2, 4]].sum())


@pytest.mark.parametrize("given", ["0.1", "balanced"])
def test_one_head_for_all_classes_has_the_mean_of_the_subnets_weights(given):
    every = tuple(range(5))
    found = weights(every, f"others_weight={given}", groups="one")
    each = [weights(g, f"others_weight={given}")[SubnetSpace(g, 5).channel_of_class()] for g in FOUND]
    np.testing.assert_allclose(found, np.mean(each, axis=0))
    assert mean_weight(found, every) == pytest.approx(1)
    assert found[2] == found[4] == found.max()


def test_a_group_without_pixels_has_no_weights():
    matrix = MATRIX.copy()
    matrix[[2, 4]] = 0
    phase = heads("others_weight=balanced", groups="discover")
    np.testing.assert_array_equal(build.class_weights(phase, (2, 4), 5, matrix), np.ones(3))


@pytest.mark.parametrize("name", ["ce", "confusion_ce"])
def test_class_weights_multiply_the_loss_of_their_classes(name):
    logits = mx.nd.array(np.random.RandomState(0).normal(size=(2, 3, 4, 5)))
    labels = np.random.RandomState(1).randint(0, 3, (2, 4, 5)).astype(np.uint8)
    weights = np.array([0.2, 3.0, 1.5])
    own = {"weights": np.random.RandomState(2).rand(3, 3)} if name == "confusion_ce" else {}
    plain, weighted = losses.build(name, 3, **own), losses.build(name, 3, class_weights=weights, **own)
    wanted = np.zeros(2)
    for k in range(3):
        alone = np.where(labels == k, labels, 255)
        counts = (labels == k).sum((1, 2))
        wanted += weights[k] * plain(logits, alone).asnumpy() * counts / 20
    np.testing.assert_allclose(weighted(logits, labels).asnumpy(), wanted, rtol=1e-5)


def test_class_weights_that_can_not_be_meant_are_errors():
    with pytest.raises(ValueError, match="ohem has its own weights"):
        losses.build("ohem", 3, class_weights=np.ones(3))
    with pytest.raises(ValueError, match=r"\(2,\) class weights, the loss is of 3 classes"):
        losses.build("ce", 3, class_weights=np.ones(2))
    with pytest.raises(RunError, match="others_weight is a number from 0, or balanced, not 'much'"):
        recipe("others_weight=much")
    with pytest.raises(RunError, match="its loss is ohem, which has its own"):
        recipe("loss=ohem", "phases.heads.others_weight=0.5")


def test_a_weight_of_others_needs_the_training_matrix():
    assert not heads().reads_matrix
    found = heads("others_weight=0.5")
    assert found.reads_matrix and found.matrix == "base"
    assert not recipe("others_weight=0.5").phase("base").reads_matrix


# ---- a whole run


FITTED = (
    "crops=meeting",
    "others_weight=balanced",
    "subnet_head.1.output_stride=4",
    "subnet_head.1.stages=1,2,3",
)


class Kill(BaseException):
    """What nothing catches."""


def outcome(folder) -> tuple:
    run = RunFolder(folder, recipe(*FITTED).config())
    arrays, about = checkpoint.load(run.checkpoint("heads"))
    return arrays, about, json.loads((run.path / "results.json").read_text())


@pytest.mark.slow
def test_a_killed_run_with_all_of_it_ends_with_the_same_bytes(tmp_path, monkeypatch):
    told = recipe(*FITTED)
    train.run(told, small.data(), RunFolder(tmp_path / "whole", told.config(), save_every=0.0), jobs=1)
    own, saved = RunFolder.save_if_due, []

    def killing(self, *arguments):
        own(self, *arguments)
        saved.append(arguments[0])
        if saved.count("heads") == 4:
            raise Kill

    monkeypatch.setattr(RunFolder, "save_if_due", killing)
    with pytest.raises(Kill):
        train.run(told, small.data(), RunFolder(tmp_path / "killed", told.config(), save_every=0.0), jobs=1)
    monkeypatch.undo()
    train.run(told, small.data(), RunFolder(tmp_path / "killed", told.config(), save_every=0.0), jobs=1)
    first, second = outcome(tmp_path / "whole"), outcome(tmp_path / "killed")
    assert small.same_bits(first[0], second[0])
    assert first[1] == second[1] and first[2]["cells"] == second[2]["cells"]
    assert first[1]["network"]["subnet_heads"][0]["output_stride"] == 4


def test_a_run_that_an_earlier_version_began_goes_on(tmp_path):
    """Its configuration lacks the settings that came later, which had their defaults then."""
    told = recipe()
    config = json.loads(json.dumps(told.config()))
    for found in config["phases"]:
        del found["crops"], found["others_weight"]
        for head in (found["head"], found["subnet_head"]):
            del head["output_stride"]
    RunFolder(tmp_path / "run", config)
    (tmp_path / "run" / "checkpoints" / "base.npz").write_bytes(b"")
    RunFolder(tmp_path / "run", told.config())
    with pytest.raises(RunError, match="phases.heads.crops: 'random' there, 'meeting' now"):
        RunFolder(tmp_path / "run", recipe("crops=meeting").config())
