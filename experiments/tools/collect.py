"""Keeps the results of finished runs in experiments/results/, and writes their table into experiments/README.md.

Run:   .venv/bin/python -m experiments.tools.collect RUN [RUN ...]     copy results.json of run folders, then the table
       .venv/bin/python -m experiments.tools.collect                  the table only
"""

from __future__ import annotations

import sys
from pathlib import Path

from gluon_confseg import files
from gluon_confseg.cli import frame
from gluon_confseg.run_folder import read_json

from .. import PROJECT, argument_parser
from .marked_text import replace_between

FOLDER = PROJECT / "experiments" / "results"
COLUMNS = {
    "subnet0_ce": "subnet 0, CE",
    "subnets_ce": "all, CE",
    "subnet0_confusion_ce": "subnet 0, confusion CE",
    "subnets_confusion_ce": "all, confusion CE",
}
MARKS = ("<!-- table: python -m experiments.tools.collect -->", "<!-- end of table -->")


def main(argv: list | None = None) -> int:
    """Copy, then write the table; the exit status."""
    parser = argument_parser("tools.collect", __doc__)
    parser.add_argument("runs", nargs="*", type=Path, help="run folders")
    arguments = parser.parse_args(argv)
    return frame.run(lambda: _run(arguments.runs))


def _run(runs: list) -> None:
    for run in runs:
        keep(run)
    text = table([read_json(file) for file in sorted(FOLDER.glob("*.json"))])
    replace_between(PROJECT / "experiments" / "README.md", MARKS, text)
    print(text)


def keep(run: Path) -> None:
    """Copy a run's results, with the minutes that it took."""
    results = read_json(run / "results.json")
    timing = run / "timing.json"
    if timing.exists():
        results["timing"] = read_json(timing)
    files.write_json(FOLDER / f"{run.name}.json", results)


def table(kept: list) -> str:
    """One row per run: which data, network and budget, then the four cells' mIoU in percent, where they were run."""
    heads = ["run", "data", "network", "minutes", *COLUMNS.values()]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for results in kept:
        network, data = results["network"], results["data"]
        name = f"{results['recipe']}, {results['training']['profile']}, seed {results['seed']}"
        what = "drawn scenes" if data["drawn"] else data["name"]
        what += f", {data['train_images']} train, {data['val_images']} val"
        built = f"{network['encoder']}, stride {network['output_stride']}, {network['subnets']}, {network['rule']}"
        minutes = results.get("timing", {}).get("minutes")
        scored = {cell["key"]: f"{100 * cell['mean_iou']:.2f}" for cell in results["cells"]}
        cells = [scored.get(key, "-") for key in COLUMNS]
        lines.append(f"| {' | '.join([name, what, built, f'{minutes:.1f}' if minutes else '-', *cells])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
