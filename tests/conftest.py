"""The package is imported before MXNet is: it sets the number of threads."""

from __future__ import annotations

import json
import signal

import pytest

from gluon_confseg import cli

# a shell that starts tests in the background, or nohup, tells them and all that they start to ignore these
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def call(capsys):
    """Run a command line -> what it prints to stdout; it must succeed."""

    def run(*words) -> str:
        status = cli.main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert status == 0, err
        return out

    return run


@pytest.fixture
def ask(call):
    """The same with --json: the object, which must be all that stands on stdout."""
    return lambda *words: json.loads(call(*words, "--json"))


@pytest.fixture
def refuse(capsys):
    """Run a command line that must fail -> the sentence."""

    def run(*words, status: int = 1) -> str:
        assert cli.main([str(word) for word in words]) == status
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines() if line.startswith("confseg: ")]
        assert out == "" and len(lines) == 1 and err.splitlines()[-1] == lines[0] and "Traceback" not in err
        return lines[0]

    return run
