"""The parameter names of the released ResNet-38 files, in terms of our network's structure."""

from __future__ import annotations

import re

_KINDS = ("arg:", "aux:")  # MXNet's Module puts one of them before every name
_NAME = re.compile(r"(?P<layer>\w+?)_(?P<end>weight|bias|gamma|beta|moving_mean|moving_var)")
_LAYER = re.compile(r"(?P<op>res|bn)(?P<level>[2-7])(?:a|b(?P<block>\d+))_branch(?:1|2a|2b(?P<further>\d))")
_ENDS = {"moving_mean": "running_mean", "moving_var": "running_var"}


def naming(names):
    """name -> ours, or None, for the names of a released file.

    Files for any number of classes are read (`linear19`, `linear21`).
    Without `conv6a` there is no segmentation head, and a classifier stays unknown.
    """
    has_head = "arg:conv6a_weight" in names

    def ours(name: str):
        called = structural_name(name[4:]) if name.startswith(_KINDS) else None
        return None if called and called.startswith("subnet0.") and not has_head else called

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
