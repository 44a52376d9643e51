"""Training crops per second: GluonCV's CitySegmentation and DataLoader, ours unpacked, ours packed, all in one run.

64 drawn street scenes of 2048 x 1024 in Cityscapes' layout, crops of 500 x 500, batches of 16, 2 worker processes.

Run:   make bench-data
Cost:  about 5 minutes on 2 cores, 2 of them to draw the scenes the first time; 1.3 GB of disk in data/drawn-scenes/
Gives: packed at least 10 times GluonCV's rate; what was measured: experiments/README.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys

import cv2

from gluon_confseg import files, scenes
from gluon_confseg.cli import frame
from gluon_confseg.cli.train import drawn_root
from gluon_confseg.datasets import Cityscapes, pack
from gluon_confseg.progress import Progress

from .. import PROJECT, argument_parser
from . import data_memory, data_sides
from .data_sides import Setting

FULL = Setting(
    images=64, size=(2048, 1024), crop=(500, 500), batch_size=16, workers=2, rounds=3, epochs=20, indexed=3000
)
QUICK = Setting(
    images=8, size=(512, 256), crop=(128, 128), batch_size=4, workers=2, rounds=1, epochs=3, indexed=100
)
SAVED = PROJECT / "experiments" / "benchmarks" / "bench_data.json"


def main(argv: list | None = None) -> int:
    """Draw, pack, time all sides in turn, look at the memory, print; the exit status."""
    parser = argument_parser("benchmarks.bench_data", __doc__)
    parser.add_argument("--quick", action="store_true", help="8 scenes of 512 x 256, a round, 3 epochs")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--save", action="store_true", help=f"write it to {SAVED.relative_to(PROJECT)}")
    parser.add_argument("--memory-of", nargs=2, metavar=("SIDE", "INDEXED"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    return frame.run(lambda: _run(arguments))


def _run(arguments) -> None:
    cv2.setNumThreads(1)
    setting = QUICK if arguments.quick else FULL
    dataset = Cityscapes(drawn(setting), "train")
    packed = packed_beside(dataset)
    if arguments.memory_of:
        side, indexed = arguments.memory_of
        found = data_memory.measure({"unpacked": dataset, "packed": packed}[side], setting, int(indexed))
        print(json.dumps(found))
        return
    result = summary(setting, data_sides.measure(setting, dataset, packed))
    result["memory"] = memory(setting, arguments.quick)
    if arguments.save:
        files.write_json(SAVED, result)
    print(json.dumps(result) if arguments.json else text(result))


def drawn(setting: Setting):
    """The folder of the scenes, drawn unless they are there."""
    draw = {"train": setting.images, "val": 0, "size": setting.size, "seed": 0}
    root = PROJECT / drawn_root(draw)
    with Progress("drawing street scenes", setting.images, "image") as bar:
        return scenes.draw(root, progress=lambda done, _: bar.update(done - bar.done), **draw)


def packed_beside(dataset):
    """The scenes' pack, made unless it is there."""
    folder = dataset.root.with_name(dataset.root.name + "-packed")
    if (folder / "index.json").exists():
        return pack(dataset, folder)
    with Progress("packing", len(dataset), "image") as bar:
        return pack(
            dataset, folder, lambda done: bar.update(done - bar.done), say=lambda s: print(s, file=sys.stderr)
        )


def memory(setting: Setting, quick: bool) -> list:
    """What each side's processes hold, short and long index, each in a program of its own."""
    cases = [
        (side, indexed) for side in ("packed", "unpacked") for indexed in (setting.images, setting.indexed)
    ]
    found = []
    with Progress("memory", len(cases), "program") as bar:
        for side, indexed in cases:
            found.append(data_memory.in_own_program(side, indexed, quick))
            bar.update(1)
    return found


def summary(setting: Setting, rates: dict) -> dict:
    """Medians of the rates, and the ratios round by round."""
    ratios = [ours / theirs for ours, theirs in zip(rates["packed"], rates["gluoncv"])]
    middle = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "setting": setting._asdict(),
        "samples_per_second": middle,
        "rounds": rates,
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "share_of_copy_read": middle["packed"] / middle["copy_read"],
        "share_of_copy_written": middle["packed"] / middle["copy_written"],
    }


def text(result: dict) -> str:
    """The result for a person."""
    setting, rates = Setting(**result["setting"]), result["samples_per_second"]
    low, high = result["ratio_range"]
    titles = {
        "gluoncv": "GluonCV's CitySegmentation, gluon DataLoader",
        "unpacked": "ours, from the PNG files",
        "packed": "ours, packed",
        "packed_threads": "ours, packed, threads for processes",
        "copy_read": "bare copy of the windows' uint8 pixels and labels",
        "copy_written": "bare copy of the finished float32 crops and labels",
    }
    width, height = setting.size
    lines = [
        f"{setting.images} scenes of {width} x {height}, crops of {setting.crop[0]} x {setting.crop[1]}, batches of "
        f"{setting.batch_size}, {setting.workers} workers (copies: as many threads); samples a second, medians of "
        f"{setting.rounds}",
        *(f"  {title:54} {rates[name]:9.1f}" for name, title in titles.items()),
        f"packed / GluonCV: {result['ratio']:.1f} (rounds from {low:.1f} to {high:.1f})",
        f"packed reaches {100 * result['share_of_copy_read']:.0f} % of the copy of what it reads, "
        f"{100 * result['share_of_copy_written']:.0f} % of the copy of what it writes",
        "proportional memory of program and workers, MiB",
    ]
    for case in result["memory"]:
        lines.append(
            f"  {case['side']:9} {case['indexed']:6} indexed: {case['first']:6.0f} after {case['batches_first']} "
            f"batches, {case['last']:6.0f} after {case['batches_last']} ({case['epochs']})"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
