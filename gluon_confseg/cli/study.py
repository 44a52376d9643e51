"""`confseg study`: what the loss, the subnets and their groups gain on a data set, each beside its control."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from gluon_confseg.cli import data, options
from gluon_confseg.cli.output import Output
from gluon_confseg.errors import RunError

SUMMARY = "Measure what the loss, the subnets and their groups gain on a data set, each beside a control."
EXAMPLES = (
    ("study --root MYDATA --dry-run", "how long it will take; trains nothing"),
    ("study --root MYDATA --profile quick", "minutes: a look at what it does"),
    ("study --root MYDATA", "the whole, in hours"),
)
PROFILES = ("full", "quick", "smoke")
FAMILIES = (
    "main",
    "controls",
    "structures",
    "emphasis",
    "more_controls",
    "fusion",
    "plain",
    "losses",
    "search",
)
TRIES = (1, 3, 5)


def add_arguments(parser) -> None:
    """The data, what is compared on them, and how long."""
    parser.add_argument("--data", type=options.data_set, metavar="NAME", default="custom",
                        help=f"the data set: {', '.join(options.DATASETS)} (default: custom, your own)")  # fmt: skip
    parser.add_argument(
        "--root",
        type=Path,
        metavar="FOLDER",
        help="the data set's folder (default: $OWN_ROOT, $CAMVID_ROOT, ...)",
    )
    parser.add_argument("--profile", choices=PROFILES, default="full",
                        help="full (hours), quick (minutes, one seed) or smoke (whether it runs); "
                        "default: full")  # fmt: skip
    parser.add_argument("--seeds", type=options.count, nargs="+", metavar="N",
                        help="random seeds, each a training of all arms (default: 0 1 2, or 0 alone)")  # fmt: skip
    parser.add_argument("--tries", type=int, choices=TRIES,
                        help="how many learning rates each arm tries (default: 3; of quick and smoke: 1)")  # fmt: skip
    parser.add_argument(
        "--arms",
        nargs="+",
        metavar="NAME",
        help="only these arms (the networks that are compared), with those that they go on from",
    )
    parser.add_argument("--families", nargs="+", metavar="NAME",
                        help=f"families of arms: {', '.join(FAMILIES)} (default: main controls)")  # fmt: skip
    parser.add_argument(
        "--split",
        default="val",
        help="the split that arms are compared on (default: val); learning rates are always chosen on val",
    )
    parser.add_argument("--block", type=options.positive, metavar="N",
                        help="how many images belong together in the order of their names, such as "
                        "frames of a film (default: 10 for CamVid, else 1)")  # fmt: skip
    parser.add_argument(
        "--name", metavar="NAME", help="what the data are called in the results (default: the folder's name)"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="the study's folder; an unfinished study in it goes on (default: "
                        "runs/study-NAME)")  # fmt: skip
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="write a further copy of the results there, as JSON"
    )
    parser.add_argument("--processes", type=options.positive, metavar="N",
                        help="how many trainings run side by side (default: one for each physical core)")  # fmt: skip
    parser.add_argument(
        "--save-every",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="the time between saved states of an unfinished phase (default: 60)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say how long the whole will take, and train nothing"
    )
    parser.add_argument("--worker", type=int, metavar="SEED", help=options.HIDDEN)
    # a program that gives data, folder and name to this command, as a reader types it
    parser.add_argument("--program", help=options.HIDDEN)


def goes_on(arguments) -> bool:
    """Whether the same command goes on where it was stopped."""
    return not arguments.dry_run


def run(arguments) -> Output | int:
    """Train what is not finished yet, and say what came out."""
    from gluon_confseg import files, hardware, progress

    if arguments.dry_run:
        os.environ["OMP_NUM_THREADS"] = "1"  # as each training has, before MXNet is loaded
    from gluon_confseg.study import arms, estimate, page, plan, results, run

    chosen = arms.chosen(arguments.arms, arguments.families)
    if arguments.split == "train":
        arguments.usage(
            "--split train: the study is trained on these images; choose val, test or another split"
        )
    profile = plan.PROFILES[arguments.profile]
    root = data.root_of(arguments.data, arguments.root)
    name = arguments.name or name_of(arguments.data, root)
    out = arguments.out or Path("runs") / "-".join(
        ["study", name, *([arguments.profile] if arguments.profile != "full" else [])]
    )
    first = arguments.worker is None and not any(out.glob("seed*/checkpoints/*.npz"))
    splits = run.open_splits(arguments.data, root, look=first and not arguments.dry_run)
    study = run.Study(
        data=arguments.data,
        root=root,
        splits=splits,
        plan=plan.make(arguments.profile, splits.train),
        arms=chosen,
        tries=arguments.tries or profile.tries,
        seeds=tuple(dict.fromkeys(arguments.seeds or profile.seeds)),
        out=out,
        split=arguments.split,
        save_every=arguments.save_every,
        block=arguments.block,
    )
    if arguments.worker is not None:
        run.train_seed(study, arguments.worker)
        return 0
    processes = arguments.processes or hardware.physical_cores()
    if arguments.dry_run:
        found = estimate.measure(study, processes)
        return Output(estimate.text(found), found)
    if first and arguments.profile == "full":
        progress.say(f"{estimate.sentence(measured(study, arguments, processes))}.")
    run.train_all(study, command(study, arguments), processes)
    record = results.collect(study, name, typed(study, arguments))
    stem = page.STEM if study.split == run.VAL else f"{page.STEM}-{study.split}"
    file = out / f"{stem}.json"
    for place in filter(None, (file, arguments.keep)):
        files.write_json(place, record)
    shown = page.write(record, out, stem)
    return Output(f"{page.terminal(record)}\n\nresults: {file}\npage: {shown}", record)


def typed(study, arguments) -> str:
    """The command line for a reader elsewhere: the data's folder by its name, and no folders of this machine."""
    if arguments.program:
        found = shlex.split(arguments.program)
    else:
        found = ["confseg", "study", "--root", study.root.resolve().name]
        found += ["--data", study.data] if study.data != "custom" else []
        found += ["--name", arguments.name] if arguments.name else []
    found += ["--profile", arguments.profile] if arguments.profile != "full" else []
    found += ["--seeds", *map(str, study.seeds), "--tries", str(study.tries)]
    for option in ("arms", "families"):
        given = getattr(arguments, option)
        found += [f"--{option}", *given] if given else []
    found += ["--block", str(arguments.block)] if arguments.block else []
    found += ["--split", study.split] if study.split != "val" else []
    return shlex.join(found)


def name_of(dataset: str, root: Path) -> str:
    """What the data are called: their folder's name where they are somebody's own."""
    return re.sub(r"[^\w.-]+", "-", root.resolve().name) if dataset == "custom" else dataset


def measured(study, arguments, processes: int) -> dict:
    """What `--dry-run` says of a study, by a process of its own, since MXNet can't change its threads."""
    dry = [*command(study, arguments), "--seeds", *map(str, study.seeds), "--processes", str(processes)]
    said = subprocess.run([sys.executable, *dry, "--dry-run", "--json"], stdout=subprocess.PIPE)
    if said.returncode:
        raise RunError("the dry run of this study failed, see its last line above; nothing was trained")
    return json.loads(said.stdout)


def command(study, arguments) -> list:
    """The arguments to Python of the command line that trains a further seed of this study, but for the seed."""
    found = ["-m", "gluon_confseg", "study", "--data", study.data, "--root", str(study.root)]
    found += ["--profile", arguments.profile, "--tries", str(study.tries), "--split", study.split]
    found += ["--out", str(study.out), "--save-every", str(study.save_every)]
    found += ["--block", str(study.block)] if study.block else []
    return [*found, "--arms", *(arm.key for arm in study.arms)]
