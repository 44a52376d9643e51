"""Tiny data sets in the layouts of the real ones, for tests."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

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


def cityscapes_paths(root: Path, split: str, city: str, number: int, kind: str = "labelIds"):
    stem = f"{city}_{number:06d}_000019"
    image = root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png"
    return image, root / "gtFine" / split / city / f"{stem}_gtFine_{kind}.png"


def make_cityscapes(root: Path, split: str = "val", cities=("aachen", "bochum"), per_city: int = 2) -> Path:
    for c, city in enumerate(cities):
        for number in range(per_city):
            image, labels = cityscapes_paths(root, split, city, number)
            write_png(image, picture(10 * c + number))
            write_png(labels, label(10 * c + number, RAW_IDS + (0,)))
    return root


def make_camvid(root: Path, split: str = "train", count: int = 5, height: int = 8, width: int = 16) -> Path:
    for number in range(count):
        write_png(root / split / f"frame_{number:03d}.png", picture(number, height, width))
        write_png(root / f"{split}annot" / f"frame_{number:03d}.png", label(number, range(12), height, width))
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
