"""The two tables in a terminal: every row with its goal and what changed since the last run on such a machine."""

from __future__ import annotations

from . import history

NONE = "-"


def of_row(row, against, entry: dict, runs: list, machine: dict) -> list:
    """The cells of one line: title, ours, theirs, ratio, goal, met, change."""
    _, before = history.last(runs, "rows", entry["id"], machine)
    theirs = "; ".join(f"{name} {amount(value, entry['unit'])}" for name, value in entry["theirs"].items())
    return [
        row.title,
        ours(entry),
        theirs or NONE,
        ratio(entry),
        goal(row, against),
        met(row, against, entry),
        change(entry, before),
    ]


HEADS = ["work", "ours", "theirs", "ratio (rounds)", "goal", "met", "since the last run"]
GROWTH_HEADS = [
    "work",
    "sizes",
    "time",
    "grows as",
    "memory beside the libraries",
    "grows as",
    "since the last run",
]


def of_growth(growth, entry: dict, runs: list, machine: dict) -> list:
    """The cells of one line of the second table."""
    _, before = history.last(runs, "growths", growth.id, machine)
    moved = NONE
    if before is not None and None not in (before["exponent"], entry["exponent"]):
        moved = f"was {before['exponent']}"
    return [*growth_cells(growth, entry), moved]


def growth_cells(growth, entry: dict) -> list:
    """The same without what changed."""
    return [
        growth.title,
        f"{', '.join(map(str, entry['sizes']))} {growth.axis}" + (f" ({growth.note})" if growth.note else ""),
        ", ".join(amount(value, "s") for value in entry["seconds"]),
        power(growth.axis, entry["exponent"]),
        ", ".join(amount(value, "MiB") for value in entry["extra_mib"]),
        power(growth.axis, entry["memory_exponent"]),
    ]


def power(axis: str, exponent: float | None) -> str:
    """How a cost grows, such as `pixels^1.02`."""
    return NONE if exponent is None else f"{axis}^{exponent}"


def ours(entry: dict) -> str:
    """Our figure, or that it took too long."""
    if entry["ours"] is None:
        return f"over {entry['over']:.0f} s" if entry.get("over") else NONE
    which = f" ({entry['better'].replace('ours, ', '')})" if "better" in entry else ""
    return amount(entry["ours"], entry["unit"]) + which


def ratio(entry: dict) -> str:
    """The median ratio, with the smallest and the largest round where there are several."""
    if "ratio" not in entry:
        return NONE
    spread = f" ({entry['low']:.2f}-{entry['high']:.2f})" if entry["rounds"] > 1 else " (one round)"
    return f"{entry['ratio']:.2f}{spread}"


def goal(row, against) -> str:
    """The ratio that is to be reached, or the seconds."""
    if against is None:
        return f"{row.goal:g} {row.unit}"
    return f"{against.goal:.2f}" + (f" (arithmetic: {against.least:.2f})" if against.least else "")


def met(row, against, entry: dict) -> str:
    """Whether the goal is reached: by the median."""
    if entry["ours"] is None:
        return "no" if entry.get("over") else NONE
    if against is None:
        return "yes" if entry["ours"] <= row.goal else "no"
    return NONE if "ratio" not in entry else "yes" if entry["ratio"] <= against.goal else "no"


def change(entry: dict, before: dict | None) -> str:
    """Percent since an earlier entry, of the ratio or else of our figure; "~" where the two runs' rounds overlap."""
    if before is None:
        return "new"
    key = "ratio" if "ratio" in entry and "ratio" in before else "ours"
    if entry.get(key) is None or before.get(key) is None:
        return NONE
    percent = 100 * (entry[key] / before[key] - 1)
    overlap = key == "ratio" and entry["low"] <= before["high"] and before["low"] <= entry["high"]
    return f"{percent:+.0f} %" + (" ~" if overlap else "")


def amount(value: float | None, unit: str) -> str:
    """A figure with its unit: seconds below a tenth in milliseconds."""
    if value is None:
        return NONE
    if unit == "MiB":
        return f"{value:,.0f} MiB"
    return f"{1000 * value:.3g} ms" if value < 0.1 else f"{value:.3g} s"


def markdown(heads: list, lines: list) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *lines))
