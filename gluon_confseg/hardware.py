"""What this machine has: physical cores, and GPUs that MXNet 1.9.1 has code for.

It imports the standard library only, and nothing of this package, because the set-up loads this file before anything
is installed.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import platform
import warnings
from pathlib import Path
from typing import NamedTuple

# mxnet-cu112 1.9.1 holds machine code for these and no PTX, so it runs on later minor versions, but no later major
BUILT_FOR: tuple[tuple[int, int], ...] = ((5, 0), (6, 0), (7, 0), (8, 0), (8, 6))

_NAME_BYTES = 256
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


class Gpu(NamedTuple):
    """One CUDA device: its ordinal, its name, its compute capability."""

    index: int
    name: str
    capability: tuple[int, int]

    @property
    def usable(self) -> bool:
        """Whether MXNet 1.9.1 holds code that runs on it."""
        return has_code(self.capability)

    def __str__(self) -> str:
        return f"GPU {self.index}, {self.name}, compute capability {self.capability[0]}.{self.capability[1]}"


class Gpus(NamedTuple):
    """What the NVIDIA driver answered. `problem` says why there is no answer; None where there is one."""

    found: list[Gpu]
    problem: str | None

    @property
    def usable(self) -> list[Gpu]:
        """The devices that MXNet 1.9.1 has code for."""
        return [gpu for gpu in self.found if gpu.usable]


def has_code(capability: tuple[int, int]) -> bool:
    """Whether mxnet-cu112 1.9.1 runs on this compute capability: it was built for its major, up to its minor."""
    return any(major == capability[0] and minor <= capability[1] for major, minor in BUILT_FOR)


def gpus() -> Gpus:
    """Ask the NVIDIA driver for its devices. Never raises; needs no nvidia-smi and no CUDA toolkit."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Gpus([], "there is no NVIDIA driver (libcuda.so.1)")
    try:
        status, count = driver.cuInit(0), ctypes.c_int(0)
        if status != 0:
            return Gpus([], f"the NVIDIA driver finds no GPU (cuInit gives error {status})")
        if driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value < 1:
            return Gpus([], "the NVIDIA driver finds no GPU")
        found = [gpu for gpu in (_device(driver, index) for index in range(count.value)) if gpu is not None]
    except (AttributeError, OSError) as error:
        return Gpus([], f"the NVIDIA driver does not answer ({error})")
    return Gpus(found, None if found else "the NVIDIA driver does not describe its GPUs")


def _device(driver: ctypes.CDLL, index: int) -> Gpu | None:
    """One device, or None where the driver refuses a question about it."""
    handle, major, minor = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    answers = (
        driver.cuDeviceGet(ctypes.byref(handle), index),
        driver.cuDeviceGetName(name, _NAME_BYTES, handle),
        driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, handle),
        driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, handle),
    )
    if any(answers):
        return None
    return Gpu(index, name.value.decode("utf-8", "replace"), (major.value, minor.value))


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


def gpu_memory() -> dict[str, tuple[int, int]]:
    """PCI bus id of each GPU -> (free, total) bytes, as NVIDIA's management library says; {} where it is missing.

    It takes no memory of the GPU, and counts what all processes use. CUDA numbers GPUs in another order than it.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libnvidia-ml.so.1")
        count, found = ctypes.c_uint(0), {}
        if library.nvmlInit_v2() != 0:
            return {}
        try:
            if library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
                return {}
            for index in range(count.value):
                device, memory = ctypes.c_void_p(), _Memory()
                # nvmlPciInfo_t begins with the bus id of older versions, and ends with the whole one
                place = ctypes.create_string_buffer(128)
                answers = (
                    library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(device)),
                    library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)),
                    library.nvmlDeviceGetPciInfo_v3(device, place),
                )
                if not any(answers):
                    found[place.value.decode("ascii", "replace")] = (memory.free, memory.total)
        finally:
            library.nvmlShutdown()
        return found
    return {}


def cpu_name() -> str:
    """The CPU's name, as the system gives it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.split(":", 1)[1].split())
    return platform.processor() or platform.machine()


def physical_cores() -> int:
    """Number of physical cores that this process may use: at least 1, within its affinity and CPU quota.

    If affinity or quota allow less than the whole machine, hyper-threads count as cores.
    """
    import loky  # here, since the set-up loads this file before anything is installed

    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter(
            "ignore"
        )  # without lscpu it warns, prints a traceback, and counts hyper-threads
        return loky.cpu_count(only_physical_cores=True)


def fingerprint() -> str:
    """A text that changes when the driver or the GPUs do. It avoids cuInit, which takes seconds to wake the GPUs."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no driver"
    version, driver = [], Path("/proc/driver/nvidia")
    with contextlib.suppress(OSError, ValueError):
        version = (driver / "version").read_text().strip().splitlines()[:1]
    boards = sorted(board.name for board in driver.glob("gpus/*"))
    return " | ".join(["libcuda", *version, *boards])
