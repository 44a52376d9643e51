"""`confseg confusion`: a confusion matrix and its worst pairs, from a file or from any predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gluon_confseg import groups, metrics
from gluon_confseg.cli import data, folders, matrices, outputs, scores
from gluon_confseg.cli.answer import Answer
from gluon_confseg.labels import LABEL_SPACES
from gluon_confseg.metrics import ConfusionMatrix
from gluon_confseg.report import costs, pictures
from gluon_confseg.report.grid import Grid
from gluon_confseg.report.tables import percent

MISSED = "(no class)"  # predictions of 255


def run(arguments) -> Answer:
    """Show, draw or write a matrix."""
    _check_usage(arguments)
    picture = arguments.picture and outputs.file(arguments.picture)
    out = arguments.out and outputs.file(arguments.out)
    if arguments.file:
        named = matrices.load(arguments.file, arguments.key, arguments.data)
    else:
        named = of_predictions(arguments)
    only = [matrices.index(named.classes, name) for name in arguments.classes or ()]
    pairs = worst_pairs(named, arguments.worst, only)
    if out:
        matrices.write(out, "predictions", named)
    if picture:
        draw(picture, named)
    written = [f"{what}: {path}" for what, path in (("Matrix", out), ("Picture", picture)) if path]
    return Answer("\n".join([_text(named, pairs), *written]), _record(named, pairs))


def of_predictions(arguments) -> matrices.Named:
    """The matrix of a folder of predictions against a folder of labels, or a data set's."""
    space, predictions = LABEL_SPACES[arguments.data], folders.of_folder(arguments.predictions)
    for name in arguments.classes or ():  # an unknown one is said before the work, not after it
        matrices.index(space.classes, name)
    if arguments.labels:
        labels, where = folders.of_folder(arguments.labels), arguments.labels
    else:
        dataset = data.labelled(space.name, arguments.root, arguments.split)
        labels, where = dict(zip(dataset.names, dataset.label_paths)), dataset.root
    counted = folders.count(labels, predictions, space)
    told = (
        f"{counted.pairs} predictions in {arguments.predictions} (read as {counted.predictions}), "
        f"labels in {where} (read as {counted.labels}), classes of {space.title}."
    )
    about = {"labels_are": counted.labels, "predictions_are": counted.predictions, "data": told}
    return matrices.Named(counted.matrix, space.classes, space, "predictions", told, about)


def worst_pairs(named: matrices.Named, most: int, only=()) -> list:
    """The pairs that cost most, as records; `only`: those of one of these classes.

    share is of the truth's pixels; cost the mIoU that would be gained if none of these pixels were wrong.
    """
    full = _with_misses(named.matrix)
    cost, shares = costs.pair_costs(named.matrix.counts, named.matrix.misses), metrics.normalize(full)
    names = [*named.classes, MISSED]
    ranked = np.argsort(-cost, axis=None, kind="stable")
    pairs = []
    for i, j in zip(*np.unravel_index(ranked, cost.shape)):
        if i == j or not full[i, j] or (len(only) and i not in only and j not in only):
            continue
        numbers = {
            "pixels": int(full[i, j]),
            "share": float(shares[i, j]),
            "cost": float(cost[i, j]),
        }
        pairs.append({"truth": names[i], "prediction": names[j], **numbers})
    return pairs[:most]


def draw(path: Path, named: matrices.Named) -> None:
    """The matrix as a picture, the groups discovered in it outlined."""
    found = groups.discover(named.matrix.normalized())
    counts, classes = named.matrix.counts, named.classes
    if named.matrix.misses.any():
        counts, classes = _with_misses(named.matrix), (*classes, MISSED)
    pictures.confusion_matrix(path, metrics.normalize(counts), classes, found, named.title)


def _check_usage(arguments) -> None:
    if (arguments.file is None) == (arguments.predictions is None):
        arguments.usage("give either a file with a matrix, or --predictions with --labels or --root")
    if arguments.file:
        for option in ("labels", "root", "out"):
            if getattr(arguments, option):
                arguments.usage(f"--{option} goes with --predictions, not with a file")
        return
    if arguments.key:
        arguments.usage("--key goes with a file, not with --predictions")
    if not arguments.data:
        arguments.usage("--predictions needs --data, the data set whose classes the ids are")
    if arguments.labels and arguments.root:
        arguments.usage("give --labels or --root, not both")


def _with_misses(matrix: ConfusionMatrix) -> np.ndarray:
    """(K + 1, K + 1) counts: predictions of no class get the last column, and its row is empty."""
    full = np.zeros((matrix.num_classes + 1,) * 2, np.int64)
    full[:-1, :-1], full[:-1, -1] = matrix.counts, matrix.misses
    return full


def _text(named: matrices.Named, pairs: list) -> str:
    matrix = named.matrix
    lines = [f"Data: {named.data}"] if named.data else []
    lines.append(f"Matrix: {named.source}; {matrix.counts.sum() + matrix.misses.sum():,} labelled pixels.")
    lines += ["", "Percent of each truth row (rows: truth, columns: prediction):", rows(named), ""]
    if pairs:
        lines += ["Worst pairs, by what they cost:", _pairs_table(pairs), ""]
    else:
        lines += ["No pairs to list.", ""]
    return "\n".join([*lines, scores.means(matrix), scores.rule(matrix, named.classes)])


def rows(named: matrices.Named) -> str:
    """The matrix in whole percents, as plain text; "." is less than half a percent, "" nothing at all."""
    full = _with_misses(named.matrix)
    heads = [str(k) for k in range(len(named.classes))] + ["none"] * bool(named.matrix.misses.any())
    shares = metrics.normalize(full)
    wide, widest = 5 if heads[-1] == "none" else 4, max(len(name) for name in named.classes)
    lines = [" " * (widest + 4) + "".join(f"{head:>{wide}}" for head in heads)]
    for k, name in enumerate(named.classes):
        cells = [_cell(full[k, j], shares[k, j]) for j in range(len(heads))]
        text = "".join(f"{cell:>{wide}}" for cell in cells) if full[k].any() else "  no pixels in the truth"
        lines.append(f"{k:>3} {name:<{widest}}{text}".rstrip())
    return "\n".join(lines)


def _cell(pixels: int, share: float) -> str:
    if not pixels:
        return ""
    return f"{100 * share:.0f}" if share >= 0.005 else "."


def _pairs_table(pairs: list) -> str:
    head = ["truth", "taken for", "pixels", "% of the truth", "costs, mIoU points"]
    cells = [
        [p["truth"], p["prediction"], f"{p['pixels']:,}", percent(p["share"]), percent(p["cost"])]
        for p in pairs
    ]
    return Grid(head, cells, words=2).text()


def _record(named: matrices.Named, pairs: list) -> dict:
    return {**named.record, **scores.record(named.matrix, named.classes), "worst": pairs}
