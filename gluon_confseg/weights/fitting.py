"""Whether a file's arrays are this network's: whole parts, the right shapes, nothing left over inside a part.

Names alone would let a ResNet-101 fill a ResNet-50, block by block, and leave most of it out.
"""

from __future__ import annotations

import re

from ..errors import WeightsError, plain
from .names import Match
from .stored import same_shape

_PART = re.compile(r"subnets\.\d+|[^.]+")  # filled as a whole or not at all
_STAGE = re.compile(r"encoder\.(?:(?:features|blocks)\.\d+|[^.]+)|subnets\.\d+|[^.]+")

# what names look like to people
_OF_A_GRAPH = re.compile(r"(arg:|aux:)[^.]+|[^.]+_(weight|bias|gamma|beta|(running|moving)_(mean|var))")
_OTHERS_NAMES = {
    r"(^|\.)res2\.0\.conv1\.(norm\.)?weight$": "Detectron2's",
    r"(^|\.)encoder\.stages\.0\.layers\.0\.": "Hugging Face's",
    r"(^|/)kernel(:0)?$": "TensorFlow's or Flax's",
}
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


def check(match: Match, shapes: dict, stored: dict, file) -> None:
    """Raise WeightsError unless what the file holds of each part of the network is that part.

    shapes   name in the network's form -> shape; 0 in it, or None, where the network has not decided yet
    stored   name in the file -> array with a shape
    """
    if not match.places:
        held = plain(next(iter(stored), "no arrays"))
        if all(map(_OF_A_GRAPH.fullmatch, stored)) and stored:
            raise WeightsError(
                f"{file}: holds the parameters of an exported graph or of collect_params().save(), which have other "
                f"names (it has {held}, ...); give the checkpoint that was exported, or a file by save_parameters()"
            )
        raise WeightsError(
            f"{file}: holds nothing of this network (it has {held}, ...){_looks(shapes, stored)}"
        )
    complaint = next(_complaints(match, shapes, stored), None)
    if complaint:
        raise WeightsError(f"{file}: {complaint}{_looks(shapes, stored)}")


def _complaints(match: Match, shapes: dict, stored: dict):
    """What is wrong: arrays of other shapes, then parts in part, then what is left over inside of a part."""
    for place, name in match.places.items():
        got, wanted = tuple(stored[name].shape), shapes[place]
        if not same_shape(got, wanted):
            called = "" if name == place else f" ({plain(name)} in the file)"
            yield (
                f"{place} has shape {got}, this network wants {wanted}{called}; "
                "build the network that the file was written for"
            )
    begun = {_PART.match(place)[0] for place in match.places}
    for part in sorted(begun):
        wanted = [place for place in shapes if _PART.match(place)[0] == part]
        missing = [place for place in wanted if place not in match.places]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            yield (
                f"holds {len(wanted) - len(missing)} of the {len(wanted)} parameters of this network's {part}, "
                f"and lacks {', '.join(missing[:3])}{more}; give a file that holds all of it"
            )
    filled = {_stage(place) for place in match.places}
    for name, called in match.foreign.items():
        if called is not None and _stage(called) in filled:
            yield (
                f"holds {plain(name)}, for which this network's {_stage(called)} has no place; "
                "build the network that the file was written for"
            )


def _stage(place: str):
    parts = _STAGE.match(place)
    return parts and parts[0]


def _looks(shapes: dict, stored: dict) -> str:
    for pattern, whose in _OTHERS_NAMES.items():
        if any(re.search(pattern, name) for name in stored):
            return f" (these are {whose} names; give the same network's file with torchvision's)"
    theirs = _family({name: tuple(stored[name].shape) for name in stored})
    ours = _family({place: shape for place, shape in shapes.items() if place.startswith("encoder.")})
    if not theirs or not ours or theirs == ours:
        return ""
    return f" (the file looks like {theirs}, this network's encoder is {ours})"


def _family(shapes: dict) -> str:
    """ "a ResNet-50", "an EfficientNet of 16 blocks", from name -> shape; "" for names of none that is known here."""
    names = list(shapes)
    if any(map(_RELEASED.search, names)):
        return "a ResNet-38"
    efficient = {parts[1] for parts in map(_EFFICIENTNET.search, names) if parts}
    if efficient:
        return f"an EfficientNet of {len(efficient)} blocks"
    stem = " with a deep stem" if any(map(_DEEP_STEM.search, names)) else ""
    found, blocks = [parts for parts in map(_RESNET.search, names) if parts], {}
    if not found:
        return stem
    for parts in found:
        blocks[int(parts[2])] = max(blocks.get(int(parts[2]), 0), int(parts[3]) + 1)
    counts = tuple(blocks[stage] for stage in sorted(blocks))
    grouped = any(
        _GROUPED.search(name) and len(shape) == 4 and 0 < shape[1] < shape[0]
        for name, shape in shapes.items()
        if shape
    )
    kind = "ResNeXt" if grouped or found[0][1] != "layer" else "ResNet"
    bottleneck = any(parts[4] or parts[5] == "3" for parts in found)
    for whole, depths in _DEPTHS.items():
        if whole[: len(counts)] == counts:
            return f"a {kind}-{depths[bottleneck]}{stem}"
    return f"a {kind} of {'+'.join(map(str, counts))} blocks{stem}"
