"""The command line: its numbers are those of the package, and whatever goes wrong is one sentence."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import types
from pathlib import Path

import cv2
import fake_run
import layouts
import numpy as np
import pytest
import small

from gluon_confseg import checkpoint, cli, datasets, doctor, engine, fusion, groups, metrics, network, runtime
from gluon_confseg.cli import data, folders, options
from gluon_confseg.cli.evaluation import measure
from gluon_confseg.datasets import batches, pictures
from gluon_confseg.errors import DatasetError
from gluon_confseg.inference import PLAIN
from gluon_confseg.labels import CAMVID

PLANTED = ((0, 3), (8, 9, 10))  # groups of the network, and confusions of the matrix
HEIGHT, WIDTH = 40, 56


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A CamVid layout, and checkpoints of a network with and without subnets; tests only read it."""
    folder = tmp_path_factory.mktemp("cli")
    layouts.make_camvid(folder / "camvid", "val", 3, HEIGHT, WIDTH)
    for name, found in (("with", PLANTED), ("without", ())):
        runtime.seed(1)
        built = network.build(
            "resnet18",
            11,
            groups=found,
            output_stride=16,
            subnets="residual",
            head=small.HEAD,
            subnet_heads=small.SUBNET_HEAD,
        )
        # new residual heads correct nothing, and all rules would agree
        for parameter in built.subnets.collect_params().values():
            parameter.set_data(parameter.data() + 0.05)
        meta = {"labels": "camvid", "rule": "sum" if found else "subnet0", "network": built.settings}
        checkpoint.save(folder / f"{name}.npz", checkpoint.network_arrays(built), meta)
    return folder


def confused(classes: int = 19, found=PLANTED, seed: int = 0) -> np.ndarray:
    """(K, K) counts, some outside the diagonal everywhere, many inside the groups."""
    counts = np.random.RandomState(seed).randint(0, 20, (classes, classes)) + 2000 * np.eye(
        classes, dtype=np.int64
    )
    for group in found:
        counts[np.ix_(group, group)] += 300
    return counts.astype(np.int64)


# ---- the parser


def test_help_and_version_need_nothing_that_is_slow_to_import():
    block = "import sys\nfor name in ('mxnet', 'numpy', 'cv2', 'matplotlib'): sys.modules[name] = None\n"
    code = block + "from gluon_confseg.cli import main\nmain(sys.argv[1:])"
    shown = subprocess.run(
        [sys.executable, "-c", code, "--help"], check=True, capture_output=True, text=True
    ).stdout
    assert all(
        verb in shown
        for verb in (
            "doctor",
            "check",
            "evaluate",
            "confusion",
            "groups",
            "predict",
            "submit",
            "export",
            "report",
        )
    )
    for verb in cli.VERBS:
        subprocess.run([sys.executable, "-c", code, verb, "--help"], check=True, stdout=subprocess.DEVNULL)
    shown = subprocess.run(
        [sys.executable, "-c", code, "--version"], check=True, capture_output=True, text=True
    )
    assert re.fullmatch(r"confseg \d+\.\d+\.\d+\n", shown.stdout)


def test_the_module_is_the_command(tmp_path):
    command = [sys.executable, "-m", "gluon_confseg", "report", str(tmp_path / "nowhere")]
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode == 1 and failed.stdout == ""
    assert re.fullmatch(r"confseg: .*nowhere: there is no such run folder; .*\n", failed.stderr)


def test_the_choices_are_those_of_the_package():
    assert options.RULES == (*fusion.RULES, fusion.LEARNED)
    assert options.KINDS_OF_IDS == folders.KINDS
    assert set(options.DATASETS) <= set(datasets.DATASETS)
    assert set(data.VARIABLES) == set(options.DATASETS)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["train"],
        ["evaluate"],
        ["evaluate", "x.npz", "--rule", "vote"],
        ["evaluate", "x.npz", "--dat", "camvid"],
        ["check", "kitti", "x"],
        ["confusion"],
        ["confusion", "x.npz", "--labels", "y"],
        ["confusion", "x.npz", "--predictions", "y", "--data", "camvid"],
        ["confusion", "--predictions", "y", "--labels", "z"],
        ["confusion", "--predictions", "y", "--labels", "z", "--root", "w", "--data", "camvid"],
        ["confusion", "x.npz", "--worst", "-1"],
        ["confusion", "x.npz", "--picture", "x.jpg"],
        ["groups", "x.npz", "--threshold", "nan"],
        ["groups", "x.npz", "--max-groups", "0"],
        ["predict", "x.npz", "y.png"],
    ],
)
def test_a_wrong_command_line_is_a_usage_error(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2 and "usage: confseg" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, wanted",
    [
        (["evalute", "x.npz"], "there is no verb evalute; did you mean evaluate?"),
        (["fly"], "there is no verb fly; choose one of demo, train, launch, doctor, check"),
        (["evaluate", "x.npz", "--flipp"], "there is no option --flipp; did you mean --flip?"),
        (["predict", "x.npz", "y.png", "--outt=z"], "there is no option --outt; did you mean --out?"),
        (["doctor", "--xyz"], "there is no option --xyz; --help lists those there are"),
        (
            ["evaluate", "x.npz", "--rule", "prodct"],
            "argument --rule: there is no 'prodct'; did you mean product?",
        ),
        (["evaluate", "x.npz", "--data", "CamVid"], "there is no 'CamVid'; did you mean camvid?"),
        (
            ["check", "citiscapes", "x"],
            "argument DATASET: there is no 'citiscapes'; did you mean cityscapes?",
        ),
        (["check", "kitti", "x"], "there is no 'kitti'; choose one of cityscapes, voc, camvid, custom"),
    ],
)
def test_a_misspelt_word_gets_the_nearest_one(words, wanted, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2 and wanted in capsys.readouterr().err.splitlines()[-1]


def test_what_stands_after_two_dashes_is_no_option():
    assert cli.parser().parse_args(["report", "--", "--run"]).run == [Path("--run")]
    assert cli.parser().parse_args(["evaluate", "x", "--overlap", "0.5", "--window", "1", "2"]).window == [
        1,
        2,
    ]


# ---- evaluate


def test_evaluate_counts_what_predict_segments(place, tmp_path, call, ask):
    """Two ways to one matrix: evaluate; and predict, its PNGs compared with the labels."""
    camvid = place / "camvid"
    scored = ask("evaluate", place / "with.npz", "--root", camvid, "--out", tmp_path / "evaluated.npz")
    call("predict", place / "with.npz", *sorted((camvid / "val").glob("*.png")), "--out", tmp_path)
    words = ["confusion", "--predictions", tmp_path / "ids", "--data", "camvid"]
    assert ask(*words, "--root", camvid)["confusion"] == scored["confusion"]
    assert ask(*words, "--labels", camvid / "valannot")["confusion"] == scored["confusion"]
    assert ask("confusion", tmp_path / "evaluated.npz")["confusion"] == scored["confusion"]
    labels = np.stack([mask for _, mask in datasets.CamVid(camvid, "val")])
    assert np.sum(scored["confusion"]) == (labels != 255).sum() > 0


def test_evaluate_counts_what_predict_segments_of_turned_and_16_bit_images(
    place, tmp_path, call, ask, capsys
):
    root = layouts.make_camvid(tmp_path / "camvid", "val", 4, HEIGHT, WIDTH)
    files = [root / "val" / f"frame_{number:03d}.png" for number in range(4)]
    for number, orientation in enumerate((1, 3, 6)):
        layouts.write_turned(files[number], layouts.picture(number, HEIGHT, WIDTH), orientation)
    assert cv2.imwrite(str(files[3]), layouts.picture(3, HEIGHT, WIDTH).astype(np.uint16) * 200)
    words = [str(word) for word in ("evaluate", place / "without.npz", "--root", root, "--json")]
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert "2 of 4 images have an EXIF orientation" in err and "1 of 4 images have 16 bits" in err
    shown = call("predict", place / "without.npz", *files, "--out", tmp_path / "out")
    assert shown.count("Note: ") == 3
    words = "confusion", "--predictions", tmp_path / "out/ids", "--root", root, "--data", "camvid"
    assert ask(*words)["confusion"] == json.loads(out)["confusion"]


def test_few_images_are_evaluated_without_processes_that_read_ahead(place, ask, monkeypatch):
    def refused(*_):
        raise AssertionError("a process was started")

    monkeypatch.setattr(batches, "Workers", refused)
    assert ask("evaluate", place / "without.npz", "--root", place / "camvid")["data"]["images"] == 3
    monkeypatch.setattr(engine, "FEW", 2)
    with pytest.raises(AssertionError, match="a process was started"):
        measure(network.load(place / "without.npz"), datasets.CamVid(place / "camvid", "val"), PLAIN)


def test_overlap_is_that_of_the_windows(place, ask, refuse):
    words = ["evaluate", place / "without.npz", "--root", place / "camvid", "--overlap", "0.75"]
    assert refuse(*words) == "confseg: --overlap is of windows: give --window H W as well"
    close = ask(*words, "--window", 32, 32)
    assert close["inference"]["overlap"] == 0.75
    apart = ask(*words[:-1], "0", "--window", 32, 32)
    assert apart["inference"]["overlap"] == 0 and close["confusion"] != apart["confusion"]
    assert ask(*words[:-2], "--window", 32, 32)["inference"]["overlap"] == 1 / 3


def test_evaluate_says_data_network_rule_and_who_was_left_out(place, call):
    shown = call(
        "evaluate", place / "with.npz", "--data", "camvid", "--root", place / "camvid", "--rule", "product"
    )
    assert shown.startswith("Data: CamVid photographs, val: 3 images.\n")
    assert "resnet18, output stride 16, subnets 0-2 (residual), fused by rule product" in shown
    assert "official Cityscapes scorer" in shown and "Left out: none. Only predicted, so 0: none." in shown
    assert all(name in shown for name in CAMVID.classes)


def test_the_rule_decides_what_is_counted(place, ask):
    words = ["evaluate", place / "with.npz", "--root", place / "camvid"]
    trained, alone = ask(*words), ask(*words, "--rule", "subnet0")
    assert (trained["network"]["rule"], alone["network"]["rule"]) == ("sum", "subnet0")
    assert trained["confusion"] != alone["confusion"]


def test_the_folder_may_come_from_the_environment(place, ask, refuse, monkeypatch):
    monkeypatch.delenv("CAMVID_ROOT", raising=False)
    assert "--root" in refuse("evaluate", place / "with.npz")
    monkeypatch.setenv("CAMVID_ROT", str(place / "camvid"))
    said = refuse("evaluate", place / "with.npz")
    assert said.endswith("no folder of camvid was given; CAMVID_ROT is set; did you mean CAMVID_ROOT?")
    monkeypatch.setenv("CAMVID_ROOT", str(place / "none"))
    said = refuse("evaluate", place / "with.npz")
    assert "there is no such folder" in said and "in CAMVID_ROOT" in said
    said = refuse("evaluate", place / "with.npz", "--root", place / "with.npz")
    assert "is a file, not a folder" in said and "with --root" in said
    monkeypatch.setenv("CAMVID_ROOT", str(place / "camvid"))
    assert ask("evaluate", place / "without.npz")["data"]["images"] == 3


def test_a_network_is_not_scored_on_other_classes(place, tmp_path, refuse):
    layouts.make_cityscapes(tmp_path)
    said = refuse("evaluate", place / "with.npz", "--data", "cityscapes", "--root", tmp_path)
    assert "11 classes of CamVid" in said and "--data camvid" in said


def test_a_rule_for_subnets_needs_subnets(place, refuse):
    said = refuse("evaluate", place / "without.npz", "--root", place / "camvid", "--rule", "sum")
    assert "without.npz" in said and "subnet 0 alone" in said


def test_the_learned_rule_needs_a_network_that_learned_it(place, refuse):
    said = refuse("evaluate", place / "with.npz", "--root", place / "camvid", "--rule", "learned")
    assert "with.npz" in said and "no learned fusion" in said


def test_what_can_not_be_written_is_said_before_the_work(place, tmp_path, refuse):
    (tmp_path / "file").touch()
    missing = place / "no-such-checkpoint.npz"  # the place is looked at first
    assert "can't be made" in refuse("evaluate", missing, "--out", tmp_path / "file" / "matrix.npz")
    assert "is a folder" in refuse("evaluate", missing, "--out", tmp_path)
    assert "is a folder" in refuse("export", missing, "--out", tmp_path)
    assert "can't be made" in refuse("predict", missing, tmp_path / "file", "--out", tmp_path / "file")


def test_damaged_data_are_all_named_and_nothing_is_written(place, tmp_path, refuse):
    root = layouts.make_camvid(tmp_path / "camvid", "val", 3, HEIGHT, WIDTH)
    for number in (0, 2):
        file = root / "valannot" / f"frame_{number:03d}.png"
        file.write_bytes(file.read_bytes()[:-20])
    said = refuse("evaluate", place / "with.npz", "--root", root, "--out", tmp_path / "matrix.npz")
    assert "frame_000.png" in said and "frame_002.png" in said and not (tmp_path / "matrix.npz").exists()


def test_a_run_folder_in_place_of_a_checkpoint_lists_its_checkpoints(place, tmp_path, refuse):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "base.npz").write_bytes((place / "without.npz").read_bytes())
    assert str(tmp_path / "checkpoints" / "base.npz") in refuse("evaluate", tmp_path)


def test_a_flipped_bit_stops_every_verb_that_loads_a_network(place, tmp_path, refuse):
    content = bytearray((place / "with.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "flipped.npz").write_bytes(content)
    picture = layouts.write_png(tmp_path / "picture.png", layouts.picture(0))
    for words in (
        ["evaluate"],
        ["predict", picture, "--out", tmp_path / "p"],
        ["export", "--out", tmp_path / "net"],
    ):
        assert "flipped.npz: is damaged" in refuse(words[0], tmp_path / "flipped.npz", *words[1:])


# ---- confusion: files


def test_a_run_folder_shows_its_first_arm_and_names_the_others(tmp_path, call, ask):
    run = fake_run.make(tmp_path / "run")
    shown = call("confusion", run)
    assert (
        shown.startswith("Data: invented for a test")
        and "subnet0_ce of " in shown
        and "subnets_confusion_ce" in shown
    )
    assert "wall & <fence>" in shown
    for key, counts in fake_run.invented_counts().items():
        assert ask("confusion", run, "--key", key)["confusion"] == counts.tolist()
    assert ask("confusion", run)["mean_iou"] == pytest.approx(
        metrics.mean_of_defined(metrics.iou(fake_run.invented_counts()["subnet0_ce"]))
    )


def test_absent_classes_are_left_out_and_predicted_ones_count_zero(tmp_path, ask, call):
    counts = confused(11)
    counts[[2, 4]], counts[:, 2], counts[0, 4] = 0, 0, 7
    np.savez(tmp_path / "m.npz", counts=counts)
    found = ask("confusion", tmp_path / "m.npz", "--data", "camvid")
    assert found["left_out"] == ["Pole"] and found["only_predicted"] == ["Pavement"]
    assert found["classes"][2]["iou"] is None and found["classes"][4]["iou"] == 0
    defined = [klass["iou"] for klass in found["classes"] if klass["iou"] is not None]
    assert len(defined) == 10 and found["mean_iou"] == pytest.approx(np.mean(defined))
    shown = call("confusion", tmp_path / "m.npz", "--data", "camvid")
    assert "Left out: Pole. Only predicted, so 0: Pavement." in shown


def test_the_worst_pairs_are_those_whose_mending_gains_most(tmp_path, ask):
    counts = confused(5, [(1, 2)])
    misses = np.array([0, 0, 400, 0, 0])
    np.savez(tmp_path / "m.npz", counts=counts, misses=misses)
    worst = ask("confusion", tmp_path / "m.npz", "--worst", 100)["worst"]
    assert len(worst) == (counts > 0).sum() - 5 + 1
    before = metrics.mean_of_defined(metrics.iou(counts, misses))
    for pair in worst:
        i = int(pair["truth"].split()[1])
        mended, missed = counts.copy(), misses.copy()
        if pair["prediction"] == "(no class)":
            mended[i, i], missed[i] = mended[i, i] + missed[i], 0
        else:
            j = int(pair["prediction"].split()[1])
            mended[i, i], mended[i, j] = mended[i, i] + mended[i, j], 0
            assert pair["pixels"] == counts[i, j]
        assert pair["cost"] == pytest.approx(
            metrics.mean_of_defined(metrics.iou(mended, missed)) - before, abs=1e-12
        )
        assert pair["share"] == pytest.approx(pair["pixels"] / (counts.sum(1) + misses)[i])
    assert [pair["cost"] for pair in worst] == sorted((pair["cost"] for pair in worst), reverse=True)


def test_pairs_can_be_asked_for_by_class(tmp_path, ask, refuse):
    np.savez(tmp_path / "m.npz", counts=confused(11))
    words = ["confusion", tmp_path / "m.npz", "--data", "camvid", "--class"]
    worst = ask(*words, "Car")["worst"]
    assert len(worst) == 10 and all("Car" in (pair["truth"], pair["prediction"]) for pair in worst)
    assert "no class 'Lorry'" in refuse(*words, "Lorry") and "Bicyclist" in refuse(*words, "Lorry")
    assert refuse(*words, "Bycyclist").endswith("there is no class 'Bycyclist'; did you mean Bicyclist?")


def test_files_that_hold_no_matrix_say_what_to_give(place, tmp_path, refuse):
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "shares.npz", shares=np.full((3, 3), 1 / 3))
    np.savez(tmp_path / "pickled.npz", counts=np.array([[{}]], dtype=object))
    np.savez(tmp_path / "m.npz", counts=confused(11))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "m.npz").read_bytes()[:-30])
    for file in ("text.npz", "shares.npz", "pickled.npz", "cut.npz", "nothing.npz"):
        said = refuse("confusion", tmp_path / file)
        assert file in said and "confseg evaluate --out" in said
    assert "holds no confusion matrix" in refuse("groups", place / "with.npz")
    assert "choose one of counts" in refuse("groups", tmp_path / "m.npz", "--key", "other")
    assert "not the 19 of Cityscapes" in refuse("groups", tmp_path / "m.npz", "--data", "cityscapes")


# ---- groups


def test_planted_groups_are_found_and_compared_with_the_papers(tmp_path, ask, call):
    paper = [group.classes for group in groups.PAPER["cityscapes"]]
    np.savez(tmp_path / "m.npz", train=confused(19, paper), other=confused(19, [(0, 1)]))
    words = ["groups", tmp_path / "m.npz", "--data", "cityscapes"]
    found = ask(*words, "--picture", tmp_path / "g.png")
    assert sorted(tuple(group["classes"]) for group in found["groups"]) == sorted(paper)
    assert [group["overlap"] for group in found["paper"]] == [1.0, 1.0, 1.0]
    assert found["threshold"] == groups.automatic_threshold(metrics.normalize(confused(19, paper)))
    assert cv2.imread(str(tmp_path / "g.png")) is not None
    assert len(ask(*words, "--max-groups", 1)["groups"]) == 1
    assert ask(*words, "--key", "other", "--threshold", "0.1")["groups"][0]["names"] == ["road", "sidewalk"]
    assert "car, truck, bus, train" in call(*words)


def test_above_every_edge_there_is_no_group(tmp_path, ask, call):
    np.savez(tmp_path / "m.npz", counts=confused(11))
    words = ["groups", tmp_path / "m.npz", "--data", "camvid", "--threshold", "2"]
    found = ask(*words)
    assert found["groups"] == [] and found["threshold"] == 2 and found["paper"] == []
    assert found["in_no_group"] == list(CAMVID.classes) and "No groups" in call(*words)


# ---- predict, export, report, doctor


def test_pictures_of_any_size_get_ids_and_an_overlay_of_that_size(place, tmp_path, ask):
    layouts.write_png(tmp_path / "a.png", layouts.picture(0, 33, 47))
    cv2.imwrite(str(tmp_path / "b.jpg"), layouts.picture(1, 20, 70))
    found = ask(
        "predict", place / "with.npz", tmp_path / "a.png", tmp_path / "b.jpg", "--out", tmp_path / "out"
    )
    for about, size in zip(found["images"], [(33, 47), (20, 70)]):
        classes = cv2.imread(about["ids"], cv2.IMREAD_UNCHANGED)
        assert (
            classes.shape == size and classes.max() < 11 and cv2.imread(about["overlay"]).shape == (*size, 3)
        )
        assert about["shares"] == pytest.approx(np.bincount(classes.ravel(), minlength=11) / classes.size)
    picture, classes = cv2.imread(str(tmp_path / "a.png")), cv2.imread(found["images"][0]["ids"], 0)
    blended = 0.4 * picture + 0.6 * CAMVID.colorize(classes)[:, :, ::-1]
    assert np.abs(cv2.imread(found["images"][0]["overlay"]) - blended).max() <= 1


def test_predict_goes_on_after_a_picture_that_it_can_not_read(place, tmp_path, capsys):
    first = layouts.write_png(tmp_path / "first.png", layouts.picture(0))
    layouts.write_png(tmp_path / "last.png", layouts.picture(1))
    (tmp_path / "cut.png").write_bytes(first.read_bytes()[:-30])
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "scan.tif").write_bytes(cv2.imencode(".tif", layouts.picture(0))[1].tobytes())
    (tmp_path / "folder.png").mkdir()
    reasons = {
        "cut.png": "is truncated",
        "text.jpg": "is no JPEG file",
        "empty.jpg": "is empty",
        "scan.tif": "convert the picture",
        "folder.png": "it is a folder",
        "gone.png": "No such file",
    }
    files = [tmp_path / name for name in ("first.png", *reasons, "last.png")]
    words = ["predict", place / "without.npz", *files, "--out", tmp_path / "out", "--json"]
    assert cli.main([str(word) for word in words]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert [Path(about["image"]).name for about in found["images"]] == ["first.png", "last.png"]
    assert all(Path(about[kind]).is_file() for about in found["images"] for kind in ("ids", "overlay"))
    assert {Path(each["image"]).name: each["reason"] for each in found["failures"]}.keys() == reasons.keys()
    for each, (name, wanted) in zip(found["failures"], reasons.items()):
        assert each["reason"].startswith(str(tmp_path / name)) and wanted in each["reason"]
    assert "6 of 8 pictures can't be read" in err.splitlines()[-1]
    assert cli.main([str(word) for word in words[:-1]]) == 1
    shown = capsys.readouterr().out
    assert shown.count("Not read: ") == 6 and "last.png (16 x 8)" in shown
    words.remove(tmp_path / "gone.png")  # five are all named by the failure
    assert cli.main([str(word) for word in words[:-1]]) == 1
    out, err = capsys.readouterr()
    assert "Not read: " not in out and all(name in err for name in reasons if name != "gone.png")


def test_pictures_that_are_not_there_or_would_get_one_name_are_said_before_the_work(place, tmp_path, refuse):
    whole = layouts.write_png(tmp_path / "whole.png", layouts.picture(0))
    layouts.write_png(tmp_path / "twin" / "whole.png", layouts.picture(0))

    def said(*names) -> str:
        return refuse(
            "predict", place / "without.npz", *(tmp_path / n for n in names), "--out", tmp_path / "out"
        )

    (tmp_path / "empty").mkdir()
    assert "nothing.png: is not there" in said("nothing.png")
    assert "empty: is a folder that holds no PNG or JPEG picture" in said("nothing.png", "empty")
    assert "would get the same file" in said("whole.png", "twin/whole.png")
    assert whole.exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_picture_that_viewers_turn_is_segmented_as_it_is_stored_and_this_is_said(
    place, tmp_path, call, orientation
):
    layouts.write_turned(tmp_path / "phone.jpg", layouts.picture(0, 40, 60), orientation)
    layouts.write_png(tmp_path / "plain.png", layouts.picture(0, 40, 60))
    files = tmp_path / "phone.jpg", tmp_path / "plain.png"
    shown = call("predict", place / "without.npz", *files, "--out", tmp_path / "out")
    assert shown.count("Note: ") == 1 and f"EXIF orientation is {orientation}" in shown
    assert cv2.imread(str(tmp_path / "out/ids/phone.png"), 0).shape == (40, 60)


@pytest.fixture(scope="module")
def alone():
    """symbols/run.py as a module."""
    code = Path(__file__).resolve().parent.parent / "symbols" / "run.py"
    spec = importlib.util.spec_from_file_location("symbols_run", code)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_gpu_that_is_not_there_and_a_checkpoint_are_told_from_damage(alone, monkeypatch, tmp_path):
    def said(*words) -> str:
        with pytest.raises(SystemExit) as stopped:
            alone.main([str(word) for word in words])
        return stopped.value.code

    assert "export it first with: confseg export" in said("runs/x/checkpoints/base.npz", "a.png")
    assert said(tmp_path / "net-symbol.json", "a.png").startswith(f"{tmp_path / 'net.json'}: no such file")
    features = types.SimpleNamespace(is_enabled=lambda name: False)
    monkeypatch.setattr(alone.mx.runtime, "Features", lambda: features)
    assert "CPU wheel; leave --gpu out" in said(tmp_path / "net", "a.png", "--gpu")


def test_a_matrix_in_place_of_a_checkpoint_is_told_from_damage(tmp_path, refuse):
    np.savez(tmp_path / "m.npz", counts=confused(11))
    for words in (["evaluate"], ["export", "--out", tmp_path / "net"]):
        said = refuse(words[0], tmp_path / "m.npz", *words[1:])
        assert "m.npz: holds confusion matrices, no network; see them with `confseg confusion" in said


def test_the_exported_files_segment_a_picture_as_predict_does(place, alone, tmp_path, ask):
    written = ask("export", place / "with.npz", "--out", tmp_path / "net")
    assert written["difference"] <= 1e-5 and len(written["checked_sizes"]) == 3
    assert {Path(f).name: s for f, s in written["files"].items()} == {
        file.name: file.stat().st_size for file in tmp_path.glob("net*")
    }
    layouts.write_png(tmp_path / "a.png", layouts.picture(0, 50, 71))
    expected = ask("predict", place / "with.npz", tmp_path / "a.png", "--out", tmp_path)["images"][0]["ids"]
    about, graph = alone.load(str(tmp_path / "net"), alone.mx.cpu())
    classes = alone.segment(graph, layouts.picture(0, 50, 71), about)
    assert np.mean(classes != cv2.imread(expected, 0)) < 0.001  # ties may fall either way


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_script_reads_turned_pictures_as_predict_does(alone, tmp_path, capsys, suffix, orientation):
    file = layouts.write_turned(tmp_path / f"a{suffix}", layouts.picture(0, 50, 71), orientation)
    assert np.array_equal(alone.read(str(file))[:, :, ::-1], pictures.read_image(file))
    assert ("EXIF orientation" in capsys.readouterr().out) == (orientation != 1)


def test_the_script_reads_and_refuses_what_predict_does(alone, tmp_path):
    deep = np.random.RandomState(0).randint(0, 65536, (20, 30, 4)).astype(np.uint16)
    assert cv2.imwrite(str(tmp_path / "deep.png"), deep)
    assert cv2.imwrite(str(tmp_path / "gray.jpg"), layouts.picture(0, 20, 30)[:, :, 0])
    for name in ("deep.png", "gray.jpg"):
        read = pictures.read_image(tmp_path / name)
        assert np.array_equal(alone.read(str(tmp_path / name))[:, :, ::-1], read)
    whole = (tmp_path / "gray.jpg").read_bytes()
    refused = {"cut.jpg": whole[:-40], "a.bmp": whole, "a.png": whole, "empty.png": b""}
    for name, content in refused.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SystemExit, match=f"{name}: can't be read as a picture"):
            alone.read(str(tmp_path / name))
        with pytest.raises(DatasetError, match=name):
            pictures.read(tmp_path / name)


def test_report_writes_the_page_again_and_shows_the_table(tmp_path, call, refuse):
    counts = {"subnet0_ce": fake_run.invented_counts()["subnet0_ce"]}
    run = fake_run.make(tmp_path / "run", counts)
    shown, page = call("report", run), run / "report.html"
    assert page.exists() and shown.rstrip().endswith(f"Report: {page}")
    assert f"{100 * metrics.mean_of_defined(metrics.iou(counts['subnet0_ce'])):.2f}" in shown
    (run / "results.json").unlink()
    assert "results.json" in refuse("report", run)


def test_doctor_fails_where_something_is_wrong(monkeypatch, capsys, ask):
    fine, wrong = doctor.Finding("a", "1"), doctor.Finding("b", "no", problem="b is missing: bring it.")
    monkeypatch.setattr(doctor, "examine", lambda: [fine])
    assert ask("doctor") == {"usable": True, "findings": [fine._asdict()]}
    monkeypatch.setattr(doctor, "examine", lambda: [fine, wrong])
    assert cli.main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [fine.line(), wrong.line()] and err.startswith("confseg: 1 of 2 findings")
