"""The report's page without a browser: what it holds, for runs, several runs and folders, and whatever names are."""

from __future__ import annotations

import base64
import csv
import hashlib
import html as escaping
import json
import re
import shutil
import zlib
from pathlib import Path

import cv2
import fake_run
import numpy as np
import pytest

from gluon_confseg import groups, metrics
from gluon_confseg.errors import RunError
from gluon_confseg.report import comparison, costs, explain, explorer
from gluon_confseg.run_folder import read_evaluation

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}",
    "=cmd()",
    "a/b#c %",
    "'\"&\u202eabc",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with its report; tests only read it."""
    folder = fake_run.make(tmp_path_factory.mktemp("runs") / "run", images=7)
    write(folder)
    return folder


def write(folder: Path) -> None:
    """The page alone, without the pictures of report.md."""
    explorer.write(comparison.of_runs([folder]), folder)


def page_of(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def data_of(page: str) -> dict:
    """What the page's script reads."""
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S).group(1)
    )


def counts_of(folder: Path) -> list:
    with np.load(folder / "confusion.npz") as matrices:
        return [matrices[cell["key"]] for cell in fake_run.CELLS]


# ---- numbers


def test_the_page_holds_the_runs_matrices_to_the_last_count(run):
    data, results = data_of(page_of(run)), json.loads((run / "results.json").read_text())
    assert data["classes"] == fake_run.CLASSES and data["groups"] == fake_run.GROUPS and not data["noClass"]
    for arm, cell, counts in zip(data["arms"], results["cells"], counts_of(run)):
        assert [row[:-1] for row in arm["counts"]] == counts.tolist() and not any(
            row[-1] for row in arm["counts"]
        )
        assert arm["iou"] == pytest.approx(cell["iou"], abs=1e-6)
        assert np.allclose(np.array(arm["costs"])[:, :-1] / 1e6, costs.pair_costs(counts), atol=1e-6)


def test_precision_and_recall_are_those_of_the_matrix(run):
    for arm, counts in zip(data_of(page_of(run))["arms"], counts_of(run)):
        assert arm["recall"] == pytest.approx(np.diag(counts) / counts.sum(1), abs=1e-6)
        assert arm["precision"] == pytest.approx(np.diag(counts) / counts.sum(0), abs=1e-6)


def test_the_groups_at_each_threshold_are_those_of_the_discovery(run):
    data = data_of(page_of(run))
    with np.load(run / "confusion.npz") as matrices:
        shares = metrics.normalize(matrices["train"])
    found = data["discoveries"][0]
    assert found["name"] == "training images" and len(found["steps"]) > 5
    assert all(of_step is not None for _, of_step in found["steps"][1:])
    for threshold, of_step in found["steps"]:
        try:
            wanted = [list(group) for group in groups.discover(shares, threshold=threshold)]
        except groups.MatrixError:
            wanted = None
        assert of_step == wanted
    automatic = found["steps"][found["automatic"]]
    assert automatic[0] == pytest.approx(groups.automatic_threshold(shares), abs=1e-6)
    assert automatic[1] == [list(group) for group in groups.discover(shares)]
    thresholds = [threshold for threshold, _ in found["steps"]]
    assert thresholds == sorted(thresholds) and sorted(found["order"]) == list(range(6))
    for i, j, weight in found["edges"]:
        assert weight == pytest.approx(shares[i, j] + shares[j, i], abs=1e-6)


def test_the_images_of_a_pair_are_those_that_have_most_of_it(run):
    data = data_of(page_of(run))
    by_image = [
        read_evaluation(run, fake_run.phase_of(cell))[fake_run.rule_of(cell)] for cell in fake_run.CELLS
    ]
    assert data["imagesOf"]
    for key, known in data["imagesOf"].items():
        i, j = map(int, key.split("/"))
        pixels = np.array([of_arm[:, i, j] for of_arm in by_image])
        assert known["any"] == np.count_nonzero(pixels.max(0))
        assert known["of"] == np.count_nonzero(pixels, axis=1).tolist()
        for image, of_arms in known["listed"]:
            assert of_arms == pixels[:, image].tolist()
        most = [max(of_arms) for _, of_arms in known["listed"]]
        assert most == sorted(pixels.max(0), reverse=True)[: len(most)]


def test_all_views_count_the_images_of_a_confusion_alike(run):
    page, compared = page_of(run), comparison.of_runs([run])
    data, best = data_of(page), compared.arms.index(compared.best)
    tables = re.findall(r'<table class="pairs">.*?<tbody>(.*?)</tbody>', page, re.S)
    assert len(tables) == 2
    for place, table in zip((0, best), tables):
        arm, rows = compared.arms[place], re.findall(r"<tr>(.*?)</tr>", table, re.S)
        assert len(rows) == len(arm.ranked)
        for (i, j), row in zip(arm.ranked, rows):
            pixels, images = re.findall(r'<td class="n">([\d,]+)</td>', row)[-2:]
            record, known = explain.pair(compared, i, j), data["imagesOf"][f"{i}/{j}"]
            assert int(pixels.replace(",", "")) == record["arms"][place]["pixels"]
            assert int(images) == known["of"][place] == record["arms"][place]["images"]
            (where,) = (part["text"][0] for part in record["sections"] if part["title"] == "Where")
            assert (
                f"is in {known['of'][0]} of 7 images with {arm.name if not place else data['arms'][0]['name']}"
                in where
            )
            assert f", and in {known['of'][best]} with {compared.best.name}." in where


def test_what_became_better_or_worse_is_counted(run):
    before, *_, after = counts_of(run)
    page, gain = page_of(run), metrics.iou(after) - metrics.iou(before)
    change = costs.pair_costs(after) - costs.pair_costs(before)
    confused = int(((before + after)[~np.eye(6, dtype=bool)] > 0).sum())
    for word, how, pairs, classes in (
        ("better", "less", change < -5e-5, gain > 5e-5),
        ("worse", "more", change > 5e-5, gain < -5e-5),
    ):
        if pairs.any():
            assert f"{pairs.sum()} of the {confused} confusions that either has cost {how}" in page
        told = f"{classes.sum()} of 6 classes {'is' if classes.sum() == 1 else 'are'} {word}"
        assert (told if classes.any() else f"No class became {word}.") in page


def test_images_that_became_worse_are_listed_and_counted(run):
    data, (first, *_, best) = data_of(page_of(run)), fake_run.CELLS
    wrong = {
        place: np.array(
            [(truth != 255) & (truth != answers[cell["key"]]) for _, truth, answers in fake_run.scenes(7)]
        )
        for place, cell in ((0, first), (3, best))
    }
    wrong = {place: of_arm.sum((1, 2)) for place, of_arm in wrong.items()}
    listed = {one["image"]: one["wrong"] for one in data["images"]}
    assert set(np.flatnonzero(wrong[3] > wrong[0])) <= set(listed) and data["best"] == 3
    assert all([of[0], of[3]] == [wrong[0][image], wrong[3][image]] for image, of in listed.items())
    fewer, more = int((wrong[3] < wrong[0]).sum()), int((wrong[3] > wrong[0]).sum())
    assert f'<td class="n">{fewer} of 7</td><td class="n">{more}</td>' in page_of(run)


def test_an_image_without_a_mistake_costs_nothing(run):
    listed = {one["image"]: one["lost"] for one in data_of(page_of(run))["images"]}
    assert 4 not in listed and len(listed) == 6 and all(lost[0] > 0 for lost in listed.values())


def test_crops_hold_the_classes_of_the_images_and_count_their_confusions(run):
    data, shown = data_of(page_of(run)), fake_run.scenes(7)
    assert data["crops"] and data["cropArms"] == [0, 1, 2, 3]
    for crop in data["crops"]:
        _, truth, answers = shown[crop["image"]]
        top, left, bottom, right, step = crop["box"]
        assert step == 1 and crop["size"] == [bottom - top, right - left]

        def unpacked(text: str, size=crop["size"]) -> np.ndarray:
            values = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(size)
            return np.bitwise_xor.accumulate(values, axis=0)

        assert np.array_equal(unpacked(crop["truth"]), truth[top:bottom, left:right])
        parts = [
            array[top:bottom, left:right]
            for array in (truth, *(answers[cell["key"]] for cell in fake_run.CELLS))
        ]
        assert sorted(crop["values"]) == np.unique(parts).tolist()
        for cell, text, listed in zip(fake_run.CELLS, crop["predictions"], crop["confusions"]):
            answer = answers[cell["key"]][top:bottom, left:right]
            assert np.array_equal(unpacked(text), answer)
            counts = fake_run.counted(truth[top:bottom, left:right], answer, 6)
            np.fill_diagonal(counts, 0)
            assert sorted(listed) == [[i, j, counts[i, j]] for i, j in np.argwhere(counts)]


def test_the_worst_pair_comes_first_and_whether_it_was_mended(run):
    page, (before, *_, after) = page_of(run), counts_of(run)
    cost = costs.pair_costs(before)
    i, j = np.unravel_index(cost.argmax(), cost.shape)
    data = data_of(page)
    assert data["worst"][0] == [i, j]
    lead = re.search(r'<p class="head">.*?</div>', page, re.S).group(0)
    assert escaping.escape(fake_run.CLASSES[i]) in lead and f"{100 * cost[i, j]:.2f} points" in lead
    shares = metrics.normalize(before)[i, j], metrics.normalize(after)[i, j]
    assert f"from {100 * shares[0]:.2f} % to {100 * shares[1]:.2f} %" in lead


def test_classes_that_the_labels_lack_are_named(tmp_path):
    counts = {key: matrix.copy() for key, matrix in fake_run.invented_counts().items()}
    for matrix in counts.values():
        matrix[3], matrix[:, 3] = 0, 0
    folder = fake_run.make(tmp_path / "run", counts)
    write(folder)
    assert "The labels of these images hold no pixel of bus." in page_of(folder)


# ---- one file, and whatever names are


def test_the_page_needs_nothing_but_itself_and_runs_no_other_script(run):
    page = page_of(run)
    assert (
        not re.search(r"(src|href)=[\"'](?!data:|#)", page) and "url(" not in page and "@import" not in page
    )
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert len(scripts) == 1 and "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy


def hostile_run(folder: Path) -> Path:
    made = fake_run.make(folder, classes=HOSTILE, images=4)
    examples = json.loads((made / "examples/examples.json").read_text())
    examples["names"] = ["</script>.png", "<b>x</b>", "\udcff.png", "a\x1b[31m/é"]
    fake_run.write(made / "examples/examples.json", examples)
    results = json.loads((made / "results.json").read_text())
    results["title"] = results["first_line"] = "<script>alert(2)</script>"
    fake_run.write(made / "results.json", results)
    return made


def test_names_do_no_harm(tmp_path):
    write(hostile_run(tmp_path / "run"))
    page = page_of(tmp_path / "run")
    assert page.count("<script") == page.count("</script>") == 2 and "<img" not in page.replace(
        "<img src=x", "?"
    )
    assert not re.search(r"<b>x</b>|alert\(2\)</script>", page) and "{{ 7 * 7 }}" in page
    data = data_of(page)
    assert data["classes"][:5] == HOSTILE[:5] and data["classes"][5] == "'\"&\\u202eabc"
    assert data["names"]["0"] == "</script>.png" and data["names"]["3"] == "a\\x1b[31m/é"
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", page)


def test_no_cell_of_the_spreadsheet_is_a_formula(tmp_path):
    folder = hostile_run(tmp_path / "run")
    write(folder)
    with open(folder / "results.csv", encoding="utf-8", newline="") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert "'=cmd()" in cells and not any(re.match(r"[=@\t\r]|[+-](?!\d)", cell) for cell in cells)


def test_the_spreadsheet_has_every_score_with_all_its_digits(run):
    results = json.loads((run / "results.json").read_text())
    with open(run / "results.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for number, cell in enumerate(results["cells"]):
        whole, *classes = rows[7 * number : 7 * number + 7]
        assert (
            float(whole["iou"]) == cell["mean_iou"]
            and float(whole["pixel_accuracy"]) == cell["pixel_accuracy"]
        )
        assert float(whole["recall"]) == cell["mean_recall"] and whole["updates"] == str(cell["updates"])
        assert float(whole["paper_mean_iou"]) == cell["paper_mean_iou"] / 100
        assert [float(row["iou"]) for row in classes] == cell["iou"]
        assert [row["class"] for row in classes] == fake_run.CLASSES


# ---- what does not fit, or is not there


def test_a_page_has_as_many_crops_as_fit_and_says_so(run, monkeypatch):
    compared = comparison.of_runs([run])
    every = explorer.cut_crops(compared)
    room = sum(crop.bytes for crop in every[:2])
    monkeypatch.setattr(explorer, "CROP_BYTES", room)
    fewer = explorer.cut_crops(compared)
    assert [(crop.image, crop.box) for crop in fewer] == [(crop.image, crop.box) for crop in every[:2]]
    page = explorer.page(compared, fewer)
    images = len({crop.image for crop in fewer})
    assert f"holds 2 crops of {images} of 7 images" in page and len(data_of(page)["crops"]) == 2


def test_what_a_crop_takes_is_not_understated(run):
    compared = comparison.of_runs([run])
    cropped = explorer.cut_crops(compared)
    with_crops, without = (len(explorer.page(compared, some)) for some in (cropped, []))
    assert with_crops - without < 1.1 * sum(crop.bytes for crop in cropped) + 300 * len(cropped)


def test_of_many_arms_crops_show_the_first_and_the_best(run, monkeypatch):
    monkeypatch.setattr(comparison, "ABREAST", 2)
    compared = comparison.of_runs([run])
    data = data_of(explorer.page(compared, explorer.cut_crops(compared)))
    assert data["cropArms"] == [0, data["best"]] and all(
        len(crop["predictions"]) == 2 for crop in data["crops"]
    )


def test_a_run_of_an_earlier_version_says_what_is_missing(tmp_path):
    folder = fake_run.make(tmp_path / "run", images=4)
    shutil.rmtree(folder / "examples")
    for file in folder.glob("checkpoints/*.predictions.npz"):
        file.unlink()
    write(folder)
    page = page_of(folder)
    data = data_of(page)
    assert "this run folder keeps no predictions" in page and data["crops"] == []
    assert data["names"]["0"] == "image 1 of 4" and data["imagesOf"]
    for file in folder.glob("checkpoints/*.evaluation.npz"):
        file.unlink()
    write(folder)
    page = page_of(folder)
    assert "lacks checkpoints/*.evaluation.npz" in page and not data_of(page)["imagesOf"]


def test_an_arm_whose_predictions_were_not_kept_stands_beside_the_others(tmp_path):
    folder = fake_run.make(tmp_path / "run", images=4)
    (folder / "checkpoints/subnets_ce.predictions.npz").unlink()
    write(folder)
    crops = data_of(page_of(folder))["crops"]
    assert crops and all(
        [p is None for p in crop["predictions"]] == [False, True, False, False] for crop in crops
    )


def test_counts_of_single_images_of_another_run_are_refused(tmp_path):
    folder = fake_run.make(tmp_path / "run", images=3)
    other = fake_run.make(tmp_path / "other", images=3, seed=5)
    shutil.copy(other / "checkpoints/ce.evaluation.npz", folder / "checkpoints/ce.evaluation.npz")
    with pytest.raises(RunError, match="subnet0_ce is the sum of: they are of different runs"):
        write(folder)


@pytest.mark.parametrize("spoil", [{"names": 7}, {"images": [{"index": 99}]}, {"split": None}])
def test_a_damaged_list_of_examples_is_named(tmp_path, spoil):
    folder = fake_run.make(tmp_path / "run", images=3)
    examples = json.loads((folder / "examples/examples.json").read_text())
    fake_run.write(folder / "examples/examples.json", {**examples, **spoil})
    with pytest.raises(RunError, match="examples.json: is no list of images"):
        write(folder)


def test_a_picture_outside_the_folder_is_not_read(tmp_path):
    folder = fake_run.make(tmp_path / "run", images=3)
    examples = json.loads((folder / "examples/examples.json").read_text())
    examples["images"][0]["photograph"] = "../../secret.jpg"
    fake_run.write(folder / "examples/examples.json", examples)
    with pytest.raises(RunError, match="examples.json: is no list of images"):
        write(folder)


# ---- several runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same recipe with two seeds, on the same images."""
    place = tmp_path_factory.mktemp("runs")
    first = fake_run.make(place / "drawn-seed0", images=5)
    second = shutil.copytree(first, place / "drawn-seed1")
    results = json.loads((second / "results.json").read_text())
    fake_run.write(second / "results.json", {**results, "seed": 1})
    return [first, second]


def test_several_runs_stand_side_by_side(runs, tmp_path, call):
    shown = call("report", *runs, "--out", tmp_path / "both")
    page = page_of(tmp_path / "both")
    data = data_of(page)
    names = [arm["name"] for arm in data["arms"]]
    assert (
        len(names) == 8
        and names[0] == "seed0: subnet 0, CE"
        and names[-1] == "seed1: subnets 0-3, confusion CE"
    )
    assert data["crops"] and len(data["cropArms"]) == 6 and "2 arms are not shown" in page
    assert "Over seeds" in page and names[5] in shown
    with open(tmp_path / "both/results.csv", encoding="utf-8", newline="") as stream:
        assert {row["run"] for row in csv.DictReader(stream)} == {"drawn-seed0", "drawn-seed1"}


def test_runs_that_can_not_be_compared_are_refused(runs, tmp_path):
    other = fake_run.make(tmp_path / "labels", images=5, seed=3)
    with pytest.raises(RunError, match="labels: was scored on other labels than"):
        comparison.of_runs([runs[0], other])
    classes = fake_run.make(tmp_path / "classes", classes=list("abcdef"))
    with pytest.raises(RunError, match="classes: its classes are not those of"):
        comparison.of_runs([runs[0], classes])


@pytest.mark.parametrize(
    "paths, names",
    [
        (["a/preds", "b/preds"], ["a/preds", "b/preds"]),
        (["preds-one", "preds-two"], ["one", "two"]),
        (["x/run-a", "y/run-a"], ["x/run-a", "y/run-a"]),
        (["ours"], ["ours"]),
        (["run", "run-2"], ["run", "run-2"]),
    ],
)
def test_paths_get_short_names_that_differ(paths, names):
    assert comparison.distinct(list(map(Path, paths))) == names


# ---- folders


@pytest.fixture
def folders(tmp_path):
    """Labels, predictions of two networks, photographs, and the list of classes, by someone else's habits."""
    shown = fake_run.scenes(4)
    for number, (photograph, truth, answers) in enumerate(shown):
        for place, suffix, content in (
            ("gt/town", "_mask.png", truth),
            ("net-a/town", "_pred.png", answers["subnet0_ce"]),
            ("net-b/town", "_pred.png", answers["subnets_confusion_ce"]),
            ("photos/town", ".jpg", photograph[:, :, ::-1]),
        ):
            (tmp_path / place).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / place / f"scene{number}{suffix}"), content)
    rows = [f'"{name}",{10 * k},{20 * k},{30 * k}' for k, name in enumerate(fake_run.CLASSES)]
    (tmp_path / "classes.csv").write_text("\n".join(["name,r,g,b", *rows]) + "\n")
    return tmp_path


def words_of(place: Path, *predictions: str) -> list:
    given = [word for name in predictions for word in ("--predictions", place / name)]
    return ["--labels", place / "gt", *given, "--classes", place / "classes.csv"]


def test_folders_of_anyones_predictions_are_a_page(folders, call):
    words = words_of(folders, "net-a", "net-b")
    call("report", *words, "--images", folders / "photos", "--out", folders / "out")
    page, shown = page_of(folders / "out"), fake_run.scenes(4)
    data = data_of(page)
    assert [arm["name"] for arm in data["arms"]] == ["a", "b"] and data["groups"]
    scores = []
    for arm, key in zip(data["arms"], ("subnet0_ce", "subnets_confusion_ce")):
        counts = sum(fake_run.counted(truth, answers[key], 6) for _, truth, answers in shown)
        assert [row[:-1] for row in arm["counts"]] == counts.tolist()
        scores.append(100 * metrics.mean_of_defined(metrics.iou(counts)))
    gain = f"{scores[1] - scores[0]:+.2f}".replace("-", "\u2212")
    assert f"a has {scores[0]:.2f} % mIoU; b has {scores[1]:.2f} % ({gain} points)." in page
    assert data["crops"] and all(crop["photograph"] for crop in data["crops"])
    assert data["names"]["0"] == "town/scene0_mask" and "section-training" not in page


def test_pixels_predicted_as_no_class_have_a_column_of_their_own(folders, call):
    for file in (folders / "net-a/town").iterdir():
        answer = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        answer[20:30, 20:60] = 255
        cv2.imwrite(str(file), answer)
    call("report", *words_of(folders, "net-a"), "--out", folders / "out")
    data, shown = data_of(page_of(folders / "out")), fake_run.scenes(4)
    assert data["noClass"]
    missed = np.zeros(6, int)
    for _, truth, _ in shown:
        missed += np.bincount(truth[20:30, 20:60].ravel(), minlength=256)[:6]
    assert [row[-1] for row in data["arms"][0]["counts"]] == missed.tolist()
    assert any(j == 6 for crop in data["crops"] for _, j, _ in crop["confusions"][0])


def test_without_photographs_crops_show_classes_alone_and_the_page_says_so(folders, call):
    call("report", *words_of(folders, "net-a"), "--out", folders / "out")
    page = page_of(folders / "out")
    assert "No photographs were given" in page
    assert data_of(page)["crops"] and not any(crop["photograph"] for crop in data_of(page)["crops"])


def test_photographs_of_another_size_are_fitted_and_of_another_form_refused(folders, call, refuse):
    words = [*words_of(folders, "net-a"), "--images", folders / "photos", "--out", folders / "out"]
    for file in (folders / "photos/town").iterdir():
        cv2.imwrite(str(file), cv2.resize(cv2.imread(str(file)), None, fx=2, fy=2))
    call("report", *words)
    cv2.imwrite(str(folders / "photos/town/scene0.jpg"), np.zeros((50, 50, 3), np.uint8))
    assert "scene0.jpg: is 50 x 50 pixels, its label 80 x 48" in refuse("report", *words)


def test_folders_that_do_not_fit_are_refused(folders, refuse):
    out = ["--out", folders / "out"]
    assert "was given twice" in refuse("report", *words_of(folders, "net-a", "net-a"), *out)
    (folders / "empty").mkdir()
    said = refuse("report", *words_of(folders, "net-a"), "--images", folders / "empty", *out)
    assert "holds no photograph" in said
    (folders / "net-b/town/scene3_pred.png").unlink()
    assert "scene3_mask.png has no prediction" in refuse("report", *words_of(folders, "net-a", "net-b"), *out)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["run", "--predictions", "p"],
        ["run", "--images", "i"],
        ["run", "--data", "camvid"],
        ["--predictions", "p", "--labels", "l", "--out", "o"],
        ["--predictions", "p", "--classes", "c", "--out", "o"],
        ["--predictions", "p", "--labels", "l", "--data", "camvid"],
        ["--predictions", "p", "--labels", "l", "--data", "camvid", "--classes", "c", "--out", "o"],
    ],
)
def test_what_does_not_go_together_is_a_usage_error(words, capsys):
    from gluon_confseg import cli

    with pytest.raises(SystemExit) as caught:
        cli.main(["report", *words])
    assert caught.value.code == 2


def test_what_goes_wrong_leaves_no_folder_behind(folders, refuse):
    words, out = words_of(folders, "net-a"), folders / "deep" / "out"
    (folders / "other").mkdir()
    cv2.imwrite(str(folders / "other/IMG_1.jpg"), np.zeros((48, 80, 3), np.uint8))
    said = refuse("report", *words, "--images", folders / "other", "--out", out)
    assert "it holds IMG_1" in said and "labels are town/scene0_mask" in said and not out.parent.exists()
    (folders / "kept").mkdir()
    refuse("report", *words, "--images", folders / "other", "--out", folders / "kept")
    assert (folders / "kept").is_dir()
    file = folders / "other/IMG_1.jpg"
    assert "is a file, not a folder" in refuse("report", *words, "--images", file, "--out", out)
    assert "is a file, not a folder" in refuse("report", *words_of(folders, file), "--out", out)


def test_folders_of_images_are_no_runs(folders, refuse):
    for command in (["report"], ["explain", "bus", "--run"]):
        said = refuse(*command, folders / "net-a" / "town")
        assert "is no run folder" in said and "--labels" in said and "--predictions" in said


def test_labels_as_photographs_are_noted(folders, ask):
    words = [*words_of(folders, "net-a"), "--images", folders / "gt", "--out", folders / "out"]
    ask("report", *words)
    assert "are the same folder" in (folders / "out" / "report.html").read_text(encoding="utf-8")
