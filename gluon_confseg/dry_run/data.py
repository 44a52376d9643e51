"""A handful of images for a dry run: the first of a data set, or drawn ones of the same size, layout and classes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from gluon_confseg import scenes
from gluon_confseg.datasets import DATASETS, open_dataset
from gluon_confseg.errors import RunError
from gluon_confseg.labels import CITYSCAPES

from .recipe import Recipe

SIZES = {"cityscapes": (2048, 1024), "voc": (500, 375)}  # (width, height); VOC's is the commonest of many


class Few(NamedTuple):
    """The first images of both splits, how many images the whole splits have, and the bytes of their files."""

    train: object
    val: object
    counts: dict
    bytes: int
    drawn: bool


def few(recipe: Recipe, root, folder: Path, train: int, val: int = 1) -> Few:
    """`train` and `val` images of the data set at `root`; without a root, images drawn in `folder`.

    Raises DatasetError for a faulty data set, RunError where nothing of its kind can be drawn.
    """
    wanted = {"train": (recipe.train_split or "train", train), "val": ("val", val)}
    if root is not None:
        whole = {name: open_dataset(recipe.data, root, split) for name, (split, _) in wanted.items()}
        size = sum(_bytes(dataset) for dataset in whole.values())
        counts = {name: len(dataset) for name, dataset in whole.items()}
        first = {name: _first(whole[name], count) for name, (_, count) in wanted.items()}
        return Few(first["train"], first["val"], counts, size, False)
    published = DATASETS[recipe.data].COUNTS
    counts = {
        name: (recipe.draw or {}).get(name) or published.get(split) for name, (split, _) in wanted.items()
    }
    drawn = draw(recipe, folder, train, val)
    size = sum(counts[name] * _bytes(part) / len(part) for name, part in zip(("train", "val"), drawn))
    return Few(*drawn, counts, round(size), True)


def draw(recipe: Recipe, folder: Path, train: int, val: int) -> tuple:
    """Draw full-size images in the layout of the recipe's data set, and open both splits."""
    if recipe.data not in SIZES:
        raise RunError(
            f"no images like those of {recipe.data} can be drawn: give the data set's folder with --root"
        )
    size = (recipe.draw or {}).get("size") or SIZES[recipe.data]
    if recipe.data == "cityscapes":
        scenes.draw(folder, train, val, size, recipe.seed)
    else:
        _draw_voc(folder, {"train": train, "val": val}, size, recipe.seed)
    return tuple(open_dataset(recipe.data, folder, split) for split in ("train", "val"))


def _draw_voc(folder: Path, counts: dict, size: tuple, seed: int) -> None:
    """Street scenes in VOC's layout. What they show is nothing of VOC; sizes, classes and files are as there."""
    home = folder / "VOC2012"
    for place in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (home / place).mkdir(parents=True, exist_ok=True)
    classes = CITYSCAPES.table(raw=True)
    first = 0
    for split, count in counts.items():
        names = [f"drawn_{index:06d}" for index in range(first, first + count)]
        first += count
        for index, name in enumerate(names, first - count):
            image, values = scenes.scene(seed, index, *size)
            labels = classes[values]
            cv2.imwrite(str(home / "JPEGImages" / f"{name}.jpg"), np.ascontiguousarray(image[:, :, ::-1]))
            cv2.imwrite(str(home / "SegmentationClass" / f"{name}.png"), labels)  # 0-18 are classes there too
        (home / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("".join(f"{n}\n" for n in names))


def _first(dataset, count: int):
    """The data set with its first `count` images alone."""
    if len(dataset) < count:
        raise RunError(
            f"{dataset.root}: split {dataset.split} has {len(dataset)} images, a dry run wants {count}"
        )
    part = copy.copy(dataset)
    part.names = part.names[:count]
    return part


def _bytes(dataset) -> int:
    files = [
        path for i in range(len(dataset)) for path in (dataset.image_paths[i], dataset.label_paths[i]) if path
    ]
    return sum(path.stat().st_size for path in files)
