"""The command line that all experiments share."""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import sys
from pathlib import Path

import gluon_confseg  # noqa: F401  first of all: it readies threads and CUDA libraries before MXNet is imported
from gluon_confseg.errors import ConfSegError

PROJECT = Path(__file__).resolve().parent.parent


def main(recipes: dict, default: str, root=None, root_default=None, doc: str = "") -> None:
    """Parse, run, report; errors are one sentence and exit status 1.

    recipes        profile name -> Recipe
    root_default   function of the recipe -> folder for data that the package draws
    """
    arguments = _parser(recipes, default, doc).parse_args()
    try:
        sys.exit(_run(arguments, recipes, root_default))
    except ConfSegError as error:
        sys.exit(f"confseg: {error}")
    except KeyboardInterrupt:
        goes_on = "" if arguments.dry_run else "; the same command goes on from the last checkpoint"
        sys.exit(f"confseg: stopped{goes_on}")


def _parser(recipes: dict, default: str, doc: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--root", type=Path, help="the data set's folder")
    parser.add_argument("--profile", choices=list(recipes), default=None, help=f"default: {default}")
    parser.add_argument("--out", type=Path, help="run folder; an unfinished run in it goes on")
    parser.add_argument(
        "--weights", metavar="FILE", help="weights to start from: a checkpoint, .params, .pth or .safetensors"
    )
    parser.add_argument(
        "--list-weights", action="store_true", help="name what that file filled, and what it held in vain"
    )
    parser.add_argument(
        "--packs", type=Path, metavar="FOLDER", help="pack the data there first, and read the packs"
    )
    parser.add_argument(
        "--cell",
        nargs="+",
        metavar="NAME",
        help="only these cells, with the stages they need: " + _cells(recipes),
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=float, default=30.0, help="seconds between checkpoints")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="two steps of each stage at full size (profile full unless named; without --root on drawn images), and "
        "what the whole will need",
    )
    parser.add_argument(
        "--dry-batch", type=int, default=1, metavar="N", help="images of a dry run's step, 1 unless given"
    )
    parser.add_argument("--json", action="store_true", help="a dry run's figures as JSON")
    return parser


def _cells(recipes: dict) -> str:
    return ", ".join(dict.fromkeys(arm.key for recipe in recipes.values() for arm in recipe.arms))


def _run(arguments, recipes: dict, root_default) -> int:
    from gluon_confseg import report
    from gluon_confseg.report import tables
    from gluon_confseg.runs import read_json

    from . import runner

    recipe = recipes[arguments.profile or default_profile(recipes, arguments.root, arguments.dry_run)]
    given = {"pretrained": False, "weights": arguments.weights} if arguments.weights else {}
    recipe = dataclasses.replace(recipe, seed=arguments.seed, **given)
    if arguments.dry_run:
        return _dry_run(arguments, recipe)
    if recipe.needs_weights and recipe.weights is None:
        raise ConfSegError(f"{recipe.experiment} starts from trained weights: give their file with --weights")
    root = arguments.root
    if root is None:
        if recipe.draw is None or root_default is None:
            raise ConfSegError(f"profile {recipe.profile} needs a data set: give its folder with --root")
        recipe = dataclasses.replace(recipe, draw={**recipe.draw, "seed": recipe.seed})
        root = root_default(recipe)
    else:
        recipe = dataclasses.replace(recipe, draw=None)
    out = arguments.out or PROJECT / "runs" / name_of(recipe, arguments.root)
    more = (arguments.save_every, arguments.list_weights, arguments.packs, arguments.cell)
    folder = runner.run(recipe, root, out, *more)
    page = report.write(folder.path)
    print(tables.terminal(read_json(folder.path / "results.json")))
    print(f"report: {page}")
    return 0


def _dry_run(arguments, recipe) -> int:
    from . import dry_run, estimate

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind then either
    found = dry_run.run(recipe, arguments.root, arguments.out, arguments.cell, arguments.dry_batch)
    print(json.dumps(found, indent=2) if arguments.json else estimate.text(found))
    return 0


def default_profile(recipes: dict, root, dry_run: bool = False) -> str:
    """The first profile, but for a data set or a dry run where that one would draw: then "full"."""
    names = list(recipes)
    return "full" if (root is not None or dry_run) and names[0] == "drawn" else names[0]


def name_of(recipe, root) -> str:
    """The name of the default run folder: experiment, profile, data and seed."""
    data = "drawn" if root is None else recipe.data
    seed = f"-seed{recipe.seed}" if recipe.seed else ""
    return f"{recipe.experiment}-{data}-{recipe.profile}{seed}"
