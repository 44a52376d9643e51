"""Errors of too little memory: how they are known, and what fits instead, which is tried at once."""

from __future__ import annotations

import contextlib
import errno
import resource
import traceback
from collections.abc import Callable, Iterator

from .errors import RunError

# MXNet, CUDA, oneDNN and OpenCV say it in words alone
_WORDS = (
    "bad_alloc",
    "out of memory",
    "insufficient memory",
    "failed to allocate",
    "memory allocation failed",
    "cannot allocate memory",
)
GB = 1e9
SMALLER = (2, 4)  # by which height and width are divided where a single image is too much


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was not enough memory, on the host or on a GPU."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    text = str(error).lower()
    return (
        isinstance(error, (RuntimeError, OSError))
        and any(words in text for words in _WORDS)
        or "bad_alloc" in text
    )


@contextlib.contextmanager
def told(name: str, images, part: Callable, device=None, accumulate: int = 1) -> Iterator[None]:
    """A step of training. Where memory is too small for it, RunError says which settings fit, as tried just now.

    name    of the phase
    images  (N, 3, H, W), the images that go through the network at once
    part    computes the step for the first n of these images alone, of their first h rows and w columns:
            `part(n, h, w)`. What it changes is lost, since the error ends the phase without saving anything.
    accumulate   into how many shares the batch is cut already, one after the other
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold the features of the step that did not fit
        problem = error
    else:
        return
    raise RunError(_sentence(name, images.shape, part, device, accumulate)) from problem


def _sentence(name: str, shape: tuple, part: Callable, device, accumulate: int) -> str:
    count, _, height, width = shape
    found = f"{name}: there is not enough memory for a step of {_images(count)} of {height} x {width}"
    for share in (n for n in range(count // 2, 0, -1) if count % n == 0):
        took = _taken(part, (share, height, width), device)
        if took is not None:
            return (
                f"{found}{_figures(took * count / share, device)}; {_images(share)} at once fit, as was tried just "
                f"now: give --accumulate {accumulate * count // share} (the result then differs by rounding, except "
                f"where batch norms or the loss count over a batch), or --set batch_size={share}; {_KEPT}"
            )
    for divisor in SMALLER:
        h, w = (max(32, size // divisor // 32 * 32) for size in (height, width))
        took = (
            _taken(part, (1, h, w), device) if h <= height and w <= width and h * w < height * width else None
        )
        if took is not None:
            need = took * count * height * width / (h * w)
            return (
                f"{found}{_figures(need, device)}; one image of {h} x {w} fits, as was tried just now: give --set "
                f"crop={h},{w} with --accumulate {accumulate * count} or --set batch_size=1; {_KEPT}"
            )
    return f"{found}, nor for one small image: take a smaller encoder, or a device with more memory; {_KEPT}"


_KEPT = "the last saved state is as it was"


def _taken(part: Callable, size: tuple, device) -> float | None:
    """Bytes that a part of a step takes beside what is there already; None where it does not fit."""
    import mxnet as mx

    from .dry_run import memory

    try:
        on_gpu = device is not None and device.device_type == "gpu"
        with contextlib.suppress(RunError):
            memory.restart()
        before = _free_of_gpu(device) if on_gpu else memory.now()
        part(*size)
        mx.nd.waitall()
        return max(0.0, before - _free_of_gpu(device) if on_gpu else memory.peak() - before)
    except RunError:  # a system that does not say how much a process has
        return 0.0
    except Exception as error:
        traceback.clear_frames(error.__traceback__)
        return None


def _figures(need: float, device) -> str:
    free = _free(device)
    if not need or free is None or free >= need:  # what is estimated by images does not explain it
        return ""
    return f": it needs about {need / GB:.1f} GB beside the network, and {free / GB:.1f} GB are free"


def _free(device) -> float | None:
    """Bytes that are free on a device; None where nobody knows."""
    if device is not None and device.device_type == "gpu":
        return _free_of_gpu(device)
    from .side_by_side.free_memory import available

    found, limit = available(), resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open("/proc/self/statm") as file:
                found.append(limit - int(file.read().split()[0]) * resource.getpagesize())
    return min(found, default=None)


def _free_of_gpu(device) -> int:
    import mxnet as mx

    return mx.context.gpu_memory_info(device.device_id)[0]


def _images(count: int) -> str:
    return "one image" if count == 1 else f"{count} images"
