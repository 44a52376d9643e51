"""Many clients at once against `confseg serve` on loopback: nothing may be lost, and all must equal `confseg predict`.

    python -m experiments.tools.serve_load --clients 100 --seconds 60

Draws pictures of three sizes, segments them by `confseg predict`, starts the service, and lets each client post one
after the other over a connection of its own. Prints how many were answered, how many were lost or differ, the
median and the 99th percentile of the times from a request to its answer, and the service's memory at start and end.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np

from experiments import PROJECT

SIZES = ((128, 64), (192, 96), (256, 128))  # width, height


def main() -> int:
    """Run, print JSON; exit status 1 where an answer was lost or wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="demo", help="a checkpoint, or the word demo")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pictures", type=int, default=4, help="of each size")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        posted = predicted(Path(folder), arguments.network, arguments.pictures)
        with started(arguments.network) as (port, process):
            memory = [resident(process.pid)]
            attack(
                port, posted, arguments.clients, min(5.0, arguments.seconds / 4)
            )  # every shape was seen once
            memory.append(resident(process.pid))
            found = attack(port, posted, arguments.clients, arguments.seconds)
            memory.append(resident(process.pid))
    found["resident_mb"] = dict(zip(("started", "warm", "end"), (round(each / 1e6, 1) for each in memory)))
    print(json.dumps(found, indent=1))
    return 1 if found["lost"] or found["wrong"] else 0


def predicted(folder: Path, network: str, count: int) -> list:
    """[(PNG of a picture, its classes by `confseg predict`)] of drawn scenes."""
    from gluon_confseg import scenes

    files = []
    for width, height in SIZES:
        for number in range(count):
            image, _ = scenes.scene(7, number, 4 * width, 4 * height)
            small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            files.append(folder / f"{width}-{number}.png")
            cv2.imwrite(str(files[-1]), cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    command = [sys.executable, "-m", "gluon_confseg", "predict", network, *map(str, files)]
    command += ["--out", str(folder / "out")]
    subprocess.run(
        command, check=True, cwd=str(PROJECT), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    ids = [cv2.imread(str(folder / "out" / "ids" / file.name), cv2.IMREAD_UNCHANGED) for file in files]
    return [(file.read_bytes(), classes) for file, classes in zip(files, ids)]


@contextlib.contextmanager
def started(network: str = "demo", *options: str):
    """`confseg serve` at a free port: (port, process). It is told to stop in the end, where it still runs."""
    command = [sys.executable, "-m", "gluon_confseg", "serve", network, "--port", "0", "--json", *options]
    process = subprocess.Popen(command, cwd=str(PROJECT), stdout=subprocess.PIPE, text=True)
    try:
        address = json.loads(process.stdout.readline())["address"]
        yield int(address.rpartition(":")[2]), process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(120)
        process.stdout.close()


def resident(number: int) -> int:
    """Bytes of memory that a process has now."""
    pages = int(Path(f"/proc/{number}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def attack(port: int, posted: list, clients: int, seconds: float) -> dict:
    """Clients that post pictures one after the other; each answer is compared."""
    times, wrong, lost, until = [], [], [], time.monotonic() + seconds

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            turn = number
            while time.monotonic() < until:
                data, classes = posted[turn % len(posted)]
                began = time.monotonic()
                connection.request("POST", "/segment?answer=labels", data, {"Content-Type": "image/png"})
                answer = connection.getresponse()
                content = answer.read()
                times.append(time.monotonic() - began)
                if answer.status != 200:
                    lost.append(f"{answer.status} {content[:200]}")
                elif not np.array_equal(
                    cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED), classes
                ):
                    wrong.append(turn % len(posted))
                turn += 1
        except OSError as error:
            lost.append(str(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=client, args=[number]) for number in range(clients)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    p50, p99 = np.percentile(times, [50, 99])
    return {
        "clients": clients,
        "seconds": round(took, 1),
        "answered": len(times),
        "per_second": round(len(times) / took, 1),
        "lost": len(lost),
        "why_lost": sorted(set(lost))[:5],
        "wrong": len(wrong),
        "p50_seconds": round(float(p50), 3),
        "p99_seconds": round(float(p99), 3),
        "slowest_seconds": round(max(times), 3),
    }


if __name__ == "__main__":
    sys.exit(main())
