"""The works of `make bench` whose cost is followed over several sizes, in this project's way alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from .rounds import Side
from .rows import CLASSES, FOLDER, networks_side


@dataclasses.dataclass(frozen=True)
class Growth:
    """A work at several sizes, ours alone: how time and peak memory grow with the size."""

    id: str
    title: str
    axis: str
    sizes: tuple
    side: Callable[[int], Side]
    note: str = ""


def all_growths(quick: bool = False) -> list:
    """Every work whose cost is followed over several sizes; with `quick` at sizes that measure nothing."""
    base, crop = (32, 32) if quick else (128, 96)
    images = (1, 2) if quick else (8, 16, 32, 64)
    scene = (64, 32) if quick else (256, 128)
    scales = (1, 2) if quick else (1, 2, 4)
    lengths = "height and width doubled each time"

    def loss(classes: int, side: int) -> Side:
        return Side("", "ours_loss", {"work": "loss", "shape": (1, classes, side, side), "ignored": 0.08})

    pixels = tuple(scale * scale for scale in scales)
    root = {scale * scale: scale for scale in scales}
    small = {"encoder": "efficientnet_lite0", "kind": "small"}
    fused = (1, 3, 2 * base, 4 * base)
    return [
        Growth(
            "growth-images",
            f"evaluation of a data set, EfficientNet-Lite0 and 3 subnets, {scene[0]} x {scene[1]}",
            "images",
            images,
            lambda n: Side(
                "", "ours_networks", {"work": "evaluation", "folder": FOLDER, "images": n, "size": scene}
            ),
            "from 32 images on a process reads ahead",
        ),
        Growth(
            "growth-loss-classes", "the paper's loss", "classes", (CLASSES, 150), lambda k: loss(k, 2 * base)
        ),
        Growth(
            "growth-matrix-classes",
            "confusion matrix",
            "classes",
            (CLASSES, 150),
            lambda k: Side(
                "",
                "ours_arrays",
                {"work": "matrix", "shape": (1, 8 * base, 8 * base), "num_classes": k, "ignored": 0.08},
            ),
        ),
        Growth(
            "growth-inference-classes",
            "inference, ResNet-18",
            "classes",
            (CLASSES, 150),
            lambda k: networks_side(
                "predict", encoder="resnet18", shape=(1, 3, base, 2 * base), num_classes=k
            ),
        ),
        Growth(
            "growth-groups",
            "discovery of groups",
            "classes",
            (8, 16) if quick else (19, 50, 100),
            lambda k: Side("", "ours_arrays", {"work": "discover", "num_classes": k}),
        ),
        Growth(
            "growth-fused-subnets",
            "fused inference, EfficientNet-Lite0",
            "heads",
            (1, 4, 9),
            lambda n: networks_side(
                "predict",
                subnets=n - 1,
                rule="residual_product" if n > 1 else "subnet0",
                shape=fused,
                **small,
            ),
            "0, 3 and 8 subnets beside subnet 0",
        ),
        Growth(
            "growth-step-subnets",
            "training step of subnets, EfficientNet-Lite0",
            "subnets",
            (3, 8),
            lambda n: networks_side("subnets", count=n, shape=(2, 3, crop, crop), **small),
        ),
        Growth(
            "growth-loss-pixels",
            "the paper's loss",
            "pixels",
            pixels,
            lambda n: loss(CLASSES, root[n] * base),
            f"multiples of {base} x {base}, {lengths}",
        ),
        Growth(
            "growth-inference-pixels",
            "inference, ResNet-18",
            "pixels",
            pixels,
            lambda n: networks_side(
                "predict", encoder="resnet18", shape=(1, 3, root[n] * base, root[n] * 2 * base)
            ),
            f"multiples of {base} x {2 * base}, {lengths}",
        ),
        Growth(
            "growth-step-pixels",
            "training step, ResNet-18",
            "pixels",
            pixels,
            lambda n: networks_side("step", encoder="resnet18", shape=(2, 3, root[n] * crop, root[n] * crop)),
            f"multiples of {crop} x {crop}, {lengths}",
        ),
    ]
