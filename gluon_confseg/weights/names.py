"""Which array of a file belongs where in a network: told by the names, and by the shapes where names leave a choice.

A network's names are brought into one form: those of a `SubnetNetwork`, `encoder.` before an encoder's own. A file's
are taken to the same form by each naming in turn, with every prefix left out (`module.`, `model.`, `backbone.`, any
containers around it); the naming and the prefix by which most arrays fit are the file's. Where several copies of a
network fit, an averaged one is taken, and a copy that only served training (a momentum encoder) last.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from ..errors import WeightsError, plain
from . import released, torch_names
from .stored import same_shape

_NO_WEIGHT = "num_batches_tracked"  # PyTorch's counter beside each batch norm's statistics
_DEEPEST = 12
_MOST_COPIES = 5  # that are named
# words in the names of copies of a network: an average over training, and what only served training
_AVERAGED = {"ema", "teacher", "swa", "avg", "average", "averaged", "shadow"}
_HELPERS = {"momentum", "target", "k"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
# what wrappers and whole pickled modules put between the parts of a name
_WRAPPERS = re.compile(
    r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_modules|_parameters|_buffers)\."
)
_SAME = {"weight": "gamma", "bias": "beta", "moving_mean": "running_mean", "moving_var": "running_var"}


class Match(NamedTuple):
    """How a file's names lie in a network.

    places    name in the network's form -> name in the file
    foreign   the other names of the file -> how they would be called here, or None
    prefix    the parts that the names begin with that were taken: "teacher.backbone"
    copies    the same of other copies of the network in the file
    """

    places: dict
    foreign: dict
    prefix: str = ""
    copies: tuple = ()


def in_one_form(names) -> dict:
    """Name in the common form -> name in the block, for a network, a bare encoder or a classifier."""
    names = list(names)
    if any(name.startswith("encoder.") for name in names):
        return {name: name for name in names}
    return {f"encoder.{name}": name for name in names}


def match(stored: dict, shapes: dict, file, prefix: str | None = None) -> Match:
    """Find the naming and the prefix of a file's names.

    stored   name in the file -> array with a shape
    shapes   name in the network's common form -> shape
    prefix   only names that begin with these parts are looked at: which copy of a network is meant; "" for those
             without any
    Raises WeightsError where two names mean the same parameter, and where nothing fits under the prefix.
    """
    names = {name: unwrapped(name) for name in stored if name.rpartition(".")[2] != _NO_WEIGHT}
    namings = [naming(names.values()) for naming in _NAMINGS]
    fits, votes = Counter(), Counter()
    for order, ours in enumerate(namings):
        for name, called in names.items():
            for start in _prefixes(called):
                place = _place(ours, called, start, shapes)
                if place:
                    votes[start, order] += 1
                    fits[start, order] += same_shape(tuple(stored[name].shape), shapes[place])
    wanted = unwrapped(f"{prefix.strip('.')}.") if prefix else ""
    chosen = [at for at in votes if at[0].startswith(wanted) and (prefix is None or wanted or not at[0])]
    if prefix is not None and not chosen:
        most = max(fits.values(), default=0)
        there = dict.fromkeys(plain(at[0].rstrip(".")) for at in fits if 2 * fits[at] >= most > 0 and at[0])
        raise WeightsError(
            f"{file}: holds nothing of this network under {plain(prefix)!r}; names that fit begin with "
            f"{', '.join(list(there)[:5]) or 'no prefix'}"
        )
    if not chosen:
        return Match({}, dict.fromkeys(names))
    every = set(names.values())
    rank = {start: _rank(start, every, stored) for start, _ in chosen}
    ranked = sorted(chosen, key=lambda at: (-fits[at], -votes[at], -rank[at[0]], len(at[0]), at[1]))
    (start, order), places, foreign = ranked[0], {}, {}
    for name, called in names.items():
        place = _place(namings[order], called, start, shapes)
        if place is None:
            foreign[name] = namings[order](called[len(start) :]) if called.startswith(start) else None
        elif place in places:
            raise WeightsError(
                f"{file}: {plain(places[place])} and {plain(name)} are both {place}; keep one of them in the file"
            )
        else:
            places[place] = name
    taken, copies = {names[name] for name in places.values()}, []
    for other in sorted(fits, key=lambda at: (-fits[at], len(at[0]), at[1])):
        if 2 * fits[other] < fits[ranked[0]] or not fits[other] or len(copies) == _MOST_COPIES:
            break
        theirs = {called for called in every if _place(namings[other[1]], called, other[0], shapes)}
        if not theirs & taken:
            taken |= theirs
            copies.append(_shared(theirs))
    return Match(places, foreign, _shared([names[name] for name in places.values()]), tuple(copies))


def unwrapped(name: str) -> str:
    """A name without the parts that wrappers put into it: `_orig_mod.layer1.0.conv1.weight` by torch.compile, say."""
    return _WRAPPERS.sub("", name)


def _shared(names) -> str:
    """The parts that all names begin with: "teacher.backbone"; "" where there are none."""
    first, *others = (name.split(".")[:-1] for name in names)
    for other in others:
        first = first[
            : next((i for i, pair in enumerate(zip(first, other)) if pair[0] != pair[1]), len(other))
        ]
    return ".".join(first)


def _rank(prefix: str, names, stored) -> int:
    """Which of two copies that fit equally is the better one: 1 an average, -1 one that only served training."""
    words = {word.lower() for word in _WORD.findall(prefix)}
    if "ema_state_dict" in prefix and any(name.startswith("mmengine.") for name in stored.strangers):
        return -1  # there the average is in `state_dict`, and what was averaged stands here
    averaged = f"{prefix.removesuffix('module.')}n_averaged" in names  # torch.optim.swa_utils
    return 1 if averaged or words & _AVERAGED else -1 if words & _HELPERS else 0


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
