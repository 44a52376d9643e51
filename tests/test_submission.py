"""Archives for test servers: what is written passes the check, and the check finds what a server would refuse."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import cv2
import layouts
import numpy as np
import pytest
import small
from PIL import Image

from gluon_confseg import checkpoint, cli, engine, network, runtime, submission
from gluon_confseg.datasets import VOC, Cityscapes, png
from gluon_confseg.errors import DatasetError, RunError
from gluon_confseg.labels import CAMVID, LABEL_SPACES
from gluon_confseg.labels import VOC as VOC_SPACE
from gluon_confseg.submission import SERVERS

SIZE = (8, 16)
NAMES = {
    "cityscapes": [f"berlin_{n:06d}_000019" for n in range(3)],
    "voc": ["2008_000006", "2008_000011", "2010_003"],
}
ENDS = {"cityscapes": "archive.zip", "voc": "archive.tgz"}
BOTH = pytest.mark.parametrize("kind", list(SERVERS))


def expected(kind: str) -> dict:
    return {name: SIZE for name in NAMES[kind]}


def train_ids(kind: str, seed: int = 0) -> np.ndarray:
    """All classes, so that raw ids and train ids differ."""
    classes = LABEL_SPACES[kind].num_classes
    return (
        np.random.RandomState(seed)
        .permutation(np.arange(SIZE[0] * SIZE[1]) % classes)
        .reshape(SIZE)
        .astype(np.uint8)
    )


def predictions(kind: str, folder: Path) -> submission.Predictions:
    made = submission.Predictions(folder, SERVERS[kind], {"by": "a test"})
    for seed, name in enumerate(NAMES[kind]):
        made.add(name, train_ids(kind, seed))
    return made


def members(path: Path) -> dict:
    """Name -> content, as unzip or tar would give them."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return {info.filename: archive.read(info) for info in archive.infolist()}
    with tarfile.open(path) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}


def pack(path: Path, contents) -> Path:
    """An archive of (name, content) pairs, made by anybody."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in contents:
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz") as archive:
        for name, content in contents:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def good(tmp_path):
    """Function from a kind of server to the members of an archive that it takes."""

    def write(kind: str) -> dict:
        path = tmp_path / "good" / ENDS[kind]
        submission.write(path, predictions(kind, tmp_path / f"{kind}-predictions"), expected(kind))
        return members(path)

    return write


def refused(kind: str, tmp_path: Path, contents) -> str:
    """What the check says of an archive of these (name, content) pairs."""
    path = pack(tmp_path / ENDS[kind], contents)
    with pytest.raises((DatasetError, RunError)) as caught:
        submission.check(path, SERVERS[kind], expected(kind))
    said = str(caught.value)
    assert said.startswith(f"{path}: ") and "\n" not in said
    return said


# ---- what is written


def test_cityscapes_gets_raw_ids_flat_in_a_zip(good):
    found = good("cityscapes")
    assert list(found) == [f"{name}.png" for name in NAMES["cityscapes"]]
    for seed, content in enumerate(found.values()):
        picture = Image.open(io.BytesIO(content))  # what the official scorer reads with
        assert picture.mode == "L" and picture.size == SIZE[::-1]
        wanted = np.array(layouts.RAW_IDS)[train_ids("cityscapes", seed)]
        np.testing.assert_array_equal(np.array(picture), wanted)


def test_voc_gets_indexed_pngs_with_its_colours_in_its_folders(good):
    found = good("voc")
    folder = "results/VOC2012/Segmentation/comp6_test_cls"
    assert list(found) == [f"{folder}/{name}.png" for name in NAMES["voc"]]
    for seed, content in enumerate(found.values()):
        picture = Image.open(io.BytesIO(content))
        assert picture.mode == "P" and picture.size == SIZE[::-1]
        np.testing.assert_array_equal(np.array(picture), train_ids("voc", seed))
        np.testing.assert_array_equal(
            np.array(picture.convert("RGB")), VOC_SPACE.colorize(train_ids("voc", seed))
        )


@BOTH
def test_the_same_predictions_give_the_same_bytes(kind, tmp_path):
    first, second = tmp_path / "a" / ENDS[kind], tmp_path / "b" / ENDS[kind]
    for path in (first, second):
        submission.write(path, predictions(kind, path.parent / "predictions"), expected(kind))
    assert first.read_bytes() == second.read_bytes()


@BOTH
def test_what_is_faulty_is_not_written_and_the_old_archive_stays(kind, tmp_path):
    made = predictions(kind, tmp_path / "predictions")
    path = tmp_path / ENDS[kind]
    path.write_bytes(b"old")
    cv2.imwrite(str(made.path(NAMES[kind][1])), np.full(SIZE, 77, np.uint8))
    with pytest.raises(DatasetError, match=f"{NAMES[kind][1]}.png: value 77 at row 0, column 0"):
        submission.write(path, made, expected(kind))
    assert path.read_bytes() == b"old" and not list(tmp_path.glob(".*"))


def test_the_official_scorer_finds_each_prediction(tmp_path, good):
    scorer = pytest.importorskip(
        "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling",
        reason="the official scorer is not installed: pip install cityscapesScripts",
    )
    for name, content in good("cityscapes").items():
        (tmp_path / "unzipped").mkdir(exist_ok=True)
        (tmp_path / "unzipped" / name).write_bytes(content)
    arguments = scorer.CArgs()
    arguments.predictionPath, arguments.predictionWalk = str(tmp_path / "unzipped"), None
    for name in NAMES["cityscapes"]:
        found = scorer.getPrediction(arguments, f"gtFine/test/berlin/{name}_gtFine_labelIds.png")
        assert Path(found).name == f"{name}.png"


# ---- what is refused


@BOTH
def test_a_missing_file_is_named(kind, tmp_path, good):
    contents = good(kind)
    lost = list(contents)[1]
    assert f"{lost} is missing" in refused(kind, tmp_path, [(n, c) for n, c in contents.items() if n != lost])


@BOTH
def test_a_strange_file_and_a_second_one_are_named(kind, tmp_path, good):
    contents, name = good(kind), NAMES[kind][0]
    first = SERVERS[kind].member(name)
    other = f"more/{name}.png" if kind == "cityscapes" else first.replace("comp6", "comp5")
    strange = first.replace(name, "paris_000000_000019")
    extra = [(other, contents[first]), (strange, contents[first]), ("._x", b""), ("readme.txt", b"")]
    said = refused(kind, tmp_path, [*contents.items(), *extra])
    assert f"{other} and {first} are of the same image" in said
    assert all(f"{member} is of no image of the split" in said for member in (strange, "._x", "readme.txt"))


@BOTH
def test_all_faults_of_files_are_named_at_once(kind, tmp_path, good):
    contents = good(kind)
    names = list(contents)
    contents[names[0]] = contents[names[0]][:-20]
    ids = LABEL_SPACES[kind].to_stored(train_ids(kind))[:, :-1]
    encoded = png.encode_indexed(ids, submission.servers.PALETTE)
    contents[names[1]] = encoded
    contents[names[2]] = cv2.imencode(".png", layouts.picture(0))[1].tobytes()
    said = refused(kind, tmp_path, contents.items())
    assert f"{names[0]}: is truncated" in said
    assert f"{names[1]}: is 15 x 8 pixels, its image 16 x 8" in said
    assert f"{names[2]}: its pixels are RGB colours" in said


@pytest.mark.parametrize("kind, value", [("cityscapes", 34), ("voc", 21), ("cityscapes", 255), ("voc", 255)])
def test_a_value_that_is_no_id_is_named(kind, value, tmp_path, good):
    contents = good(kind)
    ids = LABEL_SPACES[kind].to_stored(train_ids(kind))
    ids[3, 5] = value
    name = list(contents)[2]
    contents[name] = png.encode_indexed(ids, submission.servers.PALETTE)
    assert f"{name}: value {value} at row 3, column 5 is no" in refused(kind, tmp_path, contents.items())


def test_train_ids_for_cityscapes_are_found_out(tmp_path, good):
    contents = {
        name: cv2.imencode(".png", train_ids("cityscapes", seed))[1].tobytes()
        for seed, name in enumerate(good("cityscapes"))
    }
    assert "look like train ids; give raw ids" in refused("cityscapes", tmp_path, contents.items())


def test_a_palette_of_other_colours_or_none_is_refused_for_voc(tmp_path, good):
    contents = good("voc")
    names = list(contents)
    picture = Image.fromarray(VOC_SPACE.colorize(train_ids("voc"))).convert(
        "P", palette=Image.Palette.ADAPTIVE
    )
    for name, image in zip(names, (picture, Image.fromarray(train_ids("voc")))):
        stream = io.BytesIO()
        image.save(stream, "PNG")
        contents[name] = stream.getvalue()
    said = refused("voc", tmp_path, contents.items())
    assert (
        f"{names[0]}: its palette is not that of PASCAL VOC" in said and f"{names[1]}: has no palette" in said
    )


@BOTH
def test_what_is_no_archive_or_cut_short_is_said(kind, tmp_path, good):
    path = pack(tmp_path / ENDS[kind], good(kind).items())
    whole = path.read_bytes()
    for content in (b"", b"nothing of the kind", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises((RunError, DatasetError), match=ENDS[kind]):
            submission.check(path, SERVERS[kind], expected(kind))
    with pytest.raises(RunError, match="there is no such archive"):
        submission.check(tmp_path / "nowhere.zip", SERVERS[kind], expected(kind))


@pytest.mark.parametrize(
    "packing", ["ZIP_STORED", "ZIP_DEFLATED", "ZIP_BZIP2", "ZIP_LZMA", "gz", "bz2", "xz"]
)
def test_flipped_bytes_in_any_packing_are_one_error_of_ours_or_harmless(packing, tmp_path, good):
    path, contents = tmp_path / "archive.zip", good("cityscapes")
    if packing.startswith("ZIP"):
        with zipfile.ZipFile(path, "w", getattr(zipfile, packing)) as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, f"w:{packing}") as archive:
            for name, content in contents.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    whole, refused, draws = path.read_bytes(), 0, np.random.RandomState(0)
    submission.check(path, SERVERS["cityscapes"], expected("cityscapes"))
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[draws.randint(len(whole))] ^= draws.randint(1, 256)
        path.write_bytes(damaged)
        try:
            submission.check(path, SERVERS["cityscapes"], expected("cityscapes"))
        except (RunError, DatasetError) as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 30


def test_other_data_sets_have_no_server():
    with pytest.raises(RunError, match="CamVid has no test server; `confseg predict"):
        submission.server_of(CAMVID)


# ---- which images


def test_images_come_from_the_data_set_or_from_a_list(tmp_path):
    root = layouts.make_cityscapes(tmp_path / "city", "test", cities=("berlin",), per_city=2)
    names = submission.of_dataset(Cityscapes(root, "test"))
    assert names == {f"berlin_{n:06d}_000019": (8, 16) for n in range(2)}
    lines = [f"leftImg8bit/test/berlin/{name}_leftImg8bit.png" for name in names]
    found = submission.of_list(layouts.write_list(tmp_path / "list.txt", lines), SERVERS["cityscapes"])
    assert found == {name: (1024, 2048) for name in names}
    home = layouts.make_voc(tmp_path / "VOC2012")
    assert submission.of_dataset(VOC(tmp_path, "val")) == {f"a{n}": layouts.voc_size(n) for n in (3, 4)}
    listed = home / "ImageSets" / "Segmentation" / "val.txt"
    assert submission.of_list(listed, SERVERS["voc"]) == {"a3": None, "a4": None}
    with pytest.raises(DatasetError, match="holds no names"):
        submission.of_list(layouts.write_list(tmp_path / "empty.txt", []), SERVERS["voc"])


# ---- going on


@BOTH
def test_only_what_is_missing_or_damaged_is_predicted_again(kind, tmp_path):
    made = predictions(kind, tmp_path)
    assert made.missing(expected(kind)) == []
    first, _, last = NAMES[kind]
    made.path(first).write_bytes(made.path(first).read_bytes()[:-20])
    made.path(last).unlink()
    again = submission.Predictions(tmp_path, SERVERS[kind], {"by": "a test"})
    assert again.missing(expected(kind)) == [0, 2]
    with pytest.raises(RunError, match="holds 2 predictions of another checkpoint"):
        submission.Predictions(tmp_path, SERVERS[kind], {"by": "another"})


# ---- the command line


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Cityscapes and VOC layouts, and a checkpoint for each."""
    folder = tmp_path_factory.mktemp("submit")
    layouts.make_cityscapes(folder / "cityscapes", "test", cities=("berlin", "mainz"))
    home = layouts.make_voc(folder / "voc" / "VOC2012")
    layouts.write_list(home / "ImageSets" / "Segmentation" / "test.txt", ["b0", "b1", "b2"])
    for kind in SERVERS:
        runtime.seed(1)
        built = network.build(
            "resnet18", LABEL_SPACES[kind].num_classes, output_stride=16, head=small.HEAD, last_stage=3
        )
        meta = {"labels": kind, "rule": "subnet0", "network": built.settings}
        checkpoint.save(folder / f"{kind}.npz", checkpoint.network_arrays(built), meta)
    return folder


@pytest.fixture
def call(capsys):
    """Run `confseg submit` -> (exit status, stdout or the error)."""

    def run(*words) -> tuple:
        status = cli.main(["submit", *map(str, words)])
        out, err = capsys.readouterr()
        return status, out if status == 0 else err.splitlines()[-1]

    return run


@BOTH
def test_what_submit_writes_it_takes(kind, place, tmp_path, call):
    out, root = tmp_path / ENDS[kind], place / kind
    status, shown = call(place / f"{kind}.npz", "--root", root, "--out", out, "--flip")
    count = {"cityscapes": 4, "voc": 3}[kind]
    assert status == 0 and f"Archive: {out}, {count} files, checked" in shown
    assert f"It is not complete: test has {SERVERS[kind].counts['test']:,} images" in shown
    status, shown = call("--check", out, "--data", kind, "--root", root, "--json")
    found = json.loads(shown)
    assert status == 0 and found["files"] == count and not found["ready"]
    assert len(members(out)) == count and not list(tmp_path.glob("*.part"))


def test_a_stopped_submit_goes_on_and_ends_with_the_same_archive(place, tmp_path, call, monkeypatch):
    words = [place / "cityscapes.npz", "--root", place / "cityscapes"]
    assert call(*words, "--out", tmp_path / "once.zip")[0] == 0
    evaluate = engine.evaluate

    def stopped(*arguments, **options):
        for number, result in enumerate(evaluate(*arguments, **options)):
            if number == 2:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(engine, "evaluate", stopped)
    out = tmp_path / "twice.zip"
    assert call(*words, "--out", out)[0] == 130 and not out.exists()
    monkeypatch.setattr(engine, "evaluate", evaluate)
    status, shown = call(*words, "--out", out, "--json")
    assert status == 0 and json.loads(shown)["kept"] == 2
    assert out.read_bytes() == (tmp_path / "once.zip").read_bytes()
    status, said = call(*words, "--out", out, "--flip")
    assert status == 1 and "predictions of another checkpoint, or made in another way" in said


def test_what_can_not_be_submitted_is_said(place, tmp_path, call, monkeypatch):
    monkeypatch.delenv("CITYSCAPES_ROOT", raising=False)
    voc = [place / "voc.npz", "--root", place / "voc"]
    assert "ends in .tgz or .tar.gz" in call(*voc, "--out", tmp_path / "x.zip")[1]
    assert "classes of PASCAL VOC" in call(*voc, "--data", "cityscapes", "--out", tmp_path / "x.tgz")[1]
    good = pack(tmp_path / "y.zip", [])
    assert "CamVid has no test server" in call("--check", good, "--data", "camvid")[1]
    assert "give --root" in call("--check", good, "--data", "cityscapes")[1]
    names = layouts.write_list(tmp_path / "list.txt", ["berlin_000000_000019"])
    said = call("--check", good, "--data", "cityscapes", "--names", names)[1]
    assert said == f"confseg: {good}: the server would refuse it: berlin_000000_000019.png is missing"


@pytest.mark.parametrize(
    "content", [b"a_1_2.png\rb_3_4\r", b"\xef\xbb\xbfa_1_2\r\nb_3_4", "a_1_2\r\nb_3_4\r\n".encode("utf-16")]
)
def test_a_list_of_names_has_any_line_ends_and_byte_order_mark(tmp_path, content):
    (tmp_path / "list.txt").write_bytes(content)
    assert list(submission.of_list(tmp_path / "list.txt", SERVERS["cityscapes"])) == ["a_1_2", "b_3_4"]


@pytest.mark.parametrize(
    "content, words", [(b"\xff\xff", "UTF-8"), (b"a\n\0", "line 2"), (b"\r\r", "no names")]
)
def test_a_list_of_names_that_is_none_is_said(tmp_path, content, words):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(DatasetError, match=words):
        submission.of_list(tmp_path / "list.txt", SERVERS["cityscapes"])


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["x.npz"],
        ["--out", "x.zip"],
        ["x.npz", "--out", "x.zip", "--check", "y.zip"],
        ["--check", "y.zip"],
        ["--check", "y.zip", "--data", "voc", "--flip"],
        ["--check", "y.zip", "--data", "voc", "--crf"],
        ["--check", "y.zip", "--data", "voc", "--root", "a", "--names", "b"],
    ],
)
def test_a_wrong_command_line_is_a_usage_error(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["submit", *words])
    assert stopped.value.code == 2 and "usage: confseg" in capsys.readouterr().err
