"""Predictions that are kept: the same pixels come back, through a file as well."""

from __future__ import annotations

import numpy as np
import pytest

from gluon_confseg import checkpoint
from gluon_confseg.errors import CheckpointError
from gluon_confseg.predictions import Keeper, Predictions
from gluon_confseg.run_folder import read_predictions


def drawn(number: int, rule: str) -> np.ndarray:
    """Classes of an image; sizes differ from image to image."""
    draws = np.random.default_rng(number + 10 * len(rule))
    return draws.integers(0, 250, (5 + number, 7)).astype(np.uint8)


def kept(rules=("sum", "subnet0"), images=(0, 2, 3)) -> Predictions:
    keeper = Keeper(rules, images)
    for index in range(5):
        keeper.add(index, {rule: drawn(index, rule) for rule in (*rules, "product")})
    return keeper.kept()


def test_the_same_pixels_come_back_from_a_file(tmp_path):
    checkpoint.save(tmp_path / "checkpoints/base.predictions.npz", kept().arrays(), {"phase": "base"})
    found = read_predictions(tmp_path, "base")
    assert found.images == [0, 2, 3] and sorted(found.rules) == ["subnet0", "sum"]
    for rule in found.rules:
        for index in found.images:
            assert np.array_equal(found.read(rule, index), drawn(index, rule))


def test_what_was_not_kept_is_a_key_error():
    with pytest.raises(KeyError):
        kept().read("sum", 1)
    with pytest.raises(KeyError):
        kept().read("product", 0)


def test_rules_that_are_evaluated_later_are_joined_if_they_are_of_the_same_images():
    joined = kept(["sum"]).joined(kept(["subnet0"]))
    assert sorted(joined.rules) == ["subnet0", "sum"]
    assert np.array_equal(joined.read("subnet0", 3), drawn(3, "subnet0"))
    assert kept(["sum"]).joined(kept(["subnet0"], [0, 1])).rules == ["sum"]
    assert kept(["sum"]).joined(None).rules == ["sum"]


def test_no_images_and_no_rules_are_predictions_too():
    assert Predictions.from_arrays(kept(["sum"], []).arrays()).images == []
    assert Predictions.from_arrays(kept([], [1]).arrays()).rules == []


@pytest.mark.parametrize("spoil", ["ends", "images", "bytes"])
def test_a_file_of_other_arrays_is_one_sentence(tmp_path, spoil):
    arrays = kept(["sum"]).arrays()
    if spoil == "ends":
        arrays["sum.ends"] = arrays["sum.ends"][::-1].copy()
    elif spoil == "images":
        arrays["images"] = arrays["images"][:-1]
    else:
        arrays["sum"] = arrays["sum"][:-1]
    checkpoint.save(tmp_path / "checkpoints/base.predictions.npz", arrays, {})
    with pytest.raises(CheckpointError, match="base.predictions.npz: its arrays are not ours"):
        read_predictions(tmp_path, "base")


def test_there_may_be_none(tmp_path):
    assert read_predictions(tmp_path, "base") is None
