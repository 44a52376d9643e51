"""Encoders by name, at output stride 8, 16 or 32: Sections 3, 4.1.

A family is a module with `NAMES`, `LAST_STAGES` and `build`. An encoder is a HybridBlock that maps images
(N, 3, H, W) to a tuple of features, stage 1 first, with `channels`, `strides` and `output_stride`.
"""

from __future__ import annotations

from mxnet import gluon

from . import efficientnet, resnet, resnet38, resnext

FAMILIES = (resnet, resnext, resnet38, efficientnet)
NAMES = tuple(name for family in FAMILIES for name in family.NAMES)
OUTPUT_STRIDES = (8, 16, 32)


def build(
    name: str, output_stride: int = 8, pretrained: bool = False, last_stage: int = 4
) -> gluon.HybridBlock:
    """Build an encoder of `NAMES`. Strides beyond `output_stride` become dilations: Section 4.1.

    name        GluonCV's `resnet101_v1b` is called `resnet101` here; both names work
    pretrained  ImageNet weights, downloaded on first use
    last_stage  3 leaves out the fourth stage, which takes most of the time at a small stride
    Raises ValueError for an unknown name or stride, WeightsError if the weights can't be found.
    """
    family = _family(canonical(name))
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(f"no output stride {output_stride}: choose one of {OUTPUT_STRIDES}")
    if last_stage not in family.LAST_STAGES:
        raise ValueError(
            f"{name} ends with stage {' or '.join(map(str, family.LAST_STAGES))}, not {last_stage}"
        )
    if last_stage == 3 and output_stride == 32:
        raise ValueError("an encoder that ends with stage 3 has output stride 8 or 16")
    return family.build(canonical(name), output_stride, last_stage, pretrained)


def pretrained_file(name: str):
    """The file with an encoder's ImageNet weights, for `weights.load`; None for encoders whose weights `build` loads.

    Raises ValueError for an unknown name, WeightsError if the package with the file is not installed.
    """
    family = _family(canonical(name))
    return family.pretrained_file() if hasattr(family, "pretrained_file") else None


def canonical(name: str) -> str:
    """The name in `NAMES` for a name in GluonCV's spelling: `resnet101_v1b` gives `resnet101`."""
    return name[: -len("_v1b")] if name.endswith("_v1b") else name


def _family(name: str):
    for family in FAMILIES:
        if name in family.NAMES:
            return family
    raise ValueError(f"no encoder {name!r}: choose one of {', '.join(NAMES)}")
