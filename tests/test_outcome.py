"""What a run says came out of it: gains, what training on for as long gains too, and the caution."""

from __future__ import annotations

import fake_run
import pytest
from small import recipe

from experiments import camvid, drawn, own, table3, table4
from gluon_confseg.recipe import Cell, phase
from gluon_confseg.report import document, outcome, tables
from gluon_confseg.report.document import Text
from gluon_confseg.report.folder import read
from gluon_confseg.report.grid import Grid
from gluon_confseg.results import continues

MINUS = tables.MINUS
NAMES = {
    "subnet0_ce": ("0", "CE"),
    "subnet0_ce_continued": ("0", "CE, trained on"),
    "subnets_ce": ("0-3", "CE"),
    "subnet0_confusion_ce": ("0", "confusion CE"),
    "subnets_confusion_ce": ("0-3", "confusion CE"),
}


def results(images: int = 60, **cells) -> dict:
    """Results of these cells: key -> (mIoU in percent, updates)."""
    found = []
    for key, (score, updates) in cells.items():
        subnets, loss = NAMES.get(key, ("0", key))
        continued = key.replace("_continued", "") if key.endswith("_continued") else None
        found.append(
            {"key": key, "subnets": subnets, "loss": loss, "mean_iou": score / 100, "updates": updates}
        )
        found[-1]["continues"] = continued
    return {"cells": found, "data": {"val_images": images}}


FOUR = {
    "subnet0_ce": (60.0, 900),
    "subnets_ce": (62.5, 1200),
    "subnet0_confusion_ce": (60.5, 900),
    "subnets_confusion_ce": (62.0, 1200),
}


def test_it_says_what_the_loss_the_subnets_and_both_gained():
    first = outcome.sentences(results(**FOUR))[0]
    assert first == (
        "Compared with cross-entropy (60.00 % mIoU), the paper's loss changed mIoU by +0.50 points, subnets by +2.50, "
        "and both together by +2.00."
    )


def test_a_loss_is_said_as_plainly_as_a_gain():
    said = outcome.sentences(results(subnet0_ce=(60.0, 900), subnet0_confusion_ce=(58.9, 900)))
    assert f"the paper's loss changed mIoU by {MINUS}1.10 points" in said[0]


def test_cells_with_more_updates_are_compared_with_training_on_for_as_long():
    said = outcome.sentences(results(**FOUR, subnet0_ce_continued=(62.25, 1200)))
    assert said[1] == (
        "Compared with the same trained on for as long (1,200 updates instead of 900; 62.25 % mIoU), subnets changed "
        f"mIoU by +0.25 points and both together by {MINUS}0.25."
    )
    assert len(said) == 3 and "the paper's loss" not in said[1]
    assert "trained on" not in said[0]  # the control is no gain of the method


@pytest.mark.parametrize("control", [{}, {"subnet0_ce_continued": (61.0, 1000)}])
def test_without_a_control_of_as_many_updates_it_says_that_there_is_none(control):
    said = outcome.sentences(results(**FOUR, **control))
    assert said[1] == (
        "Subnets and both together had 300 more updates than cross-entropy, and no cell was trained on for as long: "
        "longer training alone may account for part of these gains, or for all."
    )
    assert len(said) == 3


def test_where_all_had_as_many_updates_no_control_is_missed():
    cells = {key: (score, 900) for key, (score, _) in FOUR.items()}
    assert len(outcome.sentences(results(**cells))) == 2


def test_different_numbers_of_more_updates_are_told_apart():
    cells = {"first": (50.0, 100), "second": (51.0, 150), "third": (52.0, 1300), "fourth": (50.0, 100)}
    assert outcome.sentences(results(**cells))[1].startswith(
        "Subnet 0, second had 50 more updates and subnet 0, third had 1,200 more updates than subnet 0, first, and"
    )


@pytest.mark.parametrize("images, words", [(1, "1 validation image;"), (60, "60 validation images;")])
def test_every_comparison_ends_with_the_caution(images, words):
    last = outcome.sentences(results(images, **FOUR))[-1]
    assert last.startswith("Caution: this is one seed and ") and words in last
    assert "groups" in last
    without = outcome.sentences(results(subnet0_ce=(60.0, 900), subnet0_confusion_ce=(61.0, 900)))[-1]
    assert without.startswith("Caution") and "groups" not in without


def test_one_cell_is_compared_with_nothing():
    assert outcome.sentences(results(subnet0_ce=(60.0, 900))) == ["Cross-entropy: 60.00 % mIoU."]


def test_a_control_alone_is_shown_as_what_it_is():
    said = outcome.sentences(results(subnet0_ce=(60.0, 900), subnet0_ce_continued=(61.0, 1200)))
    assert "subnet 0, CE, trained on changed mIoU by +1.00 points" in said[0] and len(said) == 2


def test_of_many_cells_the_best_is_named_and_compared():
    cells = {f"loss{number}": (50.0 + number % 7, 900) for number in range(tables.WIDEST + 1)}
    said = outcome.sentences(results(**cells))
    assert said[0] == "The best of the other cells is subnet 0, loss6."
    assert said[1] == (
        "Compared with subnet 0, loss0 (50.00 % mIoU), subnet 0, loss6 changed mIoU by +6.00 points."
    )


def test_the_terminal_and_the_report_say_it_before_their_tables(tmp_path):
    folder = fake_run.make(tmp_path / "run")
    run = read(folder)
    said = outcome.sentences(run.results)
    shown = tables.terminal(run.results)
    table = shown.index(tables.table(run.results, "text"))
    assert all(-1 < shown.find(sentence) < table for sentence in said)
    blocks = document.build(run)
    assert blocks[: len(said)] == [Text(sentence, strong=True) for sentence in said]
    assert isinstance(blocks[len(said)], Grid)


def test_tables_of_cells_show_updates(tmp_path):
    run = read(fake_run.make(tmp_path / "run"))
    wanted = [f"{cell['updates']:,}" for cell in fake_run.CELLS]
    assert ["updates", *wanted] in tables.cells(run.results).rows
    assert tables.classes(run.results).rows[-1] == ["updates", "", *wanted, ""]
    for grid in (tables.wrong_pixels(run.results, run.counts, run.groups), tables.rules(run.results)):
        updates = {row[0]: row[grid.head.index("updates")] for row in grid.rows}
        assert updates.items() <= dict(zip(map(tables.cell_name, fake_run.CELLS), wanted)).items() and updates


# ---- the control itself


SHORT = [
    *(module.PROFILES[name] for module in (camvid, drawn, own) for name in module.PROFILES),
    *(table3.PROFILES[name] for name in ("quick", "smoke")),
]


@pytest.mark.parametrize("found", SHORT, ids=lambda recipe: f"{recipe.name}-{recipe.profile}")
def test_short_recipes_train_cross_entropy_on_for_as_many_updates_as_the_subnets_had(found):
    from gluon_confseg import build

    cells = {cell.key: cell for cell in found.cells}
    assert list(cells) == list(NAMES)
    updates = {key: build.updates(found, found.phase(cell.phase), 320) for key, cell in cells.items()}
    assert updates["subnet0_ce_continued"] == updates["subnets_ce"] == updates["subnets_confusion_ce"]
    assert updates["subnet0_ce"] == updates["subnet0_confusion_ce"] < updates["subnets_ce"]
    control, before = (found.phase(cells[key].phase) for key in ("subnet0_ce_continued", "subnet0_ce"))
    assert (control.start, control.trains, control.loss) == (before.name, "subnet0", "ce")
    told = {key: continues(found, cell, found.cells) for key, cell in cells.items()}
    assert told == {**dict.fromkeys(cells), "subnet0_ce_continued": "subnet0_ce"}


@pytest.mark.parametrize("full", [table3.PROFILES["full"], table4.PROFILES["full"]])
def test_the_papers_tables_have_the_papers_columns_alone(full):
    assert all(cell.paper is not None for cell in full.cells)
    assert not any(continues(full, cell, full.cells) for cell in full.cells)


def test_training_on_is_by_the_same_loss_with_the_same_settings():
    phases = [
        phase("base", epochs=1),
        phase("longer", "base", epochs=1),
        phase("longest", "longer", epochs=1),
        phase("new", "base", epochs=1, loss="confusion_ce"),
        phase("new_longer", "new", epochs=1, loss="confusion_ce"),
        phase("new_other", "new", epochs=1, loss="confusion_ce", penalty=1.0),
        phase("heads", "base", "subnets", epochs=1),
        phase("heads_longer", "heads", "subnets", epochs=1),
    ]
    subnets = {"heads": "all", "heads_longer": "all"}
    cells = [Cell(p["name"], subnets.get(p["name"], "0"), "loss", p["name"]) for p in phases]
    cells.append(Cell("flipped", "0", "loss", "longer", tta="flip"))
    tiny = recipe(phases, cells)
    told = {cell.key: continues(tiny, cell, tiny.cells) for cell in tiny.cells}
    assert told == {
        "base": None,
        "longer": "base",
        "longest": "longer",
        "new": None,
        "new_longer": "new",
        "new_other": None,
        "heads": None,
        "heads_longer": "heads",
        "flipped": None,  # nothing else is tested with flipped images
    }
    without = [cell for cell in tiny.cells if cell.key != "longer"]
    assert continues(tiny, without[1], without) == "base"  # through a phase that no cell shows
