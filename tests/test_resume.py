"""A run that is killed and goes on ends with the same bytes as one that was not."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from experiments import kill_test

SCRIPT = """
import pathlib, sys
sys.path[:0] = [{tests!r}, {project!r}]
from test_recipe import TINY
from experiments import runner
runner.run(TINY, pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), save_every=0.0)
"""


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    script = SCRIPT.format(tests=str(kill_test.PROJECT / "tests"), project=str(kill_test.PROJECT))

    def start(out):
        arguments = [sys.executable, "-c", script, str(folder / "scenes"), str(out)]
        return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    return start


def run_to_the_end(command, out) -> dict:
    process = command(out)
    errors = process.communicate()[1]
    assert process.returncode == 0, errors
    return kill_test.fingerprint(out)


@pytest.fixture(scope="module")
def uninterrupted(command, tmp_path_factory):
    return run_to_the_end(command, tmp_path_factory.mktemp("whole") / "run")


def lines_before_the_kill(process, wanted: int) -> None:
    for _ in range(wanted):
        if not process.stderr.readline():
            return


@pytest.mark.parametrize("moment", random.Random(0).sample(range(3, 11), 3))
def test_resumed_equals_uninterrupted(command, uninterrupted, tmp_path, moment):
    process = command(tmp_path / "run")
    lines_before_the_kill(process, moment)  # each line is a part of the run that ended
    process.kill()
    process.communicate()
    assert process.returncode != 0
    assert run_to_the_end(command, tmp_path / "run") == uninterrupted
