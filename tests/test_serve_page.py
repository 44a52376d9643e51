"""The page of `confseg serve` in a headless Chromium: a picture is dropped, its classes are seen, the slider moves."""

from __future__ import annotations

import base64
import io
import json

import browser
import numpy as np
import pytest
from PIL import Image

pytest.importorskip(
    "fastapi", reason="the extra is not installed: make setup-serve, or pip install '.[serve]'"
)
if browser.find() is None:
    pytest.skip(
        "there is no Chromium here: `apt-get install chromium`, or name one by CONFSEG_CHROMIUM",
        allow_module_level=True,
    )

import serving  # noqa: E402

pytestmark = pytest.mark.slow
DROP = """(async () => {
  const bytes = Uint8Array.from(atob("%s"), (letter) => letter.charCodeAt(0)), dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], %s, { type: "image/png" }));
  const dropped = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
  document.getElementById("drop").dispatchEvent(dropped);
})()"""
SHOWN = """(() => { const of = (id) => document.getElementById(id);
  const seen = ['picture', 'overlay', 'confusion'].every((id) => of(id).naturalWidth > 0);
  return !of('error').hidden || (!of('result').hidden && of('status').textContent === '' && seen); })()"""


@pytest.fixture(scope="module")
def chromium():
    with browser.Browser() as started:
        yield started


@pytest.fixture(scope="module")
def port():
    with serving.running(pixels=200_000) as found:
        yield found


def scene() -> np.ndarray:
    """Left road with sidewalk close behind, right sky."""
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[:, :100] = (0, 200, 30)
    pixels[:, 100:] = (10, 0, 240)
    return pixels


def drop(page, content: bytes, name: str = "street.png") -> None:
    page.run(DROP % (base64.b64encode(content).decode(), json.dumps(name)))
    page.wait(SHOWN)


def text(page, name: str) -> str:
    return page.run(f"document.getElementById('{name}').innerText")


def colors(page) -> tuple:
    """What is seen in the middle of the left and of the right half of the picture."""
    x, y, width, height = page.run(
        "(() => { const box = document.getElementById('stage').getBoundingClientRect();"
        " return [box.x + scrollX, box.y + scrollY, box.width, box.height]; })()"
    )
    shot = page.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
    seen = np.array(Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB"), int)
    row = int(y + height / 2)
    return seen[row, int(x + width / 4)], seen[row, int(x + 3 * width / 4)]


def move(page, value: int) -> None:
    page.run(
        f"(() => {{ const mix = document.getElementById('mix'); mix.value = {value};"
        " mix.dispatchEvent(new Event('input')); })()"
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_a_dropped_picture_is_seen_with_its_classes_and_the_slider_uncovers_it(chromium, port, width, dark):
    page = chromium.open(f"http://127.0.0.1:{port}/", width=width, dark=dark)
    pixels = scene()
    drop(page, serving.png(pixels))
    labels = serving.StandIn.labels
    left, right = (0.4 * pixels[0, x] + 0.6 * labels.colors[pixels[0, x, 0]] for x in (0, -1))
    for seen, wanted in zip(colors(page), (left, right)):
        assert np.abs(seen - wanted).max() <= 2
    move(page, 0)
    for seen, wanted in zip(colors(page), (pixels[0, 0], pixels[0, -1])):
        assert np.abs(seen - wanted).max() <= 2
    move(page, 50)
    assert np.abs(colors(page)[0] - (left + pixels[0, 0]) / 2).max() <= 3
    assert page.run("document.documentElement.scrollWidth") <= width
    paper = page.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) < 200) is dark
    assert page.problems == []
    own = f"http://127.0.0.1:{port}/", "data:", "blob:"
    assert [address for address in page.requests if not address.startswith(own)] == []


def test_the_legend_and_the_confused_regions_are_those_of_the_picture(chromium, port):
    page = chromium.open(f"http://127.0.0.1:{port}/")
    drop(page, serving.png(scene()))
    cells = page.run("[...document.querySelectorAll('#legend td')].map((cell) => cell.innerText.trim())")
    assert cells == ["road", "", "50.0 %", "sky", "", "50.0 %"]
    assert text(page, "caption") == "street.png, 200 x 100 pixels"
    assert "50.0 % of the picture" in text(page, "confused-said")
    assert text(page, "regions").split("\n")[0].startswith("road or sidewalk")
    page.run("document.querySelector('#regions button').click()")
    box = "[...document.querySelector('#box rect').attributes].map((each) => `${each.name} ${each.value}`).join()"
    assert page.run(box).endswith("x 0,y 0,width 100,height 100")
    page.run("document.querySelector('[value=confusion]').click()")
    left, right = colors(page)
    assert left.max() - left.min() > 50 and right.max() - right.min() <= 2  # stripes, and gray elsewhere
    assert page.problems == []


def test_what_is_refused_is_said_and_the_next_picture_is_shown(chromium, port):
    page = chromium.open(f"http://127.0.0.1:{port}/")
    for content, said in (
        (b"hello", "neither PNG nor JPEG"),
        (serving.png(serving.picture(0, 500, 500)), "500 x 500"),
    ):
        drop(page, content)
        assert said in text(page, "error") and page.run("document.getElementById('result').hidden")
    drop(page, serving.png(scene()), "<b>&.png")
    assert page.run("document.getElementById('error').hidden")
    assert text(page, "caption") == "<b>&.png, 200 x 100 pixels"


def test_the_example_is_segmented_by_one_click(chromium, port):
    page = chromium.open(f"http://127.0.0.1:{port}/")
    page.run("document.getElementById('example').click()")
    page.wait(SHOWN)
    assert "512 x 256" in text(page, "caption")
    link = "document.getElementById('save-labels').href"
    ids = serving.decoded(base64.b64decode(page.run(link).partition(",")[2]))
    picture = serving.decoded(serving.ask(port, "GET", "/example.png")[2])
    assert np.array_equal(ids, picture[..., 2] % 19)


def test_everything_can_be_reached_by_keys(chromium, port):
    page = chromium.open(f"http://127.0.0.1:{port}/")
    drop(page, serving.png(scene()))
    reached = []
    for _ in range(12):
        page.press("Tab")
        reached.append(
            page.run(
                "document.activeElement.id || document.activeElement.name || document.activeElement.type"
            )
        )
    assert {"file", "layer", "mix", "save-labels"} <= set(reached)
