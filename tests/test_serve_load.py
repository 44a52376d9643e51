"""`confseg serve` as a process, with the network that ships with the package: many clients, kills, signals."""

from __future__ import annotations

import json
import signal
import threading
import time

import pytest

pytest.importorskip(
    "fastapi", reason="the extra is not installed: make setup-serve, or pip install '.[serve]'"
)

import serving  # noqa: E402

from experiments.tools import serve_load  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def posted(tmp_path_factory):
    """Pictures and their classes by `confseg predict`."""
    return serve_load.predicted(tmp_path_factory.mktemp("pictures"), "demo", 2)


def test_a_hundred_clients_lose_nothing_and_get_what_predict_gives(posted):
    with serve_load.started() as (port, process):
        found = serve_load.attack(port, posted, 100, 3.0)
        before = serve_load.resident(process.pid)
        again = serve_load.attack(port, posted, 100, 3.0)
        grown = serve_load.resident(process.pid) - before
    for each in (found, again):
        assert (each["lost"], each["wrong"]) == (0, 0) and each["answered"] >= 100
    assert grown < 60e6
    assert process.returncode == 0


def test_pictures_of_many_sizes_take_no_more_memory_each():
    sizes = [(40 + 9 * n, 90 - 2 * n) for n in range(20)]
    shown = [serving.png(serving.picture(n, *size)) for n, size in enumerate(sizes)]
    with serve_load.started() as (port, process):
        taken = []
        for _ in range(3):
            for data in shown:
                assert serving.segment(port, data, "?answer=labels")[0] == 200
            taken.append(serve_load.resident(process.pid))
    assert taken[2] - taken[1] < 30e6


def test_a_service_that_is_killed_in_the_middle_of_requests_starts_again(posted):
    with serve_load.started() as (port, process):
        ends = []

        def ask() -> None:
            try:
                ends.append(serving.segment(port, posted[0][0])[0])
            except OSError as error:
                ends.append(type(error).__name__)

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        process.kill()
        for thread in threads:
            thread.join()
        assert len(ends) == 20
    assert process.returncode == -signal.SIGKILL
    with serve_load.started("demo", "--port", str(port)) as (again, process):
        assert again == port
        assert serve_load.attack(port, posted, 2, 0.5)["wrong"] == 0
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_lets_what_was_begun_be_finished(posted, number):
    with serve_load.started() as (port, process):
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(serving.segment(port, posted[-1][0])))
            for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        while json.loads(serving.ask(port, "GET", "/health")[2])["waiting"] < 4 and len(answers) < 8:
            time.sleep(0.01)
        process.send_signal(number)
        for thread in threads:
            thread.join()
        assert process.wait(60) == 0
    assert [status for status, _, _ in answers] == [200] * 12
