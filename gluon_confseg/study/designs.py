"""When groups help: subnets of several designs, each beside a control that had the same freedom.

A design is a way to build or train the subnets of groups. Its control is one head for all classes that is built or
trained in the same way, so their difference is what the groups add. All sentences and tables are made from records.
"""

from __future__ import annotations

from typing import NamedTuple

from gluon_confseg.report.document import Text
from gluon_confseg.report.grid import Grid

from . import claims

WORTH = 0.0085  # mIoU that the paper reports for its subnets (Table 3)
SEEDS = 3  # a gain counts if it is the mean of so many seeds or more
SETS = 2  # of several data sets, a design has to gain as much on so many or more


class Design(NamedTuple):
    """A design of subnets, and its control.

    text     the design, as the subject of a sentence
    control  what it is compared with
    counts   whether the control has the design's freedom, so that the sentences count it
    """

    arm: str
    reference: str
    text: str
    control: str
    counts: bool = True


def _design(name: str, text: str, control: str) -> Design:
    return Design(f"subnets_confusion_ce{name}", f"one_confusion_ce{name}", text, control)


DESIGNS = (
    _design("", "the usual subnets", "one head for all classes, as wide as all subnets together"),
    Design(
        "subnets_confusion_ce",
        "random_confusion_ce",
        "the usual subnets",
        "subnets of groups drawn at random",
        counts=False,
    ),
    _design("_coarse", "subnets without a branch for detail", "one head for all classes without that branch"),
    _design("_dilated", "subnets of larger dilation", "one head for all classes of that dilation"),
    _design(
        "_deep",
        "subnets that read the last stage and the detail alone",
        "one head for all classes that reads the same",
    ),
    _design(
        "_fitted",
        "subnets of which each has the structure that does best for its group",
        "one head for all classes with the structure that does best",
    ),
    _design(
        "_meeting",
        "subnets trained on crops where classes of a group meet",
        "one head for all classes, trained on the same crops",
    ),
    _design(
        "_balanced",
        "subnets in whose losses the group weighs as much as all other classes",
        "one head for all classes, each class with the mean weight that it has in the subnets' losses",
    ),
)
USUAL = DESIGNS[:2]
TRAINED_ON = claims.BY_KEY["whole"].reference


def measured(records: dict) -> bool:
    """Whether a record (label -> record) has another design than the usual one beside its control."""
    return any(claims.find(record, d) for record in records.values() for d in DESIGNS if d not in USUAL)


def blocks(records: dict) -> list:
    """What came out, and the table: where groups helped, by how much, over which control."""
    return [Text(sentence(records)), table(records), *(Text(note) for note in notes(records))]


# ---- the table


def table(records: dict) -> Grid:
    """Each design on each data set that it was compared on: what it gains over its control, and how large both are."""
    rows = []
    for design in DESIGNS:
        for label, record in records.items():
            found = claims.find(record, design)
            if found is not None:
                both = (design.arm, design.reference)
                sizes = " / ".join(_size(record, key) for key in both)
                over = " / ".join(_over_training_on(record, key) for key in both)
                numbers = claims.numbers(found, claims.MEAN_IOU)
                rows.append([_begun(design.text), _begun(design.control), label, *numbers, over, sizes])
    head = ["design", "control", "data", "gain in mIoU, points", "each seed", "95 % interval", "verdict"]
    return Grid([*head, "both over training on, points", "parameters of both, thousands"], rows, words=3)


def _over_training_on(record: dict, key: str) -> str:
    """By how much an arm is better than cross-entropy trained on, in the mean of the seeds that have both."""
    found = claims.changes(record, key, TRAINED_ON)
    return claims.points(sum(found) / len(found)) if found else "-"


def _size(record: dict, key: str) -> str:
    found = claims.arm(record, key).get("parameters")
    return "-" if found is None else f"{found / 1000:.0f}"


# ---- sentences


def sentence(records: dict) -> str:
    """Which designs gained WORTH over their controls, on one data set or several."""
    compared = {d: _differences(records, d) for d in DESIGNS if d.counts}
    compared = {d: found for d, found in compared.items() if found}
    if not compared:
        return "No design of subnets was compared with a control of the same freedom."
    some = len(compared) > 1
    tried = f"{claims.in_words(len(compared))} design{'s' if some else ''} of subnets"
    with_control = f"{'were' if some else 'was'} compared with a control of the same freedom"
    seeds = f"{claims.in_words(SEEDS)} seeds"
    counted = {d: {label: f for label, f in found.items() if _counts(f)} for d, found in compared.items()}
    if not any(counted.values()):
        return _begun(
            f"{tried} {with_control}, and none in {seeds} or more, so nothing is said here of what groups add."
        )
    several, gained = len(records) > 1, {d: _with_gain(found) for d, found in counted.items()}
    where = f" on {claims.in_words(SETS)} data sets" if several else ""
    gain = f"{claims.points(WORTH, sign=False)} points of mIoU or more over"

    def told(designs) -> str:
        return claims.listed([f"{d.text} ({_shown(gained[d], several)})" for d in designs], comma=True)

    helped = [d for d in gained if len(gained[d]) >= (SETS if several else 1)]
    once = [d for d in gained if gained[d]]
    if len(helped) > 1:
        said = f"{claims.in_words(len(helped))} gain {gain} their controls{where}: {told(helped)}"
    elif helped:
        said = f"one gains {gain} its control{where}: {told(helped)}"
    elif once:
        these = "these do" if len(once) > 1 else "this does"
        said = f"none gains {gain} its control{where}, and on one {these}: {told(once)}"
    else:
        each = [(f["mean"], d.text, {label: f}) for d, found in counted.items() for label, f in found.items()]
        _, design, largest = max(each, key=lambda entry: entry[0])
        said = f"none gains {gain} its control{where}; the largest difference is that of {design}"
        said += f" ({_shown(largest, several)})"
    few = f" (differences of fewer than {seeds} do not count)" if counted != compared else ""
    return _begun(f"of the {tried} that {with_control}{few}, {said}.")


def _differences(records: dict, design: Design) -> dict:
    """label -> the difference between the design and its control, where both were trained."""
    found = {label: claims.find(record, design) for label, record in records.items()}
    return {label: difference for label, difference in found.items() if difference is not None}


def _counts(difference: dict) -> bool:
    return len(difference["seeds"]) >= SEEDS


def _with_gain(found: dict) -> dict:
    return {label: difference for label, difference in found.items() if difference["mean"] >= WORTH}


def _shown(found: dict, several: bool) -> str:
    """The differences of a design, each with its verdict."""
    return "; ".join(
        f"{claims.points(difference['mean'])}{f' on {label}' if several else ''}: "
        f"{claims.VERDICTS[claims.MEAN_IOU][claims.verdict(difference)]}"
        for label, difference in found.items()
    )


def notes(records: dict) -> list:
    """How the table is to be read."""
    said = [
        "All designs and controls went on from the same network, confusion_ce, with the same number of updates and of "
        "learning rates to choose from. Parameters are those of the heads beside subnet 0. A gain of "
        f"{claims.points(WORTH, sign=False)} points is what the paper reports for its subnets. The last column but one "
        "says what the design and its control each gain over cross-entropy trained on for as many updates: what both "
        "gain there is not due to groups."
    ]
    said += _on_some(records)
    splits = {record["data"]["split"] for record in records.values() if record.get("choices")}
    if splits:
        said.append(
            "The structure that does best is chosen on validation images, in each seed anew. Each group gets the one "
            "by which the fused network has the best mIoU while the other groups keep the usual structure; of one head "
            "for all classes, the best structure is taken. (Learning rates were chosen on all validation images.)"
        )
    if "val" in splits:
        said.append(
            "A score on the images of the choice would flatter it. So the validation images are cut into two halves, "
            "and each half is scored by the network that was chosen on the other, for subnets and control alike. The "
            "intervals take the choices as they are."
        )
    return said


def _on_some(records: dict) -> list:
    """How many designs were compared on some of several data sets alone."""
    where = [tuple(_differences(records, design)) for design in DESIGNS if design.counts]
    some = {labels: where.count(labels) for labels in where if 0 < len(labels) < len(records)}
    return [
        f"{_begun(claims.in_words(count))} of the designs {'was' if count == 1 else 'were'} compared on "
        f"{claims.listed(labels)} alone so far."
        for labels, count in some.items()
    ]


def _begun(clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}"


# ---- what was chosen


def choices(record: dict) -> list:
    """Blocks for one data set: the structure that every group got in each seed, on either half and on all images."""
    rows, names = [], record["data"]["classes"]
    for found in record.get("choices", ()):
        for seed, of_seed in found["seeds"].items():
            groups = record["groups"][seed] if found["arm"].startswith("subnets") else None
            picked = list(zip(*of_seed["chosen"].values()))
            for number, each in enumerate(picked):
                group = "{" + ", ".join(names[k] for k in groups[number]) + "}" if groups else "all classes"
                rows.append([found["arm"], seed, group, *(_structure(found, key) for key in each)])
    if not rows:
        return []
    on = list(next(iter(record["choices"][0]["seeds"].values()))["chosen"])
    note = (
        "The structure that each group's subnet got, and that of the head for all classes, by the validation images "
        "that the choice was made on. What was chosen on the first half is scored on the second, and the reverse."
    )
    return [Text(note), Grid(["arm", "seed", "group", *(f"chosen on: {name}" for name in on)], rows, words=6)]


def _structure(found: dict, key: str) -> str:
    return key[len(found["candidates"][0]) + 1 :] or "usual"
