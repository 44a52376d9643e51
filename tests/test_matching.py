"""Folders of other programs: what is walked, and what pairs with what."""

from pathlib import Path

import pytest

from gluon_confseg.datasets import matching
from gluon_confseg.errors import DatasetError


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def paired(first: str, second: str, suffix: str = "") -> tuple[dict, list]:
    """Names with blanks between them -> {first: second}, and what is left alone."""
    sides = [{name: Path(name) for name in names.split()} for names in (first, second)]
    found = matching.match(*sides, names=("label", "prediction"), suffix=suffix)
    return {str(one): str(other) for one, other in found.pairs.values()}, found.alone


def test_hidden_files_and_folders_are_skipped(tmp_path):
    tree(
        tmp_path,
        "a.png",
        "x/b.PNG",
        "._a.png",
        ".ipynb_checkpoints/a-checkpoint.png",
        "__MACOSX/c.png",
        "a.txt",
    )
    assert sorted(matching.walk(tmp_path, [".png"])) == ["a", "x/b"]


def test_links_to_folders_are_followed_and_a_circle_is_an_error(tmp_path):
    tree(tmp_path / "disk", "city/a.png")
    home = tree(tmp_path / "home", "b.png")
    (home / "linked").symlink_to(tmp_path / "disk")
    assert sorted(matching.walk(home, [".png"])) == ["b", "linked/city/a"]
    (home / "linked" / "city" / "back").symlink_to(home)
    with pytest.raises(DatasetError, match=r"back: is a link to a folder that it is in"):
        matching.walk(home, [".png"])


def test_a_name_is_one_in_either_unicode_form(tmp_path):
    tree(tmp_path / "mac", "Ko\u0308ln.png")
    tree(tmp_path / "linux", "K\u00f6ln.png")
    mac, linux = (matching.walk(tmp_path / name, [".png"]) for name in ("mac", "linux"))
    assert mac.keys() == linux.keys()
    tree(tmp_path / "mac", "K\u00f6ln.png")
    with pytest.raises(DatasetError, match="has the same name as"):
        matching.walk(tmp_path / "mac", [".png"])


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(DatasetError, match="can't be read"):
        matching.walk(tmp_path / "none", [".png"])


@pytest.mark.parametrize(
    "label, prediction",
    [
        ("a", "a"),
        ("city/a_gtFine_labelIds", "a_leftImg8bit"),
        ("city/a_gtFine_labelTrainIds", "city/a_leftImg8bit_prediction"),
        ("a_L", "a"),
        ("a_mask", "a.jpg"),
        ("a-label", "a_pred"),
        ("a_train_id", "a_output"),
        ("a_segmentation", "deep/in/a_sat"),
        ("ISIC_0000000_Segmentation", "ISIC_0000000"),
        ("val/frankfurt/a", "frankfurt/a"),
    ],
)
def test_endings_that_programs_add_do_not_count(label, prediction):
    assert paired(label, prediction) == ({label: prediction}, [])
    assert paired(prediction, label) == ({prediction: label}, [])


def test_frames_of_several_films_pair_by_their_folders():
    films = "one/000 one/001 two/000 two/001"
    assert paired(films, films)[0] == {name: name for name in films.split()}
    pairs, alone = paired("one/000 two/000", "000")
    assert not pairs
    assert len(alone) == 3
    assert "keep the same folders on both sides" in alone[0]


def test_one_name_in_two_folders_that_both_sides_have_does_not_pair():
    pairs, alone = paired("one/7 two/8", "one/8 two/7")
    assert not pairs
    assert len(alone) == 4


def test_equal_names_pair_before_endings_are_taken_off():
    assert paired("a_L a_R a", "a_R a_L a")[0] == {"a_L": "a_L", "a_R": "a_R", "a": "a"}
    pairs, alone = paired("a a_mask", "a")
    assert pairs == {"a": "a"}
    assert "a_mask has no prediction" in alone[0]


def test_two_possible_partners_are_an_error():
    with pytest.raises(DatasetError, match="a: could belong to the label a_gt or to a_mask"):
        paired("a_mask a_gt", "a")


def test_another_ending_is_named_and_can_be_given():
    pairs, alone = paired("1_final 2_final", "1 2")
    assert not pairs
    assert "--suffix=_final" in alone[0]
    assert paired("1_final 2_final", "1 2", "_final") == ({"1_final": "1", "2_final": "2"}, [])


def test_a_name_that_is_an_ending_stays():
    assert paired("masks/mask labels/label", "mask label")[0] == {
        "masks/mask": "mask",
        "labels/label": "label",
    }


def test_what_is_made_of_labels_is_left_out():
    files = "a_gtFine_labelIds a_gtFine_labelTrainIds a_gtFine_color a_gtFine_instanceIds b_color c_L c_vis"
    kept, beside = matching.labels_alone({name: Path(name) for name in files.split()})
    assert sorted(kept) == ["a_gtFine_labelIds", "b_color", "c_L"]
    assert len(beside) == 4
