"""The parameter names of the released ResNet-38 files, in terms of our network's structure."""

from __future__ import annotations

import re

_KINDS = ("arg:", "aux:")  # MXNet's Module puts one of them before every name
_NAME = re.compile(r"(?P<layer>\w+?)_(?P<end>weight|bias|gamma|beta|moving_mean|moving_var)")
_LAYER = re.compile(r"(?P<op>res|bn)(?P<level>[2-7])(?:a|b(?P<block>\d+))_branch(?:1|2a|2b(?P<further>\d))")
_FIXED = {"conv1a": "encoder.stem.blocks.0", "bn7": "encoder.level7.norm", "conv6a": "subnet0.body.0"}
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
    layer = parts["layer"] if parts else ""
    within = _LAYER.fullmatch(layer)
    if layer in _FIXED:
        place = _FIXED[layer]
    elif re.fullmatch(r"linear\d+", layer):
        place = "subnet0.output"
    elif not within:
        return None
    else:
        level, block = int(within["level"]), int(within["block"] or 0)
        kind, number = "conv" if within["op"] == "res" else "bn", int(within["further"] or 0) + 1
        place = f"encoder.level{level}.blocks.{block}.{kind}{number}"
        if kind == "bn" and not block and number == 1:  # read by the whole block: it ends the level before
            place = f"encoder.level{level - 1}.norm" if level > 2 else "encoder.stem.norm"
        elif layer.endswith("_branch1"):
            place = f"encoder.level{level}.blocks.{block}.projection"
    return f"{place}.{_ENDS.get(parts['end'], parts['end'])}"
