"""`confseg report`: runs, or anyone's predictions, as one page that shows where the confused pixels are."""

from __future__ import annotations

from pathlib import Path

from gluon_confseg.cli import sides, writable
from gluon_confseg.cli.output import Output

SUMMARY = "Write report.html: which classes are confused, where in the images, and what changed; of runs or of folders."
EXAMPLES = (
    ("report RUN", "of a run that confseg train wrote"),
    (
        "report --labels LABELS --predictions PREDICTIONS --classes classes.csv --out report",
        "of any program's predictions",
    ),
)
SEVERAL = Path("report")  # where a report of several runs goes by default


def add_arguments(parser) -> None:
    """Runs, or folders; and where the page goes."""
    parser.add_argument("run", type=Path, nargs="*", help="a run folder; several are compared")
    sides.add_arguments(parser, "runs", several=True)
    parser.add_argument(
        "--images", type=Path, metavar="FOLDER", help="with --labels: the photographs, for the crops"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help=f"where to write (default: into the run folder; {SEVERAL}/ for several)",
    )


def run(arguments) -> Output:
    """Write the page, and show the main table."""
    _check_usage(arguments)
    sides.check_runs(arguments.run)
    if len(arguments.run) == 1 and arguments.out is None:
        return _of_run(arguments.run[0])
    with writable.unless_failed(arguments.out or SEVERAL) as out:
        if arguments.predictions:
            from gluon_confseg.cli import compared

            return _written(compared.of_folders(arguments, arguments.images), out)
        from gluon_confseg.report import comparison

        return _written(comparison.of_runs(arguments.run), out)


def _of_run(folder: Path) -> Output:
    from gluon_confseg import report
    from gluon_confseg.report import tables
    from gluon_confseg.run_folder import read_json

    page = report.write(folder)
    results = read_json(folder / "results.json")
    return Output(f"{tables.terminal(results)}\n\nReport: {page}", {"report": str(page), "results": results})


def _written(compared, out: Path) -> Output:
    from gluon_confseg.report import explorer, spreadsheet, tables

    page = explorer.write(compared, out)
    lines = [compared.data, *compared.notes, tables.arms(compared).text(), f"Report: {page}"]
    return Output("\n\n".join(lines), {"report": str(page), "arms": spreadsheet.records(compared)})


def _check_usage(arguments) -> None:
    if bool(arguments.run) == bool(arguments.predictions):
        arguments.usage("give run folders, or --predictions with --labels or --root")
    if arguments.data and arguments.classes:
        arguments.usage("give --data or --classes, not both")
    if arguments.run:
        for option in ("data", "classes", "images", *sides.OF_FOLDERS):
            if getattr(arguments, option):
                arguments.usage(f"--{option.replace('_', '-')} goes with --predictions, not with a run")
        return
    sides.check_usage(arguments)
    if arguments.out is None:
        arguments.usage("--predictions needs --out, the folder to write to")
