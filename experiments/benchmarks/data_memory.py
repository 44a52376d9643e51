"""The memory of bench_data: what program and workers hold, with a short and a long index, early and late."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

from gluon_confseg.datasets import Batches, Packed

from .data_sides import Setting, augment

UNPACKED_BATCHES = [8, 80]  # 80 are 20 epochs of 64 images; decoding takes forty times as long


def in_own_program(side: str, indexed: int, quick: bool) -> dict:
    """`measure` in a fresh interpreter, since one that has done other work holds more than it needs."""
    command = [sys.executable, "-m", "experiments.benchmarks.bench_data", "--memory-of", side, str(indexed)]
    found = subprocess.run(command + ["--quick"] * quick, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(found.stdout.splitlines()[-1])


def measure(dataset, setting: Setting, indexed: int) -> dict:
    """Proportional memory in MiB, early and late: packed after the first and last epoch, else after some batches."""
    packed = isinstance(dataset, Packed)
    epochs, counted, sizes = setting.epochs if packed else 1000, 0, {}
    with Batches(
        repeated(dataset, indexed), augment(setting), setting.batch_size, workers=setting.workers
    ) as batches:
        per_epoch = len(batches)
        wanted = [per_epoch, epochs * per_epoch] if packed else UNPACKED_BATCHES
        for epoch in range(epochs):
            for _ in batches.epoch(epoch):
                counted += 1
                if counted in wanted:
                    sizes[counted] = proportional([os.getpid(), *batches.processes])
                if counted == wanted[-1]:
                    break
            if counted == wanted[-1]:
                break
    return {
        "side": "packed" if packed else "unpacked",
        "indexed": indexed,
        "batches_first": wanted[0],
        "first": sizes[wanted[0]],
        "batches_last": wanted[-1],
        "last": sizes[wanted[-1]],
        "epochs": f"{wanted[-1] // per_epoch} epochs",
    }


def repeated(dataset, indexed: int):
    """The same samples again and again, up to so many: as long an index as that many files would have."""
    times = math.ceil(indexed / len(dataset))
    if isinstance(dataset, Packed):
        entries = [
            entry._replace(name=f"{entry.name}-{turn}")
            for turn in range(times)
            for entry in dataset.index.entries
        ]
        index = dataclasses.replace(dataset.index, entries=tuple(entries[:indexed]))
        return Packed(dataset.folder, index)
    longer = copy.copy(dataset)
    longer.names = [f"{name}-{turn}" for turn in range(times) for name in dataset.names][:indexed]
    for paths in ("image_paths", "label_paths"):
        setattr(
            longer,
            paths,
            [Path(str(path)) for _ in range(times) for path in getattr(dataset, paths)][:indexed],
        )
    return longer


def proportional(processes: list) -> float:
    """MiB of these processes together; a page that several share counts once."""
    total = 0
    for process in processes:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024
