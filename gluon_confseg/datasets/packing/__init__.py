"""Packs: a split as one file of uint8 pixels and train ids, of which a random crop reads only its own rows.

`pack(dataset, folder)` makes or opens one, `load(folder)` only opens. In the folder: samples.bin, the pixels, each
sample on pages of its own; index.json, what lies where, with checksums, written when all else is there.
"""

from __future__ import annotations

from pathlib import Path

from gluon_confseg.datasets.packing import index
from gluon_confseg.datasets.packing.filling import needed, pack
from gluon_confseg.datasets.packing.packed import Packed

__all__ = ["Packed", "load", "needed", "pack"]


def load(folder) -> Packed:
    """A finished pack, without the data set it was made from; DatasetError where it is none, or damaged."""
    return Packed(Path(folder), index.load(Path(folder)))
