"""What stands in the report's page without its script: worst pairs, what changed, groups, results, what is next."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from urllib.parse import quote

import numpy as np

from gluon_confseg import groups, metrics
from gluon_confseg.report import costs, explain, outcome, page_data, tables
from gluon_confseg.report.comparison import Comparison
from gluon_confseg.report.crops import Crop
from gluon_confseg.report.document import settings_grid, shown
from gluon_confseg.report.grid import Grid
from gluon_confseg.report.tables import percent
from gluon_confseg.terminal import clean

SHOWN = 5e-5  # a change that two decimals of a percent show


def link(*names: str) -> str:
    """The part of an address behind # that shows a class, or a pair of classes."""
    return "#" + "/".join(quote(name, safe="") for name in names)


def words(compared: Comparison, crops: Sequence[Crop]) -> dict:
    """What the template page/page.html.j2 sets in; everything in it is escaped there."""
    pairs = compared.arms[0].ranked
    return {
        "title": clean(compared.title),
        "data_line": clean(compared.data),
        "notes": [clean(note) for note in compared.notes],
        "sentences": [clean(sentence) for sentence in _sentences(compared)],
        "lead": _lead(compared, pairs),
        "arms": _arms(compared),
        "several": len(compared.arms) > 1,
        "best": clean(compared.best.name),
        "first": clean(compared.arms[0].name),
        "of_runs": bool(compared.runs),
        "runs": len(compared.runs),
        "rules": sorted(
            {str(arm.cell["rule"]) for arm in compared.arms if arm.cell.get("rule", "subnet0") != "subnet0"}
        ),
        "papers": [clean(tables.paper_label(run.results)) for run in compared.runs if _has_paper(run)],
        "seeds": _seeds(compared),
        "worst": [
            {
                "arm": clean(arm.name),
                "num": len(arm.ranked),
                "pairs": [_pair(compared, i, j) for i, j in arm.ranked[: page_data.EXPLAINED]],
            }
            for arm in (compared.arms[0], compared.best)[: len(compared.arms)]
        ],
        "changes": _changes(compared),
        "groups": _groups(compared),
        "source": clean(compared.source),
        "absent": [clean(name) for name in _absent(compared)],
        "wrong": _wrong(compared),
        "num_images": len(compared.names),
        "has_images": compared.arms[0].per_image is not None,
        "crops": len(crops),
        "crop_images": len({crop.image for crop in crops}),
        "hidden_arms": len(compared.arms) - len(compared.abreast),
        "commands": _commands(compared),
        "folds": _folds(compared),
        "not_run": [clean(text) for run in compared.runs for text in run.results.get("not_run", ())],
        "has_curves": any(run.epochs for run in compared.runs),
    }


def _sentences(compared: Comparison) -> list:
    first, *others = compared.arms
    if len(compared.runs) == 1:
        scores = "; ".join(f"{arm.name} {percent(arm.mean_iou)} %" for arm in compared.arms)
        few = 0 < len(others) <= 5
        return [*([f"mIoU: {scores}."] if few else []), *outcome.sentences(compared.runs[0].results)]
    if not others:
        return [f"mIoU {percent(first.mean_iou)} %, pixel accuracy {percent(first.pixel_accuracy)} %."]
    few = len(others) <= 5
    changes = [
        f"{arm.name}{'' if few else f', the best of {len(others)},'} has {percent(arm.mean_iou)} % "
        f"({percent(arm.mean_iou - first.mean_iou, sign=True)} points)"
        for arm in (others if few else [compared.best])
    ]
    said = [f"{first.name} has {percent(first.mean_iou)} % mIoU; {'; '.join(changes)}."]
    if not compared.runs:
        said.append(
            "How much of such a difference is chance can't be told from one folder of predictions each: another "
            "training of the same network may differ by a point or more."
        )
    return said


def _lead(compared: Comparison, pairs: list) -> dict | None:
    """The confusion that costs most: how much, where, and whether it was mended."""
    if not pairs:
        return None
    i, j = pairs[0]
    record = explain.pair(compared, i, j)
    where = next((section["text"] for section in record["sections"] if section["title"] == "Where"), [])
    return {
        **_pair(compared, i, j),
        "num": len(pairs),
        "mended": clean(" ".join(explain.mended(compared, i, j))),
        "where": clean(where[0]) if record["images"] else "",
        "key": f"{i}/{j}",
    }


def _pair(compared: Comparison, i: int, j: int) -> dict:
    first, best = compared.arms[0], compared.best
    number = compared.group_of(i, j) if j < len(compared.classes) else None
    images = [
        None if arm.per_image is None else int(np.count_nonzero(arm.per_image.pixels(i, j)))
        for arm in (first, best)
    ]
    return {
        "truth": clean(compared.named(i)),
        "prediction": clean(compared.named(j)),
        "group": number,
        "pixels": f"{int(first.full[i, j]):,}",
        "best_pixels": f"{int(best.full[i, j]):,}",
        "share": first.shares[i, j],
        "cost": first.costs[i, j],
        "best_share": best.shares[i, j],
        "change": best.shares[i, j] - first.shares[i, j],
        "best_cost": best.costs[i, j],
        "images": images[0],
        "best_images": images[1],
    }


def _has_paper(run) -> bool:
    return any(cell.get("paper_mean_iou") is not None for cell in run.cells)


def _arms(compared: Comparison) -> list:
    """Rows of the table of results."""
    rows, first = [], compared.arms[0]
    firsts = {id(run): next(arm for arm in compared.arms if arm.run is run) for run in compared.runs}
    for arm in compared.arms:
        reference = firsts.get(id(arm.run), first).cell.get("paper_mean_iou")
        paper = arm.cell.get("paper_mean_iou")
        better = worse = None
        if arm is not first and first.per_image is not None and arm.per_image is not None:
            grew = arm.per_image.wrong - first.per_image.wrong
            better, worse = int((grew < 0).sum()), int((grew > 0).sum())
        rows.append(
            {
                "name": clean(arm.name),
                "mean_iou": arm.mean_iou,
                "gain": None if arm is first else arm.mean_iou - first.mean_iou,
                "accuracy": arm.pixel_accuracy,
                "recall": metrics.mean_of_defined(arm.recall),
                "updates": tables.updates(arm.cell) if arm.cell else "",
                "seed": "" if arm.run is None else shown(arm.run.results.get("seed")),
                "paper": None if paper is None else paper / 100,
                "paper_gain": None
                if paper is None or reference in (None, paper)
                else (paper - reference) / 100,
                "better": better,
                "worse": worse,
                "best": arm is compared.best and len(compared.arms) > 1,
            }
        )
    return rows


def _seeds(compared: Comparison) -> list:
    """Of arms that several runs have with other seeds: (name, number of seeds, mean mIoU, lowest, highest)."""
    found = {}
    for arm in compared.arms:
        if arm.run is not None:
            results = arm.run.results
            settings = json.dumps(
                [results.get("network"), _settings(results.get("training", {}))], sort_keys=True
            )
            key = (
                results.get("recipe"),
                results["title"],
                arm.cell["key"],
                arm.cell.get("updates"),
                settings,
            )
            found.setdefault(key, {})[results.get("seed")] = arm
    rows = []
    for by_seed in found.values():
        scores = [arm.mean_iou for arm in by_seed.values()]
        if len(scores) > 1:
            name = clean(tables.cell_name(next(iter(by_seed.values())).cell))
            rows.append((name, len(scores), sum(scores) / len(scores), min(scores), max(scores)))
    return rows


def _settings(training: dict) -> dict:
    """What results.json says of the training, without what seeds that are trained side by side may differ in."""
    said = {name: value for name, value in training.items() if name not in ("threads", "compiled_operators")}
    return {**said, "phases": list(map(_settings, training["phases"]))} if "phases" in training else said


def _changes(compared: Comparison) -> dict:
    """The pairs and classes that the best arm changed most: better and worse, by what they cost, and by IoU."""
    first, best = compared.arms[0], compared.best
    if best is first:
        return {}
    change = best.costs - first.costs
    ranked = [divmod(int(place), change.shape[1]) for place in np.argsort(change, axis=None, kind="stable")]
    gain = best.iou - first.iou
    classes = [int(k) for k in np.argsort(-np.nan_to_num(gain), kind="stable")]

    def row(i: int, j: int) -> dict:
        return {**_pair(compared, i, j), "cost_change": change[i, j]}

    def class_row(k: int) -> dict:
        return {
            "name": clean(compared.classes[k]),
            "before": first.iou[k],
            "after": best.iou[k],
            "gain": gain[k],
        }

    confused = (first.full > 0) | (best.full > 0)
    np.fill_diagonal(confused, False)
    return {
        "counts": {
            "better": (int((change < -SHOWN).sum()), int((gain > SHOWN).sum())),
            "worse": (int((change > SHOWN).sum()), int((gain < -SHOWN).sum())),
            "all": (int(confused.sum()), int((~np.isnan(gain)).sum())),
        },
        "better": [row(i, j) for i, j in ranked[:6] if change[i, j] < -SHOWN],
        "worse": [row(i, j) for i, j in ranked[::-1][:6] if change[i, j] > SHOWN],
        "classes_better": [class_row(k) for k in classes[:5] if gain[k] > SHOWN],
        "classes_worse": [class_row(k) for k in classes[::-1][:5] if gain[k] < -SHOWN],
    }


def _groups(compared: Comparison) -> list:
    first, best, rows = compared.arms[0], compared.best, []
    for number, group in enumerate(compared.groups, 1):
        # pixels that were predicted as no class stay out of both numbers
        perfect = metrics.mean_iou(costs.without_confusion_inside(first.counts, group), first.misses)
        rows.append(
            {
                "number": number,
                "classes": [clean(compared.classes[k]) for k in group],
                "inside": groups.inside(metrics.normalize(first.counts), group),
                "best_inside": groups.inside(metrics.normalize(best.counts), group),
                "perfect": perfect - first.mean_iou,
            }
        )
    return rows


def _absent(compared: Comparison) -> list:
    """Classes of groups that the labels hold no pixel of."""
    there = compared.arms[0].full.sum(1)
    return [compared.classes[k] for group in compared.groups for k in group if not there[k]]


def _wrong(compared: Comparison) -> list:
    return [(clean(arm.name), *costs.wrong_pixels(arm.full, compared.groups)) for arm in compared.arms]


def _commands(compared: Comparison) -> dict:
    """The best network's file, and what can be typed next."""
    if not compared.runs:
        return {"file": None, "lines": _of_folders()}
    best = max(compared.arms, key=lambda arm: arm.mean_iou)
    file = str(best.run.folder / best.cell["checkpoint"]) if best.cell.get("checkpoint") else None
    if file is None:
        return {"file": None, "lines": []}
    typed, rule = shlex.quote(file), f" --rule {best.cell['rule']}" if best.cell.get("rule") else ""
    worst = next(iter(compared.arms[0].ranked), None)
    lines = [
        (f"confseg evaluate {typed}{rule} --root DATA", "prints its scores, on the data in the folder DATA"),
        (f"confseg predict {typed}{rule} PICTURE --out segmented", "segments pictures of yours"),
        (f"confseg export {typed}{rule} --out mynet", "writes it as one graph, which MXNet alone runs"),
    ]
    if worst:
        names = " ".join(shlex.quote(compared.named(k)) for k in worst)
        run = shlex.quote(str(compared.runs[0].folder))
        lines.append(
            (f"confseg explain {names} --run {run}", "says in the terminal what this page says of the pair")
        )
    return {
        "file": clean(file),
        "name": clean(best.name),
        "lines": [tuple(map(clean, line)) for line in lines],
    }


def _of_folders() -> list:
    return [
        (
            "confseg explain TRUTH PREDICTION --labels ... --predictions ...",
            "says what this page says of a pair",
        ),
        ("confseg confusion --labels ... --predictions ... --out matrix.npz", "saves the matrix"),
        ("confseg groups matrix.npz", "finds its groups, with a threshold of yours"),
        ("confseg train own --root DATA", "trains a network with subnets for the groups that it confuses"),
    ]


def _folds(compared: Comparison) -> list:
    """What is opened when wanted: (title, sentences, table)."""
    found = []
    for run in compared.runs:
        of_run = f" of {clean(run.folder.name)}" if len(compared.runs) > 1 else ""
        if run.results.get("other_rules"):
            told = "The same networks, their subnets fused by each rule."
            found.append((f"Other fusion rules{of_run}", [told], _cleaned(tables.rules(run.results))))
        for title, table in settings_grid(run):
            found.append((f"{title}{of_run}", [], _cleaned(table)))
    return found


def _cleaned(grid: Grid) -> Grid:
    return Grid(list(map(clean, grid.head)), [list(map(clean, row)) for row in grid.rows], grid.words)
