"""`confseg confusion`: a confusion matrix and its worst pairs, from a file or from any predictions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gluon_confseg.cli import data, options, writable
from gluon_confseg.cli.output import Output

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
    parser.add_argument(
        "--predictions",
        type=Path,
        metavar="FOLDER",
        help="instead of a file: a folder of predictions, PNGs or arrays of class ids",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FOLDER",
        help="the ground truth of the predictions, paired by path and name",
    )
    parser.add_argument(
        "--root", type=Path, metavar="FOLDER", help="instead of --labels: the data set's folder"
    )
    parser.add_argument("--split", metavar="NAME", help="with --root: train, val or test (default: val)")
    options.add_classes(parser, "needed for folders of predictions")
    for side in ("labels", "predictions"):
        parser.add_argument(
            f"--{side}-are",
            choices=options.KINDS_OF_IDS,
            help=f"what the ids in the {side} are: raw, those of the data set's own label files (the column "
            "value of your list), or train, 0 to K - 1 (default: told by the files)",
        )
    parser.add_argument(
        "--suffix",
        default="",
        metavar="TEXT",
        help="an ending of file names that is left out when files are paired, beside the usual ones",
    )
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
    only = [matrices.index(named.classes, name) for name in arguments.only or ()]
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
    from gluon_confseg.cli import folders, id_files, matrices
    from gluon_confseg.labels import LABEL_SPACES

    own = data.own_classes(arguments)
    space = own.space if own else LABEL_SPACES[arguments.data]
    for name in arguments.only or ():  # an unknown one is said before the work, not after it
        matrices.index(space.classes, name)
    predictions_are = arguments.predictions_are or folders.said_kind(arguments.predictions, space)
    if own:
        train = folders.TRAIN
        read_predictions = id_files.of_own_predictions(own, train_ids=predictions_are == train)
        read_labels = id_files.of_own_labels(own)
        if arguments.labels_are == train:
            read_labels = id_files.of_own_predictions(own, train_ids=True)
    else:
        read_labels = read_predictions = id_files.of_data_set(space)
    predictions = folders.of_folder(arguments.predictions, "prediction", read_predictions, predictions_are)
    if arguments.labels:
        # labels of one's own data hold what the list says; those of a data set may be of either kind
        kind = arguments.labels_are or (folders.RAW if own else None)
        labels, where = folders.of_folder(arguments.labels, "label", read_labels, kind), arguments.labels
    else:
        options = {"classes": arguments.classes} if arguments.classes else {}
        name = arguments.data or "custom"
        if name == "custom":
            options["suffix"] = arguments.suffix
        dataset = data.split_of(name, arguments.root, arguments.split or "val", labelled=True, **options)
        labels, where = folders.of_dataset(dataset), f"{dataset.root}, split {dataset.split}"
    counted = folders.count(labels, predictions, space, arguments.suffix)
    told = (
        f"{counted.pairs} predictions in {arguments.predictions} (read as {counted.predictions}), "
        f"labels in {where} (read as {counted.labels}), classes of {space.title}."
    )
    told = " ".join([told, *counted.notes, *_suspicions(counted.matrix, arguments)])
    about = {"labels_are": counted.labels, "predictions_are": counted.predictions, "data": told}
    return matrices.NamedMatrix(counted.matrix, space.classes, space, "predictions", told, about)


def _suspicions(matrix, arguments) -> Iterator[str]:
    """What speaks for a mistake of whoever gave the folders."""
    labelled = matrix.counts.sum() + matrix.misses.sum()
    if arguments.labels and arguments.labels.resolve() == arguments.predictions.resolve():
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
        for option in ("labels", "root", "out", "split", "labels_are", "predictions_are", "suffix"):
            if getattr(arguments, option):
                arguments.usage(f"--{option.replace('_', '-')} goes with --predictions, not with a file")
        return
    if arguments.key:
        arguments.usage("--key goes with a file, not with --predictions")
    if not arguments.data and not arguments.classes:
        arguments.usage(
            "--predictions needs --data, the data set whose classes the ids are, or --classes, your list"
        )
    # of custom, the root holds the list of classes
    if arguments.labels and arguments.root and arguments.data != "custom":
        arguments.usage("give --labels or --root, not both")
    if arguments.split and arguments.labels:
        arguments.usage("--split goes with --root, not with --labels")
    if arguments.labels_are and not arguments.labels:
        arguments.usage("--labels-are goes with --labels")


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
