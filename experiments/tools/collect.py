"""Keeps the results of finished runs in experiments/results/, and writes their table into experiments/README.md.

Run:   .venv/bin/python -m experiments.collect RUN [RUN ...]     copy results.json of run folders, then the table
       .venv/bin/python -m experiments.collect                  the table only
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gluon_confseg import files
from gluon_confseg.errors import ConfSegError
from gluon_confseg.run_folder import read_json

from .command import PROJECT
from .export_symbols import replace_between

FOLDER = PROJECT / "experiments" / "results"
COLUMNS = {
    "subnet0_ce": "subnet 0, CE",
    "all_ce": "all, CE",
    "subnet0_new": "subnet 0, new CE",
    "all_new": "all, new CE",
}
MARKS = ("<!-- table: python -m experiments.collect -->", "<!-- end of table -->")


def main() -> None:
    """Copy, then write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path)
    try:
        for run in parser.parse_args().runs:
            keep(run)
        kept = [read_json(file) for file in sorted(FOLDER.glob("*.json"))]
    except ConfSegError as error:
        sys.exit(f"confseg: {error}")
    text = table(kept)
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
    """One row per run: which data, network and budget, then the four arms' mIoU in percent, where they were run."""
    heads = ["run", "data", "network", "minutes", *COLUMNS.values()]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for results in kept:
        network, data = results["network"], results["data"]
        name = f"{results['experiment']}, {results['training']['profile']}, seed {results['seed']}"
        what = "drawn scenes" if data["drawn"] else data["name"]
        what += f", {data['train_images']} train, {data['val_images']} val"
        built = f"{network['encoder']}, stride {network['output_stride']}, {network['subnets']}, {network['rule']}"
        minutes = results.get("timing", {}).get("minutes")
        scored = {arm["key"]: f"{100 * arm['mean_iou']:.2f}" for arm in results["arms"]}
        cells = [scored.get(key, "-") for key in COLUMNS]
        lines.append(f"| {' | '.join([name, what, built, f'{minutes:.1f}' if minutes else '-', *cells])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
