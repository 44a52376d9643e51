"""Which array of a file belongs where in a network: told by the names alone.

A network's names are brought into one form: those of a `SubnetNetwork`, `encoder.` before an encoder's own. A file's
are taken to the same form by each naming in turn, with every prefix left out (`module.`, `model.`, `backbone.`, any
containers around it); the naming and the prefix that place most names are the file's.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from ..errors import WeightsError, plain
from . import released, torch_names

_NO_WEIGHT = "num_batches_tracked"  # PyTorch's counter beside each batch norm's statistics
_DEEPEST = 12
_AVERAGED = ("ema", "teacher")  # in the names of copies whose weights are an average over training
_SAME = {"weight": "gamma", "bias": "beta", "moving_mean": "running_mean", "moving_var": "running_var"}


class Match(NamedTuple):
    """How a file's names lie in a network.

    places    name in the network's form -> name in the file
    foreign   the other names of the file -> how they would be called here, or None
    """

    places: dict
    foreign: dict


def in_one_form(names) -> dict:
    """Name in the common form -> name in the block, for a network, a bare encoder or a classifier."""
    names = list(names)
    if any(name.startswith("encoder.") for name in names):
        return {name: name for name in names}
    return {f"encoder.{name}": name for name in names}


def match(names, known, file) -> Match:
    """Find the naming and the prefix of a file's names.

    known   the network's names in the common form
    Raises WeightsError where two names mean the same parameter.
    """
    names = [name for name in names if name.rpartition(".")[2] != _NO_WEIGHT]
    namings = [naming(names) for naming in _NAMINGS]
    votes = Counter()
    for order, ours in enumerate(namings):
        for name in names:
            votes.update((prefix, order) for prefix in _prefixes(name) if _place(ours, name, prefix, known))
    if not votes:
        return Match({}, dict.fromkeys(names))
    # of copies that fit equally, averaged weights are the better ones; then the naming that comes first
    prefix, order = max(
        votes, key=lambda at: (votes[at], any(word in at[0] for word in _AVERAGED), -len(at[0]), -at[1])
    )
    ours, places, foreign = namings[order], {}, {}
    for name in names:
        place = _place(ours, name, prefix, known)
        if place is None:
            foreign[name] = ours(name[len(prefix) :]) if name.startswith(prefix) else None
        elif place in places:
            raise WeightsError(
                f"{file}: {plain(places[place])} and {plain(name)} are both {place}; keep one of them in the file"
            )
        else:
            places[place] = name
    return Match(places, foreign)


def _place(ours, name: str, prefix: str, known):
    """The parameter that a name means behind a prefix, or None."""
    called = ours(name[len(prefix) :]) if name.startswith(prefix) else None
    if called is None or called in known:
        return called
    start, _, end = called.rpartition(".")
    other = f"{start}.{_SAME.get(end)}"
    return other if other in known else None


def _prefixes(name: str):
    """None, and every beginning of a name that ends with a dot."""
    parts = name.split(".", _DEEPEST)
    return ["".join(f"{part}." for part in parts[:count]) for count in range(len(parts))]


_NAMINGS = (
    lambda names: lambda name: name,  # our own: `encoder.layer1.0.conv1.weight`, `subnets.0.output.bias`
    lambda names: "encoder.{}".format,  # GluonCV's and torchvision's: `layer1.0.conv1.weight`
    torch_names.resnext,
    torch_names.efficientnet_timm,
    torch_names.efficientnet_lite,
    released.naming,
)
