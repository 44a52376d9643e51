"""The study's pages: sentences that hold for any numbers, and no number that a record does not hold."""

from __future__ import annotations

import ast
import copy
import inspect
import itertools
import re
import shlex

import fake_study
import numpy as np
import pytest
from fake_study import BOTH_SIGNS, GAIN, HOLDS_ZERO, LOSS, ONE_SEED
from PIL import Image

from experiments.study import page as docs
from gluon_confseg.errors import RunError
from gluon_confseg.files import write_json
from gluon_confseg.report.grid import Grid
from gluon_confseg.study import arms, claims, designs, page, picture

ALL_KINDS = {"gain": GAIN, "loss": LOSS, "signs": BOTH_SIGNS, "zero": HOLDS_ZERO, "one": ONE_SEED}
DECIMALS = re.compile(r"\d+\.\d+")


def loss_sentence(found, **changes) -> str:
    """The first sentence of a record whose loss has this difference, and nothing else."""
    return claims.sentences(fake_study.record({"loss": found}, **changes))[0]


# ---- sentences of one data set


def test_a_settled_gain_is_told_with_seeds_interval_and_control():
    assert loss_sentence(GAIN).startswith(
        "The paper's loss gains 2.13 points of mIoU over cross-entropy trained for as many updates "
        "(seeds +1.23 / +2.11 / +3.05; 95 % interval +1.01 to +3.22), which is settled; "
    )


def test_a_settled_loss_is_told_as_one():
    assert loss_sentence(LOSS).startswith(
        "The paper's loss loses 1.21 points of mIoU against cross-entropy trained for as many updates "
        "(seeds −2.13 / −1.14 / −0.37; 95 % interval −2.56 to −0.19), which is settled; "
    )


def test_seeds_of_both_signs_leave_a_difference_open():
    assert loss_sentence(BOTH_SIGNS).startswith(
        "Whether the paper's loss gains over cross-entropy trained for as many updates is open: the mean difference "
        "is +1.04 points of mIoU (seeds +1.41 / −0.62 / +2.33; 95 % interval −0.44 to +2.51), but the seeds differ in "
        "sign and the interval holds 0; "
    )


def test_an_interval_around_0_leaves_a_difference_open():
    assert ", but the interval holds 0; " in loss_sentence(HOLDS_ZERO)


def test_a_seed_without_a_difference_leaves_it_open():
    assert ", but not every seed shows a difference; " in loss_sentence(((0.01, 0.0, 0.02), (0.001, 0.02)))


def test_an_interval_on_the_other_side_than_the_seeds_leaves_a_difference_open():
    assert ", but the interval and the seeds differ in sign; " in loss_sentence(
        ((0.01, 0.02), (-0.02, -0.01))
    )


def test_one_seed_settles_nothing():
    assert loss_sentence(ONE_SEED).startswith(
        "The paper's loss differs from cross-entropy trained for as many updates by +1.73 points of mIoU in seed 0 "
        "alone (95 % interval +0.08 to +3.41, images alone), and one seed settles nothing; "
    )


@pytest.mark.parametrize("kind, told", [
    (GAIN, "the difference from one head for all classes that is as wide as all subnets together"),
    (GAIN, "which is settled."), (LOSS, "which is settled."), (BOTH_SIGNS, "which is open."),
    (ONE_SEED, "is +1.73 in seed 0 alone."),
])  # fmt: skip
def test_a_second_control_is_told_with_its_seeds_and_verdict(kind, told):
    found = {"groups_one": GAIN, "groups_random": kind}
    sentence = claims.sentences(fake_study.record(found))[2]
    assert sentence.endswith(told) or told in sentence.replace("A subnet for each group gains 2.13 points of mIoU over",
                                                               "the difference from")  # fmt: skip
    if len(kind[0]) > 1:
        assert f"(seeds {' / '.join(map(claims.points, kind[0]))})" in sentence


def test_what_was_not_trained_is_said_to_be_missing():
    said = claims.sentences(fake_study.record({"loss": GAIN}))
    assert said[0].endswith(
        "the difference from the same loss with its weights shuffled among the classes was not measured; "
        "the difference from cross-entropy whose classes are weighted by median frequency was not measured."
    )
    assert "was not measured, because subnets_ce and ce_continued were not trained" in said[1]
    assert "because subnets_confusion_ce and one_confusion_ce were not trained" in said[2]
    one = claims.sentences(fake_study.record({"whole": GAIN}))[1]
    assert "because subnets_ce was not trained" in one


def test_arms_without_a_common_seed_are_no_comparison():
    record = fake_study.record({}, arms={"ce": {}, "confusion_ce": {}})
    assert "was not measured, because no seed has both" in claims.sentences(record)[0]


def test_a_control_that_was_trained_for_another_time_is_told_as_such():
    longer = fake_study.record({"loss": GAIN, "groups_one": GAIN})
    for arm in longer["arms"]:
        arm["updates"] += 75 * arm["key"].startswith(("confusion_ce", "subnets"))
    said = claims.sentences(longer)
    assert "over cross-entropy trained for 300 updates against 375 (" in said[0]
    assert "as wide as all subnets together, trained for 300 updates against 375 (" in said[2]
    assert "for 300 updates against 375" in claims.table({"mine": longer}).markdown()
    across = claims.sentences_across({"A": longer, "B": fake_study.record({"loss": GAIN})})
    assert (
        "trained for 300 updates against 375 on A" in across[0]
        and "as many" not in across[0].partition(";")[0]
    )


@pytest.mark.parametrize("values, interval, told", [
    ((-0.0161, -0.0072, -0.0118), (-0.0177, -0.0054), "a settled decrease of 1.17 points (seeds −1.61 / −0.72 / −1.18"),
    ((0.0161, 0.0072), (0.0054, 0.0177), "a settled increase of 1.17 points (seeds +1.61 / +0.72; "),
    ((-0.0161, 0.0072), (-0.0177, 0.0054), "which is open because the seeds differ in sign and the interval holds 0."),
    ((-0.0161,), (-0.0177, -0.0054), "a change of −1.61 points in seed 0 alone (95 % interval −1.77 to −0.54, images"),
])  # fmt: skip
def test_confusion_inside_the_groups_is_told_before_and_after(values, interval, told):
    sentence = claims.sentences(fake_study.record({}, {"whole": (values, interval)}))[4]
    assert told in sentence
    assert sentence.startswith("Of the pixels whose true class is in a group, ")
    assert "by cross-entropy trained on for as many updates, and " in sentence


def test_confusion_before_and_after_is_of_the_seeds_that_are_compared():
    record = fake_study.record(
        {}, {"whole": ((-0.02, -0.01), (-0.03, -0.005))}, {"ce_continued": {"seeds": 3, "inside": 0.2}}
    )
    assert ", 20.05 % are taken" in claims.sentences(record)[4]


def test_without_groups_or_arms_no_confusion_is_told():
    assert (
        "No group of confused classes was found"
        in claims.sentences(fake_study.record({}, groups={"0": []}))[4]
    )
    assert "was not measured, because arms" in claims.sentences(fake_study.record({"loss": GAIN}))[4]


def test_comparisons_are_counted_by_verdict():
    said = claims.sentences(fake_study.full())[5]
    assert said.startswith(
        "Of the eight comparisons in the table, of one to three seeds each, two are settled gains, one is a settled "
        "loss, four are open and one is of one seed alone and so can't be settled; the best arm is "
    )
    assert claims.sentences(fake_study.record({"loss": ONE_SEED}))[5].startswith(
        "With one seed alone the comparison in the table can not be settled; the best arm is "
    )
    two = claims.sentences(fake_study.record({"loss": ONE_SEED, "heads": ONE_SEED}))[5]
    assert two.startswith("With one seed alone none of the two comparisons in the table can be settled; ")
    assert two.endswith(" mIoU after 300 updates in one seed), which the command below trains.")
    assert claims.sentences(fake_study.record({}))[5].startswith(
        "None of the comparisons in the table was made; "
    )


def test_the_best_arm_has_as_many_seeds_as_any():
    arms = {"ce": {"mean_iou": 0.5}, "one_ce": {"mean_iou": 0.53}, "plain_ce": {"mean_iou": 0.6, "seeds": 1}}
    record = fake_study.record({}, arms=arms)
    assert claims.best(record)["key"] == "one_ce"
    assert (
        "the best arm is one_ce (53.00 % mIoU after 300 updates; seeds 52.70 / 53.00 / 53.30), "
        in claims.sentences(record)[5]
    )


@pytest.mark.parametrize(
    "kinds", itertools.product(ALL_KINDS.values(), repeat=2), ids=lambda kinds: str(kinds[0][0])
)
def test_there_are_six_whole_sentences_whatever_the_numbers_are(kinds):
    one, other = kinds
    record = fake_study.record(
        {key: (one, other)[n % 2] for n, key in enumerate(claims.BY_KEY)}, {"whole": one}
    )
    for said in (claims.sentences(record), claims.sentences_across({"A": record, "B": fake_study.full()})):
        assert len(said) == 6
        for sentence in said:
            assert sentence[0].isupper() and sentence.endswith(".") and ". " not in sentence
            assert (
                "  " not in sentence
                and " ," not in sentence
                and "None" not in sentence.replace("None of", "")
            )


# ---- numbers


@pytest.mark.parametrize("value, text", [
    (0.01234, "+1.23"), (-0.00567, "−0.57"), (0, "0.00"), (0.00001, "+0.001"), (-0.0000004, "−0.00004"),
])  # fmt: skip
def test_a_difference_that_is_not_0_is_never_shown_as_0(value, text):
    assert claims.points(value) == text


def numbers(value) -> set:
    """Every number of a record as a page may show it."""
    if isinstance(value, dict):
        return set().union(*map(numbers, value.values()))
    if isinstance(value, (list, tuple)):
        return set().union(*map(numbers, value))
    if isinstance(value, float):
        return {
            f"{abs(100 * value):.2f}",
            f"{value:g}",
            f"{value:.1f}",
            claims.points(abs(value), sign=False),
        }
    return set()


def of_pages(record: dict) -> set:
    """What `numbers` finds, the gain that the paper reports, and what is computed from the arms' scores.

    These are the shares before and after, and by how much scores differ: of each seed, and means over the seeds.
    """
    known = numbers(record) | numbers(designs.WORTH)
    for claim in claims.CLAIMS:
        counted = claims._confused(record, claim)
        known |= numbers(counted[1:]) if counted else set()
    for ours, theirs in itertools.product(record["arms"], repeat=2):
        for name in ("mean_iou", "mean_recall", "pixel_accuracy"):
            seeds = [seed for seed in ours["seeds"] if seed in theirs["seeds"]]
            changes = [ours["seeds"][seed][name] - theirs["seeds"][seed][name] for seed in seeds]
            known |= numbers(changes) | (numbers(float(np.mean(changes))) if changes else set())
    for arm in record["arms"]:
        for name in ("mean_recall", "pixel_accuracy"):
            known |= numbers(float(np.mean([scores[name] for scores in arm["seeds"].values()])))
        rooms = [scores["room"] for scores in arm["seeds"].values() if "room" in scores]
        known |= numbers(float(np.mean(rooms))) if rooms else set()
    return known


def test_every_decimal_number_of_the_pages_is_the_records_own(tmp_path):
    record = fake_study.full()
    page.write(record, tmp_path)
    text = (tmp_path / "study.md").read_text(encoding="utf-8")
    found = set(DECIMALS.findall(text))
    assert len(found) > 60 and not found - of_pages(record)


@pytest.mark.parametrize("module", [claims, designs, page, docs])
def test_no_decimal_number_is_typed_into_the_words_of_the_pages(module):
    strings = [
        node.value
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert len(strings) > 20 and not [text for text in strings if DECIMALS.search(text)]


# ---- tables


def test_the_table_has_every_claim_on_every_data_set():
    some = fake_study.record({"loss": GAIN, "heads": ONE_SEED})
    grid = claims.table({"A": fake_study.full(), "B": some})
    assert [row[2] for row in grid.rows] == ["A", "B"] * len(claims.CLAIMS)
    of_loss = grid.rows[1]
    assert of_loss == [
        "The paper's loss is better than cross-entropy",
        "cross-entropy trained for as many updates",
        "B",
        *("+2.13", "+1.23 / +2.11 / +3.05", "+1.01 to +3.22", "settled gain"),
    ]
    assert ["+1.73", "+1.73", "+0.08 to +3.41, images alone", "one seed alone"] in [
        row[3:] for row in grid.rows
    ]
    assert ["-", "-", "-", "not measured"] in [row[3:] for row in grid.rows]


def test_what_is_a_gain_in_mean_iou_is_an_increase_of_confusion():
    record = fake_study.record({"loss": GAIN}, {"loss": GAIN})
    assert claims.table({"A": record}).rows[0][-1] == "settled gain"
    assert claims.table({"A": record}, claims.INSIDE).rows[0][-1] == "settled increase"


def test_who_gains_is_told_by_classes_and_by_pixels():
    """A loss that gains in classes may lose in pixels; seeds that one arm lacks are left out."""
    arms = {"ce": {"mean_iou": 0.5, "seeds": 3}, "confusion_ce": {"mean_iou": 0.52, "seeds": 2}}
    grid = claims.by_classes_and_pixels(
        {"A": fake_study.record({"loss": GAIN}, arms=arms), "B": fake_study.full()}
    )
    assert grid.head[3:] == ["mIoU, points", "mean recall, points", "pixel accuracy, points"]
    assert grid.rows[0] == [
        "The paper's loss is better than cross-entropy",
        "cross-entropy trained for as many updates",
        "A",
        *("+2.15 (+2.15 / +2.15)", "+4.00 (+4.00 / +4.00)", "−0.20 (−0.20 / −0.20)"),
    ]
    assert {row[2] for row in grid.rows[1:]} == {"B"}


def test_mean_recall_is_told_by_what_every_seed_shows():
    def known(mean_iou: float, seeds: int) -> dict:
        arms = {"ce": {"mean_iou": 0.5, "seeds": 2}, "confusion_ce": {"mean_iou": mean_iou, "seeds": seeds}}
        return fake_study.record({}, arms=arms)

    mixed = known(0.5, 2)
    for seed, change in {"0": -0.01, "1": 0.01}.items():
        claims.arm(mixed, "confusion_ce")["seeds"][seed]["mean_recall"] += change
    records = {"A": known(0.52, 2), "B": known(0.48, 2), "C": mixed, "D": fake_study.record({})}
    assert claims.in_mean_recall(records) == (
        "In mean recall, the paper's loss is above its control in every seed on A, below it in every seed on B, "
        "and neither on C."
    )
    assert claims.in_mean_recall({"D": fake_study.record({})}) is None


def test_what_groups_could_gain_is_told_of_the_data_sets_that_it_was_counted_on():
    record, without = fake_study.full(), fake_study.full()
    for seed, scores in claims.arm(record, "ce_continued")["seeds"].items():
        scores["room"] = 0.1 + 0.01 * int(seed)
    assert claims.room({"B": without}) is None
    told = claims.room({"A": record, "B": without})
    assert told.endswith(
        "takes for another class of its group were right, mIoU would rise by 11.00 points on A."
    )


def test_claims_are_of_the_arms_that_their_words_name():
    """Each arm and control once more, as the issue's list of comparisons has them."""
    assert {claim.key: (claim.arm, claim.reference) for claim in claims.CLAIMS} == {
        "loss": ("confusion_ce", "ce"),
        "loss_by_confusions": ("confusion_ce", "confusion_ce_shuffled"),
        "loss_by_class": ("confusion_ce", "median_frequency"),
        "heads": ("subnets_ce", "ce_continued"),
        "groups_one": ("subnets_confusion_ce", "one_confusion_ce"),
        "groups_random": ("subnets_confusion_ce", "random_confusion_ce"),
        "whole": ("subnets_confusion_ce", "ce_continued"),
        "whole_over_loss": ("subnets_confusion_ce", "confusion_ce_continued"),
    }


def test_a_difference_of_arms_that_were_trained_for_other_times_shows_it():
    record = fake_study.record({"loss": GAIN, "loss_by_confusions": GAIN}, {"loss": LOSS})
    claims.arm(record, "ce")["updates"] = 225
    of_iou, of_confusion = (block for block in page._differences(record) if isinstance(block, Grid))
    assert [row[1] for row in of_iou.rows] == ["300 and 225", "300 each"]
    assert [row[1] for row in of_confusion.rows] == ["300 and 225"]


def test_a_rate_at_the_edge_of_those_tried_is_pointed_out():
    record = fake_study.full()
    tried = [{"rate": rate, "mean_iou": 0.4 + rate} for rate in (0.09, 0.3, 0.9)]
    record["tuning"]["arms"] = {
        key: {"tried": tried, "chosen": rate} for key, rate in (("low", 0.09), ("middle", 0.3), ("high", 0.9))
    }
    record["tuning"]["arms"]["none"] = {"tried": [{"rate": 0.3, "mean_iou": None}], "chosen": None}
    rows = {row[0]: row[1:] for row in page._tuning(record)[1].rows}
    assert [rows[key][1] for key in ("low", "middle", "high")] == [
        "the lowest tried",
        "",
        "the highest tried",
    ]
    assert rows["none"] == ["0.3: diverged", "", "none"]


@pytest.mark.parametrize("given, told", [
    ("confseg study --root a", "confseg study --root a --seeds 0 --arms one_ce --out runs/best-of-mine"),
    ("confseg study --root '/a b' --seeds 0 1 2 --arms ce x --keep f.json --families main --out=runs/x --tries 3",
     "confseg study --root '/a b' --tries 3 --seeds 0 --arms one_ce --out runs/best-of-mine"),
])  # fmt: skip
def test_the_command_of_the_best_arm_is_the_studys_own_for_that_arm(given, told):
    assert page.command(fake_study.record({}, arms={"one_ce": {"mean_iou": 0.9}}, command=given)) == told


def test_the_network_that_all_start_from_is_trained_with_any_arm():
    record = fake_study.record({}, arms={"base": {"mean_iou": 0.9}, "ce": {}})
    assert claims.best(record)["key"] == "base" and " --arms ce --out " in page.command(record)


# ---- pages and picture


def test_pages_hold_everything_and_name_nothing_that_html_or_markdown_could_read(tmp_path):
    record = fake_study.full()
    assert page.write(record, tmp_path) == tmp_path / "study.html"
    html = (tmp_path / "study.html").read_text(encoding="utf-8")
    text = (tmp_path / "study.md").read_text(encoding="utf-8")
    assert "wall &amp; &lt;fence&gt;" in html and "<fence>" not in html and "pictures of &lt;mine&gt;" in html
    assert "wall &amp; &lt;fence&gt;" in text and "](pictures/study.png)" in text
    for sentence in claims.sentences(record):
        assert sentence.replace("'", "&#x27;") in html
    for title in (
        "Groups",
        "Arms",
        "Differences",
        "Learning rates",
        "IoU of each class",
        "Settings",
        "Time and command",
    ):
        assert f"<summary>{title}</summary>" in html and f"### {title}\n" in text
    assert (
        html.count("<ol>") == 1
        and "bus | tram | 3 | 21.07 | 18.74 | 15.33 | - | - | −3.41 (−5.29 to −1.06)" in text
    )


def test_scores_of_another_split_have_pages_of_their_own(tmp_path):
    record = fake_study.full()
    page.write(record, tmp_path)
    kept = (tmp_path / "study.html").read_bytes()
    assert (
        page.write(fake_study.record({"loss": GAIN}), tmp_path, "study-test") == tmp_path / "study-test.html"
    )
    assert "](pictures/study-test.png)" in (tmp_path / "study-test.md").read_text(encoding="utf-8")
    assert (tmp_path / "pictures" / "study-test.png").exists() and (
        tmp_path / "study.html"
    ).read_bytes() == kept


def test_the_terminal_shows_sentences_command_and_claims():
    record = fake_study.full()
    lines = page.terminal(record).splitlines()
    text = " ".join(" ".join(lines).split())
    assert lines[0] == page.first_line(record) and all(
        sentence in text for sentence in claims.sentences(record)
    )
    assert f"    {page.command(record)}" in lines and text.count("settled gain") >= 2


def test_drawn_scenes_are_not_called_cityscapes(tmp_path):
    record = fake_study.full()
    record.update(name="cityscapes", title="What confusing groups are worth on cityscapes")
    described = "street scenes drawn by gluon-confseg (not Cityscapes), val: 12 images."
    record["data"].update(name="cityscapes", drawn=True, description=described)
    page.write(record, tmp_path)
    text = (tmp_path / "study.md").read_text(encoding="utf-8")
    assert "# What confusing groups are worth on drawn scenes\n" in text
    assert "ityscapes" not in text.replace("(not Cityscapes)", "").replace("runs/best-of-cityscapes", "")


def test_a_study_of_few_arms_has_a_page_too(tmp_path):
    """One arm and one seed, no groups, nothing tuned, no pairs."""
    record = fake_study.record({}, arms={"ce": {"seeds": 1, "inside": None}}, groups={"0": []})
    record["tuning"]["tries"] = 1
    page.write(record, tmp_path)
    text = (tmp_path / "study.md").read_text(encoding="utf-8")
    assert "not tuned" in text and "| 0 | none |" in text and "not measured" in text and "None of" in text
    assert "nan" not in text.lower().replace("finance", "")
    assert "Which classes gain" not in text  # its table would be empty


def test_block_tries_and_split_are_told_as_they_were():
    record = fake_study.full()
    assert page.particulars(record).text == (
        "Every arm was trained at 3 learning rates with seed 0, and the one with the best score on the validation "
        "images was taken for all seeds. The scores here are of the same images, so they favour every arm a little, "
        "seed 0 most. The bootstrap draws the 12 validation images one by one."
    )
    record["data"].update(block=10, split="test")
    record["tuning"]["arms"]["one_ce"] = {"tried": [{"rate": 0.3, "mean_iou": 0.5}], "chosen": 0.3}
    told = page.particulars(record).text
    assert "at 1 to 3 learning rates" in told and "same images" not in told
    assert told.endswith("draws the 12 test images in blocks of 10 neighbours, because those are alike.")


def test_the_picture_is_800_pixels_wide_and_of_the_numbers_alone(tmp_path):
    record = fake_study.full()
    for name, records in (
        ("one", {"mine": record}),
        ("again", {"mine": record}),
        ("two", {"A": record, "B": record}),
    ):
        picture.draw(tmp_path / f"{name}.png", records)
    one, again, two = (Image.open(tmp_path / f"{name}.png") for name in ("one", "again", "two"))
    assert one.size[0] == two.size[0] == 800 and one.size[1] < two.size[1]
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    other = copy.deepcopy(record)
    other["differences"][0]["seeds"]["0"] += 0.002
    picture.draw(tmp_path / "other.png", {"mine": other})
    assert (
        np.asarray(Image.open(tmp_path / "other.png").convert("RGB")) != np.asarray(one.convert("RGB"))
    ).any()


def test_the_picture_shows_what_is_better_and_worse_in_colors_of_their_own(tmp_path):
    """A rise is better in mIoU, on the left, and worse in confusion, on the right."""
    picture.draw(tmp_path / "p.png", {"mine": fake_study.record({"loss": GAIN}, {"loss": GAIN})})
    pixels = np.asarray(Image.open(tmp_path / "p.png").convert("RGB"))
    # the legend, which has both colors, is at the bottom
    halves = [half[: len(pixels) // 2] for half in np.split(pixels, [520], axis=1)]
    for half, shown, other in zip(halves, (picture.BETTER, picture.WORSE), (picture.WORSE, picture.BETTER)):
        assert (half == _rgb(shown)).all(-1).sum() > 20
        assert not (half == _rgb(other)).all(-1).any()


def _rgb(color: str) -> list:
    return [int(color[place : place + 2], 16) for place in (1, 3, 5)]


def test_a_record_of_another_version_is_one_sentence(tmp_path):
    write_json(tmp_path / "study.json", {"schema": 2})
    with pytest.raises(
        RunError, match=r"study\.json: expected a study of schema 3, got 2; give the `confseg study`"
    ):
        page.read(tmp_path / "study.json")
    write_json(tmp_path / "study.json", fake_study.full())
    assert page.read(tmp_path / "study.json") == fake_study.full()


# ---- docs/study.md


def test_the_committed_pages_and_picture_are_those_of_the_committed_results(tmp_path):
    records = docs.records()
    for place, parts in (
        (docs.PAGE, ("summary", "details")),
        (docs.SHORT, ("study in short",)),
        (docs.README, ("results",)),
    ):
        text = place.read_text(encoding="utf-8")
        assert [docs.MARKS[name][0] in text for name in parts] == [True] * len(parts)
        assert docs.rendered(text, records) == text, "give python -m experiments.study.page"
    kept = docs.PAGE.parent / docs.IMAGES / docs.PICTURE
    assert kept.exists() == bool(records)
    if records:
        picture.draw(tmp_path / "new.png", records)
        drawn = np.asarray(Image.open(tmp_path / "new.png").convert("RGB"))
        assert np.array_equal(drawn, np.asarray(Image.open(kept).convert("RGB")))


def test_committed_results_and_sentences_agree_on_what_is_claimed_and_settled():
    for record in docs.records().values():
        for found in record["differences"]:
            assert found["settled"] == (claims.verdict(found) in (claims.RISES, claims.FALLS))
            claim = claims.BY_KEY.get(found["claim"])
            assert claim is None or (found["arm"], found["reference"]) == (claim.arm, claim.reference)


def test_every_decimal_number_of_the_committed_page_is_of_the_committed_results():
    known = set().union(*map(of_pages, docs.records().values()))
    assert not set(DECIMALS.findall(docs.PAGE.read_text(encoding="utf-8"))) - known


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """The page's files elsewhere, with results of two data sets and one of an earlier version."""
    text = docs.PAGE.read_text(encoding="utf-8")
    (tmp_path / "docs").mkdir()
    for name, place in (("PAGE", "docs/study.md"), ("SHORT", "docs/results.md"), ("README", "README.md")):
        (tmp_path / place).write_text(getattr(docs, name).read_text(encoding="utf-8"), encoding="utf-8")
        monkeypatch.setattr(docs, name, tmp_path / place)
    monkeypatch.setattr(docs, "RESULTS", tmp_path)
    write_json(tmp_path / "other.json", fake_study.full())
    write_json(
        tmp_path / "msrc21.json", fake_study.record({"loss": LOSS, "groups_one": GAIN}, {"whole": HOLDS_ZERO})
    )
    write_json(tmp_path / "quick.json", {"schema": 2})
    return text


def test_the_page_is_written_from_the_results_of_every_data_set(made_up, capsys):
    assert docs.main([]) == 0
    said = capsys.readouterr()
    assert "quick.json: left out, results of an earlier version" in said.err and "MSRC-21, mine" in said.out
    text = docs.PAGE.read_text(encoding="utf-8")
    assert text.startswith(made_up[: made_up.index(docs.MARKS["summary"][0])])
    assert "## MSRC-21\n" in text and "## mine\n" in text and docs.NOTHING not in text
    assert "](images/study.png)" in text and (docs.PAGE.parent / "images" / "study.png").exists()
    known = set().union(*map(of_pages, docs.records().values()))
    assert not set(DECIMALS.findall(text)) - known
    short = docs.SHORT.read_text(encoding="utf-8").partition(docs.MARKS["study in short"][0])[2]
    assert "the paper's loss shows a settled gain on mine, and a settled loss on MSRC-21; " in short


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_table_of_readme_has_a_row_for_each_data_set_and_for_what_was_not_run(count):
    records = {
        "A": fake_study.record({"loss": GAIN, "groups_one": LOSS}),
        "B": fake_study.record({"loss": ONE_SEED, "whole": HOLDS_ZERO}),
        "C": fake_study.record({}),
    }
    table = docs.results_table(dict(list(records.items())[:count]))
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")][2:]
    assert len({len(row) for row in rows}) == 1 and [row[0] for row in rows[-2:]] == list(docs.NOT_RUN)
    not_yet = [row[0] for row in rows if "not run on it yet" in row[1]]
    assert not_yet == (list(docs.LABELS.values()) if count else [])
    assert all("not run" in row[1] for row in rows[-2:]) and len(rows) == max(count, 1) + len(not_yet) + 2
    if count == 0:
        assert rows[0][1] == docs.NOTHING
    if count > 0:
        assert rows[0] == [
            "A, 3 seeds",
            "+2.13, settled gain",
            "not measured",
            "−1.21, settled loss",
            "not measured",
        ]
    if count > 1:
        assert rows[1] == [
            "B, 3 seeds",
            "+1.73, one seed alone",
            "not measured",
            "not measured",
            "+0.73, open",
        ]
        assert rows[2] == ["C, nothing compared", *["not measured"] * 4]


def test_the_commands_of_the_committed_pages_train_arms_of_this_version():
    for record in docs.records().values():
        words = shlex.split(page.command(record))
        assert arms.chosen([words[words.index("--arms") + 1]])


def test_data_sets_whose_subnets_had_no_branch_for_detail_are_named():
    records = {"A": fake_study.record({"loss": GAIN}), "B": fake_study.full(), "C": fake_study.record({})}
    for label, detail in (("A", {}), ("B", {"detail": 1}), ("C", {"detail": None})):
        head = {"stages": [2, 3], **detail}
        phases = [{"name": "subnets_confusion_ce_rate_0_3", "subnet_head": head}, {"name": "base"}]
        records[label]["settings"] = {**records[label]["settings"], "phases": phases}
    said = "On A and C subnets and wide heads had no branch for detail, which"
    for make in (docs.summary, docs.in_short, docs.results_table):
        assert said in make(records) and "no branch for detail" not in make({"B": records["B"]})


def test_a_number_that_was_typed_into_a_generated_part_is_noticed(made_up):
    docs.main([])
    text = docs.PAGE.read_text(encoding="utf-8")
    assert docs.rendered(text, docs.records()) == text
    for typed in (text.replace("+2.13", "+2.14", 1), text.replace("settled", "proved", 1)):
        assert typed != text and docs.rendered(typed, docs.records()) == text


def test_sentences_over_data_sets_name_them_by_verdict():
    records = {
        "A": fake_study.record({"loss": GAIN, "groups_one": GAIN}),
        "B": fake_study.record({"loss": LOSS}),
        "C": fake_study.record({"loss": HOLDS_ZERO, "groups_one": BOTH_SIGNS}),
        "D": fake_study.record({"loss": ONE_SEED}),
        "E": fake_study.record({}),
    }
    said = claims.sentences_across(records)
    assert said[0].startswith(
        "Over cross-entropy trained for as many updates, the paper's loss shows a settled gain on A (+2.13: "
        "+1.23 / +2.11 / +3.05), a settled loss on B (−1.21: −2.13 / −1.14 / −0.37), nothing settled on C "
        "(+0.73: +0.52 / +0.17 / +1.49), and the difference of one seed alone, which settles nothing, on D "
        "(+1.73 in seed 0) (it was not compared on E); over the same loss"
    )
    assert "a settled gain on A (+2.13: +1.23 / +2.11 / +3.05), and nothing settled on C" in said[2]
    assert said[1].endswith("was not compared on any data set.")
    assert [re.sub(r" \([+−\d][^()]*\)", "", sentence) for sentence in said[:5]] == claims.in_short(records)
    assert not DECIMALS.search(" ".join(claims.in_short(records)))
