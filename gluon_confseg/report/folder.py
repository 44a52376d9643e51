"""Reading a run folder: all that a report may say comes from these files, and none is trusted blindly."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np

from gluon_confseg import metrics
from gluon_confseg.errors import RunError
from gluon_confseg.run_folder import AGAIN, read_json, read_log, read_matrices

NEEDED = ("schema", "title", "first_line", "data", "classes", "colors", "groups", "cells")
NEEDED_OF_CELL = ("key", "subnets", "loss", "mean_iou", "iou")
SCHEMA = 2


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run.

    results      results.json
    counts       cell key -> int64 (K, K), rows truth, columns prediction; in the order of the cells
    train        the training split's matrix that groups and weights come from; None where the run kept none
    found        groups.json
    panels       panels/panels.json, empty where there is none
    epochs       the lines of log.jsonl, empty where there is none
    timing       timing.json, empty where there is none
    """

    folder: Path
    results: dict
    counts: dict[str, np.ndarray]
    train: np.ndarray | None
    found: dict
    panels: list[dict]
    epochs: list[dict]
    timing: dict

    @property
    def cells(self) -> list:
        return self.results["cells"]

    @property
    def classes(self) -> list:
        return self.results["classes"]

    @property
    def groups(self) -> list:
        """The groups that the subnets were built for, as lists of class ids."""
        return self.results["groups"]["classes"]


def read(folder) -> Run:
    """Read and check a run folder; RunError names the file that is missing, damaged or of another run."""
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(
            f"{folder}: there is no such run folder; give the folder with the results.json of an experiment"
        )
    results = _results(folder / "results.json")
    matrices = _matrices(folder / "confusion.npz", results)
    return Run(
        folder=folder,
        results=results,
        counts={cell["key"]: matrices[cell["key"]] for cell in results["cells"]},
        train=matrices.get("train"),
        found=_groups(folder / "groups.json"),
        panels=_panels(folder / "panels", results),
        epochs=read_log(folder / "log.jsonl"),
        timing=read_json(folder / "timing.json") if (folder / "timing.json").exists() else {},
    )


def _results(path: Path) -> dict:
    results = read_json(path)
    if not isinstance(results, dict) or results.get("schema") != SCHEMA:
        got = results.get("schema") if isinstance(results, dict) else type(results).__name__
        raise RunError(f"{path}: expected results of schema {SCHEMA}, got {got}; {AGAIN} with this version")
    missing = [name for name in NEEDED if name not in results]
    missing += [
        f"cells[{i}].{name}"
        for i, cell in enumerate(results.get("cells", []))
        for name in NEEDED_OF_CELL
        if name not in cell
    ]
    if missing or not results["cells"]:
        raise RunError(f"{path}: {', '.join(missing) or 'every cell'} is missing; delete it and {AGAIN}")
    for cell in results["cells"]:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", cell["key"]) or len(cell["iou"]) != len(results["classes"]):
            raise RunError(
                f"{path}: cell {cell['key']!r} needs a key of letters and digits and an IoU per class; {AGAIN}"
            )
    return results


def _groups(path: Path) -> dict:
    found = read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get("groups"), list):
        raise RunError(f"{path}: holds no groups; delete it and {AGAIN}")
    return found


def _matrices(path: Path, results: dict) -> dict:
    matrices = read_matrices(path)
    size = len(results["classes"])
    for cell in results["cells"]:
        if cell["key"] not in matrices:
            raise RunError(f"{path}: the matrix of cell {cell['key']} is missing; delete it and {AGAIN}")
    for name, counts in matrices.items():
        if counts.shape != (size, size) or counts.dtype.kind not in "iu" or counts.min(initial=0) < 0:
            raise RunError(
                f"{path}: matrix {name} is {counts.dtype} of shape {counts.shape}, expected counts of shape "
                f"{(size, size)}; {AGAIN}"
            )
    for cell in results["cells"]:
        computed = metrics.mean_iou(matrices[cell["key"]])
        if abs(computed - cell["mean_iou"]) > 1e-6:
            raise RunError(
                f"{path}: the matrix of cell {cell['key']} gives an mIoU of {100 * computed:.2f}, results.json "
                f"says {100 * cell['mean_iou']:.2f}: the two are of different runs; {AGAIN}"
            )
    return matrices


def _panels(folder: Path, results: dict) -> list:
    if not (folder / "panels.json").exists():
        return []
    panels = read_json(folder / "panels.json")
    wanted = ["image", "truth"] + [cell["key"] for cell in results["cells"]]
    for panel in panels:
        for name in wanted:
            path = folder / panel["name"] / f"{name}.png"
            if not path.is_file():
                raise RunError(f"{path}: there is no such picture, though panels.json lists it; {AGAIN}")
    return panels
