"""`confseg groups`: the groups of confused classes in a matrix, Section 3.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gluon_confseg.cli import options, writable
from gluon_confseg.cli.output import Output

if TYPE_CHECKING:
    from gluon_confseg.cli.matrices import NamedMatrix

SUMMARY = "Discover the groups of classes that are confused, and compare them with the paper's."


def add_arguments(parser) -> None:
    """A file, and the settings of the discovery."""
    options.add_matrix(parser, "`train`, or the first")
    parser.add_argument(
        "--threshold",
        type=_share,
        metavar="SHARE",
        help="taken off every edge, 0 to 2 (default: the mean edge)",
    )
    parser.add_argument("--max-groups", type=options.positive, metavar="N", help="keep the N most confused")
    options.add_classes(parser, "where the file does not say")


def run(arguments) -> Output:
    """Discover, compare with the paper's, draw."""
    picture = arguments.picture and writable.file(arguments.picture)

    from gluon_confseg import groups
    from gluon_confseg.cli import matrices
    from gluon_confseg.report import pictures

    named = matrices.load(arguments.file, arguments.key, arguments.data, train_first=True)
    shares = named.matrix.normalized()
    found = groups.discover(shares, threshold=arguments.threshold, max_groups=arguments.max_groups)
    given = arguments.threshold is not None
    threshold = arguments.threshold if given else groups.automatic_threshold(shares)
    if picture:
        pictures.groups(picture, shares, named.classes, found, named.title)
    record = {
        **named.record,
        "threshold": threshold,
        "groups": [{**_group(named, group), "confusion": group.confusion} for group in found],
        "in_no_group": _in_no_group(named, found),
        "paper": _paper(named, found),
    }
    return Output(
        _text(named, found, threshold, given) + (f"\nPicture: {picture}" if picture else ""), record
    )


def _text(named: NamedMatrix, found: list, threshold: float, given: bool) -> str:
    from gluon_confseg.report.grid import Grid
    from gluon_confseg.report.tables import percent

    lines = [f"Data: {named.data}"] if named.data else []
    origin = "as given" if given else "the mean edge; another with --threshold"
    lines += [
        f"Matrix: {named.source}.",
        f"Threshold: {percent(threshold)} % ({origin}), taken off each edge: the share of A taken for B plus "
        "the share of B taken for A.",
        "",
    ]
    if found:
        head = ["group", "classes", "confusion inside, % of rows, summed"]
        rows = [
            [str(number), ", ".join(named.classes[k] for k in group), percent(group.confusion)]
            for number, group in enumerate(found, 1)
        ]
        lines += [Grid(head, rows, words=2).text(60)]
        lines += [f"In no group: {', '.join(_in_no_group(named, found)) or 'none'}."]
    else:
        lines += ["No groups: no two classes are confused by more than the threshold."]
    paper = _paper(named, found)
    if paper:
        rows = [[", ".join(group["names"]), f"{group['overlap']:.2f}"] for group in paper]
        lines += ["", Grid(["the paper's groups", "overlap (IoU) with the best of these"], rows).text(60)]
    return "\n".join(lines)


def _in_no_group(named: NamedMatrix, found: list) -> list:
    return [name for k, name in enumerate(named.classes) if not any(k in group.classes for group in found)]


def _paper(named: NamedMatrix, found: list) -> list:
    """The paper's groups of this label space, each with its largest overlap; none for other classes."""
    from gluon_confseg import groups

    wanted = groups.PAPER.get(named.space.name, []) if named.space else []
    return [{**_group(named, group), "overlap": groups.overlap(group, found)} for group in wanted]


def _group(named: NamedMatrix, group) -> dict:
    return {"classes": list(group.classes), "names": [named.classes[k] for k in group]}


def _share(text: str) -> float:
    return options.number(text, float, 0, 2, "a share from 0 to 2 (0.05 is 5 %)")
