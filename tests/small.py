"""Networks, images and labels small enough for tests."""

from __future__ import annotations

import mxnet as mx
import numpy as np

from gluon_confseg import engine, network, runtime
from gluon_confseg.build import Data
from gluon_confseg.labels import LabelSpace
from gluon_confseg.recipe import declare
from gluon_confseg.run_folder import Position
from gluon_confseg.subnets import HeadSettings

CLASSES = 5
GROUPS = ((0, 1), (4, 2))  # class 3 is in none; the second is not in ascending order
HEAD = HeadSettings(channels=8, depth=2, dilation=2, stages=(3,))
SUBNET_HEAD = HeadSettings(channels=8, depth=2, dilation=1, stages=(2, 3))


def build(subnets: str = "residual", groups=GROUPS, stride: int = 16, seed: int = 0, **settings):
    """A narrow network on a ResNet-18 without its fourth stage; initial values depend on the seed."""
    runtime.seed(seed)
    settings = {"head": HEAD, "subnet_heads": SUBNET_HEAD, "last_stage": 3, **settings}
    return network.build(
        "resnet18", CLASSES, groups=groups, output_stride=stride, subnets=subnets, **settings
    )


def shaken(subnets: str = "residual", groups=GROUPS, stride: int = 16, seed: int = 0, **settings):
    """The same with no parameter and no running statistic left at a special value."""
    built = build(subnets, groups, stride, seed, **settings)
    draws = np.random.RandomState(seed)
    for name, parameter in sorted(built._collect_params_with_prefix().items()):
        noise = draws.uniform(-1, 1, parameter.shape).astype(np.float32)
        if name.endswith("standardise.gamma"):
            continue  # fixed: MXNet sets it back to 1
        if name.endswith(("running_var", "gamma")):
            values = 1 + 0.3 * noise
        elif parameter.data().asnumpy().any():
            values = parameter.data().asnumpy() * (1 + 0.1 * noise)
        else:
            values = 0.2 * noise
        parameter.set_data(mx.nd.array(values))
    return built


def values(block) -> dict:
    """Structural name -> a copy of the values, running statistics included."""
    mx.nd.waitall()  # see checkpoint.network_arrays
    return {name: p.data().asnumpy().copy() for name, p in block._collect_params_with_prefix().items()}


def images(seed: int = 0, count: int = 2, height: int = 32, width: int = 64):
    """(N, 3, H, W) normal noise."""
    return mx.nd.array(np.random.RandomState(seed).normal(size=(count, 3, height, width)))


def labels(
    seed: int = 0, count: int = 2, height: int = 32, width: int = 64, classes: int = CLASSES
) -> np.ndarray:
    """(N, H, W) uint8 classes, a tenth of them ignored."""
    draws = np.random.RandomState(seed)
    drawn = draws.randint(0, classes, (count, height, width)).astype(np.uint8)
    drawn[draws.rand(*drawn.shape) < 0.1] = 255
    return drawn


class Images:
    """A data set in memory: patches in the colours of their classes, with noise."""

    drawn, description = False, "images in memory."

    def __init__(self, split: str = "train", count: int = 6, classes: int = CLASSES, noise: int = 20):
        colors = np.random.RandomState(1).randint(30, 226, (classes, 3)).astype(np.uint8)
        self.labels = LabelSpace("memory", "Memory", tuple("abcdefgh"[:classes]), colors)
        self.classes, self.split, self.noise = self.labels.classes, split, noise
        self.names = [f"{split}{number}" for number in range(count)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple:
        draws = np.random.RandomState(index + 100 * (self.split != "train"))
        patches = draws.randint(0, len(self.classes), (2, 3)).astype(np.uint8)
        label = patches.repeat(16, 0).repeat(16, 1)
        noise = draws.randint(-self.noise, self.noise + 1, (*label.shape, 3))
        return np.clip(self.labels.colors[label] + noise, 0, 255).astype(np.uint8), label


def data(**settings) -> Data:
    """Six training images and two others."""
    return Data(Images(**settings), Images("val", 2, **settings))


def recipe(phases, cells=(), data: str = "memory", **settings):
    """A recipe for `data` of a narrow network, three batches an epoch."""
    settings = {
        "encoder": "resnet18",
        "output_stride": 16,
        "last_stage": 3,
        "pretrained": False,
        "head": HEAD,
        "groups": "a,b;e,c",
        "subnets": "residual",
        "subnet_head": SUBNET_HEAD,
        "rule": "residual_product",
        "crop": (32, 32),
        "scale": (1.0, 1.0),
        "batch_size": 2,
        "learning_rate": 0.05,
        "validate_every": 0,
        "matrix_phase": phases[0]["name"],
        **settings,
    }
    return declare(name="tiny", title="Tiny", data=data, phases=phases, cells=cells, **settings)


def same_bits(first: dict, second: dict) -> bool:
    """Whether two dicts of arrays hold the same names, shapes, types and bytes."""
    return first.keys() == second.keys() and all(
        a.dtype == second[k].dtype and a.shape == second[k].shape and a.tobytes() == second[k].tobytes()
        for k, a in first.items()
    )


def train(step, batches, rate: float = 0.05, trainer=None, at=None) -> list:
    """SGD steps in the order of `train.run`: what is not finite is refused before it updates. Returns mean losses."""
    trainer, at, means = trainer or engine.sgd(step.parameters()), at or Position(), []
    trainer.set_learning_rate(rate)
    for batch in batches:
        means.append(at.add(step(mx.nd.array(batch.images), batch.labels), batch.names))
        trainer.step(len(batch.names))
    return means
