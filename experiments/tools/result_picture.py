"""Draws the picture of a result that README.md and docs/results.md show, and writes its caption into both.

Run:   confseg train drawn
       .venv/bin/python -m experiments.tools.result_picture runs/drawn-quick-seed0
Cost:  some seconds
Gives: of the validation images that the run keeps, that in which subnets mend most, and that in which they spoil most.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gluon_confseg import files
from gluon_confseg.cli import frame
from gluon_confseg.errors import RunError
from gluon_confseg.report import comparison
from gluon_confseg.run_folder import read_json

from .. import PROJECT, argument_parser
from .marked_text import replace_between

PICTURE = PROJECT / "docs" / "images" / "result.png"
PAGES = {
    "README.md": "docs/images",
    "docs/results.md": "images",
}  # page -> the folder of pictures, from there
MARKS = ("<!-- picture: python -m experiments.tools.result_picture RUN -->", "<!-- end of picture -->")
BEFORE = ("subnet0_ce_continued", "subnet0_ce")  # what is compared with: the first that the run has
LOSSES = {
    "CE": "cross-entropy",
    "CE, trained on": "cross-entropy, trained on",
    "confusion CE": "the paper's loss",
}
INK = "#808890"  # of words, legible on light and dark pages
OPACITY = 0.62  # of the classes' colours over the picture


class Scene(NamedTuple):
    """A validation image. wrong: shares of its labelled pixels that are wrong, before and after."""

    image: np.ndarray
    truth: np.ndarray
    predictions: tuple
    wrong: tuple

    @property
    def mended(self) -> float:
        """The share of pixels that is right now, less what was right before."""
        return self.wrong[0] - self.wrong[1]


def main(argv: list | None = None) -> int:
    """Draw, and write the captions; the exit status."""
    parser = argument_parser("tools.result_picture", __doc__)
    parser.add_argument("run", type=Path, help="a finished run")
    arguments = parser.parse_args(argv)
    return frame.run(lambda: _run(arguments.run))


def _run(run: Path) -> None:
    results = read_json(run / "results.json")
    before, after = cells(run, results)
    found = sorted(scenes(run, before, after), key=lambda scene: scene.mended)
    if not found:
        raise RunError(
            f"{run}: keeps no validation images with the predictions of all its cells; train it anew"
        )
    chosen = [found[-1], found[0]] if len(found) > 1 else found
    files.write_bytes(PICTURE, drawn(chosen, before, after, results["colors"]))
    for page, folder in PAGES.items():
        replace_between(PROJECT / page, MARKS, caption(chosen, len(found), before, after, results, folder))
    print(caption(chosen, len(found), before, after, results, "docs/images"))


def cells(run: Path, results: dict) -> tuple:
    """The cell that is compared with, and the best of those that fuse subnets."""
    by_key = {cell["key"]: cell for cell in results["cells"]}
    fused = [cell for cell in results["cells"] if cell["subnets"] != "0"]
    before = next((by_key[key] for key in BEFORE if key in by_key), None)
    if before is None or not fused:
        raise RunError(
            f"{run}: has no cells with and without subnets to compare; give a run of the recipe drawn"
        )
    return before, max(fused, key=lambda cell: cell["mean_iou"])


def scenes(run: Path, before: dict, after: dict) -> list:
    """The validation images that a run keeps with the predictions of all its cells."""
    compared = comparison.of_runs([run])
    keys = [arm.cell["key"] for arm in compared.arms]
    places = [keys.index(cell["key"]) for cell in (before, after)]
    found = []
    for index in compared.pictures.complete:
        image, truth, predictions = compared.pictures.read(index)
        shown = tuple(predictions[place] for place in places)
        labelled = truth != 255
        wrong = tuple(float(np.mean(ids[labelled] != truth[labelled])) for ids in shown)
        found.append(Scene(image, truth, shown, wrong))
    return found


def name(cell: dict) -> str:
    """A cell in words."""
    loss = LOSSES.get(cell["loss"], cell["loss"])
    return f"{'subnet 0 alone' if cell['subnets'] == '0' else 'all subnets'} ({loss})"


def drawn(chosen: list, before: dict, after: dict, colors) -> bytes:
    """The picture as PNG."""
    height, width = chosen[0].truth.shape
    wide = 4.3
    tall = wide * height / width + 0.34
    figure = Figure(figsize=(3 * wide + 0.1, tall * len(chosen)), dpi=100, facecolor="none")
    axes = figure.subplots(len(chosen), 3, squeeze=False)
    for row, scene in zip(axes, chosen):
        shown = (scene.truth, *scene.predictions)
        words = ("all subnets" if cell["subnets"] != "0" else "subnet 0 alone" for cell in (before, after))
        heads = [
            "ground truth",
            *(f"{what}: {100 * wrong:.1f} % wrong" for what, wrong in zip(words, scene.wrong)),
        ]
        for place, ids, head in zip(row, shown, heads):
            place.imshow(painted(scene, ids, colors))
            place.set_title(head, size=12.5, color=INK, pad=4)
            place.axis("off")
    figure.subplots_adjust(
        left=0, right=1, bottom=0, top=1 - 0.3 / (tall * len(chosen)), wspace=0.012, hspace=0.13
    )
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    return content.getvalue()


def painted(scene: Scene, ids: np.ndarray, colors) -> np.ndarray:
    """The classes' colours over the image, twice its size; white lines around what is wrong."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colors)] = colors
    wrong = ((ids != scene.truth) & (scene.truth != 255)).astype(np.uint8)
    size = (2 * ids.shape[1], 2 * ids.shape[0])
    image = cv2.resize(scene.image, size, interpolation=cv2.INTER_CUBIC)
    paint = cv2.resize(palette[ids], size, interpolation=cv2.INTER_NEAREST)
    shown = cv2.addWeighted(image, 1 - OPACITY, paint, OPACITY, 0)
    outlines = cv2.findContours(cv2.resize(wrong, size, interpolation=cv2.INTER_NEAREST), cv2.RETR_CCOMP,
                                cv2.CHAIN_APPROX_NONE)[0]  # fmt: skip
    return cv2.drawContours(np.ascontiguousarray(shown), outlines, -1, (255, 255, 255), 1)


def caption(chosen: list, count: int, before: dict, after: dict, results: dict, folder: str) -> str:
    """The picture and what it shows, as Markdown. count: of the images from which they were chosen."""
    data = "Drawn street scenes" if results["data"]["drawn"] else results["data"]["name"]
    run = (
        f"recipe {results['recipe']}, profile {results['training']['profile']}, seed {results['seed']} alone"
    )
    told = [f"from {100 * scene.wrong[0]:.1f} to {100 * scene.wrong[1]:.1f} %" for scene in chosen]
    rest = f", and below the one in which it falls least, or rises most, {told[1]}" if len(told) > 1 else ""
    words = (
        f"{data} ({run}): the ground truth, the prediction of {name(before)}, and that of {name(after)}. White lines "
        f"surround wrong pixels. Of the {count} validation images that the run keeps for its report, above is the one "
        f"in which the share of wrong pixels falls most, {told[0]}{rest}."
    )
    return f"![A result: ground truth and two predictions of each of two scenes]({folder}/{PICTURE.name})\n\n*{words}*"


if __name__ == "__main__":
    sys.exit(main())
