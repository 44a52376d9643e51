"""Random draws that are the same on every machine and with every NumPy.

Only `SeedSequence` and `random_raw` are used, whose streams NumPy guarantees; the distributions of
`numpy.random.Generator` may change between releases, and its C code may fuse a multiply and an add.
"""

from __future__ import annotations

import math
from typing import Sequence, Tuple, TypeVar

import numpy as np

Thing = TypeVar("Thing")
Color = Tuple[int, int, int]


class Dice:
    """A stream of draws that is a pure function of `key` (integers >= 0)."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(list(key)))
        self._store: list[int] = []

    def _raw(self) -> int:
        if not self._store:
            self._store = self._bits.random_raw(512).tolist()
        return self._store.pop()

    def real(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high)."""
        return low + (high - low) * ((self._raw() >> 11) * 2.0**-53)

    def whole(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return low + ((self._raw() * (high - low + 1)) >> 64)

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return self.real() < probability

    def pick(self, things: Sequence[Thing]) -> Thing:
        """One of the things, each as likely."""
        return things[self.whole(0, len(things) - 1)]

    def weighted(self, weights: dict[Thing, float]) -> Thing:
        """One of the keys, as likely as its weight says."""
        left = self.real() * sum(weights.values())
        for thing, weight in weights.items():
            left -= weight
            if left < 0:
                return thing
        return thing

    def vary(self, color: Sequence[int], amount: int) -> Color:
        """The color, lighter or darker by up to `amount`, each channel a little on its own."""
        common, own = self.whole(-amount, amount), max(1, amount // 3)
        return tuple(min(255, max(0, channel + common + self.whole(-own, own))) for channel in color)

    def noise(self, *shape: int) -> np.ndarray:
        """uint8 array of that shape, each value as likely."""
        count = math.prod(shape)
        words = np.atleast_1d(self._bits.random_raw((count + 7) // 8)).astype("<u8")
        return words.view(np.uint8)[:count].reshape(shape)
