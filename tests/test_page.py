"""The report's page in a headless Chromium: its numbers, crops, links, keys and colours."""

from __future__ import annotations

import json
import re

import browser
import cv2
import fake_run
import layouts
import numpy as np
import pytest

from gluon_confseg import metrics
from gluon_confseg.report import comparison, explorer

if browser.find() is None:
    pytest.skip(
        "there is no Chromium here: `apt-get install chromium`, or name one by CONFSEG_CHROMIUM",
        allow_module_level=True,
    )

pytestmark = pytest.mark.slow
CLASSES = ["road", "wall & <fence>", "a/b #c", "bus", "tram", "</script>"]
NO_CLASS = "(no class)"


@pytest.fixture(scope="module")
def chromium():
    with browser.Browser() as started:
        yield started


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The page of a run with names that need care; its images are those of `fake_run.scenes(6)`."""
    folder = fake_run.make(tmp_path_factory.mktemp("runs") / "run", classes=CLASSES, images=6)
    explorer.write(comparison.of_runs([folder]), folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory, request):
    """The page of two folders of predictions, one of which leaves pixels out, and the images that it is of."""
    from gluon_confseg import cli

    place, shown = tmp_path_factory.mktemp("folders"), []
    for number, (photograph, truth, answers) in enumerate(fake_run.scenes(4, seed=1)):
        truth, photograph, *answers = (
            cv2.resize(array, None, fx=10, fy=8, interpolation=cv2.INTER_NEAREST)
            for array in (truth, photograph, answers["subnet0_ce"], answers["subnets_confusion_ce"])
        )
        answers[0][40:60, 100:300] = 255
        shown.append((truth, answers))
        for name, content in (
            ("gt", truth),
            ("one", answers[0]),
            ("two", answers[1]),
            ("photos", photograph),
        ):
            (place / name).mkdir(exist_ok=True)
            cv2.imwrite(str(place / name / f"scene{number}.png"), content)
    rows = [f'"{name}",{40 * k},{255 - 40 * k},90' for k, name in enumerate(CLASSES)]
    (place / "classes.csv").write_text("\n".join(["name,r,g,b", *rows]) + "\n")
    words = ["--labels", "gt", "--predictions", "one", "--predictions", "two", "--images", "photos"]
    words = [str(place / word) if not word.startswith("--") else word for word in words]
    assert (
        cli.main(["report", *words, "--classes", str(place / "classes.csv"), "--out", str(place / "out")])
        == 0
    )
    return place / "out", shown


def address(folder) -> str:
    return (folder / "report.html").resolve().as_uri()


def shares_of(counts: np.ndarray) -> list:
    """Shares of truth, shares of prediction, pixels: the three measures of a (K, K or K + 1) matrix."""
    columns = counts.sum(0)
    return [
        metrics.normalize(counts),
        np.divide(counts, columns, out=np.zeros(counts.shape), where=columns > 0),
        counts,
    ]


CELLS = """[...document.querySelectorAll('.matrix td[data-i]')].map(
    (cell) => [+cell.dataset.i, +cell.dataset.j, cell.getAttribute('aria-label'), cell.textContent])"""
SELECT = """(() => { const select = document.querySelectorAll('#matrix-controls select')[%d];
    select.value = '%s'; select.dispatchEvent(new Event('change')); })()"""


def check_cells(page, counts: np.ndarray, names: list) -> None:
    """Every cell of the matrix that is shown says what brute force says."""
    truth, prediction, pixels = shares_of(counts)
    cells = page.run(CELLS)
    assert len(cells) == counts.size
    for i, j, label, _ in cells:
        said = re.search(r": ([\d,]+) pixels, ([\d.]+) % of .*?, ([\d.]+) % of all predicted ", label)
        assert int(said.group(1).replace(",", "")) == pixels[i, j], label
        assert (
            said.group(2) == f"{100 * truth[i, j]:.2f}" and said.group(3) == f"{100 * prediction[i, j]:.2f}"
        )
        assert label.startswith(f"{names[i]}, right" if i == j else f"{names[i]} taken for {names[j]}:")


# ---- numbers


def test_every_cell_of_every_arm_equals_the_runs_matrices(chromium, run):
    page = chromium.open(address(run))
    with np.load(run / "confusion.npz") as matrices:
        for number, cell in enumerate(fake_run.CELLS):
            page.run(SELECT % (0, number))
            check_cells(page, matrices[cell["key"]], CLASSES)
    assert page.problems == [] and page.requests == []


def test_every_cell_of_folders_equals_brute_force_misses_included(chromium, folders):
    folder, shown = folders
    page = chromium.open(address(folder))
    for number in (0, 1):
        counts = np.zeros((6, 7), int)
        for truth, answers in shown:
            labelled = truth != 255
            np.add.at(counts, (truth[labelled], np.minimum(answers[number][labelled], 6)), 1)
        page.run(SELECT % (0, number))
        check_cells(page, counts, [*CLASSES, NO_CLASS])
    assert page.problems == [] and page.requests == []


@pytest.mark.parametrize("measure", ["truth", "prediction", "pixels"])
def test_the_difference_of_two_arms_is_that_of_their_matrices(chromium, run, measure):
    page = chromium.open(address(run))
    with np.load(run / "confusion.npz") as matrices:
        before, after = (matrices[fake_run.CELLS[n]["key"]] for n in (0, 3))
    for control, choice in ((0, 3), (1, 0), (2, measure)):
        page.run(SELECT % (control, choice))
    place = ["truth", "prediction", "pixels"].index(measure)
    change = shares_of(after)[place] - shares_of(before)[place]
    for i, j, label, _ in page.run(CELLS):
        said = re.search(r"([+\u2212-]?[\d.,]+) (?:points|pixels) against subnet 0, CE", label).group(1)
        said = float(said.replace("\u2212", "-").replace(",", ""))
        wanted = change[i, j] if measure == "pixels" else round(100 * change[i, j], 2)
        assert said == pytest.approx(wanted, abs=0.011), label


def test_groups_are_blocks_and_the_list_of_classes_can_be_had(chromium, run):
    page = chromium.open(address(run))
    rows = "[...document.querySelectorAll('.matrix tbody th')].map((head) => head.textContent)"
    assert page.run(rows) == [CLASSES[k] for k in (1, 2, 3, 4, 0, 5)]
    framed = page.run(
        "[...document.querySelectorAll('.matrix td.framed')].map((c) => c.dataset.i + c.dataset.j)"
    )
    assert sorted(framed) == ["11", "12", "21", "22", "33", "34", "43", "44"]
    page.run(SELECT % (3, "list"))
    assert page.run(rows) == CLASSES


# ---- crops


MARKED = """[...document.querySelectorAll('#view canvas.errors')].map((canvas) => {
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data, found = [];
    for (let n = 0; n < pixels.length; n += 4)
        if (pixels[n] === 214 && pixels[n + 1] === 0 && pixels[n + 2] === 110) found.push(n / 4);
    const told = canvas.closest('figure').querySelector('figcaption').textContent;
    return [+canvas.dataset.crop, +canvas.dataset.arm, found, told.match(/[\\d,]+(?= px)|[\\d,]+(?= wrong)/g).map(
        (count) => +count.replaceAll(',', ''))];
})"""
OUTLINED = """[...document.querySelectorAll('#view .crop')].map((crop) => {
    const canvas = crop.querySelector('.photo canvas'), found = [];
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    for (let n = 0; n < pixels.length; n += 4) if (pixels[n + 3]) found.push(n / 4);
    return [+crop.dataset.crop, crop.querySelector('.photo').closest('figure').textContent, found];
})"""
READY = """(() => { const crops = [...document.querySelectorAll('#view .crop')];
    return crops.length && crops.every((crop) => crop.dataset.ready); })()"""


def boxes_of(page) -> list:
    return page.run(
        "JSON.parse(document.getElementById('data').textContent).crops.map((crop) => [crop.image, crop.box])"
    )


def test_a_click_on_a_cell_shows_crops_whose_marked_pixels_are_that_confusion(chromium, folders):
    folder, shown = folders
    page = chromium.open(address(folder))
    boxes, seen = boxes_of(page), 0
    for i, j in ((1, 2), (4, 3), (0, 6), (2, 1)):
        page.run(f'document.querySelector(\'td[data-i="{i}"][data-j="{j}"]\').click()')
        page.wait(READY)
        assert (
            page.run("document.getElementById('view-title').textContent")
            == f"{CLASSES[i]} taken for " + ([*CLASSES, NO_CLASS][j])
        )
        spots = {}
        for crop, arm, marked, (pixels, all_pixels) in page.run(MARKED):
            image, (top, left, bottom, right, step) = boxes[crop]
            truth, answers = (
                array[top:bottom, left:right] for array in (shown[image][0], shown[image][1][arm])
            )
            part = (truth == i) & (answers == (255 if j == 6 else j))
            assert np.array_equal(np.flatnonzero(part[step // 2 :: step, step // 2 :: step]), marked)
            assert pixels == part.sum() and all_pixels == ((truth != 255) & (truth != answers)).sum()
            spots.setdefault(crop, {})[arm] = (pixels, marked)
            seen += len(marked)
        for crop, told, outlined in page.run(OUTLINED):
            arm = 0 if spots[crop][0][0] else 1
            assert (
                told.endswith(f"outlined: errors of {('one', 'two')[arm]}")
                and outlined == spots[crop][arm][1]
            )
        page.run("document.querySelector('#view .back').click()")
        page.wait("document.getElementById('view').hidden")
    assert seen > 100 and page.problems == []


def test_the_crops_of_a_class_mark_what_is_missed_and_what_is_taken_for_it(chromium, folders):
    folder, shown = folders
    page = chromium.open(address(folder) + "#bus")
    page.wait(READY)
    boxes = boxes_of(page)
    for crop, arm, marked, _ in page.run(MARKED):
        image, (top, left, bottom, right, step) = boxes[crop]
        truth, answers = shown[image]
        wrong = (truth != 255) & ((truth == 3) != (answers[arm] == 3))
        part = wrong[top:bottom, left:right][step // 2 :: step, step // 2 :: step]
        assert np.array_equal(np.flatnonzero(part), marked)


def test_the_crops_of_an_image_mark_all_that_is_wrong(chromium, folders):
    folder, shown = folders
    page = chromium.open(address(folder) + "#/scene2")
    page.wait(READY)
    boxes, found = boxes_of(page), page.run(MARKED)
    assert found and {boxes[crop][0] for crop, *_ in found} == {2}
    for crop, arm, marked, (pixels,) in found:
        _, (top, left, bottom, right, step) = boxes[crop]
        truth, answers = shown[2]
        part = ((truth != 255) & (truth != answers[arm]))[top:bottom, left:right]
        assert pixels == part.sum()
        assert np.array_equal(np.flatnonzero(part[step // 2 :: step, step // 2 :: step]), marked)


def test_the_view_of_a_pair_says_what_explain_says(chromium, run):
    from gluon_confseg.report import explain

    page = chromium.open(address(run) + "#wall%20%26%20%3Cfence%3E/a%2Fb%20%23c")
    record = explain.pair(comparison.of_runs([run]), 1, 2)
    shown = page.run("[...document.querySelectorAll('.told p')].map((text) => text.textContent)")
    said = [text.replace("`", "") for section in record["sections"] for text in section["text"]]
    assert shown == said
    # images that are named are links to them
    links = page.run(
        "[...document.querySelectorAll('.told a[href^=\"#/\"]')].map((link) => link.textContent)"
    )
    assert links and set(links) <= {image["name"] for image in record["images"]}
    where = page.run("document.querySelector('#view .beside .term').textContent")
    for arm in record["arms"]:
        assert f"{arm['images']} with {arm['arm']}" in where
    rows = page.run(
        "[...document.querySelectorAll('#view tbody tr')].slice(0, 4)"
        ".map((row) => [...row.children].map((cell) => cell.textContent))"
    )
    assert [row[1] for row in rows] == [f"{100 * arm['cost']:.2f}" for arm in record["arms"]]
    assert [row[2] for row in rows] == [f"{arm['pixels']:,}" for arm in record["arms"]]
    assert [row[3] for row in rows] == [f"{100 * arm['share']:.2f}" for arm in record["arms"]]


def test_the_legend_names_all_that_a_crop_holds(chromium, folders):
    folder, shown = folders
    page = chromium.open(address(folder) + "#bus/tram")
    page.wait(READY)
    boxes = boxes_of(page)
    legends = page.run(
        "[...document.querySelectorAll('#view .crop')].map((crop) => [+crop.dataset.crop,"
        " [...crop.querySelectorAll('.legend a')].map((name) => name.textContent)])"
    )
    assert legends
    for crop, named in legends:
        image, (top, left, bottom, right, step) = boxes[crop]
        truth, answers = shown[image]
        parts = [
            array[top:bottom, left:right][step // 2 :: step, step // 2 :: step] for array in (truth, *answers)
        ]
        assert sorted(named) == sorted(CLASSES[k] for k in np.unique(parts) if k != 255)


def test_the_view_of_a_class_has_what_confusions_cost_the_first_arm_and_the_best(chromium, run):
    compared = comparison.of_runs([run])
    first, best = compared.arms[0].costs, compared.best.costs
    page = chromium.open(address(run) + "#bus")
    for number, (place, names) in enumerate((((3, slice(None)), [*CLASSES]), ((slice(None), 3), [*CLASSES]))):
        shown = page.run(
            f"[...document.querySelectorAll('#view .columns > div:nth-child({number + 1}) tbody tr')]"
            ".map((row) => [...row.children].slice(0, 3).map((cell) => cell.textContent))"
        )
        costs = np.array([first[place][:6], best[place][:6]])
        order = sorted(np.flatnonzero(costs.max(0)), key=lambda k: -costs[:, k].max())
        assert shown == [[names[k], *(f"{100 * cost:.2f}" for cost in costs[:, k])] for k in order]


def test_the_worst_confusions_of_either_arm_can_be_listed_to_the_last(chromium, run):
    compared = comparison.of_runs([run])
    page = chromium.open(address(run))
    listed = """(() => { const list = [...document.querySelectorAll('.listed')].filter((list) => !list.hidden);
        return list.length === 1 && [...list[0].querySelectorAll('tbody tr')].filter((row) => !row.hidden).map(
            (row) => row.querySelector('a').textContent); })()"""
    for arm in (compared.arms[0], compared.best):
        page.run(
            "(() => { const select = document.querySelector('#worst-controls select');"
            f" select.value = {json.dumps(arm.name)}; select.dispatchEvent(new Event('change')); }})()"
        )
        wanted = [f"{CLASSES[i]} taken for {CLASSES[j]}" for i, j in arm.ranked]
        assert page.run(listed) == wanted[:12] and len(wanted) > 12
        button = (
            "[...document.querySelectorAll('.listed')].find((list) => !list.hidden).querySelector('button')"
        )
        assert page.run(f"{button}.textContent") == f"Show all {len(wanted)} confusions"
        page.run(f"{button}.click()")
        assert page.run(listed) == wanted


def test_images_can_be_sorted_by_what_became_worse(chromium, folders):
    folder, shown = folders
    page = chromium.open(address(folder))
    page.run(
        "(() => { const select = document.querySelector('#images-controls select');"
        " select.value = 'grew'; select.dispatchEvent(new Event('change')); })()"
    )
    wrong = [
        [int(((truth != 255) & (truth != answer)).sum()) for answer in answers] for truth, answers in shown
    ]
    rows = page.run(
        "[...document.querySelectorAll('#images tbody tr')].map((row) => [...row.children].map((c) => c.textContent))"
    )
    assert rows
    for name, _, _, before, after, change, _ in rows:
        of_image = wrong[int(name[-1])]
        assert [int(count.replace(",", "")) for count in (before, after)] == of_image
        assert int(change.replace(",", "").replace("\u2212", "-")) == of_image[1] - of_image[0]
    changes = [int(row[5].replace(",", "").replace("\u2212", "-")) for row in rows]
    assert changes == sorted(changes, reverse=True)


def test_strong_confusions_outside_every_frame_are_named(chromium, run):
    page = chromium.open(address(run))
    shares = comparison.of_runs([run]).arms[0].shares[:, :6].copy()
    for group in fake_run.GROUPS:
        shares[np.ix_(group, group)] = 0
    np.fill_diagonal(shares, 0)
    strong = [(i, j) for i, j in np.argwhere(shares >= 0.1)]
    told = page.run("document.querySelector('#matrix-legend .term').textContent")
    assert (f"{len(strong)} confusion" in told) if strong else told.startswith("No confusion")
    for i, j in sorted(strong, key=lambda at: -shares[at])[:3]:
        assert f"{CLASSES[i]} taken for {CLASSES[j]} ({100 * shares[i, j]:.0f} %)" in told


# ---- links, keys, colours, widths


def test_links_of_the_page_lead_somewhere_and_back(chromium, run):
    page = chromium.open(address(run))
    links = page.run(
        "[...new Set([...document.querySelectorAll('a[href]')].map((a) => a.getAttribute('href')))]"
    )
    sections = [link for link in links if link.startswith("#section-")]
    assert len(links) > 20 and all(link.startswith("#") for link in links)
    for link in sections:
        assert page.run(f"Boolean(document.getElementById({json.dumps(link[1:])}))"), link
    for link in sorted(set(links) - set(sections)):
        page.run(f"location.hash = {json.dumps(link)}")
        page.wait("!document.getElementById('view').hidden")
        title = page.run("document.getElementById('view-title').textContent")
        names = link.lstrip("#").split("/")
        assert title and len(names) <= 2
        page.press("Escape")
        page.wait("document.getElementById('view').hidden && !document.querySelector('main').hidden")
    assert page.problems == []


@pytest.mark.parametrize(
    "link, title",
    [
        ("#bus/tram", "bus taken for tram"),
        ("#%3C%2Fscript%3E", "</script>"),
        ("#a%2Fb%20%23c/%3C%2Fscript%3E", "a/b #c taken for </script>"),
        ("#/town%2Fscene1", "town/scene1"),
    ],
)
def test_a_link_that_a_colleague_got_opens_its_view(chromium, run, link, title):
    page = chromium.open(address(run) + link)
    assert page.run("document.getElementById('view-title').textContent") == title
    assert page.run("document.activeElement.id") == "view-title" and page.problems == []


@pytest.mark.parametrize("link", ["#nothing", "#bus/nothing", "#a/b/c", "#%", "#/nowhere.png", "#(no class)"])
def test_a_link_to_nothing_shows_the_report_and_says_so(chromium, run, link):
    page = chromium.open(address(run) + link)
    assert page.run("document.getElementById('view').hidden") and page.problems == []
    notice = "[document.getElementById('notice')].map((box) => (box.hidden ? '' : box.textContent))[0]"
    assert page.run(notice).startswith(f"The link {link} leads to nothing")
    page.run("location.hash = '#bus'")
    page.wait("!document.getElementById('view').hidden")
    page.press("Escape")
    page.wait("document.getElementById('view').hidden")
    assert page.run(notice) == ""


def test_the_matrix_is_walked_and_opened_by_keys(chromium, run):
    page = chromium.open(address(run))
    page.run("document.querySelector('.matrix td[tabindex=\"0\"]').focus()")
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "End", "ArrowLeft"):
        page.press(key)
    focused = page.run("[document.activeElement.dataset.i, document.activeElement.dataset.j]")
    assert focused == ["3", "0"]
    told = page.run("document.getElementById('matrix-readout').textContent")
    assert told.startswith("bus taken for road: ")
    page.press("Enter")
    page.wait("!document.getElementById('view').hidden")
    page.press("Escape")
    page.wait("document.getElementById('view').hidden")
    assert page.run("[document.activeElement.dataset.i, document.activeElement.dataset.j]") == ["3", "0"]


def test_the_slider_shows_the_groups_that_the_program_found(chromium, run):
    page = chromium.open(address(run))
    found = page.run("JSON.parse(document.getElementById('data').textContent).discoveries[0]")
    for step, (threshold, of_step) in enumerate(found["steps"]):
        page.run(
            "(() => { const slider = document.querySelector('input[type=range]');"
            f" slider.value = {step}; slider.dispatchEvent(new Event('input')); }})()"
        )
        shown = page.run("[...document.querySelectorAll('#graph-groups li')].map((item) => item.textContent)")
        wanted = [f"{n} " + ", ".join(CLASSES[k] for k in group) for n, group in enumerate(of_step or [], 1)]
        strong = [edge for edge in found["edges"] if edge[2] > threshold]
        assert shown == wanted and page.run("document.querySelectorAll('#graph .edge').length") == len(strong)
    assert page.problems == []


def test_names_run_nothing(chromium, run):
    page = chromium.open(address(run) + "#%3C%2Fscript%3E/bus")
    assert (
        page.run("document.scripts.length") == 2
        and page.run("document.querySelectorAll('main script').length") == 0
    )
    page.run(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )
    # the policy of the page stopped it, which is the one complaint
    assert page.run("window.ran === undefined") and any("Content Security Policy" in p for p in page.problems)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_and_can_be_read_in_each_width_and_colour(chromium, run, width, dark):
    for link in ("", "#bus/tram", "#tram", "#/town%2Fscene1"):
        page = chromium.open(address(run) + link, width=width, dark=dark)
        assert page.run("document.documentElement.scrollWidth") <= width, link
        ink, paper = page.run(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        luminance = [np.mean([int(n) for n in re.findall(r"\d+", color)[:3]]) for color in (ink, paper)]
        assert (luminance[0] > luminance[1]) == dark and abs(luminance[0] - luminance[1]) > 150
        assert page.problems == []


def test_the_button_changes_the_colours_and_is_remembered(chromium, run):
    page = chromium.open(address(run))
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.run(paper)
    for _ in range(2):
        page.run("document.getElementById('theme').click()")
    dark = page.run(paper)
    assert dark != light and page.run("document.getElementById('theme').textContent") == "Dark"
    again = chromium.open(address(run))
    assert again.run(paper) == dark
    again.run("document.getElementById('theme').click()")
    assert again.run(paper) == light


def test_pictures_have_words_for_those_who_do_not_see_them(chromium, run):
    page = chromium.open(address(run) + "#bus/tram")
    silent = """[...document.querySelectorAll('svg, canvas, img')].filter((picture) => !picture.closest('[aria-hidden]')
        && !picture.getAttribute('aria-label') && !picture.getAttribute('alt')).length"""
    assert page.run(silent) == 0
    unnamed = """[...document.querySelectorAll('select, input, button')].filter((control) =>
        !control.textContent.trim() && !control.getAttribute('aria-label') && !control.closest('label')).length"""
    assert page.run(unnamed) == 0
    headings = page.run("[...document.querySelectorAll('main h1, main h2')].map((head) => head.tagName)")
    assert headings[0] == "H1" and headings.count("H1") == 1


def test_a_page_without_crops_is_whole(chromium, tmp_path):
    folder = fake_run.make(tmp_path / "run")
    explorer.write(comparison.of_runs([folder]), folder)
    for link in ("", "#bus/tram", "#bus"):
        page = chromium.open(address(folder) + link)
        assert page.problems == []
    assert "no pictures" in page.run("document.getElementById('view').textContent")


# ---- a run on photographs


def test_the_page_of_a_run_on_camvid_has_its_numbers_and_its_pixels(chromium, tmp_path):
    """Trained by the command, at its smallest; the predictions are those that the run kept."""
    from gluon_confseg import cli

    words = [
        "train",
        "camvid",
        "--profile",
        "smoke",
        "--root",
        layouts.camvid_root(),
        "--out",
        tmp_path / "run",
    ]
    assert cli.main([str(word) for word in words]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    compared = comparison.of_runs([tmp_path / "run"])
    page = chromium.open(address(tmp_path / "run"))
    with np.load(tmp_path / "run" / "confusion.npz") as matrices:
        for number, cell in enumerate(results["cells"]):
            page.run(SELECT % (0, number))
            check_cells(page, matrices[cell["key"]], results["classes"])
    boxes, seen = boxes_of(page), 0
    for i, j in compared.arms[0].ranked[:3]:
        page.run(f'document.querySelector(\'td[data-i="{i}"][data-j="{j}"]\').click()')
        page.wait(READY)
        for crop, place, marked, (pixels, _) in page.run(MARKED):
            image, (top, left, bottom, right, step) = boxes[crop]
            _, truth, predictions = compared.pictures.read(image)
            shown = predictions[compared.abreast[place]]
            part = ((truth == i) & (shown == j))[top:bottom, left:right]
            assert np.array_equal(np.flatnonzero(part[step // 2 :: step, step // 2 :: step]), marked)
            assert pixels == part.sum()
            seen += len(marked)
        page.run("document.querySelector('#view .back').click()")
        page.wait("document.getElementById('view').hidden")
    assert seen > 100 and page.problems == [] and page.requests == []
