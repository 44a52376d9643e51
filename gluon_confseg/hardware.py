"""What this machine has: physical cores, and GPUs that MXNet 1.9.1 has code for.

Standard library only, nothing of its own package: the set-up loads this file before anything is installed.
"""

from __future__ import annotations

import ctypes
import glob
import math
import os
from pathlib import Path
from typing import NamedTuple

# mxnet-cu112 1.9.1 holds machine code for these and no PTX: it runs on later minors, on no later major
BUILT_FOR: tuple[tuple[int, int], ...] = ((5, 0), (6, 0), (7, 0), (8, 0), (8, 6))

_NAME_BYTES = 256
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_SHARED_QUOTA = 0.999  # a quota of 1.9995 cores is 2 cores


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
    """Whether mxnet-cu112 1.9.1 runs there: built for the same major, at that minor or an earlier one."""
    return any(major == capability[0] and minor <= capability[1] for major, minor in BUILT_FOR)


def gpus() -> Gpus:
    """Ask the NVIDIA driver for its devices. Never raises; needs no nvidia-smi and no CUDA toolkit."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Gpus([], "there is no NVIDIA driver (libcuda.so.1)")
    try:
        return _ask(driver)
    except (AttributeError, OSError) as error:
        return Gpus([], f"the NVIDIA driver does not answer ({error})")


def _ask(driver: ctypes.CDLL) -> Gpus:
    """The devices of an opened driver library, or the step that failed."""
    status = driver.cuInit(0)
    if status != 0:
        return Gpus([], f"the NVIDIA driver finds no GPU (cuInit gives error {status})")
    count = ctypes.c_int(0)
    status = driver.cuDeviceGetCount(ctypes.byref(count))
    if status != 0 or count.value < 1:
        return Gpus([], "the NVIDIA driver finds no GPU")
    found = [gpu for gpu in (_device(driver, index) for index in range(count.value)) if gpu is not None]
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


def physical_cores(root: str = "/") -> int:
    """Physical cores that this process may use: within its affinity and CPU quota, without hyper-threads.

    At least 1.

    root    where /sys and /proc are looked for
    """
    allowed = _allowed_cpus()
    cores = {_core_of(cpu, root) for cpu in allowed}
    if None in cores:
        cores = _cores_of_cpuinfo(allowed, root) or set(allowed)
    quota = cpu_quota(root)
    limit = len(cores) if quota is None else min(len(cores), math.floor(quota / _SHARED_QUOTA))
    return max(1, limit)


def _allowed_cpus() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _core_of(cpu: int, root: str) -> str | None:
    """The hardware threads that share this one's core, as text: one text, one core."""
    return _text(Path(root, f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"))


def _cores_of_cpuinfo(allowed: set[int], root: str) -> set[tuple[str, str]] | None:
    """(package, core) of each allowed CPU by /proc/cpuinfo; None where it does not say."""
    cores = set()
    for block in (_text(Path(root, "proc/cpuinfo")) or "").split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines())
        entry = {key.strip(): value.strip() for key, _, value in pairs}
        if entry.get("processor", "").isdigit() and int(entry["processor"]) in allowed:
            if "core id" not in entry:
                return None
            cores.add((entry.get("physical id", "0"), entry["core id"]))
    return cores or None


def cpu_quota(root: str = "/") -> float | None:
    """CPUs that its control groups grant this process, as a number; None where nothing limits it."""
    limits = [limit for limit in (_limit(folder) for folder in _cgroup_folders(root)) if limit is not None]
    return min(limits) if limits else None


def _cgroup_folders(root: str) -> list[Path]:
    """Folders of this process's CPU control groups (version 2 and version 1), with their ancestors."""
    mount = Path(root, "sys/fs/cgroup")
    folders = []
    for line in (_text(Path(root, "proc/self/cgroup")) or "0::/").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = mount / controllers if controllers else mount
        inside = (base / group.strip("/")).relative_to(base)
        folders += [base / inside, *(base / parent for parent in inside.parents)]
    return folders + [mount, mount / "cpu"]


def _limit(folder: Path) -> float | None:
    """Quota over period of one control group."""
    words = (_text(folder / "cpu.max") or "").split()
    if not words:
        words = [_text(folder / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
    try:
        quota, period = float(words[0]), float(words[1])
    except (ValueError, IndexError):
        return None  # "max": no limit
    return quota / period if quota > 0 and period > 0 else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return None


def fingerprint() -> str:
    """A text that changes when the driver or the GPUs do; wakes no GPU, as cuInit does for seconds."""
    try:
        ctypes.CDLL("libcuda.so.1")
        driver = "libcuda"
    except OSError:
        return "no driver"
    version = (_text(Path("/proc/driver/nvidia/version")) or "").splitlines()[:1]
    boards = sorted(os.path.basename(board) for board in glob.glob("/proc/driver/nvidia/gpus/*"))
    return " | ".join([driver, *version, *boards])
