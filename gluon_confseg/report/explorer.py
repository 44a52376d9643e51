"""The report as one page that shows where the confused pixels are: from a comparison to HTML that needs nothing else.

What is counted and said is computed here. The page's script (page/page.js) shows it, and computes nothing but shares.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import jinja2
import numpy as np

from gluon_confseg import groups, metrics
from gluon_confseg.datasets.base import in_threads
from gluon_confseg.files import write_bytes
from gluon_confseg.progress import Progress
from gluon_confseg.report import costs, crops, explain, outcome, spreadsheet, tables
from gluon_confseg.report.comparison import MANY, Arm, Comparison
from gluon_confseg.report.crops import Crop
from gluon_confseg.report.document import settings_grid, shown
from gluon_confseg.report.grid import Grid
from gluon_confseg.report.pictures.curves import PHASES
from gluon_confseg.report.tables import percent
from gluon_confseg.terminal import printable

PAGE = Path(__file__).parent / "page"
CROP_BYTES = 9_000_000  # of all crops in a page
MOST_CROPS, MOST_IMAGES = 320, 100  # that are cut, and that they are cut from
ABREAST = 6  # arms whose predictions stand beside each other in a crop
LISTED = 12  # pairs, and images
EXPLAINED = 200  # pairs that have sentences
IMAGES = 300  # that are listed in the page's data
SHOWN = 5e-5  # a change that two decimals of a percent show
THREADS = 2


def write(compared: Comparison, folder: Path) -> Path:
    """Write FOLDER/report.html and FOLDER/results.csv; returns the path of the page."""
    write_bytes(folder / "results.csv", spreadsheet.table(compared).encode("utf-8"))
    path = folder / "report.html"
    write_bytes(path, page(compared, cut_crops(compared)).encode("utf-8"))
    return path


def page(compared: Comparison, shown_crops: Sequence[Crop]) -> str:
    """The whole page."""
    style, script = (_read(name) for name in ("page.css", "page.js"))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(percent=percent, points=lambda share: percent(share, sign=True))
    environment.globals.update(at=link)
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return environment.get_template("page.html.j2").render(
        style=style,
        script=script,
        script_digest=digest,
        data=data(compared, shown_crops),
        **_text(compared, shown_crops),
    )


def link(*names: str) -> str:
    """The part of an address behind # that shows a class, or a pair of classes."""
    return "#" + "/".join(quote(name, safe="") for name in names)


def image_link(name: str) -> str:
    """The same of an image."""
    return "#/" + quote(name, safe="")


def _read(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def clean(text) -> str:
    """A name from anywhere as text that HTML can hold: no controls, no signs that turn the direction of reading."""
    return printable(str(text).encode("utf-8", "backslashreplace").decode("utf-8"))


# ---- crops


def shown_arms(compared: Comparison) -> list:
    """Indices of the arms whose predictions crops show: all, or the first and the best of the others."""
    others = range(1, len(compared.arms))
    best = sorted(others, key=lambda place: -compared.arms[place].mean_iou)[: ABREAST - 1]
    return [0, *sorted(best)]


def cut_crops(compared: Comparison) -> list:
    """Crops of the images where the confusions are worst, the most telling first, as many as fit a page."""
    images = compared.pictures.images
    places = shown_arms(compared)
    arms = [compared.arms[place] for place in places if compared.arms[place].per_image is not None]
    if not len(images) or not arms:
        return []
    wanted = _affordable(crops.wanted([a.per_image for a in arms], [a.costs for a in arms], images))
    by_image = list(crops.by_image(wanted).items())

    def cut(number: int) -> list:
        image, at = by_image[number]
        photograph, truth, predictions = compared.pictures.read(image)
        answers = [predictions[place] for place in places]
        return list(crops.cut(wanted, at, photograph, truth, answers, len(compared.classes)))

    found = {}
    with Progress("cutting crops", len(by_image), "image", brief=True) as bar:
        for of_image in in_threads(cut, len(by_image), THREADS):
            found.update(of_image)
            bar.update(1)
    taken, room = [], CROP_BYTES
    for place in sorted(found):
        room -= found[place].bytes
        if room < 0:
            break
        taken.append(found[place])
    return taken


def _affordable(wanted: Sequence) -> list:
    kept, images = [], set()
    for one in wanted:
        if len(kept) < MOST_CROPS and (one.image in images or len(images) < MOST_IMAGES):
            images.add(one.image)
            kept.append(one)
    return kept


# ---- what the script reads


def data(compared: Comparison, shown_crops: Sequence[Crop]) -> dict:
    """All that the page's script shows, as JSON holds it."""
    arms, used = compared.arms, list(compared.groups)
    pairs = list(compared.ranked_pairs(arms[0]))
    named = {crop.image for crop in shown_crops}
    pictured = set(named)
    images, lost = _images(compared, named)
    return {
        "classes": list(map(clean, compared.classes)),
        "colors": [[int(part) for part in color] for color in compared.colors],
        "noClass": bool(any(arm.misses.any() for arm in arms)),
        "arms": [
            {
                "name": clean(arm.name),
                "counts": arm.full.tolist(),
                "costs": np.rint(1e6 * arm.costs).astype(np.int64).tolist(),
                **{name: _defined(getattr(arm, name)) for name in ("iou", "precision", "recall")},
                "meanIou": arm.mean_iou if not math.isnan(arm.mean_iou) else None,
            }
            for arm in arms
        ],
        "best": arms.index(compared.best),
        "many": MANY,
        "groups": [list(map(int, group)) for group in used],
        "worst": [list(pair) for pair in pairs[:EXPLAINED]],
        "explained": {
            f"{i}/{j}": _sections(explain.pair(compared, i, j)["sections"]) for i, j in pairs[:EXPLAINED]
        },
        "explainedClasses": [
            _sections(explain.klass(compared, index)["sections"]) for index in range(len(compared.classes))
        ],
        "imagesOf": _images_of(compared, pairs[:EXPLAINED], named),
        "imagesOfClasses": lost,
        "images": images,
        "numImages": len(compared.names),
        "names": {str(index): clean(compared.names[index]) for index in sorted(named)},
        "cropArms": shown_arms(compared),
        "crops": [_crop(crop) for crop in shown_crops],
        "pictured": len(pictured),
        "discoveries": [_discovery(compared, found) for found in compared.discoveries],
        "phases": [phase for run in compared.runs for phase in _phases(compared, run)],
    }


def _sections(sections: list) -> list:
    return [[section["title"], list(map(clean, section["text"]))] for section in sections]


def _defined(values: np.ndarray) -> list:
    return [None if math.isnan(value) else round(float(value), 6) for value in values]


def _images(compared: Comparison, named: set) -> tuple:
    """The images that cost most mIoU, and those that cost each class most IoU; they are added to `named`."""
    known = [arm.per_image for arm in compared.arms]
    if known[0] is None:
        return [], []
    of_arms = [None if of_arm is None else of_arm.costs for of_arm in known]
    cost, found = compared.arms[0].costs, []
    for image in np.argsort(-of_arms[0], kind="stable")[:IMAGES].tolist():
        if of_arms[0][image] <= 0:
            break
        counts = compared.arms[0].per_image.matrix(image)
        # what a confusion costs, shared out among the images that it is in
        full = np.maximum(compared.arms[0].full, 1)
        part = np.where(counts > 0, cost * counts / full, 0)
        worst = [divmod(int(place), part.shape[1]) for place in np.argsort(-part, axis=None)[:3]]
        named.add(image)
        found.append(
            {
                "image": image,
                "lost": [None if lost is None else round(float(lost[image]), 7) for lost in of_arms],
                "pairs": [[i, j, int(counts[i, j])] for i, j in worst if part[i, j] > 0],
            }
        )
    lost = []
    for klass in range(len(compared.classes)):
        of_class = np.nan_to_num(known[0].losses[:, klass])
        ranked = [int(i) for i in np.argsort(-of_class, kind="stable")[:LISTED] if of_class[i] > 0]
        named.update(ranked)
        lost.append([[i, round(float(of_class[i]), 6)] for i in ranked])
    return found, lost


def _images_of(compared: Comparison, pairs: Sequence, named: set) -> dict:
    """ "i/j" -> [how many images have this confusion, [[image, pixels of each arm], ...] those with most]."""
    known, found = [arm.per_image for arm in compared.arms], {}
    if known[0] is None:
        return {}
    for i, j in pairs:
        pixels = [None if of_arm is None else of_arm.pixels(i, j) for of_arm in known]
        most = np.max([of_arm for of_arm in pixels if of_arm is not None], axis=0)
        ranked = [place for place in np.argsort(-most, kind="stable")[:8].tolist() if most[place]]
        named.update(ranked)
        rows = [[place, [None if p is None else int(p[place]) for p in pixels]] for place in ranked]
        found[f"{i}/{j}"] = [int(np.count_nonzero(most)), rows]
    return found


def _crop(crop: Crop) -> dict:
    def text(content: bytes | None) -> str | None:
        return None if content is None else base64.b64encode(content).decode("ascii")

    return {
        "image": crop.image,
        "box": list(map(int, crop.box)),
        "size": list(map(int, crop.size)),
        "photograph": text(crop.photograph),
        "truth": text(crop.truth),
        "predictions": list(map(text, crop.predictions)),
        "confusions": crop.confusions,
    }


def _discovery(compared: Comparison, found) -> dict:
    """A discovery, with an order of the classes in which groups stand side by side at most thresholds."""
    size = len(compared.classes)
    # of many classes, those with the strongest confusions
    shown = np.sort(np.argsort(-found.strength.max(1), kind="stable")[:MANY]).tolist()
    keys = [[] for _ in range(size)]
    for _, of_step in found.steps:
        place = {klass: n for n, group in enumerate(of_step or [range(size)]) for klass in group}
        for klass, key in enumerate(keys):
            key.append(place.get(klass, size))
    rows, columns = np.nonzero(np.triu(found.strength))
    return {
        "name": clean(found.name),
        "edges": [
            [int(i), int(j), round(float(found.strength[i, j]), 6)]
            for i, j in zip(rows, columns)
            if found.strength[i, j] >= 0.002
        ],
        "order": sorted(shown, key=lambda klass: (_automatic(found, klass), keys[klass], klass)),
        "automatic": next(n for n, (at, _) in enumerate(found.steps) if at == found.automatic),
        "steps": [[round(at, 6), of_step] for at, of_step in found.steps],
    }


def _automatic(found, klass: int) -> int:
    of_step = dict(found.steps)[found.automatic] or []
    return next((n for n, group in enumerate(of_step) if klass in group), len(of_step))


def _phases(compared: Comparison, run) -> list:
    """The training curves: one entry for each phase, its epochs counted from 1."""
    found = {}
    for line in run.epochs:
        found.setdefault(line["phase"], []).append(line)
    several = f"{clean(run.folder.name)}: " if len(compared.runs) > 1 else ""
    return [
        {
            "name": several + clean(PHASES.get(phase, phase)),
            "epochs": [number + 1 for number in range(len(lines))],
            "losses": {
                clean(name).replace("subnet", "subnet "): [line.get("loss", {}).get(name) for line in lines]
                for name in dict.fromkeys(name for line in lines for name in line.get("loss", {}))
            },
            "val": [line.get("val_mean_iou") for line in lines],
        }
        for phase, lines in found.items()
    ]


# ---- what stands in the page itself


def _text(compared: Comparison, shown_crops: Sequence[Crop]) -> dict:
    pairs = list(compared.ranked_pairs(compared.arms[0]))
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
        "rules": sorted(
            {str(arm.cell["rule"]) for arm in compared.arms if arm.cell.get("rule", "subnet0") != "subnet0"}
        ),
        "papers": [clean(tables.paper_label(run.results)) for run in compared.runs if _has_paper(run)],
        "seeds": _seeds(compared),
        "pairs": [_pair(compared, i, j) for i, j in pairs[:LISTED]],
        "num_pairs": len(pairs),
        "changes": _changes(compared),
        "groups": _groups(compared),
        "source": clean(compared.source),
        "absent": [clean(name) for name in _absent(compared)],
        "wrong": _wrong(compared),
        "num_images": len(compared.names),
        "has_images": compared.arms[0].per_image is not None,
        "crops": len(shown_crops),
        "crop_images": len({crop.image for crop in shown_crops}),
        "hidden_arms": len(compared.arms) - len(shown_arms(compared)),
        "commands": _commands(compared),
        "folds": _folds(compared),
        "not_run": [clean(text) for run in compared.runs for text in run.results.get("not_run", ())],
        "has_curves": any(run.epochs for run in compared.runs),
    }


def _sentences(compared: Comparison) -> list:
    if len(compared.runs) == 1:
        return outcome.sentences(compared.runs[0].results)
    first, *others = compared.arms
    if not others:
        return [f"mIoU {percent(first.mean_iou)} %, pixel accuracy {percent(first.pixel_accuracy)} %."]
    changes = [f"{arm.name} by {percent(arm.mean_iou - first.mean_iou, sign=True)} points" for arm in others]
    if len(changes) > 5:
        best = compared.best
        gain = percent(best.mean_iou - first.mean_iou, sign=True)
        changes = [f"{best.name}, the best of {len(others)}, by {gain} points"]
    said = [
        f"Compared with {first.name} ({percent(first.mean_iou)} % mIoU), mIoU changes with {', with '.join(changes)}."
    ]
    if not compared.runs:
        said.append(
            "How much of such a difference is chance can't be told from one folder of predictions for each arm."
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
        "mended": clean(" ".join(explain.mended(compared, i, j))),
        "where": clean(where[0]) if record["images"] else "",
        "key": f"{i}/{j}",
    }


def _pair(compared: Comparison, i: int, j: int) -> dict:
    first, best = compared.arms[0], compared.best
    number = compared.group_of(i, j) if j < len(compared.classes) else None
    images = None
    if first.per_image is not None:
        images = int(np.count_nonzero(first.per_image.pixels(i, j)))
    return {
        "truth": clean(compared.named(i)),
        "prediction": clean(compared.named(j)),
        "group": number,
        "pixels": f"{int(first.full[i, j]):,}",
        "share": first.shares[i, j],
        "cost": first.costs[i, j],
        "best_share": best.shares[i, j],
        "change": best.shares[i, j] - first.shares[i, j],
        "best_cost": best.costs[i, j],
        "images": images,
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
        better = None
        if arm is not first and first.per_image is not None and arm.per_image is not None:
            better = int((_wrong_by_image(arm) < _wrong_by_image(first)).sum())
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
                "best": arm is compared.best and len(compared.arms) > 1,
            }
        )
    return rows


def _wrong_by_image(arm: Arm) -> np.ndarray:
    """(N,) wrong pixels of each image."""
    matrices = [arm.per_image.matrix(image) for image in range(arm.per_image.num_images)]
    return np.array([counts.sum() - np.trace(counts) for counts in matrices])


def _seeds(compared: Comparison) -> list:
    """Of arms that several runs have with other seeds: (name, number of seeds, mean mIoU, lowest, highest)."""
    found = {}
    for arm in compared.arms:
        if arm.run is not None:
            results = arm.run.results
            key = (results.get("recipe"), results["title"], arm.cell["key"], arm.cell.get("updates"))
            found.setdefault(key, {})[results.get("seed")] = arm
    rows = []
    for (_, _, _, _), by_seed in found.items():
        scores = [arm.mean_iou for arm in by_seed.values()]
        if len(scores) > 1:
            name = clean(tables.cell_name(next(iter(by_seed.values())).cell))
            rows.append((name, len(scores), sum(scores) / len(scores), min(scores), max(scores)))
    return rows


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

    return {
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
    import shlex

    best = max(compared.arms, key=lambda arm: arm.mean_iou)
    file = str(best.run.folder / best.cell["checkpoint"]) if best.cell.get("checkpoint") else None
    if file is None:
        return {"file": None, "lines": []}
    typed, rule = shlex.quote(file), f" --rule {best.cell['rule']}" if best.cell.get("rule") else ""
    worst = next(iter(compared.ranked_pairs(compared.arms[0])), None)
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
