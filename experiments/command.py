"""The command line that all experiments share."""

from __future__ import annotations

import argparse
import dataclasses
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
        sys.exit("confseg: stopped; the same command goes on from the last checkpoint")


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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=float, default=30.0, help="seconds between checkpoints")
    return parser


def _run(arguments, recipes: dict, root_default) -> int:
    from gluon_confseg import report
    from gluon_confseg.report import tables
    from gluon_confseg.runs import read_json

    from . import runner

    recipe = recipes[arguments.profile or default_profile(recipes, arguments.root)]
    given = {"pretrained": False, "weights": arguments.weights} if arguments.weights else {}
    recipe = dataclasses.replace(recipe, seed=arguments.seed, **given)
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
    folder = runner.run(recipe, root, out, arguments.save_every, arguments.list_weights, arguments.packs)
    page = report.write(folder.path)
    print(tables.terminal(read_json(folder.path / "results.json")))
    print(f"report: {page}")
    return 0


def default_profile(recipes: dict, root) -> str:
    """The first profile, but for a data set where that one would draw: then "full"."""
    names = list(recipes)
    return "full" if root is not None and names[0] == "drawn" else names[0]


def name_of(recipe, root) -> str:
    """The name of the default run folder: experiment, profile, data and seed."""
    data = "drawn" if root is None else recipe.data
    seed = f"-seed{recipe.seed}" if recipe.seed else ""
    return f"{recipe.experiment}-{data}-{recipe.profile}{seed}"
