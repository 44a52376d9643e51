"""Logits of subnets with grids of their own, on the finest of these, before they are fused."""

from __future__ import annotations

from ..grids import enlarge
from .mapping import view


def on_finest(F, subnet0_logits, subnet_logits, finer, spaces, relative: bool) -> tuple:
    """(subnet 0's logits, list of the further subnets' logits), all on the finest grid.

    finer      how many times finer each further subnet's grid is than subnet 0's; one is above 1
    spaces     their output spaces
    relative   enlarge what a coarser subnet adds to subnet 0's view, and not its logits. The enlarged view is another
               than the view of enlarged logits, so a subnet that says what subnet 0 says would else seem to change it
    """
    most = max(finer)
    like = subnet_logits[finer.index(most)]
    large, found = enlarge(F, subnet0_logits, most, like), []
    for logits, factor, space in zip(subnet_logits, finer, spaces):
        if factor < most and relative:
            seen = subnet0_logits if factor == 1 else enlarge(F, subnet0_logits, factor, logits)
            change = logits - view(seen, space.group, space.num_classes)
            logits = view(large, space.group, space.num_classes) + enlarge(F, change, most // factor, like)
        elif factor < most:
            logits = enlarge(F, logits, most // factor, like)
        found.append(logits)
    return large, found
