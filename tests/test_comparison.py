"""What a report makes of run folders: several of them, of other groups or settings, with equal names, and damaged."""

from __future__ import annotations

import json

import fake_run
import numpy as np
import pytest

from gluon_confseg import build, metrics
from gluon_confseg.errors import RunError
from gluon_confseg.report import comparison, explain, explorer, page_words


def change(folder, **parts):
    """Set parts of results.json."""
    results = json.loads((folder / "results.json").read_text())
    for name, value in parts.items():
        results[name] = value(results[name]) if callable(value) else value
    fake_run.write(folder / "results.json", results)
    return folder


def test_the_same_run_twice_is_refused(tmp_path):
    run = fake_run.make(tmp_path / "run")
    with pytest.raises(RunError, match="the same run was given twice"):
        comparison.of_runs([run, tmp_path / "." / "run"])


def test_other_groups_of_another_run_are_said(tmp_path):
    one = fake_run.make(tmp_path / "one")
    other = fake_run.make(tmp_path / "other", groups=[[0, 1], [3, 4]])
    compared = comparison.of_runs([one, other])
    assert compared.groups == fake_run.GROUPS
    (note,) = [note for note in compared.notes if "groups" in note]
    assert f"those of {one}" in note and f"{other}: road/wall & <fence>, bus/tram" in note
    same = fake_run.make(tmp_path / "same")
    assert not [note for note in comparison.of_runs([one, same]).notes if "groups" in note]


def test_groups_are_those_of_the_first_run_that_has_some(tmp_path):
    without = change(fake_run.make(tmp_path / "without", groups=[]), seed=1)
    grouped = fake_run.make(tmp_path / "grouped")
    assert comparison.of_runs([without, grouped]).groups == fake_run.GROUPS
    page = explorer.write(comparison.of_runs([without]), tmp_path / "page").read_text(encoding="utf-8")
    assert "no subnets, and so no groups" in page and "by more than the threshold, so" not in page


def test_cells_of_one_name_are_told_apart_by_their_keys(tmp_path):
    run = fake_run.make(tmp_path / "run")
    change(run, cells=lambda cells: [{**cell, "subnets": "0", "loss": "CE"} for cell in cells])
    names = [arm.name for arm in comparison.of_runs([run]).arms]
    assert len(set(names)) == len(names) and all(cell["key"] in n for cell, n in zip(fake_run.CELLS, names))
    assert explorer.write(comparison.of_runs([run]), tmp_path / "page").exists()


def test_the_mean_over_seeds_is_of_equal_settings(tmp_path):
    runs = []
    for seed, penalty in ((0, 2.0), (1, 2.0), (2, 99.0)):
        run = fake_run.make(tmp_path / f"run{seed}", seed=seed)
        runs.append(change(run, seed=seed, training=lambda old, p=penalty: {**old, "penalty": p}))
    rows = page_words._seeds(comparison.of_runs(runs))
    assert [count for _, count, *_ in rows] == [2] * len(fake_run.CELLS)
    scores = [metrics.mean_iou(np.load(run / "confusion.npz")["subnet0_ce"]) for run in runs[:2]]
    assert rows[0][2:] == pytest.approx((np.mean(scores), min(scores), max(scores)))


def test_threads_may_differ_between_seeds(tmp_path):
    runs = []
    for seed in (0, 1):
        run = fake_run.make(tmp_path / f"run{seed}", seed=seed)
        runs.append(change(run, seed=seed, training=lambda old, n=seed: {**old, "threads": n + 1}))
    assert len(page_words._seeds(comparison.of_runs(runs))) == len(fake_run.CELLS)


def test_damaged_predictions_are_said_and_the_report_goes_on(tmp_path):
    run = fake_run.make(tmp_path / "run", images=4)
    file = run / "checkpoints" / f"{fake_run.phase_of(fake_run.CELLS[1])}.predictions.npz"
    file.write_bytes(file.read_bytes()[:-40])
    compared = comparison.of_runs([run])
    (note,) = [note for note in compared.notes if file.name in note]
    assert "delete the file" in note
    assert list(compared.pictures.images) == [0, 1, 2, 3] and list(compared.pictures.complete) == []
    assert explorer.write(compared, tmp_path / "page").exists()


def test_weights_that_were_shuffled_are_explained(tmp_path):
    run = fake_run.make(tmp_path / "run")
    settings = {"loss": "confusion_ce", "scheme": "shuffled", "penalty": 2.0, "matrix": "base"}
    change(run, training=lambda old: {**old, **settings})
    compared = comparison.of_runs([run])
    record = explain.pair(compared, 1, 2)
    weights = build.confusion_weights(metrics.normalize(compared.train), "shuffled")
    assert record["weights"] and record["weights"][0]["weight"] == pytest.approx(weights[1, 2])
