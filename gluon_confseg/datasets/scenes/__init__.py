"""Street scenes drawn by the package: the Cityscapes layout, its raw labels and its 19 classes, without its pictures."""

from __future__ import annotations

from .scene import VERSION, scene
from .writer import draw

__all__ = ["VERSION", "draw", "scene"]
