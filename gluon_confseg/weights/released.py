"""The parameter names of the released ResNet-38 files, in terms of our network's structure."""

from __future__ import annotations

import re

from ..errors import WeightsError

_KINDS = ("arg:", "aux:")
_NAME = re.compile(r"(?P<layer>\w+?)_(?P<end>weight|bias|gamma|beta|moving_mean|moving_var)")
_LAYER = re.compile(r"(?P<op>res|bn)(?P<level>[2-7])(?:a|b(?P<block>\d+))_branch(?:1|2a|2b(?P<further>\d))")
_ENDS = {"moving_mean": "running_mean", "moving_var": "running_var"}


def is_released(stored: dict) -> bool:
    """Whether every name in the file has the `arg:` or `aux:` that MXNet's Module puts before it."""
    return bool(stored) and all(key.startswith(_KINDS) for key in stored)


def renamed(stored: dict, file) -> dict:
    """The same arrays under our structural names; a name that we don't know keeps its own.

    Files for any number of classes are read (`linear19`, `linear21`).
    Without `conv6a` there is no segmentation head, and a classifier stays unknown.
    Raises WeightsError where two names mean the same parameter.
    """
    has_head = "arg:conv6a_weight" in stored
    ours, origin = {}, {}
    for key, array in stored.items():
        name = structural_name(key[4:])
        if name is None or (name.startswith("subnet0.") and not has_head):
            name = key
        if name in ours:
            raise WeightsError(
                f"{file}: {origin[name]} and {key} are both {name}; keep one of them in the file"
            )
        ours[name], origin[name] = array, key
    return ours


def structural_name(name: str):
    """The name in a `SubnetNetwork` of a released parameter, without its `arg:` or `aux:`; None if unknown.

    `res4b2_branch2b1_weight` -> `encoder.level4.blocks.2.conv2.weight`
    """
    parts = _NAME.fullmatch(name)
    layer = _layer(parts["layer"]) if parts else None
    return f"{layer}.{_ENDS.get(parts['end'], parts['end'])}" if layer else None


def _layer(layer: str):
    fixed = {"conv1a": "encoder.stem.blocks.0", "bn7": "encoder.level7.norm", "conv6a": "subnet0.body.0"}
    if layer in fixed:
        return fixed[layer]
    if re.fullmatch(r"linear\d+", layer):
        return "subnet0.output"
    parts = _LAYER.fullmatch(layer)
    return _block_layer(layer, parts) if parts else None


def _block_layer(layer: str, parts) -> str:
    level, block, number = int(parts["level"]), int(parts["block"] or 0), int(parts["further"] or 0) + 1
    if parts["op"] == "bn" and not block and number == 1:  # read by the whole block: it ends the level before
        return f"encoder.level{level - 1}.norm" if level > 2 else "encoder.stem.norm"
    within = f"encoder.level{level}.blocks.{block}"
    if layer.endswith("_branch1"):
        return f"{within}.projection"
    return f"{within}.{'conv' if parts['op'] == 'res' else 'bn'}{number}"
