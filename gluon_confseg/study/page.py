"""The pages of a study: six sentences on what came out, the claims as table and picture, and all numbers."""

from __future__ import annotations

import shlex
import textwrap
from pathlib import Path

from gluon_confseg.errors import RunError
from gluon_confseg.files import write_bytes
from gluon_confseg.report import document, html, markdown
from gluon_confseg.report.document import Command, Fold, Heading, Picture, Sentences, Text
from gluon_confseg.report.grid import Grid
from gluon_confseg.run_folder import read_json
from gluon_confseg.study import claims, designs, picture

AGAIN = "give the `confseg study` command again: what is finished is not repeated"
STEM = "study"
DRAWN = "drawn scenes"
CAPTION = (
    "Each claim's difference between the arm and its control: the mean (dots), every seed (strokes) and the 95 % "
    "interval (bars), for mIoU and for the confusion inside the groups"
)
# the arms that are shown class by class: the first network, and those trained on for as long as the whole method
SHOWN = (
    "base",
    "ce_continued",
    "confusion_ce_continued",
    "subnets_ce",
    "subnets_confusion_ce",
    "one_confusion_ce",
    "subnets_confusion_ce_fitted",
    "one_confusion_ce_fitted",
)
OF_PAIRS = ("base", "ce_continued", "subnets_confusion_ce", "one_confusion_ce")


def read(path) -> dict:
    """A study's record; RunError where the file is none of this version."""
    record = read_json(path, AGAIN)
    found = record.get("schema") if isinstance(record, dict) else None
    if found != claims.SCHEMA:
        raise RunError(f"{path}: expected a study of schema {claims.SCHEMA}, got {found}; {AGAIN}")
    return record


def write(record: dict, out, stem: str = STEM) -> Path:
    """Write OUT/STEM.md, OUT/STEM.html and OUT/pictures/STEM.png; returns the path of the HTML page.

    The same record gives the same bytes.
    """
    out = Path(out)
    records = {label(record): record}
    picture.draw(out / "pictures" / f"{stem}.png", records)
    line, title = first_line(record), f"What confusing groups are worth on {label(record)}"
    blocks = [
        *summary(records, stem),
        Heading("How it was done"),
        *method(record),
        Heading("Details"),
        *details(record),
    ]
    write_bytes(out / f"{stem}.md", markdown.page(line, title, blocks).encode("utf-8"))
    page = out / f"{stem}.html"
    write_bytes(page, html.page(line, title, blocks, out / "pictures").encode("utf-8"))
    return page


def label(record: dict) -> str:
    """What tables call a study's data; drawn scenes are in Cityscapes' layout, and never called by its name."""
    return DRAWN if record["data"]["drawn"] and record["name"] == record["data"]["name"] else record["name"]


def first_line(record: dict) -> str:
    """Which data it was."""
    data = record["data"]
    described = data["description"].rstrip(".")
    return f"Data: {described}; {data['train_images']} training images, {len(data['classes'])} classes."


# ---- what came out


def terminal(record: dict) -> str:
    """What a study prints at its end, as plain text: which data, the six sentences, the command, the claims."""
    said = [f"{about}. {text}" for about, text in zip(claims.ABOUT, claims.sentences(record))]
    wrapped = [textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False) for text in said]
    records = {label(record): record}
    shown = [first_line(record), *wrapped, f"    {command(record)}", claims.table(records).text()]
    if designs.measured(records):
        shown += [textwrap.fill(designs.sentence(records), 100), designs.table(records).text()]
    return "\n\n".join(shown)


def summary(records: dict, stem: str = STEM) -> list:
    """What comes first, of one data set or several (label -> record): sentences, claims, picture, confusion."""
    several = len(records) > 1
    said = claims.sentences_across(records) if several else claims.sentences(*records.values())
    commands = tuple(
        line
        for name, record in records.items()
        for line in ([f"# {name}"] if several else []) + [command(record)]
    )
    return [
        *([Text(claims.NUMBERS)] if several else []),
        Sentences(tuple(zip(claims.ABOUT, said))),
        Command(commands),
        Text(claims.SETTLED),
        claims.table(records),
        Picture(f"{stem}.png", CAPTION),
        Text(
            "The same comparisons by the confusion inside the groups: how many of the pixels whose true class is in a "
            "group are taken for another class of the same group. Less is better."
        ),
        claims.table(records, claims.INSIDE),
        *_gain_and_pay(records),
        *(Text(told) for told in (claims.in_mean_recall(records), claims.room(records)) if told),
        *([Heading("When groups help"), *designs.blocks(records)] if designs.measured(records) else []),
    ]


def _gain_and_pay(records: dict) -> list:
    grid = claims.by_classes_and_pixels(records)
    note = (
        "Which classes gain, and which pay: mIoU and mean recall count every class alike, pixel accuracy and the "
        "confusion inside the groups count every pixel alike. Where the first two rise while pixel accuracy falls, "
        "classes with few pixels gained and classes with many pixels paid for it; then the confusion, which is "
        "counted by pixels, can rise as well. In brackets: each seed."
    )
    return [Text(note), grid] if grid.rows else []


def command(record: dict) -> str:
    """The command that trains the best arm anew, with all that it starts from and in a folder of its own."""
    key = claims.best(record)["key"]
    # base is no arm to be named: every arm's training has it
    chosen = ["--seeds", str(record["tuning"]["seed"]), "--arms", "ce" if key == "base" else key]
    chosen += ["--out", f"runs/best-of-{record['name']}"]
    return shlex.join(_without_choice(shlex.split(record["command"])) + chosen)


def _without_choice(words: list) -> list:
    """A command line without the options that choose arms and seeds, and without the places that it writes to."""
    kept, left_out = [], False
    for word in words:
        if word.startswith("--"):
            left_out = word.partition("=")[0] in ("--arms", "--families", "--seeds", "--keep", "--out")
        if not left_out:
            kept.append(word)
    return kept


# ---- how


def method(record: dict) -> list:
    """How the arms were trained and tuned, and how the intervals come about."""
    return [
        Text(
            "All arms start from one network (base). An arm is compared only with arms of the same seed, which "
            "started from the same network and drew the same crops in the same order."
        ),
        Text(
            "An interval says how much a difference would vary with other seeds and other images. It is a bootstrap: "
            "it draws the seeds anew, and independently of them the images. With one seed alone it draws the images "
            "only, and is narrower than it should be."
        ),
        particulars(record),
    ]


def particulars(record: dict) -> Text:
    """How the learning rates of this study were chosen, and how its images are drawn."""
    data, tuning = record["data"], record["tuning"]
    images = f"{data['images']} {_split(data)} images"
    drawn = f"The bootstrap draws the {images} one by one."
    if data["block"] > 1:
        drawn = f"The bootstrap draws the {images} in blocks of {data['block']} neighbours, because those are alike."
    tries = {len(arm["tried"]) for arm in tuning["arms"].values()} or {tuning["tries"]}
    if max(tries) == 1:
        return Text(f"Learning rates were not tuned: every arm had the reference rate of its kind. {drawn}")
    number = f"{min(tries)} to {max(tries)}" if len(tries) > 1 else str(*tries)
    tuned = (
        f"Every arm was trained at {number} learning rates with seed {tuning['seed']}, and the one with the best score "
        "on the validation images was taken for all seeds."
    )
    if data["split"] == "val":
        tuned += " The scores here are of the same images, so they favour every arm a little"
        tuned += f", seed {tuning['seed']} most."
    return Text(f"{tuned} {drawn}")


def _split(data: dict) -> str:
    return "validation" if data["split"] == "val" else data["split"]


# ---- details


def details(record: dict) -> list:
    """All numbers of one data set, in parts that can be opened one by one."""
    parts = {
        "Groups": _groups(record),
        "Structures that were chosen": designs.choices(record),
        "Arms": _arms(record),
        "Differences": _differences(record),
        "Learning rates": _tuning(record),
        "IoU of each class": _classes(record),
        "Pairs of classes that are confused most": _pairs(record),
        "Settings": _settings(record),
        "Time and command": _time(record),
    }
    return [Fold(title, tuple(blocks)) for title, blocks in parts.items() if blocks]


def _groups(record: dict) -> list:
    names = record["data"]["classes"]
    rows = [
        [seed, "; ".join("{" + ", ".join(names[klass] for klass in group) + "}" for group in found) or "none"]
        for seed, found in record["groups"].items()
    ]
    note = "Groups of classes that the network base confuses, found in its confusion matrix on the training images."
    return [Text(note), Grid(["seed", "groups"], rows, words=2)]


def _arms(record: dict) -> list:
    rows = []
    for arm in record["arms"]:
        seeds = " / ".join(_percent(scores["mean_iou"]) for scores in arm["seeds"].values())
        shares = [_percent(arm[share]) for share in ("inside", "outside")]
        each = arm["seeds"].values()
        means = [
            _percent(sum(s[name] for s in each) / len(each)) for name in ("mean_recall", "pixel_accuracy")
        ]
        size = arm.get("parameters")
        counts = [str(arm["epochs"]), str(arm["updates"]), "-" if size is None else f"{size:,.0f}"]
        rows.append(
            [
                arm["key"],
                arm["what"],
                *counts,
                _percent(arm["mean_iou"]),
                seeds,
                _percent(arm["spread"]),
                *means,
                *shares,
            ]
        )
    head = ["arm", "what it is", "epochs", "updates", "parameters of heads", "mIoU, %", "each seed", "spread"]
    note = (
        "Epochs and updates are those of the whole way from the first network on. Parameters are those of the heads "
        "beside subnet 0, the mean over the seeds, whose groups differ. Spread is the standard deviation "
        "over the seeds. The last two columns are shares of the pixels whose true class is in a group: those that are "
        "taken for another class of the same group, and those that are taken for a class outside it."
    )
    head += ["mean recall, %", "pixel accuracy, %", "inside, %", "outside, %"]
    return [Text(note), Grid(head, rows, words=2)]


def _differences(record: dict) -> list:
    blocks = []
    for measure, note in (
        (claims.MEAN_IOU, "In mIoU, where more is better:"),
        (claims.INSIDE, "In the confusion inside the groups, where less is better:"),
    ):
        rows = [
            [f"{d['arm']} {claims.MINUS} {d['reference']}", _updates(record, d), *claims.numbers(d, measure)]
            for d in record["differences"]
            if d["measure"] == measure
        ]
        head = ["difference", "updates", "points", "each seed", "95 % interval", "verdict"]
        blocks += [Text(note), Grid(head, rows, words=2)] if rows else []
    return blocks


def _updates(record: dict, difference: dict) -> str:
    ours, theirs = (claims.arm(record, difference[key])["updates"] for key in ("arm", "reference"))
    return f"{ours} each" if ours == theirs else f"{ours} and {theirs}"


def _tuning(record: dict) -> list:
    tuning = record["tuning"]
    if not tuning["arms"]:
        return []
    rows = []
    for key, of_arm in tuning["arms"].items():
        scores = {tried["rate"]: tried["mean_iou"] for tried in of_arm["tried"]}
        rates, chosen = sorted(scores), of_arm["chosen"]
        told = ", ".join(
            f"{rate:g}: {'diverged' if scores[rate] is None else _percent(scores[rate])}" for rate in rates
        )
        edge = ""
        if len(rates) > 1 and chosen in (rates[0], rates[-1]):
            edge = "the lowest tried" if chosen == rates[0] else "the highest tried"
        rows.append([key, told, edge, "none" if chosen is None else f"{chosen:g}"])
    note = (
        f"Every rate that was tried by seed {tuning['seed']}, with its mIoU in % on the validation images. Where the "
        "best rate is the lowest or the highest that was tried, a better one may lie beyond."
    )
    return [Text(note), Grid(["arm", "rates and their scores", "at the edge", "chosen"], rows, words=3)]


def _classes(record: dict) -> list:
    arms = [arm for arm in map(lambda key: claims.arm(record, key), SHOWN) if arm is not None]
    if not arms:
        return []
    members = [klass for found in record["groups"].values() for group in found for klass in group]
    rows = [
        [name, str(members.count(klass)), *(_percent(arm["iou"][klass]) for arm in arms)]
        for klass, name in enumerate(record["data"]["classes"])
    ]
    note = (
        "Mean over the seeds. The second column says in how many of the "
        f"{len(record['groups'])} seeds a class is in a group."
    )
    return [Text(note), Grid(["IoU, %", "seeds in a group", *(arm["key"] for arm in arms)], rows)]


def _pairs(record: dict) -> list:
    pairs = record["pairs"]
    keys = [key for key in OF_PAIRS if any(key in pair["shares"] for pair in pairs)]
    compared = [claims.BY_KEY[key] for key in ("loss", "groups_one", "whole")]
    rows = []
    for pair in pairs:
        shares = [_percent(pair["shares"].get(key)) for key in keys]
        changes = [_change(pair, claim) for claim in compared]
        rows.append([pair["truth"], pair["prediction"], str(pair["groups"]), *shares, *changes])
    head = ["truth", "taken for", "seeds in one group", *keys]
    head += [f"change: {claim.in_picture}" for claim in compared]
    note = (
        "The pairs with the most pixels in the network that all arms start from: in how many seeds one group has both "
        "classes, which share of the truth, in %, is taken for the other class, and how that share changes, in points "
        "with its 95 % interval. All are means over the seeds."
    )
    return [Text(note), Grid(head, rows, words=2)] if rows else []


def _change(pair: dict, claim: claims.Claim) -> str:
    for found in pair["differences"]:
        if (found["arm"], found["reference"]) == (claim.arm, claim.reference):
            low, high = map(claims.points, found["interval"])
            return f"{claims.points(found['mean'])} ({low} to {high})"
    return "-"


def _settings(record: dict) -> list:
    phases = record["settings"].get("phases")
    if not phases:
        return []
    names = (
        "encoder",
        "output_stride",
        "crop",
        "scale",
        "batch_size",
        "momentum",
        "weight_decay",
        "schedule",
    )
    rows = [[name.replace("_", " "), document.shown(phases[0][name])] for name in names if name in phases[0]]
    note = "What all arms have in common. A learning rate falls to 0 in every training, by the schedule."
    return [Text(note), Grid(["setting", "value"], rows)]


def _time(record: dict) -> list:
    rows = [[seed, f"{value:.1f}"] for seed, value in record["minutes"].items() if value is not None]
    note = "Minutes of each seed's training and evaluation; those of the seed that was tuned hold all tries."
    timed = [Text(note), Grid(["seed", "minutes"], rows)] if rows else []
    return [*timed, Text("The command of the whole study:"), Command((record["command"],))]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"
