"""Structures of subnets in the study: how groups choose theirs, on which images, and what is said of it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import fake_study
import mxnet as mx
import numpy as np
import pytest
import small
from fake_study import BOTH_SIGNS, GAIN, HOLDS_ZERO, LOSS, ONE_SEED
from test_study import CONFUSED, LABELS, phase_of, recipe
from test_study_course import Trainer, root, study  # noqa: F401 (a fixture)

from gluon_confseg import build, checkpoint, encoders, engine, metrics, network, train
from gluon_confseg.cli import study as verb
from gluon_confseg.errors import CheckpointError, RunError
from gluon_confseg.inference import PLAIN
from gluon_confseg.run_folder import RunFolder, read_evaluation
from gluon_confseg.study import (
    arms,
    designs,
    estimate,
    fitted,
    page,
    results,
    run,
    statistics,
    tuning,
)
from gluon_confseg.subnets import HeadSettings, ResidualHead

PROJECT = Path(__file__).resolve().parents[1]
RULE = "residual_product"
FINE = HeadSettings(channels=6, depth=2, dilation=1, stages=(2,), detail=1)
WIDE = dataclasses.replace(small.SUBNET_HEAD, channels=12, stages=(3,))
STRUCTURES = (small.SUBNET_HEAD, FINE, WIDE, small.SUBNET_HEAD)
ARM, ONE = arms.ARMS["subnets_confusion_ce_fitted"], arms.ARMS["one_confusion_ce_fitted"]
RATES = {arm.key: arm.rate for arm in arms.ARMS.values()}
VIEWS = {"device": mx.cpu(), "inference": PLAIN}
IMAGES = 5


# ---- the arms


def test_every_structure_has_as_many_parameters_as_the_usual_one():
    encoder, sizes = encoders.build("efficientnet_lite0", 8, last_stage=3), {}
    for heads, name in itertools.product(("subnets", "one"), ("", *arms.STRUCTURES)):
        phase = phase_of("_".join(filter(None, (heads, "confusion_ce", name))))
        groups = build.groups_of(phase, LABELS, CONFUSED)
        width = len(build.discovered(phase, CONFUSED)) if heads == "one" else 1
        blocks = [
            ResidualHead(encoder, group, LABELS.num_classes, head)
            for group, head in zip(groups, build.subnet_heads(phase, groups, width))
        ]
        every = [p for block in blocks for p in block.collect_params().values() if p.grad_req != "null"]
        sizes[heads, name] = sum(int(np.prod(p.shape)) for p in every)
    assert 100_000 < min(sizes.values()) and max(sizes.values()) < 1.02 * min(sizes.values()), sizes


def test_parameters_of_a_network_are_those_that_its_heads_train(kept, folder):
    trained = engine.sgd(engine.SubnetStep(kept.networks[1], [None, None]).parameters())
    wanted = sum(p.data().size for p in trained._params)
    assert results.parameters(files_of(folder)[1]) == wanted > 0
    folder.finish("base", small.build(groups=(), subnet_heads=[]), {})
    assert results.parameters(folder.checkpoint("base")) is None


def test_a_design_and_its_control_differ_in_their_groups_alone():
    for family in ("structures", "emphasis"):
        for arm in arms.FAMILIES[family]:
            if arm.key.startswith("subnets") and arm.trained:
                control = arms.ARMS[arm.key.replace("subnets", "one")]
                assert {"groups": "one", **arm.settings} == control.settings and "groups" not in arm.settings
                assert (arm.start, arm.rate, arm.length) == (control.start, control.rate, control.length)
    assert [key.replace("subnets", "one") for key in ARM.candidates] == list(ONE.candidates)


def test_structures_that_do_best_are_of_the_same_network_and_need_all_candidates():
    keys = [arm.key for arm in arms.chosen([ARM.key])]
    assert keys == ["confusion_ce", *ARM.candidates, ARM.key]
    found = recipe(arms.chosen(families=["structures"]))
    starts = {found.phase(name).start for arm in (ARM, ONE) for name in fitted.phases(arm, RATES)}
    assert starts == {"confusion_ce_rate_0_01"}
    names = [phase.name for phase in found.phases] + [cell.key for cell in found.cells]
    assert not [name for name in names if "fitted" in name]


# ---- halves


@pytest.mark.parametrize("images, block", [(101, 10), (9, 1), (20, 10), (7, 3)])
def test_halves_are_blocks_in_turn(images, block):
    halves = statistics.halves(images, block)
    blocks = [halves[start : start + block].tolist() for start in range(0, images, block)]
    assert [set(each) for each in blocks] == [{n % 2} for n in range(len(blocks))]
    assert abs(int((halves == 0).sum()) - int((halves == 1).sum())) <= block


def test_one_block_has_no_halves():
    assert statistics.halves(10, 10) is None and statistics.halves(1) is None


# ---- networks that are put together


def candidate(number: int, groups=small.GROUPS):
    """The network of a candidate: all have one encoder and one subnet 0."""
    built = small.build(groups=groups, subnet_heads=STRUCTURES[number])
    checkpoint.restore_part(built, common(), "the first network")
    draws = np.random.RandomState(number)
    for name, parameter in sorted(built.subnets._collect_params_with_prefix().items()):
        if parameter.grad_req != "null":
            noise = draws.normal(size=parameter.shape)
            parameter.set_data(parameter.data() + mx.nd.array((2 if "output" in name else 0.1) * noise))
    return built


@functools.lru_cache(maxsize=None)
def common() -> dict:
    """The parameters of encoder and subnet 0."""
    return checkpoint.network_arrays(small.shaken(groups=()))


def keep(folder: RunFolder, key: str, networks, scores) -> None:
    """Save networks as the candidates of an arm, with these scores on the images."""
    about = {"labels": small.Images().labels.record(), "rule": RULE, "evaluation": "", "epoch": 1, "steps": 1}
    for name, built, counts in zip(fitted.phases(arms.ARMS[key], RATES), networks, scores):
        folder.finish(name, built, {**about, "cells": {}})
        folder.save_evaluation(name, {RULE: counts})


@pytest.fixture(scope="module", autouse=True)
def unfrozen():
    """Networks of a few images are evaluated sooner than frozen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MXNET_SUBGRAPH_BACKEND", "NONE")
        yield


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The candidates' networks, their counts, and a run folder with both."""
    networks, path = [candidate(number) for number in range(4)], tmp_path_factory.mktemp("candidates")
    counts = [*map(counted, networks[:3]), invented(3)]
    keep(RunFolder(path, {}), ARM.key, networks, counts)
    return SimpleNamespace(networks=networks, path=path, counts=counts)


@pytest.fixture
def folder(kept, tmp_path) -> RunFolder:
    """A run folder with the candidates."""
    return RunFolder(shutil.copytree(kept.path, tmp_path / "run"), {})


def invented(number: int) -> np.ndarray:
    """(images, K, K) counts of a network that nobody looked at."""
    return np.random.default_rng(number).integers(1, 200, (IMAGES, small.CLASSES, small.CLASSES))


def counted(built, dataset=None) -> np.ndarray:
    """(images, K, K) counts of a network on the validation images."""
    dataset = dataset or small.Images("val", IMAGES)
    images = engine.evaluate_images(built, dataset, range(len(dataset)), [RULE])
    return np.stack([counts[RULE] for counts, _ in images])


def a_study(block: int = 1, split: str = "val") -> SimpleNamespace:
    splits = build.Data(small.Images(), small.Images("val", IMAGES))
    other = small.Images(split, 3)
    return SimpleNamespace(splits=splits, block_length=block, split=split, evaluated=lambda: other)


def files_of(folder, key: str = ARM.key) -> list:
    return [folder.checkpoint(name) for name in fitted.phases(arms.ARMS[key], RATES)]


def fit(folder, key: str = ARM.key, **settings) -> np.ndarray:
    """(images, K, K) counts of the arm on the split."""
    asked = a_study(**settings)
    fitted.fit(asked, arms.ARMS[key], recipe(), folder, RATES)
    return read_evaluation(folder.path, key, split=asked.split)[RULE]


def test_a_network_has_the_encoder_of_all_and_each_subnet_of_the_candidate_asked_for(kept, folder):
    own = [small.values(built) for built in kept.networks]
    common = {name: array for name, array in own[0].items() if not name.startswith("subnets.")}
    for parts in ([(0, 0), (1, 1)], [(3, 0), (2, 1)], [(1, 0), (0, 1), (1, 1)]):
        found, wanted = network.assemble(files_of(folder), parts), dict(common)
        for place, (number, subnet) in enumerate(parts):
            begins = f"subnets.{subnet}."
            of_subnet = {name[len(begins) :]: a for name, a in own[number].items() if name.startswith(begins)}
            wanted.update({f"subnets.{place}.{name}": array for name, array in of_subnet.items()})
        assert small.same_bits(small.values(found), wanted)
        assert found.groups == [small.GROUPS[subnet] for _, subnet in parts]
        assert found.finer == tuple(kept.networks[number].finer[subnet] for number, subnet in parts)


def test_subnets_of_another_encoder_are_refused(folder):
    first, second = files_of(folder)[:2]
    arrays, meta = checkpoint.load(second)
    name = next(name for name in arrays if "encoder" in name and name.endswith("weight"))
    checkpoint.save(second, {**arrays, name: arrays[name] + np.float32(1e-3)}, meta)
    with pytest.raises(
        CheckpointError, match="has another encoder or subnet 0 than .*, so their subnets don't fit"
    ):
        network.assemble([first, second], [(0, 0), (1, 1)])


@pytest.mark.parametrize("chosen", [(0, 2), (0, 1)], ids=["one grid", "two grids"])
def test_each_trial_is_scored_as_the_network_with_that_subnet(kept, folder, chosen, monkeypatch):
    monkeypatch.delenv("MXNET_SUBGRAPH_BACKEND")
    files, own = ([each[number] for number in chosen] for each in (files_of(folder), kept.counts))
    halves, dataset = statistics.halves(IMAGES, 2), small.Images("val", IMAGES)
    sums = fitted.by_group("x", files, RULE, own, dataset, halves, VIEWS)
    assert sums.shape == (2, 2, 2, small.CLASSES, small.CLASSES)
    for group, parts in enumerate(([(1, 0), (0, 1)], [(0, 0), (1, 1)])):
        trial = counted(network.assemble(files, parts))
        for number, counts in enumerate((own[0], trial)):
            wanted = np.stack([counts[halves == half].sum(0) for half in (0, 1)])
            # rounding may decide a pixel between two classes
            assert np.abs(sums[group, number] - wanted).sum() <= 4
    assert np.abs(sums[0, 1] - sums[1, 1]).sum() > 100 < np.abs(sums[0, 1] - sums[0, 0]).sum()


def test_the_best_candidate_is_chosen_for_each_group_and_the_first_of_equals():
    assert fitted.chosen(np.array([[0.1, 0.3, 0.2], [0.5, 0.5, 0.1], [0.2, 0.4, 0.4]])) == [1, 0, 1]


def test_scores_of_a_choice_are_of_its_own_images():
    sums = np.random.default_rng(0).integers(1, 50, (2, 3, 2, 4, 4))
    found = fitted.scored(sums)
    for group, number in itertools.product(range(2), range(3)):
        first, second = sums[group, number]
        wanted = {fitted.FIRST: first, fitted.SECOND: second, fitted.ALL: first + second}
        for on, counts in wanted.items():
            assert found[on][group, number] == pytest.approx(metrics.mean_iou(counts))


def given(scores: dict, monkeypatch) -> None:
    """Trials come out with these (groups, candidates) scores."""
    monkeypatch.setattr(fitted, "by_group", lambda *_: None)
    monkeypatch.setattr(fitted, "scored", lambda _: {on: np.array(value) for on, value in scores.items()})


# on the first half candidates 1 and 0 are best for the two groups, on the second 2 and 2, on all 3 and 1
SCORES = {
    fitted.FIRST: [[0, 9, 0, 0], [9, 0, 0, 0]],
    fitted.SECOND: [[0, 0, 9, 0], [0, 0, 9, 0]],
    fitted.ALL: [[0, 0, 0, 9], [0, 9, 0, 0]],
}


def test_each_half_is_scored_by_the_network_that_was_chosen_on_the_other(kept, folder, monkeypatch):
    given(SCORES, monkeypatch)
    found, halves = fit(folder, block=2), statistics.halves(IMAGES, 2)
    first = counted(network.assemble(files_of(folder), [(1, 0), (0, 1)]))
    np.testing.assert_array_equal(found[halves == 1], first[halves == 1])
    # both groups chose candidate 2, whose own scores are there
    np.testing.assert_array_equal(found[halves == 0], kept.counts[2][halves == 0])
    choice = fitted.choice(folder.path, ARM, RATES, 2)
    assert choice["chosen"][fitted.ALL] == [ARM.candidates[3], ARM.candidates[1]]
    assert choice["images"] == [3, 2]


def test_the_network_to_use_and_other_splits_are_of_the_choice_on_all_images(kept, folder, monkeypatch):
    given(SCORES, monkeypatch)
    found = fit(folder, split="test")
    chosen = network.assemble(files_of(folder), [(3, 0), (1, 1)])
    assert small.same_bits(small.values(build.load(folder.checkpoint(ARM.key))), small.values(chosen))
    np.testing.assert_array_equal(found, counted(chosen, small.Images("test", 3)))


def test_a_score_on_the_images_of_the_choice_is_not_what_is_given():
    """Candidates that are equally good but for noise: the best on a half gains there, and nothing on the other."""
    draws, flattered, honest = np.random.default_rng(0), [], []
    for _ in range(60):
        counts = draws.poisson(20 + 200 * np.eye(4), (4, 12, 4, 4))
        halves = statistics.halves(12, 1)
        sums = np.stack([counts[:, halves == half].sum(1) for half in (0, 1)], axis=1)[None]
        usual, scores = (
            [metrics.mean_iou(counts[0, halves == half].sum(0)) for half in (0, 1)],
            fitted.scored(sums),
        )
        for half, on in ((0, fitted.FIRST), (1, fitted.SECOND)):
            (best,) = fitted.chosen(scores[on])
            flattered.append(scores[on][0, best] - usual[half])
            other = (fitted.SECOND, fitted.FIRST)[half]
            honest.append(scores[other][0, best] - usual[1 - half])
    assert np.mean(flattered) > 3 * abs(np.mean(honest))


def test_one_head_for_all_classes_takes_its_best_candidate_without_another_evaluation(tmp_path, monkeypatch):
    every = tuple(range(small.CLASSES))
    folder = RunFolder(tmp_path, {})
    own = [invented(number) for number in range(4)]
    keep(folder, ONE.key, [candidate(0, groups=[every])] * 4, own)
    monkeypatch.setattr(train, "counted", None)
    found, halves = fit(folder, ONE.key, block=1), statistics.halves(IMAGES, 1)
    for half in (0, 1):
        scores = [metrics.mean_iou(counts[halves != half].sum(0)) for counts in own]
        np.testing.assert_array_equal(found[halves == half], own[int(np.argmax(scores))][halves == half])


def test_what_is_there_is_not_made_again_and_an_interrupted_choice_goes_on(folder, tmp_path, monkeypatch):
    folders = [folder, RunFolder(shutil.copytree(folder.path, tmp_path / "stopped"), {})]
    given(SCORES, monkeypatch)
    whole = fit(folders[0])
    with monkeypatch.context() as patch:
        patch.setattr(train, "counted", None)  # which ends it there
        with pytest.raises(TypeError):
            fit(folders[1])
    monkeypatch.setattr(fitted, "by_group", None)
    np.testing.assert_array_equal(fit(folders[1]), whole)
    monkeypatch.setattr(network, "assemble", None)
    monkeypatch.setattr(train, "counted", None)
    np.testing.assert_array_equal(fit(folders[0]), whole)
    for name in (f"{ARM.key}.npz", f"{ARM.key}.evaluation.npz", f"{ARM.key}.choice.json"):
        first, second = (folder.path / "checkpoints" / name for folder in folders)
        assert first.read_bytes() == second.read_bytes()


def test_a_choice_from_other_candidates_or_halves_is_made_anew(folder, monkeypatch):
    given(SCORES, monkeypatch)
    before = fit(folder, block=1)
    given({on: SCORES[fitted.ALL] for on in SCORES}, monkeypatch)
    assert fitted.choice(folder.path, ARM, RATES, 2) is None
    assert fitted.choice(folder.path, ARM, {**RATES, ARM.candidates[1]: 0.9}, 1) is None
    after = fit(folder, block=2)
    np.testing.assert_array_equal(after, counted(network.assemble(files_of(folder), [(3, 0), (1, 1)])))
    assert (before != after).any()


def test_a_damaged_choice_is_one_sentence(folder):
    file = folder.path / fitted._place(ARM.key)
    for content in (
        '{"candidates": []}',
        '{"candidates": [], "block": 1, "images": [], "scores": {}, "chosen": {}}',
    ):
        file.write_text(content)
        with pytest.raises(RunError, match="is no choice of subnets; delete it and give the `confseg study`"):
            fit(folder)


def test_an_arm_without_all_candidates_or_halves_is_left_out_and_says_why(folder, capsys):
    fitted.fit(a_study(block=IMAGES), ARM, recipe(), folder, RATES)
    assert "the validation images are one block" in capsys.readouterr().err
    name = fitted.phases(ARM, RATES)[0]
    scores = folder.evaluation(name)
    folder.save_evaluation(name, {RULE: scores[RULE] * (np.arange(IMAGES) % 2)[:, None, None]})
    fitted.fit(a_study(), ARM, recipe(), folder, RATES)
    assert "the validation images of one half have no labelled pixel" in capsys.readouterr().err
    missing = fitted.phases(ARM, RATES)[2]
    folder.checkpoint(missing).unlink()
    fitted.fit(a_study(), ARM, recipe(), folder, RATES)
    assert f"{ARM.key} is left out: {missing} was not trained" in capsys.readouterr().err
    assert not list(folder.path.glob(f"checkpoints/{ARM.key}*"))


# ---- what is said


def record_of(found: dict, **changes) -> dict:
    """A record with these differences of designs: what follows an arm's name -> (values of the seeds, interval)."""
    record = fake_study.record({"loss": GAIN}, **changes)
    for design in designs.DESIGNS:
        name = "random" if design in designs.USUAL[1:] else design.arm[len(designs.USUAL[0].arm) :]
        if name in found:
            record["differences"].append(fake_study.difference(design.arm, design.reference, *found[name]))
            for key, size in ((design.arm, 408_123), (design.reference, 411_765)):
                record["arms"].append({**fake_study.arm(key), "parameters": size})
    return record


# gains of 0.85 points and more, and of less
MORE = ((0.0085, 0.0112, 0.0131), (0.0021, 0.0177))
LESS = ((0.0083, 0.0041, 0.0062), (0.0012, 0.0111))


def test_designs_are_compared_with_the_control_of_their_own_kind():
    assert all(d.arm in arms.ARMS and d.reference in arms.ARMS for d in designs.DESIGNS)
    new = {d.arm: d.reference for d in designs.DESIGNS if d not in designs.USUAL}
    every = [arm.key for family in ("structures", "emphasis") for arm in arms.FAMILIES[family]]
    assert new == {key: key.replace("subnets", "one") for key in every if key.startswith("subnets")}
    compared = {*results.OF_CLAIMS.values(), *results.OTHERS}
    assert {(d.arm, d.reference) for d in designs.DESIGNS} <= compared
    assert len(compared) == len(results.OF_CLAIMS) + len(results.OTHERS)


def test_one_data_set_names_the_designs_that_gain_as_much_as_the_paper_reports():
    said = designs.sentence({"A": record_of({"": LESS, "_coarse": MORE, "random": MORE})})
    assert said == (
        "Of the two designs of subnets that were compared with a control of the same freedom, one gains 0.85 points of "
        "mIoU or more over its control: subnets without a branch for detail (+1.09: settled gain)."
    )
    none = designs.sentence({"A": record_of({"": LESS, "_deep": HOLDS_ZERO, "random": MORE})})
    assert none.endswith(
        "none gains 0.85 points of mIoU or more over its control; the largest difference is that of subnets that read "
        "the last stage and the detail alone (+0.73: open)."
    )


def test_several_designs_that_gain_as_much_are_listed():
    said = designs.sentence({"A": record_of({"_coarse": MORE, "_deep": LESS, "_fitted": MORE})})
    begun = "two gain 0.85 points of mIoU or more over their controls: subnets without a branch for detail (+1.09: "
    assert (
        f", {begun}settled gain), and subnets of which each has the structure that does best for its group"
        in said
    )


def test_a_gain_of_as_much_to_the_digit_counts():
    exact = ((designs.WORTH,) * 3, (0.001, 0.02))
    assert "one gains 0.85 points" in designs.sentence({"A": record_of({"_coarse": exact})})


def test_several_data_sets_have_to_agree_on_two():
    coarse = {
        "A": record_of({"_coarse": MORE, "_deep": LESS}),
        "B": record_of({"_coarse": LESS, "_deep": LESS}),
    }
    assert designs.sentence(coarse).endswith(
        ", none gains 0.85 points of mIoU or more over its control on two data sets, and on one this does: subnets "
        "without a branch for detail (+1.09 on A: settled gain)."
    )
    both = {**coarse, "C": record_of({"_coarse": BOTH_SIGNS})}
    assert designs.sentence(both).endswith(
        ", one gains 0.85 points of mIoU or more over its control on two data sets: subnets without a branch for "
        "detail (+1.09 on A: settled gain; +1.04 on C: open)."
    )


def test_differences_of_few_seeds_do_not_count_and_this_is_said():
    two = ((0.02, 0.03), (0.01, 0.04))
    assert designs.sentence({"A": record_of({"_coarse": two})}) == (
        "One design of subnets was compared with a control of the same freedom, and none in three seeds or more, so "
        "nothing is said here of what groups add."
    )
    said = designs.sentence({"A": record_of({"_coarse": two, "": LESS})})
    assert "the same freedom (differences of fewer than three seeds do not count), none gains" in said
    assert said.endswith("the largest difference is that of the usual subnets (+0.62: settled gain).")


@pytest.mark.parametrize("kinds", itertools.product((MORE, LESS, LOSS, ONE_SEED), repeat=2))
def test_there_is_one_whole_sentence_whatever_the_numbers_are(kinds):
    one, other = (record_of({"": kind, "_fitted": kinds[0]}) for kind in kinds)
    for records in ({"A": one}, {"A": one, "B": other}, {"A": one, "B": other, "C": fake_study.record({})}):
        said = designs.sentence(records)
        assert said[0].isupper() and said.endswith(".") and ". " not in said and "  " not in said


def test_the_table_has_every_design_that_was_measured_with_its_control_and_both_sizes():
    records = {"A": record_of({"": LESS, "random": ONE_SEED}), "B": record_of({"_fitted": MORE})}
    records["A"]["arms"].append(fake_study.arm("ce_continued", 0.4875))  # the others have 0.5
    grid = designs.table(records)
    assert [row[2:7] for row in grid.rows] == [
        ["A", "+0.62", "+0.83 / +0.41 / +0.62", "+0.12 to +1.11", "settled gain"],
        ["A", "+1.73", "+1.73", "+0.08 to +3.41, images alone", "one seed alone"],
        ["B", "+1.09", "+0.85 / +1.12 / +1.31", "+0.21 to +1.77", "settled gain"],
    ]
    assert [row[7] for row in grid.rows] == ["+1.25 / +1.25", "+1.25 / +1.25", "- / -"]
    assert [row[8] for row in grid.rows] == ["408 / 412"] * 3
    assert grid.rows[1][:2] == ["The usual subnets", "Subnets of groups drawn at random"]


def test_designs_that_were_compared_on_some_data_sets_alone_are_counted():
    both, one = record_of({"": LESS, "_coarse": MORE, "_deep": LESS}), record_of({"": LESS})
    assert "Two of the designs were compared on A alone so far." in designs.notes({"A": both, "B": one})
    assert not [note for note in designs.notes({"A": both, "B": both}) if "so far" in note]
    assert not [note for note in designs.notes({"A": both}) if "so far" in note]


def test_pages_show_designs_only_where_another_than_the_usual_one_was_measured(tmp_path):
    usual = record_of({"": LESS, "random": MORE})
    page.write(usual, tmp_path)
    assert "When groups help" not in (tmp_path / "study.md").read_text(encoding="utf-8")
    assert "designs" not in page.terminal(usual)
    record = record_of({"": LESS, "_fitted": MORE})
    record["choices"] = [choices_of(ARM, {"0": [1, 0], "1": [3]}), choices_of(ONE, {"0": [2]})]
    page.write(record, tmp_path)
    text = (tmp_path / "study.md").read_text(encoding="utf-8")
    assert "## When groups help\n" in text and designs.sentence({"x": record}) in text
    assert "each half is scored by the network that was chosen on the other" in text
    assert "### Structures that were chosen\n" in text and " ".join(page.terminal(record).split()).count(
        " ".join(designs.sentence({"x": record}).split())
    )
    other = {**record, "data": {**record["data"], "split": "test"}}
    page.write(other, tmp_path)
    assert "each half is scored" not in (tmp_path / "study.md").read_text(encoding="utf-8")


def choices_of(arm, picked: dict) -> dict:
    """An entry of a record's `choices`: seed -> each group's candidate on the first half; elsewhere the usual one."""
    each = {
        seed: {
            "images": [6, 6],
            "scores": {on: [[0.4] * 4] * len(of_groups) for on in SCORES},
            "chosen": {
                on: [arm.candidates[number * (on == fitted.FIRST)] for number in of_groups] for on in SCORES
            },
        }
        for seed, of_groups in picked.items()
    }
    return {"arm": arm.key, "candidates": list(arm.candidates), "seeds": each}


def test_choices_are_shown_by_seed_and_group():
    record = fake_study.record({})
    record["choices"] = [choices_of(ARM, {"0": [1, 0], "1": [3]}), choices_of(ONE, {"0": [2]})]
    note, grid = designs.choices(record)
    assert grid.head == [
        *("arm", "seed", "group"),
        *("chosen on: first half", "chosen on: second half", "chosen on: all"),
    ]
    assert grid.rows == [
        [ARM.key, "0", "{wall & <fence>, pole}", "coarse", "usual", "usual"],
        [ARM.key, "0", "{bus, tram}", "usual", "usual", "usual"],
        [ARM.key, "1", "{wall & <fence>, pole, bus, tram}", "deep", "usual", "usual"],
        [ONE.key, "0", "all classes", "dilated", "usual", "usual"],
    ]
    assert designs.choices(fake_study.record({})) == []


# ---- the course


def test_a_finished_study_gets_structures_and_trains_nothing_twice(root, tmp_path, monkeypatch):  # noqa: F811
    trainer, made = Trainer(), []
    monkeypatch.setattr(train, "run", trainer)
    monkeypatch.setattr(
        fitted, "fit", lambda study, arm, recipe, folder, rates: made.append((arm.key, rates))
    )
    usual = [arm.key for arm in arms.chosen()]
    whole = [arm.key for arm in arms.chosen(families=[*arms.DEFAULT, "structures"])]
    run.tune(study(root, tmp_path, usual), 1)
    before, tuned = list(trainer.trained), tuning.read(tmp_path)["arms"]
    assert not made
    run.tune(study(root, tmp_path, whole), 1)
    added = {name.rsplit("_rate_")[0] for name in trainer.trained[len(before) :]}
    assert added == {arm.key for arm in arms.FAMILIES["structures"] if arm.trained}
    assert len(trainer.trained) == len(set(trainer.trained))
    found = tuning.read(tmp_path)["arms"]
    assert {key: found[key] for key in tuned} == tuned and set(found) == {*tuned, *added}
    assert [key for key, _ in made] == [ARM.key, ONE.key]
    rates = {key: arm["chosen"] for key, arm in found.items()}
    assert all(given == rates for _, given in made)


def test_further_seeds_are_told_which_images_belong_together(root, tmp_path):  # noqa: F811
    one = study(root, tmp_path, [ARM.key], block=2)
    words = verb.command(one, SimpleNamespace(profile="smoke"))
    assert words[words.index("--block") + 1] == "2" and ARM.key in words
    assert "--block" not in verb.command(study(root, tmp_path), SimpleNamespace(profile="smoke"))


def test_a_dry_run_counts_one_pass_with_all_subnets_and_one_with_the_chosen(root, tmp_path, monkeypatch):  # noqa: F811
    one = study(root, tmp_path, [ARM.key, ONE.key], wanted=(0, 1))
    names = {key: fitted.phases(arms.ARMS[key], RATES) for key in (ARM.key, ONE.key)}
    phases = ["base", "confusion_ce_rate_0_01", *names[ARM.key], *names[ONE.key]]
    record = {
        "phases": [
            {"name": name, "hours": 1.0, "groups": [2, 2] if name in names[ARM.key] else [6]}
            for name in phases
        ],
        "matrices": [],
        "evaluations": [{"phase": name, "hours": 0.5, "images": 100 + n} for n, name in enumerate(phases)],
    }
    monkeypatch.setattr(estimate.dry_run, "run", lambda recipe, root, images: record)
    found, trained = estimate.measure(one, 2), 1.5 * 3600
    seconds = [1800 / (100 + phases.index(name)) for name in names[ARM.key]]
    wanted = 4 * (sum(seconds) + max(seconds))  # of four validation images
    assert found["arms"][ARM.key] == pytest.approx(wanted) and found["arms"][ONE.key] == 0
    assert found["tuning"] == pytest.approx(trained * (1 + 2 + 12) + wanted)
    assert found["whole"] == pytest.approx(found["tuning"] + 10 * trained + wanted)
    row = next(line for line in estimate.text(found).splitlines() if line.startswith(ARM.key))
    assert row.split()[1] == "-"


def command(root: Path, out: Path, *families) -> list:  # noqa: F811
    words = [sys.executable, "-m", "gluon_confseg", "study", "--root", str(root), "--out", str(out)]
    return [*words, "--profile", "smoke", "--processes", "1", "--seeds", "0", "--families", *families]


@pytest.mark.slow
def test_structures_of_a_killed_study_come_to_the_same_record(root, tmp_path):  # noqa: F811
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)}
    for out in ("whole", "killed"):
        words = command(root, tmp_path / out, "structures")
        waits = (
            ("subnets_confusion_ce_coarse_rate_0_3.npz", f"{ARM.key}.choice.json") if out == "killed" else ()
        )
        for wanted in waits:
            process = subprocess.Popen(
                words, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
            )
            while not (tmp_path / out / "seed0" / "checkpoints" / wanted).exists():
                assert process.poll() is None
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert subprocess.run(words, env=environment, stderr=subprocess.DEVNULL).returncode == 0
    records = [json.loads((tmp_path / out / "study.json").read_text()) for out in ("whole", "killed")]
    for record in records:
        del record["minutes"]
    assert records[0] == records[1]
    by_key = {arm["key"]: arm for arm in records[0]["arms"]}
    assert {ARM.key, ONE.key} <= set(by_key)
    usual, chosen = by_key["subnets_confusion_ce"], by_key[ARM.key]
    assert usual["updates"] == chosen["updates"] and usual["parameters"] == pytest.approx(
        chosen["parameters"], rel=0.02
    )
    assert [found["arm"] for found in records[0]["choices"]] == [ARM.key, ONE.key]
    pairs = {(d["arm"], d["reference"]) for d in records[0]["differences"]}
    assert (ARM.key, ONE.key) in pairs
    checkpoints = {
        file.name: file.stat().st_mtime_ns for file in (tmp_path / "whole").glob("seed0/checkpoints/*")
    }
    assert subprocess.run(words, env=environment, stderr=subprocess.DEVNULL).returncode == 0
    assert checkpoints == {
        file.name: file.stat().st_mtime_ns for file in (tmp_path / "whole").glob("seed0/checkpoints/*")
    }
