"""Labels of one's own, of every form: read as the list of classes means it, or refused with what is seen and said."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from layouts import chunk, picture, raw_png, write_png
from PIL import Image
from test_bad_input import sentence

from gluon_confseg import datasets, labels
from gluon_confseg.datasets import checks, class_list, own_labels, packing
from gluon_confseg.errors import DatasetError

TWO = "name,r,g,b\nbackground,0,0,0\nlesion,255,255,255\n"
TWO_TURNED = "name,r,g,b\nlesion,255,255,255\nbackground,0,0,0\n"
RED = "name,r,g,b\nbackground,0,0,0\nlesion,255,0,0\n"
GRAYS = "name,r,g,b\nbackground,0,0,0\norgan,127,127,127\nlesion,255,255,255\n"
STREET = "name,r,g,b\nroad,128,64,128\ncar,0,0,142\ntree,107,142,35\n"
STREET_VOID = STREET + "ignore,0,0,0\n"
WITH_WHITE = "name,r,g,b\nroad,128,64,128\ncar,0,0,142\nwall,255,255,255\n"
VOC_PALETTE = [labels.voc_color(index) for index in range(256)]
ROAD, CAR, TREE, BLACK, WHITE = (128, 64, 128), (0, 0, 142), (107, 142, 35), (0, 0, 0), (255, 255, 255)


def png(values, depth: int = 8, palette=None, alpha=None) -> bytes:
    """Gray, with alpha or not, or a palette, of any depth."""
    values = np.array([values]) if np.ndim(values) == 1 else np.asarray(values)
    if alpha is None:
        color_type, colors = (0, b"") if palette is None else (3, np.array(palette, np.uint8).tobytes())
        return raw_png(values.astype(int), depth, color_type, colors)
    pixels = np.stack([values, np.broadcast_to(alpha, values.shape)], axis=2)
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else np.uint8).tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, 4, 0, 0, 0)
    body = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in body)


def own(root: Path, classes: str, *files: bytes, split: str = "train") -> datasets.Custom:
    """A split with these label files."""
    root.mkdir(exist_ok=True)
    (root / "classes.csv").write_text(classes)
    for number, content in enumerate(files):
        label = root / "labels" / split / f"{number}.png"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_bytes(content)
        size = own_labels.read(label).shape[:2]
        write_png(root / "images" / split / f"{number}.png", picture(number, *size))
    return datasets.Custom(root, split)


def ids(root: Path, classes: str, content: bytes) -> list[int]:
    """The train ids of a label of one row."""
    return own(root, classes, content)[0][1][0].tolist()


def how(root: Path, classes: str, content: bytes) -> str:
    dataset = own(root, classes, content)
    return dataset.reading(0, dataset.read_values(0)).how


READ = {
    # name: (list, file, train ids)
    "0 and 255, black and white": (TWO, png([0, 255, 0]), [0, 1, 0]),
    "0 and 255, white first": (TWO_TURNED, png([0, 255, 0]), [1, 0, 1]),
    "255 alone": (TWO, png([255, 255]), [1, 1]),
    "255 alone, white first": (TWO_TURNED, png([255, 255]), [0, 0]),
    "0 alone": (TWO, png([0, 0]), [0, 0]),
    "0 and 1": (TWO, png([0, 1]), [0, 1]),
    "0 and 1, white first": (TWO_TURNED, png([0, 1]), [0, 1]),
    "0, 1 and 255": (TWO, png([0, 1, 255]), [0, 1, 255]),
    "1 and 255": (RED, png([1, 255]), [1, 255]),
    "0 and 65535": (TWO, png([0, 65535], 16), [0, 1]),
    "0 and 255 in 16 bits": (TWO, png([0, 255], 16), [0, 1]),
    "0 and 1 in 16 bits": (STREET, png([0, 2], 16), [0, 2]),
    "gray with an opaque alpha": (TWO, png([0, 255], alpha=255), [0, 1]),
    "indices with an opaque alpha": (STREET, png([0, 2], alpha=255), [0, 2]),
    "indices with an opaque alpha of 16 bits": (STREET, png([0, 2], 16, alpha=65535), [0, 2]),
    "three grays": (GRAYS, png([0, 127, 255]), [0, 1, 2]),
    "two of three grays": (GRAYS, png([0, 255]), [0, 2]),
    "one of three grays": (GRAYS, png([127, 127]), [1, 1]),
    "indices of three grays": (GRAYS, png([0, 1, 2, 255]), [0, 1, 2, 255]),
    "a gray to be ignored": (TWO + "ignore,128,128,128\n", png([0, 128, 255]), [0, 255, 1]),
    "white is to be ignored": (RED + "ignore,255,255,255\n", png([0, 255]), [0, 255]),
    "index 255 is ignored beside many classes": (STREET, png([0, 255]), [0, 255]),
    "one bit": (TWO, png([0, 1], 1), [0, 1]),
    "one bit, white first": (TWO_TURNED, png([0, 1], 1), [1, 0]),
    "one bit, white alone": (TWO_TURNED, png([1, 1], 1), [0, 0]),
    "one bit, black alone": (TWO_TURNED, png([0, 0], 1), [1, 1]),
    "one bit, black and white are two of many": (
        "name,r,g,b\ncyst,255,0,0\n" + TWO[11:],
        png([0, 1], 1),
        [1, 2],
    ),
    "one bit, other colours": (STREET, png([0, 1], 1), [0, 1]),
    "one bit, other colours and black": (STREET_VOID, png([0, 1], 1), [0, 1]),
    "two bits of index": (STREET, png([0, 2], 2), [0, 2]),
    "two bits of gray": (TWO_TURNED, png([0, 3], 2), [1, 0]),
    "the list's palette": (STREET, png([0, 1, 2], palette=[ROAD, CAR, TREE]), [0, 1, 2]),
    "the list's palette in another order": (STREET, png([0, 1, 2], palette=[TREE, ROAD, CAR]), [2, 0, 1]),
    "the same of 2 bits": (STREET, png([0, 1, 2], 2, palette=[TREE, ROAD, CAR]), [2, 0, 1]),
    "the same of 4 bits": (STREET, png([0, 1, 2], 4, palette=[TREE, ROAD, CAR]), [2, 0, 1]),
    "the same, one entry in use": (STREET, png([1, 1], palette=[TREE, ROAD, CAR]), [0, 0]),
    "the same, others unused": (STREET, png([0, 2], palette=[TREE, (1, 2, 3), CAR]), [2, 1]),
    "black first": (STREET_VOID, png([0, 1, 2], palette=[BLACK, ROAD, CAR]), [255, 0, 1]),
    "black first and alone": (STREET_VOID, png([0, 0], palette=[BLACK, ROAD, CAR]), [255, 255]),
    "a palette of black and white": (TWO_TURNED, png([0, 1], 1, palette=[BLACK, WHITE]), [1, 0]),
    "numbers beyond the classes, in the list's colours": (
        STREET,
        png([7, 9], palette=[(9, 9, 9)] * 7 + [CAR, BLACK, ROAD]),
        [1, 0],
    ),
    "VOC's palette": (STREET, png([0, 1, 2], palette=VOC_PALETTE), [0, 1, 2]),
    "VOC's palette, and black is ignored": (STREET_VOID, png([0, 1, 2], palette=VOC_PALETTE), [0, 1, 2]),
    "VOC's palette and its border": (STREET, png([0, 1, 255], palette=VOC_PALETTE), [0, 1, 255]),
    "a palette of all grays": (STREET_VOID, png([0, 0], palette=[(v,) * 3 for v in range(256)]), [0, 0]),
    "a palette of all grays, black and white": (
        TWO,
        png([0, 255], palette=[(v,) * 3 for v in range(256)]),
        [0, 1],
    ),
    "a palette of nothing but black": (STREET_VOID, png([0, 1, 2], palette=[BLACK] * 4), [0, 1, 2]),
    "a palette that is too short": (STREET, png([0, 1, 2], palette=[(9, 9, 9)]), [0, 1, 2]),
    "gray zeros where black is ignored": (STREET_VOID, png([0, 0]), [0, 0]),
    "an index that is a gray of a list with colours": (
        "name,r,g,b\n" + "".join(f"c{k},{k},9,{k}\n" for k in range(99)) + "g,70,70,70\n",
        png([70, 70]),
        [70, 70],
    ),
}


@pytest.mark.parametrize("classes, content, expected", READ.values(), ids=READ)
def test_what_is_beyond_doubt_is_read(tmp_path, classes, content, expected):
    assert ids(tmp_path, classes, content) == expected


VALUED = "name,r,g,b,value\nbackground,0,0,0,0\nlesion,255,255,255,1\n"
REFUSED = {
    # name: (list, file, words of the sentence)
    "0 and 255, other colours": (RED, png([0, 255]), "0 and 255"),
    "255 alone, other colours": (RED, png([255, 255]), "255 for lesion"),
    "0 and 255 in VOC's palette": (RED, png([0, 255], palette=VOC_PALETTE), "0 and 255"),
    "0 and 255 in 16 bits": (RED, png([0, 255], 16), "0 and 255"),
    "0 and 65535, other colours": (RED, png([0, 65535], 16), "16-bit values up to 65535"),
    "0 and 255, white is one of many": (WITH_WHITE, png([0, 255]), "255 for wall"),
    "0 and 255, white and black are two of many": (
        TWO + "cyst,255,0,0\n",
        png([0, 255]),
        "which is lesion, and is ignored by its number",
    ),
    "255 alone, white is one of many": (WITH_WHITE, png([255, 255]), "(255, 255, 255), which is wall"),
    "0 and 255, white's value is 1": (VALUED, png([0, 255]), "which is lesion"),
    "0 alone, white first": (TWO_TURNED, png([0, 0]), "which is background, and is lesion by its number"),
    "0 and 128": (TWO, png([0, 128]), "nor is its colour (128, 128, 128) in the list"),
    "a smoothed mask": (TWO, png([0, 17, 255]), "value 17"),
    "gray and transparent": (TWO, png([0, 255], alpha=9), "transparent"),
    "instance ids": (STREET, png([26001, 0], 16), "instance ids"),
    "instance ids that are multiples of 257": (STREET, png([25957, 0], 16), "instance ids"),
    "one bit, white is another class": (
        "name,r,g,b\nlesion,255,255,255\nskin,9,9,9\n",
        png([0, 1], 1),
        "which is lesion, and is skin by its number",
    ),
    "a palette with one of the list's colours elsewhere": (
        STREET,
        png([0, 1], palette=[(9, 9, 9), ROAD]),
        "which is road, and is car by its number in this palette file",
    ),
    "a palette with an ignored colour elsewhere": (
        STREET + "ignore,9,9,9\n",
        png([0, 1], palette=[(1, 1, 1), (9, 9, 9)]),
        "which is ignored, and is car",
    ),
    "a palette with one colour twice": (STREET, png([0, 1], palette=[CAR, CAR]), "which is car, and is road"),
    "the number of an ignore row at the end": (STREET_VOID, png([0, 2, 3]), "give a row ignore the value 3"),
    "the number of the last of two ignore rows": (
        STREET_VOID + "ignore,1,1,1\n",
        png([0, 4]),
        "give a row ignore the value 4",
    ),
    "numbers that begin with 1": (STREET_VOID, png([0, 1, 2, 3]), "every class its value"),
    "one black entry": (STREET_VOID, png([0, 0], palette=[BLACK]), "which is ignored, and is road"),
    "background is black but comes last": (
        "name,r,g,b\nthing,255,0,0\nbackground,0,0,0\n",
        png([0, 1], palette=VOC_PALETTE),
        "which is background, and is thing",
    ),
}


@pytest.mark.parametrize("classes, content, words", REFUSED.values(), ids=REFUSED)
def test_what_can_mean_two_things_is_refused_with_what_is_seen_and_what_to_do(
    tmp_path, classes, content, words
):
    (tmp_path / "classes.csv").write_text(classes)
    (tmp_path / "label.png").write_bytes(content)
    reader = own_labels.Reader(class_list.read(tmp_path / "classes.csv", "own"))
    message = sentence(
        lambda: reader.train_ids(tmp_path / "label.png", own_labels.read(tmp_path / "label.png"))
    )
    assert message.startswith(str(tmp_path / "label.png")) and words in message


def test_values_in_the_list_settle_what_can_mean_two_things(tmp_path):
    """Each of these is refused without `value`."""
    red = "name,r,g,b,value\nbackground,0,0,0,0\nlesion,255,0,0,255\n"
    assert ids(tmp_path / "a", red, png([0, 255])) == [0, 1]
    assert ids(tmp_path / "b", red.replace(",255\n", ",1\nignore,1,1,1,255\n"), png([0, 255])) == [0, 255]
    turned = "name,r,g,b,value\nlesion,255,255,255,0\nbackground,0,0,0,1\n"
    assert ids(tmp_path / "d", turned, png([0, 0])) == [0, 0]
    assert ids(tmp_path / "e", turned.replace(",0\n", ",255\n").replace(",1\n", ",0\n"), png([0, 0])) == [
        1,
        1,
    ]
    street = "name,r,g,b,value\nroad,128,64,128,0\ncar,0,0,142,1\ntree,107,142,35,2\n"
    assert ids(tmp_path / "f", street, png([0, 1], palette=[(9, 9, 9), ROAD])) == [0, 1]
    assert ids(tmp_path / "g", street, png([0, 1], palette=[CAR, CAR])) == [0, 1]


def test_every_gray_mask_of_the_same_list_reads_alike_at_any_depth(tmp_path):
    seen = np.array([0, 255, 255, 0])
    for name, content in {
        "1 bit": png(seen // 255, 1),
        "2 bits": png(seen // 85, 2),
        "4 bits": png(seen // 17, 4),
        "8 bits": png(seen),
        "16 bits": png(seen * 257, 16),
        "alpha": png(seen, alpha=255),
        "palette": png(seen // 255, palette=[BLACK, WHITE]),
    }.items():
        assert ids(tmp_path / name, TWO_TURNED, content) == [1, 0, 0, 1], name


def test_a_class_may_have_the_value_255_which_then_is_not_ignored(tmp_path):
    dataset = own(tmp_path, "name,r,g,b,value\nno,1,1,1,0\nyes,2,2,2,255\nignore,3,3,3,9\n", png([0, 255, 9]))
    assert dataset[0][1].tolist() == [[0, 1, 255]]
    assert dataset.labels.to_stored(np.array([0, 1, 255])).tolist() == [0, 255, 9]
    assert np.array_equal(labels.restored(dataset.labels.record()).table(), dataset.labels.table())


def test_rgb_colours_are_read_at_8_and_16_bits(tmp_path):
    colors = np.array([[ROAD, TREE, CAR]], np.uint16)
    for number, scaled in enumerate((colors.astype(np.uint8), colors, 257 * colors)):
        root = tmp_path / str(number)
        write_png(root / "images/train/a.png", picture(0, 1, 3))
        write_png(root / "labels/train/a.png", scaled)
        (root / "classes.csv").write_text(STREET)
        assert datasets.Custom(root)[0][1].tolist() == [[0, 2, 1]]


def drawn_case(draws) -> tuple[str, dict, dict, bytes, np.ndarray]:
    """A list, what its colours and its numbers are, a label file, and the values in it."""
    grays, others = [(v,) * 3 for v in (0, 1, 2, 85, 127, 128, 255)], [ROAD, CAR, (128, 0, 0), (9, 9, 9)]
    colors = draws.permutation(grays + others)[: draws.integers(2, 6)].tolist()
    numbers = draws.choice([0, 1, 2, 3, 7, 127, 255], len(colors), replace=False).tolist()
    valued, ignored = draws.random() < 0.3, len(colors) > 2 and draws.random() < 0.5
    names = [f"c{k}" for k in range(len(colors) - ignored)] + ["Ignore"] * ignored
    rows = [[n, *c, v if valued else ""] for n, c, v in zip(names, colors, numbers)]
    text = "\n".join(",".join(map(str, row)) for row in [["name", "r", "g", "b", "value"], *rows])
    ids = [255 if name == "Ignore" else k for k, name in enumerate(names)]
    depth = int(draws.choice([1, 2, 4, 8, 8, 16]))
    pool = [v for v in (0, 1, 2, 3, 15, 127, 128, 255, 32639, 65535) if v < 2**depth]
    values = draws.choice(draws.permutation(pool)[: draws.integers(1, 4)], (3, 8))
    palette = None
    if depth <= 8 and draws.random() < 0.5:
        palette = draws.permutation(colors + grays + others)[: min(2**depth, draws.integers(1, 9))]
    by_number = {255: 255, **dict(zip(numbers if valued else range(len(ids)), ids))}
    return text, dict(zip(map(tuple, colors), ids)), by_number, png(values, depth, palette), values


@pytest.mark.slow
def test_whatever_is_read_is_what_pillow_shows_or_what_the_numbers_say(tmp_path):
    draws, told = np.random.default_rng(12), set()
    for _ in range(400):
        text, by_color, by_number, content, values = drawn_case(draws)
        (tmp_path / "classes.csv").write_text(text)
        (tmp_path / "label.png").write_bytes(content)
        reader = own_labels.Reader(class_list.read(tmp_path / "classes.csv", "own"))
        try:
            label = own_labels.read(tmp_path / "label.png")
            found, how = reader.train_ids(tmp_path, label), reader.reading(tmp_path, label).how
        except DatasetError:
            continue
        if values.max() > 255:
            pixels = np.stack([values // 257] * 3, axis=2)
        else:
            picture = Image.open(tmp_path / "label.png")  # of 16 bits, Pillow has no RGB
            pixels = (
                np.stack([values] * 3, axis=2) if picture.mode[0] == "I" else np.array(picture.convert("RGB"))
            )
        seen = np.array([[by_color.get(tuple(pixel), -1) for pixel in row] for row in pixels.tolist()])
        numbered = np.array([[by_number.get(value, -1) for value in row] for row in values.tolist()])
        assert np.array_equal(found, numbered if how == own_labels.INDICES else seen), (text, values)
        told.add(how)
    assert told == {own_labels.INDICES, own_labels.PALETTE, own_labels.GRAY, own_labels.ALIKE}


# --- a row ignore that shifts positions


@pytest.mark.parametrize(
    "rows",
    [
        "ignore,0,0,0\nroad,128,64,128\ncar,0,0,142\ntree,107,142,35\n",
        "road,128,64,128\nIgnore,0,0,0\ncar,0,0,142\ntree,107,142,35\n",
        "ignore,0,0,0\nroad,128,64,128\ncar,0,0,142\nignore,1,1,1\n",
        "ignore,0,0,0\nroad,128,64,128\ncar,0,0,142\nIGNORE,1,1,1\ntree,107,142,35\n",
    ],
)
@pytest.mark.parametrize("content", [png([0, 1, 2]), png([0, 0]), png([0, 1], palette=VOC_PALETTE)])
def test_an_ignore_row_before_a_class_makes_indices_unclear(tmp_path, rows, content):
    dataset = own(tmp_path, "name,r,g,b\n" + rows, content)
    message = sentence(lambda: dataset[0])
    assert "not clear" in message and "gnore stands before" in message and "value" in message


def test_colours_need_no_positions_wherever_the_ignore_row_stands(tmp_path):
    first = "name,r,g,b\nignore,0,0,0\nroad,128,64,128\ncar,0,0,142\n"
    assert ids(tmp_path / "a", first, png([0, 1, 2], palette=[ROAD, BLACK, CAR])) == [0, 255, 1]
    root = tmp_path / "b"
    write_png(root / "labels/train/a.png", np.array([[ROAD, BLACK, CAR]], np.uint8))
    write_png(root / "images/train/a.png", picture(0, 1, 3))
    (root / "classes.csv").write_text(first)
    assert datasets.Custom(root)[0][1].tolist() == [[0, 255, 1]]


def test_an_ignore_row_with_a_value_takes_no_position(tmp_path):
    assert ids(tmp_path, "name,r,g,b,value\nignore,0,0,0,255\na,1,1,2,\nb,2,2,3,\n", png([0, 1, 255])) == [
        0,
        1,
        255,
    ]


@pytest.mark.parametrize("value, name", [(0, "road"), (1, "car")])
def test_an_ignore_row_with_a_class_s_position_as_value_is_refused(tmp_path, value, name):
    text = f"name,r,g,b,value\nignore,0,0,0,{value}\nroad,128,64,128,\ncar,0,0,142,\n"
    message = sentence(lambda: own(tmp_path, text, png([0, 1])))
    assert f"value {value}" in message and name in message


@pytest.mark.parametrize("name", ["Ignore", "IGNORE", " ignore "])
def test_the_case_of_ignore_does_not_count(tmp_path, name):
    dataset = own(tmp_path, STREET + f"{name},0,0,0\n", png([0, 1, 2], palette=[ROAD, BLACK, TREE]))
    assert dataset.classes == ("road", "car", "tree") and dataset[0][1].tolist() == [[0, 255, 2]]


# --- what a check says


def kinds(root: Path, **options) -> list[tuple[str, str]]:
    return [(finding.kind, finding.severity) for finding in checks.check("custom", root, **options).findings]


@pytest.mark.parametrize("deep", [False, True])
def test_a_check_says_how_labels_were_read(tmp_path, deep):
    own(tmp_path, TWO, png([0, 255]), png([255, 0, 0]), png([0, 0, 0, 0]))
    text = checks.check("custom", tmp_path, deep=deep).text()
    assert "labels read as: gray values by colour (2 files), indices and colours alike (1 file)" in text
    assert "Nothing is wrong." in text


@pytest.mark.parametrize(
    "classes, one, other",
    [
        (TWO, png([0, 1]), png([0, 255, 0])),
        (STREET, png([0, 1, 2]), png([0, 1], palette=[CAR, ROAD])),
        (TWO_TURNED, png([0, 1]), png([0, 1, 0], 1)),
    ],
)
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_mixture_is_said_within_a_split_and_across(tmp_path, classes, one, other, split):
    if split == "train":
        own(tmp_path, classes, one, other)
    else:
        own(tmp_path, classes, one)
        own(tmp_path, classes, other, split=split)
    assert ("mixed", "warning") in kinds(tmp_path)


def test_rgb_labels_beside_indices_are_no_mixture(tmp_path):
    own(tmp_path, STREET, png([0, 1, 2]))
    write_png(tmp_path / "images/train/b.png", picture(9, 1, 3))
    write_png(tmp_path / "labels/train/b.png", np.array([[ROAD, TREE, CAR]], np.uint8))
    report = checks.check("custom", tmp_path)
    assert report.findings == [] and "indices (1 file), colours (1 file)" in report.text()


def test_a_label_of_two_meanings_is_an_error_of_the_check(tmp_path):
    own(tmp_path, RED, png([0, 255]), png([0, 1, 0]))
    assert ("meaning", "error") in kinds(tmp_path) and ("meaning", "error") in kinds(tmp_path, deep=True)


@pytest.mark.parametrize("palette", [[CAR, ROAD, TREE], [BLACK, WHITE]])
def test_colours_that_speak_against_the_list_s_values_are_said(tmp_path, palette):
    street = "name,r,g,b,value\nroad,128,64,128,0\ncar,0,0,142,1\ntree,107,142,35,2\n"
    own(tmp_path, street, png([0, 1, 1], palette=palette), png([2, 2]))
    told = palette[0] == CAR
    assert (("against", "warning") in kinds(tmp_path)) == told


@pytest.mark.parametrize(
    "name", ["void", "Unlabeled", "unlabelled area", "ignored", "ignore_label", "don't care"]
)
def test_a_class_that_is_called_void_is_said(tmp_path, name):
    own(tmp_path, STREET + f"{name},0,0,0\n", png([0, 1, 2, 3]))
    assert kinds(tmp_path) == [("named", "warning")]


@pytest.mark.parametrize("name", ["background", "avoided", "road sign", "other"])
def test_a_class_with_an_ordinary_name_is_not(tmp_path, name):
    own(tmp_path, STREET + f"{name},0,0,0\n", png([0, 1, 2, 3]))
    assert kinds(tmp_path) == []


# --- packs


def test_a_pack_is_made_anew_where_the_list_reads_the_same_files_in_another_way(tmp_path):
    palette = png([0, 1, 2], palette=[TREE, ROAD, CAR])
    root, folder, told = tmp_path / "own", tmp_path / "pack", []
    assert packing.pack(own(root, STREET, palette), folder)[0][1].tolist() == [[2, 0, 1]]
    (root / "classes.csv").write_text(
        "name,r,g,b\nroad,128,64,128\ncar,0,0,142\ntree,1,1,1\nignore,107,142,35\n"
    )
    packed = packing.pack(datasets.Custom(root), folder, say=told.append)
    assert packed[0][1].tolist() == [[255, 0, 1]] and told
    (root / "classes.csv").write_text(
        "name,r,g,b,value\nroad,128,64,128,0\ncar,0,0,142,1\ntree,1,1,1,2\nignore,107,142,35,\n"
    )
    assert packing.pack(datasets.Custom(root), folder)[0][1].tolist() == [[0, 1, 2]]


def test_a_pack_is_made_anew_where_the_rules_of_reading_are_others(tmp_path, monkeypatch):
    told = []
    packing.pack(own(tmp_path / "own", STREET, png([0, 1])), tmp_path / "pack")
    packing.pack(datasets.Custom(tmp_path / "own"), tmp_path / "pack", say=told.append)
    assert told == []
    monkeypatch.setattr(own_labels, "RULES", own_labels.RULES + 1)
    packing.pack(datasets.Custom(tmp_path / "own"), tmp_path / "pack", say=told.append)
    assert told
