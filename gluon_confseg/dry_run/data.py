"""A handful of images for a dry run: the first of a data set, or drawn ones of the same size, layout and classes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from gluon_confseg import files, scenes
from gluon_confseg.build import Data
from gluon_confseg.datasets import DATASETS, open_dataset
from gluon_confseg.errors import RunError
from gluon_confseg.labels import CITYSCAPES

SIZES = {"cityscapes": (2048, 1024), "voc": (500, 375)}  # (width, height); VOC's is the commonest of many


class FirstImages(NamedTuple):
    """The first images of both splits, how many images the whole splits have, and the bytes of their files."""

    splits: Data
    counts: dict
    bytes: int
    drawn: bool


def can_draw(recipe) -> bool:
    """Whether images of the size and in the layout of the recipe's data can be drawn."""
    return recipe.data in SIZES


def first_images(recipe, root, folder: Path, train: int) -> FirstImages:
    """`train` training images and one for validation of the data set at `root`; without a root, drawn in `folder`.

    Raises DatasetError for a faulty data set, RunError where nothing of its kind can be drawn.
    """
    if root is not None:
        whole = Data(*(open_dataset(recipe.data, root, split) for split in (recipe.train_split, "val")))
        counts = {"train": len(whole.train), "val": len(whole.val)}
        size = sum(_bytes(dataset) for dataset in whole)
        return FirstImages(Data(_first(whole.train, train), _first(whole.val, 1)), counts, size, False)
    splits = draw(recipe, folder, train)
    published = DATASETS[recipe.data].COUNTS
    counts = {}
    for name, split in (("train", recipe.train_split), ("val", "val")):
        counts[name] = (recipe.draw or {}).get(name) or published.get(split)
        if counts[name] is None:
            raise RunError(
                f"nobody published how many images split {split} of {recipe.data} has: give the data set's folder "
                "with --root"
            )
    size = sum(counts[name] * _bytes(part) / len(part) for name, part in splits._asdict().items())
    return FirstImages(splits, counts, round(size), True)


def draw(recipe, folder: Path, train: int, val: int = 1) -> Data:
    """Draw full-size images in the layout of the recipe's data set, and open both splits."""
    if not can_draw(recipe):
        raise RunError(
            f"no images like those of {recipe.data} can be drawn: give the data set's folder with --root"
        )
    size = (recipe.draw or {}).get("size") or SIZES[recipe.data]
    if recipe.data == "cityscapes":
        scenes.draw(folder, train, val, size, recipe.seed)
    else:
        _draw_voc(folder, {"train": train, "val": val}, size, recipe.seed)
    return Data(*(open_dataset(recipe.data, folder, split) for split in ("train", "val")))


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
            photograph = cv2.imencode(".jpg", np.ascontiguousarray(image[:, :, ::-1]))[1]
            files.write_bytes(home / "JPEGImages" / f"{name}.jpg", photograph.tobytes())
            # 0-18 are classes there too
            files.write_bytes(
                home / "SegmentationClass" / f"{name}.png", cv2.imencode(".png", labels)[1].tobytes()
            )
        listed = home / "ImageSets" / "Segmentation" / f"{split}.txt"
        files.write_bytes(listed, "".join(f"{n}\n" for n in names).encode())


def _first(dataset, count: int):
    """The data set with its first `count` images alone; they come again where it has fewer."""
    if not len(dataset):
        raise RunError(f"{dataset.root}: split {dataset.split} has no images")
    part, chosen = copy.copy(dataset), [index % len(dataset) for index in range(count)]
    for name in ("names", "image_paths", "label_paths"):
        setattr(part, name, [getattr(dataset, name)[index] for index in chosen])
    return part


def _bytes(dataset) -> int:
    files = [
        path for i in range(len(dataset)) for path in (dataset.image_paths[i], dataset.label_paths[i]) if path
    ]
    return sum(path.stat().st_size for path in files)
