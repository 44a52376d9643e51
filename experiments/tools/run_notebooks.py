"""Runs the notebooks of experiments/notebooks from top to bottom.

Run:    make notebooks                 writes the outputs into each file
        make notebooks ARGS=--check    writes nothing; fails where a cell fails, or a text or a table differs from the
                                       file's (pictures may, and cells with the tag "varies", whose numbers come from
                                       a training)
Cost:   two of them are seconds, those that train up to three minutes on two cores; no GPU, no data set.
"""

from __future__ import annotations

import copy
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError

from gluon_confseg import files
from gluon_confseg.cli import frame

from .. import PROJECT, argument_parser

FOLDER = PROJECT / "experiments" / "notebooks"
TIMEOUT = 1800  # seconds for a cell, on a machine that is busy with other things
VARIES = "varies"  # the tag of a cell whose output is another one on another machine


def main(argv: list | None = None) -> int:
    """Run every notebook, or those named; the exit status, 0 only where all went well."""
    parser = argument_parser("tools.run_notebooks", __doc__)
    parser.add_argument(
        "notebooks", nargs="*", type=Path, help="all of experiments/notebooks if none is given"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; compare texts and tables with the file"
    )
    arguments = parser.parse_args(argv)
    return frame.run(lambda: _run(arguments.notebooks or sorted(FOLDER.glob("*.ipynb")), arguments.check))


def _run(paths: list, check: bool) -> int:
    faults = [fault for path in paths for fault in run(path, check)]
    for fault in faults:
        frame.fail(fault)
    return 1 if faults else 0


def run(path: Path, check: bool) -> list:
    """Run one notebook; returns its faults, one sentence each. The file is replaced unless `check`."""
    if not path.is_file():
        return [f"{path}: there is no such notebook"]
    notebook, began = nbformat.read(path, as_version=4), time.monotonic()
    before = copy.deepcopy(notebook)
    try:
        execute(notebook, path.parent)
    except CellExecutionError as error:
        return [f"{path}: a cell failed: {error.ename}: {error.evalue}"]
    except CellTimeoutError:
        return [f"{path}: a cell took more than {TIMEOUT} s"]
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    print(f"{path}: {cells} cells run in {time.monotonic() - began:.0f} s", flush=True)
    traces = [
        f"{path}: cell {number} shows {trace}, which is of this machine; print paths relative to the current folder"
        for number, cell in enumerate(notebook.cells)
        for trace in machine_traces(cell)
    ]
    if traces:
        return traces
    if check:
        return [
            f"{path}: cell {number} shows something else than in the file; if that is meant, drop --check"
            for number, (old, new) in enumerate(zip(before.cells, notebook.cells))
            if VARIES not in old.metadata.get("tags", []) and texts(old) != texts(new)
        ]
    files.write_bytes(path, (nbformat.writes(notebook) + "\n").encode())
    return []


def execute(notebook, folder: Path) -> None:
    """Run all cells in place, in `folder`; progress, which stderr shows, is not kept."""
    paths = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"}
    place = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        notebook, timeout=TIMEOUT, kernel_name="python3", resources=place, record_timing=False
    )
    client.execute(env=environment)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata["language_info"] = {"name": "python"}


def texts(cell) -> str:
    """What a cell prints, and the tables it shows; not its pictures."""
    outputs = cell.get("outputs", [])
    return "".join(
        output.get("text", "") + output.get("data", {}).get("text/markdown", "") for output in outputs
    )


def machine_traces(cell) -> list:
    """The folders of this machine that a cell's outputs name."""
    shown = "".join(
        str(output) for output in cell.get("outputs", []) if "image/png" not in output.get("data", {})
    )
    names = [str(PROJECT), str(Path.home()), tempfile.gettempdir()]
    return [name for name in names if len(name) > 3 and name in shown]


if __name__ == "__main__":
    sys.exit(main())
