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
    found = matching.match(*sides, names=("label", "prediction"), cure="give --suffix={}", suffix=suffix)
    return {str(one): str(other) for one, other in found.pairs.values()}, found.faults()


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


def test_a_film_that_one_side_alone_has_does_not_pair_with_one_that_both_have():
    pairs, alone = paired("a/1 a/2", "a/2 c/1")
    assert pairs == {"a/2": "a/2"}
    assert len(alone) == 2


def test_pairs_of_folders_of_other_names_are_counted():
    sides = [{name: Path(name) for name in names} for names in (["a/1", "a/2"], ["b/1", "b/2"])]
    assert matching.match(*sides, names=("label", "prediction"), cure="").by_name == 2


@pytest.mark.parametrize("ending, suffix", [("_x", "_x"), ("_L", "")])
def test_where_all_names_have_one_ending_more_it_is_taken_off_first(ending, suffix):
    pairs, _ = paired(f"a a{ending}", f"a{ending} a{ending}{ending}", suffix)
    assert pairs == {"a": f"a{ending}", f"a{ending}": f"a{ending}{ending}"}


def test_what_the_other_side_wants_is_not_left_out():
    files = {name: Path(name) for name in ("a", "a_vis", "b", "b_vis")}
    assert sorted(matching.labels_alone(files, ["a", "a_vis", "b"])[0]) == ["a", "a_vis", "b"]


def test_folders_that_links_multiply_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(matching, "_MOST", 40)
    for level in range(6):
        (tmp_path / f"{level}").mkdir()
        if level:
            for name in ("one", "other"):
                (tmp_path / f"{level}" / name).symlink_to(tmp_path / f"{level - 1}")
    with pytest.raises(DatasetError, match="look for links that multiply them"):
        matching.walk(tmp_path / "5", [".png"])
    deep = tmp_path / "deep"
    (deep / "/".join("a" * 60)).mkdir(parents=True)
    with pytest.raises(DatasetError, match="50 folders inside each other"):
        matching.walk(deep, [".png"])
