"""The one reader of images: as they are stored, of any depth, whole or not at all, and none larger than the limit."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from layouts import chunk, make_custom, picture, write_jpeg, write_png, write_turned
from PIL import Image
from test_bad_input import sentence

from gluon_confseg.datasets import Custom, checks, jpeg, pictures, png
from gluon_confseg.errors import ConfSegError, DatasetError
from gluon_confseg.limits import MAX_PIXELS as LIMIT


def png_of(pixels: np.ndarray, before=(), after=(), data: bytes | None = None) -> bytes:
    """A PNG of (H, W, 3) uint8 or uint16. before, after: (kind, body) of chunks around the pixels; data: theirs."""
    height, width, _ = pixels.shape
    wide = pixels.astype(f">u{pixels.itemsize}")
    if data is None:
        data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in wide))
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), *before, (b"IDAT", data), *after, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in chunks)


def jpeg_of(pixels: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", **{"quality": 90, **options})
    return stream.getvalue()


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def exif(orientation) -> bytes:
    """EXIF with this one entry, a short."""
    return b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)


# --- turned photographs


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_read_as_it_is_stored_and_its_orientation_is_known(tmp_path, suffix, orientation):
    plain = write_turned(tmp_path / f"plain{suffix}", picture(0, 20, 30), 1)
    turned = write_turned(tmp_path / f"turned{suffix}", picture(0, 20, 30), orientation)
    read = pictures.read(turned)
    assert np.array_equal(read.pixels, pictures.read_image(plain))
    assert read.orientation == pictures.peek(turned).orientation == orientation
    assert len(read.notes()) == (orientation != 1)


@pytest.mark.parametrize("place", ["before", "after"])
def test_exif_of_a_png_counts_wherever_it_stands(tmp_path, place):
    path = written(tmp_path / "a.png", png_of(picture(0), **{place: [(b"eXIf", exif(8))]}))
    assert pictures.read(path).orientation == 8


@pytest.mark.parametrize(
    "block",
    [exif(0), exif(9), exif(65535), exif(6)[:15], b"", b"II*\0\xff\xff\xff\xff", b"\0" * 40, b"Exif\0\0MM"],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_wrong_orientation_or_damaged_exif_turns_nothing_and_is_no_fault(tmp_path, block):
    a = written(tmp_path / "a.png", png_of(picture(0), [(b"eXIf", block)]))
    b = written(tmp_path / "b.jpg", jpeg_of(picture(0), exif=b"Exif\0\0" + block))
    for path in (a, b):
        assert pictures.read(path).orientation == pictures.peek(path).orientation == 1
        assert pictures.read(path).notes() == []


def turned_data(root: Path, orientation: int, label=(8, 16), image=(8, 16)) -> Path:
    """Own data of one image with that orientation and a label of that size."""
    make_custom(root, count=1)
    (root / "images/train/photo 0.jpg").unlink()
    write_turned(root / "images/train/photo 0.jpg", picture(0, *image), orientation)
    write_png(root / "labels/train/photo 0.png", np.arange(np.prod(label), dtype=np.uint8).reshape(label) % 3)
    return root


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_check_names_every_image_that_viewers_turn(tmp_path, orientation, deep):
    root = turned_data(tmp_path, orientation)
    report = checks.check("custom", root, deep=deep)
    (finding,) = [finding for finding in report.findings if finding.kind != "unused"]
    assert (finding.kind, finding.severity) == ("orientation", "warning")
    assert finding.file.endswith("photo 0.jpg") and f"EXIF orientation {orientation}" in finding.message
    assert "Nothing is wrong" not in report.text()


@pytest.mark.parametrize("thorough", [False, True])
def test_whoever_uses_a_data_set_is_told_once_of_turned_images(tmp_path, thorough):
    dataset = Custom(turned_data(tmp_path, 3))
    with pytest.warns(RuntimeWarning, match="1 of 1 images have an EXIF orientation other than 1") as told:
        dataset.check(thorough)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Custom(make_custom(tmp_path / "plain")).check(thorough)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    "orientation, label, wanted",
    [
        (6, (16, 8), "fits the image as viewers turn it"),
        (8, (16, 8), "fits the image as viewers turn it"),
        (5, (16, 8), "mogrify -auto-orient"),
        (1, (16, 8), "turned by 90 degrees: turn it back"),
        (3, (16, 8), "turned by 90 degrees: turn it back"),
        (1, (8, 15), "resize it by nearest neighbour"),
        (6, (9, 16), "with EXIF orientation 6"),
    ],
)
def test_a_label_that_fits_after_turning_is_told_from_one_that_never_fits(
    tmp_path, orientation, label, wanted, deep
):
    root = turned_data(tmp_path, orientation, label)
    said = sentence(lambda: Custom(root)[0])
    assert wanted in said and ("or resize" in said) == (label != (16, 8))
    findings = checks.check("custom", root, deep=deep).findings
    assert [finding.message for finding in findings if finding.kind != "unused"] == [said]
    assert sentence(lambda: Custom(root).check()) == said


# --- more than 8 bits


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3), (20, 30, 4)])
@pytest.mark.parametrize("most", [65535, 4095, 1023])
def test_16_bits_are_divided_by_256_and_their_range_is_told(tmp_path, shape, most):
    values = np.random.RandomState(0).randint(0, most + 1, shape).astype(np.uint16)
    values.flat[0], values.flat[5] = 7, most
    assert cv2.imwrite(str(tmp_path / "deep.png"), values)
    read = pictures.read(tmp_path / "deep.png")
    expected = values[..., None].repeat(3, -1) if values.ndim == 2 else values[..., 2::-1]
    assert read.pixels.dtype == np.uint8 and np.array_equal(read.pixels, expected >> 8)
    assert (
        read.values == (expected.min(), expected.max()) and pictures.peek(tmp_path / "deep.png").depth == 16
    )
    assert f"out of {expected.min()} to {expected.max()}" in read.notes()[0]


def test_the_check_names_16_bit_images_once_with_the_range_seen(tmp_path):
    root = make_custom(tmp_path, count=3)
    for number in (1, 2):
        (root / f"images/train/photo {number}.jpg").unlink()
        values = np.full((8, 16, 3), 1000 * number, np.uint16)
        assert cv2.imwrite(str(root / f"images/train/photo {number}.png"), values)
    found = [finding for finding in checks.check("custom", root).findings if finding.kind == "depth"]
    assert len(found) == 1 and found[0].severity == "warning"
    assert (
        "2 images of train have 16 bits" in found[0].message
        and "photo 1.png is the first" in found[0].message
    )
    assert "3 to 7 out of 1000 to 2000" in found[0].message
    with pytest.warns(RuntimeWarning, match="2 of 3 images have 16 bits a channel"):
        Custom(root).check()


# --- what else is read, and what is refused


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".bmp", ".webp", ".gif", ".heic", ""])
def test_other_formats_are_refused_with_what_to_do(tmp_path, suffix):
    Image.fromarray(picture(0)).save(tmp_path / f"a{suffix}", "BMP")
    assert "convert the picture to one of them" in sentence(lambda: pictures.read(tmp_path / f"a{suffix}"))


def test_an_animation_is_refused(tmp_path):
    frames = [Image.fromarray(picture(number)) for number in range(3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    assert "animation" in sentence(lambda: pictures.read(tmp_path / "a.png"))


def test_a_jpeg_of_12_bits_is_named_for_what_it_is(tmp_path):
    content = bytearray(jpeg_of(picture(0)))
    content[content.index(b"\xff\xc0") + 4] = 12
    assert "12-bit" in sentence(lambda: pictures.read(written(tmp_path / "a.jpg", bytes(content))))


# --- bombs


def declared(content: bytes, width: int, height: int) -> bytes:
    """The same file with another size in its header."""
    if content.startswith(b"\x89PNG"):
        return content[:8] + chunk(b"IHDR", struct.pack(">II", width, height) + content[24:29]) + content[33:]
    at = next(content.index(mark) for mark in (b"\xff\xc0", b"\xff\xc2") if mark in content) + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


@pytest.fixture
def nothing_is_decoded(monkeypatch):
    def never(*_):
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr(png, "_decode", never)
    monkeypatch.setattr(jpeg, "_pixels", never)


@pytest.mark.parametrize("name", ["a.png", "baseline.jpg", "progressive.jpg"])
def test_a_huge_picture_is_refused_by_its_header(tmp_path, name, nothing_is_decoded, monkeypatch):
    content = png_of(picture(0)) if name == "a.png" else jpeg_of(picture(0), progressive=name[0] == "p")
    path = written(tmp_path / name, declared(content, 30_000, 30_000))
    for read in (pictures.peek, pictures.read):
        assert (
            f"is 30000 x 30000 pixels, more than the 134,217,728 that are read; cut it into parts, or set {LIMIT}"
            in (sentence(lambda read=read: read(path)))
        )
    if name == "a.png":
        assert LIMIT in sentence(lambda: png.read_label(path))


def test_the_limit_is_a_setting(tmp_path, monkeypatch):
    path = write_png(tmp_path / "a.png", picture(0, 20, 30))
    monkeypatch.setenv(LIMIT, "600")
    assert pictures.read_image(path).shape == (20, 30, 3)
    monkeypatch.setenv(LIMIT, "599")
    assert "more than the 599 that are read" in sentence(lambda: pictures.read(path))
    for wrong in ("0", "-5", "many", "1e9", "9" * 30):
        monkeypatch.setenv(LIMIT, wrong)
        with pytest.raises(ConfSegError, match=f"{LIMIT}={wrong}: is no number of pixels"):
            pictures.read(path)


@pytest.mark.parametrize("name", ["baseline.jpg", "progressive.jpg"])
def test_a_jpeg_with_too_few_bytes_for_its_size_is_refused_by_its_header(tmp_path, name, nothing_is_decoded):
    content = declared(jpeg_of(picture(0), progressive=name[0] == "p"), 11_000, 11_000)
    assert "too few for its size" in sentence(lambda: pictures.read(written(tmp_path / name, content)))


def test_an_image_of_another_size_than_its_label_is_not_decoded(tmp_path, monkeypatch):
    root = make_custom(tmp_path)
    write_png(root / "images/train/photo 0.png", picture(0, 80, 160))
    (root / "images/train/photo 0.jpg").unlink()
    monkeypatch.setattr(pictures, "read", lambda path: pytest.fail("the image was decoded"))
    assert "the label is 16 x 8 pixels, its image 160 x 80" in sentence(lambda: Custom(root)[0])


def inflated(megabytes: int) -> bytes:
    packer = zlib.compressobj()
    return b"".join(packer.compress(bytes(2**20)) for _ in range(megabytes)) + packer.flush()


@pytest.mark.parametrize(
    "before, data, words",
    [
        ([(b"zTXt", b"a\0\0" + inflated(40))], None, "save it without texts and colour profile"),
        ([(b"iTXt", b"a\0\1\0\0\0" + inflated(40))], None, "save it without texts and colour profile"),
        ([(b"iCCP", b"a\0\0" + inflated(40))], None, "save it without texts and colour profile"),
        ([], inflated(150), "holds more than the pixels of its size"),
    ],
    ids=["zTXt", "iTXt", "iCCP", "IDAT"],
)
def test_a_small_png_that_unpacks_to_much_is_refused(tmp_path, before, data, words, nothing_is_decoded):
    path = written(tmp_path / "a.png", png_of(picture(0), before, data=data))
    assert words in sentence(lambda: pictures.read(path))


def test_a_side_that_opencv_does_not_take_is_one_sentence(tmp_path):
    wide = png_of(np.zeros((1, 2**20 + 1, 3), np.uint8))
    assert "can't be decoded" in sentence(lambda: pictures.read(written(tmp_path / "a.png", wide)))


def test_a_file_of_gigabytes_is_not_read(tmp_path):
    path = written(tmp_path / "a.png", png_of(picture(0)))
    with open(path, "r+b") as stream:
        stream.truncate(2**31)  # takes no room on the disk
    assert "is larger than" in sentence(lambda: pictures.read(path))


def test_a_jpeg_of_thousands_of_scans_is_refused(tmp_path, nothing_is_decoded):
    content = jpeg_of(picture(0), progressive=True)
    last = content.rindex(b"\xff\xda")
    many = content[:last] + 200 * content[last:-2] + content[-2:]
    assert "scans, where photographs have up to" in sentence(
        lambda: pictures.read(written(tmp_path / "a.jpg", many))
    )


# --- JPEGs that were cut and closed

KINDS = {
    "baseline": {},
    "best": {"quality": 98, "subsampling": 0, "optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
    "restarts and progressive": {"restart_marker_blocks": 3, "progressive": True},
}


def scene(mode: str = "RGB") -> Image.Image:
    pixels = cv2.GaussianBlur(picture(0, 60, 83), (0, 0), 1)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize(
    "kind, mode", [("baseline", "CMYK"), *((kind, mode) for kind in KINDS for mode in ("RGB", "L"))]
)
@pytest.mark.filterwarnings("error")
def test_a_jpeg_that_was_cut_and_closed_by_an_end_marker_is_refused(tmp_path, kind, mode):
    path = tmp_path / "a.jpg"
    scene(mode).save(path, **KINDS[kind])
    whole = path.read_bytes()
    read = pictures.read_image(path)
    assert np.array_equal(read, np.array(Image.open(path).convert("RGB")))
    for more in (b"\0" * 100, whole, b"\xff\xd9 and a note \xff\xd9"):  # after the end, anything may follow
        path.write_bytes(whole + more)
        assert np.array_equal(pictures.read_image(path), read)
    last = whole.rindex(b"\xff\xda") + 14  # the pixels of the last scan
    in_last_block = (len(whole) - last) // 12  # of which a part may be missing without being told
    for end in np.linspace(last + 2, len(whole) - 6 - in_last_block, 12).astype(int):
        if (
            whole[end - 2] == 255 or whole[end - 1] == 255
        ):  # just after a restart: what came before is complete
            continue
        path.write_bytes(whole[:end] + b"\xff\xd9")
        assert "truncated" in sentence(lambda: pictures.read(path))


def test_a_jpeg_that_lost_a_whole_scan_of_a_colour_is_refused(tmp_path):
    content = jpeg_of(np.array(scene()), progressive=True, subsampling=0)
    first = content.index(b"\xff\xda")
    alone = bytearray(content[: content.index(b"\xff\xc4", first)] + b"\xff\xd9")
    alone[first + 2 : first + 12] = b"\0\x08\x01\x01\x00\0\0\x01"  # a scan of luminance alone
    assert "truncated" in sentence(lambda: pictures.read(written(tmp_path / "a.jpg", bytes(alone))))


def test_a_preview_inside_a_jpeg_does_not_count_as_its_end(tmp_path):
    preview = jpeg_of(picture(1))
    content = jpeg_of(np.array(scene()), exif=b"Exif\0\0" + preview)
    path = written(tmp_path / "a.jpg", content)
    assert pictures.read_image(path).shape == (60, 83, 3) and pictures.peek(path)[:2] == (83, 60)
    path.write_bytes(content[: len(content) // 2])
    for read in (pictures.read, pictures.peek):
        assert "truncated" in sentence(lambda read=read: read(path))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_pictures_are_pictures_or_one_sentence(tmp_path, seed):
    draw = np.random.RandomState(seed)
    for name, whole in {
        "a.png": png_of(picture(0), [(b"eXIf", exif(6))]),
        "a.jpg": jpeg_of(np.array(scene())),
    }.items():
        for _ in range(60):
            data = bytearray(whole)
            for at in draw.randint(0, len(data), draw.randint(1, 4)):
                data[at] = draw.randint(256)
            path = written(
                tmp_path / name, bytes(data[: draw.randint(1, len(data) + 1)] if draw.rand() < 0.3 else data)
            )
            try:
                read, header = pictures.read(path), pictures.peek(path)
                assert read.pixels.shape == (header.height, header.width, 3)
            except DatasetError as error:
                assert str(error).startswith(f"{path}: ")


@pytest.mark.parametrize("name, kind", [("a.png", "PNG"), ("a.jpg", "JPEG")])
def test_a_content_is_read_as_its_file_whatever_it_is_called(tmp_path, name, kind):
    image = picture(0, 9, 13)
    write = write_png if kind == "PNG" else write_jpeg
    data = write(tmp_path / name, image).read_bytes()
    assert pictures.kind_of(data) == kind and pictures.size_of("the picture", data) == (13, 9)
    assert np.array_equal(pictures.decode("the picture", data).pixels, pictures.read_image(tmp_path / name))


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_a_content_that_is_no_picture_is_named_by_what_it_is_called(data):
    for look in (pictures.size_of, pictures.decode):
        with pytest.raises(DatasetError, match="^the picture: "):
            look("the picture", data)
