"""What a report says, in order, whatever it will look like: blocks that `html` and `markdown` render."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gluon_confseg.groups import overlap
from gluon_confseg.report import outcome, tables
from gluon_confseg.report.folder import Run
from gluon_confseg.report.grid import Grid
from gluon_confseg.report.panels import Panel
from gluon_confseg.report.pictures.lettering import Lettering


class Heading(NamedTuple):
    """The title of a section."""

    text: str


class Text(NamedTuple):
    """A paragraph; `strong` where it must not be overlooked."""

    text: str
    strong: bool = False


class Sentences(NamedTuple):
    """Numbered sentences: (what it is about, the sentence)."""

    pairs: tuple


class Command(NamedTuple):
    """Lines for a shell."""

    lines: tuple


class Picture(NamedTuple):
    """A file of pictures/ and what it shows, in words, for those who don't see it."""

    name: str
    caption: str


class Fold(NamedTuple):
    """Blocks that a reader opens when wanted."""

    title: str
    blocks: tuple


def build(run: Run, panels: Sequence[Panel] = ()) -> list:
    """The blocks of a run's report; the line with the data and the title come before them. panels: of panels.png"""
    sections = [_result, _costs, _groups, _matrices, _classes]
    blocks = [block for section in sections for block in section(run)]
    return [*blocks, *_panels(panels), *_training(run), *_settings(run)]


def _result(run: Run) -> list:
    results = run.results
    blocks = [
        *(Text(sentence, strong=True) for sentence in outcome.sentences(results)),
        tables.cells(results),
    ]
    blocks.append(
        Text(
            "mIoU is the mean over the classes in truth or prediction; one that is only predicted counts 0. Updates "
            "are the steps of SGD that a network has had, those of the phases that it went through before included."
        )
    )
    if results.get("other_rules"):
        blocks += [Text("The same networks, their subnets fused by each rule:"), tables.rules(results)]
    return blocks


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
    first = run.cells[0]
    source = "training images" if run.train is not None else f"validation images, {tables.cell_name(first)}"
    blocks = [
        Heading("Confusing groups"),
        Text(f"Groups of the subnets: {run.results['groups']['source']}."),
        tables.groups(run.classes, run.groups, run.counts[first["key"]]),
        Picture("groups.png", f"Which classes are taken for each other: {source}"),
    ]
    numbered = Lettering(run.classes).numbered
    if numbered:
        listed = ", ".join(f"{number} is {name}" for number, name in numbered.items())
        blocks.append(
            Text(f"No font here has the letters of all names, so pictures number classes: {listed}.")
        )
    found = [group["classes"] for group in run.found.get("discovered", run.found["groups"])]
    if [sorted(group) for group in found] != [sorted(group) for group in run.groups]:
        rows = []
        for index, group in enumerate(found, 1):
            names = ", ".join(run.classes[klass] for klass in group)
            rows.append([str(index), names, tables.percent(overlap(group, run.groups))])
        head = ["discovered", "class names", "overlap (intersection over union), %"]
        note = "Groups in this run's own confusion matrix, and how far each agrees with one that was used:"
        blocks += [Text(note), Grid(head, rows, words=2)]
    return blocks


def _matrices(run: Run) -> list:
    first, last = run.cells[0], run.cells[-1]
    blocks = [Heading("Confusion matrices"), _matrix(first)]
    if last is not first:
        blocks += [_matrix(last), _difference(last, first)]
    others = [block for cell in run.cells[1:-1] for block in (_matrix(cell), _difference(cell, first))]
    if run.train is not None:
        caption = "Confusion matrix on the training images, which groups and weights come from"
        others.append(Picture("confusion_train.png", caption))
    return [*blocks, Fold("The other matrices", tuple(others))] if others else blocks


def _matrix(cell: dict) -> Picture:
    caption = f"Confusion matrix of {tables.cell_name(cell)}, validation images"
    return Picture(f"confusion_{cell['key']}.png", caption)


def _difference(cell: dict, first: dict) -> Picture:
    caption = f"What changed from {tables.cell_name(first)} to {tables.cell_name(cell)}"
    return Picture(f"difference_{cell['key']}.png", caption)


def _classes(run: Run) -> list:
    caption = "IoU of each class in every cell, and gains over the first cell"
    return [Heading("Classes"), Picture("class_iou.png", caption), tables.classes(run.results, run.groups)]


def _panels(panels: Sequence[Panel]) -> list:
    if not panels:
        return [Heading("Predictions"), Text("This run folder holds no predictions to show.")]
    worse = sum(panel.worse for panel in panels)
    note = (
        "These images are not typical: they are where the last cell differs most from the first inside the groups, "
        f"{len(panels) - worse} for the better, {worse} for the worse."
    )
    caption = "Validation images: image, truth, and every cell"
    return [Heading("Predictions"), Text(note), Picture("panels.png", caption)]


def _training(run: Run) -> list:
    if run.epochs:
        return [Heading("Training"), Picture("training.png", "Loss of every epoch, phase by phase")]
    return [Heading("Training"), Text("This run folder holds no log.jsonl.")]


def _settings(run: Run) -> list:
    (title, settings), *others = settings_grid(run)
    blocks = [Heading(title), settings]
    for name, table in others:
        blocks += [Text(f"{name}:"), table]
    if run.results.get("not_run"):
        blocks += [Heading("What was not run"), *map(Text, run.results["not_run"])]
    return blocks


def settings_grid(run: Run) -> list:
    """[(title, table)]: the settings of a run, and those of its phases where they have some of their own."""
    results = run.results
    # the name of a layout could be taken for that of a data set: the description says which data it was
    left_out = {("data", "name"), ("training", "phases")}
    rows = [
        [part, name.replace("_", " "), shown(value)]
        for part in ("data", "network", "training", "evaluation")
        for name, value in (results.get(part) or {}).items()
        if (part, name) not in left_out
    ]
    rows.append(["", "seed", shown(results.get("seed"))])
    rows += [["time", name.replace("_", " "), shown(value)] for name, value in run.timing.items()]
    found = [("Settings", Grid(["part", "setting", "value"], rows, words=3))]
    phases = (results.get("training") or {}).get("phases")
    if phases:
        head = list(dict.fromkeys(name for phase in phases for name in phase))
        rows = [[shown(phase.get(name)) for name in head] for phase in phases]
        found.append(("Phases of training", Grid([name.replace("_", " ") for name in head], rows, words=4)))
    return found


def shown(value) -> str:
    """The value of a setting in words."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {shown(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown, value))
    return str(value)
