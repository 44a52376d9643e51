"""`python data/prepare.py DATASET ROOT`: check a data set, say all that is wrong, and pack it if asked."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from gluon_confseg.cli import frame
from gluon_confseg.datasets import DATASETS, checks, packing
from gluon_confseg.errors import DatasetError
from gluon_confseg.progress import Progress


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 nothing must be mended, 1 something must, others as `frame` has them."""
    arguments = parser().parse_args(argv)
    return frame.run(lambda: _run(arguments))


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    declared = argparse.ArgumentParser("prepare.py", description=__doc__, allow_abbrev=False)
    declared.add_argument("dataset", choices=DATASETS, metavar="DATASET", help=", ".join(DATASETS))
    declared.add_argument("root", type=Path, metavar="ROOT", help="its folder: see the READMEs in data/")
    declared.add_argument(
        "--split", action="append", help="a split to check; may be repeated (default: all that belong to it)"
    )
    declared.add_argument("--deep", action="store_true", help="read every pixel of every file")
    declared.add_argument(
        "--subset", action="store_true", help="do not compare counts with the published ones"
    )
    declared.add_argument(
        "--sbd-root", type=Path, metavar="FOLDER", help="voc: where SBD is, if not beside it"
    )
    declared.add_argument(
        "--pack",
        type=Path,
        metavar="FOLDER",
        help="if nothing must be mended, pack each split into FOLDER/SPLIT",
    )
    declared.add_argument("--json", action="store_true", help="print one JSON object for programs")
    return declared


def _run(arguments) -> int:
    options = {} if arguments.sbd_root is None else {"sbd_root": arguments.sbd_root}
    if options and arguments.dataset != "voc":
        raise DatasetError(f"--sbd-root is for voc; leave it out for {arguments.dataset}.")
    report = _check(arguments, options)
    packed = {}
    if report.ok and arguments.pack:
        packed = {split.split: _pack(arguments, split.split, options) for split in report.splits}
    if arguments.json:
        print(json.dumps({**report.record(), "packed": packed}))
    else:
        print("\n".join([report.text(), *(f"Packed: {folder}" for folder in packed.values())]))
    if arguments.pack and not report.ok:
        return frame.fail("nothing was packed; mend the errors first")
    return 0 if report.ok else 1


def _check(arguments, options: dict) -> checks.Report:
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
    dataset = DATASETS[arguments.dataset](arguments.root, split, **options)
    folder = arguments.pack / split
    with Progress(f"packing {split}", len(dataset), "item") as bar:
        packing.pack(dataset, folder, lambda done: bar.update(done - bar.done), say=_say)
    return str(folder)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
