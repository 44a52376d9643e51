"""What the command line imports before it works, and what lies in the current folder meanwhile."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small

import gluon_confseg
from gluon_confseg import checkpoint, network
from gluon_confseg.gluoncv import network_file, without_torch
from gluon_confseg.scenes import draw

LARGE = ("mxnet", "gluoncv", "torch", "matplotlib", "scipy", "scipy.stats", "requests")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with drawn scenes, the checkpoints of two networks, and a confusion matrix."""
    folder = tmp_path_factory.mktemp("start")
    draw(folder / "scenes", 1, 1, (64, 32))
    for encoder in ("efficientnet_lite0", "resnet18"):
        built = network.build(encoder, 19, output_stride=16, last_stage=3, head=small.HEAD)
        meta = {"labels": "cityscapes", "rule": "subnet0", "network": built.settings}
        checkpoint.save(folder / f"{encoder}.npz", checkpoint.network_arrays(built), meta)
    counts = np.random.RandomState(0).randint(1, 50, (19, 19)) + 500 * np.eye(19, dtype=int)
    np.savez(folder / "matrix.npz", counts=counts)
    return folder


def evaluation(place, encoder: str) -> list:
    data = ["--data", "cityscapes", "--root", str(place / "scenes")]
    return ["evaluate", str(place / f"{encoder}.npz"), *data, "--json"]


def test_a_verb_imports_what_it_needs(place):
    matrix = str(place / "matrix.npz")
    verbs = [
        ["groups", matrix, "--data", "cityscapes"],
        ["confusion", matrix, "--data", "cityscapes"],
        ["check", "cityscapes", str(place / "scenes")],
        evaluation(place, "efficientnet_lite0"),
        evaluation(place, "resnet18"),
    ]
    code = (
        "import json, sys\nfrom gluon_confseg.cli import main\n"
        f"def names(): return [name for name in sys.modules if name in {LARGE!r}]\n"
        f"for verb in {verbs!r}:\n"
        "    status = main(verb)\n"
        "    print(json.dumps([verb[0], status, names()]), file=sys.stderr)\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr
    told = [json.loads(line) for line in shown.splitlines() if line.startswith("[")]
    assert [(verb, status) for verb, status, _ in told] == [(verb[0], 0) for verb in verbs], shown
    *without, lite0, resnet18 = (set(modules) for _, _, modules in told)
    assert without == [set()] * 3
    # MXNet's arrays know SciPy's sparse ones
    assert lite0 == resnet18 == {"mxnet", "scipy"}


def test_what_waits_is_itself_when_it_is_used():
    code = (
        "import gluon_confseg, sys, mxnet as mx\n"
        "assert 'scipy.stats' not in sys.modules and 'requests' not in sys.modules\n"
        "assert abs(mx.contrib.quantization.stats.entropy([1, 1]) - 0.6931) < 1e-4\n"
        "assert mx.test_utils.ss.norm.ppf(0.5) == 0\n"
        "import requests, scipy.stats\n"
        "assert mx.test_utils.requests.get is mx.gluon.utils.requests.get is requests.get\n"
        "assert type(requests).__name__ == type(scipy.stats).__name__ == 'module'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_folders_and_files_of_libraries_names_stand_for_nothing(place, tmp_path):
    (tmp_path / "torch").mkdir()
    for name in ("cv2", "matplotlib", "numpy", "mxnet", "PIL", "scipy", "yaml"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is no library')\n")
    verbs = [evaluation(place, "resnet18"), ["doctor", "--json"]]
    for verb in verbs:
        command = [sys.executable, "-m", "gluon_confseg", *verb]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
    assert any(finding["name"] == "GluonCV imports" for finding in found["findings"])


def test_a_module_beside_a_users_recipe_can_be_imported(tmp_path):
    (tmp_path / "beside.py").write_text("EPOCHS = 3\n")
    recipe = "import beside\nfrom gluon_confseg import recipe_files\n"
    recipe += "PROFILES = recipe_files.find('table3').profiles\nassert beside.EPOCHS == 3\n"
    (tmp_path / "mine.py").write_text(recipe)
    command = [sys.executable, "-m", "gluon_confseg", "train", "mine.py", "--show"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_only_pytorch_that_was_imported_before_is_seen(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    with without_torch(), pytest.raises(ImportError):
        import torch  # noqa: F401
    assert "torch" not in sys.modules
    stand_in = object()
    monkeypatch.setitem(sys.modules, "torch", stand_in)
    with without_torch():
        import torch
    assert torch is stand_in and sys.modules["torch"] is stand_in


def test_missing_gluoncv_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="gluoncv"):
        network_file.__wrapped__("resnetv1b")


def test_only_the_command_line_imports_the_command_line():
    """Or a library module would bring parsers along, and nobody could use it without them."""
    package = Path(gluon_confseg.__file__).parent
    for file in package.rglob("*.py"):
        inside = file.relative_to(package)
        if inside.parts[0] in ("cli", "__main__.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                module = node.module or ""
                named = [f"{module}.{each.name}" for each in node.names]
                assert not any(re.search(r"(^|\.)cli(\.|$)", name) for name in named), f"{inside}: {named}"
