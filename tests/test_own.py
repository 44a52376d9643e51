"""The recipe for your own data, end to end at a size of seconds, on images of four classes, two and two alike."""

from __future__ import annotations

import json

import layouts
import numpy as np
import pytest

from gluon_confseg import checkpoint, groups, metrics, recipe_files, train
from gluon_confseg.cli.train import open_data
from gluon_confseg.recipe import four_cells
from gluon_confseg.report import document, markdown
from gluon_confseg.report import folder as report_folder
from gluon_confseg.run_folder import RunFolder

PROFILES = recipe_files.find("own").profiles
TINY = PROFILES["smoke"].override(
    [
        "encoder=resnet18",
        "pretrained=no",
        "output_stride=16",
        "head.channels=8",
        "head.dilation=1",
        "subnet_head.channels=8",
        "subnet_head.stages=2,3",
        "crop=32,32",
        "phases.base.epochs=4",
        "phases.base.learning_rate=0.05",
    ]
)
CLASSES = ("grass", "moss", "brick", "tile")
COLORS = np.array([(60, 150, 60), (70, 140, 70), (170, 80, 60), (160, 90, 70)], np.uint8)


def draw(root, split: str, count: int, in_colors: bool) -> None:
    """Images of 2 x 3 patches in the colours of their classes, with noise; labels as indices or as colours."""
    for number in range(count):
        draws = np.random.RandomState(number + 100 * in_colors)
        patches = np.append(draws.permutation(4), draws.randint(0, 4, 2)).reshape(2, 3)
        label = patches.repeat(24, 0).repeat(24, 1).astype(np.uint8)
        noise = draws.randint(-20, 20, (*label.shape, 3))
        layouts.write_png(root / "images" / split / f"{number}.png", (COLORS[label] + noise).astype(np.uint8))
        layouts.write_png(root / "labels" / split / f"{number}.png", COLORS[label] if in_colors else label)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    root = folder / "garden"
    draw(root, "train", 8, in_colors=False)
    draw(root, "val", 2, in_colors=True)
    rows = [",".join([name, *map(str, color)]) for name, color in zip(CLASSES, COLORS)]
    (root / "classes.csv").write_text("\n".join(["name,r,g,b", *rows]))
    run = RunFolder(folder / "run", TINY.config())
    train.run(TINY, open_data(TINY, root), run)
    return run.path


def read(path, name: str) -> dict:
    return json.loads((path / name).read_text())


@pytest.mark.slow
def test_groups_come_from_the_networks_own_matrix_by_the_names_of_the_list(finished):
    record, results = read(finished, "groups.json"), read(finished, "results.json")
    with np.load(finished / "confusion.npz") as archive:
        found = groups.discover(metrics.normalize(archive["train"]))
    assert record["source"] == results["groups"]["source"] == "discovered" and found
    assert [group["classes"] for group in record["groups"]] == [list(group) for group in found]
    for group in record["groups"]:
        assert group["names"] == [CLASSES[k] for k in group["classes"]]


@pytest.mark.slow
def test_each_group_has_a_subnet_in_the_networks_that_are_left(finished):
    wanted = read(finished, "results.json")["groups"]["classes"]
    for phase in ("subnets_ce", "subnets_confusion_ce"):
        arrays, meta = checkpoint.load(finished / "checkpoints" / f"{phase}.npz")
        assert meta["network"]["groups"] == wanted
        assert meta["labels"]["classes"] == list(CLASSES)
        assert {name.split(".")[1] for name in arrays if name.startswith("parameter:subnets.")} == {
            str(m) for m in range(len(wanted))
        }


@pytest.mark.slow
def test_labels_in_colours_are_counted_like_indices(finished):
    """The split `val` is labelled by colours: every pixel of its two images is in each cell's matrix."""
    with np.load(finished / "confusion.npz") as archive:
        for cell in TINY.cells:
            assert archive[cell.key].sum() == 2 * 48 * 72


@pytest.mark.slow
def test_the_report_names_the_data_and_its_classes_and_no_numbers_of_the_paper(finished):
    run = report_folder.read(finished)
    # without drawing its pictures, which takes most of the time of `report.write`
    page = markdown.page(run.results["first_line"], run.results["title"], document.build(run))
    assert page.startswith("Data: garden, val: 2 images.")
    assert all(name in page for name in CLASSES) and "Cityscapes" not in page.split("## Training")[0]
    for cell in read(finished, "results.json")["cells"]:
        assert f"{100 * cell['mean_iou']:.2f}" in page and cell["paper_mean_iou"] is None


def test_profiles_differ_in_cost_alone():
    """What decides which question is asked - data, groups, cells - is the same in each."""
    asked = {
        (r.data, r.name, r.cells, *{p.groups for p in r.phases if p.trains == "subnets"})
        for r in PROFILES.values()
    }
    assert asked == {("custom", "own", four_cells(fused="all", continued=True), "discover")}
