"""`confseg predict`: from files, folders, patterns, lists, videos and standard input to PNGs of every kind."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import cv2
import layouts
import numpy as np
import pytest
import small
from PIL import Image
from test_segmenter import LABELS

from gluon_confseg import checkpoint, cli, engine, network, png_writer
from gluon_confseg.cli import pipeline, predict, segmenting, sources
from gluon_confseg.errors import DatasetError
from gluon_confseg.segmenter import Planes

COLORS = np.asarray(LABELS.colors)
GROUPS = ((0, 1, 2, 3), (1, 2, 3, 4))  # almost any two classes are of one


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Checkpoints with and without groups, and a folder of pictures; tests only read it."""
    folder = tmp_path_factory.mktemp("predict")
    for name, groups in (("net", GROUPS), ("alone", ())):
        built = small.shaken(groups=groups)
        meta = {"labels": LABELS.record(), "rule": "sum" if groups else "subnet0", "network": built.settings}
        checkpoint.save(folder / f"{name}.npz", checkpoint.network_arrays(built), meta)
    photos = folder / "photos"
    layouts.write_png(photos / "a b.c.png", layouts.picture(0, 40, 60))
    layouts.write_png(photos / "day" / "Über.PNG", layouts.picture(1, 40, 60))
    layouts.write_png(photos / "night" / "x.png", layouts.picture(2, 33, 47))
    layouts.write_jpeg(photos / "night" / "y.JPG", cv2.resize(layouts.picture(3, 6, 8), (80, 60)))
    (photos / "notes.txt").write_text("no picture")
    (photos / ".hidden.png").touch()
    cv2.imwrite(str(photos / "scan.tif"), layouts.picture(4))
    return folder


def read(path) -> np.ndarray:
    """As stored, RGB."""
    return np.array(Image.open(path))


# ---- what is written


def test_every_kind_shows_the_same_prediction(place, tmp_path, ask):
    photo, out = place / "photos" / "night" / "x.png", tmp_path / "out"
    kinds = ["ids", "raw", "colors", "overlay", "panels", "probabilities:far tree,CAR", "confusion"]
    found = ask("predict", place / "net.npz", photo, "--out", out, "--write", *kinds, "--close", "0.9")
    (about,), picture = found["images"], read(photo)
    ids = read(about["ids"])
    loaded = network.load(place / "net.npz")
    images = small.mx.nd.array(segmenting_input(picture, loaded.network))
    fusions = {"sum": engine.Fusion.of(loaded.network, "sum")}
    assert np.array_equal(ids, engine.predict(loaded.network, fusions, images)["sum"][0])
    assert about["name"] == "x" and found["failures"] == found["skipped"] == found["videos"] == []
    assert np.array_equal(read(about["raw"]), np.array([7, 8, 9, 20, 21])[ids])
    colours = COLORS[ids]
    assert np.array_equal(read(about["colours"]), colours)
    assert np.abs(read(about["overlay"]) - (0.4 * picture + 0.6 * colours)).max() <= 1
    assert np.array_equal(read(about["panels"]), np.concatenate([picture, colours], axis=1))
    tree, car = (read(about["probabilities"][name]) for name in ("far tree", "car"))
    assert about["probabilities"]["far tree"] == str(out / "probabilities" / "far tree" / "x.png")
    assert (tree[ids == 2] >= 255 / 5 - 1).all() and (car[ids == 3] >= 255 / 5 - 1).all()
    assert (tree.astype(int) + car <= 256).all()
    confusion, share = read(about["confusion"]), about["confused"]["share"]
    coloured = (confusion.max(2) != confusion.min(2)).mean()
    assert 0 < share == pytest.approx(coloured) == pytest.approx(found["confused"]["share"])
    named = [{LABELS.classes[k] for k in group} for group in GROUPS]
    pairs = about["confused"]["pairs"]
    assert all(any(set(pair["classes"]) <= group for group in named) for pair in pairs)
    assert sum(pair["share"] for pair in pairs) == pytest.approx(share) and found["close"] == 0.9
    assert json.loads((out / "ids" / "classes.json").read_text())["classes"] == list(LABELS.classes)


def segmenting_input(picture, built):
    from gluon_confseg.datasets import normalize

    return normalize(picture, **built.normalisation)[None]


def test_a_confusion_map_has_stripes_of_both_classes_where_they_are_close():
    classes, rivals = np.zeros((20, 30), np.uint8), np.full((20, 30), 255, np.uint8)
    rivals[:, :15] = 1
    planes = Planes(classes, {}, rivals, 1)
    picture = np.full((20, 30, 3), 200, np.uint8)
    whole = segmenting.DRAWN["confusion"][0](picture, planes, LABELS, slice(0, 20))
    assert (whole[:, 15:] == 80).all()
    striped = whole[:, :15].reshape(-1, 3)
    shown = {tuple(color) for color in striped.tolist()}
    assert shown == {tuple(COLORS[0].tolist()), tuple(COLORS[1].tolist())}
    parts = [
        segmenting.DRAWN["confusion"][0](picture, planes, LABELS, slice(r, r + 5)) for r in (0, 5, 10, 15)
    ]
    assert np.array_equal(np.concatenate(parts), whole)
    found = segmenting.confused(planes, LABELS)
    assert found == {"share": 0.5, "pairs": [{"classes": ["sky", "road"], "share": 0.5}]}


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 1, 3), (130, 7, 3), (129, 300, 1)])
def test_a_png_that_is_written_in_bands_is_read_by_other_programs(size):
    pixels = np.random.RandomState(0).randint(0, 256, size).astype(np.uint8)
    bands = [pixels[first : first + 64] for first in range(0, size[0], 64)]
    content = b"".join(png_writer.parts(*size, bands))
    wanted = pixels[:, :, 0] if size[2] == 1 else pixels
    picture = Image.open(io.BytesIO(content))
    picture.verify()
    assert np.array_equal(np.array(Image.open(io.BytesIO(content))), wanted)
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(decoded[:, :, ::-1] if size[2] == 3 else decoded, wanted)


def test_probabilities_and_confusion_need_what_the_network_has(place, tmp_path, refuse):
    words = "predict", place / "alone.npz", place / "photos" / "night" / "x.png", "--out", tmp_path, "--write"
    assert "alone.npz: has no groups of confused classes" in refuse(*words, "confusion")
    assert "there is no class 'cars'; did you mean car?" in refuse(*words, "probabilities:cars")


@pytest.mark.parametrize(
    "word, wanted",
    [
        ("probabilities", "name the classes"),
        ("ids:car", "only probabilities take classes"),
        ("idz", "did you mean ids?"),
    ],
)
def test_a_wrong_kind_is_a_usage_error(word, wanted, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["predict", "x.npz", "a.png", "--out", "o", "--write", word])
    assert stopped.value.code == 2 and wanted in capsys.readouterr().err


def test_the_kinds_are_those_of_the_package():
    assert predict.KINDS == segmenting.KINDS


@pytest.mark.parametrize(
    "text, wanted", [("2G", 2 << 30), ("800m", 800 << 20), ("1.5GiB", 3 << 29), ("4096", 4096)]
)
def test_memory_is_said_in_bytes_with_a_suffix(text, wanted):
    assert predict.size(text) == wanted


@pytest.mark.parametrize("text", ["", "G", "-1G", "0", "2X", "2 G x"])
def test_what_is_no_amount_of_memory_is_refused(text):
    with pytest.raises(predict.argparse.ArgumentTypeError, match="write 2G or 800M"):
        predict.size(text)


# ---- what is read


def names(*words, lists=None) -> list:
    return [source.name for source in sources.find([str(word) for word in words], lists)[0]]


def test_a_folder_keeps_its_structure_and_its_names(place, tmp_path, ask):
    found = ask("predict", place / "net.npz", place / "photos", "--out", tmp_path, "--write", "ids")
    wanted = ["a b.c", "day/Über", "night/x", "night/y"]
    assert [about["name"] for about in found["images"]] == wanted
    assert [about["ids"] for about in found["images"]] == [
        str(tmp_path / "ids" / f"{name}.png") for name in wanted
    ]
    assert all(Path(about["ids"]).is_file() for about in found["images"])
    assert len(found["notes"]) == 1 and "1 pictures of formats that are not read" in found["notes"][0]


def test_patterns_lists_and_files_may_be_mixed(place, tmp_path, monkeypatch):
    photos = place / "photos"
    assert names(photos / "night" / "x.png", photos / "a b.c.png") == ["x", "a b.c"]
    assert names(f"{photos}/*/*.[pP][nN][gG]") == ["day/Über", "night/x"]
    assert names(f"{photos}/**/*.png") == ["a b.c", "night/x"]
    listing = tmp_path / "list.txt"
    listing.write_text(f"{photos / 'night' / 'x.png'}\n\n{photos / 'day' / 'Über.PNG'}\n", encoding="utf-8")
    assert names(f"@{listing}") == names(lists=[listing]) == ["x", "Über"]
    layouts.write_png(tmp_path / "one" / "x.png", layouts.picture(0))
    layouts.write_png(tmp_path / "two" / "x.png", layouts.picture(0))
    monkeypatch.chdir(tmp_path)
    listing.write_text("one/x.png\ntwo/x.png\n")  # told apart by their folders
    assert names("@list.txt") == ["one/x", "two/x"]


def test_what_names_nothing_or_one_result_twice_is_said_before_the_work(place, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("\n\n")
    photos = place / "photos"
    for words, wanted in (
        ([f"{photos}/*.bmp"], "no picture fits this pattern"),
        ([tmp_path / "empty"], "holds no PNG or JPEG picture and no video"),
        ([f"@{tmp_path / 'list.txt'}"], "names no picture"),
        ([photos / "night" / "x.png", f"{photos / 'night'}/x.*"], "would get the same file"),
        ([photos / "gone.png"], "gone.png: is not there"),
    ):
        with pytest.raises(DatasetError, match=wanted):
            names(*words)


def test_a_picture_comes_by_standard_input(place, tmp_path, ask, capsys, monkeypatch):
    def give(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(content)))

    photo = place / "photos" / "night" / "y.JPG"
    give(photo.read_bytes())
    (about,) = ask("predict", place / "net.npz", "-", "--out", tmp_path)["images"]
    (file,) = ask("predict", place / "net.npz", photo, "--out", tmp_path)["images"]
    assert about["image"] == "standard input" and Path(about["ids"]).name == "stdin.png"
    assert np.array_equal(read(about["ids"]), read(file["ids"]))
    for content, wanted in (
        (b"", "is empty"),
        (b"text", "is neither PNG nor JPEG"),
        (photo.read_bytes()[:-30], "truncated"),
    ):
        give(content)
        assert cli.main(["predict", str(place / "net.npz"), "-", "--out", str(tmp_path)]) == 1
        said = capsys.readouterr().err.splitlines()[-1]
        assert "standard input: " in said and wanted in said


def test_a_video_gives_numbered_frames_and_a_video_of_overlays(place, tmp_path, ask, call):
    film = tmp_path / "my film.avi"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter_fourcc(*"MJPG"), 12, (64, 48))
    for number in range(5):
        writer.write(cv2.resize(layouts.picture(number, 6, 8), (64, 48)))
    writer.release()
    photo = place / "photos" / "night" / "x.png"
    words = "predict", place / "net.npz", film, photo, "--out", tmp_path / "out"
    found = ask(*words)
    assert [about["name"] for about in found["images"][:-1]] == [f"my film/{n:06d}" for n in range(1, 6)]
    (video,) = found["videos"]
    assert video["frames"] == 5 and video["notes"] == [] and Path(video["overlay"]).suffix == ".mp4"
    shown = cv2.VideoCapture(video["overlay"])
    assert shown.get(cv2.CAP_PROP_FPS) == pytest.approx(12)
    for about in found["images"][:-1]:
        there, frame = shown.read()
        assert there and frame.shape == (48, 64, 3)
        assert (
            np.abs(frame[:, :, ::-1].astype(int) - read(about["overlay"])).mean() < 12
        )  # the codec loses some
    assert not shown.read()[0] and not list((tmp_path / "out").rglob("*.part*"))
    assert "my film.avi: 5 frames: " in call(*words, "--write", "ids")


def test_files_that_are_no_videos_are_left_out_like_bad_pictures(place, tmp_path, capsys):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.avi").touch()
    files = (
        tmp_path / "text.mp4",
        place / "photos" / "night" / "x.png",
        tmp_path / "empty.avi",
        tmp_path / "gone.mkv",
    )
    words = ["predict", place / "net.npz", *files, "--out", tmp_path / "out", "--json"]
    assert cli.main([str(word) for word in words]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert [Path(each["image"]).name for each in found["failures"]] == ["text.mp4", "empty.avi", "gone.mkv"]
    assert len(found["images"]) == 1 and "3 of 4 pictures can't be read" in err.splitlines()[-1]


def test_pictures_whose_files_are_there_are_skipped_if_wanted(place, tmp_path, ask):
    words = "predict", place / "net.npz", place / "photos", "--out", tmp_path, "--skip-existing"
    assert len(ask(*words)["images"]) == 4
    (tmp_path / "overlay" / "night" / "x.png").unlink()
    again = ask(*words)
    assert [about["name"] for about in again["images"]] == ["night/x"] and len(again["skipped"]) == 3


def test_a_picture_for_which_memory_is_too_small_is_left_out(place, tmp_path, capsys):
    words = ["predict", place / "net.npz", place / "photos", "--out", tmp_path, "--memory", "10M"]
    assert cli.main([str(word) for word in words]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert (
        "4 of 4 pictures can't be segmented" in said
        and "of memory at least, where --memory allows 10M" in said
    )


# ---- the pipeline


def jobs(room, count, held=0):
    for number in range(count):
        room.take(number, held, 0)
        yield number, number


def test_results_come_in_the_order_of_the_jobs_and_reading_goes_ahead():
    room, read_until, seen = pipeline.Room(), [0], []

    def reading():
        for number, job in jobs(room, 8):
            read_until[0] = number
            yield number, job

    def compute(job):
        if job == 0:  # the next two wait in the queue, and one in the hand
            until = time.monotonic() + 10
            while read_until[0] < pipeline.AHEAD and time.monotonic() < until:
                time.sleep(0.001)
        seen.append((job, read_until[0]))
        return -job

    def write(job, result):
        time.sleep(0.002 * (job % 3))
        return job, result

    assert list(pipeline.run(reading(), compute, write, room)) == [(n, -n) for n in range(8)]
    assert seen[0][1] >= pipeline.AHEAD


def test_jobs_wait_until_there_is_room():
    room, inside, most, lock = pipeline.Room(250), [0], [0], threading.Lock()

    def reading():
        for number in range(6):
            room.take(number, 100, 50)
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            yield number, number

    def write(job, result):
        with lock:
            inside[0] -= 1
        return job

    assert list(pipeline.run(reading(), lambda job: None, write, room)) == list(range(6))
    assert most[0] <= 2
    huge = pipeline.Room(10)  # larger than all: alone
    assert list(pipeline.run(jobs(huge, 3, 100), lambda job: None, lambda job, result: job, huge)) == [
        0,
        1,
        2,
    ]


@pytest.mark.parametrize("where", ["read", "compute", "write"])
def test_an_error_anywhere_is_raised_and_ends_the_threads(where):
    def fail(at):
        if at == where:
            raise OSError(28, "full")

    def reading(room):
        for number, job in jobs(room, 50):
            if number == 3:
                fail("read")
            yield number, job

    before, room = threading.active_count(), pipeline.Room()
    with pytest.raises(OSError, match="full"):
        for _ in pipeline.run(
            reading(room), lambda job: fail("compute"), lambda job, result: fail("write"), room
        ):
            pass
    assert threading.active_count() == before


@pytest.mark.slow
def test_a_signal_stops_it_and_leaves_whole_files(place, tmp_path):
    film = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter_fourcc(*"MJPG"), 12, (320, 240))
    for number in range(3000):
        writer.write(np.full((240, 320, 3), number % 256, np.uint8))
    writer.release()
    words = [
        sys.executable,
        "-m",
        "gluon_confseg",
        "predict",
        place / "net.npz",
        film,
        "--out",
        tmp_path / "out",
    ]
    running = subprocess.Popen([str(word) for word in words], stderr=subprocess.PIPE, text=True)
    first, until = tmp_path / "out" / "ids" / "film" / "000003.png", time.monotonic() + 300
    while not first.exists() and time.monotonic() < until and running.poll() is None:
        time.sleep(0.05)
    running.terminate()
    _, err = running.communicate(timeout=120)
    assert running.returncode == 143 and "stopped by SIGTERM" in err
    written = sorted((tmp_path / "out").rglob("*.png"))
    assert len(written) >= 3 and all(read(file).shape[:2] == (240, 320) for file in written)
    assert not list((tmp_path / "out").rglob("*.part*")) and not (tmp_path / "out/overlay/film.mp4").exists()


def test_a_frame_of_a_video_does_not_replace_a_picture(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("a.mp4", "a/000001.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"000001\.jpg: may get the same file as a frame of .*a\.mp4"):
        sources.find([str(tmp_path)])
    (tmp_path / "a.mp4").rename(tmp_path / "c.mp4")
    assert len(sources.find([str(tmp_path)])[0]) == 3
