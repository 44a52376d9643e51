"""One budget of tuning for every arm: the same number of learning rates, judged on the validation split by one seed."""

from __future__ import annotations

from gluon_confseg import metrics
from gluon_confseg.errors import RunError
from gluon_confseg.run_folder import read_json

from .arms import Arm

# number of tries -> factors of the reference rate
FACTORS = {1: (1.0,), 3: (0.3, 1.0, 3.0), 5: (0.1, 0.3, 1.0, 3.0, 10.0)}
NAME = "tuning.json"


def rates(arm: Arm, tries: int) -> list:
    """The learning rates that an arm tries, in ascending order."""
    return [float(f"{factor * arm.rate:.6g}") for factor in FACTORS[tries]]


def best(tried: list) -> float | None:
    """The learning rate of the highest score, the lowest of equal ones; None where no try has a score.

    tried   [{"rate": ..., "mean_iou": a share, or None where the training diverged}, ...]
    """
    scored = [entry for entry in tried if entry["mean_iou"] is not None]
    return max(scored, key=lambda entry: (entry["mean_iou"], -entry["rate"]))["rate"] if scored else None


def outcome(recipe, folder, names: dict, split: str = "val") -> dict:
    """What the tries of an arm came to: {"tried": [...], "chosen": a rate or None}.

    names   rate -> the phase that was trained with it
    """
    tried = []
    for rate, name in names.items():
        counts = folder.evaluation(name, split=split).get(recipe.rule_at(recipe.phase(name)))
        score = None if counts is None else metrics.mean_iou(counts.sum(0))
        tried.append({"rate": rate, "mean_iou": score})
    return {"tried": tried, "chosen": best(tried)}


def read(out) -> dict | None:
    """The record of a study's tuning in its folder; None where it has not begun. RunError for a damaged one."""
    file = out / NAME
    if not file.exists():
        return None
    found = read_json(file, "give the `confseg study` command again: it is made anew from the run folders")
    try:
        found["seed"], [(arm["tried"], arm["chosen"]) for arm in found["arms"].values()]
    except (KeyError, TypeError, AttributeError):
        raise RunError(
            f"{file}: is no study's tuning; delete it and give the `confseg study` command again"
        ) from None
    return found


def sentence(found: dict) -> str:
    """What the tries of an arm came to, in words."""
    scores = (
        f"{entry['rate']:g} "
        + ("diverged" if entry["mean_iou"] is None else f"{100 * entry['mean_iou']:.2f} %")
        for entry in found["tried"]
    )
    return f"val mIoU by learning rate: {', '.join(scores)}; chosen: {found['chosen']:g}"
