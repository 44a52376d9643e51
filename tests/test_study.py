"""The study: its controls, its arms, how it tunes them, and its processes."""

from __future__ import annotations

import dataclasses
import itertools
import threading

import mxnet as mx
import numpy as np
import pytest

from gluon_confseg import build, losses, metrics
from gluon_confseg.cli import study as verb
from gluon_confseg.errors import RunError, Stopped
from gluon_confseg.labels import LabelSpace
from gluon_confseg.recipe import Cell, declare, phase
from gluon_confseg.study import arms, plan, results, seeds, tuning

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
LABELS = LabelSpace("custom", "six classes", tuple("abcdef"), np.zeros((6, 3), np.uint8))
PLAN = plan.Plan("full", (160, 224), (0.5, 1.1), plan.Epochs(12, 4, 5), 4, None)
EVERY = arms.chosen(families=arms.FAMILIES)


def recipe(known=EVERY, tries: int = 3, **rates):
    """The recipe of some arms at their reference rates, or at others."""
    tried = {arm.key: tuning.rates(arm, tries) for arm in known if arm.trained}
    return arms.recipe(PLAN, "custom", known, tried, {**{arm.key: arm.rate for arm in known}, **rates}, 0)


def phase_of(key: str):
    """The phase of an arm at its reference rate."""
    return recipe().phase(arms.phase_name(key, arms.ARMS[key].rate))


# ---- controls


def groups(choice: str) -> list:
    """The groups of a phase with this choice of them."""
    return build.groups_of(dataclasses.replace(phase_of("subnets_ce"), groups=choice), LABELS, CONFUSED)


def test_random_groups_have_the_sizes_of_the_discovered_ones_and_are_others():
    found = groups("discover")
    for seed in range(20):
        drawn = groups(f"random {seed}")
        assert [len(g) for g in drawn] == [len(g) for g in found]
        assert len({k for g in drawn for k in g}) == len({k for g in found for k in g})
        assert not {frozenset(g) for g in drawn} & {frozenset(g) for g in found}


def test_random_groups_depend_on_their_seed_alone():
    first = [groups(f"random {seed}") for seed in range(10)]
    assert first == [groups(f"random {seed}") for seed in range(10)]
    assert len({tuple(found) for found in first}) > 1


def test_whole_groups_are_as_many_as_the_discovered_ones():
    assert groups("whole") == [tuple(range(6))] * len(groups("discover"))


def test_one_group_is_as_wide_as_all_the_discovered_ones():
    one, subnets = phase_of("one_ce"), phase_of("subnets_ce")
    network = build.construct(dataclasses.replace(one, pretrained=False), LABELS, CONFUSED, seed=0)
    assert network.groups == [tuple(range(6))]
    (head,) = network.settings["subnet_heads"]
    assert head["channels"] == len(groups("discover")) * subnets.subnet_head.channels


def test_unknown_groups_are_refused_by_name():
    with pytest.raises(RunError, match="paper, discover, random, whole"):
        recipe().override([f"phases.{arms.phase_name('subnets_ce', 0.3)}.groups=largest"])


def test_shuffled_weights_keep_diagonal_and_rows_but_not_their_places():
    weights = losses.confusion_weights(NORMALIZED)
    other = build.shuffled(weights, 1)
    np.testing.assert_array_equal(np.diag(other), np.diag(weights))
    np.testing.assert_array_equal(np.sort(other, axis=1), np.sort(weights, axis=1))
    assert (other != weights).any()


def test_confusion_ce_of_every_scheme_reaches_the_gradient():
    logits = mx.nd.array(np.random.default_rng(0).normal(size=(1, 6, 3, 3)))
    labels = np.random.default_rng(1).integers(0, 6, (1, 3, 3)).astype(np.uint8)
    logits.attach_grad()

    def gradient(name: str, **settings):
        loss = losses.build(name, 6, **settings)
        with mx.autograd.record():
            value = loss(logits, labels)
        value.backward()
        return logits.grad.asnumpy()

    schemes = [*losses.SCHEMES, "shuffled", "shuffled 3"]
    weights = {scheme: build.confusion_weights(NORMALIZED, scheme) for scheme in schemes}
    found = {scheme: gradient("confusion_ce", weights=each) for scheme, each in weights.items()}
    plain = gradient("ce")
    np.testing.assert_array_equal(found.pop("none"), plain)
    found["ce"] = plain
    for (one, first), (other, second) in itertools.combinations(found.items(), 2):
        assert np.abs(first - second).max() > 1e-4, (one, other)


# ---- arms


def test_arms_stand_behind_those_that_they_need():
    seen = {arms.BASE}
    for arm in EVERY:
        assert {arm.start, *arm.needs} <= seen, arm.key
        seen.add(arm.key)


def test_arms_that_are_asked_for_bring_those_that_they_go_on_from():
    keys = [arm.key for arm in arms.chosen(["subnets_confusion_ce_sum"])]
    assert keys == ["confusion_ce", "subnets_confusion_ce", "subnets_confusion_ce_sum"]
    every = {key for wave in arms.waves(arms.chosen()) for key in (arm.key for arm in wave)}
    assert every == {arm.key for family in arms.DEFAULT for arm in arms.FAMILIES[family]}


def test_each_wave_needs_the_waves_before_it_alone():
    done = set()
    for wave in arms.waves(EVERY):
        assert all(set(arm.needs) <= done for arm in wave)
        done |= {arm.key for arm in wave}
    assert done == set(arms.ARMS)


def test_an_unknown_arm_or_family_is_one_sentence_that_names_the_known_ones():
    with pytest.raises(
        RunError, match="no arm 'subnet_ce'; did you mean subnets_ce.; there are ce, confusion_ce"
    ):
        arms.chosen(["subnet_ce"])
    with pytest.raises(RunError, match="no family of arms 'control'.*main, controls"):
        arms.chosen(families=["control"])


def test_the_command_line_knows_the_families_profiles_and_tries_that_there_are():
    assert list(arms.FAMILIES) == list(verb.FAMILIES)
    assert set(plan.PROFILES) == set(verb.PROFILES)
    assert set(tuning.FACTORS) == set(verb.TRIES)


# what heads, or the learned rule, add to a network is also shown beside that network as it was
ADDED = {
    ("subnets_ce", "ce"),
    ("subnets_confusion_ce", "ce"),
    ("plain_ce", "ce"),
    ("subnets_confusion_ce", "confusion_ce"),
    ("subnets_confusion_ce_long", "confusion_ce_continued"),
    ("subnets_confusion_ce_learned", "subnets_confusion_ce_sum"),
    ("subnets_confusion_ce_learned", "subnets_confusion_ce"),
}


def test_arms_that_are_compared_have_as_many_updates():
    found = recipe()
    rates = {arm.key: arm.rate for arm in EVERY}
    for pair in (*results.OF_CLAIMS.values(), *results.OTHERS):
        phases = [found.phase(arms.phase_of(arms.ARMS[key], rates)) for key in pair]
        ours, theirs = (sum(found.phase(name).epochs for name in phase.path) for phase in phases)
        assert ours == theirs or pair in ADDED, pair
        assert pair not in results.OF_CLAIMS.values() or pair not in ADDED


def test_compared_arms_that_go_on_from_one_network_draw_the_same_crops():
    found = recipe()
    for pair in (
        ("confusion_ce", "ce"),
        ("confusion_ce_shuffled", "ce"),
        ("one_confusion_ce", "subnets_confusion_ce"),
    ):
        ours, theirs = (found.phase(arms.phase_name(key, arms.ARMS[key].rate)) for key in pair)
        assert (ours.draws, ours.crop, ours.scale) == (theirs.draws, theirs.crop, theirs.scale)


def test_every_arm_tries_as_many_rates_and_has_its_phase_and_cell_at_each():
    found = recipe()
    for arm in EVERY:
        if arm.trained:
            names = [arms.phase_name(arm.key, rate) for rate in tuning.rates(arm, 3)]
            assert len(set(names)) == 3 and [found.phase(name).name for name in names] == names
            assert [found.choose([name])[0].phase for name in names] == names
            assert found.phase(names[1]).learning_rate == arm.rate
        elif not arm.candidates:
            assert (
                found.choose([arms.cell_of(arm, {arm.start: arms.ARMS[arm.start].rate})])[0].rule == arm.rule
            )


def test_a_phase_is_the_same_in_every_recipe_that_has_it():
    """So a run folder goes on when the recipe gains phases."""
    whole, part = recipe(), recipe(arms.chosen(["one_ce"]), tries=1)
    for each in part.phases:
        assert whole.phase(each.name) == each


def test_an_arm_goes_on_from_the_rate_that_was_chosen():
    found = recipe(confusion_ce=0.03)
    assert found.phase("subnets_confusion_ce_rate_0_3").start == "confusion_ce_rate_0_03"
    assert found.phase("subnets_confusion_ce_iterated_rate_0_3").matrix == "confusion_ce_rate_0_03"
    assert found.phase("subnets_ce_rate_0_3").start == "ce_rate_0_01"


def test_plain_subnets_have_the_shape_of_subnet_0s_head():
    plain, residual = phase_of("plain_ce"), phase_of("subnets_ce")
    assert plain.subnet_head == plain.head and plain.rule == "sum"
    assert residual.subnet_head != residual.head


def test_each_loss_is_set_beside_cross_entropy():
    for family in ("losses", "search"):
        assert {(arm.key, "ce") for arm in arms.FAMILIES[family]} <= set(results.OTHERS)


# ---- plan


def sizes(height: int, width: int, count: int = 3) -> np.ndarray:
    return np.array([(height, width)] * count)


@pytest.mark.parametrize(
    "size, crop, scale",
    [
        ((360, 480), (160, 224), (0.5, 1.1)),
        ((213, 320), (160, 224), (0.8, 1.3)),
        ((480, 320), (224, 160), (0.55, 1.15)),
        ((1024, 2048), (160, 224), (0.5, 1.1)),
        ((100, 70), (96, 64), (1.0, 1.3)),
        ((20, 20), (32, 32), (1.0, 1.3)),
    ],
)
def test_crop_and_scale_follow_from_the_images_sizes(size, crop, scale):
    assert plan.crop_for(sizes(*size), (160, 224)) == crop
    assert plan.scale_for(sizes(*size), crop) == scale


def test_sides_of_crops_are_whole_features_and_full_size_is_always_among_the_scales():
    draws = np.random.default_rng(0)
    for _ in range(200):
        found = draws.integers(16, 3000, (5, 2))
        crop = plan.crop_for(found, (160, 224))
        low, high = plan.scale_for(found, crop)
        assert all(side % 32 == 0 for side in crop) and low <= 1 <= high <= 1.3


@pytest.mark.parametrize("images, epochs", [(367, (12, 4, 5, 1)), (354, (13, 5, 6, 1)), (700, (8, 3, 4, 1))])
def test_small_data_sets_get_as_many_updates_as_camvid_and_large_ones_enough_epochs(
    images, epochs, monkeypatch
):
    header = dataclasses.make_dataclass("Header", ["height", "width"])(360, 480)
    monkeypatch.setattr(plan.pictures, "peek", lambda path: header)
    dataset = type("Images", (list,), {"image_paths": ["a"]})(range(images))
    assert plan.make("full", dataset).epochs == epochs


# ---- tuning


def tried(**scores) -> list:
    return [{"rate": float(rate[1:].replace("_", ".")), "mean_iou": score} for rate, score in scores.items()]


def test_the_rate_of_the_best_score_is_chosen_and_the_lowest_of_equals():
    assert tuning.best(tried(r0_1=0.5, r0_3=0.7, r0_9=0.6)) == 0.3
    assert tuning.best(tried(r0_9=0.7, r0_1=0.7, r0_3=0.6)) == 0.1


def test_a_try_that_diverged_is_never_chosen():
    assert tuning.best(tried(r0_1=0.02, r0_3=None)) == 0.1
    assert tuning.best(tried(r0_1=None, r0_3=None)) is None


def test_rates_lie_evenly_around_the_reference():
    assert tuning.rates(arms.ARMS["ce"], 3) == [0.003, 0.01, 0.03]
    assert tuning.rates(arms.ARMS["one_ce"], 3) == [0.09, 0.3, 0.9]
    assert tuning.rates(arms.ARMS["plain_ce"], 1) == [0.02]


def test_a_damaged_tuning_is_one_sentence(tmp_path):
    (tmp_path / tuning.NAME).write_text('{"seed": 0}')
    with pytest.raises(RunError, match="is no study's tuning; delete it"):
        tuning.read(tmp_path)
    (tmp_path / tuning.NAME).write_text("{")
    with pytest.raises(RunError, match="is damaged .*delete it and give the `confseg study` command again"):
        tuning.read(tmp_path)


def test_a_learned_fusion_is_of_the_groups_that_its_subnets_have():
    own = {"loss": "confusion_ce", "matrix": "confusion_ce"}
    phases = (phase("base"), phase("confusion_ce", "base", loss="confusion_ce"))
    phases += (phase("iterated", "confusion_ce", "subnets", **own), phase("learned", "iterated", "fusion"))
    cells = [Cell("learned", "all", "CE", "learned")]
    found = declare(
        name="x", title="x", data="camvid", groups="discover", matrix_phase="base", phases=phases, cells=cells
    )
    assert found.phase("learned").reads_matrix and found.phase("learned").matrix == "confusion_ce"


# ---- processes


def test_a_seed_that_fails_is_named_and_stops_those_that_wait(capfd):
    commands = {
        name: ["sh", "-c", f"echo {name} speaks >&2; exit {code}"] for name, code in (("s0", 3), ("s1", 0))
    }
    with pytest.raises(RunError, match="s0 stopped"):
        seeds.run_each(commands, 1)
    assert capfd.readouterr().err == "s0: s0 speaks\n"


def test_a_signal_that_ends_the_study_ends_the_seeds(monkeypatch, capfd):
    def stopped(self, *_: object):
        raise Stopped(15)

    joined, before = threading.Thread.join, set(threading.enumerate())
    monkeypatch.setattr(threading.Thread, "join", stopped)
    with pytest.raises(Stopped):
        seeds.run_each({"s0": ["sleep", "60"], "s1": ["sleep", "60"]}, 1)
    for thread in set(threading.enumerate()) - before:
        joined(thread, 30)
        assert not thread.is_alive()


def test_seeds_run_with_one_thread_each(capfd):
    seeds.run_each({n: ["sh", "-c", "echo $OMP_NUM_THREADS >&2"] for n in ("s0", "s1")}, 2)
    assert sorted(capfd.readouterr().err.split("\n")) == ["", "s0: 1", "s1: 1"]
