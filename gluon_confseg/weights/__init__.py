"""Loading weights into a network; the format is told by the file's content."""

from __future__ import annotations

import dataclasses

import mxnet as mx

from .. import checkpoint
from ..errors import WeightsError
from . import released


@dataclasses.dataclass(frozen=True)
class Loaded:
    """Names that were loaded, that were left at their values, and that the file held in vain."""

    loaded: list
    left: list
    unused: list

    def __str__(self) -> str:
        counts = len(self.loaded), len(self.left), len(self.unused)
        return "{} loaded, {} left as they were, {} in the file not used".format(*counts)


def load(network, file) -> Loaded:
    """Load a file: our own checkpoint, a released ResNet-38, or GluonCV's `.params` into the encoder.

    Nothing changes unless all that is in both fits.
    Raises WeightsError, or CheckpointError for a damaged checkpoint.
    """
    named = network._collect_params_with_prefix()
    stored = _own(file) if checkpoint.is_checkpoint(file) else _mxnet(file)
    part = {name: array for name, array in stored.items() if name in named}
    if not part:
        raise WeightsError(
            f"{file}: holds nothing of this network (it has {next(iter(stored), 'no arrays')}, ...)"
        )
    for name, array in part.items():
        got, wanted = tuple(array.shape), tuple(named[name].shape)
        if got != wanted:
            raise WeightsError(
                f"{file}: {name} has shape {got}, this network wants {wanted}; "
                "build the network that the file was written for"
            )
    for name, array in part.items():
        named[name].set_data(array)
    return Loaded(sorted(part), sorted(set(named) - set(part)), sorted(set(stored) - set(part)))


def _own(file) -> dict:
    arrays, _ = checkpoint.load(file)
    start = "parameter:"
    return {k[len(start) :]: mx.nd.array(v, dtype=v.dtype) for k, v in arrays.items() if k.startswith(start)}


def _mxnet(file) -> dict:
    try:
        stored = mx.nd.load(str(file))
    except (mx.MXNetError, OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[-1][:100]
        raise WeightsError(
            f"{file}: is neither a checkpoint of ours nor an MXNet .params file ({reason})"
        ) from error
    if not isinstance(stored, dict):
        raise WeightsError(f"{file}: holds arrays without names; export them with save_parameters()")
    if released.is_released(stored):
        return released.renamed(stored, file)
    return {f"encoder.{name}": array for name, array in stored.items()}
