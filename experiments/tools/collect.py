"""Keeps the results of finished runs in experiments/results/, and writes them into experiments/README.md.

Run:   .venv/bin/python -m experiments.tools.collect RUN [RUN ...]     copy results.json of run folders, then the page
       .venv/bin/python -m experiments.tools.collect                  the page only
"""

from __future__ import annotations

import sys
from pathlib import Path

from gluon_confseg import files
from gluon_confseg.cli import frame
from gluon_confseg.report import outcome
from gluon_confseg.run_folder import read_json

from .. import PROJECT, argument_parser
from .marked_text import replace_between

FOLDER = PROJECT / "experiments" / "results"
COLUMNS = {
    "subnet0_ce": "subnet 0, CE",
    "subnet0_ce_continued": "subnet 0, CE, trained on",
    "subnets_ce": "all, CE",
    "subnet0_confusion_ce": "subnet 0, confusion CE",
    "subnets_confusion_ce": "all, confusion CE",
}
MARKS = ("<!-- table: python -m experiments.tools.collect -->", "<!-- end of table -->")


def main(argv: list | None = None) -> int:
    """Copy, then write the page; the exit status."""
    parser = argument_parser("tools.collect", __doc__)
    parser.add_argument("runs", nargs="*", type=Path, help="run folders")
    arguments = parser.parse_args(argv)
    return frame.run(lambda: _run(arguments.runs))


def _run(runs: list) -> None:
    for run in runs:
        keep(run)
    text = page([read_json(file) for file in sorted(FOLDER.glob("*.json"))])
    replace_between(PROJECT / "experiments" / "README.md", MARKS, text)
    print(text)


def keep(run: Path) -> None:
    """Copy a run's results, with the minutes that it took."""
    results = read_json(run / "results.json")
    timing = run / "timing.json"
    if timing.exists():
        results["timing"] = read_json(timing)
    files.write_json(FOLDER / f"{run.name}.json", results)


def page(kept: list) -> str:
    """The table, and what came out of each run, in the sentences that the run itself printed."""
    said = [f"- *{name(results)}*: {' '.join(outcome.sentences(results))}" for results in kept]
    return "\n".join([table(kept), "", *said])


def name(results: dict) -> str:
    """A run's recipe, profile and seed."""
    return f"{results['recipe']}, {results['training']['profile']}, seed {results['seed']}"


def table(kept: list) -> str:
    """One row per run: data, network, minutes, then each cell's mIoU in percent and its updates, where it was run."""
    heads = ["run", "data", "network", "minutes", *COLUMNS.values()]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for results in kept:
        network, data = results["network"], results["data"]
        what = "drawn scenes" if data["drawn"] else data["name"]
        what += f", {data['train_images']} train, {data['val_images']} val"
        built = f"{network['encoder']}, stride {network['output_stride']}, {network['subnets']}, {network['rule']}"
        minutes = results.get("timing", {}).get("minutes")
        scored = {
            cell["key"]: f"{100 * cell['mean_iou']:.2f} ({cell['updates']:,})" for cell in results["cells"]
        }
        cells = [scored.get(key, "-") for key in COLUMNS]
        lines.append(
            f"| {' | '.join([name(results), what, built, f'{minutes:.1f}' if minutes else '-', *cells])} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
