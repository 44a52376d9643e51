"""What is said of a confusion: every number by brute force, and nothing where nothing is known."""

from __future__ import annotations

import dataclasses
import json
import os

import fake_run
import numpy as np
import pytest

from gluon_confseg import metrics
from gluon_confseg.errors import RunError
from gluon_confseg.losses import confusion_weights
from gluon_confseg.report import comparison, costs, explain
from gluon_confseg.report.per_image import PerImage
from gluon_confseg.run_folder import read_evaluation

K = 6
WALL, POLE, SKY = fake_run.CLASSES[1], "pole", "sky"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder; tests only read it."""
    return fake_run.make(tmp_path_factory.mktemp("runs") / "run", images=7)


@pytest.fixture(scope="module")
def compared(run):
    return comparison.of_runs([run])


def counts_of(run) -> list:
    with np.load(run / "confusion.npz") as matrices:
        return [matrices[cell["key"]] for cell in fake_run.CELLS]


def said(record: dict, title: str) -> str:
    return " ".join(text for part in record["sections"] if part["title"] == title for text in part["text"])


def test_the_numbers_of_every_pair_are_those_of_the_matrices(run, compared):
    for i, j in np.ndindex(K, K):
        if i == j:
            continue
        record = explain.pair(compared, i, j)
        for arm, back, counts in zip(record["arms"], record["reverse"], counts_of(run)):
            assert arm["pixels"] == counts[i, j] and back["pixels"] == counts[j, i]
            assert arm["share"] == pytest.approx(counts[i, j] / counts[i].sum())
            assert arm["share_of_prediction"] == pytest.approx(counts[i, j] / counts[:, j].sum())
            assert arm["cost"] == pytest.approx(costs.pair_costs(counts)[i, j])


def test_the_images_of_a_pair_come_with_most_of_it_first(run, compared):
    of_cells = [
        read_evaluation(run, fake_run.phase_of(cell))[fake_run.rule_of(cell)] for cell in fake_run.CELLS
    ]
    record = explain.pair(compared, 1, 2)
    pixels = of_cells[0][:, 1, 2]
    order = [n for n in np.argsort(-pixels, kind="stable") if pixels[n]]
    assert [image["name"] for image in record["images"]] == [f"town/scene{n}" for n in order][:5]
    assert record["images"][0]["pixels"] == [of_cell[order[0], 1, 2] for of_cell in of_cells]
    assert record["arms"][0]["images"] == len(order)
    assert f"This confusion is in {len(order)} of 7 images with subnet 0, CE" in said(record, "Where")


def test_a_confusion_in_one_image_or_of_the_other_arm_alone_is_said_to_be_so(compared):
    def known(*pixels: list) -> comparison.Comparison:
        arms = []
        for name, of_arm in zip(("one", "two"), pixels):
            matrices = np.array([[[9, count], [0, 9]] for count in of_arm])
            counted = PerImage.from_matrices(matrices)
            arms.append(comparison.Arm(name, matrices.sum(0), np.zeros(2, np.int64), counted))
        names = [f"image{n}" for n in range(len(pixels[0]))]
        few = {"arms": arms, "names": names, "classes": ["a", "b"], "groups": [], "runs": [], "train": None}
        return dataclasses.replace(compared, **few)

    told = [
        said(explain.pair(known(*pixels), 0, 1), "Where")
        for pixels in (([3, 0], [1, 1]), ([0, 0], [0, 2]), ([3, 0],))
    ]
    assert told == [
        "This confusion is in 1 of 2 images with one, and in 2 with two. All of it with one is in image0 (3).",
        "This confusion is in 0 of 2 images with one, and in 1 with two.",
        "This confusion is in 1 of 2 images. All of it is in image0 (3).",
    ]


@pytest.mark.parametrize("pixels, half", [([4, 3, 2, 1], 2), ([10, 1, 1], 1), ([1, 1, 1, 1], 2), ([3], 1)])
def test_half_of_the_pixels_are_in_so_many_images(pixels, half):
    assert explain.half_in([{"pixels": [count]} for count in pixels]) == half


def test_the_weight_is_that_of_the_loss_and_its_rank_that_in_its_row(run, compared):
    with np.load(run / "confusion.npz") as matrices:
        weights = confusion_weights(metrics.normalize(matrices["train"]), "confusion")
    first, second = explain.pair(compared, 1, 2)["weights"]
    assert [first["arm"], second["arm"]] == ["subnet 0, confusion CE", "subnets 0-3, confusion CE"]
    assert first["weight"] == pytest.approx(weights[1, 2]) and first["penalty"] == 5
    others = np.delete(weights[1], 1)
    assert first["rank"] == 1 + (others > weights[1, 2]).sum()
    words = said(explain.pair(compared, 1, 2), "What the method did")
    assert f"adds {5 * weights[1, 2]:.4g} times -log(1 - q)" in words


def test_groups_are_said_to_hold_both_or_not(compared):
    together, apart = explain.pair(compared, 1, 2), explain.pair(compared, 0, 5)
    assert together["group"] == [WALL, POLE] and apart["group"] is None
    assert f"Both are in group 1 ({WALL}, pole). Subnet 1 tells them apart" in said(
        together, "What the method did"
    )
    assert "are not in one group. No subnet compares them" in said(apart, "What the method did")


def test_the_loss_alone_and_the_subnets_alone_are_told_apart(run, compared):
    shares = [metrics.normalize(counts)[1, 2] for counts in counts_of(run)]
    words = said(explain.pair(compared, 1, 2), "What the method did")
    for what, arm in (("The subnets alone", 1), ("The loss (confusion CE) alone", 2)):
        change = f"{100 * (shares[arm] - shares[0]):+.2f}".replace("-", "\u2212")
        assert f"{what} changed the share by {change} points" in words


def arms_of(*matrices: np.ndarray) -> comparison.Comparison:
    """Arms of these counts, of no run."""
    size = len(matrices[0])
    arms = [comparison.Arm(f"arm {n}", counts, np.zeros(size, np.int64)) for n, counts in enumerate(matrices)]
    return comparison.Comparison(
        *("title", "data", list("abcdef")[:size], [[0, 0, 0]] * size, arms, [], [], "none", None, []),
        pictures=comparison.Pictures(),
        notes=["Single images are not known."],
    )


@pytest.mark.parametrize(
    "after, words",
    [
        (10, "it is mostly mended, 75 % of it: from 40.00 % to 10.00 % of a"),
        (30, "it is partly mended, 25 % of it: from 40.00 % to 30.00 % of a"),
        (38, "it hardly changed: from 40.00 % to 38.00 % of a"),
        (60, "it became worse: from 40.00 % to 60.00 % of a"),
        (40, "it is the same"),
    ],
)
def test_whether_it_was_mended(after, words):
    before, other = (np.array([[100 - n, n], [0, 50]]) for n in (40, after))
    assert explain.mended(arms_of(before, other), 0, 1) == [f"With arm 1 {words}."]
    assert explain.mended(arms_of(before), 0, 1) == []


def test_a_class_that_is_only_predicted_is_said_to_be_so():
    compared = arms_of(np.array([[60, 4, 0], [0, 0, 0], [0, 0, 50]]))
    assert "No pixel of these labels is b" in said(explain.pair(compared, 0, 1), "How much")
    assert "No pixel" not in said(explain.pair(compared, 0, 2), "How much")


def test_pixels_that_are_another_mistake_now_are_not_mended():
    before, after = (
        np.array([[60, 40, 0], [0, 50, 0], [0, 0, 50]]),
        np.array([[60, 0, 40], [0, 50, 0], [0, 0, 50]]),
    )
    compared = arms_of(before, after)
    (told,) = explain.mended(compared, 0, 1)
    assert "from 40.00 % to 0.00 % of a, but that is not mended" in told
    assert told.endswith("60.00 % of a are right, and 60.00 % were.")
    assert not any(
        "confuses them least" in line for line in explain.pair(compared, 0, 1)["sections"][-1]["text"]
    )


def test_who_mends_most_is_named_beside_the_best_and_at_what_price():
    before = np.array([[60, 40, 0], [0, 50, 0], [30, 0, 70]])
    best = np.array([[61, 39, 0], [0, 50, 0], [0, 0, 100]])
    least = np.array([[95, 5, 0], [30, 20, 0], [30, 0, 70]])
    told = explain.mended(arms_of(before, best, least), 0, 1)
    assert (
        told[0]
        == "With arm 1, the best of the others by mIoU, it hardly changed: from 40.00 % to 39.00 % of a."
    )
    assert told[1].startswith("With arm 2, which has least of it, it is mostly mended, 88 % of it")
    assert told[2] == "But there b is taken for a more than before: from 0.00 % to 60.00 % of b."


def test_a_class_that_is_never_there_or_never_confused_is_said_to_be_so():
    compared = arms_of(np.array([[9, 0, 0], [0, 0, 0], [1, 0, 5]]))
    assert "took none for c" in said(explain.pair(compared, 0, 2), "How much")
    assert "hold no pixel of b, so nothing can be told" in said(explain.pair(compared, 1, 0), "How much")
    assert said(explain.pair(compared, 0, 2), "What to try next") == ""
    assert said(explain.pair(compared, 2, 0), "Where") == "Single images are not known."
    assert "hold no pixel of b" in said(explain.klass(compared, 1), "How well it is found")


def test_pixels_of_no_class_are_explained_without_groups_and_weights():
    misses = np.array([5, 0])
    compared = arms_of(np.array([[5, 0], [0, 9]]))
    arm = comparison.Arm("arm", compared.arms[0].counts, misses)
    compared = comparison.Comparison(**{**vars(compared), "arms": [arm]})
    record = explain.pair(compared, 0, 2)
    assert record["prediction"] == "(no class)" and record["reverse"] == [] and record["weights"] == []
    assert record["arms"][0]["share"] == 0.5 and "predicted as 255" in said(record, "Groups")
    assert explain.find(compared.classes, "(no class)") == 2


def test_a_class_is_explained_by_its_scores_pairs_and_images(run, compared):
    record, counts = explain.klass(compared, 1), counts_of(run)[0]
    assert record["arms"][0]["iou"] == pytest.approx(metrics.iou(counts)[1])
    assert record["arms"][0]["recall"] == pytest.approx(counts[1, 1] / counts[1].sum())
    cost = costs.pair_costs(counts)
    order = sorted((k for k in range(K) if k != 1 and counts[1, k]), key=lambda k: -cost[1, k])
    assert [row["class"] for row in record["taken_for"]] == [fake_run.CLASSES[k] for k in order][:5]
    assert record["images"] and record["images"][0]["loss"] > 0
    best = costs.pair_costs(counts_of(run)[3])
    assert [row["best_cost"] for row in record["taken_for"]] == pytest.approx([best[1, k] for k in order[:5]])
    words = said(record, "What it is taken for")
    assert words.startswith(f"With subnet 0, CE: {WALL} is taken for {fake_run.CLASSES[order[0]]} (")
    assert (
        f"{100 * cost[1, order[0]]:.2f} points of mIoU; with {compared.best.name} {100 * best[1, order[0]]:.2f})"
        in words
    )


def test_an_unknown_class_is_named_with_the_nearest(compared):
    with pytest.raises(RunError, match="there is no class 'bsu'; did you mean bus?"):
        explain.find(compared.classes, "bsu")
    assert explain.find(compared.classes, "BUS") == compared.classes.index("bus")
    with pytest.raises(RunError, match="there is no class 'BUS'"):  # which of the two is meant?
        explain.find(["bus", "Bus"], "BUS")


# ---- the command


def test_the_command_says_it_in_words_and_as_json(run, call, ask):
    shown = call("explain", WALL, POLE, "--run", run)
    record = ask("explain", WALL, POLE, "--run", run)
    assert record["arms"][0]["pixels"] == counts_of(run)[0][1, 2] and record["group"] == [WALL, POLE]
    assert f"{WALL} taken for pole" in shown and "What to try next:" in shown
    assert all(len(line) <= 100 for line in shown.splitlines() if line.startswith("  "))
    assert ask("explain", SKY, "--run", run)["class"] == SKY
    assert ask("explain", "--run", run, WALL, POLE) == record


def test_without_a_run_the_newest_is_taken_and_said(run, tmp_path, call, refuse, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "there is no finished run" in refuse("explain", WALL, POLE)
    for number, name in enumerate(("old", "new")):
        folder = fake_run.make(tmp_path / "runs" / name)
        os.utime(folder / "results.json", (number, number))
    assert "Run: runs/new (the newest in runs/" in call("explain", WALL, POLE)


def test_folders_are_explained_too(tmp_path, ask):
    import cv2

    for number, (_, truth, answers) in enumerate(fake_run.scenes(2)):
        for place, content in (("gt", truth), ("net", answers["subnet0_ce"])):
            (tmp_path / place).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / place / f"{number}.png"), content)
    (tmp_path / "classes.csv").write_text(
        "name,r,g,b\n" + "".join(f"{c},{k},{k},{k}\n" for k, c in enumerate("abcdef"))
    )
    words = [
        "--labels",
        tmp_path / "gt",
        "--predictions",
        tmp_path / "net",
        "--classes",
        tmp_path / "classes.csv",
    ]
    record = ask("explain", "b", "c", *words)
    brute = sum(fake_run.counted(truth, answers["subnet0_ce"], 6) for _, truth, answers in fake_run.scenes(2))
    assert record["arms"][0]["pixels"] == brute[1, 2] and record["images"][0]["name"] in ("0", "1")
    assert "confseg train own" in json.dumps(record["sections"])


@pytest.mark.parametrize(
    "words, message",
    [
        (["sky", "sky"], "sky is not confused with itself"),
        (["sky", "ski"], "there is no class 'ski'"),
        (["(no class)"], "is no class of the labels"),
    ],
)
def test_what_can_not_be_explained_is_one_sentence(run, refuse, words, message):
    assert message in refuse("explain", *words, "--run", run)


@pytest.mark.parametrize(
    "words",
    [[], ["a", "--run", "r", "--predictions", "p"], ["a", "--data", "camvid"], ["a", "--predictions", "p"]],
)
def test_what_does_not_go_together_is_a_usage_error(words):
    from gluon_confseg import cli

    with pytest.raises(SystemExit) as caught:
        cli.main(["explain", *words])
    assert caught.value.code == 2
