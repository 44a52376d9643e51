"""Data sets for the verbs that read one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from gluon_confseg.datasets import SegmentationDataset, open_dataset
from gluon_confseg.errors import DatasetError
from gluon_confseg.labels import LabelSpace


def variable(name: str) -> str:
    """The environment's variable that holds the folder of a data set: CITYSCAPES_ROOT, say."""
    return f"{name.upper()}_ROOT"


def any_split(name: str, root: Path | None, split: str) -> SegmentationDataset:
    """A split, which may be without labels. root: None takes `variable` from the environment.

    Raises DatasetError without a folder, and for one that is not the layout.
    """
    root = root or os.environ.get(variable(name))
    if not root:
        raise DatasetError(f"no folder of {name} was given; name it with --root, or set {variable(name)}")
    return open_dataset(name, Path(root), split)


def labelled(name: str, root: Path | None, split: str) -> SegmentationDataset:
    """A split with labels; besides as `any_split`, DatasetError for one without."""
    dataset = any_split(name, root, split)
    if None in dataset.label_paths:
        raise DatasetError(
            f"{dataset.root}: split {split} has no labels to compare with; choose another --split"
        )
    return dataset


def of_network(arguments, labels: LabelSpace, opened: Callable) -> SegmentationDataset:
    """The data set asked for, every file looked at; DatasetError where it has not the network's classes.

    labels    the network's
    opened    `labelled` or `any_split`
    """
    name = arguments.data or labels.name
    if name != labels.name:
        raise DatasetError(
            f"{arguments.checkpoint}: its network was trained for the {labels.num_classes} classes of "
            f"{labels.title}, which --data {name} has not; use it with --data {labels.name}"
        )
    dataset = opened(name, arguments.root, arguments.split)
    if dataset.classes != labels.classes:
        raise DatasetError(
            f"{dataset.root}: its classes ({', '.join(dataset.classes)}) are not those that {arguments.checkpoint} was "
            f"trained for ({', '.join(labels.classes)}), in this order; use it on data with the same classes"
        )
    dataset.check()
    return dataset
