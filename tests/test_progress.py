"""Progress: one line on a terminal, plain lines elsewhere, the truth in both."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest
from tqdm.utils import disp_len

from gluon_confseg import progress
from gluon_confseg.progress import Progress, WholeRun, duration


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock():
    return Clock()


def test_a_log_gets_a_plain_line_every_interval_and_one_at_the_end(clock):
    log = io.StringIO()
    with Progress("training", 10, stream=log, prefix="[3/7] ", clock=clock) as progress:
        for _ in range(10):
            clock.now += 6
            progress.update(1, loss=0.25)
    assert log.getvalue().splitlines() == [
        "[3/7] training: 3/10 steps, 30 %, 42 s left, 6 s per step, loss 0.25",
        "[3/7] training: 6/10 steps, 60 %, 24 s left, 6 s per step, loss 0.25",
        "[3/7] training: 9/10 steps, 90 %, 6 s left, 6 s per step, loss 0.25",
        "[3/7] training: 10/10 steps in 1 min 00 s, 6 s per step, loss 0.25",
    ]


def test_a_log_gets_no_control_characters():
    log = io.StringIO()
    with Progress("x", 3, stream=log) as progress:
        progress.update(3)
    assert "\r" not in log.getvalue() and "\x1b" not in log.getvalue()


def test_steps_done_before_a_resume_do_not_count_in_the_rate(clock):
    log = io.StringIO()
    with Progress("training", 100, "image", stream=log, initial=60, interval=10, clock=clock) as progress:
        clock.now = 10
        progress.update(20)
    assert "80/100 images, 80 %, 10 s left, 2 images/s" in log.getvalue()


def drawn(terminal) -> list:
    """What a terminal showed, one after the other."""
    return [line.strip("\n\x1b[A ") for line in terminal.getvalue().split("\r")]


def test_a_terminal_gets_a_bar_with_the_time_left_and_the_figures(clock):
    terminal = Terminal()
    with Progress("evaluation", 4, "image", stream=terminal, clock=clock) as progress:
        for _ in range(3):
            clock.now += 2
            progress.update(1, loss=0.5)
        progress._bar.refresh()
        last = drawn(terminal)[-1]
        progress.update(1)
    assert last.startswith("evaluation |") and last.endswith(
        "| 3/4 images, 75 %, 2 s left, 2 s per image, loss 0.5"
    )
    assert drawn(terminal)[-1].endswith("| 4/4 images in 6 s, 1.5 s per image, loss 0.5")


@pytest.mark.parametrize("columns", [30, 60, 80, 200])
def test_a_terminal_s_line_never_wraps_and_holds_whole_figures_alone(clock, monkeypatch, columns):
    monkeypatch.setattr(progress, "_width", lambda stream: columns)
    terminal, pair = Terminal(), "truck taken for \u8def"  # a sign of two columns
    with Progress("ce", 100, stream=terminal, clock=clock) as training:
        clock.now += 2
        training.update(50, **{"loss": 0.25, "val mIoU": "45.1 %", "worst pair": pair})
        training._bar.refresh()
        line = drawn(terminal)[-1]
    text = re.sub(r" \|.*\|", ":", line)
    parts = (
        "50/100 steps|50 %|2 s left|25 steps/s|loss 0.25|val mIoU 45.1 %|worst pair truck taken for \u8def"
    )
    parts = parts.split("|")
    assert text == "ce: " + ", ".join(parts[: text.count(",") + 1])
    assert disp_len(line) < columns
    assert (len(parts) == text.count(",") + 1) == (columns == 200)


def test_the_rate_counts_what_a_step_works_on_and_no_other_work(clock):
    log = io.StringIO()
    with Progress("ce", 20, stream=log, each=(4, "image"), interval=20, clock=clock) as training:
        for _ in range(5):
            clock.now += 0.5
            training.update(1)
        clock.now += 100  # a validation
        training.update(0, score=1)
        clock.now += 0.5
        training.update(1)
    assert [line.split(", ")[-2] for line in log.getvalue().splitlines()] == ["8 images/s", "8 images/s"]


def test_the_rate_follows_a_machine_that_becomes_slower(clock):
    log = io.StringIO()
    with Progress("ce", 1000, stream=log, interval=1000, clock=clock) as training:
        for seconds in [1.0] * 600 + [4.0] * 101:
            clock.now += seconds
            training.update(1)
    assert log.getvalue().splitlines()[0].endswith(", 4 s per step")


def test_the_time_left_names_that_of_the_whole_run(clock):
    log, run = io.StringIO(), WholeRun({"step": 120})
    with Progress("ce", 20, stream=log, whole=(run, "step"), interval=60, clock=clock) as training:
        clock.now += 60
        training.update(10, loss=0.5, score=1)
    line = log.getvalue().splitlines()[0]
    assert line.endswith(", 1 min 00 s left, 6 s per step, loss 0.5, whole run about 11 min left, score 1")


def test_an_error_inside_is_not_reported_as_the_end(clock):
    log = io.StringIO()
    with pytest.raises(KeyError), Progress("training", 10, stream=log, clock=clock) as progress:
        progress.update(4)
        raise KeyError
    assert log.getvalue() == "training: stopped at 4/10\n"


def test_nothing_to_do_is_no_error_and_not_worth_a_line():
    log = io.StringIO()
    with Progress("training", 0, stream=log):
        pass
    assert log.getvalue() == ""


@pytest.mark.parametrize(
    "seconds, words", [(0.4, "0 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations_are_said_as_a_person_says_them(seconds, words):
    assert duration(seconds) == words


def test_work_between_two_steps_is_not_charged_to_the_step_after_it(clock):
    """A validation counts its images itself; `update(0)` after it shows its scores."""
    run = WholeRun({"step": 10, "image": 100}, {})
    with Progress("training", 10, stream=io.StringIO(), clock=clock, whole=(run, "step")) as progress:
        clock.now += 1
        progress.update(1)
        clock.now += 50
        run.count("image", 50, 100)
        progress.update(0, score=1)
        clock.now += 1
        progress.update(1)
    assert run.left() == "under a minute"  # 8 steps of a second


def test_work_after_the_run_is_shared_by_as_many_processes_as_it_will_have():
    alone = WholeRun({"step": 20}, later=({"step": 600}, 2))
    alone.count("step", 20, 20)
    assert alone.left() == "about 5 min"
    both = WholeRun({"step": 20}, later=({"step": 600}, 2))
    both.at_once = 2
    for _ in range(2):  # each process takes 2 seconds for a step
        both.count("step", 20, 10)
    assert both.left() == "about 10 min"


# ---- what another process relays


@pytest.fixture
def relayed(monkeypatch):
    """Progress and lines of this process go to what shows them as those of phase ce; the run, and what it showed."""
    log, run = io.StringIO(), WholeRun({"step": 20, "image": 8})
    shown, messages = progress.Relayed("ce", run), []
    progress.relay(lambda *message: messages.append(message))

    def show() -> str:
        progress.relay(None)
        with monkeypatch.context() as patched:
            patched.setattr("sys.stderr", log)
            while messages:
                shown.show(*messages.pop(0))
        return log.getvalue()

    yield SimpleNamespace(show=show, shown=shown, run=run, log=log)
    progress.relay(None)


def test_relayed_progress_is_shown_where_the_run_is(relayed, capsys):
    with Progress("phase 2 of 5 (ce)", 10, initial=4, whole=(WholeRun({}), "step")) as bar:
        bar.update(1, loss=0.5)
        with Progress("validation", 3, "image", whole=(WholeRun({}), "image")) as images:
            images.update(3)
        progress.say("labels are strange")
        bar.update(5, loss=0.25)
    assert capsys.readouterr().err == ""
    lines = relayed.show().splitlines()
    assert [line.split(":")[0] for line in lines] == ["ce", "ce", "phase 2 of 5 (ce)"]
    assert lines[0].startswith("ce: validation: 3/3 images") and lines[1] == "ce: labels are strange"
    assert "10/10 steps" in lines[2] and "loss 0.25" in lines[2]
    assert relayed.run._left == {"step": 10, "image": 5}


def test_what_a_process_that_is_gone_did_not_end_is_shown_as_stopped(relayed):
    Progress("phase 2 of 5 (ce)", 10).__enter__().update(4)
    relayed.show()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.stderr", relayed.log)
        relayed.shown.close()
    assert relayed.log.getvalue().splitlines() == ["phase 2 of 5 (ce): stopped at 4/10"]


def test_what_two_processes_do_at_once_takes_half_of_the_time(clock):
    run = WholeRun({"step": 100})
    run.at_once = 2
    run.count("step", 12, 1)
    assert run.left() == "about 10 min"  # 99 steps of 6 seconds
    run.scale(0.5)
    assert run.left() == "about 5 min"


def test_a_line_that_is_said_does_not_end_up_in_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress("training", 4) as bar:
        bar.update(1)
        progress.say("a word")
        bar.update(3)
    assert re.search(r"[\r\n]a word\n", terminal.getvalue())
