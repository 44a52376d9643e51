"""Your own data: lists of classes, index and colour labels, and networks that remember the classes."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import small
from layouts import (
    CLASS_FILE,
    CUSTOM_COLORS,
    label,
    make_custom,
    picture,
    raw_png,
    write_jpeg,
    write_png,
)
from test_bad_input import sentence

from gluon_confseg import checkpoint, datasets, labels, network
from gluon_confseg.datasets import class_list
from gluon_confseg.errors import CheckpointError

PROJECT = Path(__file__).resolve().parent.parent
YAML = """
classes:
  - {name: road, color: [128, 64, 128]}
  - {name: car, color: [0, 0, 142]}
  - {name: sky, color: [70, 130, 180]}
  - {name: ignore, color: [0, 0, 0]}
"""


def with_list(root, text, name="classes.csv"):
    (root / "classes.csv").unlink()
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def test_index_labels_are_the_positions_in_the_list(tmp_path):
    dataset = datasets.open_dataset("custom", make_custom(tmp_path), "train")
    image, mask = dataset[1]
    assert (dataset.classes, dataset.num_class, dataset.mode) == (("road", "car", "sky"), 3, "train")
    assert dataset.labels.colors.tolist() == CUSTOM_COLORS[:3].tolist()
    assert image.shape == (8, 16, 3) and np.array_equal(mask, label(1, range(3)))


def test_colour_labels_give_the_same_classes_and_what_is_to_be_ignored(tmp_path):
    dataset = datasets.Custom(make_custom(tmp_path, colors=True))
    values = label(2, range(4))
    assert np.array_equal(dataset[2][1], np.where(values == 3, 255, values))
    dataset.check()
    dataset.check(thorough=True)


def test_index_and_colour_labels_may_be_mixed_and_alpha_does_not_count(tmp_path):
    root, values = make_custom(tmp_path), label(7, range(3))
    alpha = np.full((8, 16, 1), 9, np.uint8)
    write_png(root / "labels/train/photo 0.png", CUSTOM_COLORS[values])
    write_png(root / "labels/train/photo 1.png", np.concatenate([alpha, CUSTOM_COLORS[values]], axis=2))
    (root / "labels/train/photo 2.png").write_bytes(raw_png(values, 2, 3, bytes(12)))
    assert all(np.array_equal(mask, values) for _, mask in datasets.Custom(root))


@pytest.mark.parametrize(
    "name, text",
    [
        ("classes.csv", CLASS_FILE),
        ("classes.csv", CLASS_FILE.replace(",", ";").replace("\n", "\r\n")),
        ("classes.csv", b"\xef\xbb\xbf" + CLASS_FILE.encode()),
        ("classes.csv", CLASS_FILE.replace("\n", "\r")),
        ("classes.csv", b"\xef\xbb\xbf" + CLASS_FILE.replace("\n", "\r").encode()),
        ("classes.csv", CLASS_FILE.replace(",", "\t").encode("utf-16")),
        ("classes.csv", CLASS_FILE.replace("road", '"road"').replace("sky", ' "sky"')),
        ("classes.csv", CLASS_FILE.replace("\n", ",,\r\n\r\n")),
        (
            "classes.csv",
            "name,r,g,b,id\nroad,128,64,128,0\ncar,0,0,142,1\nsky,70,130,180,2\nignore,0,0,0,3\n",
        ),
        (
            "classes.csv",
            "comment,name,r,g,b\n,road,128,64,128\n,car,0,0,142\nx,sky,70,130,180\n,IGNORE,0,0,0\n",
        ),
        ("classes.yaml", YAML.replace("\n", "\r")),
        ("classes.yaml", YAML.replace("name", "Name").replace("road", "'road'")),
        ("classes.csv", "r, g, b, Name\n128,64,128,road\n0,0,142,car\n\n70,130,180, sky\n0,0,0,ignore\n"),
        ("classes.yaml", YAML),
        ("classes.yml", YAML.replace("classes:", "")),
    ],
)
def test_every_way_to_write_the_list_says_the_same(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    read = class_list.read(path, "own")
    assert read.space.classes == ("road", "car", "sky")
    assert read.space.colors.tolist() == CUSTOM_COLORS[:3].tolist()
    assert read.colors == {0x804080: 0, 0x8E: 1, 0x4682B4: 2, 0: 255}


@pytest.mark.parametrize(
    "name",
    [
        "no",
        "Yes",
        "on",
        "0",
        "010",
        "1.0",
        "1e3",
        "null",
        "~",
        "2001-01-01",
        "0x10",
        "=",
        "道路",
        "'quoted'",
        ".nan",
    ],
)
def test_names_are_read_as_they_are_written(tmp_path, name):
    (tmp_path / "classes.yaml").write_text(
        f"- {{name: {name}, color: [1, 2, 3]}}\n- {{name: b, color: [4, 5, 6], value: }}\n", encoding="utf-8"
    )
    (tmp_path / "classes.csv").write_text(f"name,r,g,b\n{name},1,2,3\nb,4,5,6\n", encoding="utf-8")
    assert class_list.read(tmp_path / "classes.yaml", "own").space.classes == (name.strip("'"), "b")
    assert class_list.read(tmp_path / "classes.csv", "own").space.classes == (name, "b")


def test_values_of_the_list_count_where_it_gives_some(tmp_path):
    text = "name,r,g,b,value\nroad,1,0,0,7\ncar,2,0,0,26\nignore,3,0,0,0\nignore,4,0,0,\n"
    root = with_list(make_custom(tmp_path), text)
    for path in (root / "labels/train").iterdir():
        write_png(path, label(0, [7, 26, 0, 255]))
    values = label(0, [7, 26, 0, 255])
    expected = np.select([values == 7, values == 26], [0, 1], 255)
    assert np.array_equal(datasets.Custom(root)[0][1], expected)


def test_folders_can_be_named_one_by_one(tmp_path):
    root = make_custom(tmp_path / "a")
    (root / "labels").rename(tmp_path / "masks")
    (root / "classes.csv").rename(tmp_path / "names.csv")
    named = {"images": root / "images", "labels": tmp_path / "masks", "classes": tmp_path / "names.csv"}
    assert len(datasets.Custom(**named, split="train")) == 3
    flat = {"images": root / "images" / "train", "labels": tmp_path / "masks" / "train"}
    assert len(datasets.Custom(**{**named, **flat}, split="val")) == 3


def test_folders_without_splits_are_one_split(tmp_path):
    root = make_custom(tmp_path)
    for kind in ("images", "labels"):
        for path in list((root / kind / "train").iterdir()):
            path.rename(root / kind / path.name)
        (root / kind / "train").rmdir()
    assert len(datasets.Custom(root, "train")) == 3
    assert "no split 'val'" in sentence(lambda: datasets.Custom(root, "val"))


def test_a_split_that_is_not_there_names_those_that_are(tmp_path):
    root = make_custom(make_custom(tmp_path, "train"), "night")
    assert "night, train" in sentence(lambda: datasets.Custom(root, "val"))


def test_nested_folders_and_png_photographs_pair_by_their_path(tmp_path):
    root = make_custom(tmp_path, count=1)
    write_png(root / "images/train/ulm/photo 0.png", picture(5))
    write_png(root / "labels/train/ulm/photo 0.png", label(5, range(3)))
    dataset = datasets.Custom(root)
    assert len(dataset) == 2 and np.array_equal(dataset[1][0], picture(5))


def test_a_test_split_without_labels_is_ignored_everywhere(tmp_path):
    root = make_custom(tmp_path)
    write_jpeg(root / "images/test/x.JPG", picture(0))
    dataset = datasets.Custom(root, "test")
    assert dataset.label_paths == [None] and (dataset[0][1] == 255).all()


def test_a_colour_of_no_class_is_told_with_its_place(tmp_path):
    root = make_custom(tmp_path, colors=True)
    colors = np.full((8, 16, 3), CUSTOM_COLORS[0])
    colors[3:, 5:] = (1, 2, 3)
    path = write_png(root / "labels/train/photo 1.png", colors)
    message = sentence(lambda: datasets.Custom(root)[1])
    assert message.startswith(f"{path}: colour (1, 2, 3) at row 3, column 5 is that of no class")


def test_a_value_of_no_class_is_told_with_its_place(tmp_path):
    root = make_custom(tmp_path)
    path = write_png(root / "labels/train/photo 1.png", np.full((8, 16), 4, np.uint8))
    message = sentence(lambda: datasets.Custom(root)[1])
    assert message.startswith(f"{path}: value 4 at row 0, column 0 is no") and "(0-2)" in message


FAULTY_LISTS = {
    "empty": ("", "name,r,g,b"),
    "no header": ("road,1,2,3\n", "name,r,g,b"),
    "one class": ("name,r,g,b\nroad,1,2,3\n", "1 classes"),
    "too many": (
        "name,r,g,b\n" + "".join(f"c{i},{i % 256},{i // 256},0\n" for i in range(254)),
        "254 classes",
    ),
    "no name": ("name,r,g,b\nroad,1,2,3\n,4,5,6\n", "row 3"),
    "a short row": ("name,r,g,b\nroad,1,2,3\ncar,4,5\n", "row 3"),
    "a fraction": ("name,r,g,b\nroad,1,2,3\ncar,4,5,6.5\n", "row 3"),
    "out of range": ("name,r,g,b\nroad,1,2,3\ncar,4,5,256\n", "row 3"),
    "a name twice": ("name,r,g,b\nroad,1,2,3\nroad,4,5,6\n", "the same name road"),
    "a colour twice": ("name,r,g,b\nroad,1,2,3\nignore,1,2,3\ncar,7,7,7\n", "row 2 and row 3"),
    "a value twice": ("name,r,g,b,value\nroad,1,2,3,7\ncar,4,5,6,7\n", "the same value 7"),
    "some values": ("name,r,g,b,value\nroad,1,2,3,7\ncar,4,5,6,\n", "car has no value"),
    "a value that is none": ("name,r,g,b,value\nroad,1,2,3,x\ncar,4,5,6,1\n", "the value of road"),
    "no text": (b"\x89PNG\r\n\xff\xff", "UTF-8"),
    "half a UTF-16": ("name,r,g,b\n".encode("utf-16")[:-1], "UTF-8"),
    "another encoding": ("name,r,g,b\nStraße,1,2,3\n".encode("latin-1"), "UTF-8"),
    "a byte that is 0": (
        "name,r,g,b\nro\0ad,1,2,3\ncar,4,5,6\n",
        "line 2: holds the control character U+0000",
    ),
    "a terminal code": (
        "name,r,g,b\nroad,1,2,3\n\x1b[31mcar,4,5,6\n",
        "line 3: holds the control character U+001B",
    ),
    "header alone": ("name,r,g,b\n", "names 0 classes"),
    "no name at the end": ("r,g,b,name\n1,2,3,road\n4,5,6\n", "row 3: has no name"),
    "a row after an empty one": ("name,r,g,b\nroad,1,2,3\n\ncar,4,5\n", "row 4"),
    "a cell too many": ("name,r,g,b\nroad,1,2,3,7\ncar,4,5,6\n", "row 2: has 5 cells"),
    "a name with a comma": ("name,r,g,b\nroad, wet,1,2,3\ncar,4,5,6\n", "row 2: has 5 cells"),
    "a column twice": ("name,r,g,b,r\nroad,1,2,3,4\ncar,4,5,6,7\n", "two columns 'r'"),
    "a quote left open": ('name,r,g,b\n"road,1,2,3\ncar,4,5,6\n', "is a quote left open?"),
    "a quote closed too early": ('name,r,g,b\n"ro"ad,1,2,3\ncar,4,5,6\n', "row 2: is no CSV"),
    "a name of two lines": ('name,r,g,b\n"ro\nad",1,2,3\ncar,4,5,6\n', "U+000A"),
    "a long name": (f"name,r,g,b\n{'x' * 3000},1,2,3\ncar,4,5,6\n", "has 3000 signs"),
    "a huge cell": (f'name,r,g,b\n"{"x" * 200_000}",1,2,3\ncar,4,5,6\n', "too many for a list"),
    "a long number": (f"name,r,g,b\nroad,{'9' * 5000},2,3\ncar,4,5,6\n", "row 2"),
    "ids that are no positions": ("id,name,r,g,b\n1,road,1,2,3\n2,car,4,5,6\n", "name the column value"),
}
FAULTY_YAML = {
    "no yaml": ("{", "is no YAML"),
    "a word": ("road", "no list"),
    "an object": ("!!python/object/apply:os.system [ls]", "entry 1: has no name"),
    "a billion laughs": (
        "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9 if n else ['lol'])}]\n" for n in range(10)),
        "aliases",
    ),
    "a circle": ("&a [*a]", "aliases"),
    "a merged entry": ("[&a {name: road, color: [1, 2, 3]}, {<<: *a, name: car}]", "aliases"),
    "a list of mappings, nested deep": ("- " * 40 + "a", "deep nesting"),
    "a code written with an escape": ('[{name: "\\e[31mroad", color: [1, 2, 3]}]', "U+001B"),
    "half a sign written with an escape": ('[{name: "\\ud800", color: [1, 2, 3]}]', "classes.yaml"),
    "no name": ("[{name: '', color: [1, 2, 3]}]", "entry 1: has no name"),
    "a list as name": ("[{name: [road], color: [1, 2, 3]}]", "entry 1: has no name"),
    "two documents": (
        "- {name: road, color: [1, 2, 3]}\n---\n- {name: car, color: [4, 5, 6]}\n",
        "is no YAML",
    ),
    "a hexadecimal number": ("[{name: road, color: [0x10, 2, 3]}]", "red, green and blue"),
    "only names": ("[road, car]", "entry 1"),
    "a colour of two": ("[{name: road, color: [1, 2]}]", "red, green and blue"),
    "no colour": ("[{name: road}]", "red, green and blue"),
    "nested deep": ("[" * 1500, "is no YAML"),
    "nested deeper": ("[" * 100_000, "is no YAML"),
}


@pytest.mark.parametrize("text, words", FAULTY_LISTS.values(), ids=FAULTY_LISTS)
def test_a_faulty_csv_is_one_sentence_with_the_row(tmp_path, text, words):
    root = with_list(make_custom(tmp_path), text)
    message = sentence(lambda: datasets.Custom(root))
    assert str(root / "classes.csv") in message and words in message


@pytest.mark.parametrize("text, words", FAULTY_YAML.values(), ids=FAULTY_YAML)
def test_a_faulty_yaml_is_one_sentence_with_the_entry(tmp_path, text, words):
    root = with_list(make_custom(tmp_path), text, "classes.yaml")
    message = sentence(lambda: datasets.Custom(root))
    assert str(root / "classes.yaml") in message and words in message


def test_what_is_missing_is_said(tmp_path):
    root = make_custom(tmp_path / "own")
    assert "give the folder that holds images/" in sentence(lambda: datasets.Custom(tmp_path / "none"))
    (root / "classes.yaml").write_text(YAML)
    assert "2 lists of classes" in sentence(lambda: datasets.Custom(root))
    (root / "classes.yaml").unlink()
    (root / "classes.csv").unlink()
    assert "no list of classes" in sentence(lambda: datasets.Custom(root))
    assert str(tmp_path / "x.csv") in sentence(lambda: datasets.Custom(root, classes=tmp_path / "x.csv"))


def test_what_does_not_pair_is_told_at_once(tmp_path):
    root = make_custom(tmp_path)
    (root / "labels/train/photo 1.png").unlink()
    (root / "images/train/photo 2.jpg").unlink()
    message = sentence(lambda: datasets.Custom(root))
    assert "image images/train/photo 1.jpg has no label" in message
    assert "label labels/train/photo 2.png has no image" in message
    write_png(root / "images/train/photo 0.png", picture(0))
    assert "same name" in sentence(lambda: datasets.Custom(root))


def test_it_survives_pickling(tmp_path):
    dataset = datasets.Custom(make_custom(tmp_path, colors=True))
    assert np.array_equal(pickle.loads(pickle.dumps(dataset))[0][1], dataset[0][1])


# --- networks remember the classes


def write_checkpoint(path, record):
    built = small.build(groups=())
    meta = {"labels": record, "rule": "subnet0", "network": built.settings}
    checkpoint.save(path, checkpoint.network_arrays(built), meta)
    return path


@pytest.mark.parametrize("name", labels.LABEL_SPACES)
def test_a_known_label_space_is_recorded_by_its_name(name):
    assert labels.LABEL_SPACES[name].record() == name and labels.restored(name) is labels.LABEL_SPACES[name]


def test_a_checkpoint_names_the_classes_of_your_own_data(tmp_path):
    space = datasets.Custom(make_custom(tmp_path / "own")).labels
    loaded = network.load(write_checkpoint(tmp_path / "a.npz", space.record())).labels
    assert (loaded.name, loaded.title, loaded.classes) == ("custom", "own", ("road", "car", "sky"))
    assert np.array_equal(loaded.colors, space.colors) and np.array_equal(loaded.table(), space.table())


RECORD = {
    "name": "custom",
    "title": "t",
    "classes": ["a", "b"],
    "colors": [[0, 0, 0], [1, 1, 1]],
    "raw_ids": None,
}
FAULTY_RECORDS = [
    {"colors": [[0, 0, 0]]},
    {"colors": [[0, 0, 0], [1, 1, 300]]},
    {"raw_ids": [[0, 9]]},
    {"raw_ids": [[999, 0]]},
    {"classes": []},
]


@pytest.mark.parametrize(
    "record", [None, "ade20k", [], 3, {}, {"classes": ["a"]}, *({**RECORD, **bad} for bad in FAULTY_RECORDS)]
)
def test_a_checkpoint_with_any_other_record_is_one_error(tmp_path, record):
    path = write_checkpoint(tmp_path / "a.npz", record)
    with pytest.raises(CheckpointError, match="which classes"):
        network.load(path)


def test_the_example_of_the_readme_runs(tmp_path):
    readme = (PROJECT / "data" / "custom" / "README.md").read_text()
    block = readme.split("from folders to batches:\n\n```python\n")[1].split("```")[0]
    code = block.replace('"MYDATA"', repr(str(make_custom(tmp_path))))
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith("#")]
    values: dict = {}
    exec(code, values)
    assert len(lines) <= 10 and values["batch"].images.shape[1:] == (3, 320, 480)


def test_the_list_of_cvat_is_one(tmp_path):
    root = make_custom(tmp_path, colors=True)
    rows = [
        f"{name}:{r},{g},{b}::" for name, (r, g, b) in zip(("road", "car", "sky", "ignore"), CUSTOM_COLORS)
    ]
    with_list(root, "\n".join(["# label:color_rgb:parts:actions", *rows]), "labelmap.txt")
    dataset = datasets.Custom(root)
    assert dataset.classes == ("road", "car", "sky") and dataset[2][1].max() == 255
    with_list_again = root / "labelmap.txt"
    with_list_again.write_text("road,128,64,128\n")
    assert "as CVAT writes it" in sentence(lambda: datasets.Custom(root))


def test_several_kinds_of_pixels_may_be_ignored_in_one_colour(tmp_path):
    rows = "name,r,g,b,value\nroad,128,64,128,7\ncar,0,0,142,26\nignore,0,0,0,0\nignore,0,0,0,1\nignore,0,0,0,29\n"
    space = class_list.read(with_list(make_custom(tmp_path), rows) / "classes.csv", "mine").space
    assert space.to_train_ids([7, 26, 0, 1, 29]).tolist() == [0, 1, 255, 255, 255]
    assert space.valid_range() == "0, 1, 7, 26, 29"
