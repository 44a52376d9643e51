"""The exported graph: MXNet alone gives the live network's scores, at any size."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import layouts
import mxnet as mx
import numpy as np
import pytest
import small

from gluon_confseg import export, fusion, labels, network
from gluon_confseg.datasets.transforms import normalize
from gluon_confseg.errors import RunError

ROOT = Path(__file__).resolve().parents[1]
SPACE = labels.LabelSpace(
    "five", "Five", tuple("abcde"), np.uint8([[50 * k, 9, 255 - 50 * k] for k in range(5)])
)
SIZES = ((64, 96), (45, 77), (33, 128))
ALONE = """
import sys
sys.modules["gluon_confseg"] = None  # an import of it is an error from here on
import mxnet as mx, numpy as np
prefix, inputs, outputs = sys.argv[1:]
network = mx.gluon.SymbolBlock.imports(prefix + "-symbol.json", ["data"], prefix + "-0000.params")
with np.load(inputs) as images:
    np.savez(outputs, **{name: network(mx.nd.array(images[name])).asnumpy() for name in images.files})
"""


@pytest.fixture(scope="module")
def trained():
    return small.shaken("residual", stride=8)


@pytest.fixture(scope="module")
def prefix(trained, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("export") / "net"
    export.write(trained, "residual_product", SPACE, path)
    return path


def python(*arguments, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True)


def test_mxnet_alone_gives_the_live_scores_at_three_sizes(trained, prefix, tmp_path):
    images = {f"{h}x{w}": small.images(h, 2, h, w).asnumpy() for h, w in SIZES}
    np.savez(tmp_path / "in.npz", **images)
    done = python("-c", ALONE, prefix, tmp_path / "in.npz", tmp_path / "out.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    live = network.FusedNetwork(trained, "residual_product")
    with np.load(tmp_path / "out.npz") as scores:
        for name, array in images.items():
            assert scores[name].shape == (2, 5, *array.shape[2:])
            np.testing.assert_allclose(scores[name], live(mx.nd.array(array)).asnumpy(), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("rule", fusion.RULES)
@pytest.mark.parametrize("kind", network.SUBNETS)
def test_every_rule_and_kind_exports(tmp_path, kind, rule):
    written = export.write(small.shaken(kind), rule, SPACE, tmp_path / "deep" / "net")
    assert written.difference <= 1e-5
    assert {p.name for p in (tmp_path / "deep").iterdir()} == {
        "net-symbol.json",
        "net-0000.params",
        "net.json",
    }


def test_the_graph_holds_no_size_and_one_input_and_output(prefix):
    graph = mx.sym.load(f"{prefix}-symbol.json")
    assert len(graph.list_outputs()) == 1
    parameters = mx.nd.load(f"{prefix}-0000.params")
    assert set(graph.list_inputs()) == {"data"} | {name.split(":", 1)[1] for name in parameters}
    assert not [
        n for n in json.loads(graph.tojson())["nodes"] if n["op"] in ("Reshape", "Custom", "_CustomFunction")
    ]


def test_the_description_is_all_that_a_program_needs(trained, prefix):
    about = json.loads(prefix.with_name("net.json").read_text())
    assert about["classes"] == list("abcde") and len(about["colors"]) == 5
    assert about["rule"] == "residual_product"
    assert network.from_settings(about["network"]).settings == trained.settings
    picture = np.random.RandomState(0).randint(0, 256, (4, 5, 3)).astype(np.uint8)
    by_hand = (picture / 255 - about["mean"]) / about["std"]
    np.testing.assert_allclose(by_hand.transpose(2, 0, 1), normalize(picture), atol=1e-5)


def test_a_graph_that_differs_is_not_written(monkeypatch, tmp_path):
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(RunError, match="nothing was written"):
        export.write(small.shaken(groups=()), "sum", SPACE, tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_a_network_without_groups_exports(tmp_path):
    assert export.write(small.shaken(groups=()), "sum", SPACE, tmp_path / "net").difference <= 1e-5


def test_a_symbol_without_parameters_is_the_same_graph(trained):
    graph = export.graph(trained, "sum")
    names = {p.name for p in trained.collect_params().values()}
    assert set(graph.list_inputs()) == names | {"data"}


# ---- symbols/run.py


@pytest.fixture
def picture(tmp_path) -> Path:
    pixels = np.random.RandomState(0).randint(0, 256, (45, 70, 3)).astype(np.uint8)
    assert cv2.imwrite(str(tmp_path / "street.png"), cv2.GaussianBlur(pixels, (0, 0), 4))
    return tmp_path / "street.png"


def run_script(monkeypatch, *arguments):
    """symbols/run.py in this process."""
    spec = importlib.util.spec_from_file_location("symbols_run", ROOT / "symbols" / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["run.py", *map(str, arguments)])
    module.main()


def test_the_script_segments_a_picture_as_the_network_does(trained, prefix, picture, tmp_path):
    script = ROOT / "symbols" / "run.py"
    done = python(script, prefix, picture, "--out", tmp_path / "out.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    image = cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB)
    live = network.FusedNetwork(trained, "residual_product")
    scores = live(mx.nd.array(normalize(image)[None]))[0].asnumpy()
    assert found.shape == (45, 70) and found.dtype == np.uint8
    assert (found == scores.argmax(0)).mean() > 0.999  # rounding may turn a tie
    colours = cv2.imread(str(tmp_path / "out-colour.png"))
    wanted = 0.4 * cv2.imread(str(picture)) + 0.6 * SPACE.colors[found][:, :, ::-1]
    assert np.abs(colours - wanted).max() <= 1
    shares = [float(line.split("%")[0]) for line in done.stdout.splitlines()]
    assert sum(shares) == pytest.approx(100, abs=0.5) and shares == sorted(shares, reverse=True)


def test_the_script_segments_a_folder_and_what_a_camera_shows(monkeypatch, prefix, picture, tmp_path):
    """A video's file stands for the camera."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(picture.read_bytes())
    (tmp_path / "in" / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(
        SystemExit, match="1 of 2 files were left out:\n.*bad.jpg: can't be read as a picture"
    ):
        run_script(monkeypatch, prefix, tmp_path / "in", "--out", tmp_path / "out")
    run_script(monkeypatch, prefix, picture, "--out", tmp_path / "one.png")
    assert (tmp_path / "out" / "a.png").read_bytes() == (tmp_path / "one.png").read_bytes()
    film = layouts.write_film(tmp_path / "film.avi", [layouts.picture(seed, 48, 64) for seed in range(3)])
    run_script(monkeypatch, prefix, f"camera:{film}", "--out", tmp_path / "shown", "--frames", "2")
    names = ["000001-colour.png", "000001.png", "000002-colour.png", "000002.png"]
    assert sorted(file.name for file in (tmp_path / "shown").iterdir()) == names
    with pytest.raises(SystemExit, match="camera:nothing.avi: can't be opened; give a camera's number"):
        run_script(monkeypatch, prefix, "camera:nothing.avi")


def test_the_script_imports_nothing_of_the_package():
    text = (ROOT / "symbols" / "run.py").read_text()
    assert "import gluon_confseg" not in text and "from gluon_confseg" not in text


@pytest.mark.parametrize(
    "arguments, named",
    [
        (("{prefix}gone", "{picture}"), "gone.json: no such file; write it with"),
        (("{prefix}", "{tmp}/nothing.png"), "nothing.png: can't be read as a picture"),
        (("{prefix}", "{prefix}.json"), "net.json: can't be read as a picture"),
        (("{prefix}", "{picture}", "--out", "{tmp}/no/folder.png"), "folder.png: can't be written"),
        (("{prefix}", "{picture}", "--out", "{tmp}/noending"), "noending: can't be written"),
    ],
)
def test_the_scripts_errors_are_one_sentence(monkeypatch, prefix, picture, tmp_path, arguments, named):
    filled = [a.format(prefix=prefix, picture=picture, tmp=tmp_path) for a in arguments]
    with pytest.raises(SystemExit) as caught:
        run_script(monkeypatch, *filled)
    assert named in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [".json", "-symbol.json", "-0000.params"])
def test_the_script_says_which_files_are_damaged(monkeypatch, prefix, picture, tmp_path, ending):
    for end in (".json", "-symbol.json", "-0000.params"):
        content = Path(f"{prefix}{end}").read_bytes()
        (tmp_path / f"net{end}").write_bytes(content[: len(content) // 2] if end == ending else content)
    with pytest.raises(SystemExit) as caught:
        run_script(monkeypatch, tmp_path / "net", picture)
    assert "net: the three files can't be loaded" in str(caught.value) and "\n" not in str(caught.value)


# ---- the fused variant


@pytest.mark.parametrize(
    ("kind", "rule"), [pytest.param("plain", "sum", marks=pytest.mark.slow), ("residual", "residual_product")]
)
def test_the_fused_variant_gives_the_live_scores_by_mxnet_alone(kind, rule, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "compare", lambda prefixes: dict.fromkeys(prefixes, (1.0, 1.0, 1.0)))
    built = small.shaken(kind, stride=8)
    written = export.write(built, rule, SPACE, tmp_path / "net", variant="fused")
    assert written.difference < 1e-4
    symbol = json.loads((tmp_path / "net-symbol.json").read_text())
    operators = [node["op"] for node in symbol["nodes"]]
    assert "_sg_mkldnn_conv" in operators and not any(name.startswith("confseg") for name in operators)
    plain = json.loads(export.graph(built, rule).tojson())["nodes"]
    assert (
        operators.count("BatchNorm") < [node["op"] for node in plain].count("BatchNorm") / 2
    )  # they are folded
    assert json.loads((tmp_path / "net.json").read_text())["variant"] == "fused"
    images = {f"{h}x{w}": small.images(h, 2, h, w).asnumpy() for h, w in (*SIZES, (1, 1))}
    np.savez(tmp_path / "in.npz", **images)
    done = python("-c", ALONE, tmp_path / "net", tmp_path / "in.npz", tmp_path / "out.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    live = network.FusedNetwork(built, rule)
    with np.load(tmp_path / "out.npz") as scores:
        for name, array in images.items():
            assert np.abs(scores[name] - live(mx.nd.array(array)).asnumpy()).max() < 1e-4


def test_variants_are_timed_in_turn_beside_the_plain_graph(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "TIMED", (32, 64))
    export.write(trained, "sum", SPACE, tmp_path / "net")
    clock = iter([0, 3, 10, 12] * export.ROUNDS)  # the plain graph takes 3, the other one 2
    monkeypatch.setattr(export.time, "perf_counter", lambda: next(clock))
    found = export.compare({"plain": tmp_path / "net", "fused": tmp_path / "net"})
    assert found == {"plain": (3, 3, 3), "fused": (2, 2, 2)}


def test_a_variant_that_is_not_faster_is_refused_with_the_figures(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "TIMED", (32, 64))
    clock = iter([0, 0.002, 1, 1.003] * export.ROUNDS)
    monkeypatch.setattr(export.time, "perf_counter", lambda: next(clock))
    with pytest.raises(
        RunError, match=r"fused: is not faster here: 3.0 ms for an image of 64 x 32, and 2.0 ms"
    ):
        export.write(trained, "sum", SPACE, tmp_path / "net", variant="fused")
    assert list(tmp_path.iterdir()) == []
