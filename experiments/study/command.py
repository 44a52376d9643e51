"""The study's command line: seeds side by side, then the table of all that is finished."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from gluon_confseg import files, hardware
from gluon_confseg.datasets import open_dataset
from gluon_confseg.errors import ConfSegError

from . import runner, seeds, study_results
from .command import PROJECT
from .table3 import drawn_root

DEFAULT = ("main", "controls", "fusion", "peers")


def main(recipes: dict, families: dict, own: dict, doc: str) -> None:
    """Parse, run, print the table; errors are one sentence and exit status 1.

    families   name -> keys of cells
    own        profile -> keys of the cells it does unless told otherwise; without an entry those of DEFAULT
    """
    arguments = _parser(recipes, families, doc).parse_args()
    try:
        recipe = recipes[arguments.profile]
        arguments.root = _root(recipe, arguments.root)
        cells = [key for family in arguments.families or DEFAULT for key in families[family]]
        if not arguments.families:
            cells = own.get(recipe.profile, cells)
        cells = [arm.key for arm in recipe.cells(arguments.cell or cells)]
        if arguments.worker is None:
            _all(arguments, recipe, cells)
        else:
            _one(arguments, dataclasses.replace(recipe, seed=arguments.worker), cells)
    except ConfSegError as error:
        sys.exit(f"confseg: {error}")
    except KeyboardInterrupt:
        sys.exit("confseg: stopped; the same command goes on from the last checkpoint")


def _parser(recipes: dict, families: dict, doc: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--root", type=Path, help="CamVid's folder; profile drawn has none")
    parser.add_argument("--profile", choices=list(recipes), default="full")
    parser.add_argument("--seeds", type=int, nargs="+", default=None, help="default: 0 1 2, of quick only 0")
    parser.add_argument(
        "--families",
        nargs="+",
        choices=list(families),
        help=f"of cells; default of full: {', '.join(DEFAULT)}; others do less",
    )
    parser.add_argument("--cell", nargs="+", metavar="NAME", help="only these cells, with what they need")
    parser.add_argument("--split", default="val", help="what to evaluate on; tune on val alone")
    parser.add_argument("--out", type=Path, help="folder of the seeds' run folders")
    parser.add_argument("--processes", type=int, default=None, help="default: one per core")
    parser.add_argument("--save-every", type=float, default=60.0, help="seconds between checkpoints")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--worker", type=int, default=None, help=argparse.SUPPRESS)
    return parser


def _root(recipe, given):
    """The folder of the data; drawn scenes have their own, the same ones for every seed."""
    if given is None and recipe.draw is None:
        raise ConfSegError(f"profile {recipe.profile} needs CamVid: give its folder with --root")
    if given is not None and recipe.draw is not None:
        raise ConfSegError(f"profile {recipe.profile} draws its own scenes: leave --root out")
    return given or drawn_root(recipe)


def _all(arguments, recipe, cells: list) -> None:
    wanted = arguments.seeds or ([0, 1, 2] if recipe.profile in ("full", "drawn") else [0])
    out = arguments.out or PROJECT / "runs" / f"study-{recipe.profile}"
    command = [sys.executable, "-m", "experiments.study", "--out", str(out)]
    if recipe.draw is None:
        command += ["--root", str(arguments.root)]
    else:
        runner.draw(arguments.root, recipe.draw)  # before the seeds that share them
    command += ["--profile", recipe.profile, "--split", arguments.split, "--cell", *cells]
    command += ["--save-every", str(arguments.save_every), "--worker"]
    processes = arguments.processes or hardware.physical_cores()
    seeds.run_each({f"seed {seed}": [*command, str(seed)] for seed in wanted}, processes)
    record = study_results.collect(recipe, out, arguments.split)
    for file in filter(None, (out / f"study-{arguments.split}.json", arguments.keep)):
        files.write_json(file, record)
    print(study_results.table(record))
    print(f"results: {out / f'study-{arguments.split}.json'}")


def _one(arguments, recipe, cells: list) -> None:
    folder = arguments.out / f"seed{recipe.seed}"
    experiment = runner.prepare(recipe, arguments.root, folder, arguments.save_every, cells=cells)
    if arguments.split != "val":
        experiment.val_set = open_dataset(recipe.data, arguments.root, arguments.split)
    experiment.train_all()
    experiment.evaluate_all()
    study_results.describe(experiment)
