"""What a set of parameter names looks like to people: "a ResNet-50", "an EfficientNet of 16 blocks"."""

from __future__ import annotations

import re

_RESNET = re.compile(r"(?:^|\.)(layer|features\.)(\d)\.(\d+)\.(?:(body)\.6|conv(\d)|body|bn|downsample)")
_DEEP_STEM = re.compile(r"(?:^|\.)conv1\.6\.weight$")
_GROUPED = re.compile(r"(?:^|\.)layer1\.0\.conv2\.weight$")
_EFFICIENTNET = re.compile(r"(?:^|\.)_?(blocks\.\d+(?:\.\d+)?)\.(?:_?depthwise|_?conv_dw|_depthwise_conv)")
_RELEASED = re.compile(r"(?:^|\.)level7\.|^arg:res7")
_DEPTHS = {
    (2, 2, 2, 2): ("18", "18 of bottlenecks"),
    (3, 4, 6, 3): ("34", "50"),
    (3, 4, 23, 3): ("101 without bottlenecks", "101"),
    (3, 8, 36, 3): ("152 without bottlenecks", "152"),
}


def describe(shapes: dict) -> str:
    """A family and its depth from name -> shape, or "" for names of none that is known here."""
    names = list(shapes)
    if any(map(_RELEASED.search, names)):
        return "a ResNet-38"
    efficient = {parts[1] for parts in map(_EFFICIENTNET.search, names) if parts}
    if efficient:
        return f"an EfficientNet of {len(efficient)} blocks"
    grouped = any(
        _GROUPED.search(name) and len(shape) == 4 and 0 < shape[1] < shape[0]
        for name, shape in shapes.items()
        if shape
    )
    stem = " with a deep stem" if any(map(_DEEP_STEM.search, names)) else ""
    return _resnet([parts for parts in map(_RESNET.search, names) if parts], grouped) + stem


def _resnet(found: list, grouped: bool) -> str:
    blocks = {}
    for parts in found:
        blocks[int(parts[2])] = max(blocks.get(int(parts[2]), 0), int(parts[3]) + 1)
    if not blocks:
        return ""
    counts = tuple(blocks[stage] for stage in sorted(blocks))
    bottleneck = any(parts[4] or parts[5] == "3" for parts in found)
    kind = "ResNeXt" if grouped or found[0][1] != "layer" else "ResNet"
    depth = next(
        (names[bottleneck] for whole, names in _DEPTHS.items() if whole[: len(counts)] == counts), None
    )
    return f"a {kind}-{depth}" if depth else f"a {kind} of {'+'.join(map(str, counts))} blocks"
