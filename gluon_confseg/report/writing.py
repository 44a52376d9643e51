"""One call from a run folder to its report."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from gluon_confseg import metrics
from gluon_confseg.errors import RunError
from gluon_confseg.files import write_bytes
from gluon_confseg.report import document, html, markdown, pictures, tables
from gluon_confseg.report.folder import AGAIN, Run, read


def write(run_folder) -> Path:
    """See `report.write`."""
    run = read(run_folder)
    draw(run)
    blocks = document.build(run)
    first_line, title = run.results["first_line"], run.results["title"]
    write_bytes(run.folder / "report.md", markdown.page(first_line, title, blocks).encode("utf-8"))
    page = run.folder / "report.html"
    write_bytes(page, html.page(first_line, title, blocks, run.folder / "pictures").encode("utf-8"))
    return page


def draw(run: Run) -> None:
    """Draw every picture of a run into its folder pictures/."""
    folder, names = run.folder / "pictures", [tables.cell_name(cell) for cell in run.cells]
    if run.panels:
        rows = [_panel(run, panel) for panel in run.panels]
        pictures.panels(folder / "panels.png", rows, names, run.classes, run.results["colors"])
    shares = [metrics.normalize(run.counts[cell["key"]]) for cell in run.cells]
    for cell, name, of_cell in zip(run.cells, names, shares):
        path = folder / f"confusion_{cell['key']}.png"
        pictures.confusion_matrix(path, of_cell, run.classes, run.groups, name)
        if cell is not run.cells[0]:
            path, title = folder / f"difference_{cell['key']}.png", f"{name}, against {names[0]}"
            pictures.difference(path, shares[0], of_cell, run.classes, run.groups, title)
    shown = shares[0]
    if run.train is not None:
        path, shown = folder / "confusion_train.png", metrics.normalize(run.train)
        pictures.confusion_matrix(path, shown, run.classes, run.groups, "Training images")
    pictures.groups(folder / "groups.png", shown, run.classes, run.groups)
    iou = [cell["iou"] for cell in run.cells]
    pictures.class_iou(folder / "class_iou.png", iou, names, run.classes, run.groups)
    if run.epochs:
        pictures.curves(folder / "training.png", run.epochs)


def _panel(run: Run, panel: dict) -> dict:
    folder = run.folder / "panels" / panel["name"]
    image = _picture(folder / "image.png", cv2.IMREAD_COLOR)
    ids = [
        _picture(folder / f"{name}.png", cv2.IMREAD_GRAYSCALE, image.shape[:2])
        for name in ("truth", *(cell["key"] for cell in run.cells))
    ]
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return {**panel, "image": rgb, "truth": ids[0], "predictions": ids[1:]}


def _picture(path: Path, mode: int, size: tuple = ()) -> np.ndarray:
    pixels = cv2.imread(str(path), mode)
    if pixels is None:
        raise RunError(f"{path}: can't be read as a picture; delete it and {AGAIN}")
    if size and pixels.shape != size:
        raise RunError(
            f"{path}: {pixels.shape[1]} x {pixels.shape[0]}, but its image is {size[1]} x {size[0]}; {AGAIN}"
        )
    return pixels
