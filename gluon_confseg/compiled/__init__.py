"""Compiled on this machine, where it has a C++ compiler: operators for CPUs, and the search for groups.

None of them is necessary.

groups.cc     the search for confusing groups, which groups.py does by NumPy otherwise
loss.cc       value and gradient of the paper's loss, which losses/blockwise.py computes by NumPy otherwise
operators.cc  batch norm with ReLU6 and depthwise convolution, which take most of the time of a training step of
              EfficientNet-Lite0 in MXNet; `encoders.efficientnet` uses them in training. And convolutions of dilation
              4 or more, for which oneDNN takes much memory; `training` puts them into any network's graph
convolution.cc  3x3 convolution by Winograd's algorithm in training, with its gradients; `training` puts it there too
winograd.cc   3x3 convolution in frozen graphs: inference, and the frozen parts of training steps
enlarge.cc    the class of the largest enlarged score, which `engine.largest_enlarged` finds by NumPy otherwise

`python -m gluon_confseg.compiled` builds the library, and the project's set-up calls that. It is kept in the Python
environment under a name that depends on the sources and the compiler's options, so a library of other sources is
never loaded; those of earlier sources stay beside it. Results of training and inference differ from those without it
by rounding alone, and groups not at all; CONFSEG_COMPILED=0 (or off, false, no) goes without it.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shlex
import shutil
import struct
import subprocess
import sysconfig
import tempfile
from functools import lru_cache
from pathlib import Path

from .. import files
from ..errors import ConfSegError

HERE = Path(__file__).resolve().parent
SOURCES = ("operators.cc", "convolution.cc", "loss.cc", "winograd.cc", "enlarge.cc", "groups.cc")
HEADERS = ("lanes.h", "winograd.h", "dilated.h")
OPTIONS = (
    *("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC", "-shared"),
    # Horovod opens libmxnet.so for all later libraries, and that holds classes of lib_api.h's names and another layout
    "-Wl,-Bsymbolic",
)
WIDE = ("avx2", "fma", "bmi2")  # as /proc/cpuinfo names them; a CPU without them gets code for any CPU
COMPILERS = ("g++", "c++", "clang++")
OFF = "CONFSEG_COMPILED"


class BuildError(ConfSegError):
    """The library can't be built; the message says why."""


def path() -> Path:
    """Where this environment's library is, or would be."""
    return Path(sysconfig.get_path("purelib"), "gluon_confseg_compiled", f"{_fingerprint()}.so")


@lru_cache(maxsize=None)
def library():
    """The library as `ctypes.CDLL`, with its operators known to MXNet; None where there is none or it is turned off."""
    if not _is_wanted():
        return None
    import mxnet as mx

    try:
        mx.library.load(str(path()), verbose=False)
        return ctypes.CDLL(str(path()))
    except (OSError, mx.MXNetError):  # such as a file of another system: all works without it
        return None


@lru_cache(maxsize=None)
def functions():
    """The same library for what needs no MXNet, which is not imported."""
    if not _is_wanted():
        return None
    try:
        return ctypes.CDLL(str(path()))
    except OSError:
        return None


def _is_wanted() -> bool:
    return not _is_turned_off() and path().is_file() and _is_whole(path())


def _is_turned_off() -> bool:
    return os.environ.get(OFF, "").strip().lower() in ("0", "off", "false", "no")


def _is_whole(file: Path) -> bool:
    """Whether a library has all of its bytes: to load one that was cut short ends the process with SIGBUS.

    The linker writes the table of sections last, and the header says where that is and how long.
    """
    content = file.read_bytes()
    if content[:5] != b"\x7fELF\x02":  # no 64-bit library of Linux
        return False
    (table,) = struct.unpack_from("<Q", content, 0x28) if len(content) >= 64 else (0,)
    size, count = struct.unpack_from("<HH", content, 0x3A) if table else (0, 0)
    return 0 < table + size * count <= len(content)


def state() -> str:
    """Whether the library is used, in words."""
    if _is_turned_off():
        return f"turned off by {OFF}={os.environ[OFF]}"
    if library() is not None:
        return "in use"
    if path().is_file():
        return "built, but can't be loaded; python -m gluon_confseg.compiled --anew builds it again"
    return "not built; python -m gluon_confseg.compiled does that, for faster training and inference on CPUs"


def is_wide() -> bool:
    """Whether the library has code for this CPU's wide instructions, and not for any CPU."""
    return len(_options()) > len(OPTIONS)


def build(anew: bool = False) -> Path:
    """Build the library, unless it is there. Raises BuildError where that is not possible."""
    target = path()
    if target.is_file() and not anew:
        return target
    compiler = shlex.split(os.environ.get("CXX", "")) or list(filter(shutil.which, COMPILERS))[:1]
    if not compiler:
        raise BuildError(
            "no C++ compiler is installed: install g++ (on Debian: apt-get install g++), and try again"
        )
    mxnet = _mxnet()
    try:
        above = next(folder for folder in target.parents if folder.exists())
        if not os.access(above, os.W_OK):  # said before compiling, not after
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder, "library.so")
            sources = [*(HERE / name for name in SOURCES), mxnet / "src" / "lib_api.cc"]
            command = [
                *compiler,
                *_options(),
                f"-isystem{mxnet / 'include'}",
                *map(str, sources),
                "-o",
                str(made),
            ]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            except OSError as error:
                raise BuildError(f"the compiler {compiler[0]} can't be run: {error.strerror}") from error
            if done.returncode:
                lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
                first = next((line for line in lines if "error" in line), lines[-1])
                raise BuildError(f"{compiler[0]} could not compile {HERE}: {first}")
            files.write_bytes(target, made.read_bytes())
    except OSError as error:
        raise BuildError(f"{target.parent}: {error.strerror}; the library can't be written there") from error
    return target


def _mxnet() -> Path:
    # found without importing MXNet, which takes seconds
    from importlib.util import find_spec

    spec = find_spec("mxnet")
    folder = Path(next(iter(spec.submodule_search_locations))) if spec else None
    if folder is None or not (folder / "include" / "mxnet" / "lib_api.h").is_file():
        raise BuildError(
            "MXNet is not installed here, or without its headers: the wheel mxnet==1.9.1 has them"
        )
    return folder


def has_avx512() -> bool:
    """Whether this CPU has the instructions that oneDNN's 16-bit convolutions need."""
    return {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= set(_features())


@lru_cache(maxsize=None)
def _options() -> tuple:
    wide = (
        tuple(f"-m{feature}" for feature in WIDE) if all(feature in _features() for feature in WIDE) else ()
    )
    return (*OPTIONS, *wide)


@lru_cache(maxsize=None)
def _features() -> tuple:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
    return tuple(next((line.split(":")[1].split() for line in lines if line.startswith("flags")), ()))


@lru_cache(maxsize=None)
def _fingerprint() -> str:
    """Of all that the library depends on; the CPU is among it, by the options."""
    digest = hashlib.sha256(" ".join(_options()).encode())
    for name in (*SOURCES, *HEADERS):
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()[:16]
