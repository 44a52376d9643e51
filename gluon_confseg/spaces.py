"""A subnet's output space, and where the K classes are in it: Sections 3.1 and 3.3."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Space:
    """Output space of a subnet: "others", then the classes of its group, in the group's order.

    A group of all K classes leaves nothing for "others": its channels are its classes alone. That is a full head, the
    control that says what a group's subnet gains by capacity and training alone.
    """

    group: tuple
    num_classes: int

    def __post_init__(self):
        object.__setattr__(self, "group", tuple(int(klass) for klass in self.group))

    @property
    def has_others(self) -> bool:
        """Whether channel 0 is "others"."""
        return len(self.group) < self.num_classes

    @property
    def channels(self) -> int:
        """Channels of a subnet of this space: |g| + 1, or K."""
        return len(self.group) + self.has_others

    @property
    def outside(self) -> tuple:
        """The classes that are in "others", ascending."""
        return tuple(sorted(set(range(self.num_classes)) - set(self.group)))

    def channel_of_class(self) -> list:
        """The channel of each of the K classes; 0, "others", for those outside the group."""
        channels = [0] * self.num_classes
        for channel, klass in enumerate(self.group, int(self.has_others)):
            channels[klass] = channel
        return channels

    def members(self) -> np.ndarray:
        """(channels, K) of 0 and 1: which classes are in which channel."""
        return np.equal.outer(np.arange(self.channels), self.channel_of_class()).astype(np.uint8)
