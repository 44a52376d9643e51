"""`confseg evaluate`: a network's confusion matrix and scores on a data set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gluon_confseg import trained
from gluon_confseg.cli import data, options, views, writable
from gluon_confseg.cli.output import Output

SUMMARY = "Score a trained network on a data set, as the official Cityscapes scorer counts."
EXAMPLES = (
    ("evaluate RUN/checkpoints/subnets_ce.npz --root MYDATA", "IoU of each class, and their mean"),
    (
        "evaluate RUN/checkpoints/subnets_ce.npz --root MYDATA --flip --out val.npz",
        "with mirrored images; keep the matrix",
    ),
)


def add_arguments(parser) -> None:
    """A checkpoint, the data, and how an image is looked at."""
    options.add_checkpoint(parser)
    options.add_data(parser, "val", "the data set")
    views.add_arguments(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.npz",
        help="write the confusion matrix there, for confseg confusion and confseg groups",
    )


def run(arguments) -> Output:
    """Evaluate images at their own size."""
    out = arguments.out and writable.file(arguments.out)
    inference = views.inference(arguments)
    loaded = trained.load(arguments.checkpoint, arguments.rule)
    dataset = data.of_network(arguments, loaded.labels, labelled=True)

    from gluon_confseg.cli import evaluation, matrices, scores

    instances, without = evaluation.instances_of(dataset)
    matrix = evaluation.measure(loaded, dataset, inference, instances)
    if out:
        named = matrices.NamedMatrix(matrix, dataset.classes, dataset.labels, str(out), dataset.description)
        matrices.write(out, loaded.rule, named)
    text = [
        f"Data: {dataset.description}",
        f"Network: {trained.describe(loaded)}; {inference.describe()}.",
        "",
        scores.table(matrix, dataset.classes, instances),
        "",
        *scores.category_table(matrix, dataset.labels.categories, instances),
        scores.means(matrix, dataset.labels.categories, instances),
        scores.rule(matrix, dataset.classes),
        *without,
        *([f"Matrix: {out}; see it with: confseg confusion {out}"] if out else []),
    ]
    record = {
        "data": {
            "name": dataset.labels.name,
            "split": dataset.split,
            "images": len(dataset),
            "drawn": bool(dataset.drawn),
            "description": dataset.description,
        },
        "checkpoint": str(arguments.checkpoint),
        "network": trained.record(loaded),
        "inference": dataclasses.asdict(inference),
        **scores.record(matrix, dataset.classes),
        **scores.benchmark_record(matrix, dataset.labels, instances),
        "out": str(out) if out else None,
    }
    return Output("\n".join(text), record)
