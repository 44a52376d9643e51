"""Signals that end a training: one waits for the end of a step, a second one tears it, and that is known."""

from __future__ import annotations

import os
import signal
import time

import pytest

from gluon_confseg.errors import Stopped
from gluon_confseg.signals import Signals


def test_one_signal_waits_for_the_end_of_the_step():
    done = []
    with Signals() as signals, pytest.raises(Stopped) as stopped:
        with signals.held():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("updated")
    assert done == ["updated"] and not signals.torn and stopped.value.signal == signal.SIGTERM


def test_a_second_signal_tears_the_step_and_says_so():
    done = []
    with Signals() as signals, pytest.raises(Stopped) as stopped:
        with signals.held():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("updated")
    assert not done and signals.torn and stopped.value.signal == signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_destructor_is_not_lost(number, capsys):
    class Array:
        def __del__(self):
            os.kill(os.getpid(), number)
            time.sleep(0)  # where Python calls the handler

    with Signals(), pytest.raises(Stopped) as stopped:
        array = Array()
        del array
        time.sleep(10)
    assert stopped.value.signal == number and not capsys.readouterr().err
