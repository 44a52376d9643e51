"""Tiny data sets in the layouts of the real ones, for tests."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

RAW_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def camvid_root() -> Path:
    """The photographs, where CAMVID_ROOT or the folder beside the repository has them; else the test is skipped."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "camvid"
    root = Path(os.environ.get("CAMVID_ROOT") or beside)
    if not (root / "train").is_dir():
        pytest.skip("no CamVid photographs: set CAMVID_ROOT to the folder of train/ and trainannot/")
    return root


def write_png(path: Path, picture: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture[:, :, ::-1] if picture.ndim == 3 else picture)
    return path


def picture(seed: int, height: int = 8, width: int = 16) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def label(seed: int, values, height: int = 8, width: int = 16) -> np.ndarray:
    return np.random.RandomState(seed).choice(np.array(values, np.uint8), (height, width))


def cityscapes_paths(
    root: Path,
    split: str,
    city: str,
    number: int,
    kind: str = "labelIds",
    labels: str = "gtFine",
    images: str = "leftImg8bit",
):
    stem = f"{city}_{number:06d}_000019"
    image = root / images / split / city / f"{stem}_{images}.png"
    return image, root / labels / split / city / f"{stem}_{labels}_{kind}.png"


def make_cityscapes(
    root: Path, split: str = "val", cities=("aachen", "bochum"), per_city: int = 2, seed: int = 0, **folders
) -> Path:
    for c, city in enumerate(cities):
        for number in range(per_city):
            image, labels = cityscapes_paths(root, split, city, number, **folders)
            write_png(image, picture(seed + 10 * c + number))
            write_png(labels, label(seed + 10 * c + number, RAW_IDS + (0,)))
    return root


def make_camvid(
    root: Path, split: str = "train", count: int = 5, height: int = 8, width: int = 16, seed: int = 0
) -> Path:
    for number in range(count):
        write_png(root / split / f"frame_{number:03d}.png", picture(seed + number, height, width))
        values = label(seed + number, range(12), height, width)
        write_png(root / f"{split}annot" / f"frame_{number:03d}.png", values)
    return root


def write_film(path: Path, pictures: list) -> Path:
    """A video of (H, W, 3) RGB pictures."""
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 12, (width, height))
    for picture in pictures:
        writer.write(picture[:, :, ::-1])
    writer.release()
    return path


def write_jpeg(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[:, :, ::-1])
    return path


def write_turned(path: Path, image: np.ndarray, orientation: int) -> Path:
    """A PNG or JPEG, as its name says, of these pixels and with this EXIF orientation."""
    picture, exif = Image.fromarray(image), Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, exif=exif, quality=95)
    return path


def voc_size(number: int) -> tuple[int, int]:
    return 8 + number % 3, 16 + number % 2


def voc_label(number: int) -> np.ndarray:
    return label(number, (*range(21), 255), *voc_size(number))


def make_voc(home: Path, sbd: Path | None = None) -> Path:
    """VOC2012 with images a0-a2 (train), a3-a4 (val); SBD with a1, a3, b0 (train) and a4, b1, b2 (val)."""
    numbers = {**{f"a{n}": n for n in range(5)}, **{f"b{n}": 10 + n for n in range(3)}}
    for name, number in numbers.items():
        write_jpeg(home / "JPEGImages" / f"{name}.jpg", picture(number, *voc_size(number)))
        if name[0] == "a":
            path = home / "SegmentationClass" / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(raw_png(voc_label(number), 8, 3, bytes(768)))
    lists = home / "ImageSets" / "Segmentation"
    write_list(lists / "train.txt", ["a0", "a1", "a2"])
    write_list(lists / "val.txt", ["a3", "a4"])
    write_list(lists / "trainval.txt", ["a0", "a1", "a2", "a3", "a4"])
    if sbd is not None:
        for name in ("a1", "a3", "a4", "b0", "b1", "b2"):
            write_mat(sbd / "cls" / f"{name}.mat", label(numbers[name], range(21), *voc_size(numbers[name])))
        write_list(sbd / "train.txt", ["a1", "a3", "b0"])
        write_list(sbd / "val.txt", ["a4", "b1", "b2"])
    return home


def write_list(path: Path, names) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))
    return path


def write_mat(path: Path, values: np.ndarray, compress: bool = True, **other) -> Path:
    from scipy.io import savemat

    path.parent.mkdir(parents=True, exist_ok=True)
    fields = {"Boundaries": np.zeros((1, 1)), "Segmentation": values, "CategoriesPresent": np.array([[1]])}
    savemat(path, {"GTcls": {**fields, **other}}, do_compression=compress)
    return path


CLASS_FILE = "name,r,g,b\nroad,128,64,128\ncar,0,0,142\nsky,70,130,180\nignore,0,0,0\n"
CUSTOM_COLORS = np.array([[128, 64, 128], [0, 0, 142], [70, 130, 180], [0, 0, 0]], np.uint8)


def make_custom(
    root: Path, split: str = "train", count: int = 3, seed: int = 0, colors: bool = False
) -> Path:
    (root / "images" / split).mkdir(parents=True)
    (root / "classes.csv").write_text(CLASS_FILE)
    for number in range(count):
        write_jpeg(root / "images" / split / f"photo {number}.jpg", picture(seed + number))
        values = label(seed + number, range(3) if not colors else range(4))
        write_png(
            root / "labels" / split / f"photo {number}.png", CUSTOM_COLORS[values] if colors else values
        )
    return root


def raw_png(values: np.ndarray, depth: int, color_type: int, palette: bytes = b"") -> bytes:
    """A PNG file of (H, W) indices with `depth` bits, written by hand: gray (0) or palette (3)."""
    height, width = values.shape
    bits = values[:, :, None] >> np.arange(depth)[::-1] & 1
    rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    chunks = (
        [(b"IHDR", head)]
        + ([(b"PLTE", palette)] if palette else [])
        + [(b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in chunks)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
