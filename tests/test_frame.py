"""Whatever ends a command is one sentence and an exit status, the same for every entry point."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import types
import warnings
from pathlib import Path

import pytest

from gluon_confseg import cli, doctor, files, progress
from gluon_confseg.cli import frame
from gluon_confseg.cli.output import Output
from gluon_confseg.errors import ConfSegError, Stopped

PROJECT = Path(__file__).resolve().parent.parent


def fails(error: BaseException):
    """A function that raises it."""

    def fail():
        raise error

    return fail


def said(capsys, error: BaseException, status: int = 1, **options) -> str:
    """What `run` says on stderr, which must be one sentence."""
    assert frame.run(fails(error), **options) == status
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("confseg: ") and err.count("\n") == 1
    return err


def test_the_status_is_what_the_function_returns():
    assert frame.run(lambda: None) == 0 and frame.run(lambda: 3) == 3


def test_a_wrong_command_line_keeps_the_parser_s_status():
    with pytest.raises(SystemExit) as stopped:
        frame.run(lambda: sys.exit(2))
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    "error, wanted",
    [
        (ConfSegError("camvid: is not\nthere"), "confseg: camvid: is not there\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/disk/file"),
            "/disk/file: the disk is full; make room",
        ),
        (OSError(errno.EFBIG, "File too large", "/disk/file"), "/disk/file: the file is larger than"),
        (
            OSError(errno.EROFS, "Read-only file system", "/disk/file"),
            "/disk/file: the file system is read-only",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/file"), "/file: permission denied; change"),
        (OSError(errno.EIO, "Input/output error", "/file"), "/file: Input/output error; check the path"),
        (OSError(errno.ENOSPC, "No space left on device"), "a file or the terminal: the disk is full"),
        (OSError("Failed downloading url"), "OSError: Failed downloading url; check the file"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory"),
        (
            ImportError("No module named 'matplotlib'"),
            f"No module named 'matplotlib'; {sys.executable} lacks something",
        ),
        (MemoryError(), "not enough memory"),
        (RuntimeError("cudaMalloc retry failed: out of memory"), "not enough memory"),
        (
            ValueError("first line\nlast line"),
            "unexpected ValueError: last line; this is a bug: set CONFSEG_DEBUG=1",
        ),
        (KeyError(), "unexpected KeyError: no message"),
    ],
)
def test_any_error_is_one_sentence(error, wanted, monkeypatch, capsys):
    monkeypatch.delenv(frame.DEBUG, raising=False)
    assert wanted in said(capsys, error)
    monkeypatch.setenv(frame.DEBUG, "1")
    assert frame.run(fails(error)) == 1 and "Traceback" in capsys.readouterr().err


def test_a_full_file_system_may_lack_inodes_alone(tmp_path, monkeypatch, capsys):
    full = types.SimpleNamespace(f_files=10, f_favail=0, f_bavail=1000)
    monkeypatch.setattr(os, "statvfs", lambda folder: full)
    error = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "new" / "file"))
    assert "inodes are used up" in said(capsys, error)


@pytest.mark.parametrize(
    "error, status, words",
    [
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C; every file that was written before is whole"),
        (Stopped(signal.SIGINT), 130, "stopped by Ctrl-C;"),
        (Stopped(signal.SIGTERM), 143, "stopped by SIGTERM;"),
        (Stopped(signal.SIGHUP), 129, "stopped by SIGHUP;"),
    ],
)
def test_a_stop_is_a_sentence_and_128_plus_the_signal(error, status, words, capsys):
    assert words in said(capsys, error, status)
    assert "the same command goes on from there" in said(capsys, error, status, goes_on=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_verb(number, monkeypatch, capsys):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    monkeypatch.setattr(doctor, "examine", lambda: (signal.raise_signal(number), time.sleep(5)))
    assert cli.main(["doctor"]) == 128 + number
    assert "stopped by" in capsys.readouterr().err
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_ctrl_c_inside_executed_text_gives_130_and_not_death_by_signal(tmp_path):
    (tmp_path / "stopped.py").write_text(
        "import sys\nfrom gluon_confseg.cli import frame\n"
        "text = 'import signal; signal.raise_signal(signal.SIGINT)'\n"
        "sys.exit(frame.run(lambda: exec(text)))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "stopped"]  # a script would give 130 either way
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 130 and done.stderr.startswith("confseg: stopped by Ctrl-C")


def test_what_nohup_ignores_stays_ignored():
    code = "import signal; from gluon_confseg.cli import frame; frame.run(lambda: signal.raise_signal(signal.SIGHUP))"
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    assert subprocess.run([sys.executable, "-c", ignoring + code], cwd=PROJECT).returncode == 0


def test_a_file_that_grows_too_large_is_named_and_leaves_no_part(tmp_path, capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        status = frame.run(lambda: files.write_bytes(tmp_path / "file", bytes(10**6)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 1 and f"{tmp_path / 'file'}: the file is larger" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def printing(stdout) -> tuple:
    """Exit status and stderr of a command that prints much to `stdout`."""
    code = "import sys; from gluon_confseg.cli import frame; sys.exit(frame.run(lambda: print('line\\n' * 100000)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, stdout=stdout, stderr=subprocess.PIPE, text=True
    )
    return done.returncode, done.stderr


def test_a_reader_that_goes_away_is_no_error_to_speak_of():
    reading, writing = os.pipe()
    os.close(reading)
    assert printing(writing) == (1, "")
    os.close(writing)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_below_stdout_is_one_sentence():
    with open("/dev/full", "w") as full:
        status, err = printing(full)
    assert (
        status == 1
        and err
        == "confseg: a file or the terminal: the disk is full; make room there, or write to another disk\n"
    )


@pytest.mark.parametrize(
    "name", ["\x1b[2J", "\x1b]0;title\x07", "\r", "\x00", "\x9b31m", "\u202egnp", "\u2028"]
)
def test_names_give_no_commands_to_the_terminal(name, monkeypatch, capsys):
    """In answers, errors, warnings and progress."""
    coded = f"x{name.encode('unicode_escape').decode()}y"
    name = f"x{name}y"
    verb = types.SimpleNamespace(
        run=lambda arguments: Output(f"class {name}\n\tand\n", {"class": name}, f"no {name}"), json=False
    )
    parser = types.SimpleNamespace(
        parse_args=lambda argv: types.SimpleNamespace(module=verb, json=argv == ["--json"])
    )
    monkeypatch.setattr(cli, "parser", lambda: parser)
    assert cli.main([]) == 1
    out, err = capsys.readouterr()
    assert out == f"class {coded}\n\tand\n\n" and err == f"confseg: no {coded}\n"
    assert cli.main(["--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"class": name}

    def say_more() -> None:
        warnings.warn(f"w {name}", RuntimeWarning, stacklevel=1)
        progress.say(f"s {name}")
        with progress.Progress(f"p {name}", 1) as bar:
            bar.update(1, worst=name)
        raise ConfSegError(f"e {name}")

    assert frame.run(say_more) == 1
    shown = capsys.readouterr().err
    assert "p " + coded in shown and "worst " + coded in shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e]", shown)
