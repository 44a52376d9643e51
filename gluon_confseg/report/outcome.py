"""What came out of a run, in the sentences that a reader meets first: gains, and how much they can tell."""

from __future__ import annotations

from gluon_confseg.report.tables import WIDEST, cell_name, percent

# Table 3's cells (`recipe.four_cells`) by what they have and the first has not
WORDS = {
    "subnet0_confusion_ce": "the paper's loss",
    "subnets_ce": "subnets",
    "subnets_confusion_ce": "both together",
}
CROSS_ENTROPY = "subnet0_ce"  # the first of them


def sentences(results: dict) -> list:
    """What the cells of a finished run gained in mIoU over the first, and how sure that is.

    results   what results.json holds
    A cell that had more updates than the first is also compared with the first one trained on for as long; a sentence
    says where there is none. Of more cells than stand side by side in a table, only the best is compared.
    """
    first, *others = results["cells"]
    controls = _trained_on(first, others)
    others = sorted(
        (cell for cell in others if cell not in controls), key=lambda cell: _more(cell, first)
    )  # the loss before the subnets, which come after it
    if not others and not controls:
        return [f"{_capital(_name(first, first))}: {percent(first['mean_iou'])} % mIoU."]
    others = others or controls
    said = []
    if len(results["cells"]) > WIDEST:
        others = [max(others, key=lambda cell: cell["mean_iou"])]
        said.append(f"The best of the other cells is {cell_name(others[0])}.")
    said.append(
        f"Compared with {_name(first, first)} ({percent(first['mean_iou'])} % mIoU), {_changes(others, first, first)}."
    )
    longer = [cell for cell in others if cell not in controls and _more(cell, first) > 0]
    for control in controls:
        equal = [cell for cell in longer if cell["updates"] == control["updates"]]
        if equal:
            said.append(
                f"Compared with the same trained on for as long ({control['updates']:,} updates instead of "
                f"{first['updates']:,}; {percent(control['mean_iou'])} % mIoU), {_changes(equal, control, first)}."
            )
            longer = [cell for cell in longer if cell not in equal]
    if longer:
        said.append(
            f"{_capital(_had_more(longer, first))} than {_name(first, first)}, and no cell was trained on for as long: "
            "longer training alone may account for part of these gains, or for all."
        )
    return [*said, _caution(results, first, others)]


def _trained_on(first: dict, others: list) -> list:
    """The cells whose network is that of the first cell, trained on by the same loss."""
    found = [first]
    for _ in others:
        keys = [cell["key"] for cell in found]
        found += [cell for cell in others if cell not in found and cell.get("continues") in keys]
    return found[1:]


def _more(cell: dict, first: dict) -> int:
    return (cell.get("updates") or 0) - (first.get("updates") or 0)


def _name(cell: dict, first: dict) -> str:
    """A cell's name in a sentence."""
    if first.get("key") != CROSS_ENTROPY:
        return cell_name(cell)
    return "cross-entropy" if cell is first else WORDS.get(cell["key"], cell_name(cell))


def _changes(cells: list, reference: dict, first: dict) -> str:
    """ "the paper's loss changed mIoU by +0.44 points, subnets by +3.25, and both together by +2.13" """
    gains = [percent(cell["mean_iou"] - reference["mean_iou"], sign=True) for cell in cells]
    named = [_name(cell, first) for cell in cells]
    return _listed(
        [
            f"{named[0]} changed mIoU by {gains[0]} points",
            *(f"{n} by {g}" for n, g in zip(named[1:], gains[1:])),
        ]
    )


def _had_more(cells: list, first: dict) -> str:
    """ "subnets and both together had 300 more updates" """
    named = {}
    for cell in cells:
        named.setdefault(_more(cell, first), []).append(_name(cell, first))
    return _listed([f"{_listed(names)} had {count:,} more updates" for count, names in named.items()])


def _caution(results: dict, first: dict, others: list) -> str:
    images = results["data"]["val_images"]
    said = (
        f"Caution: this is one seed and {images} validation image{'s' if images != 1 else ''}; with another seed, each "
        "of these differences may change by a point or more."
    )
    if first.get("key") == CROSS_ENTROPY and any(str(cell["subnets"]) != "0" for cell in others):
        said += " Whether it is the groups that subnets gain by is not told by these cells."
    return said


def _listed(parts: list) -> str:
    if len(parts) < 3:
        return " and ".join(parts)
    return f"{', '.join(parts[:-1])}, and {parts[-1]}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
