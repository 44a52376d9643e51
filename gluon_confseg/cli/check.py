"""`confseg check`: look a data set through, say all that is wrong, and pack it if asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gluon_confseg.cli import data, options
from gluon_confseg.cli.output import Output
from gluon_confseg.errors import DatasetError

if TYPE_CHECKING:
    from gluon_confseg.datasets import checks

SUMMARY = "Look at every file of a data set and list everything that is wrong, with a remedy."
EXAMPLES = (
    ("check own MYDATA --deep", "your own images and labels, every pixel of them"),
    ("check cityscapes CITYSCAPES", "a data set in its published layout"),
)


def add_arguments(parser) -> None:
    """The data set, how it is looked at, and where packs go."""
    parser.add_argument(
        "dataset", type=options.data_set, metavar="DATASET", help=f"{', '.join(options.DATASETS)} (or own)"
    )
    parser.add_argument(
        "root",
        type=Path,
        nargs="?",
        metavar="ROOT",
        help="its folder (default: $CITYSCAPES_ROOT, $CAMVID_ROOT, ...)",
    )
    parser.add_argument(
        "--split",
        action="append",
        metavar="NAME",
        help="a split to check; may be repeated (default: all that there are)",
    )
    parser.add_argument(
        "--deep", action="store_true", help="read every pixel of every file, and not only of some"
    )
    parser.add_argument(
        "--subset",
        action="store_true",
        help="the folder holds a part on purpose: do not compare its number of images with the published one",
    )
    parser.add_argument(
        "--sbd-root", type=Path, metavar="FOLDER", help="of voc: the folder of SBD, if it is not beside VOC"
    )
    parser.add_argument(
        "--pack",
        type=Path,
        metavar="FOLDER",
        help="if there are no errors, write each split as a pack, from which crops are read faster, to FOLDER/SPLIT",
    )


def run(arguments) -> Output:
    """Check every file; a failure where something must be mended."""
    options = {} if arguments.sbd_root is None else {"sbd_root": arguments.sbd_root}
    if options and arguments.dataset != "voc":
        raise DatasetError(f"--sbd-root is for voc; leave it out for {arguments.dataset}")
    arguments.root = data.root_of(arguments.dataset, arguments.root, "as ROOT")
    report = _check(arguments, options)
    packed = {}
    if report.ok and arguments.pack:
        packed = {split.split: _pack(arguments, split.split, options) for split in report.splits}
    text = "\n".join([report.text(), *(f"Packed: {folder}" for folder in packed.values())])
    unpacked = "; nothing was packed" if arguments.pack else ""
    failure = None if report.ok else f"{arguments.root}: has errors, which must be mended{unpacked}"
    return Output(text, {**report.record(), "packed": packed}, failure)


def _check(arguments, options: dict) -> checks.Report:
    from gluon_confseg.datasets import checks
    from gluon_confseg.progress import Progress

    bars: dict[str, Progress] = {}

    def progress(split: str, done: int, total: int) -> None:
        if split not in bars:
            bars[split] = Progress(f"checking {split}", total, "item").__enter__()
        bars[split].update()
        if done == total:
            bars[split].__exit__(None)

    return checks.check(
        arguments.dataset,
        arguments.root,
        arguments.split,
        deep=arguments.deep,
        subset=arguments.subset,
        progress=progress,
        **options,
    )


def _pack(arguments, split: str, options: dict) -> str:
    from gluon_confseg.datasets import DATASETS, packing
    from gluon_confseg.progress import Progress, say

    dataset = DATASETS[arguments.dataset](arguments.root, split, **options)
    folder = arguments.pack / split
    with Progress(f"packing {split}", len(dataset), "item") as bar:
        packing.pack(dataset, folder, lambda done: bar.update(done - bar.done), say=say)
    return str(folder)
