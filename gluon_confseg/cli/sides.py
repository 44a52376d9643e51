"""Folders of labels and of predictions, and the options that say how they are read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gluon_confseg.cli import data, options
from gluon_confseg.errors import RunError

if TYPE_CHECKING:
    from gluon_confseg.cli.folders import Side
    from gluon_confseg.datasets import SegmentationDataset
    from gluon_confseg.datasets.class_list import ClassList
    from gluon_confseg.labels import LabelSpace


def add_arguments(parser, instead: str, *, several: bool = False) -> None:
    """--predictions, --labels, and how they are read.

    instead    what is given instead of predictions, for the help
    several    --predictions may be repeated, and is a list
    """
    again = "; may be repeated" if several else ""
    parser.add_argument(
        "--predictions",
        type=Path,
        metavar="FOLDER",
        action="append" if several else "store",
        help=f"instead of {instead}: a folder of predictions, PNGs or arrays of class ids{again}",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FOLDER",
        help="the ground truth of the predictions, paired by path and name",
    )
    parser.add_argument(
        "--root", type=Path, metavar="FOLDER", help="instead of --labels: the data set's folder"
    )
    parser.add_argument("--split", metavar="NAME", help="with --root: train, val or test (default: val)")
    options.add_classes(parser, "needed for folders of predictions")
    for side in ("labels", "predictions"):
        parser.add_argument(
            f"--{side}-are",
            choices=options.KINDS_OF_IDS,
            help=f"what the ids in the {side} are: raw, those of the data set's own label files (the column "
            "value of your list), or train, 0 to K - 1 (default: told by the files)",
        )
    parser.add_argument(
        "--suffix",
        default="",
        metavar="TEXT",
        help="an ending of file names that is left out when files are paired, beside the usual ones",
    )


OF_FOLDERS = ("labels", "root", "split", "labels_are", "predictions_are", "suffix")  # that nothing else takes


def check_usage(arguments) -> None:
    """End with a usage error where options of folders don't fit together; --predictions was given."""
    if not arguments.data and not arguments.classes:
        arguments.usage(
            "--predictions needs --data, the data set whose classes the ids are, or --classes, your list"
        )
    # of custom, the root holds the list of classes
    if arguments.labels and arguments.root and arguments.data != "custom":
        arguments.usage("give --labels or --root, not both")
    of_own = (arguments.data or "custom") == "custom" and not os.environ.get(data.VARIABLES["custom"])
    if of_own and not arguments.labels and not arguments.root:
        arguments.usage(
            "--predictions needs --labels, the folder of the ground truth, or --root, your data set's folder"
        )
    if arguments.split and arguments.labels:
        arguments.usage("--split goes with --root, not with --labels")
    if arguments.labels_are and not arguments.labels:
        arguments.usage("--labels-are goes with --labels")


def check_runs(folders: Sequence[Path]) -> None:
    """RunError for a folder that is no run but holds images."""
    for folder in folders:
        if not (folder / "results.json").exists() and any(folder.glob("*.png")):
            raise RunError(
                f"{folder}: holds images and is no run folder; give label images with --labels, and predictions with "
                "--predictions"
            )


class Labels(NamedTuple):
    """Where the truth comes from.

    own       your list of classes; None for a known data set
    space     the classes
    dataset   the data set whose labels they are; None for a folder
    where     the folder, or the data set's folder and split, for people
    """

    own: ClassList | None
    space: LabelSpace
    side: Side
    dataset: SegmentationDataset | None
    where: str

    def predictions(self, folder: Path, kind: str | None) -> Side:
        """A folder of predictions of the same classes; kind: what ids are, raw or train; None: told by the files."""
        from gluon_confseg.cli import folders, id_files

        kind = kind or folders.said_kind(folder, self.space)
        if self.own:
            read = id_files.of_own_predictions(self.own, train_ids=kind == folders.TRAIN)
        else:
            read = id_files.of_data_set(self.space)
        return folders.of_folder(folder, "prediction", read, kind)


def space_of(arguments) -> tuple:
    """(your list of classes or None, the classes)."""
    from gluon_confseg.labels import LABEL_SPACES

    own = data.own_classes(arguments)
    return own, own.space if own else LABEL_SPACES[arguments.data]


def labels(arguments) -> Labels:
    """The labels that the arguments name."""
    from gluon_confseg.cli import folders, id_files

    own, space = space_of(arguments)
    if arguments.labels:
        if not own:
            read = id_files.of_data_set(space)
        elif arguments.labels_are == folders.TRAIN:
            read = id_files.of_own_predictions(own, train_ids=True)
        else:
            read = id_files.of_own_labels(own)
        # labels of one's own data hold what the list says; those of a data set may be of either kind
        kind = arguments.labels_are or (folders.RAW if own else None)
        side = folders.of_folder(arguments.labels, "label", read, kind)
        return Labels(own, space, side, None, str(arguments.labels))
    settings = {"classes": arguments.classes} if arguments.classes else {}
    name = arguments.data or "custom"
    if name == "custom":
        settings["suffix"] = arguments.suffix
    dataset = data.split_of(name, arguments.root, arguments.split or "val", labelled=True, **settings)
    where = f"{dataset.root}, split {dataset.split}"
    return Labels(own, space, folders.of_dataset(dataset), dataset, where)
