"""Whether as many processes as a way asks for fit into memory."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path


def no_memory(processes: int) -> str:
    """Why so many processes as large as this one was at most don't fit in memory; "" where they do, or nobody knows."""
    wanted = processes * 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    free = min(available(), default=wanted)
    if wanted <= free:
        return ""
    return f"{processes} at once may need {wanted / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free"


def available() -> list:
    """Bytes of memory that are free, as the machine and this process's control group say; on Linux."""
    found, group = [], Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError, KeyError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(1024 * int(dict(line.split(":") for line in lines)["MemAvailable"].split()[0]))
    with contextlib.suppress(OSError, ValueError, KeyError):
        most, now = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        parts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        found.append(most - now + int(parts["inactive_file"]))  # files that it would drop
    return found
