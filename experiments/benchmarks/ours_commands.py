"""Our sides that are whole commands (`confseg confusion`, the start of `confseg evaluate`), and `import mxnet`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from .side import Work, serve

CONFSEG = [sys.executable, "-m", "gluon_confseg"]
# the command as a user gives it, ended when the network gets its first image
FIRST_IMAGE = """
import importlib.abc, importlib.util, os, sys

class Ends(importlib.abc.MetaPathFinder):
    # replaces engine.predict when the command itself imports it, so that the order of imports stays
    def find_spec(self, name, path, target=None):
        if name != "gluon_confseg.engine":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        def exec_module(module):
            run(module)
            module.predict = lambda *_, **__: os._exit(0)
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Ends())
from gluon_confseg.cli import main
main(sys.argv[1:])
sys.exit("the command ended without an image")
"""


def confusion(folder: str) -> Work:
    """`confseg confusion` on the pairs of PNGs in a folder."""
    command = [
        *CONFSEG,
        "confusion",
        "--predictions",
        f"{folder}/predictions",
        "--labels",
        f"{folder}/labels",
    ]
    command += ["--data", "cityscapes", "--predictions-are", "raw", "--labels-are", "raw", "--json"]

    def run() -> dict:
        return json.loads(_output(command))

    return Work(run, mean_iou=run()["mean_iou"])


def start(folder: str) -> Work:
    """`confseg evaluate` on drawn scenes, from its start until the network gets the first image."""
    from gluon_confseg import checkpoint, scenes
    from gluon_confseg.labels import CITYSCAPES

    from . import ours_networks

    root = scenes.draw(Path(folder) / "scenes", train=1, val=2, size=(128, 64))
    built = ours_networks.build("efficientnet_lite0", "small", subnets=3)
    meta = {"rule": "residual_product", "labels": CITYSCAPES.record(), "network": built.settings}
    file = Path(folder) / "network.npz"
    checkpoint.save(file, checkpoint.network_arrays(built), meta)
    command = [sys.executable, "-c", FIRST_IMAGE, "evaluate", str(file), "--root", str(root)]
    return Work(lambda: _output(command))


def import_mxnet() -> Work:
    """A process that imports MXNet and does nothing else."""
    return Work(lambda: _output([sys.executable, "-c", "import mxnet"]))


def _output(command: list) -> str:
    """What a command prints; its progress and warnings are shown only if it fails."""
    # our modules would be compiled anew in every round, and MXNet's, which pip compiled, would not
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{done.stderr}{command}: ended with status {done.returncode}")
    return done.stdout


WORKS = {"confusion": confusion, "start": start, "import_mxnet": import_mxnet}

if __name__ == "__main__":
    serve(WORKS, dict)
