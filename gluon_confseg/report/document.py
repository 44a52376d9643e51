"""What a report says, in order, whatever it will look like: blocks that `html` and `markdown` render."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from gluon_confseg.groups import overlap
from gluon_confseg.report import tables
from gluon_confseg.report.folder import Run
from gluon_confseg.report.grid import Grid


@dataclasses.dataclass(frozen=True)
class Heading:
    """The title of a section."""

    text: str


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph; `strong` where it must not be overlooked."""

    text: str
    strong: bool = False


@dataclasses.dataclass(frozen=True)
class Picture:
    """A file of pictures/ and what it shows, in words, for those who don't see it."""

    name: str
    caption: str


@dataclasses.dataclass(frozen=True)
class Fold:
    """Blocks that a reader opens when wanted."""

    title: str
    blocks: tuple


def build(run: Run) -> list:
    """The blocks of a run's report; the line with the data and the title come before them."""
    sections = [_result, _costs, _groups, _matrices, _classes, _panels, _training, _settings]
    return [block for section in sections for block in section(run)]


def _result(run: Run) -> list:
    results = run.results
    blocks = [Text(tables.summary(results), strong=True), tables.cells(results)]
    if results.get("quality_note"):
        blocks.append(Text(results["quality_note"]))
    note = "mIoU is the mean over the classes in truth or prediction; one that is only predicted counts 0."
    return [*blocks, Text(note), *_other_rules(results)]


def _other_rules(results: dict) -> list:
    if not results.get("other_rules"):
        return []
    return [Text("The same networks, their subnets fused by each rule:"), tables.rules(results)]


def _costs(run: Run) -> list:
    first = tables.cell_name(run.cells[0])
    return [
        Heading("What the confusion costs"),
        tables.wrong_pixels(run.results, run.counts, run.groups),
        Text(
            f"The pairs of classes that cost {first} most: the cost is the mIoU it would gain if none of "
            "these pixels were wrong. Changes are in points of the truth row; less is better."
        ),
        tables.pairs(run.results, run.counts, run.groups),
    ]


def _groups(run: Run) -> list:
    results, counts = run.results, run.counts[run.cells[0]["key"]]
    blocks = [
        Heading("Confusing groups"),
        Text(f"Groups of the subnets: {results['groups']['source']}."),
        tables.groups(run.classes, run.groups, counts),
        Picture("groups.png", f"Which classes are taken for each other: {_matrix_of_groups(run)}"),
    ]
    return [*blocks, *_discovered(run)]


def _matrix_of_groups(run: Run) -> str:
    return (
        "training images" if run.train is not None else f"validation images, {tables.cell_name(run.cells[0])}"
    )


def _discovered(run: Run) -> list:
    found = [group["classes"] for group in run.found.get("discovered", run.found["groups"])]
    if [sorted(group) for group in found] == [sorted(group) for group in run.groups]:
        return []
    rows = [
        [str(index), _names(run, group), tables.percent(overlap(group, run.groups))]
        for index, group in enumerate(found, 1)
    ]
    return [
        Text("Groups in this run's own confusion matrix, and how far each agrees with one that was used:"),
        Grid(["discovered", "class names", "overlap (intersection over union), %"], rows, words=2),
    ]


def _names(run: Run, group: Sequence) -> str:
    return ", ".join(run.classes[klass] for klass in group)


def _matrices(run: Run) -> list:
    first, last = run.cells[0], run.cells[-1]
    blocks = [Heading("Confusion matrices"), _matrix(first)]
    if last is not first:
        blocks += [_matrix(last), _difference(last, first)]
    others = [block for cell in run.cells[1:-1] for block in (_matrix(cell), _difference(cell, first))]
    if run.train is not None:
        others.append(
            Picture(
                "confusion_train.png",
                "Confusion matrix on the training images, which groups and weights come from",
            )
        )
    return [*blocks, Fold("The other matrices", tuple(others))] if others else blocks


def _matrix(cell: dict) -> Picture:
    return Picture(
        f"confusion_{cell['key']}.png", f"Confusion matrix of {tables.cell_name(cell)}, validation images"
    )


def _difference(cell: dict, first: dict) -> Picture:
    return Picture(
        f"difference_{cell['key']}.png",
        f"What changed from {tables.cell_name(first)} to {tables.cell_name(cell)}",
    )


def _classes(run: Run) -> list:
    blocks = [
        Heading("Classes"),
        Picture("class_iou.png", "IoU of each class in every cell, and gains over the first cell"),
    ]
    return [*blocks, tables.classes(run.results, run.groups)]


def _panels(run: Run) -> list:
    if not run.panels:
        return [Heading("Predictions"), Text("This run folder holds no panels.")]
    worse = sum(bool(panel.get("worse")) for panel in run.panels)
    note = (
        "These crops are not typical: they are where the last cell differs most from the first inside the "
        f"groups, {len(run.panels) - worse} for the better, {worse} for the worse."
    )
    caption = "Crops of validation images: image, truth, and every cell"
    return [Heading("Predictions"), Text(note), Picture("panels.png", caption)]


def _training(run: Run) -> list:
    if not run.epochs:
        return [Heading("Training"), Text("This run folder holds no log.jsonl.")]
    return [Heading("Training"), Picture("training.png", "Loss of every epoch, phase by phase")]


def _settings(run: Run) -> list:
    results = run.results
    # the name of a layout could be taken for that of a data set: the description says which data it was
    left_out = {("data", "name"), ("training", "phases")}
    rows = [
        [part, name.replace("_", " "), _shown(value)]
        for part in ("data", "network", "loss", "training")
        for name, value in (results.get(part) or {}).items()
        if (part, name) not in left_out
    ]
    rows.append(["", "seed", _shown(results.get("seed"))])
    rows += [["time", name.replace("_", " "), _shown(value)] for name, value in run.timing.items()]
    blocks = [Heading("Settings"), Grid(["part", "setting", "value"], rows, words=3), *_phases(results)]
    if results.get("not_run"):
        blocks += [Heading("What was not run"), *map(Text, results["not_run"])]
    return blocks


def _phases(results: dict) -> list:
    phases = (results.get("training") or {}).get("phases")
    if not phases:
        return []
    head = list(dict.fromkeys(name for phase in phases for name in phase))
    rows = [[_shown(phase.get(name)) for name in head] for phase in phases]
    return [Text("Phases of training:"), Grid([name.replace("_", " ") for name in head], rows, words=4)]


def _shown(value) -> str:
    """A setting in words."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_shown(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value))
    return str(value)
