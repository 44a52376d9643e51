"""One call from a run folder to its report."""

from __future__ import annotations

from pathlib import Path

from gluon_confseg import metrics
from gluon_confseg.files import write_bytes
from gluon_confseg.report import comparison, document, explorer, markdown, panels, pictures, tables
from gluon_confseg.report.comparison import Comparison
from gluon_confseg.report.folder import Run


def write(run_folder) -> Path:
    """See `report.write`."""
    compared = comparison.of_runs([run_folder])
    (run,), chosen = compared.runs, choose_panels(compared)
    draw(run)
    if chosen:
        draw_panels(compared, chosen)
    blocks = document.build(run, chosen)
    page = markdown.page(run.results["first_line"], run.results["title"], blocks)
    write_bytes(run.folder / "report.md", page.encode("utf-8"))
    return explorer.write(compared, run.folder)


def draw(run: Run) -> None:
    """Draw every picture of a run but the panels into its folder pictures/."""
    folder, names = run.folder / "pictures", [tables.cell_name(cell) for cell in run.cells]
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


def choose_panels(compared: Comparison) -> list:
    """The rows of Fig. 8, as far as the run has the pixels for them."""
    arms, images = compared.arms, compared.pictures.complete
    if len(arms) > panels.ABREAST or any(arm.per_image is None for arm in arms):
        return []
    return panels.choose(arms[0].per_image, arms[-1].per_image, compared.groups, images)


def draw_panels(compared: Comparison, chosen: list) -> None:
    """Draw pictures/panels.png."""
    names, (run,) = [arm.name for arm in compared.arms], compared.runs
    path, rows = run.folder / "pictures/panels.png", panel_rows(compared, chosen)
    pictures.panels(path, rows, names, compared.classes, compared.colors)


def panel_rows(compared: Comparison, chosen: list) -> list:
    """What `pictures.panels` draws of the images that `choose_panels` chose."""
    rows = []
    for image, pair, worse in chosen:
        photograph, truth, predictions = compared.pictures.read(image)
        why = " taken for ".join(compared.classes[klass] for klass in pair)
        rows.append(
            {
                "name": compared.names[image],
                "why": why + (", worse with the last cell" if worse else ""),
                "image": photograph,
                "truth": truth,
                "predictions": predictions,
            }
        )
    return rows
