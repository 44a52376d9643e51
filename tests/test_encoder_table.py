"""The documents' table of encoders is computed, and what is measured is measured."""

from __future__ import annotations

import pytest

from experiments.tools import encoder_table
from gluon_confseg import encoders
from gluon_confseg.errors import RunError

FOUND = {"seconds": 1.25, "fastest": 1.2, "slowest": 1.3, "megabytes": 1234}


@pytest.mark.slow
def test_the_page_holds_the_table_that_the_command_writes():
    page = encoder_table.PAGE.read_text()
    start, end = encoder_table.MARKS
    assert all(f"| `{name}` |" in page for name in encoders.NAMES)
    assert page.split(start)[1].split(end)[0].strip("\n") == encoder_table.page_table()


def test_a_row_has_dashes_where_nothing_was_measured():
    rows = encoder_table.table({"encoders": {"resnet18": FOUND}}, ["resnet18", "resnet34"]).splitlines()[2:]
    cells = [row.strip("| ").split(" | ") for row in rows]
    assert [row[0] for row in cells] == ["`resnet18`", "`resnet34`"]
    assert [row[5:7] for row in cells] == [["1,234", "1.25"], ["-", "-"]]


@pytest.mark.parametrize(
    "name, source",
    [("resnet101", "zoo"), ("resnet50_v1s", "zoo"), ("resnet18_v1s", "none"), ("resnet38", "authors")],
)
def test_weights_come_from_where_they_are(name, source):
    assert source in encoder_table.weights_of(name)


def test_a_measured_step_takes_time_and_memory(monkeypatch):
    monkeypatch.setattr(encoder_table, "CROP", (1, 3, 64, 64))
    found = encoder_table.measure("resnet18", 2)
    assert 0 < found["fastest"] <= found["seconds"] <= found["slowest"]
    assert found["megabytes"] >= 0  # this process may have held more before


def test_figures_of_other_conditions_are_not_mixed_in(tmp_path, monkeypatch):
    monkeypatch.setattr(encoder_table, "KEPT", tmp_path / "encoders.json")
    monkeypatch.setattr(encoder_table, "_in_a_process", lambda name, steps: FOUND)
    encoder_table._measure_all(["resnet18", "resnet50_v1b"])
    encoder_table._measure_all(["resnet34"])
    assert list(encoder_table.read_json(encoder_table.KEPT)["encoders"]) == [
        "resnet18",
        "resnet50",
        "resnet34",
    ]
    monkeypatch.setattr(encoder_table, "CROP", (1, 3, 64, 64))
    encoder_table._measure_all(["resnet34"])
    assert list(encoder_table.read_json(encoder_table.KEPT)["encoders"]) == ["resnet34"]


def test_a_process_that_dies_is_one_sentence_about_its_encoder(monkeypatch):
    monkeypatch.setattr(encoder_table.sys, "executable", "false")
    with pytest.raises(RunError, match="measuring resnet18 ended with status 1"):
        encoder_table._in_a_process("resnet18", 1)
