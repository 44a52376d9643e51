"""The command line `confseg`: one module per verb, imported when its verb is called, so that --help is quick.

Answers go to stdout (with --json one JSON object and nothing else), progress and errors to stderr. An error
is one sentence. Exit status: 0 success, 1 an error, 2 a wrong command line, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
import warnings

from gluon_confseg import runtime
from gluon_confseg.cli import parser
from gluon_confseg.errors import ConfSegError

DEBUG = "CONFSEG_DEBUG"  # set to anything: an error that is a bug shows its traceback


def main(argv: list[str] | None = None) -> int:
    """Run the verb of a command line (default: this process's) and return the exit status."""
    _write_any_character()
    arguments = parser.build().parse_args(argv)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        return _run(arguments)


def _run(arguments) -> int:
    try:
        answer = importlib.import_module(f"{__name__}.{arguments.verb}").run(arguments)
        print(json.dumps(answer.record, allow_nan=False) if arguments.json else answer.text, flush=True)
        return _fail(answer.failure, 1) if answer.failure else 0
    except KeyboardInterrupt:
        return _fail("stopped by Ctrl-C; every file that was written before is whole", 130)
    except BrokenPipeError:  # `confseg ... | head`: nobody reads on, not even an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        return _fail(sentence(error), 1)


def _fail(reason: str, status: int) -> int:
    print(f"confseg: {reason}", file=sys.stderr, flush=True)
    return status


def sentence(error: Exception) -> str:
    """One sentence, without a line break, on an error that stopped a verb."""
    text = " ".join(str(error).split())
    if isinstance(error, ConfSegError):
        return text
    if isinstance(error, ImportError):  # `runtime` answers `import mxnet` with a sentence of its own
        return text if runtime.problem() else f"{text}; install what is missing, or {runtime.REMEDY}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}; check the path, its permissions and the disk"
    if isinstance(error, MemoryError):
        return "there is not enough memory for this; use smaller images, or a machine with more of it"
    lines = str(error).strip().splitlines() or ["no message"]  # MXNet's messages end with what matters
    what = f"{type(error).__name__}: {lines[-1].strip()}"
    return f"unexpected {what}; set {DEBUG}=1 to see where, and please report it"


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    """A warning that a user can act on, in one line; libraries' complaints about each other are not shown."""
    if issubclass(category, RuntimeWarning):
        print(f"Note: {' '.join(str(message).split())}", file=sys.stderr, flush=True)


def _write_any_character() -> None:
    """A terminal without Unicode gets ? for what it has not, instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
