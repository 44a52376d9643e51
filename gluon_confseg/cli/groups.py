"""`confseg groups`: the groups of confused classes in a matrix, Section 3.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gluon_confseg.cli import data, options, writable
from gluon_confseg.cli.output import Output
from gluon_confseg.errors import RunError

if TYPE_CHECKING:
    from gluon_confseg.cli.matrices import NamedMatrix

_MISSES = (
    "{:,} pixels that were predicted as no class are left out: shares are of those predicted as some class."
)
SUMMARY = "Find the groups of classes that are confused with each other in a confusion matrix."
EXAMPLES = (
    ("groups RUN", "in the confusion matrix of a run on its training images"),
    ("groups val.npz --picture groups.png", "in a matrix that confseg evaluate or confseg confusion wrote"),
)


def add_arguments(parser) -> None:
    """A file, and the settings of the discovery."""
    options.add_matrix(parser, "`train`, or the first")
    parser.add_argument(
        "--threshold",
        type=options.number(float, 0, 2, "a share from 0 to 2 (0.05 is 5 %)"),
        metavar="SHARE",
        help="a share from 0 to 2 that is subtracted from the confusion of each pair (default: the mean of all pairs)",
    )
    parser.add_argument(
        "--max-groups",
        type=options.positive,
        metavar="N",
        help="keep only the N groups with the most confusion inside",
    )
    options.add_classes(parser, "where the file does not say")


def run(arguments) -> Output:
    """Discover, compare with the paper's, draw."""
    picture = arguments.picture and writable.file(arguments.picture)

    from gluon_confseg import groups
    from gluon_confseg.cli import matrices
    from gluon_confseg.labels import UNKNOWN

    named = matrices.load(arguments.file, arguments.key, data.space_of(arguments), train_first=True)
    if len(named.classes) >= UNKNOWN:
        raise RunError(
            f"{arguments.file}: its matrix has {len(named.classes):,} classes, and groups are sought among up to "
            f"{UNKNOWN - 1}, which is what a data set may have"
        )
    shares = named.matrix.normalized()
    found = groups.discover(shares, threshold=arguments.threshold, max_groups=arguments.max_groups)
    threshold, origin = arguments.threshold, "as given"
    if threshold is None:
        threshold, mean = groups.automatic_threshold(shares), groups.mean_edge(shares)
        origin = "the mean edge; another with --threshold"
        if threshold > mean:
            origin = f"the mean edge, {100 * mean:.2f} %, raised until not all classes are one group; {origin[15:]}"
    if picture:
        from gluon_confseg.report import pictures

        pictures.groups(picture, shares, named.classes, found, named.title)
    inside = {k for group in found for k in group}
    papers = groups.PAPER.get(named.space.name, []) if named.space else []
    record = {
        **named.record,
        "threshold": threshold,
        "groups": [{**_group(named, group), "confusion": group.confusion} for group in found],
        "in_no_group": [name for k, name in enumerate(named.classes) if k not in inside],
        "paper": [{**_group(named, group), "overlap": groups.overlap(group, found)} for group in papers],
    }
    text = _text(named, record, origin)
    return Output(f"{text}\nPicture: {picture}" if picture else text, record)


def _group(named: NamedMatrix, group) -> dict:
    return {"classes": list(group.classes), "names": [named.classes[k] for k in group]}


def _text(named: NamedMatrix, record: dict, origin: str) -> str:
    from gluon_confseg.report.grid import Grid
    from gluon_confseg.report.tables import percent

    lines = [f"Data: {named.data}"] if named.data else []
    lines += [
        f"Matrix: {named.source}.",
        *([_MISSES.format(named.matrix.misses.sum())] if named.matrix.misses.any() else []),
        f"Threshold: {percent(record['threshold'])} % ({origin}), taken off each edge: the share of A taken for B plus "
        "the share of B taken for A.",
        "",
    ]
    rows = [
        [str(number), ", ".join(group["names"]), percent(group["confusion"])]
        for number, group in enumerate(record["groups"], 1)
    ]
    if rows:
        lines.append(
            Grid(["group", "classes", "confusion inside, % of rows, summed"], rows, words=2).text(60)
        )
        lines.append(f"In no group: {', '.join(record['in_no_group']) or 'none'}.")
    else:
        lines.append("No groups: no two classes are confused by more than the threshold.")
    rows = [[", ".join(group["names"]), f"{group['overlap']:.2f}"] for group in record["paper"]]
    if rows:
        lines += ["", Grid(["the paper's groups", "overlap (IoU) with the best of these"], rows).text(60)]
    return "\n".join(lines)
