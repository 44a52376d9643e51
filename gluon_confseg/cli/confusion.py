"""`confseg confusion`: a confusion matrix and its worst pairs, from a file or from any predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gluon_confseg.cli import data, options, writable
from gluon_confseg.cli.output import Output

if TYPE_CHECKING:
    from gluon_confseg.cli.matrices import NamedMatrix

SUMMARY = "Show a confusion matrix and its worst pairs: of a run, or of any predictions in a folder."


def add_arguments(parser) -> None:
    """A file, or two folders; and what is shown."""
    options.add_matrix(parser, "the first that is not `train`", nargs="?")
    parser.add_argument(
        "--predictions", type=Path, metavar="FOLDER", help="PNGs of class ids, instead of a file"
    )
    parser.add_argument("--labels", type=Path, metavar="FOLDER", help="PNGs of class ids with the same names")
    parser.add_argument("--root", type=Path, help="instead of --labels: the folder of the data set")
    parser.add_argument("--split", default="val", help="with --root: train, val (default) or test")
    options.add_classes(parser, "needed for folders")
    parser.add_argument(
        "--class", dest="classes", action="append", metavar="NAME", help="only pairs with this class"
    )
    parser.add_argument(
        "--worst", type=options.count, default=10, metavar="N", help="pairs to list (default: 10)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.npz", help="for folders: write the matrix here")


def run(arguments) -> Output:
    """Show, draw or write a matrix."""
    _check_usage(arguments)
    picture = arguments.picture and writable.file(arguments.picture)
    out = arguments.out and writable.file(arguments.out)

    from gluon_confseg.cli import matrices, scores

    if arguments.file:
        named = matrices.load(arguments.file, arguments.key, arguments.data)
    else:
        named = of_predictions(arguments)
    only = [matrices.index(named.classes, name) for name in arguments.classes or ()]
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
    from gluon_confseg.labels import LABEL_SPACES

    space, predictions = LABEL_SPACES[arguments.data], folders.of_folder(arguments.predictions)
    for name in arguments.classes or ():  # an unknown one is said before the work, not after it
        matrices.index(space.classes, name)
    if arguments.labels:
        labels, where = folders.of_folder(arguments.labels), arguments.labels
    else:
        dataset = data.split_of(space.name, arguments.root, arguments.split, labelled=True)
        labels, where = dict(zip(dataset.names, dataset.label_paths)), dataset.root
    counted = folders.count(labels, predictions, space)
    told = (
        f"{counted.pairs} predictions in {arguments.predictions} (read as {counted.predictions}), "
        f"labels in {where} (read as {counted.labels}), classes of {space.title}."
    )
    about = {"labels_are": counted.labels, "predictions_are": counted.predictions, "data": told}
    return matrices.NamedMatrix(counted.matrix, space.classes, space, "predictions", told, about)


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
