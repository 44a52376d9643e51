"""What the machine can do at most, by PyTorch: multiply-adds of a matrix product, bytes of a copy. In .venv-bench."""

from __future__ import annotations

import os

import torch
from side import Work, serve

SIDE = 2048
FLOATS = 2**25  # 128 MiB: beyond any cache


def multiply() -> Work:
    """A product of two square float32 matrices."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    left, right = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    target = torch.empty(SIDE, SIDE)
    return Work(lambda: torch.mm(left, right, out=target), multiply_adds_of_a_product=SIDE**3)


def copy() -> Work:
    """A copy from memory to memory, which reads and writes each byte once."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    source, target = torch.ones(FLOATS), torch.zeros(FLOATS)
    return Work(lambda: target.copy_(source), bytes_of_a_copy=2 * 4 * FLOATS)


WORKS = {"multiply": multiply, "copy": copy}

if __name__ == "__main__":
    serve(WORKS, lambda: {"torch": torch.__version__})
