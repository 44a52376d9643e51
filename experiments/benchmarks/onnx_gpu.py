#!/usr/bin/env python3
"""Times exported networks with onnxruntime's CUDA provider, and compares their scores with MXNet's.

Run:   python onnx_gpu.py FOLDER --out onnx_gpu.json      on a machine with an NVIDIA GPU
       FOLDER comes from `python -m experiments.benchmarks.bench_onnx_gpu --prepare FOLDER`, where MXNet is
Cost:  about 3 minutes on one H100
Gives: a table, and the same as JSON; `bench_onnx_gpu` writes the page's table from it

Needs onnxruntime-gpu and numpy, and nothing else. Networks that nobody trained come without their large weights, which
this program makes from seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

WARM_UP = 3


def main() -> None:
    """Measure every network of the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(1024, 2048), metavar=("H", "W"))
    parser.add_argument("--rounds", type=int, default=20, help="timed images (default: 20)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these networks alone")
    parser.add_argument(
        "--cpu", action="store_true", help="try the program without a GPU: times mean nothing"
    )
    parser.add_argument("--profile", action="store_true", help="list the operators that take longest")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    arguments = parser.parse_args()
    if hasattr(onnxruntime, "preload_dlls") and not arguments.cpu:
        onnxruntime.preload_dlls()  # CUDA's libraries, where they are Python packages
    about = {
        "card": "none" if arguments.cpu else card(),
        "onnxruntime": onnxruntime.__version__,
        "size": list(arguments.size),
        "rounds": arguments.rounds,
    }
    print(f"{about['card']}, onnxruntime {about['onnxruntime']}", flush=True)
    rows = []
    for description in sorted(arguments.folder.glob("*.json")):
        network = json.loads(description.read_text())
        if arguments.only and network["name"] not in arguments.only:
            continue
        make_weights(arguments.folder, network)
        for tf32 in (False, True):
            rows.append({"network": network["title"], "tf32": tf32, **measure(arguments, network, tf32)})
            print(line(rows[-1]), flush=True)
            arguments.out.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


def card() -> str:
    """The GPU's name and its driver's version, as nvidia-smi says them."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        name, driver = subprocess.check_output(command, text=True).splitlines()[0].split(", ")
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError) as error:
        sys.exit(f"nvidia-smi finds no NVIDIA GPU ({error}); --cpu tries the program without one")
    return f"{name}, driver {driver}"


def make_weights(folder: Path, network: dict) -> None:
    """Write NAME.bin, the weights that the graph refers to."""
    with open(folder / f"{network['name']}.bin", "wb") as stream:
        for weight in network["weights"]:
            shares = np.random.RandomState(weight["seed"]).random_sample(weight["shape"])
            stream.write(((shares - 0.5) * (12**0.5 * weight["scale"])).astype("<f4").tobytes())


def measure(arguments, network: dict, tf32: bool) -> dict:
    """Differences from MXNet's scores, and seconds for an image."""
    session = open_session(arguments, f"{network['name']}-scores.onnx", tf32)
    worst, equal, pixels = 0.0, 0, 0
    with np.load(arguments.folder / f"{network['name']}.npz") as expected:
        for number in range(len(expected.files) // 2):
            scores = session.run(None, {"data": expected[f"images{number}"]})[0]
            wanted = expected[f"scores{number}"]
            worst = float(np.maximum(worst, np.abs(scores - wanted).max()))
            equal += int((scores.argmax(1) == wanted.argmax(1)).sum())
            pixels += wanted[:, 0].size
    session = open_session(arguments, f"{network['name']}.onnx", tf32, arguments.profile and tf32)
    height, width = arguments.size
    picture = np.random.RandomState(0).randint(0, 256, (1, height, width, 3)).astype(np.uint8)
    seconds = []
    for _ in range(WARM_UP + arguments.rounds):
        start = time.perf_counter()
        (classes,) = session.run(None, {"pictures": picture})
        seconds.append(time.perf_counter() - start)
    if classes.shape != (1, height, width):
        sys.exit(f"{network['name']}.onnx: gives classes of shape {classes.shape}")
    if arguments.profile and tf32:
        show_profile(session.end_profiling())
    timed = sorted(seconds[WARM_UP:])
    quarter = len(timed) // 4
    return {
        "difference": worst,
        "equal_pixels": equal / pixels,
        "pixels": pixels,
        "median_s": statistics.median(timed),
        "quartiles_s": [timed[quarter], timed[-1 - quarter]],
        "first_s": seconds[0],
    }


def open_session(arguments, file: str, tf32: bool, profiled: bool = False):
    """A session on the GPU; it ends the program where the network would run on the CPU instead."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling = profiled
    options.log_severity_level = 3
    cuda = [("CUDAExecutionProvider", {"use_tf32": str(int(tf32))})]
    wanted = ["CPUExecutionProvider"] if arguments.cpu else [*cuda, "CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(arguments.folder / file), options, providers=wanted)
    if not arguments.cpu and session.get_providers()[0] != "CUDAExecutionProvider":
        sys.exit(f"onnxruntime {onnxruntime.__version__} can't use CUDA here: {session.get_providers()}")
    return session


def show_profile(file: str) -> None:
    """Print the operators of the last images by their time, with the provider that ran them."""
    totals = {}
    for event in json.loads(Path(file).read_text()):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            key = event["args"]["op_name"], event["args"].get("provider", "")[:4]
            totals[key] = totals.get(key, 0) + event["dur"]
    Path(file).unlink()
    for (operator, provider), total in sorted(totals.items(), key=lambda item: -item[1])[:10]:
        print(f"    {operator:<24} {provider:<5} {total / 1000:10.1f} ms")


def line(row: dict) -> str:
    """A row of the table."""
    low, high = row["quartiles_s"]
    return (
        f"{row['network']:<60} TF32 {'on ' if row['tf32'] else 'off'}  {1000 * row['median_s']:8.2f} ms "
        f"({1000 * low:.2f} to {1000 * high:.2f})  scores differ by {row['difference']:.2g}, "
        f"{100 * row['equal_pixels']:.3f} % of {row['pixels']:,} pixels equal"
    )


if __name__ == "__main__":
    main()
