"""The frame around every command: whatever ends it becomes an exit status, and one sentence on stderr.

`confseg`, data/prepare.py and the experiments end in `sys.exit(frame.run(...))`. Statuses: what the function
returns, 0 for None; 1 an error; 130, 143 and 129 stopped by SIGINT (Ctrl-C), SIGTERM and SIGHUP.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from gluon_confseg import runtime, signals
from gluon_confseg.errors import ConfSegError
from gluon_confseg.out_of_memory import is_out_of_memory
from gluon_confseg.terminal import printable

DEBUG = "CONFSEG_DEBUG"  # set to anything: every error shows its traceback
AGAIN = "the same command goes on from there"
MEMORY = "there is not enough memory for this; use smaller images or batches, or a machine with more of it"

# What the system's reasons mean for a user; others are said in the system's words
_REASONS = {
    errno.ENOSPC: "the disk is full; make room there, or write to another disk",
    errno.EDQUOT: "your disk quota is used up; make room there, or write to another disk",
    errno.EFBIG: "the file is larger than its file system or `ulimit -f` allows; write to another place",
    errno.EROFS: "the file system is read-only; write to another place",
    errno.EACCES: "permission denied; change the permissions, or choose another place",
    errno.EPERM: "permission denied; change the permissions, or choose another place",
    errno.EMFILE: "too many files are open; lift the limit with `ulimit -n 4096`",
}
_NO_INODES = "the file system has no room for another file (its inodes are used up); remove some files there"


def run(function: Callable[[], int | None], *, goes_on: bool = False) -> int:
    """Call `function` and return the exit status of its process; only SystemExit passes through.

    goes_on     the same command, given again, goes on where it was stopped: said where a signal stops it
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without Unicode gets ? for what it has not
    with _signals_stop(), warnings.catch_warnings():
        warnings.showwarning = _note
        try:
            status = function() or 0
            sys.stdout.flush()
            return status
        except BrokenPipeError:  # `confseg ... | head`: nobody reads on, not even an error
            _let_go_of_stdout()
            return 1
        except KeyboardInterrupt as error:
            number = getattr(error, "signal", signal.SIGINT)
            by = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            whole = "every file that was written before is whole"
            after = AGAIN if goes_on else whole
            return fail(f"stopped by {by}; {after}", 128 + number)
        except Exception as error:
            if os.environ.get(DEBUG):
                traceback.print_exc()
            _let_go_of_stdout()
            # what the system refused, such as to write on a full disk, lost nothing
            again = f"; {AGAIN}" if goes_on and isinstance(error, OSError) and error.errno in _REASONS else ""
            return fail(sentence(error) + again)


def fail(reason: str, status: int = 1) -> int:
    """Say a sentence on stderr; returns `status`."""
    with contextlib.suppress(OSError):  # nobody reads stderr either
        print(printable(f"confseg: {reason}"), file=sys.stderr, flush=True)
    return status


def sentence(error: Exception) -> str:
    """One sentence, without a line break, on an error that stopped a command."""
    text = " ".join(str(error).split())
    if isinstance(error, ConfSegError):
        return text
    if isinstance(error, ImportError):  # `runtime` answers `import mxnet` with a sentence of its own
        known = runtime.problem() == text
        return text if known else f"{text}; {sys.executable} lacks something: {runtime.remedy(error)}"
    if is_out_of_memory(error):
        return MEMORY
    if isinstance(error, OSError) and error.strerror:
        unknown = f"{error.strerror}; check the path, its permissions and the disk"
        reason = _NO_INODES if _has_no_inodes(error) else _REASONS.get(error.errno, unknown)
        return f"{error.filename or 'a file or the terminal'}: {reason}"
    if isinstance(error, OSError):  # a library's own, such as a download's
        return f"{type(error).__name__}: {text or 'no message'}; check the file, its disk and the network"
    lines = str(error).strip().splitlines() or ["no message"]  # MXNet's messages end with what matters
    what = f"{type(error).__name__}: {lines[-1].strip()}"
    return f"unexpected {what}; this is a bug: set {DEBUG}=1 to see where, and please report it"


def _has_no_inodes(error: OSError) -> bool:
    if error.errno != errno.ENOSPC or not isinstance(error.filename, (str, os.PathLike)):
        return False
    folder = next((str(above) for above in Path(error.filename).absolute().parents if above.is_dir()), "/")
    with contextlib.suppress(OSError):
        found = os.statvfs(folder)
        return found.f_files > 0 and found.f_favail == 0 and found.f_bavail > 0
    return False


@contextlib.contextmanager
def _signals_stop() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise `Stopped`, unless they are ignored or already have a handler.

    SIGINT too: where a KeyboardInterrupt itself passes an `exec` of text, as in the import of MXNet, `python -m` dies
    of the signal in the end, although it was caught.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    defaults = (signal.SIG_DFL, signal.default_int_handler)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    taken = {number: handler for number, handler in handlers.items() if handler in defaults}
    for number in taken:
        signal.signal(number, signals.stop)
    try:
        yield
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)


def _note(message, category, filename, lineno, file=None, line=None) -> None:
    """A warning that a user can act on, in one line; libraries' complaints about each other are not shown."""
    if issubclass(category, RuntimeWarning):
        print(printable(f"Note: {' '.join(str(message).split())}"), file=sys.stderr, flush=True)


def _let_go_of_stdout() -> None:
    """Where what is left to print can't be, Python would complain at its end, with a status of its own."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
