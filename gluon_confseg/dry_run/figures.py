"""Bytes, seconds and hours as people read them."""

from __future__ import annotations

GIB = 2**30


def as_size(count: int) -> str:
    """Bytes, as in 1.50 GiB or 12.0 MiB."""
    return f"{count / GIB:.2f} GiB" if count >= GIB / 10 else f"{count / 2**20:.1f} MiB"


def as_seconds(value: float) -> str:
    """Seconds, as in 12.3 or 0.012."""
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def as_time(hours: float) -> str:
    """Hours, as in 20 s, 5 min or 12.0 h."""
    if hours < 1 / 60:
        return f"{3600 * hours:.0f} s" if hours == 0 or hours >= 1 / 3600 else "< 1 s"
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 100 else f"{hours:,.0f} h"
