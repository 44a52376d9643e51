"""What a study says of the method: its claims, each with its control, and six sentences that hold for any numbers.

A record is what `confseg study` writes to study.json. Every sentence is made from records alone, so none can say more
than they do: a difference is called settled only by `verdict`, and no difference stands without seeds and control.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gluon_confseg.report.grid import Grid
from gluon_confseg.report.tables import MINUS


class Claim(NamedTuple):
    """One thing that the method is said to do, and the two arms whose difference tells whether it does.

    text        the claim as a plain statement
    subject     what is compared, as the subject of a sentence, in the singular
    control     what it is compared with
    in_picture  both, as short as a picture needs them
    as_long     whether the control's words go on to say how long it was trained
    """

    key: str
    arm: str
    reference: str
    text: str
    subject: str
    control: str
    in_picture: str
    as_long: bool = False


CLAIMS = (
    Claim(
        key="loss",
        arm="confusion_ce",
        reference="ce",
        text="The paper's loss is better than cross-entropy",
        subject="the paper's loss",
        control="cross-entropy trained",
        in_picture="loss, over cross-entropy",
        as_long=True,
    ),
    Claim(
        key="loss_by_confusions",
        arm="confusion_ce",
        reference="confusion_ce_shuffled",
        text="The loss needs its weights at the classes that are confused",
        subject="the paper's loss",
        control="the same loss with its weights shuffled among the classes",
        in_picture="loss, over shuffled weights",
    ),
    Claim(
        key="loss_by_class",
        arm="confusion_ce",
        reference="median_frequency",
        text="The loss does more than give rare classes more weight",
        subject="the paper's loss",
        control="cross-entropy whose classes are weighted by median frequency",
        in_picture="loss, over weights by class",
    ),
    Claim(
        key="heads",
        arm="subnets_ce",
        reference="ce_continued",
        text="Heads for the groups (subnets) are better than training on",
        subject="a further head (subnet) for each group of confused classes",
        control="cross-entropy trained on",
        in_picture="subnets, over training on",
        as_long=True,
    ),
    Claim(
        key="groups_one",
        arm="subnets_confusion_ce",
        reference="one_confusion_ce",
        text="A subnet for each group is better than one head for all classes",
        subject="a subnet for each group",
        control="one head for all classes that is as wide as all subnets together",
        in_picture="groups, over one wide head",
    ),
    Claim(
        key="groups_random",
        arm="subnets_confusion_ce",
        reference="random_confusion_ce",
        text="Subnets for the discovered groups are better than for random ones",
        subject="a subnet for each group",
        control="subnets for groups drawn at random",
        in_picture="groups, over random groups",
    ),
    Claim(
        key="whole",
        arm="subnets_confusion_ce",
        reference="ce_continued",
        text="The whole method, loss and subnets, is better than training on",
        subject="the whole method, loss and subnets together,",
        control="cross-entropy trained on",
        in_picture="both, over training on",
        as_long=True,
    ),
    Claim(
        key="whole_over_loss",
        arm="subnets_confusion_ce",
        reference="confusion_ce_continued",
        text="Subnets add to the loss",
        subject="the whole method",
        control="the paper's loss trained on",
        in_picture="both, over the loss trained on",
        as_long=True,
    ),
)
BY_KEY = {claim.key: claim for claim in CLAIMS}
PARTS = ("loss", "heads", "whole")  # the claims about a part of the method, and about the whole
SCHEMA = 3  # of a record

MEAN_IOU, INSIDE = "mean_iou", "inside"
RISES, FALLS, OPEN, ONE_SEED = "rises", "falls", "open", "one seed"
# by measure: what a verdict is called
VERDICTS = {
    MEAN_IOU: {RISES: "settled gain", FALLS: "settled loss", OPEN: "open", ONE_SEED: "one seed alone"},
    INSIDE: {RISES: "settled increase", FALLS: "settled decrease", OPEN: "open", ONE_SEED: "one seed alone"},
}
SETTLED = (
    "A difference is called settled if there are at least two seeds, if it has the same sign in every seed, and if its "
    "95 % interval does not hold 0. Every other difference is open."
)


# ---- reading a record


def find(record: dict, claim: Claim, measure: str = MEAN_IOU) -> dict | None:
    """The difference that a claim is about; None where no seed has both arms."""
    return next(
        (
            difference
            for difference in record["differences"]
            if (difference["arm"], difference["reference"], difference["measure"])
            == (claim.arm, claim.reference, measure)
        ),
        None,
    )


def verdict(difference: dict) -> str:
    """RISES, FALLS, OPEN or ONE_SEED."""
    values, (low, high) = list(difference["seeds"].values()), difference["interval"]
    if len(values) < 2:
        return ONE_SEED
    if min(values) > 0 and low > 0:
        return RISES
    if max(values) < 0 and high < 0:
        return FALLS
    return OPEN


def why_open(difference: dict) -> str:
    """What keeps a difference of several seeds from being settled."""
    values, (low, high) = list(difference["seeds"].values()), difference["interval"]
    reasons = []
    if min(values) < 0 < max(values):
        reasons.append("the seeds differ in sign")
    elif min(values) <= 0 <= max(values):
        reasons.append("not every seed shows a difference")
    if low <= 0 <= high:
        reasons.append("the interval holds 0")
    return " and ".join(reasons) or "the interval and the seeds differ in sign"


def arm(record: dict, key: str) -> dict | None:
    """An arm's part of the record; None where it was not trained."""
    return next((arm for arm in record["arms"] if arm["key"] == key), None)


def best(record: dict) -> dict:
    """The arm with the highest mean mIoU, among those that have as many seeds as any."""
    most = max(len(arm["seeds"]) for arm in record["arms"])
    return max((arm for arm in record["arms"] if len(arm["seeds"]) == most), key=lambda arm: arm["mean_iou"])


def control(record: dict, claim: Claim) -> str:
    """A claim's control in words, which say so if it was not trained for as many updates."""
    return _control(claim, {"": record})


def _control(claim: Claim, records: dict) -> str:
    """The same, for several data sets."""
    uneven = []
    for label, record in records.items():
        found = [arm(record, key) for key in (claim.arm, claim.reference)]
        if None not in found and found[0]["updates"] != found[1]["updates"]:
            where = f" on {label}" if label else ""
            uneven.append(f"for {found[1]['updates']} updates against {found[0]['updates']}{where}")
    if uneven:
        told = " and ".join(uneven)
        return f"{claim.control} {told}" if claim.as_long else f"{claim.control}, trained {told}"
    return f"{claim.control} for as many updates" if claim.as_long else claim.control


# ---- numbers


def points(value: float, sign: bool = True) -> str:
    """A fraction in points, with two decimals, or as many as it takes to see that it is not 0."""
    if value == 0:
        return f"{value:.2f}"
    for digits in range(2, 9):
        text = f"{100 * value:{'+' if sign else ''}.{digits}f}"
        if float(text) != 0:
            break
    return text.replace("-", MINUS)


def each_seed(difference: dict) -> str:
    """The difference of every seed."""
    return " / ".join(map(points, difference["seeds"].values()))


def interval(difference: dict) -> str:
    """The interval, which with one seed alone says what it lacks."""
    low, high = map(points, difference["interval"])
    return f"{low} to {high}" + (", images alone" if len(difference["seeds"]) < 2 else "")


def percent(share: float) -> str:
    """A share in percent."""
    return f"{100 * share:.2f} %"


# ---- the table of claims


def table(records: dict, measure: str = MEAN_IOU) -> Grid:
    """Each claim on each data set (label -> record): its difference, seeds, interval, control and verdict."""
    rows = []
    for claim in CLAIMS:
        for label, record in records.items():
            found = find(record, claim, measure)
            shown = ["-", "-", "-", "not measured"] if found is None else numbers(found, measure)
            rows.append([claim.text, control(record, claim), label, *shown])
    what = "gain in mIoU, points" if measure == MEAN_IOU else "change of confusion inside the groups, points"
    return Grid(["claim", "control", "data", what, "each seed", "95 % interval", "verdict"], rows, words=3)


def numbers(difference: dict, measure: str) -> list:
    """A difference as cells of a table: its mean, each seed, the interval and the verdict."""
    called = VERDICTS[measure][verdict(difference)]
    return [points(difference["mean"]), each_seed(difference), interval(difference), called]


def by_classes_and_pixels(records: dict) -> Grid:
    """What loss, subnets and both change in measures that count classes alike, and in one that counts pixels alike."""
    measures = ((MEAN_IOU, "mIoU"), ("mean_recall", "mean recall"), ("pixel_accuracy", "pixel accuracy"))
    rows = []
    for claim in map(BY_KEY.get, PARTS):
        for label, record in records.items():
            found = [changes(record, claim.arm, claim.reference, measure) for measure, _ in measures]
            if all(found):
                rows.append([claim.text, control(record, claim), label, *map(_mean_and_seeds, found)])
    return Grid(["claim", "control", "data", *(f"{words}, points" for _, words in measures)], rows, words=3)


def room(records: dict) -> str | None:
    """What the groups could gain at most over cross-entropy trained on; None where it was not counted."""
    told = []
    for label, record in records.items():
        found = arm(record, BY_KEY["whole"].reference)
        rooms = [scores["room"] for scores in found["seeds"].values() if "room" in scores] if found else []
        if rooms:
            told.append(f"{points(sum(rooms) / len(rooms), sign=False)} points on {label}")
    if not told:
        return None
    taken = f"every pixel that {_control(BY_KEY['whole'], records)} takes for another class of its group"
    return f"What groups could gain at most: if {taken} were right, mIoU would rise by {listed(told)}."


def in_mean_recall(records: dict) -> str | None:
    """On which data sets every seed agrees in mean recall, for each of `PARTS`; None where nothing was compared."""
    told = []
    for claim in map(BY_KEY.get, PARTS):
        found = {
            label: changes(record, claim.arm, claim.reference, "mean_recall")
            for label, record in records.items()
        }
        signs = {
            "above its control in every seed": [label for label, c in found.items() if c and min(c) > 0],
            "below it in every seed": [label for label, c in found.items() if c and max(c) < 0],
            "neither": [label for label, c in found.items() if c and min(c) <= 0 <= max(c)],
        }
        parts = [f"{words} on {listed(labels)}" for words, labels in signs.items() if labels]
        told += [f"{claim.subject} is {listed(parts, comma=True)}"] if parts else []
    return _ended(f"in mean recall, {'; '.join(told)}") if told else None


def changes(record: dict, key: str, reference: str, measure: str = MEAN_IOU) -> list:
    """A score's difference between two arms, in each seed that has both."""
    ours, theirs = arm(record, key), arm(record, reference)
    if ours is None or theirs is None:
        return []
    return [
        scores[measure] - theirs["seeds"][seed][measure]
        for seed, scores in ours["seeds"].items()
        if seed in theirs["seeds"]
    ]


def _mean_and_seeds(values: list) -> str:
    mean = points(sum(values) / len(values))
    return f"{mean} ({' / '.join(map(points, values))})" if len(values) > 1 else mean


# ---- six sentences of one data set


ABOUT = ("Loss", "Subnets", "Groups", "Both together", "Confusion", "How sure, and what to train")


def sentences(record: dict) -> list:
    """What loss, heads and groups gained, what the whole did, what became of the confusions, and how sure it is."""
    return [
        _several(record, "loss", "loss_by_confusions", "loss_by_class"),
        _ended(_first(record, BY_KEY["heads"])),
        _several(record, "groups_one", "groups_random"),
        _several(record, "whole", "whole_over_loss"),
        _confusions(record),
        _certainty(record),
    ]


def _several(record: dict, first: str, *further: str) -> str:
    return _ended(
        "; ".join([_first(record, BY_KEY[first]), *(_second(record, BY_KEY[key]) for key in further)])
    )


def _first(record: dict, claim: Claim) -> str:
    """A claim's difference as a clause with seeds, interval, control and verdict."""
    found, against = find(record, claim), control(record, claim)
    if found is None:
        return f"what {claim.subject} gains over {against} was not measured, {_missing(record, claim)}"
    called, mean = verdict(found), f"{points(found['mean'])} points of mIoU"
    size = f"{points(abs(found['mean']), sign=False)} points of mIoU"
    evidence = f"(seeds {each_seed(found)}; 95 % interval {interval(found)})"
    if called == RISES:
        return f"{claim.subject} gains {size} over {against} {evidence}, which is settled"
    if called == FALLS:
        return f"{claim.subject} loses {size} against {against} {evidence}, which is settled"
    if called == OPEN:
        return (
            f"whether {claim.subject} gains over {against} is open: the mean difference is {mean} {evidence}, "
            f"but {why_open(found)}"
        )
    (seed,) = found["seeds"]
    return (
        f"{claim.subject} differs from {against} by {mean} in seed {seed} alone (95 % interval {interval(found)}), "
        "and one seed settles nothing"
    )


def _second(record: dict, claim: Claim) -> str:
    """The same as a further clause, which leaves the interval to the table."""
    found, against = find(record, claim), control(record, claim)
    if found is None:
        return f"the difference from {against} was not measured"
    called, mean = verdict(found), points(found["mean"])
    if called == ONE_SEED:
        (seed,) = found["seeds"]
        return f"the difference from {against} is {mean} in seed {seed} alone"
    settled = "which is open" if called == OPEN else "which is settled"
    return f"the difference from {against} is {mean} (seeds {each_seed(found)}), {settled}"


def _missing(record: dict, claim: Claim) -> str:
    """Why there is no difference."""
    lacking = [key for key in (claim.arm, claim.reference) if arm(record, key) is None]
    if not lacking:
        return "because no seed has both"
    return f"because {listed(lacking)} {'was' if len(lacking) == 1 else 'were'} not trained"


def _confused(record: dict, claim: Claim) -> tuple | None:
    """(difference, share before, share after) of the confusion inside the groups; None where it was not counted."""
    found = find(record, claim, INSIDE)
    if found is None:
        return None
    # of the seeds that the difference has, so that the three numbers fit together
    before, after = (
        sum(arm(record, key)["seeds"][seed][INSIDE] for seed in found["seeds"]) / len(found["seeds"])
        for key in (claim.reference, claim.arm)
    )
    return found, before, after


def _widest(records: dict) -> Claim | None:
    """The claim about most of the method whose confusion was counted on some data set."""
    claims = [BY_KEY[key] for key in reversed(PARTS)]
    return next((c for c in claims if any(find(record, c, INSIDE) for record in records.values())), None)


def _confusions(record: dict) -> str:
    if not any(record["groups"].values()):
        return "No group of confused classes was found, so there is no confusion inside groups to count."
    claim = _widest({"": record})
    if claim is None:
        return "What became of the confusion inside the groups was not measured, because arms to compare are missing."
    found, before, after = _confused(record, claim)
    called, change = verdict(found), f"{points(found['mean'])} points"
    size = f"{points(abs(found['mean']), sign=False)} points"
    evidence = f"(seeds {each_seed(found)}; 95 % interval {interval(found)})"
    if called in (RISES, FALLS):
        told = f"a {VERDICTS[INSIDE][called]} of {size} {evidence}"
    elif called == OPEN:
        told = f"a change of {change} {evidence}, which is open because {why_open(found)}"
    else:
        (seed,) = found["seeds"]
        told = (
            f"a change of {change} in seed {seed} alone (95 % interval {interval(found)}), "
            "and one seed settles nothing"
        )
    return (
        f"Of the pixels whose true class is in a group, {percent(before)} are taken for another class of the same "
        f"group by {control(record, claim)}, and {percent(after)} by {claim.subject.rstrip(',')}: {told}."
    )


def _certainty(record: dict) -> str:
    counted = _counted({"": record})
    return _ended(f"{counted}; the best arm is {_best(record)}, which the command below trains")


def _best(record: dict, where: str = "") -> str:
    found = best(record)
    seeds = " / ".join(points(scores["mean_iou"], sign=False) for scores in found["seeds"].values())
    told = f"{percent(found['mean_iou'])} mIoU after {found['updates']} updates"
    told += f"; seeds {seeds}" if len(found["seeds"]) > 1 else " in one seed"
    return f"{found['key']}{where} ({told})"


def _counted(records: dict) -> str:
    """How many comparisons there are, and how many of them are settled."""
    found = [find(record, claim) for record in records.values() for claim in CLAIMS]
    found = [difference for difference in found if difference is not None]
    if not found:
        return "none of the comparisons in the table was made"
    called = [verdict(difference) for difference in found]
    kinds = (
        (RISES, "is a settled gain", "are settled gains"),
        (FALLS, "is a settled loss", "are settled losses"),
        (OPEN, "is open", "are open"),
        (
            ONE_SEED,
            "is of one seed alone and so can't be settled",
            "are of one seed alone and so can't be settled",
        ),
    )
    if set(called) == {ONE_SEED}:
        none = f"none of the {in_words(len(found))} comparisons in the table can"
        return f"with one seed alone {none if len(found) > 1 else 'the comparison in the table can not'} be settled"
    counts = [(called.count(kind), one, several) for kind, one, several in kinds]
    parts = [f"{in_words(count)} {one if count == 1 else several}" for count, one, several in counts if count]
    least, most = min(len(d["seeds"]) for d in found), max(len(d["seeds"]) for d in found)
    seeds = in_words(least) if least == most else f"{in_words(least)} to {in_words(most)}"
    made = f"{in_words(len(found))} comparison{'s' if len(found) > 1 else ''}"
    return f"of the {made} in the table, of {seeds} seed{'s' if most > 1 else ''} each, {listed(parts)}"


# ---- six sentences over several data sets


NUMBERS = "In brackets: a difference in points, which is the mean of the seeds, and then the difference of each seed."


def sentences_across(records: dict) -> list:
    """The same six sentences over several data sets: label -> record."""
    return [*_five_across(records), _certainty_across(records)]


def in_short(records: dict) -> list:
    """Five sentences over one or several data sets that only name the verdicts, for pages that refer to another."""
    return _five_across(records, numbers=False)


def _five_across(records: dict, *, numbers: bool = True) -> list:
    def several(first: str, *further: str) -> str:
        more = (_across(records, key, subject="it", numbers=False) for key in further)
        return _ended("; ".join([_across(records, first, numbers=numbers), *more]))

    return [
        several("loss", "loss_by_confusions", "loss_by_class"),
        _ended(_across(records, "heads", numbers=numbers)),
        several("groups_one", "groups_random"),
        several("whole", "whole_over_loss"),
        _confusions_across(records, numbers=numbers),
    ]


def _across(records: dict, key: str, subject: str = "", *, numbers: bool) -> str:
    """A claim over the data sets; without numbers, the verdicts alone."""
    claim = BY_KEY[key]
    found = {label: find(record, claim) for label, record in records.items()}
    brackets = {label: _bracket(d) for label, d in found.items() if d is not None} if numbers else {}
    return f"over {_control(claim, records)}, {subject or claim.subject} {_shown(found, brackets, MEAN_IOU)}"


def _bracket(difference: dict) -> str:
    if len(difference["seeds"]) > 1:
        return f" ({points(difference['mean'])}: {each_seed(difference)})"
    (seed,) = difference["seeds"]
    return f" ({points(difference['mean'])} in seed {seed})"


def _shown(found: dict, brackets: dict, measure: str) -> str:
    """The data sets by verdict: "shows a settled gain on A and B, and nothing settled on C"."""
    called = {label: verdict(difference) for label, difference in found.items() if difference is not None}
    if not called:
        return "was not compared on any data set"
    words = {
        RISES: f"a {VERDICTS[measure][RISES]}",
        FALLS: f"a {VERDICTS[measure][FALLS]}",
        OPEN: "nothing settled",
        ONE_SEED: "the difference of one seed alone, which settles nothing,",
    }
    parts = []
    for kind, phrase in words.items():
        labels = [f"{label}{brackets.get(label, '')}" for label in called if called[label] == kind]
        if labels:
            parts.append(f"{phrase} on {listed(labels)}")
    missing = [label for label in found if label not in called]
    told = f"shows {listed(parts, comma=True)}"
    return told + (f" (it was not compared on {listed(missing)})" if missing else "")


def _confusions_across(records: dict, *, numbers: bool) -> str:
    claim = _widest(records)
    if claim is None:
        return "What became of the confusion inside the groups was not measured on any data set."
    counted = {label: _confused(record, claim) for label, record in records.items()}
    found, brackets = dict.fromkeys(counted), {}
    for label, entry in counted.items():
        if entry is not None:
            found[label], before, after = entry
            brackets[label] = f" ({percent(before)} to {percent(after)}, {_bracket(found[label])[2:]}"
    shown = _shown(found, brackets if numbers else {}, INSIDE)
    return _ended(
        f"from {_control(claim, records)} to {claim.subject} the confusion inside the groups (the share of their "
        f"pixels that is taken for another class of the same group) {shown}"
    )


def _certainty_across(records: dict) -> str:
    named = listed([_best(record, f" on {label}") for label, record in records.items()], comma=True)
    return _ended(f"{_counted(records)}; the best arms are {named}, which the commands below train")


# ---- words


def _ended(clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}."


def listed(parts: Sequence[str], comma: bool = False) -> str:
    """Parts as one: "a", "a and b", "a, b and c"; with a comma before "and" where parts have one of their own."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])}{',' if comma else ''} and {parts[-1]}"


def in_words(count: int) -> str:
    """A number of things, in letters up to ten."""
    words = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[count] if count < len(words) else str(count)
