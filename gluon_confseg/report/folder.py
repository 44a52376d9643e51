"""Reading a run folder: all that a report may say comes from these files, and none is trusted blindly."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np

from gluon_confseg import metrics
from gluon_confseg.errors import RunError
from gluon_confseg.report.per_image import PerImage
from gluon_confseg.run_folder import AGAIN, read_evaluation, read_json, read_log, read_matrices

NEEDED = ("schema", "title", "first_line", "data", "classes", "colors", "groups", "cells")
NEEDED_OF_CELL = ("key", "subnets", "loss", "mean_iou", "iou")
SCHEMA = 2


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run.

    results      results.json
    counts       cell key -> int64 (K, K), rows truth, columns prediction; in the order of the cells
    train        the training split's matrix that groups and weights come from; None where the run kept none
    train_of     phase -> such a matrix, of other phases that the run measured
    found        groups.json
    examples     examples/examples.json, empty where there is none
    per_image    cell key -> PerImage, of those cells whose counts of single images the folder holds
    epochs       the lines of log.jsonl, empty where there is none
    timing       timing.json, empty where there is none
    """

    folder: Path
    results: dict
    counts: dict[str, np.ndarray]
    train: np.ndarray | None
    train_of: dict[str, np.ndarray]
    found: dict
    examples: dict
    per_image: dict[str, PerImage]
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
    examples = _examples(folder / "examples")
    return Run(
        folder=folder,
        results=results,
        counts={cell["key"]: matrices[cell["key"]] for cell in results["cells"]},
        train=matrices.get("train"),
        train_of={name[6:]: counts for name, counts in matrices.items() if name.startswith("train_")},
        found=_groups(folder / "groups.json"),
        examples=examples,
        per_image=_per_image(folder, results, matrices, examples.get("split", "val")),
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


def phase_of(cell: dict) -> str:
    """The name of the phase whose network a cell scores; "" where results.json does not say."""
    return Path(cell.get("checkpoint", "")).stem


def _examples(folder: Path) -> dict:
    if not (folder / "examples.json").exists():
        return {}
    examples = read_json(folder / "examples.json")
    try:
        names, images, split = examples["names"], examples["images"], examples["split"]
        fits = isinstance(split, str) and all(isinstance(name, str) for name in names)
        for image in images:
            fits = fits and 0 <= image["index"] < len(names)
            fits = fits and all(
                re.fullmatch(r"\d+\.(jpg|png)", image[part]) for part in ("photograph", "labels")
            )
    except (KeyError, TypeError):
        fits = False
    if not fits:
        raise RunError(f"{folder / 'examples.json'}: is no list of images; delete it and {AGAIN}")
    return examples


def _network(cell: dict) -> tuple:
    """Which network's scores on which views a cell's are."""
    return phase_of(cell), cell.get("tta", "single")


def _per_image(folder: Path, results: dict, matrices: dict, split: str) -> dict:
    """Of each cell, its counts by image; RunError where their sum is not its matrix."""
    found, at, of_rules = {}, None, {}
    for cell in sorted(results["cells"], key=_network):  # one network's counts at a time: they can be large
        if _network(cell) != at:
            at = _network(cell)
            of_rules = read_evaluation(folder, *at, split)
        counts = of_rules.get(cell.get("rule"))
        if counts is None:
            continue
        if not np.array_equal(counts.sum(0), matrices[cell["key"]]):
            raise RunError(
                f"{folder}: the counts of single images in checkpoints/ are not those that the matrix of cell "
                f"{cell['key']} is the sum of: they are of different runs; {AGAIN}"
            )
        found[cell["key"]] = PerImage.from_matrices(counts)
    return found
