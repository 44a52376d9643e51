"""The small network that ships with the package, for `confseg demo`: it was trained on street scenes that were drawn.

`network.npz` is a checkpoint like any other, but for its convolutions, whose weights are stored as float16. `card.md`
says how it was made and what it scores. `python -m experiments.tools.demo_network RUN` writes both.
"""

from __future__ import annotations

from pathlib import Path

WORD = "demo"  # stands for the network where a command wants a checkpoint
NETWORK = Path(__file__).parent / "network.npz"
CARD = Path(__file__).parent / "card.md"
SIZE = (512, 256)  # width, height of the scenes that the demonstration draws, as in the recipe `drawn`
SEED = 2018  # of these scenes; trainings draw theirs with seed 0, or with what --seed says
MISSING = (
    "the demonstration network is not part of this installation; train one, `confseg train drawn`, and give its "
    "checkpoint instead, such as runs/drawn-quick-seed0/checkpoints/subnets_ce.npz"
)
