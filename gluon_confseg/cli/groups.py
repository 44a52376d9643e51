"""`confseg groups`: the groups of confused classes in a matrix, Section 3.1."""

from __future__ import annotations

from gluon_confseg import groups
from gluon_confseg.cli import matrices, outputs
from gluon_confseg.cli.answer import Answer
from gluon_confseg.report import pictures
from gluon_confseg.report.grid import Grid
from gluon_confseg.report.tables import percent


def run(arguments) -> Answer:
    """Discover, compare with the paper's, draw."""
    picture = arguments.picture and outputs.file(arguments.picture)
    named = matrices.load(arguments.file, arguments.key, arguments.data, train_first=True)
    shares = named.matrix.normalized()
    found = groups.discover(shares, threshold=arguments.threshold, max_groups=arguments.max_groups)
    given = arguments.threshold is not None
    threshold = arguments.threshold if given else groups.automatic_threshold(shares)
    if picture:
        draw(picture, named, shares, found)
    text = _text(named, found, threshold, given)
    return Answer(text + (f"\nPicture: {picture}" if picture else ""), _record(named, found, threshold))


def draw(path, named: matrices.Named, shares, found: list) -> None:
    """The groups as a graph."""
    pictures.groups(path, shares, named.classes, found, named.title)


def _text(named: matrices.Named, found: list, threshold: float, given: bool) -> str:
    lines = [f"Data: {named.data}"] if named.data else []
    origin = "as given" if given else "the mean edge; another with --threshold"
    lines += [
        f"Matrix: {named.source}.",
        f"Threshold: {percent(threshold)} % ({origin}), taken off each edge: the share of A taken for B plus "
        "the share of B taken for A.",
        "",
        _found_table(named, found),
    ]
    paper = _paper(named, found)
    if paper:
        rows = [[", ".join(group["names"]), f"{group['overlap']:.2f}"] for group in paper]
        lines += ["", Grid(["the paper's groups", "overlap (IoU) with the best of these"], rows).text(60)]
    return "\n".join(lines)


def _found_table(named: matrices.Named, found: list) -> str:
    if not found:
        return "No groups: no two classes are confused by more than the threshold."
    rows = [
        [str(number), ", ".join(named.classes[k] for k in group), percent(group.confusion)]
        for number, group in enumerate(found, 1)
    ]
    alone = _in_no_group(named, found)
    head = ["group", "classes", "confusion inside, % of rows, summed"]
    return Grid(head, rows, words=2).text(60) + f"\nIn no group: {', '.join(alone) or 'none'}."


def _in_no_group(named: matrices.Named, found: list) -> list:
    return [name for k, name in enumerate(named.classes) if not any(k in group.classes for group in found)]


def _paper(named: matrices.Named, found: list) -> list:
    """The paper's groups of this label space, each with its largest overlap; none for other classes."""
    wanted = groups.PAPER.get(named.space.name, []) if named.space else []
    return [{**_group(named, group), "overlap": groups.overlap(group, found)} for group in wanted]


def _group(named: matrices.Named, group) -> dict:
    return {"classes": list(group.classes), "names": [named.classes[k] for k in group]}


def _record(named: matrices.Named, found: list, threshold: float) -> dict:
    return {
        **named.record,
        "threshold": threshold,
        "groups": [{**_group(named, group), "confusion": group.confusion} for group in found],
        "in_no_group": _in_no_group(named, found),
        "paper": _paper(named, found),
    }
