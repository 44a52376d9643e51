"""The study's command line: seeds side by side, then the table of all that is finished."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gluon_confseg import build, files, hardware, runtime, train
from gluon_confseg.cli import data, frame
from gluon_confseg.cli.train import drawn_root, fingerprint, open_data
from gluon_confseg.datasets import open_dataset
from gluon_confseg.errors import RunError
from gluon_confseg.run_folder import RunFolder, read_json

from .. import argument_parser
from . import recipe, results, seeds


def main(argv: list | None = None) -> int:
    """Train and score what is not finished yet, print the table; the exit status."""
    arguments = _parser().parse_args(argv)
    return frame.run(lambda: _run(arguments), goes_on=True)


def _parser() -> argparse.ArgumentParser:
    parser = argument_parser("study", recipe.__doc__)
    parser.add_argument("--root", type=Path, help="CamVid's folder; profile drawn has none")
    parser.add_argument("--profile", choices=list(recipe.PROFILES), default="full")
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 0 1 2, of quick only 0")
    parser.add_argument("--families", nargs="+", choices=list(recipe.FAMILIES),
                        help=f"of cells; default of full: {', '.join(recipe.DEFAULT)}; others do less")  # fmt: skip
    parser.add_argument("--cell", nargs="+", metavar="NAME", help="only these cells, with what they need")
    parser.add_argument("--split", default="val", help="what to evaluate on; tune on val alone")
    parser.add_argument("--out", type=Path, help="folder of the seeds' run folders")
    parser.add_argument("--processes", type=int, help="default: one per core")
    parser.add_argument("--save-every", type=float, default=60.0, help="seconds between checkpoints")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)  # one seed, in a process of its own
    return parser


def _run(arguments) -> None:
    chosen = recipe.PROFILES[arguments.profile]
    root, cells = _root(chosen, arguments.root), [cell.key for cell in chosen.choose(_cells(arguments))]
    out = arguments.out or Path("runs") / f"study-{chosen.profile}"
    if arguments.worker is not None:
        _train(arguments, chosen.override([f"seed={arguments.worker}"]), root, out, cells)
        return
    open_data(
        chosen, root, look=not any(out.glob("seed*/checkpoints/*.npz"))
    )  # before the seeds that share it
    command = [sys.executable, "-m", "experiments.study", "--profile", chosen.profile, "--out", str(out)]
    command += ["--root", str(root)] if chosen.draw is None else []
    command += ["--split", arguments.split, "--save-every", str(arguments.save_every), "--cell", *cells]
    wanted = arguments.seeds or ([0, 1, 2] if chosen.profile in ("full", "drawn") else [0])
    processes = arguments.processes or hardware.physical_cores()
    seeds.run_each({f"seed {seed}": [*command, "--worker", str(seed)] for seed in wanted}, processes)
    record, file = results.collect(chosen, out, arguments.split), out / f"study-{arguments.split}.json"
    for place in filter(None, (file, arguments.keep)):
        files.write_json(place, record)
    print(f"{results.table(record)}\nresults: {file}")


def _cells(arguments) -> list:
    """The keys asked for: cells, families, or what the profile does unless told otherwise."""
    if arguments.families is None and arguments.profile in recipe.CELLS:
        return arguments.cell or list(recipe.CELLS[arguments.profile])
    families = arguments.families or recipe.DEFAULT
    return arguments.cell or [key for family in families for key in recipe.FAMILIES[family]]


def _root(chosen, given: Path | None) -> Path:
    """The folder of the data; drawn scenes have their own, the same ones for every seed."""
    if chosen.draw is None:
        return data.root_of(chosen.data, given)
    if given is not None:
        raise RunError(f"profile {chosen.profile} draws its own scenes: leave --root out")
    return drawn_root(chosen.draw)


def _train(arguments, chosen, root: Path, out: Path, cells: list) -> None:
    """One seed: trained and scored on the validation split, then scored on another where one was asked for."""
    splits = open_data(chosen, root, look=False)
    path = out / f"seed{chosen.seed}"
    folder = RunFolder(path, {**chosen.config(), "images": fingerprint(splits)}, arguments.save_every)
    train.run(chosen, splits, folder, cells=cells)
    if arguments.split != splits.val.split:
        splits = build.Data(splits.train, open_dataset(chosen.data, root, arguments.split))
        train.score(chosen, chosen.choose(cells), splits, folder, runtime.default_context())
    about = path / "about.json"
    images = read_json(about)["images"] if about.exists() else {}
    count, subnets = len(splits.train), chosen.phase("subnets_ce")
    groups = build.discovered(subnets, folder.training_matrix(subnets.matrix))
    folder.write(about.name, {
        "classes": list(splits.val.classes),
        "images": {**images, "train": count, splits.val.split: len(splits.val)},
        "updates": {phase.name: build.updates(chosen, phase, count) for phase in chosen.phases},
        "groups": [list(group) for group in groups],
    })  # fmt: skip
