"""Which groups get subnets: the paper's, those discovered, and the controls that tell what the groups are worth."""

from __future__ import annotations

import numpy as np

from gluon_confseg import groups

CHOICES = ("paper", "discover", "random", "whole", "one")


def choose(choice: str, data: str, normalized, max_groups: int | None = None) -> list:
    """Groups as tuples of classes.

    choice       "paper": Table 1, Section 4.2
                 "discover": from the matrix
                 "random" or "random N": as many and as large as those discovered, of classes drawn with seed N
                 "whole": as many as those discovered, each of all classes: heads of the same size without groups
                 "one": one of all classes: a head as wide as those of the discovered groups together
    data         name of the data set, for "paper"
    normalized   (K, K) training matrix, rows sum to 1
    """
    kind, _, seed = choice.partition(" ")
    if kind not in CHOICES:
        raise ValueError(f"no groups {choice!r}: choose one of {', '.join(CHOICES)}")
    if kind == "paper":
        return [tuple(group) for group in groups.PAPER[data]]
    found = [tuple(group) for group in groups.discover(normalized, max_groups=max_groups)]
    if kind == "random":
        return drawn_anew(found, len(normalized), int(seed or 0))
    every = tuple(range(len(normalized)))
    return {"discover": found, "whole": [every] * len(found), "one": [every] * min(len(found), 1)}[kind]


def drawn_anew(found: list, num_classes: int, seed: int) -> list:
    """Groups of the same sizes and overlaps, of classes drawn at random; unlike `found` where that can be had."""
    draws = np.random.default_rng([seed, num_classes])
    for _ in range(100):
        place = draws.permutation(num_classes)
        drawn = [tuple(sorted(int(place[k]) for k in group)) for group in found]
        if not {frozenset(g) for g in drawn} & {frozenset(g) for g in found}:
            break
    return drawn
