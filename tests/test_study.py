"""The study: its controls, its cells, and its statistics."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from experiments import criteria, evaluation, grouping, seeds, study, study_command, study_page, study_results
from gluon_confseg import checkpoint, files, losses, metrics
from gluon_confseg.errors import ConfSegError, RunError

CONFUSED = np.array(
    [
        [90, 9, 0, 0, 1, 0],
        [12, 80, 0, 1, 0, 0],
        [0, 0, 70, 25, 0, 1],
        [0, 2, 30, 60, 1, 0],
        [1, 0, 0, 1, 50, 6],
        [0, 1, 0, 0, 8, 40],
    ]
)
NORMALIZED = metrics.normalize(CONFUSED)


def matrices(images: int, seed: int, hit: float) -> np.ndarray:
    """(images, 4, 4) counts of random predictions that are right with probability `hit`."""
    draws, found = np.random.default_rng(seed), []
    for _ in range(images):
        labels = draws.integers(0, 4, 300)
        predicted = np.where(draws.random(300) < hit, labels, draws.integers(0, 4, 300))
        matrix = metrics.ConfusionMatrix(4)
        matrix.update(labels, predicted)
        found.append(matrix.counts)
    return np.stack(found)


# ---- controls


def test_random_groups_have_the_sizes_of_the_discovered_ones_and_are_others():
    found = grouping.choose("discover", "custom", NORMALIZED)
    for seed in range(20):
        drawn = grouping.choose(f"random {seed}", "custom", NORMALIZED)
        assert [len(g) for g in drawn] == [len(g) for g in found]
        assert len({k for g in drawn for k in g}) == len({k for g in found for k in g})
        assert not {frozenset(g) for g in drawn} & {frozenset(g) for g in found}


def test_random_groups_depend_on_their_seed_alone():
    first = [grouping.choose(f"random {seed}", "custom", NORMALIZED) for seed in range(10)]
    assert first == [grouping.choose(f"random {seed}", "custom", NORMALIZED) for seed in range(10)]
    assert len({tuple(groups) for groups in first}) > 1


def test_whole_groups_are_as_many_as_the_discovered_ones():
    whole = grouping.choose("whole", "custom", NORMALIZED)
    assert whole == [tuple(range(6))] * len(grouping.choose("discover", "custom", NORMALIZED))


def test_unknown_groups_are_refused_by_name():
    with pytest.raises(ValueError, match="paper, discover, random, whole"):
        grouping.choose("largest", "custom", NORMALIZED)


def test_shuffled_weights_keep_diagonal_and_rows_but_not_their_places():
    weights = losses.confusion_weights(NORMALIZED)
    other = criteria.shuffled(weights, 1)
    np.testing.assert_array_equal(np.diag(other), np.diag(weights))
    np.testing.assert_array_equal(np.sort(other, axis=1), np.sort(weights, axis=1))
    assert (other != weights).any()


def test_new_ce_of_every_scheme_reaches_the_gradient():
    import mxnet as mx

    logits = mx.nd.array(np.random.default_rng(0).normal(size=(1, 6, 3, 3)))
    labels = np.random.default_rng(1).integers(0, 6, (1, 3, 3)).astype(np.uint8)
    logits.attach_grad()

    def gradient(*loss):
        criterion = criteria.build(*loss)
        with mx.autograd.record():
            value = criterion(logits, labels)
        value.backward()
        return logits.grad.asnumpy()

    schemes = [*losses.SCHEMES, "shuffled", "shuffled 3"]
    found = {scheme: gradient("new CE", 6, lambda: CONFUSED, None, scheme) for scheme in schemes}
    plain = gradient("CE", 6, None, None)
    np.testing.assert_array_equal(found.pop("none"), plain)
    found["CE"] = plain
    for (one, first), (other, second) in itertools.combinations(found.items(), 2):
        assert np.abs(first - second).max() > 1e-4, (one, other)


# ---- cells


@pytest.mark.parametrize("profile", list(study.RECIPES))
def test_every_cell_of_every_family_has_its_stages(profile):
    recipe = study.RECIPES[profile]
    for family in study.FAMILIES.values():
        for arm in recipe.cells(family):
            needed = [plan.name for plan in recipe.needed([arm])]
            assert needed[0] == "base" and arm.stage in needed


# what subnets, or the learned rule, add to a network is also shown beside that network as it was
ADDED = {("ce", "ce_subnets"), ("ce", "new_subnets"), ("ce", "ce_plain"), ("new_ce", "new_subnets")} | {
    ("new_continued", "long_subnets"),
    ("new_sum", "new_learned"),
    ("new_subnets", "new_learned"),
}


def test_arms_that_are_compared_have_as_many_updates():
    recipe = study.RECIPES["full"]
    for cell, reference in study_results.DIFFERENCES:
        ours, theirs = (
            sum(plan.epochs for plan in recipe.ancestry(recipe.cells([key])[0].stage))
            for key in (cell, reference)
        )
        assert ours == theirs or (reference, cell) in ADDED, (cell, reference)


def test_each_loss_is_set_beside_cross_entropy_and_nothing_else_is():
    recipe = study.RECIPES["full"]
    others = {arm.key for arm in recipe.arms if study_results._is_another_loss(recipe, arm.key)}
    assert others == {key for name in ("peers", "slow_peers", "search") for key in study.FAMILIES[name]}
    assert all(recipe.rule_of(arm) == "subnet0" for arm in recipe.cells(sorted(others)))


def test_an_unknown_cell_is_one_sentence_that_names_the_cells():
    with pytest.raises(ConfSegError, match="no cell 'new'.*new_subnets"):
        study.RECIPES["quick"].cells(["new"])


# ---- statistics


def test_mean_iou_of_many_matrices_is_the_metric_of_each():
    counts = matrices(5, 0, 0.6)
    counts[0, 3] = counts[0, :, 3] = 0  # a class that does not occur
    expected = [metrics.mean_of_defined(metrics.iou(c)) for c in counts]
    np.testing.assert_allclose(study_results._mean_iou(counts), expected)


def test_a_cell_gains_nothing_over_itself():
    counts = matrices(10, 0, 0.6)
    found = study_results.difference("a", "b", {0: {"a": counts, "b": counts}})
    assert found["mean"] == 0 and found["interval"] == [0, 0]


def test_the_interval_of_a_clear_gain_is_above_zero_and_holds_the_mean():
    counted = {s: {"a": matrices(40, s, 0.8), "b": matrices(40, 100 + s, 0.6)} for s in range(3)}
    found = study_results.difference("a", "b", counted)
    assert 0 < found["interval"][0] < found["mean"] < found["interval"][1]
    assert found["spread"] == pytest.approx(np.std(list(found["seeds"].values()), ddof=1))


def test_the_interval_of_two_equally_good_cells_holds_zero():
    counted = {0: {"a": matrices(40, 5, 0.7), "b": matrices(40, 6, 0.7)}}
    low, high = study_results.difference("a", "b", counted)["interval"]
    assert low < 0 < high


def test_a_difference_counts_only_seeds_that_have_both_cells():
    counted = {0: {"a": matrices(5, 0, 0.7), "b": matrices(5, 1, 0.7)}, 1: {"a": matrices(5, 2, 0.7)}}
    assert list(study_results.difference("a", "b", counted)["seeds"]) == ["0"]
    assert study_results.difference("b", "c", counted) is None


def test_results_and_page_are_computed_from_the_run_folders(tmp_path):
    recipe = study.RECIPES["quick"]
    for seed in (0, 1):
        folder = tmp_path / f"seed{seed}"
        for n, stage in enumerate(("ce", "new_ce")):
            counted = {"subnet0": matrices(6, 10 * seed + n, 0.6 + 0.2 * n)}
            (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            checkpoint.save(folder / "checkpoints" / evaluation.file_name(stage), counted, {})
        about = {"classes": list("abcd"), "groups": [[0, 1]], "updates": {"ce": 3, "new_ce": 3}, "images": {}}
        files.write_json(folder / "about.json", about)
    record = study_results.collect(recipe, tmp_path)
    assert [cell["key"] for cell in record["cells"]] == ["ce", "new_ce"]
    gain = record["differences"][0]
    cells = {cell["key"]: cell["mean_iou"] for cell in record["cells"]}
    assert gain["mean"] == pytest.approx(cells["new_ce"] - cells["ce"])
    assert f"{100 * gain['mean']:+.2f}" in study_results.table(record)
    assert study_page.picture(record["differences"]).startswith(b"\x89PNG")
    assert "{a, b}" in study_page.groups(record)


def test_the_page_takes_tables_and_picture_of_each_study(tmp_path, monkeypatch):
    counted = {0: {"new_ce": matrices(6, 1, 0.8), "ce": matrices(6, 2, 0.6)}}
    record = {
        "data": "drawn scenes",
        "classes": list("abcd"),
        "groups": {"0": [[2, 3]]},
        "cells": [],
        "differences": [study_results.difference("new_ce", "ce", counted)],
    }
    monkeypatch.setattr(study_page, "PROJECT", tmp_path)
    monkeypatch.setattr(study_page, "PAGE", tmp_path / "study.md")
    marks = study_page.MARKS["drawn"]
    (tmp_path / "study.md").write_text(f"before\n{marks[0]}\nold\n{marks[1]}\nafter\n")
    study_page.write("drawn", record)
    page = (tmp_path / "study.md").read_text()
    assert page.startswith("before\n") and page.endswith("\nafter\n") and "old" not in page
    assert "{c, d}" in page and f"{100 * record['differences'][0]['mean']:+.2f}" in page
    assert (tmp_path / "docs" / "images" / "study_drawn.png").read_bytes().startswith(b"\x89PNG")


def test_scores_on_drawn_scenes_are_not_called_cityscapes(tmp_path):
    folder = tmp_path / "seed0"
    (folder / "checkpoints").mkdir(parents=True)
    files.write_json(folder / "about.json", {"classes": [], "groups": [], "updates": {}, "images": {}})
    record = study_results.collect(study.RECIPES["drawn"], tmp_path)
    assert record["data"] == "drawn scenes (not Cityscapes), val"


# ---- command


def test_photographs_are_asked_for_where_none_are_drawn(tmp_path):
    with pytest.raises(ConfSegError, match="profile full needs CamVid: give its folder with --root"):
        study_command._root(study.RECIPES["full"], None)
    with pytest.raises(ConfSegError, match="profile drawn draws its own scenes"):
        study_command._root(study.RECIPES["drawn"], tmp_path)
    assert study_command._root(study.RECIPES["full"], tmp_path) == tmp_path
    assert study_command._root(study.RECIPES["drawn"], None).name == "512x256-train240-val60-seed0"


# ---- processes


def test_a_seed_that_fails_is_named_and_stops_those_that_wait(capfd):
    commands = {
        name: ["sh", "-c", f"echo {name} speaks >&2; exit {code}"] for name, code in (("s0", 3), ("s1", 0))
    }
    with pytest.raises(RunError, match="s0 stopped"):
        seeds.run_each(commands, 1)
    assert capfd.readouterr().err == "s0: s0 speaks\n"


def test_seeds_run_with_one_thread_each(capfd):
    seeds.run_each({n: ["sh", "-c", "echo $OMP_NUM_THREADS >&2"] for n in ("s0", "s1")}, 2)
    assert sorted(capfd.readouterr().err.split("\n")) == ["", "s0: 1", "s1: 1"]
