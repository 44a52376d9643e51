"""`confseg evaluate`: a network's confusion matrix and scores on a data set."""

from __future__ import annotations

import numpy as np

from gluon_confseg import engine, runtime
from gluon_confseg.cli import data, matrices, networks, outputs, scores, views
from gluon_confseg.cli.answer import Answer
from gluon_confseg.datasets import whole_images
from gluon_confseg.errors import DatasetError
from gluon_confseg.inference import Inference
from gluon_confseg.instance_iou import InstanceIoU
from gluon_confseg.metrics import ConfusionMatrix
from gluon_confseg.progress import Progress


def run(arguments) -> Answer:
    """Evaluate images at their own size."""
    out = arguments.out and outputs.file(arguments.out)
    inference = views.inference(arguments)
    loaded = networks.load(arguments.checkpoint, arguments.rule)
    dataset = data.of_network(arguments, loaded.labels, data.labelled)
    instances, without = instances_of(dataset)
    matrix = measure(loaded, dataset, inference, instances)
    if out:
        named = matrices.Named(matrix, dataset.classes, dataset.labels, str(out), dataset.description)
        matrices.write(out, loaded.rule, named)
    written = [f"Matrix: {out}; see it with: confseg confusion {out}"] if out else []
    lines = [*_text(loaded, dataset, inference, matrix, instances), *without, *written]
    return Answer("\n".join(lines), _record(arguments, loaded, dataset, inference, matrix, instances))


def instances_of(dataset) -> tuple:
    """(InstanceIoU, []) where each label has a file of instance ids; (None, what to say) where some or none have."""
    there = sum(dataset.instance_path(index) is not None for index in range(len(dataset)))
    if there == len(dataset) > 0:
        return InstanceIoU(), []
    if not there:
        return None, []
    return None, [f"No iIoU: only {there} of {len(dataset)} labels have a file *_instanceIds.png."]


def measure(loaded, dataset, inference: Inference, instances: InstanceIoU | None = None) -> ConfusionMatrix:
    """The matrix over all images of a data set; `instances` counts the same pixels."""
    total, context = ConfusionMatrix(dataset.labels.num_classes), runtime.default_context()
    with Progress("evaluation", len(dataset), "image") as bar:
        samples = whole_images(dataset, **loaded.network.normalisation)
        evaluated = engine.evaluate(
            loaded.network, samples, [loaded.rule], total.num_classes, total.ignore_label, context, inference
        )
        for index, (_, predictions, counted) in enumerate(evaluated):
            total.counts += counted[loaded.rule].counts
            if instances is not None:
                raw = dataset.labels.to_stored(predictions[loaded.rule][0])
                instances.update(read_instances(dataset, index, raw.shape), raw)
            bar.update(1)
    return total


def read_instances(dataset, index: int, size: tuple) -> np.ndarray:
    """(H, W) instance ids of an image of this size; DatasetError where they are of another."""
    found = dataset.read_instances(index)
    if found.shape != size:
        raise DatasetError(
            f"{dataset.instance_path(index)}: is {found.shape[1]} x {found.shape[0]} pixels, its label "
            f"{size[1]} x {size[0]}; use the file that came with the label"
        )
    return found


def _text(loaded, dataset, inference, matrix: ConfusionMatrix, instances) -> list:
    return [
        f"Data: {dataset.description}",
        f"Network: {networks.describe(loaded)}; {inference.describe()}.",
        "",
        scores.table(matrix, dataset.classes, instances),
        "",
        *scores.category_table(matrix, dataset.labels.categories, instances),
        scores.means(matrix, dataset.labels.categories, instances),
        scores.rule(matrix, dataset.classes),
    ]


def _record(arguments, loaded, dataset, inference, matrix: ConfusionMatrix, instances) -> dict:
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
        "inference": views.record(inference),
        **scores.record(matrix, dataset.classes),
        **scores.benchmark_record(matrix, dataset.labels, instances),
        "out": str(arguments.out) if arguments.out else None,
    }
