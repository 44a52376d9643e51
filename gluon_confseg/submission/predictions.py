"""A folder of finished predictions beside an archive: a call that was stopped goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gluon_confseg import files
from gluon_confseg.errors import DatasetError, RunError
from gluon_confseg.submission.servers import Server

ABOUT = "made-with.json"


class Predictions:
    """Predictions of one checkpoint, made in one way.

    folder      of NAME.png each, and of a record of what they were made with
    made_with   anything JSON holds; RunError where the folder holds something made with something else
    """

    def __init__(self, folder: Path, server: Server, made_with: dict):
        self.folder, self.server = Path(folder), server
        there = sorted(path.name for path in self.folder.glob("*.png"))
        if there and _record(self.folder / ABOUT) != json.loads(json.dumps(made_with)):
            raise RunError(
                f"{self.folder}: holds {len(there)} predictions of another checkpoint, or made in another way; remove "
                f"this folder, or choose another --out"
            )
        files.write_json(self.folder / ABOUT, made_with)

    def path(self, name: str) -> Path:
        """The file of an image's prediction."""
        return self.folder / f"{name}.png"

    def missing(self, expected: dict) -> list:
        """Indices of the images whose prediction is not there, or not whole. expected: {name: (height, width)}"""
        return [i for i, (name, size) in enumerate(expected.items()) if not self._is_whole(name, size)]

    def add(self, name: str, train_ids: np.ndarray) -> None:
        """Write the prediction of an image, (H, W) uint8 train ids."""
        files.write_bytes(self.path(name), self.server.encode(train_ids))

    def _is_whole(self, name: str, size) -> bool:
        path = self.path(name)
        try:
            self.server.values_of(path.name, path.read_bytes(), size)
        except (OSError, DatasetError):
            return False
        return True


def _record(path: Path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
