"""`confseg train`: train and score a recipe on a data set, in a run folder that a killed run goes on in."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from gluon_confseg.cli import data, options, views
from gluon_confseg.cli.output import Output
from gluon_confseg.errors import RunError

SUMMARY = "Train the networks of a recipe, score them, and write a report: on your images, a data set, or drawn scenes."
EXAMPLES = (
    ("train drawn", "street scenes that the package draws: no data set needed"),
    ("train own --root MYDATA", "your own images"),
    ("train own --root MYDATA --set penalty=2", "with another setting"),
    ("train drawn --show", "every setting and where its value comes from; trains nothing"),
    (
        "train table3 --dry-run --workers 4 --bandwidth 10Gbit --latency 50us",
        "what it would take on four machines, without starting any",
    ),
    ("train --list", "the recipes: what each costs and gives"),
)


def add_arguments(parser) -> None:
    """The recipe, its data, settings, and where the run goes."""
    parser.add_argument(
        "recipe",
        nargs="?",
        help="the name of a recipe (--list shows them), or the .py file of a recipe of your own",
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="list the recipes with their profiles, and what each costs and gives",
    )
    parser.add_argument(
        "--show",
        action="store_true",
        help="list every setting and where its value comes from, and train nothing",
    )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="FOLDER",
        help="the data set's folder (default: $CITYSCAPES_ROOT, $CAMVID_ROOT, ...)",
    )
    parser.add_argument(
        "--profile",
        metavar="NAME",
        help="one of the recipe's sizes, such as smoke (whether it runs), quick (without a GPU) or full (default: the "
        "first that --list shows)",
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
                        help="change a setting in all phases of the training, or in one by "
                        "phases.PHASE.NAME=VALUE; may be repeated")  # fmt: skip
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="the random seed of initial values, image order and crops (default: 0)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="the run folder, in which an unfinished run goes on (default: runs/RECIPE-PROFILE-DATA-seedN)",
    )
    parser.add_argument("--weights", metavar="FILE[:PREFIX]",
                        help="weights to start from, as a checkpoint, .params, .pth or .safetensors "
                        "file; of several copies of a network in the file, the one whose names "
                        "begin with PREFIX")  # fmt: skip
    parser.add_argument(
        "--list-weights", action="store_true", help="list which of its arrays were used, and which were not"
    )
    parser.add_argument(
        "--packs",
        type=Path,
        metavar="FOLDER",
        help="write the data there as packs first, from which crops are read faster",
    )
    parser.add_argument(
        "--cell",
        nargs="+",
        metavar="NAME",
        help="score only these cells, the entries of the table of results, and train only the phases that they need",
    )
    parser.add_argument(
        "--save-every",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="the time between saved states of an unfinished phase (default: 30)",
    )
    parser.add_argument("--jobs", type=options.positive, metavar="N",
                        help="train at most N phases at the same time on a CPU; 1 trains one after the "
                        "other (default: the faster way, by timing a few steps)")  # fmt: skip
    add_sharing(parser)
    parser.add_argument("--tensorboard", action="store_true",
                        help="write TensorBoard event files (curves, confusion, images) into the run folder; needs "
                        "tensorboardX")  # fmt: skip
    parser.add_argument("--dry-run", action="store_true",
                        help="run two steps of each phase at full size, and print the time, memory and "
                        "disk that the whole needs; the default profile is then full, and images "
                        "are drawn without --root")  # fmt: skip
    parser.add_argument(
        "--dry-batch",
        type=int,
        metavar="N",
        help="images of a step of the dry run (default: 1; with --workers as many as a share of a batch, if they fit)",
    )
    add_planning(parser)


def add_sharing(parser) -> None:
    """How the work of each training step is shared."""
    parser.add_argument("--devices", type=options.devices, metavar="LIST",
                        help="share each batch among devices of this machine, such as gpu:0-3 or gpu:0,gpu:2 (default: "
                        "one, the first GPU or the CPU)")  # fmt: skip
    parser.add_argument("--accumulate", type=options.positive, default=1, metavar="N",
                        help="compute each batch in N shares, one after the other, and add up their gradients: for "
                        "batches that do not fit in memory (default: 1)")  # fmt: skip
    parser.add_argument("--kvstore", type=options.one_of(options.KVSTORES), metavar="KIND",
                        help="share each batch among worker processes: horovod, started by horovodrun, or dist_sync, "
                        "started by `confseg launch`")  # fmt: skip


def add_planning(parser) -> None:
    """For which workers a dry run plans, and the network between them."""
    parser.add_argument("--workers", type=options.positive, metavar="N",
                        help="with --dry-run: plan for N worker processes, each on a machine like this one, which "
                        "communicate by --kvstore (default: horovod); none of them is started")  # fmt: skip
    parser.add_argument("--devices-per-worker", type=options.positive, metavar="N",
                        help="with --workers: devices of each worker (default: 1)")  # fmt: skip
    parser.add_argument("--bandwidth", type=options.bandwidth, metavar="RATE",
                        help="with --workers: of each worker's connection, such as 10Gbit or 1.2GB in a "
                        "second")  # fmt: skip
    parser.add_argument("--latency", type=options.duration, metavar="TIME",
                        help="with --workers: of a message between two workers, such as 50us or 0.1ms")  # fmt: skip
    parser.add_argument("--network", type=Path, metavar="FILE",
                        help="with --workers: the network as it was measured, instead of --bandwidth and --latency: "
                        "what `confseg doctor --kvstore KIND --json` printed")  # fmt: skip
    parser.add_argument("--device-bandwidth", type=options.bandwidth, metavar="RATE",
                        help="with --workers: between two devices of a machine, or a GPU and the machine's memory, "
                        "such as 12GB in a second")  # fmt: skip


def goes_on(arguments) -> bool:
    """Whether the same command goes on where it was stopped."""
    return not (arguments.dry_run or arguments.show or arguments.list)


def run(arguments) -> Output:
    """Train, score, and write the report; or show what would be done."""
    from gluon_confseg import recipe_files

    if arguments.list:
        return _listing()
    for option, needs in (("list_weights", "weights"), ("dry_batch", "dry_run")):
        if getattr(arguments, option) and not getattr(arguments, needs):
            arguments.usage(f"--{option.replace('_', '-')} does nothing without --{needs.replace('_', '-')}")
    if arguments.packs and arguments.dry_run:
        arguments.usage("--packs does nothing in a dry run, which reads a handful of images")
    if arguments.jobs and arguments.dry_run:
        arguments.usage("--jobs does nothing in a dry run, which measures one phase after the other")
    _check_planning(arguments)
    shares = (arguments.devices, arguments.kvstore, arguments.accumulate > 1)
    if arguments.jobs and arguments.jobs > 1 and any(shares):
        arguments.usage(
            "--jobs trains phases at the same time, and --devices, --accumulate and --kvstore train one"
        )
    if arguments.dry_run and not arguments.workers and any(shares):
        arguments.usage(
            "--devices, --accumulate and --kvstore do nothing in a dry run, which measures steps of one device; "
            "--workers N plans for several"
        )
    if arguments.tensorboard and arguments.dry_run:
        arguments.usage("--tensorboard does nothing in a dry run, which makes two steps of each phase")
    if arguments.recipe is None:
        arguments.usage("give a recipe: a name that --list shows, or your own file")
    found = recipe_files.find(arguments.recipe)
    profile = arguments.profile or ("full" if arguments.dry_run and "full" in found.profiles else None)
    recipe = with_settings(found.profile(profile), arguments)
    if arguments.show:
        return _shown(recipe)
    if arguments.dry_run:
        from gluon_confseg import dry_run

        root = arguments.root
        if root is None and not dry_run.can_draw(recipe):
            root = data.root_of(recipe.data, None)
        given, listed = arguments.dry_batch, {"list_weights": arguments.list_weights}
        if arguments.workers:
            asked = (_planned(arguments), root, arguments.out, arguments.cell, given)
            record = dry_run.run_for_workers(recipe, *asked, **listed)
        else:
            images = 1 if given is None else given
            record = dry_run.run(recipe, root, arguments.out, arguments.cell, images, **listed)
        return Output(dry_run.text(record), record)
    from gluon_confseg import distributed, event_files, parallel, progress, report, shared_folder, train
    from gluon_confseg.report import tables
    from gluon_confseg.run_folder import read_json

    if arguments.tensorboard:
        event_files.check()  # before images are drawn or read
    recipe.choose(arguments.cell)  # an unknown cell is said before the work
    _check_start(recipe, arguments.cell)
    recipe, root = _root(recipe, arguments.root)
    out = arguments.out or Path("runs") / name_of(recipe, root)
    with distributed.open_communicator(arguments.kvstore) as communicator:
        if communicator.rank:
            progress.relay(lambda *_: None)  # rank 0 shows what is done
        sharing = parallel.of_arguments(arguments.devices, arguments.accumulate, communicator)
        splits = parallel.in_turn(
            communicator,
            lambda: open_data(
                recipe, root, packs=arguments.packs, look=not any(out.glob("checkpoints/*.npz"))
            ),
        )
        for phase in recipe.needed(recipe.choose(arguments.cell)):
            sharing.check(phase, len(splits.train))  # before there is a run folder
        config = {**recipe.config(), "images": splits.fingerprint()}
        folder = shared_folder.open_folder(
            communicator, out, config, arguments.save_every, tensorboard=arguments.tensorboard
        )
        wanted = {"cells": arguments.cell, "jobs": arguments.jobs, "list_weights": arguments.list_weights}
        train.run(recipe, splits, folder, parallel=sharing, **wanted)
    if communicator.rank:
        return Output("", {"run": str(out), "rank": communicator.rank})
    page, results = report.write(folder.path), read_json(folder.path / "results.json")
    text = [
        tables.terminal(results),
        f"report: {page}",
        *_next_steps(recipe, root, folder.path, results["cells"]),
    ]
    return Output("\n".join(text), {"run": str(folder.path), "report": str(page), "results": results})


def _check_planning(arguments) -> None:
    """Options of a plan without one, or that contradict each other, are errors of use."""
    if arguments.workers and not arguments.dry_run:
        arguments.usage(
            "--workers plans in a dry run (--dry-run); workers that train are started by `confseg launch --workers N` "
            "or horovodrun"
        )
    for name in ("devices_per_worker", "bandwidth", "latency", "network", "device_bandwidth"):
        if getattr(arguments, name) is not None and not arguments.workers:
            arguments.usage(f"--{name.replace('_', '-')} does nothing without --dry-run --workers N")
    if not arguments.workers:
        return
    if arguments.devices:
        arguments.usage(
            "--devices names devices of this machine, which a dry run does not share steps among; give "
            "--devices-per-worker N"
        )
    if arguments.network and (arguments.bandwidth is not None or arguments.latency is not None):
        arguments.usage(
            "--network says what was measured, and --bandwidth and --latency what is assumed: give one"
        )
    if (arguments.bandwidth is None) != (arguments.latency is None):
        given, lacking = ("bandwidth", "latency") if arguments.latency is None else ("latency", "bandwidth")
        arguments.usage(f"--{given} needs --{lacking} beside it: what an exchange takes follows from both")
    if arguments.workers == 1 and (arguments.network or arguments.bandwidth is not None):
        arguments.usage(
            "one worker exchanges nothing: --network, --bandwidth and --latency are for --workers 2 or more"
        )


def _planned(arguments):
    """The `dry_run.Workers` that are asked for."""
    from gluon_confseg.distributed import cost
    from gluon_confseg.dry_run import Workers

    kind, network = arguments.kvstore, None
    if arguments.network:
        found = cost.read(arguments.network)
        if kind not in (None, found.kind):
            raise RunError(
                f"{arguments.network}: was measured with --kvstore {found.kind}, and the plan is for {kind}; measure "
                "it with that, or give --bandwidth and --latency"
            )
        kind, network = found.kind, found.network
    elif arguments.bandwidth is not None:
        source = f"{arguments.bandwidth / 1e6:,.0f} MB/s and {arguments.latency * 1e6:,.0f} us, given and not measured"
        network = cost.Network(arguments.bandwidth, arguments.latency, source)
    return Workers(
        arguments.workers,
        arguments.devices_per_worker or 1,
        arguments.accumulate,
        kind or "horovod",
        network,
        arguments.device_bandwidth,
    )


def with_settings(recipe, arguments):
    """The recipe with what was given on the command line."""
    settings = list(arguments.settings)
    if arguments.seed is not None:
        settings.append(f"seed={arguments.seed}")
    if arguments.weights:
        from gluon_confseg.weights import split_prefix

        if not Path(split_prefix(arguments.weights)[0]).is_file():
            raise RunError(f"--weights {arguments.weights}: there is no such file; give a file of weights")
        settings.append(f"weights={arguments.weights}")
    if arguments.root is not None and recipe.draw is not None:
        recipe = recipe.with_data(draw=None)
    return recipe.override(settings)


def open_data(recipe, root: Path, *, packs: Path | None = None, look: bool = True):
    """Both splits, drawn first where the recipe draws them; `look`: every file is read once before the first step."""
    from gluon_confseg import scenes
    from gluon_confseg.build import Data
    from gluon_confseg.datasets import open_dataset, pack
    from gluon_confseg.progress import Progress, say

    if recipe.draw is not None:
        total = recipe.draw["train"] + recipe.draw["val"]
        with Progress("drawing street scenes", total, "image", brief=True) as bar:
            scenes.draw(root, progress=lambda done, _: bar.update(done - bar.done), **recipe.draw)
    found = [open_dataset(recipe.data, root, split) for split in (recipe.train_split, "val")]
    if recipe.train_split == "val":
        say("Note: this trains on the validation images, so its scores say nothing about other images.")
    say(f"Data: {' '.join(dataset.description for dataset in found)}")
    if recipe.draw is None and look:
        Data(*found).check()
    if packs is not None:
        for number, dataset in enumerate(found):
            with Progress(f"packing {dataset.split}", len(dataset), "image") as bar:
                place = packs / dataset.split
                found[number] = pack(
                    dataset, place, lambda done, bar=bar: bar.update(done - bar.done), say=say
                )
                bar.update(len(dataset) - bar.done)
    return Data(*found)


def name_of(recipe, root: Path) -> str:
    """The name of the default run folder: recipe, profile, data and seed."""
    drawn = "drawn" if recipe.draw is not None else re.sub(r"[^\w.-]+", "-", root.resolve().name)
    parts = [recipe.name, recipe.profile, *([drawn] if drawn != recipe.name else []), f"seed{recipe.seed}"]
    return "-".join(parts)


def _root(recipe, given: Path | None) -> tuple:
    """The recipe and the folder of its data: that given, that of the variable, or where drawn scenes go."""
    if given is None and recipe.draw is not None:
        draw = {"seed": recipe.seed, **recipe.draw}
        return recipe.with_data(draw=draw), drawn_root(draw)
    return recipe, data.root_of(recipe.data, given)


def drawn_root(draw: dict) -> Path:
    """Where scenes go that are drawn with these settings: `train`, `val`, `size` and `seed` of `scenes.draw`."""
    width, height = draw["size"]
    name = f"{width}x{height}-train{draw['train']}-val{draw['val']}-seed{draw['seed']}"
    return Path("data") / "drawn-scenes" / name


def _check_start(recipe, cells) -> None:
    """RunError for a phase that trains nothing and starts from random values."""
    for phase in recipe.needed(recipe.choose(cells)):
        if phase.epochs == 0 and phase.start is None and phase.weights is None:
            raise RunError(
                f"{recipe.name}: phase {phase.name} has no epochs and starts from trained weights: give their file "
                "with --weights"
            )


def _next_steps(recipe, root: Path, run: Path, cells: list) -> list:
    """Which network is the best, and what to type next: `evaluate` then prints its number again."""
    from gluon_confseg.inference import TTA

    best = max(cells, key=lambda cell: cell["mean_iou"])
    file, cell = run / best["checkpoint"], recipe.choose([best["key"]])[0]
    typed = shlex.quote(str(file))
    rule = f" --rule {best['rule']}" if best["rule"] != recipe.rule_at(recipe.phase(cell.phase)) else ""
    looked = views.words(recipe.evaluation if cell.tta == "single" else TTA[cell.tta])
    return [
        f"best network: {file}",
        f"next: confseg evaluate {typed} --data {recipe.data} --root {shlex.quote(str(root))}{rule}{looked}",
        f"      confseg predict {typed} PICTURE --out predictions{rule}{looked}",
        f"      confseg export {typed} --out mynet{rule}",
    ]


def _listing() -> Output:
    """What every recipe is, costs and gives: the lines of its file's docstring."""
    from gluon_confseg import recipe_files

    lines, record = [], {}
    for name in recipe_files.names():
        found = recipe_files.find(name)
        profiles = {key: _size(recipe) for key, recipe in found.profiles.items()}
        record[name] = {"story": found.story, "profiles": profiles}
        lines += [f"{name}: {found.story.splitlines()[0]}"]
        lines += [f"    --profile {key}: {size}" for key, size in profiles.items()]
        lines += [
            f"    {line}"
            for line in re.findall(r"^(?:Cost|Gives):.*(?:\n {7}.*)*", found.story, re.MULTILINE)
        ]
        lines.append("")
    lines.append(
        f"The recipes are files in {recipe_files.folder()}; a copy of one, changed, is a recipe of your own."
    )
    return Output("\n".join(lines), record)


def _size(recipe) -> str:
    first = recipe.phases[0]
    trained = ", ".join(f"{phase.name} {phase.epochs}" for phase in recipe.phases[:5])
    more = f" and {len(recipe.phases) - 5} more phases" if len(recipe.phases) > 5 else ""
    drawn = f", draws {recipe.draw['train']} + {recipe.draw['val']} scenes" if recipe.draw else ""
    return f"{first.encoder}, crops {first.crop[0]} x {first.crop[1]}, epochs: {trained}{more}{drawn}"


def _shown(recipe) -> Output:
    """Every setting as it will be used, by phase, where it comes from, and what it is."""
    from gluon_confseg.recipe import settings_in_use
    from gluon_confseg.settings import find

    head, *rows = settings_in_use(recipe)
    rows = [
        (*head, "what it is"),
        *((*row, find(row[1])[0].help if "." not in row[1] else "") for row in rows),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [f"{recipe.title} (recipe {recipe.name}, profile {recipe.profile})", ""]
    lines += ["  ".join([*map(str.ljust, row, widths), row[4]]).rstrip() for row in rows]
    record = [dict(zip(("phases", "setting", "value", "from"), row)) for row in rows[1:]]
    return Output("\n".join(lines), {"recipe": recipe.name, "settings": record})
