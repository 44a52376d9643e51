"""Data sets for the verbs that read one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gluon_confseg.errors import DatasetError, did_you_mean, nearest

if TYPE_CHECKING:
    from gluon_confseg.datasets import SegmentationDataset
    from gluon_confseg.datasets.class_list import ClassList
    from gluon_confseg.labels import LabelSpace

# The environment's variables that hold the data sets' folders, as the Makefile has them
VARIABLES = {
    "cityscapes": "CITYSCAPES_ROOT",
    "camvid": "CAMVID_ROOT",
    "voc": "VOC_ROOT",
    "custom": "OWN_ROOT",
}


def root_of(name: str, root: Path | None, by: str = "with --root") -> Path:
    """The folder of a data set: `root`, or what its variable holds; DatasetError where neither names a folder.

    by      how the command line names it
    """
    if name not in VARIABLES:
        near = did_you_mean(name, VARIABLES) or f"; choose one of {', '.join(VARIABLES)}"
        raise DatasetError(f"there is no data set {name!r}{near}")
    variable, held = VARIABLES[name], "your own data" if name == "custom" else name
    named, root = (by, root) if root else (f"in {variable}", os.environ.get(variable))
    if not root:
        near = nearest(variable, os.environ.keys() - set(VARIABLES.values()), 0.8)
        instead = f"name it {by}, or set {variable}"
        if near:
            instead = f"{near} is set; did you mean {variable}?"
        raise DatasetError(f"no folder of {held} was given; {instead}")
    if not Path(root).expanduser().is_dir():
        reason = "is a file, not a folder" if Path(root).expanduser().exists() else "there is no such folder"
        raise DatasetError(f"{root}: {reason}; give the folder that holds {held} {named}")
    return Path(root)


def split_of(name: str, root: Path | None, split: str, *, labelled: bool, **options) -> SegmentationDataset:
    """A split, with labels or perhaps without. root: None takes the variable of the environment.

    options     of the data set's class

    Raises DatasetError without a folder, for one that is not the layout, and for labels that are not there.
    """
    from gluon_confseg.datasets import open_dataset

    dataset = open_dataset(name, root_of(name, root), split, **options)
    if labelled and None in dataset.label_paths:
        raise DatasetError(
            f"{dataset.root}: split {split} has no labels to compare with; take a split that has them"
        )
    return dataset


def own_classes(arguments) -> ClassList | None:
    """Your own list of classes, which --classes names or your data's folder holds; None where --data names others."""
    if arguments.classes is None and arguments.data != "custom":
        return None
    from gluon_confseg.datasets import class_list, custom

    if arguments.classes:
        file = arguments.classes
        return class_list.read(custom.class_file(file) if file.is_dir() else file, str(file))
    root = root_of("custom", getattr(arguments, "root", None))
    return class_list.read(custom.class_file(root), root.absolute().name)


def space_of(arguments) -> LabelSpace | None:
    """The classes that --data or --classes name; None where neither was given."""
    from gluon_confseg.labels import LABEL_SPACES

    if arguments.data and arguments.classes:
        arguments.usage("give --data or --classes, not both")
    own = own_classes(arguments)
    return own.space if own else LABEL_SPACES.get(arguments.data)


def of_network(arguments, labels: LabelSpace, *, labelled: bool) -> SegmentationDataset:
    """The data set asked for, every file looked at; DatasetError where it has not the network's classes, `labels`."""
    name = arguments.data or labels.name
    if name != labels.name:
        raise DatasetError(
            f"{arguments.checkpoint}: its network was trained for the {labels.num_classes} classes of "
            f"{labels.title}, which --data {name} has not; use it with --data {labels.name}"
        )
    dataset = split_of(name, arguments.root, arguments.split, labelled=labelled)
    if dataset.classes != labels.classes:
        raise DatasetError(
            f"{dataset.root}: its classes ({', '.join(dataset.classes)}) are not those that {arguments.checkpoint} was "
            f"trained for ({', '.join(labels.classes)}), in this order; use it on data with the same classes"
        )
    dataset.check()
    return dataset
