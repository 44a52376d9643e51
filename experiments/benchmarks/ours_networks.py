"""Our sides that run networks: training steps, inference, subnets; the product's own classes, called as it does."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import mxnet as mx
import numpy as np
from mxnet import autograd

from gluon_confseg import complexity, engine, groups, losses, network, runtime, scenes
from gluon_confseg.datasets import Cityscapes
from gluon_confseg.recipe import SMALL_EFFICIENTNET
from gluon_confseg.subnets import HeadSettings

from . import draws
from .side import Work, serve

RATE = 0.01
# beside the encoder's name, what `network.build` is given
PAPER = {}
SMALL = {
    "last_stage": SMALL_EFFICIENTNET["last_stage"],
    "head": SMALL_EFFICIENTNET["head"],
    # without the recipes' branch for detail, which came after docs/performance.md was measured
    "subnet_heads": HeadSettings(channels=64, depth=2, dilation=1, stages=(1, 2, 3)),
    "subnets": SMALL_EFFICIENTNET["subnets"],
}
KINDS = {"paper": PAPER, "small": SMALL}


def build(encoder: str, kind: str = "paper", num_classes: int = 19, subnets: int = 0):
    """A network with its initial values, hybridized as in training; `subnets` groups of the paper, repeated if more."""
    runtime.seed(0)
    built = network.build(encoder, num_classes, _groups(subnets), **_settings(kind, subnets))
    engine.hybridize_parts(built)
    return built


def _settings(kind: str, subnets: int) -> dict:
    settings = dict(KINDS[kind])
    if not subnets:
        settings.pop("subnet_heads", None)
    return settings


def _groups(count: int) -> list:
    known = groups.PAPER["cityscapes"]
    return [known[number % len(known)] for number in range(count)]


def _criterion(num_classes: int):
    return losses.ConfusionCELoss(losses.confusion_weights(draws.shares(num_classes)))


def step(encoder: str, shape, kind: str = "paper", num_classes: int = 19) -> Work:
    """A training step of encoder and subnet 0, as `train.run` does one for each batch, its loss read."""
    built = build(encoder, kind, num_classes)
    one = engine.Subnet0Step(built, [_criterion(num_classes)])
    trainer = engine.sgd(one.parameters())
    trainer.set_learning_rate(RATE)
    return Work(_trained(one, trainer, shape, num_classes), **_work_of(built, shape))


def subnets(encoder: str, shape, kind: str, count: int = 3, together: bool = True) -> Work:
    """Training steps of `count` subnets on a frozen encoder: in one step, or each in a step of its own."""
    numbers = [_groups(count)] if together else [[group] for group in _groups(count)]
    runs = []
    for chosen in numbers:
        runtime.seed(0)
        built = network.build(encoder, 19, chosen, **_settings(kind, len(chosen)))
        engine.hybridize_parts(built)
        one = engine.SubnetStep(built, [_criterion(groups.SubnetSpace(g, 19).channels) for g in chosen])
        trainer = engine.sgd(one.parameters())
        trainer.set_learning_rate(RATE)
        runs.append(_trained(one, trainer, shape, 19))

    def run() -> None:
        for each in runs:
            each()

    return Work(run)


def _trained(one, trainer, shape, num_classes: int):
    images = draws.images(shape)
    labels = draws.labels((shape[0], *shape[2:]), num_classes, 0.08)

    def run() -> None:
        terms = one(engine.on_device(images, mx.cpu()), labels)
        for term in terms.values():
            term.asnumpy()
        trainer.step(len(images))
        mx.nd.waitall()

    return run


def encoder(encoder: str, shape, kind: str) -> Work:
    """The encoder's forward pass in inference mode, as a hybridized block and not as a fused graph."""
    built, images = build(encoder, kind), mx.nd.array(draws.images(shape))

    def run() -> None:
        with autograd.pause(train_mode=False):
            for features in built.encoder(images):
                features.wait_to_read()

    return Work(run)


def predict(
    encoder: str, shape, kind: str = "paper", num_classes: int = 19, subnets: int = 0, rule: str = "subnet0"
) -> Work:
    """Images to classes, as `confseg evaluate` does; the labels are all ignored, so that nothing is counted."""
    built = build(encoder, kind, num_classes, subnets)
    images = draws.images(shape)
    batch = SimpleNamespace(
        images=images,
        labels=np.full((shape[0], *shape[2:]), draws.IGNORED, np.uint8),
        names=("drawn",) * shape[0],
    )
    evaluated = engine.evaluate(built, itertools.repeat(batch), [rule], num_classes)

    def run() -> np.ndarray:
        _, found, _ = next(evaluated)
        return found[rule]

    return Work(run, **({} if subnets else _work_of(built, shape)))


def evaluation(folder: str, images: int, size) -> Work:
    """Evaluation of a data set of so many drawn scenes by a network that is there already."""
    root = scenes.draw(Path(folder) / f"scenes-{images}", train=1, val=images, size=tuple(size))
    dataset = Cityscapes(root, "val")
    built = build("efficientnet_lite0", "small", subnets=3)

    def run() -> None:
        for _ in engine.evaluate_images(built, dataset, range(images), ["residual_product"]):
            pass

    return Work(run)


def _work_of(built, shape) -> dict:
    return {
        "multiply_adds": complexity.multiply_adds(built, tuple(shape)),
        "parameters": complexity.parameters(built, tuple(shape)),
    }


WORKS = {"step": step, "subnets": subnets, "encoder": encoder, "predict": predict, "evaluation": evaluation}

if __name__ == "__main__":
    serve(WORKS, lambda: {"mxnet": mx.__version__, "numpy": np.__version__})
