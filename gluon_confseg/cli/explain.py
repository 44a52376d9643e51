"""`confseg explain`: what is known about one confusion, or one class, of a run or of anyone's predictions."""

from __future__ import annotations

from pathlib import Path

from gluon_confseg.cli import sides
from gluon_confseg.cli.output import Output
from gluon_confseg.errors import RunError

SUMMARY = (
    "Explain a confusion: how much, in which images, what changed from arm to arm, and what to try next."
)
EXAMPLES = (
    ("explain truck bus", "what is known of trucks that are taken for buses, in the newest run"),
    ("explain truck --run RUN", "all that trucks are taken for"),
)
RUNS = Path("runs")


def add_arguments(parser) -> None:
    """The classes; and the runs, or the folders."""
    parser.add_argument("truth", metavar="TRUTH", help="the true class")
    parser.add_argument(
        "prediction", metavar="PREDICTION", nargs="?", help="what it is taken for (default: all that it is)"
    )
    parser.add_argument(
        "--run",
        type=Path,
        action="append",
        metavar="FOLDER",
        help=f"a run folder; may be repeated (default: the newest in {RUNS}/)",
    )
    sides.add_arguments(parser, "runs", several=True)


def run(arguments) -> Output:
    """Say what is known."""
    _check_usage(arguments)
    from gluon_confseg.report import explain

    if arguments.predictions:
        from gluon_confseg.cli import compared

        _, space = sides.space_of(arguments)
        for name in (
            arguments.truth,
            arguments.prediction or arguments.truth,
        ):  # said before the work, not after it
            explain.find(space.classes, name)
        about, told = compared.of_folders(arguments, shown=False), []
    else:
        from gluon_confseg.report import comparison

        folders = arguments.run or [_newest()]
        sides.check_runs(folders)
        about = comparison.of_runs(folders)
        told = [] if arguments.run else [f"Run: {folders[0]} (the newest in {RUNS}/; another with --run)."]
    truth = explain.find(about.classes, arguments.truth)
    if truth == len(about.classes):
        raise RunError(
            f"{arguments.truth} is no class of the labels; give it as the second, what a class is taken for"
        )
    if arguments.prediction is None:
        record = explain.klass(about, truth)
    else:
        prediction = explain.find(about.classes, arguments.prediction)
        if prediction == truth:
            raise RunError(
                f"{arguments.truth} is not confused with itself; give another class, or leave the second out"
            )
        record = explain.pair(about, truth, prediction)
    lines = [about.data, *told, *about.notes, "", explain.text(record)]
    return Output("\n".join(lines), {"data": about.data, "notes": list(about.notes), **record})


def _newest() -> Path:
    """The folder of the run that ended last."""
    ended = sorted(RUNS.glob("*/results.json"), key=lambda file: file.stat().st_mtime)
    if not ended:
        raise RunError(
            f"{RUNS}: there is no finished run; name its folder with --run, or give folders with --predictions and "
            "--labels"
        )
    return ended[-1].parent


def _check_usage(arguments) -> None:
    if arguments.data and arguments.classes:
        arguments.usage("give --data or --classes, not both")
    if arguments.predictions:
        if arguments.run:
            arguments.usage("give --run or --predictions, not both")
        sides.check_usage(arguments)
        return
    for option in ("data", "classes", *sides.OF_FOLDERS):
        if getattr(arguments, option):
            arguments.usage(f"--{option.replace('_', '-')} goes with --predictions, not with a run")
