"""A network over a whole data set: its confusion matrix, or its predictions one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from gluon_confseg import engine, runtime
from gluon_confseg.datasets import whole_images
from gluon_confseg.errors import DatasetError
from gluon_confseg.inference import Inference
from gluon_confseg.instance_iou import InstanceIoU
from gluon_confseg.metrics import ConfusionMatrix
from gluon_confseg.progress import Progress


def measure(loaded, dataset, inference: Inference, instances: InstanceIoU | None = None) -> ConfusionMatrix:
    """The matrix over all images of a data set; `instances` counts the same pixels."""
    total, context = ConfusionMatrix(dataset.labels.num_classes), runtime.default_context()
    with Progress("evaluation", len(dataset), "image") as bar:
        workers = engine.readers(len(dataset), context)
        samples = whole_images(dataset, workers=workers, **loaded.network.normalisation)
        evaluated = engine.evaluate(
            loaded.network, samples, [loaded.rule], total.num_classes, total.ignore_label, context, inference
        )
        for index, (_, predictions, counted) in enumerate(evaluated):
            total.counts += counted[loaded.rule].counts
            if instances is not None:
                raw = dataset.labels.to_stored(predictions[loaded.rule][0])
                found = dataset.read_instances(index)
                if found.shape != raw.shape:
                    raise DatasetError(
                        f"{dataset.instance_path(index)}: is {found.shape[1]} x {found.shape[0]} pixels, its label "
                        f"{raw.shape[1]} x {raw.shape[0]}; use the file that came with the label"
                    )
                instances.update(found, raw)
            bar.update(1)
    return total


def predict(loaded, dataset, inference: Inference, missing: list) -> Iterator[tuple]:
    """(name, (H, W) train ids) of the images of these indices, one after the other."""
    kept, context = len(dataset) - len(missing), runtime.default_context()
    with Progress("prediction", len(dataset), "image", initial=kept) as bar:
        workers = engine.readers(len(missing), context)
        samples = whole_images(dataset, workers=workers, indices=missing, **loaded.network.normalisation)
        evaluated = engine.evaluate(
            loaded.network, samples, [loaded.rule], len(dataset.classes), 255, context, inference
        )
        for (name,), found, _ in evaluated:
            yield name, found[loaded.rule][0]
            bar.update(1)


def instances_of(dataset) -> tuple:
    """(InstanceIoU, []) where each label has a file of instance ids; (None, what to say) where some or none have."""
    there = sum(dataset.instance_path(index) is not None for index in range(len(dataset)))
    if there in (0, len(dataset)):
        return InstanceIoU() if there else None, []
    return None, [f"No iIoU: only {there} of {len(dataset)} labels have a file *_instanceIds.png."]
