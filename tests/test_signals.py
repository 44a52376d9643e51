"""Signals that end a training: one waits for the end of a step, a second one tears it, and that is known."""

from __future__ import annotations

import os
import signal

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
