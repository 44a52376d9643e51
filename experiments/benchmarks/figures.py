"""From the rounds of a row to the figures that the history keeps: medians, ratios with their spread, exponents."""

from __future__ import annotations

import math
import statistics

from .rounds import Measured


def compared(identifier: str, row, against, outcome) -> dict:
    """The figures of one line: {"id", "unit", "ours", "theirs": {name: value}, "ratio", "low", "high", "rounds"}.

    ours, theirs   medians of the rounds; of several sides of ours, the one with the smallest median, as in the ratio
                   for theirs too
    ratio          the median of the rounds' ratios ours / theirs; low and high are the smallest and the largest
    Without a comparison, or with a side that went over its limit ("over": seconds), there is no ratio.
    """
    ours = _better(row.ours, outcome, row.unit)
    entry = {"id": identifier, "unit": row.unit, "ours": None, "theirs": {}}
    if row.work and row.work[0] in ("bytes", *outcome.facts):
        kind, factor = row.work
        entry["work"] = {kind: factor * outcome.facts.get(kind, 1)}
    if against is not None:
        entry["theirs"] = {
            side.name: _median(values(outcome.sides[side.name], row.unit)) for side in against.sides
        }
    if ours is None:
        entry["over"] = min(outcome.sides[side.name].over for side in row.ours)
        return entry
    measured = values(outcome.sides[ours], row.unit)
    entry.update(ours=_median(measured), rounds=len(measured))
    if len(row.ours) > 1:
        entry["better"] = ours
    theirs = _better(against.sides, outcome, row.unit) if against is not None else None
    if theirs is not None:
        entry.update(ratio(measured, values(outcome.sides[theirs], row.unit)))
    return entry


def ratio(ours: list, theirs: list) -> dict:
    """Median, smallest and largest of the ratios round by round. Raises ValueError for different numbers of rounds."""
    if len(ours) != len(theirs) or not ours:
        raise ValueError(f"{len(ours)} rounds of one side and {len(theirs)} of the other")
    ratios = [a / b for a, b in zip(ours, theirs)]
    return {"ratio": short(statistics.median(ratios)), "low": short(min(ratios)), "high": short(max(ratios))}


def values(measured: Measured, unit: str) -> list:
    """A side's rounds in a row's unit; [] where it went over its limit."""
    return measured.seconds if unit == "s" else measured.peak_mib


def grown(growth, outcomes: dict) -> dict:
    """The figures of a `Growth`, from size -> `Measured`.

    exponent          p where the time grows as size ** p: the slope of a line through the logarithms
    memory_exponent   the same of the peak memory less what the process held with its libraries alone ("extra_mib")
    """
    seconds = [_median(outcomes[size].seconds) for size in growth.sizes]
    memory = [_median(outcomes[size].peak_mib) for size in growth.sizes]
    held = [outcomes[size].held_mib for size in growth.sizes]
    # a work that needs nothing more than its libraries has no logarithm
    extra = [
        None if None in (peak, before) else short(max(peak - before, 1.0))
        for peak, before in zip(memory, held)
    ]
    return {
        "id": growth.id,
        "sizes": list(growth.sizes),
        "seconds": seconds,
        "peak_mib": memory,
        "extra_mib": extra,
        "exponent": exponent(growth.sizes, seconds),
        "memory_exponent": exponent(growth.sizes, extra),
    }


def exponent(sizes, costs) -> float | None:
    """The least-squares slope of log(cost) over log(size); None where a cost is missing."""
    if None in costs or len(costs) < 2:
        return None
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    middle_x, middle_y = statistics.mean(x), statistics.mean(y)
    slope = sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y)) / sum((a - middle_x) ** 2 for a in x)
    return round(slope, 2)


def short(value: float) -> float:
    """Four digits: more would say more than was measured."""
    return float(f"{value:.4g}")


def _median(found: list) -> float | None:
    return short(statistics.median(found)) if found and None not in found else None


def _better(sides, outcome, unit: str) -> str | None:
    """The name of the side with the smallest median; None where all went over their limits."""
    known = {s.name: _median(values(outcome.sides[s.name], unit)) for s in sides if s.name in outcome.sides}
    known = {name: median for name, median in known.items() if median is not None}
    return min(known, key=known.get) if known else None
