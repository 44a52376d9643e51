"""Two workers beside one process: the page's table from what was measured, and the sides. No test looks at times."""

from __future__ import annotations

import dataclasses
import json

import pytest

from experiments.benchmarks import bench_workers
from experiments.benchmarks.bench_workers import Side
from gluon_confseg.distributed import cost, probe

NETWORK = cost.record("dist_sync", probe.Probe(2, 0.002, {1: 0.01, 16: 0.1}), 1)


def kept() -> dict:
    """Two rounds of two steps."""
    sides = {}
    for side in (
        Side(None, 1, 2, 16),
        Side("dist_sync", 2, 1, 16),
        Side(None, 1, 1, 8),
        Side(None, 1, 1, 4),
        Side(None, 1, 1, 1),
    ):
        shared = side.workers > 1
        each = {
            "seconds": [2.0, 4.0],
            "exchanging": [0.5, 1.0] if shared else [],
            "bytes": 16_000_000 * shared,
        }
        each["network"] = NETWORK if shared else None
        if side.threads == 1 and not shared:
            each["seconds"] = [side.images / 4] * 2
        sides[side.name] = {**dataclasses.asdict(side), "rounds": [each, each]}
    return {
        "recipe": "drawn, profile quick",
        "encoder": "an encoder",
        "crop": [128, 192],
        "batch": 16,
        "cores": 2,
        "load": 1.5,
        "rounds": 2,
        "steps": 2,
        "sides": sides,
    }


def test_what_was_measured_and_what_was_computed_are_told_apart():
    """A share of 8 images takes 2 s; 16 MB take two workers 0.1 s, as measured. 4 workers compute 1 s.

    Of the 0.1 s, 8 messages of 1 ms leave 0.092 s for 16 MB; 4 workers send 6 times as much in as many messages.
    """
    rows = [
        line.strip("| ").split(" | ") for line in bench_workers.table(kept()).splitlines() if line[:1] == "|"
    ]
    assert rows[2] == ["one process", "1 x 2", "3.00 (2.00 to 4.00)", "5.3", "0 %", "measured"]
    assert rows[3][3:] == ["5.3", "25 %", "measured"]
    assert rows[4] == ["dist\\_sync, 2 workers", "2 x 1", "2.10", "7.6", "5 %", "computed"]
    assert rows[5][0] == "dist\\_sync, 4 workers" and rows[5][2] == "1.56" and rows[5][-1] == "computed"
    assert len(rows) == 7


def test_a_side_is_measured_in_this_process_too(tmp_path):
    bench_workers._draw(tmp_path)
    found = bench_workers.measure(None, 1, 1, str(tmp_path))
    assert len(found["seconds"]) == 1 and found["seconds"][0] > 0
    assert found["exchanging"] == [] and found["network"] is None


def test_workers_are_started_by_their_launcher():
    assert Side(None, 1, 2, 16).command() == []
    assert Side("dist_sync", 2, 1, 16).command()[-4:] == ["launch", "--workers", "2", "--"]
    assert Side("horovod", 2, 1, 16).command()[1:] == ["-np", "2", "-H", "localhost:2"]


def test_the_page_holds_the_table_of_what_is_kept():
    page = bench_workers.PAGE.read_text(encoding="utf-8")
    start, end = bench_workers.MARKS
    measured = json.loads(bench_workers.KEPT.read_text(encoding="utf-8"))
    assert page.split(start)[1].split(end)[0].strip("\n") == bench_workers.table(measured)


@pytest.mark.distributed
@pytest.mark.slow
def test_a_round_of_two_workers_gives_what_rank_0_measured(tmp_path):
    bench_workers._draw(tmp_path)
    found = bench_workers._in_processes(Side("dist_sync", 2, 1, 2), 1, str(tmp_path))
    assert len(found["seconds"]) == len(found["exchanging"]) == 1 and found["bytes"] > 1e6
    assert found["network"]["workers"] == 2
