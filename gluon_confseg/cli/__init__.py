"""The command line `confseg`: one module per verb, imported when its verb is called, so that --help is quick.

Answers go to stdout (with --json one JSON object and nothing else), progress and errors to stderr. An error
is one sentence. Exit status: 0 success, 1 an error, 2 a wrong command line, 128 + N stopped by signal N.
"""

from __future__ import annotations

import importlib
import json

from gluon_confseg.cli import frame, parser


def main(argv: list[str] | None = None) -> int:
    """Run the verb of a command line (default: this process's) and return the exit status."""
    arguments = parser.build().parse_args(argv)
    return frame.run(lambda: _run(arguments))


def _run(arguments) -> int:
    answer = importlib.import_module(f"{__name__}.{arguments.verb}").run(arguments)
    print(json.dumps(answer.record, allow_nan=False) if arguments.json else answer.text, flush=True)
    return frame.fail(answer.failure) if answer.failure else 0
