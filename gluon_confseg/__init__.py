"""Segmentation networks that find the classes they confuse, and train against it (Geng et al., 2018)."""

from __future__ import annotations

from . import runtime

__version__ = "0.1.0"

runtime.prepare()
