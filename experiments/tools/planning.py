"""What Tables 2 to 5 would cost on GPUs: the tables of docs/planning.md, computed from measured and assumed parts.

Run:   make planning                               write the tables from what is kept
       make planning ARGS="--keep table3.json"     keep the memory and disk of a dry run first, which wrote the file by
                                                   confseg train table3 --dry-run --json > table3.json
       make planning ARGS="--sustained 0.2"        with another assumption; print the tables, and write nothing
Cost:  a minute, for the shapes of all networks; the dry runs: experiments/README.md
Gives: experiments/results/planning/*.json, and the tables.

Counted: the multiply-adds of each step and evaluation, from the shapes of the networks (`complexity`), and the bytes of
gradients. Measured: memory and disk, by dry runs on a CPU. Assumed: everything in `Assumptions` and `CARDS`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from pathlib import Path

from gluon_confseg import build, complexity, files, inference, network, recipe_files, train
from gluon_confseg.cli import frame, options
from gluon_confseg.datasets import DATASETS
from gluon_confseg.distributed.cost import Network
from gluon_confseg.dry_run.data import SIZES
from gluon_confseg.dry_run.figures import GIB
from gluon_confseg.dry_run.workers import Workers, plan, share
from gluon_confseg.errors import RunError
from gluon_confseg.labels import LABEL_SPACES
from gluon_confseg.report.grid import Grid

from .. import PROJECT, argument_parser
from .marked_text import replace_between

KEPT = PROJECT / "experiments" / "results" / "planning"
PAGE = PROJECT / "docs" / "planning.md"
TABLES = ("table2", "table3", "table4", "table5")
MARKS = ("<!-- tables: make planning -->", "<!-- end of tables -->")


@dataclasses.dataclass(frozen=True)
class Card:
    """A GPU as its maker describes it. peak: float32 operations in a second; memory: bytes."""

    name: str
    capability: str
    peak: float
    memory: int


CARDS = (
    Card("GeForce GTX 1080 Ti", "6.1", 11.3e12, 11 * GIB),
    Card("Tesla T4", "7.5", 8.1e12, 16 * GIB),
    Card("Tesla V100", "7.0", 15.7e12, 16 * GIB),
    Card("GeForce RTX 3090", "8.6", 35.6e12, 24 * GIB),
    Card("A100", "8.0", 19.5e12, 40 * GIB),
)


@dataclasses.dataclass(frozen=True)
class Assumptions:
    """What nobody measured.

    sustained        share of a card's float32 peak that steps and evaluation reach
    usable           share of a card's memory that MXNet can fill
    between_devices  bytes in a second between two GPUs of a machine: PCI Express 3.0 with 16 lanes
    network          between machines
    """

    sustained: float = 0.35
    usable: float = 0.9
    between_devices: float = 12e9
    network: Network = Network(1.25e9, 50e-6, "10 Gbit/s and 50 us, assumed")


LAYOUTS = (("1 GPU", 1, 1), ("4 GPUs", 1, 4), ("16 GPUs", 4, 4))  # workers, devices of each


def main(argv: list | None = None) -> int:
    """Write or print the tables; the exit status."""
    parser = argument_parser("tools.planning", __doc__)
    parser.add_argument(
        "--keep", nargs="+", type=Path, default=[], metavar="FILE", help="records of dry runs"
    )
    share_of_peak = options.number(float, 0.001, 1, "a share from 0.001 to 1")
    parser.add_argument("--sustained", type=share_of_peak, metavar="SHARE", help="of a card's float32 peak")
    arguments = parser.parse_args(argv)
    return frame.run(lambda: _run(arguments))


def _run(arguments) -> None:
    for file in arguments.keep:
        keep(file)
    assumed = Assumptions() if arguments.sustained is None else Assumptions(arguments.sustained)
    text = "\n\n".join(page_of(name, kept_of(name), assumed) for name in TABLES)
    if arguments.sustained is None:
        replace_between(PAGE, MARKS, text)
    print(text)


# ---- what dry runs measured


def keep(file: Path) -> None:
    """Keep the memory and disk of a dry run's record; RunError where the file holds none, or not the full profile's."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        name, profile, phases = found["recipe"], found["profile"], found["phases"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{file}: holds no record of a dry run ({error}); make it by confseg train RECIPE --dry-run --json"
        ) from None
    if name not in TABLES or profile != "full":
        raise RunError(f"{file}: is of {name}, profile {profile}; give profile full of {', '.join(TABLES)}")
    wanted = ("name", "memory", "checkpoint", "exchanged", "images_per_step")
    kept = {
        "recipe": name,
        "device": found["machine"]["device"],
        "phases": [{key: phase[key] for key in wanted} for phase in phases],
        "matrices": [{"phase": each["phase"], "peak": each["peak"]} for each in found["matrices"]],
        "evaluations": [
            {key: each[key] for key in ("phase", "tta", "peak")} for each in found["evaluations"]
        ],
        "whole": {key: found["whole"][key] for key in ("run_folder", "run_folder_at_most", "data")},
    }
    files.write_json(KEPT / f"{name}.json", kept)


def kept_of(name: str) -> dict | None:
    """What is kept of a table's dry run; None where there is nothing."""
    file = KEPT / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


# ---- what is counted


@dataclasses.dataclass(frozen=True)
class Work:
    """Of a phase's network. alone, whole: multiply-adds of an image by subnet 0 alone, and by all subnets."""

    alone: int
    whole: int
    parameters_alone: int
    parameters: int

    def of_step(self, trains: str) -> int:
        """Multiply-adds of a training step with one image: backward is twice forward, and the frozen part has none."""
        if trains == "subnet0":
            return 3 * self.alone
        return self.alone + 3 * (self.whole - self.alone)

    def gradients(self, trains: str) -> int:
        """Bytes of the gradients of what is trained."""
        return 4 * (self.parameters_alone if trains == "subnet0" else self.parameters - self.parameters_alone)


def work(phase, data: str, size: tuple) -> Work:
    """Of a phase's network on one image of this size (height, width)."""
    alone = dataclasses.replace(phase, trains="subnet0")
    (first, of_first), (every, of_every) = (_counted(_structure(each), data, size) for each in (alone, phase))
    return Work(first, every, of_first, of_every)


def _structure(phase):
    """The phase with all that does not change its network's shapes set to one value."""
    same = {
        "name": "",
        "start": None,
        "loss": "ce",
        "matrix": "",
        "epochs": 1,
        "learning_rate": 1.0,
        "path": (),
    }
    return dataclasses.replace(phase, **same, depth=0, draws=0, pretrained=False, weights=None, norm="frozen")


@functools.lru_cache(maxsize=None)
def _counted(phase, data: str, size: tuple) -> tuple:
    """(multiply-adds, parameters) of a network on one image."""
    built, shape = _network(phase, data), (1, 3, *size)
    return complexity.multiply_adds(built, shape), complexity.parameters(built, shape)


@functools.lru_cache(maxsize=2)
def _network(phase, data: str):
    labels = LABEL_SPACES[data]
    groups = build.groups_of(phase, labels)
    return network.build(
        encoder=phase.encoder,
        num_classes=labels.num_classes,
        groups=groups,
        output_stride=phase.output_stride,
        last_stage=phase.last_stage,
        subnets=phase.subnets,
        head=phase.head,
        subnet_heads=build.subnet_heads(phase, groups),
        learned_fusion=phase.part.has_learned_fusion,
        initial_values=False,
    )


def views(looked: inference.Inference) -> float:
    """How many images' work a way of testing is; overlaps of windows are left out."""
    return sum(scale**2 for scale in looked.scales) * (2 if looked.flip else 1)


def counted(recipe) -> dict:
    """A record like a dry run's, with multiply-adds where that has seconds, and without memory and disk."""
    published = DATASETS[recipe.data].COUNTS
    images = {"train": published[recipe.train_split], "val": published["val"]}
    width, height = SIZES[recipe.data]
    phases = []
    for phase in recipe.phases:
        of_crop = work(phase, recipe.data, phase.crop)
        phases.append(
            {
                "name": phase.name,
                "trains": phase.trains,
                "steps": phase.epochs * build.steps_per_epoch(phase, images["train"]),
                "batch_size": phase.batch_size,
                "images_per_step": 1,
                "multiply_adds": of_crop.of_step(phase.trains),
                "exchanged": {"gradients": of_crop.gradients(phase.trains)},
            }
        )

    def of_image(name: str, rules) -> int:
        found = work(recipe.phase(name), recipe.data, (height, width))
        return found.alone if set(rules) == {"subnet0"} else found.whole

    read = {recipe.matrix_phase, *recipe.measured()}
    matrices = [
        {
            "phase": name,
            "images": min(recipe.matrix_images or images["train"], images["train"]),
            "multiply_adds": of_image(name, ["subnet0"]),
        }
        for name in sorted(read)
    ]
    evaluations = []
    scored = [(phase.name, "single") for phase in recipe.phases if phase.epochs]
    for name, tta in dict.fromkeys(scored + [(cell.phase, cell.tta) for cell in recipe.cells]):
        times = train.validations(recipe, recipe.phase(name)) if tta == "single" else 0
        looked = recipe.evaluation if tta == "single" else inference.TTA[tta]
        sample = min(train.SAMPLE, images["val"], images["train"]) if times else 0
        rules = recipe.rules_at(recipe.phase(name), recipe.cells, tta)
        evaluations.append(
            {
                "phase": name,
                "tta": tta,
                "validations": times,
                "images": max(times, 1) * images["val"] + sample,
                "multiply_adds": of_image(name, rules) * views(looked),
            }
        )
    return {"data": {"images": images}, "phases": phases, "matrices": matrices, "evaluations": evaluations}


# ---- what follows for a card


def record_of(found: dict, kept: dict | None, card: Card, assumed: Assumptions) -> dict:
    """A dry run's record as this card would give it; memory and disk are 0 where no dry run is kept."""
    rate = card.peak * assumed.sustained / 2  # multiply-adds in a second
    kept_phases = {phase["name"]: phase for phase in kept["phases"]} if kept else {}
    peaks = {(each["phase"], each["tta"]): each["peak"] for each in kept["evaluations"]} if kept else {}
    nothing = {"base": 0, "momentum": 0, "image": 0, "peak": 0}
    phases = []
    for phase in found["phases"]:
        seconds = phase["multiply_adds"] / rate
        measured = kept_phases.get(phase["name"], {})
        more = {"fastest_step": seconds, "memory": measured.get("memory", nothing)}
        hours = phase["steps"] * phase["batch_size"] * seconds / 3600
        phases.append({**phase, **more, "hours": hours})
    images = {
        kind: [
            {**each, "hours": each["images"] * each["multiply_adds"] / rate / 3600, "peak": peak(each)}
            for each in found[kind]
        ]
        for kind, peak in (
            ("matrices", lambda each: 0),
            ("evaluations", lambda each: peaks.get((each["phase"], each["tta"]), 0)),
        )
    }
    hours = sum(part["hours"] for part in (*phases, *images["matrices"], *images["evaluations"]))
    disk = kept["whole"] if kept else {"run_folder": 0, "run_folder_at_most": 0, "data": 0}
    return {**found, "phases": phases, **images, "whole": {"hours": {"all": hours}, **disk}}


def fitting(found: dict, card: Card, assumed: Assumptions, workers: int, devices: int) -> dict | None:
    """The plan with the fewest shares, one after the other, that fit into the card's memory; None where none do."""
    most = min(share(phase["batch_size"], workers * devices) for phase in found["phases"])
    accumulate = 1
    while True:
        asked = Workers(
            workers, devices, accumulate, network=assumed.network, between_devices=assumed.between_devices
        )
        planned = plan(found, asked)
        if planned["memory_of_device"] <= assumed.usable * card.memory:
            return planned
        if accumulate == most:
            return None
        accumulate = min(2 * accumulate, most)


# ---- the page


def page_of(name: str, kept: dict | None, assumed: Assumptions) -> str:
    """A table's part of the page: its work, and a line for each card."""
    recipe = recipe_files.find(name).profile("full")
    found = counted(recipe)
    head = ["card", "computes", *(layout for layout, _, _ in LAYOUTS)]
    rows = [_row(found, kept, card, assumed) for card in CARDS]
    return f"### {recipe.title}\n\n{_said(found, kept)}\n\n{Grid(head, rows).markdown()}"


def _said(found: dict, kept: dict | None) -> str:
    images = sum(phase["steps"] * phase["batch_size"] for phase in found["phases"])
    steps = sum(phase["steps"] * phase["batch_size"] * phase["multiply_adds"] for phase in found["phases"])
    looks = sum(e["images"] * e["multiply_adds"] for e in (*found["matrices"], *found["evaluations"]))
    largest = max(phase["exchanged"]["gradients"] for phase in found["phases"])
    said = (
        f"{len(found['phases'])} phases, {sum(phase['steps'] for phase in found['phases']):,} steps with {images:,} "
        f"crops: {steps / 1e18:.2f} * 10^18 multiply-adds in steps, {looks / 1e18:.2f} * 10^18 in validation, test and "
        f"training matrices. Gradients of a step: {largest / 2**20:.0f} MiB at most. "
    )
    if kept is None:
        return f"{said}Its dry run was not kept, so its memory and disk are not known, and no batch is cut to fit."
    taken = max(kept["phases"], key=lambda phase: phase["memory"]["image"])["memory"]
    return (
        f"{said}Measured by the dry run: {(taken['base'] + taken['momentum']) / GIB:.1f} GiB and "
        f"{taken['image'] / GIB:.1f} GiB more for each image of a step; a run folder of "
        f"{kept['whole']['run_folder_at_most'] / GIB:.1f} GiB at most."
    )


def _row(found: dict, kept: dict | None, card: Card, assumed: Assumptions) -> list:
    record = record_of(found, kept, card, assumed)
    row = [f"{card.name}, {card.memory // GIB} GiB", f"{card.peak * assumed.sustained / 1e12:.1f} TFLOP/s"]
    for _, workers, devices in LAYOUTS:
        planned = fitting(record, card, assumed, workers, devices)
        row.append(_cell(planned, kept is not None))
    return row


def _cell(planned: dict | None, known: bool) -> str:
    """Days, then the shares of --accumulate with the memory of a card, then the part of the time that exchanges."""
    if planned is None:
        return "does not fit"
    said = [f"{planned['hours']['all'] / 24:.1f} days"]
    if known:
        said.append(f"{planned['memory_of_device'] / GIB:.1f} GiB")
    if planned["accumulate"] > 1:
        said.append(f"accumulate {planned['accumulate']}")
    if planned["workers"] * planned["devices_per_worker"] > 1:
        said.append(f"exchange {100 * (1 - planned['efficiency']):.0f} %")
    return ", ".join(said)


if __name__ == "__main__":
    sys.exit(main())
