"""The report: every number from the run's own files, and never a claim that they don't support."""

from __future__ import annotations

import io
import json
import re
import unicodedata
import warnings
from pathlib import Path

import cv2
import fake_run
import numpy as np
import pytest
from matplotlib import font_manager
from PIL import Image

from gluon_confseg import metrics, report
from gluon_confseg.errors import ConfSegError, RunError
from gluon_confseg.report import costs, document, markdown, pictures, tables
from gluon_confseg.report.folder import read
from gluon_confseg.report.pictures import lettering


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with its report; tests only read it."""
    folder = fake_run.make(tmp_path_factory.mktemp("runs") / "run", images=6)
    report.write(folder)
    return folder


@pytest.fixture
def fresh(tmp_path):
    """A run folder without a report, to damage."""
    return fake_run.make(tmp_path / "run", images=3)


@pytest.fixture
def html(run):
    return (run / "report.html").read_text(encoding="utf-8")


def words_of(folder):
    """The report's Markdown, without drawing its pictures."""
    run = read(folder)
    return markdown.page(run.results["first_line"], run.results["title"], document.build(run))


# ---- what the report says


def test_every_mean_iou_in_the_report_is_that_of_the_matrices(run, html):
    markdown = (run / "report.md").read_text(encoding="utf-8")
    with np.load(run / "confusion.npz") as matrices:
        for cell in fake_run.CELLS:
            shown = f"{100 * metrics.mean_of_defined(metrics.iou(matrices[cell['key']])):.2f}"
            assert shown in html and shown in markdown


def test_the_first_line_says_which_data_it_was(run, html):
    first = "Data: street scenes drawn by gluon-confseg, no photographs"
    assert (run / "report.md").read_text(encoding="utf-8").splitlines()[0] == first
    assert re.search(r"<main[^>]*>\s*<p[^>]*>([^<]*)<", html).group(1) == first


def test_on_drawn_scenes_each_mention_of_cityscapes_says_not_comparable(run, html):
    terminal = tables.terminal(fake_run.results(fake_run.invented_counts()))
    for text in (html, (run / "report.md").read_text(encoding="utf-8"), terminal):
        # a label of the terminal goes over several lines
        words = " ".join(re.sub(r"[+-]?\d+\.\d\d\b", "", text).split())
        assert "Cityscapes val" in words
        label = "paper (ResNet-101, Cityscapes val, not comparable with this data)"
        assert words.count("Cityscapes val") == words.count(label)


def test_on_cityscapes_itself_the_papers_network_is_named():
    results = fake_run.results(fake_run.invented_counts(), drawn=False)
    assert tables.paper_label(results) == "paper (ResNet-101, Cityscapes val; this run: resnet18)"
    results["network"]["encoder"] = "resnet101"
    assert tables.paper_label(results) == "paper (ResNet-101, Cityscapes val)"


def test_without_numbers_of_the_paper_there_is_no_row_for_them():
    results = fake_run.results(fake_run.invented_counts())
    for cell in results["cells"]:
        cell["paper_mean_iou"] = None
    assert "paper" not in tables.table(results)


def test_gains_are_over_the_first_cell():
    results = fake_run.results(fake_run.invented_counts())
    first, last = results["cells"][0]["mean_iou"], results["cells"][-1]["mean_iou"]
    assert f"{100 * (last - first):+.2f}" in tables.table(results, "text")


LIVELY = [
    "[x](javascript:alert(1))",
    "![x](http://a/b.png)",
    "<https://a.b>",
    "`code` **bold**",
    "a|b",
    "~~x~~ $y$",
]


def test_class_names_are_no_marks_in_markdown(tmp_path):
    """By the rules of CommonMark: a sign of punctuation after a backslash is that sign."""
    text = words_of(fake_run.make(tmp_path / "run", classes=LIVELY))
    assert not re.search(r"(?<!\\)(\]\(|`|\*\*x|~~)", text.replace("](pictures/", ""))
    assert "javascript" in text and "<" not in text and not re.search(r"(?<!\\)://", text)
    shown = re.sub(r"\\([\\`*_\[\]|~$:])", r"\1", text).replace("&lt;", "<").replace("&gt;", ">")
    assert all(name in shown for name in LIVELY)
    rows = [line for line in text.splitlines() if line.startswith("| a\\|b |")]
    assert rows and all("\\|" not in line.replace("a\\|b", "") for line in rows)


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\rb", "a\u202eb", "a\x9b2Jb", "a\nb"])
def test_class_names_give_no_commands_to_the_terminal_that_shows_a_report(tmp_path, name):
    run = fake_run.make(tmp_path / "run", classes=[name, "b", "c", "d", "e", "f"])
    with pytest.warns(RuntimeWarning, match="class 0 = "):
        text = words_of(run)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]|a\nb", text)


def test_other_rules_of_fusion_stand_beside_the_cells(html):
    assert re.search(r">subnets 0-3, confusion CE</td><td>sum</td><td[^>]*>12.34</td>", html)


def test_groups_that_the_run_discovered_are_compared_with_those_it_used(fresh):
    found = json.loads((fresh / "groups.json").read_text())
    found["discovered"] = [{"classes": [1, 2, 3, 4], "names": [], "confusion": 1.0}]
    fake_run.write(fresh / "groups.json", found)
    assert "wall &amp; &lt;fence&gt;, pole, bus, tram | 50.00 |" in words_of(fresh)


def test_chosen_images_are_not_passed_off_as_typical(run):
    words = (run / "report.md").read_text(encoding="utf-8")
    better, worse = re.search(
        r"These images are not typical.* (\d) for the better, (\d) for the worse", words
    ).groups()
    assert int(better) + int(worse) > 0 and (run / "pictures/panels.png").exists()


def test_what_was_not_run_is_said(html):
    assert "ResNet-101 on Cityscapes itself: no such data here." in html


def test_a_class_in_no_image_gets_no_number_and_no_part_in_the_mean(tmp_path):
    counts = {key: matrix.copy() for key, matrix in fake_run.invented_counts().items()}
    for matrix in counts.values():
        matrix[3], matrix[:, 3] = 0, 0
    assert "| bus | 2 | - | - | - | - | - |" in words_of(fake_run.make(tmp_path / "run", counts))


def test_one_cell_without_paper_images_log_or_training_matrix_is_a_report_too(tmp_path):
    counts = {"subnet0_ce": fake_run.invented_counts()["subnet0_ce"]}
    folder = fake_run.make(tmp_path / "run", counts, groups=[])
    (folder / "log.jsonl").unlink()
    page = report.write(folder).read_text(encoding="utf-8")
    words = (folder / "report.md").read_text(encoding="utf-8")
    assert "holds no predictions" in words and "holds no log.jsonl" in words
    assert "lacks checkpoints/*.evaluation.npz" in page and "section-training" not in page


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(run):
    def everything():
        return {
            file.name: file.read_bytes()
            for file in [*run.glob("pictures/*.png"), *run.glob("report.*"), run / "results.csv"]
        }

    before = everything()
    report.write(run)
    assert everything() == before
    assert not list(run.rglob("*.part"))


# ---- what confusion costs


def draw_counts(seed: int) -> tuple:
    """(K, K) counts and (K,) misses: sparse, some classes in no truth, some in no prediction, some in neither."""
    draws = np.random.default_rng(seed)
    classes = int(draws.integers(1, 7))
    counts = draws.integers(0, 100, (classes, classes)) * (draws.random((classes, classes)) < 0.4)
    misses = draws.integers(0, 50, classes) * (draws.random(classes) < 0.3)
    in_truth = draws.random(classes) < 0.7
    return counts * in_truth[:, None] * (draws.random(classes) < 0.7), misses * in_truth


@pytest.mark.parametrize("seed", range(60))
def test_the_cost_of_a_pair_is_what_mending_it_gains(seed):
    counts, misses = draw_counts(seed)
    for missed in (None, misses):
        cost, before = (
            costs.pair_costs(counts, missed),
            metrics.mean_iou(counts, 0 if missed is None else missed),
        )
        assert cost.shape == (len(counts), len(counts) + (missed is not None))
        for i, j in np.ndindex(cost.shape):
            mended, still = counts.copy(), np.zeros_like(misses) if missed is None else missed.copy()
            source = still if j == len(counts) else mended[:, j]
            moved, source[i] = source[i], 0
            mended[i, i] += moved
            gained = metrics.mean_iou(mended, still) - before if moved else 0.0
            assert cost[i, j] == pytest.approx(gained, abs=1e-12), (i, j)


def test_a_class_that_only_one_other_is_taken_for_leaves_the_mean_with_its_confusion():
    counts = np.array([[90, 10, 0], [0, 0, 0], [0, 0, 50]])
    assert costs.pair_costs(counts)[0, 1] == pytest.approx(1 - (0.9 + 0 + 1) / 3)


def test_mending_a_group_moves_no_pixel_outside_it():
    counts = fake_run.invented_counts()["subnet0_ce"]
    mended = costs.without_confusion_inside(counts, [3, 4])
    outside = np.ones_like(counts, bool)
    outside[np.ix_([3, 4], [3, 4])] = False
    assert np.array_equal(mended[outside], counts[outside]) and mended.sum() == counts.sum()
    assert mended[3, 4] == mended[4, 3] == 0


def test_wrong_pixels_are_inside_groups_or_across_them():
    wrong, inside, across = costs.wrong_pixels(fake_run.invented_counts()["subnets_ce"], fake_run.GROUPS)
    assert wrong == pytest.approx(inside + across) and inside > 0


def test_the_costliest_pair_stands_first():
    counts = {
        key: np.diag([100] * 6)
        for key in ("subnet0_ce", "subnets_ce", "subnet0_confusion_ce", "subnets_confusion_ce")
    }
    counts["subnet0_ce"] = counts["subnet0_ce"] + 0
    counts["subnet0_ce"][5, 2], counts["subnet0_ce"][0, 1] = 50, 5
    rows = tables.pairs(fake_run.results(counts), counts, fake_run.GROUPS).rows
    assert [row[:2] for row in rows] == [["sky", "pole"], ["road", "wall & <fence>"]]


# ---- bad run folders


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RunError, match="nowhere: there is no such run folder"):
        report.write(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["results.json", "confusion.npz", "groups.json"])
def test_a_missing_file_is_named(fresh, name):
    (fresh / name).unlink()
    with pytest.raises(RunError, match=re.escape(f"{fresh / name}: there is no such file")):
        report.write(fresh)


@pytest.mark.parametrize(
    "name",
    [
        *("results.json", "confusion.npz", "groups.json", "examples/examples.json", "examples/00001.png"),
        "checkpoints/ce.evaluation.npz",
    ],
)
def test_a_file_cut_short_is_named(fresh, name):
    content = (fresh / name).read_bytes()
    (fresh / name).write_bytes(content[: len(content) // 3])
    with pytest.raises(ConfSegError, match=re.escape(str(fresh / name))):
        report.write(fresh)


@pytest.mark.parametrize("line", [b'{"phase": "ba', b"\xff\xfe\x00"])
def test_a_line_of_the_log_that_is_none_is_named(fresh, line):
    with open(fresh / "log.jsonl", "ab") as log:
        log.write(line)
    with pytest.raises(RunError, match="log.jsonl: line 16 "):
        report.write(fresh)


def test_matrices_of_another_run_are_refused(fresh):
    np.savez(fresh / "confusion.npz", **fake_run.invented_counts(seed=9))
    with pytest.raises(RunError, match="the two are of different runs"):
        report.write(fresh)


def test_a_matrix_of_another_size_is_refused(fresh):
    np.savez(fresh / "confusion.npz", **fake_run.invented_counts(5))
    with pytest.raises(RunError, match=r"expected counts of shape \(6, 6\)"):
        report.write(fresh)


def test_results_without_what_the_report_needs_name_what_is_missing(fresh):
    results = json.loads((fresh / "results.json").read_text())
    del results["classes"], results["cells"][1]["iou"]
    fake_run.write(fresh / "results.json", results)
    with pytest.raises(RunError, match=r"classes, cells\[1\].iou is missing"):
        report.write(fresh)


def test_a_key_that_leaves_the_folder_is_refused(fresh):
    results = json.loads((fresh / "results.json").read_text())
    results["cells"][0]["key"] = "../../evil"
    fake_run.write(fresh / "results.json", results)
    with pytest.raises(RunError, match="needs a key of letters"):
        report.write(fresh)


# ---- pictures


@pytest.mark.slow
def test_pictures_of_11_19_and_21_classes_are_drawn(tmp_path):
    for size in (11, 19, 21):
        shares = metrics.normalize(fake_run.invented_counts(size)["train"])
        names = [f"class {k}" for k in range(size)]
        pictures.confusion_matrix(tmp_path / "matrix.png", shares, names, [[0, 5, 7], [1, 2]], "title")
        pictures.groups(tmp_path / "groups.png", shares, names, [[0, 5, 7], [1, 2]])
        assert cv2.imread(str(tmp_path / "matrix.png")).shape[1] > 30 * size
        assert cv2.imread(str(tmp_path / "groups.png")) is not None


@pytest.mark.parametrize("size", [2, 4])
def test_a_matrix_of_few_classes_is_as_wide_as_its_title(size, tmp_path):
    """Otherwise the cells shrink to nothing beside it, which Matplotlib only warns of."""
    shares, names = np.eye(size), [f"class {k}" for k in range(size)]
    title = "subnets all, confusion CE, against subnet 0, CE"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures.difference(tmp_path / "matrix.png", shares[::-1], shares, names, [[0, 1]], title)
        pictures.confusion_matrix(tmp_path / "other.png", shares, names, [[0, 1]], title)
    picture = cv2.imread(str(tmp_path / "matrix.png")).astype(int)
    blue = picture[:, :, 0] - picture[:, :, 2] > 100  # cells for the better
    assert blue.any(1).sum() > 30 * size and blue.any(0).sum() > 30 * size


def test_a_picture_does_not_depend_on_the_readers_matplotlib_settings(tmp_path):
    import matplotlib

    shares = metrics.normalize(fake_run.invented_counts()["train"])
    pictures.confusion_matrix(tmp_path / "one.png", shares, fake_run.CLASSES, fake_run.GROUPS)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.dpi": 20}):
        pictures.confusion_matrix(tmp_path / "two.png", shares, fake_run.CLASSES, fake_run.GROUPS)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_a_picture_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "matrix.png"
    path.write_bytes(b"old")
    with pytest.raises(IndexError):
        pictures.confusion_matrix(path, np.eye(3), ["a", "b", "c"], [[0, 7]])
    assert path.read_bytes() == b"old"


# ---- class names of any script


@pytest.fixture
def few_fonts(monkeypatch):
    """A machine that has Matplotlib's own fonts alone."""
    own = [entry for entry in font_manager.fontManager.ttflist if "mpl-data" in entry.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    lettering._fonts.cache_clear()
    yield
    lettering._fonts.cache_clear()


def draw_all(folder: Path, names: list) -> list:
    """Every picture that shows class names, as bytes."""
    size = len(names)
    shares = metrics.normalize(fake_run.invented_counts(max(size, 11))["train"][:size, :size])
    crop = np.arange(200, dtype=np.uint8).reshape(10, 20) % size
    row = {"name": f"{names[0]}.png", "why": f"{names[0]} taken for {names[1]}", "truth": crop}
    row |= {"image": np.zeros((10, 20, 3), np.uint8), "predictions": [crop]}
    colors = [(k, 2 * k, 3 * k) for k in range(size)]
    pictures.confusion_matrix(folder / "matrix.png", shares, names, [[0, 1]], "title")
    pictures.difference(folder / "difference.png", shares[::-1], shares, names, [[0, 1]])
    pictures.groups(folder / "groups.png", shares, names, [[0, 1]])
    pictures.class_iou(folder / "bars.png", [np.linspace(0, 1, size)] * 2, ["a", "b"], names, [[0, 1]])
    pictures.panels(folder / "panels.png", [row], ["a"], names, colors)
    return [path.read_bytes() for path in sorted(folder.glob("*.png"))]


SCRIPTS = {
    "Chinese": "道路 汽车 天空",
    "Korean": "도로 자동차 하늘",
    "Arabic": "طريق سيارة سماء",
    "Hebrew": "כביש מכונית שמים",
    "Hindi": "सड़क गाड़ी आसमान",
    "Thai": "ถนน รถยนต์ ท้องฟ้า",
    "controls": "a\x1b[31m b\tc d\x00e",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_names_that_can_not_be_drawn_are_numbered_and_listed(few_fonts, script):
    names = ["road", *SCRIPTS[script].split(" ")]
    with pytest.warns(RuntimeWarning, match="no font here has the letters") as told:
        letters = lettering.Lettering(names)
    assert letters.names == ["road", "class 1", "class 2", "class 3"]
    said = str(told[0].message)
    assert all(f"class {number} = {name}" in said for number, name in list(enumerate(names))[1:])


def test_every_picture_with_numbered_classes_has_a_note_below(tmp_path, few_fonts):
    with pytest.warns(RuntimeWarning, match="class 1 = "):
        drawn = draw_all(tmp_path, ["road", *SCRIPTS["Chinese"].split()[:2]])
    (tmp_path / "plain").mkdir()
    plain = draw_all(tmp_path / "plain", ["road", "class 1", "class 2"])
    for ours, theirs in zip(drawn, plain):  # but for the note, they show these names
        ours, theirs = (np.array(Image.open(io.BytesIO(png)).convert("RGB")) for png in (ours, theirs))
        assert len(ours) == len(theirs) + 27 and ours.shape[1] == theirs.shape[1]
        assert (ours[-27:] < 100).any() and np.abs(ours[:-27].astype(int) - theirs).mean() < 2


@pytest.mark.parametrize(
    "names",
    [
        "straße Bäume žluťoučký",
        "дорога машина небо",
        "δρόμος αυτοκίνητο ουρανός",
        "đường cây trời",
        "ᶁᶄ ᶊᶍ の",
    ],
)
@pytest.mark.filterwarnings("error")  # Matplotlib's on missing glyphs among them
def test_names_that_some_font_has_are_drawn(tmp_path, few_fonts, names):
    letters = lettering.Lettering(names.split())
    assert letters.names == names.split() and letters.numbered == {}
    decomposed = lettering.Lettering([unicodedata.normalize("NFD", name) for name in names.split()])
    assert decomposed.names == letters.names
    if letters.fonts != [lettering.FONT]:
        assert len(set(draw_all(tmp_path, names.split()))) == 5


def test_dollars_and_backslashes_in_names_are_drawn_as_they_are(tmp_path):
    lists = ["a$b", "c$d$"], ["a$b", "c$d"], [r"\frac{1}", "$x_1$"], [r"\frac", "x1"]
    for number, names in enumerate(lists):
        pictures.confusion_matrix(tmp_path / f"{number}.png", np.eye(2), names)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == len(lists)


def test_texts_that_hold_names_that_can_not_be_drawn_tell_them_apart(few_fonts):
    text = "道路 taken for 道: 山.png"
    with pytest.warns(RuntimeWarning):
        letters = lettering.Lettering(["road", "道", "道路"], text)
    assert letters.text(text) == "class 2 taken for class 1: \\u5c71.png"


def test_a_cell_is_coloured_where_truth_and_prediction_say():
    from gluon_confseg.report.pictures.panels import colorize

    painted = colorize(np.array([[0, 1], [255, 1]], np.uint8), [(10, 20, 30), (40, 50, 60)])
    assert painted[0, 0].tolist() == [10, 20, 30] and painted[0, 1].tolist() == [40, 50, 60]
    assert painted[1, 0].max() < 100


def test_a_group_outline_encloses_its_cells_and_no_other(tmp_path):
    from gluon_confseg.report.pictures import canvas

    assert canvas.grouped_order(6, [[4, 1], [3, 2]]) == [4, 1, 3, 2, 0, 5]
    assert canvas.group_colors(6, [[4, 1], [3, 2]])[0] == canvas.NO_GROUP


def test_reports_do_not_need_mxnet():
    import subprocess
    import sys

    code = "import sys; sys.modules['mxnet'] = None\nimport gluon_confseg.report, gluon_confseg.progress"
    subprocess.run([sys.executable, "-c", code], check=True)
