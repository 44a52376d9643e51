"""Networks as they were saved: a finished checkpoint says how its network is built."""

from __future__ import annotations

import dataclasses

from . import checkpoint, network
from .errors import CheckpointError, DatasetError
from .labels import LabelSpace, restored


@dataclasses.dataclass
class Saved:
    """A network with its trained values; `rule` fuses it as it was trained for; `labels` names its classes."""

    network: network.SubnetNetwork
    rule: str
    labels: LabelSpace


def load(path, context=None) -> Saved:
    """Build and fill the network of a finished checkpoint (RUN/checkpoints/STAGE.npz).

    Raises CheckpointError for a missing, damaged or foreign file, and for one that a stage still writes to.
    """
    arrays, meta = checkpoint.load(path)
    if "network" not in meta or "rule" not in meta:
        raise CheckpointError(
            f"{path}: holds no network (it is the state of an unfinished stage, or an evaluation); "
            "take checkpoints/STAGE.npz of a finished stage"
        )
    try:
        labels = restored(meta.get("labels"))
    except DatasetError as error:
        raise CheckpointError(
            f"{path}: does not say which classes it knows ({str(error).rstrip('.')})"
        ) from error
    built = _build(path, meta["network"], context)
    checkpoint.restore_network(built, arrays, path)
    return Saved(built, meta["rule"], labels)


def _build(path, settings: dict, context) -> network.SubnetNetwork:
    try:
        return network.from_settings(settings, context)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: describes a network that this version can't build ({error}); take the version that wrote it"
        ) from error
