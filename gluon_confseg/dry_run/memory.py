"""How much memory this process holds, as Linux counts it: now, and at most since `restart`."""

from __future__ import annotations

import ctypes
import gc
import re
from pathlib import Path

from gluon_confseg.errors import RunError

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MACHINE = Path("/proc/meminfo")


def now() -> int:
    """Bytes that are resident."""
    return _field("VmRSS")


def peak() -> int:
    """The most bytes that were resident since `restart`, or since the process began where that can't be had."""
    return _field("VmHWM")


def left() -> int:
    """Bytes that this process could hold: those it does, and what the machine has left for more."""
    return now() + _field("MemAvailable", MACHINE)


def restart() -> bool:
    """Give freed memory back and let `peak` begin anew; False where the system does not let it."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    try:
        CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _field(name: str, file: Path | None = None) -> int:
    file = file or STATUS
    try:
        text = file.read_text()
    except OSError as error:
        raise RunError(f"{file}: can't be read ({error.strerror}); a dry run measures on Linux") from error
    return 1024 * int(re.search(rf"{name}:\s+(\d+)", text).group(1))
