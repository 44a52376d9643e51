"""A seeded generator of odd and damaged files, each with what an independent reader makes of it.

`python tests/odd_files.py COUNT [FIRST]` tries so many of each kind; the tests try a few.
"""

from __future__ import annotations

import csv
import io
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from PIL import Image, ImageFile

from gluon_confseg.cli import id_files
from gluon_confseg.datasets import Custom, class_list, own_folders, pictures
from gluon_confseg.errors import ConfSegError
from gluon_confseg.labels import CAMVID

ImageFile.LOAD_TRUNCATED_IMAGES = False
COLORS = np.array([[128, 64, 128], [0, 0, 142], [255, 255, 255], [0, 0, 0]], np.uint8)
MOST_SECONDS = 5
_PICTURES = (
    ("png", "L"),
    ("png", "RGB"),
    ("png", "RGBA"),
    ("png", "P"),
    ("png", "LA"),
    ("png", "1"),
    ("png", "I;16"),
)
_PICTURES += (("jpg", "L"), ("jpg", "RGB"), ("jpg", "CMYK"), ("jpg", "progressive"))


class Wrong(AssertionError):
    """A result that differs from the independent reader's, a traceback, or a hang."""


def damaged(draws: np.random.Generator, content: bytes) -> bytes:
    """The bytes as they are, or cut, flipped, doubled, with bytes put in or behind, or with a part of zeros."""
    kind, size = draws.integers(8), len(content)
    at = int(draws.integers(max(1, size)))
    some = bytes(draws.integers(0, 256, int(draws.integers(1, 40)), dtype=np.uint8))
    if kind == 1:
        return content[:at]
    if kind == 2:
        flipped = bytearray(content)
        for place in draws.integers(0, max(1, size), int(draws.integers(1, 4))):
            if size:
                flipped[place] ^= 1 << int(draws.integers(8))
        return bytes(flipped)
    if kind == 3:
        return content[:at] + some + content[at:]
    if kind == 4:
        return content + some
    if kind == 5:
        return content[:at] + bytes(len(some)) + content[at + len(some) :]
    if kind == 6:
        return content + content
    return content


def picture(draws: np.random.Generator) -> tuple[str, bytes]:
    """(suffix, content) of a picture of any kind, perhaps under the suffix of the other."""
    suffix, mode = _PICTURES[draws.integers(len(_PICTURES))]
    height, width = draws.integers(1, 40, 2)
    smooth = np.add.outer(np.arange(height) * 3, np.arange(width) * 5) % 256
    rgb = np.stack([smooth, smooth[::-1], 255 - smooth], 2).astype(np.uint8)
    image = Image.fromarray(rgb)
    if mode == "I;16":
        image = Image.fromarray((smooth * 257).astype(np.uint16))
    elif mode != "progressive":
        image = image.convert(mode)
    options, file = {}, io.BytesIO()
    if suffix == "jpg":
        exif = Image.Exif()
        exif[0x0112] = int(draws.integers(0, 10))
        options = {"quality": 95, "progressive": mode == "progressive", "exif": exif}
    image.save(file, "PNG" if suffix == "png" else "JPEG", **options)
    if draws.random() < 0.1:
        suffix = "jpg" if suffix == "png" else "png"
    return suffix, file.getvalue()


def try_picture(draws: np.random.Generator, folder: Path) -> str:
    """Read a picture; compare with Pillow."""
    suffix, content = picture(draws)
    path = folder / f"picture.{suffix}"
    path.write_bytes(damaged(draws, content))
    found = _timed(lambda: pictures.read_image(path), path)
    if found is None:
        return "refused"
    with Image.open(path) as other:
        wanted = np.array(other)
        if wanted.dtype != np.uint8 and wanted.dtype != bool:  # 16 bits: their upper 8
            wanted = np.repeat((wanted.astype(np.int64) >> 8)[..., None], 3, 2)
        elif other.mode == "RGBA":
            wanted = wanted[..., :3]
        elif other.mode == "LA":
            wanted = np.repeat(wanted[..., :1], 3, 2)
        else:
            wanted = np.array(other.convert("RGB"))
    if found.shape != wanted.shape or abs(found.astype(int) - wanted).max() > 2:
        raise Wrong(f"{path}: pixels differ from Pillow's")
    return "read"


def try_label(draws: np.random.Generator, folder: Path) -> str:
    """Read a label of own data by a list of four classes; compare with what its numbers or its colours say."""
    classes = draws.integers(0, 4, (int(draws.integers(1, 30)), int(draws.integers(1, 30)))).astype(np.uint8)
    used = draws.choice(4, int(draws.integers(1, 5)), replace=False)
    classes = used[classes % len(used)].astype(np.uint8)
    kind, file = draws.integers(7), io.BytesIO()
    numbers = colors = None  # what the numbers say, and what the colours say
    if kind == 0:
        Image.fromarray(classes).save(file, "PNG")
        numbers = classes
    elif kind == 1:
        Image.fromarray(COLORS[classes]).save(file, "PNG")
        colors = classes
    elif kind == 2:  # the list's colours under other indices
        order = draws.permutation(4)
        indexed = Image.fromarray(np.argsort(order)[classes].astype(np.uint8))
        indexed.putpalette(COLORS[order].tobytes())
        indexed.save(file, "PNG")
        numbers, colors = np.argsort(order)[classes], classes
    elif kind == 3:  # a foreign palette
        indexed = Image.fromarray(classes)
        indexed.putpalette(bytes(draws.integers(1, 127, 12, dtype=np.uint8)))
        indexed.save(file, "PNG")
        numbers = classes
    elif kind == 4:  # black and white, in one bit or eight
        white = classes % 2
        image, bits = Image.fromarray(255 * white.astype(np.uint8)), draws.choice([1, 8])
        (image.convert("1") if bits == 1 else image).save(file, "PNG")
        numbers = white
        if bits == 1 or white.any():  # 8 bits of 0 alone are a number like others
            colors = np.where(white == 1, 2, 3)
    elif kind == 5:
        Image.fromarray(classes.astype(np.uint16) + int(draws.choice([0, 0, 300, 26000]))).save(file, "PNG")
        numbers = classes
    else:
        anything = draws.integers(0, 256, classes.shape).astype(np.uint8)
        Image.fromarray(anything).save(file, "PNG")
        numbers = anything if anything.max() < 4 else None
    for name in ("images", "labels"):
        (folder / name).mkdir(exist_ok=True)
    rows = [f"class {k},{r},{g},{b}" for k, (r, g, b) in enumerate(COLORS)]
    (folder / "classes.csv").write_text("\n".join(["name,r,g,b", *rows]))
    Image.fromarray(np.zeros((*classes.shape, 3), np.uint8)).save(folder / "images/a.png")
    path = folder / "labels/a.png"
    path.write_bytes(damaged(draws, file.getvalue()))
    found = _timed(lambda: Custom(folder, "train")[0][1], path)
    if found is None:
        return "refused"
    # where both make sense, what is seen counts; of one bit and of 0 and 255 as well
    wanted = numbers if colors is None else colors
    if wanted is None or not np.array_equal(found, wanted):
        with Image.open(
            path
        ) as other:  # damage that leaves a picture like any other, such as bytes behind the end
            raise Wrong(f"{path}: kind {kind}, {other.mode}: read as {np.unique(found)}")
    return "read"


def try_list(draws: np.random.Generator, folder: Path) -> str:
    """Read a list of classes; compare with the csv module or a YAML loader that knows texts only."""
    alphabet = list("abcäß道路 '\"#&*!|>%@-_.0123") + ["no", "yes", "null", "1.0", "~"]
    count = int(draws.integers(1, 8))
    names = ["".join(draws.choice(alphabet, int(draws.integers(1, 6)))).strip() or "x" for _ in range(count)]
    if draws.random() < 0.8:  # else one may occur twice
        names = [f"{name}{number}" for number, name in enumerate(names)]
    table = [(name, *map(int, draws.integers(0, 256, 3))) for name in names]
    encoding = draws.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"])
    if draws.random() < 0.5:
        path, end = folder / "classes.csv", draws.choice(["\n", "\r\n", "\r", "\n\n"])
        delimiter = draws.choice([",", ";", "\t"])
        written = io.StringIO()
        writer = csv.writer(written, delimiter=delimiter, lineterminator=end)
        writer.writerow(
            draws.choice([["name", "r", "g", "b"], ["Name", "R", "G", "B"], [" name", "r ", "g", "b"]])
        )
        writer.writerows(row[: int(draws.integers(2, 5))] if draws.random() < 0.05 else row for row in table)
        text = written.getvalue()
    else:
        path = folder / "classes.yaml"
        text = yaml.safe_dump([{"name": name, "color": color} for name, *color in table], allow_unicode=True)
        if draws.random() < 0.3:  # as people write it, without quotes
            text = "\n".join(f"- {{name: {name}, color: {color}}}" for name, *color in table)
    for other in ("classes.csv", "classes.yaml"):
        (folder / other).unlink(missing_ok=True)
    path.write_bytes(damaged(draws, text.encode(encoding, errors="replace")))
    found = _timed(lambda: class_list.read(path, "x").space, path)
    if found is None:
        return "refused"
    wanted = _names(path)
    if list(found.classes) != wanted:
        raise Wrong(f"{path}: names {found.classes}, not {wanted}")
    return "read"


def try_array(draws: np.random.Generator, folder: Path) -> str:
    """Read an array of CamVid's ids; compare with what was saved."""
    shape, high = tuple(map(int, draws.integers(1, 20, 2))), draws.choice([2, 11, 300])
    values = draws.integers(draws.choice([0, -1]), high, shape)
    saved = values.astype(draws.choice(["u1", "i2", "<i4", ">i8", "f4", "f8", "?"]))
    saved = (saved, saved[None], saved[..., None], saved[None, ..., None])[draws.integers(4)]
    file, suffix = io.BytesIO(), draws.choice(["npy", "npz"])
    np.save(file, saved) if suffix == "npy" else np.savez_compressed(file, saved)
    path = folder / f"ids.{suffix}"
    path.write_bytes(damaged(draws, file.getvalue()))
    found = _timed(lambda: id_files.of_data_set(CAMVID)(path)[0], path)
    if found is None:
        return "refused"
    with open(path, "rb") as stream:  # damage may leave an array of other values, which NumPy reads as well
        loaded = np.load(stream, allow_pickle=False)
        wanted = np.squeeze(loaded if suffix == "npy" else loaded[loaded.files[0]]).reshape(found.shape)
    if not np.array_equal(np.where(wanted == -1, 255, wanted), found):
        raise Wrong(f"{path}: read as {np.unique(found)}")
    return "read"


def try_split(draws: np.random.Generator, folder: Path) -> str:
    """Read a list of images; compare with the lines that were written."""
    names = [f"{kind}{number}" for number, kind in enumerate(draws.choice(["a", "b c", "ü", "x.y"], 4))]
    for kind, suffix in (("images", "jpg"), ("labels", "png")):
        (folder / kind).mkdir(exist_ok=True)
        for file in (folder / kind).iterdir():
            file.unlink()
        for name in names:
            (folder / kind / f"{name}.{suffix}").touch()
    chosen = draws.permutation(names)[: int(draws.integers(1, 5))]
    forms = [lambda n: n, lambda n: f"{n}.jpg", lambda n: f"images/{n}.jpg", lambda n: f" ./images/{n}.jpg "]
    end = draws.choice(["\n", "\r\n", "\r", "\n\n"])
    text = end.join(forms[draws.integers(4)](name) for name in chosen)
    path = folder / "train.txt"
    path.write_bytes(damaged(draws, text.encode(draws.choice(["utf-8", "utf-8-sig"]))))
    found = _timed(lambda: own_folders.find(folder, "train").pairing, path)
    path.unlink()
    if found is None:
        return "refused"
    if found.alone or not {pair.image.stem for pair in found.pairs} <= set(names):
        raise Wrong(f"{path}: found {found}")
    if any(pair.image.stem != pair.label.stem for pair in found.pairs):
        raise Wrong(f"{path}: paired {found.pairs}")
    return "read"


def _names(path: Path) -> list[str]:
    """The names in a list of classes, by nothing of ours."""
    data = path.read_bytes()
    text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    if path.suffix == ".yaml":
        content = yaml.load(text, getattr(yaml, "CBaseLoader", yaml.BaseLoader))
        names = [entry["name"].strip() for entry in content]
    else:
        lines = [line for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line.strip()]
        delimiter = max(",;\t", key=lines[0].count)
        rows = [
            row
            for row in csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter)
            if any(map(str.strip, row))
        ]
        at = [cell.strip().lower() for cell in rows[0]].index("name")
        names = [row[at].strip() for row in rows[1:]]
    return [name for name in names if name.lower() != "ignore"]


def _timed(action, path: Path):
    """What `action` returns; None where it raised one sentence; Wrong for a traceback, or more than five seconds."""
    start = time.perf_counter()
    try:
        found = action()
    except ConfSegError as error:
        found = None
        if "\n" in str(error) or not str(error).strip():
            raise Wrong(f"{path}: no sentence: {error!r}") from error
    except Exception as error:
        raise Wrong(f"{path}: {type(error).__name__}: {error}") from error
    if time.perf_counter() - start > MOST_SECONDS:
        raise Wrong(f"{path}: took {time.perf_counter() - start:.1f} s")
    return found


KINDS = {
    "picture": try_picture,
    "label": try_label,
    "list": try_list,
    "array": try_array,
    "split": try_split,
}


def attempt(kind: str, seed: int, folder: Path) -> str:
    """Try one file; "read" or "refused". Raises Wrong."""
    return KINDS[kind](np.random.default_rng([seed, *kind.encode()]), folder)


if __name__ == "__main__":
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for name in sys.argv[3:] or KINDS:
        ends: dict[str, int] = {}
        with tempfile.TemporaryDirectory() as place:
            for number in range(first, first + int(sys.argv[1])):
                try:
                    end = attempt(name, number, Path(place))
                except Wrong as wrong:
                    end = "wrong"
                    print(f"{name} {number}: {wrong}")
                ends[end] = ends.get(end, 0) + 1
        print(name, ends)
