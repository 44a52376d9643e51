"""`confseg confusion`: a confusion matrix and its worst pairs, from a file or from any predictions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gluon_confseg.cli import data, options, sides, writable
from gluon_confseg.cli.output import Output
from gluon_confseg.errors import class_of

if TYPE_CHECKING:
    from gluon_confseg.cli.matrices import NamedMatrix

SUMMARY = "Show a confusion matrix and the pairs of classes that cost most: of a run, or of any program's predictions."
EXAMPLES = (
    ("confusion RUN", "of a run that confseg train wrote"),
    (
        "confusion --labels LABELS --predictions PREDICTIONS --classes classes.csv",
        "of any program's predictions",
    ),
)
LITTLE = 0.1  # a network that agrees with fewer pixels is probably not what was meant


def add_arguments(parser) -> None:
    """A file, or two folders; and what is shown."""
    options.add_matrix(parser, "the first that is not `train`", nargs="?")
    sides.add_arguments(parser, "a file")
    parser.add_argument(
        "--class",
        dest="only",
        action="append",
        metavar="NAME",
        help="list only pairs with this class; may be repeated",
    )
    parser.add_argument(
        "--worst", type=options.count, default=10, metavar="N", help="how many pairs to list (default: 10)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.npz", help="of folders: write the matrix there")


def run(arguments) -> Output:
    """Show, draw or write a matrix."""
    _check_usage(arguments)
    picture = arguments.picture and writable.file(arguments.picture)
    out = arguments.out and writable.file(arguments.out)

    from gluon_confseg.cli import matrices, scores

    if arguments.file:
        named = matrices.load(arguments.file, arguments.key, data.space_of(arguments))
    else:
        named = of_predictions(arguments)
    only = [class_of(name, named.classes) for name in arguments.only or ()]
    pairs = scores.worst_pairs(named, arguments.worst, only)
    if out:
        matrices.write(out, "predictions", named)
    if picture:
        from gluon_confseg import groups, metrics
        from gluon_confseg.report import pictures

        found = groups.discover(named.matrix.normalized())
        counts, classes = named.matrix.counts, named.classes
        if named.matrix.misses.any():
            counts, classes = scores.with_misses(named.matrix), (*classes, scores.MISSED)
        pictures.confusion_matrix(picture, metrics.normalize(counts), classes, found, named.title)
    written = [f"{what}: {path}" for what, path in (("Matrix", out), ("Picture", picture)) if path]
    record = {**named.record, **scores.record(named.matrix, named.classes), "worst": pairs}
    return Output("\n".join([_text(named, pairs), *written]), record)


def of_predictions(arguments) -> NamedMatrix:
    """The matrix of a folder of predictions against a folder of labels, or a data set's."""
    from gluon_confseg.cli import folders, matrices

    _, space = sides.space_of(arguments)
    for name in arguments.only or ():  # an unknown one is said before the work, not after it
        class_of(name, space.classes)
    labels = sides.labels(arguments)
    predictions = labels.predictions(arguments.predictions, arguments.predictions_are)
    counted = folders.count(labels.side, predictions, space, arguments.suffix)
    told = (
        f"{len(counted.pairs)} predictions in {arguments.predictions} (read as {counted.predictions}), "
        f"labels in {labels.where} (read as {counted.labels}), classes of {space.title}."
    )
    folder = arguments.labels, arguments.predictions
    told = " ".join([told, *counted.notes, *suspicions(counted.matrix, *folder)])
    about = {"labels_are": counted.labels, "predictions_are": counted.predictions, "data": told}
    return matrices.NamedMatrix(counted.matrix, space.classes, space, "predictions", told, about)


def suspicions(matrix, labels: Path | None, predictions: Path) -> Iterator[str]:
    """What speaks for a mistake of whoever gave the folders."""
    labelled = matrix.counts.sum() + matrix.misses.sum()
    if labels and labels.resolve() == predictions.resolve():
        yield "The labels and the predictions are the same folder."
    if labelled == 0:
        yield "Note: the labels have no pixel of any class."
    elif matrix.counts.trace() < LITTLE * labelled:
        yield (
            f"Note: only {100 * matrix.counts.trace() / labelled:.1f} % of the pixels agree; are the folders, the "
            f"classes in their order, and the kind of ids the right ones?"
        )


def _check_usage(arguments) -> None:
    if (arguments.file is None) == (arguments.predictions is None):
        arguments.usage("give either a file with a matrix, or --predictions with --labels or --root")
    if arguments.data and arguments.classes:
        arguments.usage("give --data or --classes, not both")
    if arguments.file:
        for option in ("out", *sides.OF_FOLDERS):
            if getattr(arguments, option):
                arguments.usage(f"--{option.replace('_', '-')} goes with --predictions, not with a file")
        return
    if arguments.key:
        arguments.usage("--key goes with a file, not with --predictions")
    sides.check_usage(arguments)


def _text(named: NamedMatrix, pairs: list) -> str:
    from gluon_confseg.cli import scores

    matrix = named.matrix
    lines = [f"Data: {named.data}"] if named.data else []
    lines += [
        f"Matrix: {named.source}; {matrix.counts.sum() + matrix.misses.sum():,} labelled pixels.",
        "",
        "Percent of each truth row (rows: truth, columns: prediction):",
        scores.rows(named),
        "",
    ]
    listing = ["No pairs to list."]
    if pairs:
        listing = ["Worst pairs, by what they cost:", scores.pairs_table(pairs)]
    return "\n".join([*lines, *listing, "", scores.means(matrix), scores.rule(matrix, named.classes)])
