"""Checks of a whole data set before anything trains on it: all that is wrong, at once, with what to do about each."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from gluon_confseg.datasets import DATASETS
from gluon_confseg.datasets.base import SegmentationDataset
from gluon_confseg.errors import DatasetError

from .across import mixed_labels, names_of_no_class, same_images, unused_classes
from .report import Finding, Report, SplitReport
from .splits import examine_all, summarise

__all__ = ["Finding", "Report", "SplitReport", "check"]


def check(
    name: str,
    root,
    splits: Sequence[str] | None = None,
    *,
    deep: bool = False,
    subset: bool = False,
    threads: int | None = None,
    progress: Callable[[str, int, int], None] = lambda split, done, total: None,
    **options,
) -> Report:
    """Everything that is wrong with a data set.

    name        "cityscapes", "camvid", "voc" or "custom"
    splits      to look at; None: those that a data set must have, and others that are there
    deep        decode every file; else 50 evenly spaced items of each split, and headers and ends of the others
    subset      a part of the data is meant: numbers of images are not compared with the published ones
    threads     that read; None: one per core
    progress    called with (split, items done, items in all)
    options     of the data set's class, such as `sbd_root`
    Raises DatasetError for an unknown name, and where there is no such folder; all else is in the report.
    """
    if name not in DATASETS:
        raise DatasetError(f"There is no data set {name!r} here; choose one of {', '.join(DATASETS)}.")
    root, kind = Path(root).expanduser(), DATASETS[name]
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; give the folder of the data set.")
    datasets, findings = _open(kind, root, splits, options)
    items, reports = [], []
    for dataset in datasets:
        items.append(examine_all(dataset, deep, threads or os.cpu_count() or 1, progress))
        expected = None if subset or dataset.drawn else kind.COUNTS.get(dataset.split)
        reports.append(summarise(dataset, items[-1], expected))
    findings += [finding for report in reports for finding in report.findings]
    findings += [*mixed_labels(datasets, items), *names_of_no_class(datasets)]
    findings += [*same_images(datasets, items), *unused_classes(reports)]
    return Report(name, str(root), deep, reports, findings)


def _open(kind, root: Path, splits, options: dict) -> tuple[list[SegmentationDataset], list[Finding]]:
    """The splits that can be opened, without what does not pair; and why others can't."""
    try:
        wanted = list(dict.fromkeys(splits or kind.splits_in(root)))
    except DatasetError as error:
        return [], [Finding("layout", "", str(error))]
    datasets, findings = [], []
    for split in wanted:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # numbers of images are compared here, and told as findings
                datasets.append(kind(root, split, strict=False, **options))
        except DatasetError as error:
            findings.append(Finding(getattr(error, "kind", "layout"), split, str(error)))
    return datasets, findings
