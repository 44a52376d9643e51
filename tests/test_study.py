"""The study: its controls, its cells, and its statistics."""

from __future__ import annotations

import dataclasses
import itertools
import threading

import mxnet as mx
import numpy as np
import pytest

from experiments.study import command, recipe, results, seeds
from gluon_confseg import build, checkpoint, files, losses, metrics
from gluon_confseg.errors import ConfSegError, RunError, Stopped
from gluon_confseg.labels import LabelSpace
from gluon_confseg.recipe import Cell, declare, phase
from gluon_confseg.run_folder import read_json
from gluon_confseg.subnets import HeadSettings

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


LABELS = LabelSpace("custom", "six classes", tuple("abcdef"), np.zeros((6, 3), np.uint8))


def groups(choice: str) -> list:
    """The groups of a phase with this choice of them."""
    study = recipe.PROFILES["smoke"].override([f"phases.subnets_ce.groups={choice}"])
    return build.groups_of(study.phase("subnets_ce"), LABELS, CONFUSED)


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
    study = recipe.PROFILES["full"]
    one, subnets = study.phase("one_ce"), study.phase("subnets_ce")
    network = build.construct(dataclasses.replace(one, pretrained=False), LABELS, CONFUSED, seed=0)
    assert network.groups == [tuple(range(6))]
    (head,) = network.settings["subnet_heads"]
    assert head["channels"] == len(groups("discover")) * subnets.subnet_head.channels


def test_unknown_groups_are_refused_by_name():
    with pytest.raises(RunError, match="paper, discover, random, whole"):
        groups("largest")


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


# ---- cells


@pytest.mark.parametrize("profile", list(recipe.PROFILES))
def test_every_cell_of_every_family_has_its_phases(profile):
    study = recipe.PROFILES[profile]
    for family in recipe.FAMILIES.values():
        for cell in study.choose(family):
            needed = [phase.name for phase in study.needed([cell])]
            assert needed[0] == "base" and cell.phase in needed


def test_every_profile_does_cells_that_are_there():
    for profile, keys in recipe.CELLS.items():
        assert [cell.key for cell in recipe.PROFILES[profile].choose(keys)] == list(keys)


# what subnets, or the learned rule, add to a network is also shown beside that network as it was
ADDED = {
    ("ce", "subnets_ce"),
    ("ce", "subnets_confusion_ce"),
    ("ce", "plain_ce"),
    ("confusion_ce", "subnets_confusion_ce"),
    ("confusion_ce_continued", "subnets_confusion_ce_long"),
    ("subnets_confusion_ce_sum", "subnets_confusion_ce_learned"),
    ("subnets_confusion_ce", "subnets_confusion_ce_learned"),
}


def test_cells_that_are_compared_have_as_many_updates():
    study = recipe.PROFILES["full"]
    for pair in results.DIFFERENCES:
        phases = [study.phase(study.choose([key])[0].phase) for key in pair]
        ours, theirs = (sum(study.phase(name).epochs for name in phase.path) for phase in phases)
        assert ours == theirs or pair[::-1] in ADDED, pair


def test_each_loss_is_set_beside_cross_entropy_and_nothing_else_is():
    study = recipe.PROFILES["full"]
    others = [cell for cell in study.cells if results.is_another_loss(study, cell)]
    families = ("losses", "slow_losses", "search")
    assert {cell.key for cell in others} == {key for name in families for key in recipe.FAMILIES[name]}
    assert all(study.rule_of(cell) == "subnet0" for cell in others)


def test_an_unknown_cell_is_one_sentence_that_names_the_cells():
    with pytest.raises(ConfSegError, match="no cell 'new'.*subnets_confusion_ce"):
        recipe.PROFILES["quick"].choose(["new"])


# ---- statistics


def test_mean_iou_of_many_matrices_is_the_metric_of_each():
    counts = matrices(5, 0, 0.6)
    counts[0, 3] = counts[0, :, 3] = 0  # a class that does not occur
    expected = [metrics.mean_of_defined(metrics.iou(c)) for c in counts]
    np.testing.assert_allclose(results._mean_iou(counts), expected)


def test_a_cell_gains_nothing_over_itself():
    counts = matrices(10, 0, 0.6)
    found = results.difference("a", "b", {0: {"a": counts, "b": counts}})
    assert found["mean"] == 0 and found["interval"] == [0, 0]


def test_the_interval_of_a_clear_gain_is_above_zero_and_holds_the_mean():
    counted = {s: {"a": matrices(40, s, 0.8), "b": matrices(40, 100 + s, 0.6)} for s in range(3)}
    found = results.difference("a", "b", counted)
    assert 0 < found["interval"][0] < found["mean"] < found["interval"][1]
    assert found["spread"] == pytest.approx(np.std(list(found["seeds"].values()), ddof=1))


def test_the_interval_of_two_equally_good_cells_holds_zero():
    counted = {0: {"a": matrices(40, 5, 0.7), "b": matrices(40, 6, 0.7)}}
    low, high = results.difference("a", "b", counted)["interval"]
    assert low < 0 < high


def test_a_difference_counts_only_seeds_that_have_both_cells():
    counted = {0: {"a": matrices(5, 0, 0.7), "b": matrices(5, 1, 0.7)}, 1: {"a": matrices(5, 2, 0.7)}}
    assert list(results.difference("a", "b", counted)["seeds"]) == ["0"]
    assert results.difference("b", "c", counted) is None


def test_results_are_computed_from_the_run_folders(tmp_path):
    for seed in (0, 1):
        folder = tmp_path / f"seed{seed}"
        for n, name in enumerate(("ce", "confusion_ce")):
            counted = {"subnet0": matrices(6, 10 * seed + n, 0.6 + 0.2 * n)}
            (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            checkpoint.save(folder / "checkpoints" / f"{name}.evaluation.npz", counted, {})
        about = {
            "classes": list("abcd"),
            "groups": [[0, 1]],
            "updates": {"ce": 3, "confusion_ce": 3},
            "images": {},
        }
        files.write_json(folder / "about.json", about)
    record = results.collect(recipe.PROFILES["quick"], tmp_path)
    assert [cell["key"] for cell in record["cells"]] == ["ce", "confusion_ce"]
    gain = record["differences"][0]
    cells = {cell["key"]: cell["mean_iou"] for cell in record["cells"]}
    assert gain["mean"] == pytest.approx(cells["confusion_ce"] - cells["ce"])
    assert f"{100 * gain['mean']:+.2f}" in results.table(record)


def test_scores_on_drawn_scenes_are_not_called_cityscapes(tmp_path):
    folder = tmp_path / "seed0"
    (folder / "checkpoints").mkdir(parents=True)
    files.write_json(folder / "about.json", {"classes": [], "groups": [], "updates": {}, "images": {}})
    record = results.collect(recipe.PROFILES["drawn"], tmp_path)
    assert record["data"] == "drawn scenes (not Cityscapes), val"


# ---- command


def test_photographs_are_asked_for_where_none_are_drawn(tmp_path, monkeypatch):
    monkeypatch.delenv("CAMVID_ROOT", raising=False)
    full, drawn = recipe.PROFILES["full"], recipe.PROFILES["drawn"]
    with pytest.raises(ConfSegError, match="no folder of camvid was given; name it with --root"):
        command._root(full, None)
    with pytest.raises(ConfSegError, match="profile drawn draws its own scenes"):
        command._root(drawn, tmp_path)
    assert command._root(full, tmp_path) == tmp_path
    assert command._root(drawn, None).name == "512x256-train240-val60-seed0"


def test_an_error_of_the_command_is_one_sentence(capsys):
    assert command.main(["--profile", "drawn", "--cell", "new_ce"]) == 1
    assert capsys.readouterr().err.startswith("confseg: study has no cell 'new_ce'")


@pytest.mark.parametrize(
    "given, first, count",
    [
        (["--profile", "quick"], "ce", 6),
        (["--profile", "quick", "--families", "fusion"], "subnets_confusion_ce_sum", 6),
        (["--cell", "one_ce", "ohem"], "one_ce", 2),
        ([], "ce", 38),
    ],
)
def test_cells_are_those_asked_for_or_the_profiles_own(given, first, count):
    chosen = command._cells(command._parser().parse_args(given))
    assert chosen[0] == first and len(chosen) == count


TINY = recipe.PROFILES["drawn"].with_data(
    encoder="resnet18",
    pretrained=False,
    output_stride=16,
    head=HeadSettings(channels=8, depth=2, dilation=1, stages=(3,)),
    subnet_head=HeadSettings(channels=8, depth=2, dilation=1, stages=(2, 3)),
    crop=(32, 32),
    draw={"train": 4, "val": 3, "size": (128, 64), "seed": 0},
    matrix_images=2,
)


@pytest.mark.slow
def test_the_command_trains_scores_and_tells_what_it_found(tmp_path, monkeypatch, capsys):
    """Two seeds, one after the other and in this process; and the validation scores of what was trained."""

    def run_each(commands: dict, processes: int) -> None:
        for name, arguments in commands.items():
            assert arguments[1:3] == ["-m", "experiments.study"] and command.main(arguments[3:]) == 0, name

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(recipe.PROFILES, "drawn", TINY.override(["epochs=1", "learning_rate=0.02"]))
    monkeypatch.setattr(seeds, "run_each", run_each)
    cells = ["ce", "one_ce", "subnets_confusion_ce_sum", "subnets_confusion_ce_learned"]
    given = [
        "--profile",
        "drawn",
        "--seeds",
        "0",
        "1",
        "--cell",
        *cells,
        "--out",
        "out",
        "--keep",
        "kept.json",
    ]
    assert command.main(given) == 0
    record = read_json("kept.json")
    assert set(cells) <= {cell["key"] for cell in record["cells"]}  # and what else is known of their networks
    assert record["groups"]["0"] and record["images"] == {"train": 4, "val": 3}
    pairs = [(d["cell"], d["reference"]) for d in record["differences"]]
    assert ("subnets_confusion_ce_learned", "subnets_confusion_ce_sum") in pairs
    assert results.table(record) in capsys.readouterr().out
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.npz")}
    assert command.main([*given, "--split", "train"]) == 0
    assert read_json("out/study-train.json")["images"] == {"train": 4, "val": 3}
    assert all(path.read_bytes() == content for path, content in before.items())


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
