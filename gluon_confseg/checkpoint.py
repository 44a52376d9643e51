"""Checkpoints: one file of plain arrays with a checksum over every byte; no pickles.

The file is an ordinary .npz, whose zip comment holds the SHA-256 of all bytes before it. Reading and writing need no
MXNet; only the functions that take values from a network, or set them, import it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np

from . import files
from .errors import CheckpointError

_META = "meta.json"
_MARK = b"gluon-confseg sha256:"
_MOMENTUM = "momentum:"
_PARAMETER = "parameter:"


def save(path, arrays: dict, meta: dict) -> None:
    """Write arrays (name -> NumPy array) and meta (anything JSON holds) to `path`, atomically."""
    content = io.BytesIO()
    text = np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8)
    np.savez(content, **{_META: text}, **arrays)
    files.write_bytes(path, _sealed(content.getvalue()))


def load(path) -> tuple:
    """Read what `save` wrote -> (arrays, meta). Raises CheckpointError for a missing, damaged or foreign file."""
    content = _verified(Path(path))
    try:
        # numpy.load would search the list of all names for each of them
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            arrays = {}
            for record in archive.namelist():
                with archive.open(record) as stream:
                    arrays[record[: -len(".npy")]] = np.lib.format.read_array(stream, allow_pickle=False)
        return arrays, json.loads(arrays.pop(_META).tobytes().decode())
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path}: holds no plain arrays with a description ({error}), so it is not ours; use another"
        ) from error


def verify(path) -> None:
    """Raise CheckpointError unless the file's bytes are those that `save` wrote."""
    _verified(Path(path))


def is_checkpoint(path) -> bool:
    """Whether the file is marked as a checkpoint of this package; it may still be damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment.startswith(_MARK) or f"{_META}.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def network_arrays(network) -> dict:
    """All parameters and running statistics of a block, by structural name."""
    import mxnet as mx

    # a convolution in inference rearranges its weights in place in the background; asnumpy() might read them half done
    mx.nd.waitall()
    named = network._collect_params_with_prefix()
    arrays = {_PARAMETER + name: parameter.data().asnumpy() for name, parameter in named.items()}
    check_finite(arrays, "the network")
    return arrays


def check_finite(arrays: dict, where) -> None:
    """Raises CheckpointError with the name of the first array that holds NaN or infinity.

    MXNet's ReLU turns NaN into 0, so such a network would otherwise go on without an error.
    """
    for name, values in arrays.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise CheckpointError(
                f"{where}: {name.partition(':')[2] or name} holds values that are not finite: training diverged; "
                "take a checkpoint from before that, or lower the learning rate and start a new run"
            )


def restore_network(network, arrays: dict, path) -> None:
    """Set a block's parameters. Raises CheckpointError, before anything changes, where names or shapes differ."""
    import mxnet as mx

    named = network._collect_params_with_prefix()
    stored = {k[len(_PARAMETER) :]: v for k, v in arrays.items() if k.startswith(_PARAMETER)}
    _check_same_network(named, stored, path)
    check_finite(stored, path)
    for name, parameter in named.items():
        parameter.set_data(mx.nd.array(stored[name], dtype=stored[name].dtype))


def restore_part(network, arrays: dict, path) -> None:
    """Set those parameters that a smaller network's checkpoint holds, such as encoder and subnet 0."""
    import mxnet as mx

    named = network._collect_params_with_prefix()
    stored = [k[len(_PARAMETER) :] for k in arrays if k.startswith(_PARAMETER)]
    part = {name: named[name] for name in stored if name in named}
    _check_same_network(part, {name: arrays[_PARAMETER + name] for name in stored}, path)
    check_finite(arrays, path)
    for name, parameter in part.items():
        parameter.set_data(mx.nd.array(arrays[_PARAMETER + name]))


def trainer_arrays(trainer, names) -> dict:
    """Momentum by parameter name. (Trainer.save_states would pickle the whole optimizer with its schedule.)

    names: structural names of the trainer's parameters, in its order.
    """
    states = trainer._updaters[0].states
    return {_MOMENTUM + names[i]: state.asnumpy() for i, state in states.items() if state is not None}


def restore_trainer(trainer, names, arrays: dict) -> None:
    """Set the momentum that `trainer_arrays` returned; a parameter that had none then starts without it."""
    import mxnet as mx

    updater = trainer._updaters[0]
    for i, (name, parameter) in enumerate(zip(names, trainer._params)):
        stored = arrays.get(_MOMENTUM + name)
        if stored is not None:
            updater.states[i] = mx.nd.array(stored, ctx=parameter.list_ctx()[0], dtype=stored.dtype)
            updater.states_synced[i] = True


def _check_same_network(named: dict, stored: dict, path) -> None:
    missing, foreign = sorted(set(named) - set(stored)), sorted(set(stored) - set(named))
    if missing or foreign:
        raise CheckpointError(
            f"{path}: a checkpoint of another network: it lacks {len(missing)} of this network's parameters"
            f"{_first(missing)} and holds {len(foreign)} that it has not{_first(foreign)}; "
            "build the network with the settings in the checkpoint's config.json"
        )
    for name, parameter in named.items():
        if tuple(parameter.shape) != stored[name].shape:
            raise CheckpointError(
                f"{path}: a checkpoint of another network: {name} has shape {stored[name].shape}, "
                f"this network wants {tuple(parameter.shape)}; build it with the settings in config.json"
            )


def _first(names: list) -> str:
    return f" (first: {names[0]})" if names else ""


def _sealed(content: bytes) -> bytes:
    """Put the checksum into the zip's comment, the last thing in the file."""
    comment = _MARK + b"0" * 64
    # the end record's last two bytes are the comment's length, 0 so far
    body = content[:-2] + len(comment).to_bytes(2, "little") + _MARK
    return body + hashlib.sha256(body).hexdigest().encode()


def _verified(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path}: can't be read ({error.strerror}); is this the checkpoint's path?"
        ) from error
    body, digest = content[:-64], content[-64:]
    if not body.endswith(_MARK):
        kind = "is cut short or damaged" if content[:2] == b"PK" else "is no gluon-confseg checkpoint"
        raise CheckpointError(
            f"{path}: {kind} (its checksum is not where it should be); use another copy of it"
        )
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise CheckpointError(
            f"{path}: is damaged (its bytes do not give its own checksum); use another copy, or delete it "
            "and run again to train that part anew"
        )
    return content
