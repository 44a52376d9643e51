"""The benchmarks' harness: turns, ratios, history, what changed, and the page. No test asks how long anything took."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from experiments.benchmarks import bench, draws, figures, history, page, rounds, rows, table
from experiments.benchmarks.growths import Growth, all_growths
from experiments.benchmarks.rounds import Measured, Outcome, Side
from gluon_confseg.errors import RunError

MACHINE = {"cpu": "some processor", "cores": 2, "load": 0.0, "versions": {}, "rates": {}}
OURS, THEIRS, OTHERS = (Side(name, "ours_arrays", {}) for name in ("ours", "theirs", "others"))


def row(**settings) -> rows.Row:
    against = rows.Against("them", "them", (THEIRS, OTHERS), 1.0)
    return rows.Row("work", "a work", (OURS,), **{"against": (against,), **settings})


def outcome(**seconds) -> Outcome:
    return Outcome({name: Measured(found, [100.0] * len(found)) for name, found in seconds.items()}, {}, {})


def compared(one: rows.Row, found: Outcome) -> dict:
    ((identifier, against),) = one.comparisons()
    return figures.compared(identifier, one, against, found)


def run(*entries, commit: str = "abc", machine: dict = MACHINE, growths=()) -> dict:
    date = f"2026-01-01 00:0{len(commit)}"
    return {
        "commit": commit,
        "dirty": False,
        "date": date,
        "machine": machine,
        "rows": list(entries),
        "growths": list(growths),
    }


# ---- figures


def test_the_ratio_is_the_median_of_the_rounds_ratios_and_not_the_ratio_of_medians():
    found = figures.ratio([1.0, 6.0, 3.0], [2.0, 3.0, 1.0])
    assert found == {"ratio": 2.0, "low": 0.5, "high": 3.0}


def test_rounds_that_do_not_pair_have_no_ratio():
    with pytest.raises(ValueError, match="2 rounds"):
        figures.ratio([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="0 rounds"):
        figures.ratio([], [])


def test_ours_is_held_against_the_better_of_theirs():
    entry = compared(row(), outcome(ours=[2.0, 2.0, 2.0], theirs=[8.0, 4.0, 4.0], others=[1.0, 5.0, 5.0]))
    assert entry["theirs"] == {"theirs": 4.0, "others": 5.0}
    assert (entry["ratio"], entry["low"], entry["high"], entry["rounds"]) == (0.5, 0.25, 0.5, 3)


def test_the_better_of_ours_counts_and_is_named():
    both = (OURS, Side("ours, 1 thread", "ours_arrays", {}, 1))
    found = outcome(ours=[3.0], theirs=[2.0], others=[4.0], **{"ours, 1 thread": [1.0]})
    entry = compared(rows.Row("work", "a work", both, row().against), found)
    assert entry["better"] == "ours, 1 thread" and entry["ours"] == 1.0 and entry["ratio"] == 0.5


def test_memory_is_compared_where_the_row_says_so():
    found = Outcome(
        {
            name: Measured([1.0], [peak])
            for name, peak in (("ours", 30.0), ("theirs", 20.0), ("others", 60.0))
        },
        {},
        {},
    )
    entry = compared(row(unit="MiB"), found)
    assert (entry["ours"], entry["ratio"]) == (30.0, 1.5)


def test_a_side_over_its_limit_has_no_ratio_and_its_limit_is_kept():
    found = Outcome({"ours": Measured(over=60.0)}, {}, {})
    one = row(against=(), goal=10.0)
    entry = compared(one, found)
    assert entry["ours"] is None and entry["over"] == 60.0 and "ratio" not in entry
    assert table.ours(entry) == "over 60 s" and table.met(one, None, entry) == "no"


def test_peers_that_are_not_there_leave_our_figure():
    found = Outcome({"ours": Measured([1.0], [5.0]), "theirs": Measured(), "others": Measured()}, {}, {})
    entry = compared(row(), found)
    assert entry["ours"] == 1.0 and "ratio" not in entry
    assert table.ratio(entry) == table.met(row(), row().against[0], entry) == table.NONE


@pytest.mark.parametrize("power", [0.0, 1.0, 2.5])
def test_the_exponent_of_a_power_is_the_power(power):
    sizes = (1, 2, 4, 8)
    assert figures.exponent(sizes, [3 * size**power for size in sizes]) == power


def test_without_a_cost_there_is_no_exponent():
    assert figures.exponent((1, 2), [1.0, None]) is None


def test_memory_grows_by_what_is_above_the_libraries():
    growth = Growth("g", "a work", "images", (1, 2, 4), lambda size: OURS)
    outcomes = {size: Measured([float(size)], [100.0 + 10 * size], held_mib=100.0) for size in growth.sizes}
    found = figures.grown(growth, outcomes)
    assert found["extra_mib"] == [10.0, 20.0, 40.0] and found["peak_mib"] == [110.0, 120.0, 140.0]
    assert found["exponent"] == found["memory_exponent"] == 1.0


# ---- equal work


def test_sides_whose_facts_differ_are_refused_by_name():
    same = {
        "one": {"multiply_adds": 5, "values": [1.0, 2.0]},
        "two": {"multiply_adds": 5, "values": [1.0002, 2.0]},
    }
    assert rounds.check_same(same)["multiply_adds"] == 5
    with pytest.raises(RunError, match="one and two .* multiply_adds is 5 and 6"):
        rounds.check_same({"one": {"multiply_adds": 5}, "two": {"multiply_adds": 6}})
    with pytest.raises(RunError, match="values"):
        rounds.check_same({"one": {"values": [1.0, 2.0]}, "two": {"values": [1.0, 2.1]}})
    with pytest.raises(RunError, match="values"):
        rounds.check_same({"one": {"values": [1.0, 2.0]}, "two": {"values": [1.0]}})


def test_large_counts_are_equal_to_the_last_unit():
    with pytest.raises(RunError):
        rounds.check_same({"one": {"parameters": 10**9}, "two": {"parameters": 10**9 + 1}})


# ---- processes


def test_sides_take_turns_and_are_started_once(monkeypatch, tmp_path):
    """Each round of a side writes its name; a side is a small program in place of the real ones."""
    log = tmp_path / "turns"
    program = (
        "import json, sys\n"
        "name = json.loads(sys.argv[1])['name']\n"
        "print(json.dumps({'facts': {}, 'versions': {'python': '3', name: '1'}, 'held_mib': 1.5}), flush=True)\n"
        "for _ in sys.stdin:\n"
        f"    open({str(log)!r}, 'a').write(name)\n"
        "    print(json.dumps({'seconds': 1.0, 'peak_mib': 2.0}), flush=True)\n"
    )
    stand_in(monkeypatch, tmp_path, program)
    sides = [Side(name, "peers_stand_in", {"name": name}) for name in "ab"]
    found = rounds.measure(sides, 3)
    assert log.read_text() == "ababab"
    assert found.sides["a"].seconds == [1.0] * 3 and found.sides["b"].peak_mib == [2.0] * 3
    assert found.versions == {"a": "1", "b": "1"}


def test_sides_of_different_sizes_may_state_different_facts(monkeypatch, tmp_path):
    program = (
        "import json, sys\n"
        "facts = {'multiply_adds': json.loads(sys.argv[1])['size']}\n"
        "print(json.dumps({'facts': facts, 'versions': {'python': '3'}, 'held_mib': 1.5}), flush=True)\n"
        "for _ in sys.stdin:\n"
        "    print(json.dumps({'seconds': 1.0, 'peak_mib': 2.0}), flush=True)\n"
    )
    stand_in(monkeypatch, tmp_path, program)
    sides = [Side(str(size), "peers_stand_in", {"size": size}) for size in (1, 2)]
    assert rounds.measure(sides, 1, same_work=False).sides["2"].seconds == [1.0]
    with pytest.raises(RunError, match="multiply_adds is 1 and 2"):
        rounds.measure(sides, 1)


def test_a_row_that_fails_leaves_the_figures_of_the_others(monkeypatch, tmp_path, capsys):
    kept = []

    def measure(sides, count, **_):
        if sides[0].settings["work"] == "loss":
            raise RunError("it broke")
        return Outcome({side.name: Measured([1.0], [2.0]) for side in sides}, {}, {})

    monkeypatch.setattr(rounds, "PEERS", tmp_path)
    monkeypatch.setattr(rounds, "measure", measure)
    monkeypatch.setattr(bench, "machine_rates", lambda: ({}, {}))
    monkeypatch.setattr(history, "append", kept.append)
    monkeypatch.setattr(page, "write", lambda: None)
    assert bench.main(["--rows", "loss", "matrix"]) != 0
    assert [entry["id"] for entry in kept[0]["rows"]] == ["matrix/c", "matrix/scikit-learn"]
    assert "it broke" in capsys.readouterr().err


def test_a_side_that_fails_is_named(monkeypatch, tmp_path):
    stand_in(monkeypatch, tmp_path, "raise SystemExit(3)")
    with pytest.raises(RunError, match="broken: its process .* status 3"):
        rounds.measure([Side("broken", "peers_stand_in", {})], 1)


def test_a_side_that_never_ends_is_ended_at_its_limit(monkeypatch, tmp_path):
    stand_in(monkeypatch, tmp_path, "import time\ntime.sleep(600)")
    found = rounds.measure([Side("slow", "peers_stand_in", {}, limit=0.5)], 1)
    assert found.sides["slow"].over == 0.5 and found.sides["slow"].seconds == []


def stand_in(monkeypatch, folder, program: str) -> None:
    (folder / "peers_stand_in.py").write_text(program)
    monkeypatch.setattr(rounds, "HERE", folder)
    monkeypatch.setattr(rounds, "PEERS", sys.executable)
    monkeypatch.setattr(rounds, "SETTLE", 0.0)


def test_a_real_side_answers_with_its_facts():
    settings = {"work": "matrix", "shape": [1, 8, 8], "num_classes": 3, "ignored": 0.1}
    found = rounds.measure([Side("ours", "ours_arrays", settings)], 1)
    labels = draws.labels((1, 8, 8), 3, 0.1)
    assert sum(found.facts["counts"]) == (labels != draws.IGNORED).sum()
    assert len(found.sides["ours"].seconds) == 1 and found.versions["numpy"] == np.__version__


# ---- history and what changed


def test_the_history_only_grows_and_reads_back(tmp_path):
    file = tmp_path / "history.jsonl"
    assert history.read(file) == []
    first, second = run({"id": "a"}), run({"id": "b"}, commit="later")
    history.append(first, file)
    history.append(second, file)
    assert history.read(file) == [first, second]
    file.write_text(file.read_text() + '{"commit": ')
    with pytest.raises(RunError, match="history.jsonl: line 3"):
        history.read(file)


def test_the_last_figures_of_a_row_are_of_the_newest_run_that_has_it_on_such_a_machine():
    elsewhere = {**MACHINE, "cpu": "another"}
    runs = [
        run({"id": "a", "ours": 1}),
        run({"id": "b", "ours": 2}, commit="bb"),
        run({"id": "a", "ours": 3}, machine=elsewhere),
    ]
    assert history.last(runs, "rows", "a")[1]["ours"] == 3
    assert history.last(runs, "rows", "a", MACHINE)[1]["ours"] == 1
    assert history.last(runs, "rows", "c", MACHINE) == (None, None)


@pytest.mark.parametrize(
    "now, before, said",
    [
        ({"ours": 1.0, "ratio": 0.5, "low": 0.4, "high": 0.6}, None, "new"),
        (
            {"ours": 1.0, "ratio": 0.5, "low": 0.4, "high": 0.6},
            {"ours": 9.0, "ratio": 1.0, "low": 0.9, "high": 1.1},
            "-50 %",
        ),
        (
            {"ours": 1.0, "ratio": 0.9, "low": 0.8, "high": 1.0},
            {"ours": 1.0, "ratio": 1.0, "low": 0.95, "high": 1.1},
            "-10 % ~",
        ),
        ({"ours": 3.0}, {"ours": 2.0}, "+50 %"),
        ({"ours": None, "over": 60.0}, {"ours": 2.0}, "-"),
    ],
)
def test_the_change_is_that_of_the_ratio_and_marked_where_the_rounds_overlap(now, before, said):
    assert table.change(now, before) == said


def test_a_run_says_its_commit_and_its_machine():
    begun = history.begin({"numpy": "1"}, {"bytes": 2.0}, 0.123)
    assert begun["machine"]["cores"] >= 1 and begun["machine"]["load"] == 0.12
    assert begun["commit"] and isinstance(begun["dirty"], bool) and begun["rows"] == begun["growths"] == []
    json.dumps(begun)


# ---- the rows


def test_quick_rows_are_the_same_rows():
    def lines(quick):
        return [
            (name, against and against.goal)
            for row in rows.all_rows(quick)
            for name, against in row.comparisons()
        ]

    assert lines(True) == lines(False)
    assert [g.id for g in all_growths(True)] == [g.id for g in all_growths()]


def test_every_line_has_a_name_of_its_own_and_every_row_says_what_bounds_it():
    every = rows.all_rows()
    names = [name for row in every for name, _ in row.comparisons()] + [g.id for g in all_growths()]
    assert len(names) == len(set(names))
    assert all(row.bounds and (row.against or row.goal) for row in every)


def test_sides_of_a_row_have_different_names_and_programs_that_exist():
    for row in rows.all_rows():
        sides = [*row.ours, *(side for against in row.against for side in against.sides)]
        assert len({side.name for side in sides}) == len(sides), row.id
        assert all((rounds.HERE / f"{side.program}.py").exists() for side in sides)


def test_peers_never_import_this_package():
    for file in (*rounds.HERE.glob("peers_*.py"), rounds.HERE / "side.py", rounds.HERE / "draws.py"):
        assert "import gluon_confseg" not in file.read_text() and "from gluon_confseg" not in file.read_text()


def test_an_unknown_row_is_refused_with_the_nearest_name():
    with pytest.raises(RunError, match="no row 'losss'; did you mean loss"):
        bench.chosen(rows.all_rows(), all_growths(), ["losss"])


def test_chosen_rows_are_those_named():
    chosen, growths = bench.chosen(rows.all_rows(), all_growths(), ["matrix", "growth-groups"])
    assert [row.id for row in chosen] == ["matrix"] and [g.id for g in growths] == ["growth-groups"]


def test_without_the_peers_environment_a_run_is_refused_and_a_quick_one_says_so(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(rounds, "PEERS", tmp_path / "python")
    assert bench.main(["--rows", "matrix"]) != 0
    assert "make setup-bench" in capsys.readouterr().err
    monkeypatch.setattr(history, "append", lambda run: pytest.fail("a quick run is kept"))
    assert bench.main(["--rows", "matrix", "--quick"]) == 0
    shown = capsys.readouterr()
    assert "only this package's sides" in shown.err and shown.out.count("confusion matrix") == 2


# ---- what the sides compute on


def test_drawn_labels_and_shares_are_what_the_sides_take_them_for():
    labels = draws.labels((2, 50, 60), 5, 0.25)
    assert set(np.unique(labels)) == {0, 1, 2, 3, 4, 255} and 0.2 < (labels == 255).mean() < 0.3
    predictions = draws.predictions(labels, 5)
    assert predictions.dtype == np.uint8 and predictions.max() == 4
    assert 0.1 < (predictions != labels)[labels != 255].mean() < 0.2
    shares = draws.shares(12)
    np.testing.assert_allclose(shares.sum(1), 1)
    np.testing.assert_allclose(np.diag(shares), 0.7)


def test_written_pairs_are_ids_of_cityscapes_and_mostly_agree(tmp_path):
    cv2 = pytest.importorskip("cv2")
    rows.write_pairs(tmp_path, 2, 64, 128)
    labels, predictions = (
        [cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in sorted((tmp_path / name).iterdir())]
        for name in ("labels", "predictions")
    )
    assert len(labels) == len(predictions) == 2 and labels[0].shape == (64, 128)
    assert max(array.max() for array in labels + predictions) <= 33
    assert all(0.3 < (a == b).mean() < 1 for a, b in zip(labels, predictions))


# ---- the page


def test_the_committed_page_is_what_the_page_command_writes():
    assert page.PAGE.read_text(encoding="utf-8") == page.text(history.read())


def test_the_page_takes_each_row_from_its_newest_run():
    entry = {
        "id": "matrix/c",
        "unit": "s",
        "ours": 0.02,
        "theirs": {"C loop": 0.01},
        "ratio": 2.0,
        "low": 1.5,
        "high": 2.5,
        "rounds": 3,
        "work": {"bytes": 4_000_000},
    }
    machine = {**MACHINE, "rates": {"bytes": 1e9}}
    old = run({**entry, "ratio": 9.87}, commit="a" * 12, machine=machine)
    text = page.text([old, run(entry, commit="b" * 12, machine=machine)])
    assert "2.00 (1.50-2.50)" in text and "9.87" not in text
    assert "20 ms" in text and "4 ms, which is 20 % of the time that ours takes" in text
    assert "`bbbbbbb`" in text and "some processor" in text


def test_the_page_shows_how_costs_grow():
    growth = {
        "id": "growth-groups",
        "sizes": [19, 50, 100],
        "seconds": [1.0, 2.0, 4.0],
        "peak_mib": [50.0, 50.0, 51.0],
        "extra_mib": [5.0, 5.0, 6.0],
        "exponent": 1.5,
        "memory_exponent": 0.01,
    }
    assert "classes^1.5" in page.text([run(growths=[growth])])


def test_a_page_without_runs_says_so():
    assert "Nothing has been measured yet" in page.text([])
