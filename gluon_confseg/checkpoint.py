"""Checkpoints: one file of plain arrays with a checksum over every byte; no pickles.

The file is an ordinary .npz, whose zip comment holds the SHA-256 of all bytes before it. Reading and writing need no
MXNet; only the functions that take values from a network, or set them, import it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import zipfile

import numpy as np

from . import files, npz
from .errors import CheckpointError, DivergedError, plain

_META = "meta.json"
_MARK = b"gluon-confseg sha256:"
_MOMENTUM = "momentum:"
PARAMETER = "parameter:"
_PIECE = 1 << 20  # bytes that are read at once for the checksum
_LARGEST_META = 1 << 22  # of a description; those of the largest networks have some thousand bytes


def save(path, arrays: dict, meta: dict) -> None:
    """Write arrays (name -> NumPy array) and meta (anything JSON holds) to `path`, atomically."""
    content = io.BytesIO()
    text = np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8)
    np.savez(content, **{_META: text}, **arrays)
    files.write_bytes(path, _sealed(content.getvalue()))


def load(path, verified: bool = False) -> tuple:
    """Read what `save` wrote -> (arrays, meta). Raises CheckpointError for a missing, damaged or foreign file.

    verified    the file's checksum was compared just now, by `peek`, and is not again
    """
    with opened(path, verified) as (archive, meta):
        return {name: archive.read(name) for name in archive.entries if name != _META}, meta


def peek(path) -> tuple:
    """(shapes, meta) of what `load` would read, arrays by name: what they take is known before they are read."""
    with opened(path) as (archive, meta):
        return {name: entry.shape for name, entry in archive.entries.items() if name != _META}, meta


@contextlib.contextmanager
def opened(path, verified: bool = False):
    """(npz.Archive, meta) of a whole checkpoint, no array of which is read yet. Raises CheckpointError."""
    if not verified:
        verify(path)
    try:
        with npz.opened(path) as archive:
            if not archive.stored:
                raise ValueError("its arrays are compressed")
            described = archive.entries.get(_META)
            if described is None or described.record.file_size > _LARGEST_META:
                raise ValueError("its description is missing, or too long to be one")
            meta = json.loads(archive.read(_META).tobytes().decode())
            if not isinstance(meta, dict):
                raise ValueError("its description is none")
            yield archive, meta
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: holds no plain arrays with a description ({plain(error)}), so it is not ours; use another"
        ) from error


def verify(path) -> None:
    """Raise CheckpointError unless the file's bytes are those that `save` wrote."""
    try:
        with open(path, "rb") as stream:
            start, size = stream.read(2), os.fstat(stream.fileno()).st_size
            stream.seek(max(0, size - len(_MARK) - 64))
            mark, digest = stream.read(len(_MARK)), stream.read(64)
            if mark != _MARK:
                kind = "is cut short or damaged" if start == b"PK" else "is no gluon-confseg checkpoint"
                raise CheckpointError(
                    f"{path}: {kind} (its checksum is not where it should be); use another copy of it, or delete it "
                    "and train that phase again"
                )
            found = hashlib.sha256()
            if zipfile.is_zipfile(stream):  # else there is no need to read gigabytes
                stream.seek(0)
                for place in range(0, size - 64, _PIECE):
                    found.update(stream.read(min(_PIECE, size - 64 - place)))
    except OSError as error:
        raise CheckpointError(
            f"{path}: can't be read ({error.strerror}); is this the checkpoint's path?"
        ) from error
    if found.hexdigest().encode() != digest:
        raise CheckpointError(
            f"{path}: is damaged (its bytes do not give its own checksum); use another copy, or delete it "
            "and run again to train that part anew"
        )


def is_checkpoint(path) -> bool:
    """Whether the file is marked as a checkpoint of this package; it may still be damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment.startswith(_MARK) or f"{_META}.npy" in archive.namelist()
    except (OSError, *npz.DAMAGE):
        return False


def network_arrays(network) -> dict:
    """All parameters and running statistics of a block, by structural name."""
    import mxnet as mx

    # a convolution in inference rearranges its weights in place in the background; asnumpy() might read them half done
    mx.nd.waitall()
    named = network._collect_params_with_prefix()
    arrays = {PARAMETER + name: parameter.data().asnumpy() for name, parameter in named.items()}
    check_finite(arrays, "the network")
    return arrays


def check_finite(arrays: dict, where) -> None:
    """Raises CheckpointError with the name of the first array that holds NaN or infinity, or no floating-point numbers.

    MXNet's ReLU turns NaN into 0, so such a network would otherwise go on without an error.
    """
    for name, values in arrays.items():
        if values.dtype.kind != "f":
            raise CheckpointError(
                f"{where}: {name.partition(':')[2] or name} holds {values.dtype}, where floating-point numbers are "
                "wanted; use another copy of it"
            )
        if not np.isfinite(values).all():
            raise DivergedError(
                f"{where}: {name.partition(':')[2] or name} holds values that are not finite: training diverged; "
                "take a checkpoint from before that, or lower the learning rate and start a new run"
            )


def restore_network(network, arrays: dict, path, devices=None) -> None:
    """Set a block's parameters. Raises CheckpointError, before anything changes, where names or shapes differ.

    devices    where the parameters shall be, for a block that has no values yet
    """
    import mxnet as mx

    named = network._collect_params_with_prefix()
    check_same_network(network, {name: array.shape for name, array in arrays.items()}, path)
    stored = {k[len(PARAMETER) :]: v for k, v in arrays.items() if k.startswith(PARAMETER)}
    check_finite(stored, path)
    for name, parameter in named.items():
        values = mx.nd.array(stored[name], dtype=stored[name].dtype)
        if parameter._data is None:
            parameter._load_init(values, devices, cast_dtype=True)
        else:
            parameter.set_data(values)


def restore_part(network, arrays: dict, path) -> None:
    """Set those parameters that a smaller network's checkpoint holds, such as encoder and subnet 0."""
    import mxnet as mx

    named = network._collect_params_with_prefix()
    stored = [k[len(PARAMETER) :] for k in arrays if k.startswith(PARAMETER)]
    part = {name: named[name] for name in stored if name in named}
    _check_same_shapes(part, {name: arrays[PARAMETER + name].shape for name in stored}, path)
    check_finite(arrays, path)
    for name, parameter in part.items():
        parameter.set_data(mx.nd.array(arrays[PARAMETER + name]))


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


def check_same_network(network, shapes: dict, path) -> None:
    """Raise CheckpointError unless a file's arrays, name -> shape, are the parameters of this network.

    The network may be without values yet: nothing is allocated for a shape that the file does not hold.
    """
    _check_same_shapes(network._collect_params_with_prefix(), parameter_shapes(shapes), path)


def parameter_shapes(shapes: dict) -> dict:
    """Of a file's arrays, name -> shape, those that are parameters of the network, by structural name."""
    return {k[len(PARAMETER) :]: shape for k, shape in shapes.items() if k.startswith(PARAMETER)}


def _check_same_shapes(named: dict, stored: dict, path) -> None:
    missing, foreign = sorted(set(named) - set(stored)), sorted(set(stored) - set(named))
    if missing or foreign:
        raise CheckpointError(
            f"{path}: a checkpoint of another network: it lacks {len(missing)} of this network's parameters"
            f"{_first(missing)} and holds {len(foreign)} that it has not{_first(foreign)}; "
            "build the network with the settings in the checkpoint's config.json"
        )
    for name, parameter in named.items():
        wanted, found = tuple(parameter.shape), stored[name]
        # a 0 is a size that a network without values has not decided yet
        if len(wanted) != len(found) or any(size not in (0, has) for size, has in zip(wanted, found)):
            raise CheckpointError(
                f"{path}: a checkpoint of another network: {name} has shape {found}, "
                f"this network wants {wanted}; build it with the settings in config.json"
            )


def _first(names: list) -> str:
    return f" (first: {names[0]})" if names else ""


def _sealed(content: bytes) -> bytes:
    """Put the checksum into the zip's comment, the last thing in the file."""
    comment = _MARK + b"0" * 64
    # the end record's last two bytes are the comment's length, 0 so far
    body = content[:-2] + len(comment).to_bytes(2, "little") + _MARK
    return body + hashlib.sha256(body).hexdigest().encode()
