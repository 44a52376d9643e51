"""The command line `confseg`: one module per verb.

A verb's module holds SUMMARY, the sentence that --help shows; perhaps EXAMPLES, (what is typed after confseg, what that
does), which --help shows as well; `add_arguments(parser)`; and `run(arguments)`, which returns an `Output`, or an exit
status where it has printed all itself. It imports what is slow to import (mxnet, numpy, cv2, matplotlib) inside
functions, so that --help is quick and works in a broken environment. It may have `goes_on(arguments)`: whether the same
command, given again, goes on where it was stopped.

Output goes to stdout (with --json one JSON object and nothing else), progress and errors to stderr. An error
is one sentence. Exit status: 0 success, 1 an error, 2 a wrong command line, 128 + N stopped by signal N.
"""

from __future__ import annotations

import importlib
import json
import os

from gluon_confseg import __version__
from gluon_confseg.cli import frame, options
from gluon_confseg.terminal import printable

# A new verb's name is added here: in the order of --help
VERBS = (
    "demo",
    "train",
    "launch",
    "doctor",
    "check",
    "study",
    "evaluate",
    "confusion",
    "groups",
    "predict",
    "serve",
    "submit",
    "export",
    "report",
    "explain",
)

DESCRIPTION = """Trains semantic segmentation networks against the confusions of look-alike classes, and shows what any
network confuses."""
EXAMPLES = (
    ("demo", "see it work: half a minute, no data set needed"),
    ("train drawn", "train a small network on street scenes that the package draws"),
    ("train own --root MYDATA", "train on your own images"),
    (
        "confusion --labels LABELS --predictions PREDICTIONS --classes classes.csv",
        "what any program confuses",
    ),
)


def main(argv: list[str] | None = None) -> int:
    """Run the verb of a command line (default: this process's) and return the exit status."""
    arguments = parser().parse_args(argv)
    verb = arguments.module

    def run() -> int:
        if os.environ.get("DMLC_ROLE") in ("scheduler", "server"):  # the whole job was started by one command
            from gluon_confseg.distributed import dist_sync

            dist_sync.serve_if_asked()
        output = verb.run(arguments)
        if isinstance(output, int):
            return output
        shown = json.dumps(output.record, allow_nan=False) if arguments.json else printable(output.text)
        print(shown, flush=True)
        return frame.fail(output.failure) if output.failure else 0

    return frame.run(run, goes_on=hasattr(verb, "goes_on") and verb.goes_on(arguments))


def parser() -> options.Parser:
    """The parser of all verbs; `module` of its result is the verb's, `usage` ends with a usage error."""
    declared = options.Parser(
        "confseg",
        description=DESCRIPTION,
        epilog=f"{_examples(EXAMPLES)}\n\n`confseg VERB --help` explains the options of a verb.",
        formatter_class=options.HelpFormatter,
    )
    declared.add_argument("--version", action="version", version=f"confseg {__version__}")
    verbs = declared.add_verbs()
    for name in VERBS:
        module = importlib.import_module(f"{__name__}.{name}")
        verb = verbs.add_parser(
            name,
            help=module.SUMMARY,
            description=module.SUMMARY,
            epilog=_examples(getattr(module, "EXAMPLES", ())),
            formatter_class=options.HelpFormatter,
        )
        module.add_arguments(verb)
        verb.add_argument(
            "--json", action="store_true", help="print one JSON object for programs, and nothing else"
        )
        verb.set_defaults(usage=verb.error, module=module)
    return declared


def _examples(examples) -> str | None:
    """Lines for the end of a help text; None where there are no examples."""
    lines = [line for typed, what in examples for line in (f"  confseg {typed}", f"      {what}")]
    return "\n".join(["examples:", *lines]) if lines else None
