"""Batch norm over all devices, with checks, since MXNet's operator waits for ever if a device does not take part.

docs/memory.md says when it hangs, as found on two CPU contexts.
"""

from __future__ import annotations

import itertools
import os
import warnings

import mxnet as mx
from mxnet import autograd
from mxnet.gluon.contrib.nn import SyncBatchNorm

TEMPORARIES = 20  # more than MXNet takes per batch norm and device in a training step

_number = itertools.count()


def apply(norms: list, contexts: list) -> None:
    """Let batch norms share the batch's statistics between `contexts`; on one device they stay as they are.

    Raises ValueError for devices that do not exist or are named twice, and where MXNet would surely hang.
    """
    if len(contexts) == 1:
        _check_devices(contexts)
        warnings.warn(
            f"synchronised batch norm on one device ({contexts[0]}) is ordinary batch norm", stacklevel=4
        )
        return
    join([norms], contexts)


def join(copies: list, contexts: list) -> None:
    """Let the batch norms of one network on all devices, or of equal networks, share the batch's statistics.

    copies    the batch norms of each network, in the same order
    Raises ValueError as `apply` does.
    """
    _check_devices(contexts)
    _check_engine(contexts, TEMPORARIES * len(copies[0]) * len(contexts))
    for same in zip(*copies):
        # MXNet would use the prefix as key; a second network with this prefix on more devices kills the process
        key = f"{same[0].prefix}{next(_number)}"
        for norm in same:
            norm.__class__ = SyncBatchNorm
            del norm._kwargs["axis"]
            norm._kwargs.update(ndev=len(contexts), key=key)


def forward(block, shards: list) -> list:
    """Run a block on one part of the batch per device -> the outputs, in order.

    Raises ValueError, before anything runs, if a device has no part of the batch: batch norms would wait for ever.
    Under `autograd.record`, pass all outputs to one `autograd.backward`, and do not wait for any of them before.
    """
    wanted = next(iter(block.collect_params().values())).list_ctx()
    got = [shard.context for shard in shards]
    if sorted(map(str, got)) != sorted(map(str, wanted)) or not all(shard.shape[0] for shard in shards):
        raise ValueError(
            f"one part of the batch for each of {_listed(wanted)}, got parts on {_listed(got) or 'none'}: drop a "
            "batch that can't be split"
        )
    if autograd.is_recording() and not autograd.is_training():
        raise ValueError("synchronised batch norms can't be recorded in inference mode: MXNet waits for ever")
    return [block(shard) for shard in shards]


def _check_devices(contexts: list) -> None:
    if len(set(contexts)) < len(contexts):
        raise ValueError(f"each device once, got {_listed(contexts)}: batch norms would wait for each other")
    gpus = [context.device_id for context in contexts if context.device_type == "gpu"]
    if gpus and max(gpus) >= mx.context.num_gpus():
        raise ValueError(
            f"{_listed(contexts)} asked for, and MXNet sees {mx.context.num_gpus()} GPUs: name those"
        )


def _check_engine(contexts: list, temporaries: int) -> None:
    if os.environ.get("MXNET_ENGINE_TYPE") == "NaiveEngine":
        raise ValueError(
            "MXNET_ENGINE_TYPE=NaiveEngine runs one device after the other, and synchronised batch norms would "
            "wait for ever: unset it"
        )
    copies = int(os.environ.get("MXNET_CPU_TEMP_COPY", 4))
    if any(context.device_type == "cpu" for context in contexts) and copies < temporaries:
        # all CPU contexts share so many temporaries, so two devices can wait for those that the other holds
        raise ValueError(
            f"synchronised batch norms on {_listed(contexts)} hang with MXNET_CPU_TEMP_COPY={copies}: set it to "
            f"{temporaries} before MXNet is imported"
        )


def _listed(contexts) -> str:
    return ", ".join(map(str, contexts))
