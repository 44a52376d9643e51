"""The training curves of a run, one plot for each phase."""

from __future__ import annotations

from collections.abc import Sequence

from gluon_confseg.report.pictures import canvas
from gluon_confseg.report.pictures.lettering import Lettering

PHASES = {
    "base": "subnet 0, cross-entropy (base)",
    "ce": "subnet 0, cross-entropy (ce)",
    "confusion_ce": "subnet 0, confusion CE",
    "subnets_ce": "further subnets, cross-entropy",
    "subnets_confusion_ce": "further subnets, confusion CE",
}


def curves(path, epochs: Sequence[dict], title: str = "") -> None:
    """Draw the loss of each epoch; epochs: lines of log.jsonl, {"phase", "epoch", "loss": {name: value}}.

    Losses of different phases are of different kinds, so each phase has its own scale.
    """
    lettering = Lettering([], title)
    phases = list(dict.fromkeys(line["phase"] for line in epochs))
    columns = min(len(phases), 3)
    rows = -(-len(phases) // columns)
    with canvas.figure(path, 0.6 + 3.6 * columns, 0.5 + 2.5 * rows, lettering) as figure:
        figure.suptitle(lettering.text(title), x=0.01, ha="left", weight="bold", size=11)
        plots = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, phase in zip(plots, phases):
            _phase(axes, phase, [line for line in epochs if line["phase"] == phase])
        for axes in plots[len(phases) :]:
            axes.set_axis_off()


def _phase(axes, phase: str, lines: list) -> None:
    first = min(line["epoch"] for line in lines)  # counted from 0 or from 1: shown from 1
    names = list(dict.fromkeys(name for line in lines for name in line["loss"]))
    for index, name in enumerate(names):
        known = [line for line in lines if line["loss"].get(name) is not None]
        counted = [line["epoch"] - first + 1 for line in known]
        style = {
            "color": canvas.GROUPS[index % len(canvas.GROUPS)],
            "label": name.replace("subnet", "subnet "),
        }
        values = [line["loss"][name] for line in known]
        axes.plot(counted, values, marker="o", markersize=3, linewidth=1.4, **style)
    axes.set_title(PHASES.get(phase, phase), size=9.5)
    axes.set(xlabel="epoch", ylabel="loss", ylim=(0, None), xlim=(0.5, len(lines) + 0.5))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(color=canvas.GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if len(names) > 1:
        axes.legend(frameon=False, fontsize=8)
