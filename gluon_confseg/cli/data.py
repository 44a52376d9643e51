"""Data sets for the verbs that compare with labels."""

from __future__ import annotations

import os
from pathlib import Path

from gluon_confseg.datasets import SegmentationDataset, open_dataset
from gluon_confseg.errors import DatasetError


def labelled(name: str, root: Path | None, split: str) -> SegmentationDataset:
    """A split with labels. root: None takes NAME_ROOT (CITYSCAPES_ROOT, say) from the environment.

    Raises DatasetError without a folder, for one that is not the layout, and for a split without labels.
    """
    variable = f"{name.upper()}_ROOT"
    root = root or os.environ.get(variable)
    if not root:
        raise DatasetError(f"no folder of {name} was given; name it with --root, or set {variable}")
    dataset = open_dataset(name, Path(root), split)
    if None in dataset.label_paths:
        raise DatasetError(f"{root}: split {split} has no labels to compare with; choose another --split")
    return dataset
