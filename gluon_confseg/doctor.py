"""Findings on what this machine and this environment can run; `confseg doctor` prints them."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import tempfile
import time
import warnings
from importlib import import_module
from pathlib import Path
from typing import Callable, NamedTuple

from gluon_confseg import compiled, gluoncv, hardware, runtime
from gluon_confseg.errors import RunError

# The versions that requirements/ installs; another version may work, and gets a note
PINS = {"MXNet": "1.9.1", "NumPy": "1.23.5", "OpenCV": "4.11.0", "GluonCV": "0.10.5"}
PACKAGES = {
    "MXNet": ("mxnet-cu112", "mxnet"),
    "NumPy": ("numpy",),
    "OpenCV": (
        "opencv-python-headless",
        "opencv-contrib-python-headless",
        "opencv-python",
        "opencv-contrib-python",
    ),
    "GluonCV": ("gluoncv",),
}
MODULES = {"OpenCV": "cv2", "GluonCV": "gluoncv"}
LITTLE_DISK = 2.0  # GB: a run folder with its checkpoints and pictures
LITTLE_SHARED = 0.25  # GB: the batches that the loader's processes hand over
SLOW_DISK = 20.0  # MB/s: a checkpoint of some hundred MB is saved every minute
WRITTEN = 2**24  # bytes of the test of the disk


class Finding(NamedTuple):
    """One line: what was examined, what was found, and a sentence if that is a problem or worth a note."""

    name: str
    value: str
    problem: str | None = None
    note: str | None = None

    def line(self) -> str:
        """The finding as a line for people."""
        if self.problem:
            return f"problem: {self.problem}"
        return f"ok: {self.name}: {self.value}" + (f"; note: {self.note}" if self.note else "")


def examine(folder: Path | None = None) -> list[Finding]:
    """All findings; each stands after those that it depends on.

    folder  where runs would be written: the current folder unless given
    """
    folder = folder or Path()
    kind = "in a checkout" if runtime.in_checkout() else "installed"
    python = f"{platform.python_version()} at {sys.executable}; gluon-confseg {kind} in {runtime.PROJECT}"
    wheel = {"cuda": "CUDA", "cpu": "CPU"}.get(runtime.wheel() or "", "none")
    cores, asked = hardware.physical_cores(), runtime.threads()
    other = f"OMP_NUM_THREADS asks for {asked}" if asked not in (None, cores) else None
    free = shutil.disk_usage(folder).free / 1e9
    little = f"a run wants about {LITTLE_DISK:.0f} GB" if free < LITTLE_DISK else None
    findings = [
        Finding("Python", python),
        *(version(name) for name in PINS),
        Finding("MXNet wheel", wheel),
        Finding("threads", f"{asked} on {cores} physical cores", note=other),
        gpus(),
        *gpu_memory(),
        Finding("free disk", f"{free:.1f} GB in {folder.resolve()}", note=little),
        disk_speed(folder),
        shared_memory(),
    ]
    if runtime.problem() is not None:
        return [*findings, Finding("MXNet runs", "no", problem=runtime.problem())]
    # OpenCV's wheel with windows needs libGL, which servers seldom have
    for name, module in MODULES.items():
        findings.append(attempt(f"{name} imports", lambda m=module: imported(m)))
    return [*findings, *computations(), compiled_operators(), horovod()]


def compiled_operators() -> Finding:
    """Whether CPUs use the compiled operators; nothing is wrong without them."""
    state, _, remedy = compiled.state().partition("; ")
    return Finding("compiled operators", state, note=remedy or None)


def version(name: str) -> Finding:
    """One package's version, beside the one that this project was tested with."""
    found, pinned = runtime.version_of(*PACKAGES[name]), PINS[name]
    if found is None:
        return Finding(name, "missing", problem=f"{name} is not installed: {runtime.remedy()}.")
    same = found == pinned or found.startswith(f"{pinned}.")
    return Finding(name, found, note=None if same else f"tested with {pinned}")


def gpus() -> Finding:
    """The GPUs, with the compute capability of each, and whether MXNet has code for it."""
    answer = hardware.gpus()
    described = [f"{gpu}: {'usable' if gpu.usable else 'no code in MXNet 1.9.1'}" for gpu in answer.found]
    note = None
    if answer.usable and runtime.wheel() == "cpu":
        note = f"the CPU wheel is installed: {runtime.change_wheel('cuda')}"
    elif not answer.usable:
        note = "the recipes' profile full would take months here; the others are for CPUs"
        if runtime.wheel() == "cuda" and runtime.problem() is None:
            note += f"; the CUDA wheel is installed: {runtime.change_wheel('cpu')}"
    return Finding("GPUs", "; ".join(described) or f"none ({answer.problem})", note=note)


def gpu_memory() -> list[Finding]:
    """Free memory of each GPU, by its place on the bus; nothing where NVIDIA's management library is missing."""
    return [
        Finding(f"memory of the GPU at {place}", f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free")
        for place, (free, total) in sorted(hardware.gpu_memory().items())
    ]


def disk_speed(folder: Path) -> Finding:
    """How fast a file is on the disk for good (fsync), as every checkpoint must be."""
    name = "disk speed"
    try:
        with tempfile.NamedTemporaryFile(dir=str(folder), prefix=".confseg-doctor-") as file:
            data, began = os.urandom(WRITTEN), time.monotonic()
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            took = time.monotonic() - began
    except OSError as error:
        reason = error.strerror or str(error)
        return Finding(name, "unknown", note=f"no file can be written to {folder.resolve()} ({reason})")
    speed = WRITTEN / 1e6 / took
    note = "checkpoints take long to save; a larger --save-every saves fewer" if speed < SLOW_DISK else None
    return Finding(name, f"{speed:.0f} MB/s written and synchronised in {folder.resolve()}", note=note)


def shared_memory(folder: Path = Path("/dev/shm")) -> Finding:
    """Shared memory, through which the data loader's processes give batches to the training."""
    try:
        free = shutil.disk_usage(folder).free / 1e9
    except OSError:
        return Finding("shared memory", f"there is no {folder}")
    little = (
        "large batches may not fit: a container gets more by --shm-size=2g" if free < LITTLE_SHARED else None
    )
    return Finding("shared memory", f"{free:.1f} GB free in {folder}", note=little)


def horovod() -> Finding:
    """Horovod's version and what it was built with, if it is installed; it is needed for several machines only."""
    found = runtime.version_of("horovod")
    if found is None:
        return Finding("Horovod", "not installed; --kvstore dist_sync needs nothing more")
    from gluon_confseg.distributed.horovod import import_horovod

    try:
        with contextlib.redirect_stdout(sys.stderr):
            module = import_horovod()
    except RunError as error:
        return Finding("Horovod", found, note=str(error))
    features = [
        n for n in ("gloo", "mpi", "nccl", "cuda", "ccl") if getattr(module, f"{n}_built", lambda: 0)()
    ]
    return Finding("Horovod", f"{found}, built with {', '.join(features)}")


def network(probe) -> Finding:
    """What `distributed.probe.measure` found."""
    return Finding(f"network between {probe.size} workers", probe.describe())


def imported(module: str) -> str:
    """Import a module as the verbs do; says its name."""
    with gluoncv.without_torch():
        return f"module {import_module(module).__name__}"


def computations() -> list[Finding]:
    """A convolution with its gradient on every device that would be used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no GPU is usable is a note of its own above
        devices = runtime.devices()
    return [attempt(f"MXNet computes on {device}", lambda d=device: convolve(d)) for device in devices]


def convolve(device) -> str:
    """Check a 3x3 convolution of ones and its gradient, which for each weight is the number of output pixels."""
    import mxnet as mx

    images = mx.nd.ones((1, 1, 6, 6), ctx=device)
    weights = mx.nd.ones((1, 1, 3, 3), ctx=device)
    weights.attach_grad()
    with mx.autograd.record():
        total = mx.nd.Convolution(images, weights, kernel=(3, 3), num_filter=1, no_bias=True).sum()
    total.backward()
    results = (total, weights.grad.min(), weights.grad.max())
    seen = tuple(float(result.asscalar()) for result in results)
    if seen != (144.0, 16.0, 16.0):
        raise ArithmeticError(f"a convolution gave {seen} instead of (144.0, 16.0, 16.0)")
    return "a convolution and its gradient are right"


def attempt(name: str, task: Callable[[], str]) -> Finding:
    """A finding with what the task returns, or with its failure as one sentence."""
    try:
        return Finding(name, task())
    except Exception as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return Finding(name, "no", problem=f"{name}: no, {first_line.rstrip('.')}; {runtime.remedy(error)}.")
