"""The report as one page that shows where the confused pixels are: from a comparison to HTML that needs nothing else.

What is counted and said is computed in `page_data` and `page_words`. The page's script, page/page.js, shows it, and
computes nothing but shares.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
import markupsafe

from gluon_confseg.datasets.base import in_threads
from gluon_confseg.files import write_bytes
from gluon_confseg.progress import Progress
from gluon_confseg.report import crops, page_data, page_words, spreadsheet
from gluon_confseg.report.comparison import Comparison
from gluon_confseg.report.crops import Crop
from gluon_confseg.report.tables import percent

PAGE = Path(__file__).parent / "page"
CROP_BYTES = 9_000_000  # of all crops in a page
MOST_CROPS, MOST_IMAGES = 320, 100  # that are cut, and that they are cut from
THREADS = 2


def write(compared: Comparison, folder: Path) -> Path:
    """Write FOLDER/report.html and FOLDER/results.csv; returns the path of the page."""
    write_bytes(folder / "results.csv", spreadsheet.table(compared).encode("utf-8"))
    path = folder / "report.html"
    write_bytes(path, page(compared, cut_crops(compared)).encode("utf-8"))
    return path


def page(compared: Comparison, shown: Sequence[Crop]) -> str:
    """The whole page, with these crops."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(percent=percent, points=lambda share: percent(share, sign=True), code=_code)
    environment.globals.update(at=page_words.link)
    style, script = ((PAGE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    # the page's policy lets this script run and no other, whatever names hold
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return environment.get_template("page.html.j2").render(
        style=style,
        script=script,
        script_digest=digest,
        data=page_data.data(compared, shown),
        **page_words.words(compared, shown),
    )


def _code(text: str) -> markupsafe.Markup:
    """Escaped text, with what stands between backticks as code."""
    return markupsafe.Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(markupsafe.escape(text))))


def cut_crops(compared: Comparison) -> list:
    """Crops of the images where the confusions are worst, the most telling first, as many as fit a page."""
    images, places = compared.pictures.images, compared.abreast
    arms = [compared.arms[place] for place in places if compared.arms[place].per_image is not None]
    if not len(images) or not arms:
        return []
    wanted = _affordable(crops.wanted([arm.per_image for arm in arms], [arm.costs for arm in arms], images))
    by_image = list(crops.by_image(wanted).items())

    def cut(number: int) -> list:
        image, at = by_image[number]
        photograph, truth, predictions = compared.pictures.read(image)
        answers = [predictions[place] for place in places]
        return list(crops.cut(wanted, at, photograph, truth, answers, len(compared.classes)))

    found = {}
    with Progress("cutting crops", len(by_image), "image", brief=True) as bar:
        for of_image in in_threads(cut, len(by_image), THREADS):
            found.update(of_image)
            bar.update(1)
    taken, room = [], CROP_BYTES
    for place in sorted(found):
        room -= found[place].bytes
        if room < 0:
            break
        taken.append(found[place])
    return taken


def _affordable(wanted: Sequence) -> list:
    kept, images = [], set()
    for one in wanted:
        if len(kept) < MOST_CROPS and (one.image in images or len(images) < MOST_IMAGES):
            images.add(one.image)
            kept.append(one)
    return kept
