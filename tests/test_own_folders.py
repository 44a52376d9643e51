"""Own data as other programs lay it out: splits by folder or by list, labels with endings, labels that are none."""

from pathlib import Path

import pytest

from gluon_confseg.datasets import own_folders
from gluon_confseg.errors import DatasetError


@pytest.fixture
def lay(tmp_path):
    """Empty files of these names, and lists by keyword: `lay("images/a.png", train="a")`."""

    def lay(*names: str, **lists: str) -> Path:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        for name, text in lists.items():
            (tmp_path / f"{name}.txt").write_bytes(text.encode())
        return tmp_path

    return lay


def found(root: Path, split: str, **options) -> list[tuple[str, str | None]]:
    """(image, label) below the root; DatasetError where anything is left alone."""
    pairing = own_folders.find(root, split, **options).pairing
    if pairing.alone:
        raise DatasetError("; ".join(pairing.alone))
    return [
        tuple(path and str(path.relative_to(root)) for path in (pair.image, pair.label))
        for pair in pairing.pairs
    ]


def test_splits_have_other_names_elsewhere(lay):
    root = lay(
        "images/training/a.jpg", "annotations/training/a.png", "images/Validation/b.jpg", "images/extra/c.jpg"
    )
    lay("annotations/validation/b.png")
    assert own_folders.splits_in(root) == ["train", "val", "extra"]
    assert found(root, "train") == [("images/training/a.jpg", "annotations/training/a.png")]
    assert found(root, "val") == [("images/Validation/b.jpg", "annotations/validation/b.png")]


def test_lists_name_the_images_of_each_split(lay):
    root = lay("images/a.jpg", "images/b.jpg", "images/c.jpg", "masks/a.png", "masks/b.png", "masks/c.png")
    lay(train="a\r\nimages/b.jpg\r\n\r\n", val="\ufeff./images/c.jpg\n")
    assert own_folders.splits_in(root) == ["train", "val"]
    assert found(root, "train") == [("images/a.jpg", "masks/a.png"), ("images/b.jpg", "masks/b.png")]
    assert found(root, "val") == [("images/c.jpg", "masks/c.png")]
    assert own_folders.find(root, "val").listing == root / "val.txt"


def test_lists_may_name_the_label_beside_the_image(lay):
    root = lay(
        "img/a b.jpg", "img/c.jpg", "label/7.png", "label/8.png", train="a b\n", val="img/c.jpg label/8.png\n"
    )
    assert found(root, "val") == [("img/c.jpg", "label/8.png")]
    with pytest.raises(DatasetError, match=r"a b\.jpg has no label"):
        found(root, "train")


def test_a_list_lies_where_voc_and_cvat_put_it(lay):
    root = lay("JPEGImages/a.jpg", "JPEGImages/b.jpg", "SegmentationClass/a.png", "SegmentationClass/b.png")
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/train.txt").write_text("b\n")
    assert found(root, "train") == [("JPEGImages/b.jpg", "SegmentationClass/b.png")]


@pytest.mark.parametrize(
    "text, said",
    [
        ("a\nzebra\n", r"train\.txt, line 2: there is no image zebra in .*images"),
        ("a\na.jpg\n", r"train\.txt, line 2: names a\.jpg again"),
        ("a.jpg zebra.png\n", r"train\.txt, line 1: there is no label zebra\.png"),
        ("\n# nothing\n", r"train\.txt: names no image"),
    ],
)
def test_a_wrong_list_is_named_with_its_line(lay, text, said):
    root = lay("images/a.jpg", "labels/a.png", train=text)
    with pytest.raises(DatasetError, match=said):
        found(root, "train")


@pytest.mark.parametrize("ending", ["_L", "_mask", "_segmentation", "_train_id", ".jpg", "_gtFine_labelIds"])
def test_labels_have_endings(lay, ending):
    root = lay(
        "images/1.jpg", "images/2.jpg", f"labels/1{ending}.png", f"labels/2{ending}.png", "labels/1_color.png"
    )
    assert [label for _, label in found(root, "train")] == [f"labels/1{ending}.png", f"labels/2{ending}.png"]


def test_another_ending_is_named_once_and_can_be_given(lay):
    root = lay("images/1.jpg", "images/2.jpg", "labels/1xyz.png", "labels/2xyz.png")
    with pytest.raises(
        DatasetError, match="equal but for the ending 'xyz': name image and label on each line"
    ):
        found(root, "train")
    assert found(root, "train", suffix="xyz")[1] == ("images/2.jpg", "labels/2xyz.png")


@pytest.mark.parametrize("ending", ["jpg", "JPEG", "bmp", "tif"])
def test_labels_that_are_no_png_are_named(lay, ending):
    root = lay("images/a.jpg", "images/b.jpg", "labels/a.png", f"labels/b.{ending}")
    with pytest.raises(DatasetError, match=rf"b\.{ending}: is no PNG file"):
        found(root, "train")


def test_files_that_are_linked_are_found_by_way_of_the_link(lay):
    root = lay("disk/images/a.jpg", "disk/labels/a.png")
    for kind in ("images", "labels"):
        (root / kind / "train").mkdir(parents=True)
        (root / kind / "train" / "city").symlink_to(root / "disk" / kind)
    assert found(root, "train") == [("images/train/city/a.jpg", "labels/train/city/a.png")]


@pytest.mark.parametrize("line", [".", "/", "./", "a .", "..", "\u00a0"])
def test_a_line_that_names_nothing_is_a_sentence(lay, line):
    root = lay("images/a.jpg", "labels/a.png", train=f"{line}\n")
    with pytest.raises(DatasetError, match=r"train\.txt"):
        found(root, "train")


def test_a_list_may_name_labels_for_some_of_its_images(lay):
    root = lay("images/a.jpg", "images/b.jpg", "labels/a.png", "labels/7.png", train="a\nb 7\n")
    assert found(root, "train") == [("images/a.jpg", "labels/a.png"), ("images/b.jpg", "labels/7.png")]


def test_a_listed_test_split_may_have_no_labels(lay):
    root = lay("images/a.jpg", "images/b.jpg", "labels/a.png", train="a\n", test="b\n")
    assert found(root, "test") == [("images/b.jpg", None)]


@pytest.mark.parametrize("asked", ["training", "train", "Train"])
def test_a_split_is_found_by_any_of_its_names(lay, asked):
    root = lay("images/train/a.jpg", "labels/train/a.png")
    assert len(found(root, asked)) == 1
