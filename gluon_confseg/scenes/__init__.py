"""Street scenes that the package draws, in Cityscapes' layout, with its raw labels and its 19 classes."""

from __future__ import annotations

from .scene import VERSION, scene
from .writer import draw

__all__ = ["VERSION", "draw", "scene"]
