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
    """Write pictures/*.png, report.md and report.html of a run folder; returns the path of report.html.

    The same run gives the same bytes. Reads only the files of the run folder.
    raises   RunError, one sentence, for a file that is missing, damaged or of another run
    """
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
    _draw_matrices(run, folder)
    shown = run.train if run.train is not None else run.counts[run.cells[0]["key"]]
    pictures.groups(folder / "groups.png", metrics.normalize(shown), run.classes, run.groups)
    iou = [cell["iou"] for cell in run.cells]
    pictures.class_iou(folder / "class_iou.png", iou, names, run.classes, run.groups)
    if run.epochs:
        pictures.curves(folder / "training.png", run.epochs)


def _draw_matrices(run: Run, folder: Path) -> None:
    first = run.cells[0]
    baseline = metrics.normalize(run.counts[first["key"]])
    for cell in run.cells:
        name, shares = tables.cell_name(cell), metrics.normalize(run.counts[cell["key"]])
        path = folder / f"confusion_{cell['key']}.png"
        pictures.confusion_matrix(path, shares, run.classes, run.groups, name)
        if cell is not first:
            title = f"{name}, against {tables.cell_name(first)}"
            path = folder / f"difference_{cell['key']}.png"
            pictures.difference(path, baseline, shares, run.classes, run.groups, title)
    if run.train is not None:
        shares = metrics.normalize(run.train)
        pictures.confusion_matrix(
            folder / "confusion_train.png", shares, run.classes, run.groups, "Training images"
        )


def _panel(run: Run, panel: dict) -> dict:
    folder = run.folder / "panels" / panel["name"]
    image = _picture(folder / "image.png", cv2.IMREAD_COLOR)
    truth = _picture(folder / "truth.png", cv2.IMREAD_GRAYSCALE, image.shape[:2])
    answers = [
        _picture(folder / f"{cell['key']}.png", cv2.IMREAD_GRAYSCALE, image.shape[:2]) for cell in run.cells
    ]
    return {**panel, "image": cv2.cvtColor(image, cv2.COLOR_BGR2RGB), "truth": truth, "predictions": answers}


def _picture(path: Path, mode: int, size: tuple = ()) -> np.ndarray:
    pixels = cv2.imread(str(path), mode)
    if pixels is None:
        raise RunError(f"{path}: can't be read as a picture; delete it and {AGAIN}")
    if size and pixels.shape != size:
        raise RunError(
            f"{path}: {pixels.shape[1]} x {pixels.shape[0]}, but its image is {size[1]} x {size[0]}; {AGAIN}"
        )
    return pixels
