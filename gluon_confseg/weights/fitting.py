"""Whether a file's arrays are this network's: whole parts, the right shapes, nothing left over inside a part.

Names alone would let a ResNet-101 fill a ResNet-50, block by block, and leave most of it out.
"""

from __future__ import annotations

import re

from ..errors import WeightsError
from . import families
from .names import Match
from .stored import plain

_PART = re.compile(r"subnets\.\d+|[^.]+")  # filled as a whole or not at all
_STAGE = re.compile(r"encoder\.(?:(?:features|blocks)\.\d+|[^.]+)|subnets\.\d+|[^.]+")


def check(match: Match, shapes: dict, stored: dict, file) -> None:
    """Raise WeightsError unless what the file holds of each part of the network is that part.

    shapes   name in the network's form -> shape; 0 in it, or None, where the network has not decided yet
    stored   name in the file -> array with a shape
    """
    if not match.places:
        held = plain(next(iter(stored), "no arrays"))
        if held.startswith(("arg:", "aux:")):
            raise WeightsError(
                f"{file}: holds the parameters of an exported graph, which have other names (it has {held}, ...); "
                "give the checkpoint that was exported"
            )
        raise WeightsError(
            f"{file}: holds nothing of this network (it has {held}, ...){_looks(shapes, stored)}"
        )
    for check_one in (_check_shapes, _check_whole, _check_nothing_over):
        complaint = check_one(match, shapes, stored)
        if complaint:
            raise WeightsError(f"{file}: {complaint}{_looks(shapes, stored)}")


def _check_shapes(match: Match, shapes: dict, stored: dict) -> str:
    for place, name in match.places.items():
        got, wanted = tuple(stored[name].shape), shapes[place]
        if not _agree(got, wanted):
            called = "" if name == place else f" ({plain(name)} in the file)"
            return (
                f"{place} has shape {got}, this network wants {wanted}{called}; "
                "build the network that the file was written for"
            )
    return ""


def _check_whole(match: Match, shapes: dict, stored: dict) -> str:
    begun = {_PART.match(place)[0] for place in match.places}
    for part in sorted(begun):
        wanted = [place for place in shapes if _PART.match(place)[0] == part]
        missing = [place for place in wanted if place not in match.places]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            return (
                f"holds {len(wanted) - len(missing)} of the {len(wanted)} parameters of this network's {part}, "
                f"and lacks {', '.join(missing[:3])}{more}; give a file that holds all of it"
            )
    return ""


def _check_nothing_over(match: Match, shapes: dict, stored: dict) -> str:
    filled = {_stage(place) for place in match.places}
    for name, called in match.foreign.items():
        if called is not None and _stage(called) in filled:
            return (
                f"holds {plain(name)}, for which this network's {_stage(called)} has no place; "
                "build the network that the file was written for"
            )
    return ""


def _stage(place: str):
    parts = _STAGE.match(place)
    return parts and parts[0]


def _agree(got: tuple, wanted) -> bool:
    if wanted is None:
        return True
    return len(got) == len(wanted) and all(size in (0, -1, length) for length, size in zip(got, wanted))


def _looks(shapes: dict, stored: dict) -> str:
    theirs = families.describe({name: tuple(stored[name].shape) for name in stored})
    ours = families.describe(
        {place: shape for place, shape in shapes.items() if place.startswith("encoder.")}
    )
    if not theirs or not ours or theirs == ours:
        return ""
    return f" (the file looks like {theirs}, this network's encoder is {ours})"
