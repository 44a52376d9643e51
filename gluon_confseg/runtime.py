"""Prepares the import of MXNet (threads, CUDA libraries), and gives its devices and seeds afterwards.

`prepare` never raises, so that `confseg doctor` and the modules without MXNet work in a broken environment. What it
finds wrong becomes the message of `check`, and of every later `import mxnet`.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import sys
import warnings
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from gluon_confseg import hardware
from gluon_confseg.errors import RunError

if TYPE_CHECKING:
    import mxnet as mx

PROJECT = Path(__file__).resolve().parent.parent  # a checkout, or the site-packages of an installed package
OPENCV = "opencv-python-headless==4.11.0.86"
CUDA_WHEEL = "The CUDA wheel of MXNet is installed"
MAX_SEED = 2**31 - 1
WORKER = "CONFSEG_LOADER_WORKER"  # set in the data loader's processes, which never import MXNet

# What MXNet's import brings for the calibration of quantization, its own tests and downloads
LATER = ("scipy.stats", "requests")

# The libraries that libmxnet.so of mxnet-cu112 links to, each after those that it needs: package, folder in nvidia/,
# library. cuDNN opens its parts later, and finds them in its own folder.
CUDA_LIBRARIES: tuple[tuple[str, str, str], ...] = (
    ("nvidia-cuda-runtime-cu11", "cuda_runtime", "libcudart.so.11.0"),
    ("nvidia-cuda-nvrtc-cu11", "cuda_nvrtc", "libnvrtc.so.11.2"),
    ("nvidia-nvtx-cu11", "nvtx", "libnvToolsExt.so.1"),
    ("nvidia-cublas-cu11", "cublas", "libcublasLt.so.11"),
    ("nvidia-cublas-cu11", "cublas", "libcublas.so.11"),
    ("nvidia-cufft-cu11", "cufft", "libcufft.so.10"),
    ("nvidia-curand-cu11", "curand", "libcurand.so.10"),
    ("nvidia-cusparse-cu11", "cusparse", "libcusparse.so.11"),
    ("nvidia-cusolver-cu11", "cusolver", "libcusolver.so.11"),
    ("nvidia-cudnn-cu11", "cudnn", "libcudnn.so.8"),
    ("nvidia-nccl-cu11", "nccl", "libnccl.so.2"),
)


class _Refusal(importlib.abc.MetaPathFinder):
    """Makes `import mxnet` fail with the sentence of `prepare`, since MXNet's own message does not say what to do."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence

    def find_spec(self, name, path=None, target=None):
        if name == "mxnet":
            raise ImportError(self.sentence)
        return None


class _Later(ModuleType):
    """Stands for a module that MXNet imports at once and hardly ever uses; the first use of it imports it."""

    def __getattr__(self, name):
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


class _Loader(importlib.machinery.SourceFileLoader):
    """Runs the package MXNet without the imports of `LATER`, which are a fifth of its time or more.

    Nothing of this is left for others: after MXNet's import, an import of such a module gives the module itself.
    """

    def exec_module(self, module: ModuleType) -> None:
        placed = {name: _Later(name) for name in LATER if name not in sys.modules}
        sys.modules.update(placed)
        try:
            super().exec_module(module)
        finally:
            for name, stand_in in placed.items():
                if sys.modules.get(name) is stand_in:
                    del sys.modules[name]


class _Finder(importlib.abc.MetaPathFinder):
    """Lets `_Loader` run MXNet."""

    def find_spec(self, name, path=None, target=None):
        if name != "mxnet":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is importlib.machinery.SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def in_checkout() -> bool:
    """Whether this package lies in a checkout, whose Makefile makes an environment."""
    return (PROJECT / "requirements" / "setup_env.py").exists()


def in_its_environment() -> bool:
    """Whether this interpreter belongs to an environment that the checkout's Makefile made."""
    return in_checkout() and PROJECT in Path(sys.prefix).parents


def remedy(error: Exception | None = None) -> str:
    """How to repair the environment, or a failed import: the end of a sentence, without the full stop."""
    if error is not None and any(name in str(error) for name in ("libGL.so", "libgthread", "libX11")):
        return f"`pip install --force-reinstall --no-deps {OPENCV}` brings OpenCV without windows"
    if in_its_environment():
        return "`make clean-venv` and then any make target sets it up again"
    if in_checkout():
        return f"`make setup` makes an environment with all of it, whose Python is {PROJECT / '.venv/bin/python'}"
    return "`pip install .` in a checkout of gluon-confseg, in a new environment, sets it up again"


def change_wheel(to: str) -> str:
    """How to change this environment to the MXNet wheel "cpu" or "cuda": a sentence without the full stop."""
    if in_its_environment():
        return f"with CONFSEG_MXNET={to} set, {remedy()} with the {to.upper()} wheel"
    if to == "cpu":
        return "`pip uninstall --yes mxnet-cu112` and then `pip install mxnet==1.9.1` bring the CPU wheel"
    return (
        "`pip install '.[cuda]'` in a checkout, `pip uninstall --yes mxnet` and then `pip install mxnet-cu112==1.9.1` "
        "bring the CUDA wheel"
    )


def prepare() -> str | None:
    """Set OpenMP's threads and MXNet's temporary memory, and load the CUDA libraries, before MXNet is imported.

    Returns `problem()`.
    """
    if os.environ.get(WORKER):
        return None
    if "mxnet" in sys.modules:
        if not os.environ.get("OMP_NUM_THREADS", "").strip():
            warnings.warn(
                "MXNet was imported before gluon_confseg and takes half of the cores: "
                "import gluon_confseg first, or set "
                f"OMP_NUM_THREADS={hardware.physical_cores()}.",
                RuntimeWarning,
                stacklevel=2,
            )
        return None
    if problem() is not None:
        return problem()
    # without this variable MXNet takes half of the processors, and with anything but one number it ends the process;
    # OMP_PLACES stays untouched (apache/mxnet#14087)
    os.environ["OMP_NUM_THREADS"] = str(threads() or hardware.physical_cores())
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"]  # else it decides, for matrix products
    # temporary memory of operators: MXNet has four pieces, each as large as any operator needs, and uses them in turn,
    # but runs one operator after the other on a CPU
    os.environ.setdefault("MXNET_CPU_TEMP_COPY", "1")
    # hide warnings that are harmless and that a user can't change, first MXNet's and GluonCV's use of old functions
    for module in (r"mxnet(\.|$)", r"gluoncv(\.|$)"):
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=module)
    for message in (
        # heads get the features of all stages but read only some of them; the rule "subnet0" uses no other heads
        r"(The .*-th input to HybridBlock|Parameter .*) is not used by any",
        r"Cannot decide type for",
        r"Both `mxnet==.*` and `torch==.*` are",
    ):
        warnings.filterwarnings("ignore", message=message, category=UserWarning)
    found = _wrong_versions() or _missing_libraries()
    sys.meta_path.insert(0, _Refusal(found) if found is not None else _Finder())
    return found


def problem() -> str | None:
    """One sentence on why MXNet can't be used here; None where `prepare` found nothing wrong."""
    return next((finder.sentence for finder in sys.meta_path if isinstance(finder, _Refusal)), None)


def check() -> None:
    """Raise RunError with the sentence of `problem`, if there is one."""
    if problem() is not None:
        raise RunError(problem())


def threads() -> int | None:
    """Number of OpenMP threads that OMP_NUM_THREADS asks for; None if it is unset or no number from 1.

    Of a list such as "4,2" the first number counts; the others are for nested parallel work.
    """
    value = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(value) or None if value.isdecimal() else None


def version_of(*packages: str) -> str | None:
    """Version of the first of these packages that is installed, without importing it; None where none is."""
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(package)
    return None


def wheel() -> str | None:
    """Which MXNet wheel is installed: "cuda", "cpu", or None."""
    if version_of("mxnet-cu112"):
        return "cuda"
    return "cpu" if version_of("mxnet") else None


def _wrong_versions() -> str | None:
    """A sentence on a version of Python, NumPy or MXNet with which nothing can work; None if all fit."""
    if not (3, 8) <= sys.version_info[:2] <= (3, 11):
        found = "{}.{}".format(*sys.version_info)
        return f"This is Python {found}, and NumPy 1.23, which MXNet needs, is for 3.8 to 3.11: {remedy()}."
    if wheel() is None:
        return f"MXNet is not installed: `pip install mxnet==1.9.1`, or {remedy()}."
    if version_of("mxnet") and version_of("mxnet-cu112"):
        return (
            "Both MXNet wheels are installed, and the files of one lie over the other's: `pip uninstall --yes mxnet "
            "mxnet-cu112`, and then `pip install mxnet==1.9.1` for the CPU, or mxnet-cu112==1.9.1 for GPUs."
        )
    numpy = version_of("numpy") or "0"
    if tuple(int(part) for part in numpy.split(".")[:2]) >= (1, 24):
        return (
            f"NumPy {numpy} is installed, and MXNet 1.9.1 needs one before 1.24: `pip install numpy==1.23.5`, or "
            f"{remedy()}."
        )
    return None


def _missing_libraries() -> str | None:
    """Load the libraries outside its wheel that libmxnet.so links to; returns a sentence on the first missing one."""
    for library, package in (("libgomp.so.1", "libgomp1"), ("libquadmath.so.0", "libquadmath0")):
        if _load(library) is None:
            return f"MXNet needs the system library {library}, which is missing: `apt-get install {package}`."
    if wheel() != "cuda":
        return None
    if _load("libcuda.so.1") is None:
        return f"{CUDA_WHEEL}, but there is no NVIDIA driver (libcuda.so.1): install it, or, {change_wheel('cpu')}."
    spec = importlib.util.find_spec("nvidia")
    roots = (spec.submodule_search_locations or []) if spec is not None else []
    for package, folder, library in CUDA_LIBRARIES:  # from the packages, or from the system
        candidates = [str(Path(root, folder, "lib", library)) for root in roots]
        if all(_load(candidate) is None for candidate in [*candidates, library]):
            install = f"`pip install {package}`, or `pip install '.[cuda]'` in a checkout"
            bring = remedy() if in_its_environment() else install
            return f"{CUDA_WHEEL}, but {library} of {package} can't be loaded: {bring}."
    return None


def _load(library: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return None


def devices() -> list[mx.Context]:
    """The devices to compute on: every GPU that MXNet has code for, or else the CPU. Never empty."""
    check()
    import mxnet as mx

    if wheel() != "cuda":
        return [mx.cpu()]
    answer = hardware.gpus()
    if not answer.usable:
        reason = f"{CUDA_WHEEL}, but {answer.problem}"
        if answer.found:
            reason = f"MXNet 1.9.1 has no code for {' and '.join(map(str, answer.found))}"
        told = f"{reason}: computing on the CPU; {change_wheel('cpu')}."
        warnings.warn(told, RuntimeWarning, stacklevel=2)
    return [mx.gpu(gpu.index) for gpu in answer.usable] or [mx.cpu()]


def default_context() -> mx.Context:
    """The first of `devices()`."""
    return devices()[0]


def seed(value: int) -> None:
    """Seed the global generators of Python, NumPy and MXNet (initial weights come from the last).

    value   a whole number from 0 to 2^31 - 1; others are a RunError
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SEED:
        raise RunError(f"The seed {value!r} is no whole number from 0 to {MAX_SEED}: choose one of these.")
    check()
    import mxnet as mx
    import numpy as np

    random.seed(value)
    np.random.seed(value)
    mx.random.seed(value)
