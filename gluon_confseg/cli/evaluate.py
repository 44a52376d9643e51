"""`confseg evaluate`: a network's confusion matrix and scores on a data set."""

from __future__ import annotations

from gluon_confseg import engine, runtime
from gluon_confseg.cli import data, matrices, networks, outputs, scores
from gluon_confseg.cli.answer import Answer
from gluon_confseg.datasets import SegmentationDataset, whole_images
from gluon_confseg.errors import DatasetError
from gluon_confseg.metrics import ConfusionMatrix
from gluon_confseg.progress import Progress


def run(arguments) -> Answer:
    """Evaluate whole images at their own size, one scale."""
    out = arguments.out and outputs.file(arguments.out)
    loaded = networks.load(arguments.checkpoint, arguments.rule)
    dataset = open_labelled(arguments, loaded.labels)
    matrix = measure(loaded, dataset)
    if out:
        named = matrices.Named(matrix, dataset.classes, dataset.labels, str(out), dataset.description)
        matrices.write(out, loaded.rule, named)
    return Answer(_text(loaded, dataset, matrix, out), _record(arguments, loaded, dataset, matrix))


def open_labelled(arguments, labels) -> SegmentationDataset:
    """The data set asked for, every file looked at; DatasetError where it has other classes, or no labels."""
    name = arguments.data or labels.name
    if name != labels.name:
        raise DatasetError(
            f"{arguments.checkpoint}: its network was trained for the {labels.num_classes} classes of "
            f"{labels.title}, which --data {name} has not; evaluate it with --data {labels.name}"
        )
    dataset = data.labelled(name, arguments.root, arguments.split)
    if dataset.classes != labels.classes:
        raise DatasetError(
            f"{dataset.root}: its classes ({', '.join(dataset.classes)}) are not those that {arguments.checkpoint} was "
            f"trained for ({', '.join(labels.classes)}), in this order; evaluate it on data with the same classes"
        )
    dataset.check()
    return dataset


def measure(loaded, dataset) -> ConfusionMatrix:
    """The matrix over all images of a data set."""
    total, context = ConfusionMatrix(dataset.labels.num_classes), runtime.default_context()
    with Progress("evaluation", len(dataset), "image") as bar:
        samples = whole_images(dataset, **loaded.network.normalisation)
        evaluated = engine.evaluate(
            loaded.network, samples, [loaded.rule], total.num_classes, total.ignore_label, context
        )
        for _, _, counted in evaluated:
            total.counts += counted[loaded.rule].counts
            bar.update(1)
    return total


def _text(loaded, dataset, matrix: ConfusionMatrix, out) -> str:
    lines = [
        f"Data: {dataset.description}",
        f"Network: {networks.describe(loaded)}; whole images at their own size, one scale.",
        "",
        scores.table(matrix, dataset.classes),
        "",
        scores.means(matrix),
        scores.rule(matrix, dataset.classes),
    ]
    if out:
        lines.append(f"Matrix: {out}; see it with: confseg confusion {out}")
    return "\n".join(lines)


def _record(arguments, loaded, dataset, matrix: ConfusionMatrix) -> dict:
    about = {
        "name": dataset.labels.name,
        "split": dataset.split,
        "images": len(dataset),
        "drawn": bool(dataset.drawn),
        "description": dataset.description,
    }
    return {
        "data": about,
        "checkpoint": str(arguments.checkpoint),
        "network": networks.record(loaded),
        **scores.record(matrix, dataset.classes),
        "out": str(arguments.out) if arguments.out else None,
    }
