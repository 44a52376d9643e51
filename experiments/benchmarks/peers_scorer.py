"""The official Cityscapes scorer on a folder of PNGs, as a command of its own. Runs in .venv-bench."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from side import Work, serve

SCORE = "--score"  # what this program's own child does


def confusion(folder: str) -> Work:
    """The scorer started on the pairs of PNGs in a folder, without its scores of instances."""
    command = [sys.executable, __file__, SCORE, folder]

    def run() -> dict:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True
        )
        return json.loads(done.stdout)

    return Work(run, mean_iou=run()["mean_iou"])


def score(folder: str) -> None:
    """Print the scorer's mean IoU as JSON."""
    import c_loop

    if not c_loop.give_to_official_scorer():
        print("no C compiler: the official scorer counts in NumPy, which takes longer", file=sys.stderr)
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as scorer

    scorer.args.quiet, scorer.args.JSONOutput, scorer.args.evalInstLevelScore = True, False, False
    labels = sorted(str(file) for file in Path(folder, "labels").glob("*.png"))
    predictions = sorted(str(file) for file in Path(folder, "predictions").glob("*.png"))
    found = scorer.evaluateImgLists(predictions, labels, scorer.args)
    print(json.dumps({"mean_iou": float(found["averageScoreClasses"])}))


WORKS = {"confusion": confusion}

if __name__ == "__main__":
    if sys.argv[1] == SCORE:
        score(sys.argv[2])
    else:
        serve(WORKS, lambda: {"cityscapesScripts": metadata.version("cityscapesScripts")})
