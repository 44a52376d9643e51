"""Semantic segmentation with a loss against confusions and with subnets for confused classes (Geng et al., 2018)."""

from __future__ import annotations

from . import runtime

__version__ = "0.1.0"

runtime.prepare()
