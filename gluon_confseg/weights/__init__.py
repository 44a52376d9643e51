"""Loading weights into a network; the format is told by the file's content."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter

import mxnet as mx
import numpy as np

from ..errors import WeightsError, plain
from . import fitting, formats, names
from .names import unwrapped
from .stored import BFLOAT16, telling


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What became of a load.

    loaded   the network's parameters that have the file's values now
    left     those that the file holds nothing for: they keep their values
    unused   names in the file that this network has no place for
    prefix   what the names begin with that were loaded, in the file: "teacher.backbone"
    copies   the same of other copies of this network in the file, which `load(prefix=...)` takes
    """

    loaded: list
    left: list
    unused: list
    prefix: str = ""
    copies: tuple = ()

    def __str__(self) -> str:
        arrays = "1 array" if len(self.unused) == 1 else f"{len(self.unused)} arrays"
        source = f" from {plain(self.prefix)}" if self.prefix else ""
        text = (
            f"{len(self.loaded)} of the network's parameters loaded{source}, "
            f"{len(self.left)} left as they were{_heads(self.left)}, "
            f"{arrays} in the file not used{_heads(self.unused, self.prefix)}"
        )
        if self.copies:
            others = " or ".join(f"FILE:{plain(copy)}" for copy in self.copies[:3])
            text += f"; the file holds another copy of these: give {others} to take that"
        return text

    def listing(self) -> str:
        """The names under three headings, for people."""
        headings = (
            ("Loaded", self.loaded),
            ("Left as they were", self.left),
            ("In the file, not used", self.unused),
        )
        return "\n".join(
            line
            for heading, listed in headings
            for line in (f"{heading} ({len(listed)}):", *(f"  {plain(name)}" for name in listed or ["-"]))
        )


def _heads(listed: list, prefix: str = "") -> str:
    """What the most names begin with, and how many do: " (teacher: 100, fc: 2)"; a prefix that they share goes on."""
    counts, before = Counter(), prefix.split(".") if prefix else []
    for name in map(unwrapped, listed):
        parts = name.split(".")
        shared = next((i for i, part in enumerate(before) if parts[i : i + 1] != [part]), len(before))
        counts[".".join(parts[: shared + 1])] += 1
    most = [f"{plain(head)}: {count}" for head, count in counts.most_common(3)]
    return f" ({', '.join(most)}{', ...' if len(counts) > 3 else ''})" if most else ""


def split_prefix(text: str) -> tuple:
    """(file, prefix) of `FILE:PREFIX`, as on the command line; prefix is None where the text is a file's path."""
    file, colon, prefix = str(text).rpartition(":")
    if colon and not os.path.exists(text) and os.path.exists(file):
        return file, prefix
    return text, None


def load(network, file, prefix: str | None = None) -> Loaded:
    """Load a file into a `SubnetNetwork`, a bare encoder or a classifier. All of it fits, or nothing changes.

    Read are, without PyTorch and without running anything in the file: MXNet's `.params` (GluonCV's, and those of
    ResNet-38's authors), `.pth` of torchvision, timm and `efficientnet_lite_pytorch`, in the zip format and the older
    one, `.safetensors`, and our own checkpoints. Containers and prefixes around the names (`state_dict`, `module.`,
    `backbone.`) are found by themselves. Of averaged and plain weights in one file, the averaged ones are taken, and
    of a network and its momentum encoder the network; the report names the others.

    prefix   take the copy whose names begin with these parts, "student" or "model.encoder_k"; "" takes names without

    The encoder, each subnet and a classifier are filled as a whole or not at all, so a checkpoint may have fewer
    subnets than the network, or more. An encoder that was cut takes a whole one's file, less the stages that it lacks.
    A file that would fill a part in part, or has more blocks in a stage, is another network's: an error.
    Numbers are converted to the network's type and have to be finite. What the block had not initialised yet, it is.

    Raises WeightsError, or CheckpointError for a damaged checkpoint of ours.
    """
    parameters = network._collect_params_with_prefix()
    own_names = names.in_one_form(parameters)
    stored = formats.read(file)
    with telling(stored.strangers):
        shapes = {place: parameters[own].shape for place, own in own_names.items()}
        match = names.match(stored, shapes, file, prefix)
        fitting.check(match, shapes, stored, file)
        values = {
            own_names[place]: _value(stored[name], name, parameters[own_names[place]].dtype, file)
            for place, name in match.places.items()
        }
    loaded = sorted(values)
    for name in loaded:
        parameter, value = parameters[name], values.pop(name)
        # a copy between is needed: NumPy can't write into weights that a convolution has rearranged for itself, and an
        # NDArray that borrows NumPy's memory makes MXNet abort when the process ends
        array = mx.nd.array(value, dtype=value.dtype)
        if parameter._data is None and not parameter._deferred_init:
            parameter.shape = value.shape
            parameter.initialize(mx.init.Zero())
        parameter.set_data(array)
        if parameter._deferred_init:
            parameter._finish_deferred_init()
    left = sorted(set(parameters) - set(loaded))
    return Loaded(loaded, left, sorted(match.foreign), match.prefix, match.copies)


def _value(array, name: str, dtype, file) -> np.ndarray:
    """The array in the parameter's type."""
    if array.dtype != BFLOAT16 and array.dtype[1:] not in ("f2", "f4", "f8"):
        raise WeightsError(
            f"{file}: {plain(name)} holds numbers of type {array.dtype}, and weights are floating-point numbers; "
            "save the network before it is quantised"
        )
    with np.errstate(over="ignore"):
        value = array.read().astype(dtype, copy=False)
    if not np.isfinite(value).all():
        raise WeightsError(
            f"{file}: {plain(name)} holds values that are not finite; take a checkpoint from before training diverged"
        )
    return value
