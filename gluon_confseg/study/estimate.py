"""How long a study will take: a dry run of one training of each arm, and the order in which the trainings are made."""

from __future__ import annotations

import heapq

from gluon_confseg import dry_run
from gluon_confseg.progress import duration
from gluon_confseg.report.grid import Grid

from . import arms, fitted
from .run import Study


def measure(study: Study, processes: int) -> dict:
    """The time of a study from its beginning, in seconds, for JSON; each training is taken to have a core of its own.

    base, arms   of one training with its validation, or of putting an arm together; arms that are read by another rule
                 only are left out
    tuning       until the first seed has tried all rates, with `processes` trainings side by side
    seed         of one further seed, alone
    whole        of the study
    """
    one = {arm.key: arm.rate for arm in study.arms if arm.trained}
    recipe = study.recipe(study.arms, {key: [rate] for key, rate in one.items()}, one, 0)
    measured = dry_run.run(recipe, study.root, images=recipe.phases[0].batch_size)
    seconds = {}
    for part in ("phases", "matrices", "evaluations"):
        for entry in measured[part]:
            name = entry["name" if part == "phases" else "phase"]
            seconds[name] = seconds.get(name, 0.0) + 3600 * entry["hours"]
    # an arm that the made-up groups of a dry run leave out takes nothing
    each = {key: seconds.get(arms.phase_name(key, rate), 0.0) for key, rate in one.items()}
    base, others = seconds[arms.BASE], len({*study.seeds} - {study.tuning_seed})
    waves = [[each[arm.key] for arm in wave if arm.trained] for wave in arms.waves(study.arms)]
    tuning = base + sum(makespan(wave * study.tries, processes) for wave in waves)
    for arm in study.arms:
        if arm.candidates:
            each[arm.key] = len(study.splits.val) * put_together(fitted.phases(arm, one), measured)
            tuning += each[arm.key]
    seed = base + sum(each.values())
    return {
        "processes": processes,
        "images": {"train": len(study.splits.train), "val": len(study.splits.val)},
        "crop": list(study.plan.crop),
        "scale": list(study.plan.scale),
        "epochs": study.plan.epochs._asdict(),
        "tries": study.tries,
        "seeds": list(study.seeds),
        "base": base,
        "arms": each,
        "tuning": tuning,
        "seed": seed,
        "whole": tuning + makespan([seed] * others, processes),
    }


def put_together(names: list, measured: dict) -> float:
    """Seconds for each validation image of an arm with these candidates' phases, at most: see `fitted`.

    All subnets run once to choose, on one pass of the encoder, and one network is scored. A head for all classes was
    scored in each candidate.
    """
    several = {entry["name"] for entry in measured["phases"] if len(entry["groups"]) > 1}
    known = [
        3600 * entry["hours"] / entry["images"]
        for entry in measured["evaluations"]
        if entry["phase"] in several & set(names)
    ]
    return sum(known) + max(known, default=0.0)


def makespan(tasks: list, processes: int) -> float:
    """Seconds until tasks of so many seconds are done, each begun in its turn when a process is free."""
    free = [0.0] * processes
    for task in tasks:
        heapq.heappush(free, heapq.heappop(free) + task)
    return max(free)


def sentence(found: dict) -> str:
    """The whole in one sentence."""
    return (
        f"This study will take about {duration(found['whole'])} on an idle machine, with at most {found['processes']} "
        f"trainings side by side: {duration(found['tuning'])} until the first seed has tried all learning rates"
        + (f", and {duration(found['seed'])} for each further seed" if len(found["seeds"]) > 1 else "")
    )


def text(found: dict) -> str:
    """For people."""
    images, epochs = found["images"], found["epochs"]
    rows = [["base", str(epochs["base"]), duration(found["base"])]]
    for key, seconds in found["arms"].items():
        epochs_of_arm = str(epochs[arms.ARMS[key].length]) if arms.ARMS[key].trained else "-"
        rows.append([key, epochs_of_arm, duration(seconds)])
    by = "{} x {}".format
    return "\n\n".join(
        [
            f"{images['train']} training and {images['val']} validation images; crops of {by(*found['crop'])} (height "
            f"x width) at {found['scale'][0]:g} to {found['scale'][1]:g} of full size; learning rates of each arm: "
            f"{found['tries']}; seeds: {' '.join(map(str, found['seeds']))}.",
            Grid(["arm", "epochs", "one training"], rows, words=1).text(),
            f"{sentence(found)}.",
        ]
    )
