"""What the paper's tables would cost on GPUs: counted work, kept dry runs, and the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.tools import planning
from experiments.tools.planning import Assumptions, Card, Work
from gluon_confseg import recipe_files
from gluon_confseg.dry_run.figures import GIB
from gluon_confseg.errors import RunError
from gluon_confseg.inference import PLAIN, TTA

ASSUMED = Assumptions()
CARD = Card("a card", "7.0", 2e12, 16 * GIB)


@pytest.fixture(scope="module")
def table5():
    """What is counted of Table 5, and what is kept of its dry run."""
    return planning.counted(recipe_files.find("table5").profile("full")), planning.kept_of("table5")


def test_a_step_trains_subnet_0_or_the_subnets_on_what_is_frozen():
    work = Work(alone=100, whole=130, parameters_alone=10, parameters=12)
    assert work.of_step("subnet0") == 300 and work.of_step("subnets") == 100 + 90
    assert work.gradients("subnet0") == 40 and work.gradients("subnets") == 8


def test_ways_of_testing_count_their_views():
    assert planning.views(PLAIN) == 1 and planning.views(TTA["flip"]) == 2
    assert planning.views(TTA["multi-scale"]) == 2 * (0.25 + 0.5625 + 1 + 1.5625 + 2.25)


def test_gradients_that_are_counted_are_those_of_the_dry_run(table5):
    """So are the phases and the evaluations, and each has steps and images of the paper's recipe."""
    found, kept = table5
    counted = {phase["name"]: phase["exchanged"]["gradients"] for phase in found["phases"]}
    assert counted == {phase["name"]: phase["exchanged"]["gradients"] for phase in kept["phases"]}
    names = {(each["phase"], each["tta"]) for each in found["evaluations"]}
    assert names == {(each["phase"], each["tta"]) for each in kept["evaluations"]}
    assert [phase["steps"] for phase in found["phases"]] == [80 * 661, 80 * 661, 16 * 661, 16 * 661]


def test_seconds_follow_from_a_share_of_the_peak(table5):
    """2 TFLOP/s at 35 % are 0.35 * 10^12 multiply-adds in a second."""
    found, kept = table5
    record = planning.record_of(found, kept, CARD, ASSUMED)
    first = record["phases"][0]
    assert first["fastest_step"] == pytest.approx(found["phases"][0]["multiply_adds"] / 0.35e12)
    assert first["hours"] == pytest.approx(80 * 661 * 16 * first["fastest_step"] / 3600)
    half = planning.record_of(found, kept, CARD, Assumptions(sustained=0.175))
    assert half["whole"]["hours"]["all"] == pytest.approx(2 * record["whole"]["hours"]["all"])


def test_batches_are_cut_until_they_fit(table5):
    found, kept = table5
    record = planning.record_of(found, kept, CARD, ASSUMED)
    planned = planning.fitting(record, CARD, ASSUMED, 1, 1)
    assert planned["accumulate"] > 1 and planned["memory_of_device"] <= 0.9 * CARD.memory
    larger = Card("another", "7.0", 2e12, 999 * GIB)
    assert planning.fitting(record, larger, ASSUMED, 1, 1)["accumulate"] == 1
    assert planning.fitting(record, Card("small", "7.0", 2e12, GIB), ASSUMED, 1, 1) is None
    assert planning.fitting(record, CARD, ASSUMED, 4, 4)["phases"][0]["images_of_share"] == 1


def test_cells_say_what_is_known():
    planned = {"hours": {"all": 36.0}, "memory_of_device": 2 * GIB, "accumulate": 4}
    planned.update(workers=1, devices_per_worker=4, efficiency=0.75)
    assert planning._cell(planned, True) == "1.5 days, 2.0 GiB, accumulate 4, exchange 25 %"
    assert planning._cell({**planned, "accumulate": 1, "devices_per_worker": 1}, False) == "1.5 days"
    assert planning._cell(None, True) == "does not fit"


def test_a_dry_run_is_kept_without_its_times(tmp_path, monkeypatch, table5):
    monkeypatch.setattr(planning, "KEPT", tmp_path)
    memory = {"base": 1, "momentum": 1, "image": 1, "steps": 2, "peak": 3}
    phase = {
        "name": "ce",
        "memory": memory,
        "checkpoint": 1,
        "exchanged": {"gradients": 1},
        "images_per_step": 1,
    }
    record = {
        "recipe": "table5",
        "profile": "full",
        "machine": {"device": "cpu(0)"},
        "phases": [{**phase, "seconds_per_step": [1.0, 2.0]}],
        "matrices": [],
        "evaluations": [{"phase": "ce", "tta": "single", "peak": 5, "hours": 1.0}],
        "whole": {"run_folder": 1, "run_folder_at_most": 2, "data": 3, "hours": {}},
    }
    file = tmp_path / "record.json"
    file.write_text(json.dumps(record))
    planning.keep(file)
    kept = planning.kept_of("table5")
    assert kept["phases"] == [phase] and "hours" not in json.dumps(kept)
    assert planning.kept_of("table3") is None
    file.write_text(json.dumps({**record, "profile": "smoke"}))
    with pytest.raises(RunError, match="is of table5, profile smoke; give profile full of table2"):
        planning.keep(file)
    file.write_text("{}")
    with pytest.raises(RunError, match="holds no record of a dry run"):
        planning.keep(file)


def test_a_table_without_a_dry_run_says_so(table5):
    found, kept = table5
    assert "its memory and disk are not known" in planning._said(found, None)
    assert "GiB more for each image of a step" in planning._said(found, kept)


@pytest.mark.slow
def test_the_page_holds_the_tables_that_the_command_writes():
    page = Path(planning.PAGE).read_text(encoding="utf-8")
    start, end = planning.MARKS
    expected = "\n\n".join(
        planning.page_of(name, planning.kept_of(name), ASSUMED) for name in planning.TABLES
    )
    assert page.split(start)[1].split(end)[0].strip("\n") == expected
