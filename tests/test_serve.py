"""`confseg serve`: answers are the network's, limits hold, and whatever is sent gets a sentence."""

from __future__ import annotations

import http.client
import json
import re
import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

WHY = "the extra is not installed: make setup-serve, or pip install '.[serve]'"
pytest.importorskip("fastapi", reason=WHY)
pytest.importorskip("uvicorn", reason=WHY)

import layouts  # noqa: E402
import malformed  # noqa: E402
import serving  # noqa: E402

from experiments import PROJECT  # noqa: E402
from gluon_confseg import cli, serve  # noqa: E402
from gluon_confseg.errors import RunError  # noqa: E402
from gluon_confseg.serve import regions, server  # noqa: E402

MALFORMED = malformed.requests()


@pytest.fixture(scope="module")
def port():
    with serving.running() as found:
        yield found


@pytest.fixture(scope="module")
def strict():
    """A service with small limits, of which nothing is asked but what is malformed; it must be well afterwards."""
    network = serving.StandIn()
    with serving.running(network, **malformed.LIMITS) as found:
        yield found
        assert serving.segment(found, serving.png(serving.picture()))[0] == 200
        said = serving.ask(found, "GET", "/metrics")[2].decode()
        assert "confseg_queue_length 0.0" in said
        assert not re.search(r'status="5', said)


# ---- answers


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_the_labels_are_the_network_s_classes(port, ending):
    data = serving.png(serving.picture(3, 40, 24), ending)
    status, headers, body = serving.segment(port, data, "?answer=labels")
    decoded = serving.decoded(data)
    assert status == 200 and headers["content-type"] == "image/png"
    assert np.array_equal(serving.decoded(body), decoded[..., 2] % 19)


def test_a_form_gives_the_same_answer_as_the_bytes_alone(port):
    data = serving.png(serving.picture(4))
    raw = malformed.form(
        (malformed.named("my picture.png"), data), ('Content-Disposition: form-data; name="a"', b"b")
    )
    status, _, body = serving.raw(port, raw)
    assert status == 200 and body == serving.segment(port, data)[2]


def test_chunks_give_the_same_answer_as_a_body_of_known_length(port):
    data = serving.png(serving.picture(5))
    chunks = serving.ask(port, "POST", "/segment", iter([data[:100], data[100:]]), Content_Type="image/png")
    assert chunks[2] == serving.segment(port, data)[2]


def test_a_client_that_closes_its_side_still_gets_the_answer(port):
    assert serving.raw(port, malformed.post(serving.png(serving.picture())), half_close=True)[0] == 200


def test_the_overlay_lies_over_the_picture(port):
    pixels = serving.picture(6)
    shown = serving.decoded(serving.segment(port, serving.png(pixels), "?answer=overlay")[2])[..., ::-1]
    colors = serving.StandIn.labels.colorize(pixels[..., 0] % 19)
    assert np.abs(shown - (0.4 * pixels + 0.6 * colors)).max() <= 0.51


def test_json_counts_the_classes_and_holds_the_pictures_that_are_asked_for(port):
    pixels = serving.picture(7)
    data = serving.png(pixels)
    status, _, body = serving.segment(port, data, "?include=labels,confusion")
    said, classes = json.loads(body), pixels[..., 0] % 19
    assert status == 200 and (said["width"], said["height"]) == (48, 32)
    assert {each["id"]: each["pixels"] for each in said["classes"]} == dict(
        zip(*np.unique(classes, return_counts=True))
    )
    assert sum(each["share"] for each in said["classes"]) == pytest.approx(1)
    shares = [each["share"] for each in said["classes"]]
    assert shares == sorted(shares, reverse=True) and said["classes"][0]["color"].startswith("#")
    assert sorted(said["pictures"]) == ["confusion", "labels"]
    import base64

    start, _, content = said["pictures"]["labels"].partition(",")
    assert start == "data:image/png;base64"
    assert base64.b64decode(content) == serving.segment(port, data, "?answer=labels")[2]


def test_confused_regions_are_where_two_classes_of_a_group_are_close(port):
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[..., 0] = 5  # a pole, and no group
    pixels[4:10, 8:20] = (2, 200, 0)  # building before wall
    pixels[20:30, 30:40] = (0, 200, 0)  # road before sidewalk
    pixels[2:4, 40:44] = (1, 200, 0)  # sidewalk before building: of two groups
    said = json.loads(serving.segment(port, serving.png(pixels))[2])["confused"]
    assert [(each["classes"], each["box"], each["pixels"]) for each in said["regions"]] == [
        (["road", "sidewalk"], [30, 20, 10, 10], 100),
        (["building", "wall"], [8, 4, 12, 6], 72),
    ]
    assert said["share"] == pytest.approx(172 / (32 * 48))
    assert said["close"] == 0.2


def test_a_picture_that_a_camera_turned_is_read_as_stored_and_its_note_says_so(port, tmp_path):
    file = layouts.write_turned(tmp_path / "a.png", serving.picture(8, 20, 30), 6)
    said = json.loads(serving.segment(port, file.read_bytes())[2])
    assert (said["width"], said["height"]) == (30, 20) and "EXIF orientation is 6" in said["notes"][0]


def test_a_network_of_classes_alone_has_no_confusions():
    network = serving.StandIn()
    network.gives_probabilities = False
    with serving.running(network) as port:
        data = serving.png(serving.picture())
        assert json.loads(serving.segment(port, data)[2])["confused"] is None
        status, _, body = serving.segment(port, data, "?answer=confusion")
        assert status == 400 and "classes alone" in serving.sentence_of(body)


# ---- what is malformed


def test_there_are_at_least_200_malformed_requests():
    assert len(MALFORMED) >= 200 and len({each.name for each in MALFORMED}) == len(MALFORMED)


@pytest.mark.parametrize("request_", MALFORMED, ids=lambda each: ascii(each.name))
def test_a_malformed_request_gets_a_4xx_and_a_sentence(strict, request_):
    status, headers, body = serving.raw(
        strict, *request_.parts, pause=request_.pause, half_close=request_.half_close
    )
    sentence = serving.sentence_of(body)
    assert status in request_.statuses and 400 <= status < 500, sentence
    assert headers["content-type"] == "application/json"
    assert str(PROJECT) not in sentence and "/tmp" not in sentence and "site-packages" not in sentence
    assert "Traceback" not in sentence and "\n" not in sentence and ".py" not in sentence


def test_a_client_that_leaves_harms_nobody(port):
    for cut in (10, 200, 1000):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(malformed.post(serving.png(serving.picture()))[:cut])
    assert serving.segment(port, serving.png(serving.picture()))[0] == 200


def test_connections_that_say_nothing_are_closed():
    with serving.running(body_seconds=0.3) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            assert connection.recv(10) == b""


@pytest.mark.parametrize("sent", [b"", b"G"], ids=["silent", "that sends a byte"])
def test_a_client_that_does_not_read_its_answer_is_let_go(sent):
    with serving.running(body_seconds=0.5, pixels=10**7) as port:
        # more than the system keeps for a connection, which can be 4 MB on each side
        noise = serving.png(serving.picture(0, 2000, 2000))
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(20)
            connection.connect(("127.0.0.1", port))
            connection.sendall(malformed.post(noise, target="/segment?answer=overlay"))
            assert select.select([connection], [], [], 20)[0]  # the answer has begun
            time.sleep(0.2)
            connection.sendall(sent)
            time.sleep(1.5)
            with pytest.raises((ConnectionError, http.client.HTTPException)):
                serving.read_answer(connection)


# ---- the queue


def _metrics(port: int) -> str:
    return serving.ask(port, "GET", "/metrics")[2].decode()


def _together(port: int, posted: list) -> list:
    with ThreadPoolExecutor(len(posted)) as pool:
        return list(pool.map(lambda data: serving.segment(port, data, "?answer=labels"), posted))


def test_pictures_of_one_size_go_together_and_each_gets_its_own_answer():
    network = serving.StandIn(seconds=0.3)
    with serving.running(network, batch=4) as port:
        shown = [serving.picture(n, 16, 16 + 8 * (n % 2)) for n in range(12)]
        answers = _together(port, [serving.png(each) for each in shown])
    assert [status for status, _, _ in answers] == [200] * 12
    for pixels, (_, _, body) in zip(shown, answers):
        assert np.array_equal(serving.decoded(body), pixels[..., 0] % 19)
    sizes = [len(batch) for batch in network.batches[1:]]
    assert all(len(set(batch)) == 1 for batch in network.batches)
    assert sum(sizes) == 12 and max(sizes) == 4 and set(sizes) <= {1, 2, 4}


def test_large_pictures_go_alone():
    network = serving.StandIn(seconds=0.1)
    with serving.running(network, batch_pixels=1000) as port:
        _together(port, [serving.png(serving.picture(n, 30, 20)) for n in range(4)])
    assert [len(batch) for batch in network.batches] == [1] * 5


def test_more_than_the_queue_holds_is_refused_at_once_and_the_rest_is_answered():
    with serving.running(serving.StandIn(seconds=0.5), queue=3, batch=1) as port:
        answers = _together(port, [serving.png(serving.picture(n)) for n in range(9)])
    statuses = sorted(status for status, _, _ in answers)
    assert set(statuses) == {200, 503} and statuses.count(200) >= 3
    for status, headers, body in answers:
        if status == 503:
            assert headers["retry-after"] == "1" and "3" in serving.sentence_of(body)


def test_an_answer_that_takes_too_long_is_a_503_and_what_was_given_up_is_not_computed():
    network = serving.StandIn(seconds=0.6)
    with serving.running(network, answer_seconds=0.3, batch=1) as port:
        network.batches.clear()
        answers = _together(port, [serving.png(serving.picture(n)) for n in range(4)])
        assert {status for status, _, _ in answers} == {503}
        assert "within 0.3 seconds" in serving.sentence_of(answers[0][2]) and "retry-after" in answers[0][1]
    assert len(network.batches) < 4


@pytest.mark.parametrize(
    "error, status, said",
    [
        (ValueError("in /secret/place.py"), 500, "the network failed"),
        (MemoryError(), 503, "not enough memory"),
        (RunError("/secret/net.npz: too large"), 503, "not enough memory"),
    ],
)
def test_a_network_that_fails_says_so_and_the_next_picture_is_answered(error, status, said):
    network = serving.StandIn()
    with serving.running(network) as port:
        network.fail = error
        got, _, body = serving.segment(port, serving.png(serving.picture()))
        assert got == status and said in serving.sentence_of(body) and "secret" not in body.decode()
        network.fail = None
        assert serving.segment(port, serving.png(serving.picture()))[0] == 200


def test_one_bad_picture_of_a_batch_spoils_no_other():
    network = serving.StandIn(seconds=0.3)
    with serving.running(network) as port:
        whole = [serving.png(serving.picture(n)) for n in range(6)]
        flipped = bytearray(whole[2])
        flipped[500] ^= 1
        whole[2] = bytes(flipped)
        assert [status for status, _, _ in _together(port, whole)] == [200, 200, 422, 200, 200, 200]


def test_what_was_begun_is_finished_before_the_end():
    network, answers = serving.StandIn(seconds=0.5), []
    with serving.running(network, batch=1) as port:
        threads = [
            threading.Thread(
                target=lambda n=n: answers.append(serving.segment(port, serving.png(serving.picture(n)))[0])
            )
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        until = time.monotonic() + 20
        while "confseg_queue_length 4.0" not in _metrics(port):
            assert time.monotonic() < until
    for thread in threads:
        thread.join()
    assert answers == [200] * 4
    with pytest.raises(ConnectionRefusedError):
        serving.ask(port, "GET", "/health")


# ---- the other addresses


def test_health_and_network_say_what_runs(port):
    status, _, body = serving.ask(port, "GET", "/health")
    assert status == 200 and json.loads(body)["status"] == "ok"
    said = json.loads(serving.ask(port, "GET", "/network")[2])
    assert said["network"] == "a stand-in" and len(said["classes"]) == 19
    assert said["groups"] == [["road", "sidewalk"], ["building", "wall", "fence"]]


def test_metrics_count_requests_pixels_and_seconds():
    with serving.running() as port:
        serving.segment(port, serving.png(serving.picture()))
        serving.ask(port, "GET", "/nothing/here")
        serving.raw(port, b"hello\r\n\r\n")
        said = _metrics(port)
    for line in (
        'confseg_requests_total{address="/segment",status="200"} 1.0',
        'confseg_requests_total{address="other",status="404"} 1.0',
        'confseg_requests_total{address="other",status="400"} 1.0',
        'confseg_seconds_count{part="network"} 1.0',
        "confseg_batch_pictures_count 1.0",
        "confseg_pixels_total 1536.0",
    ):
        assert line in said
    assert "process_resident_memory_bytes" in said


def test_the_page_asks_nothing_of_other_machines(port):
    for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")):
        status, headers, body = serving.ask(port, "GET", path)
        assert status == 200 and headers["content-type"].startswith(kind)
        assert "default-src 'self'" in headers["content-security-policy"]
        assert (
            b"http:" not in body.replace(b"http://www.w3.org", b"")
            and b"https:" not in body
            and b"//" not in re.sub(rb"^\s*//.*$|; *//.*$|, *//.*$|  //.*$", b"", body, flags=re.MULTILINE)
        )


def test_the_description_names_the_answers(port):
    said = json.loads(serving.ask(port, "GET", "/openapi.json")[2])
    assert said["paths"]["/segment"]["post"]["parameters"][0]["schema"]["enum"] == [
        "json",
        "labels",
        "overlay",
        "confusion",
    ]
    assert serving.ask(port, "GET", "/docs")[0] == 404


# ---- the command


def test_the_command_is_for_this_machine_alone_unless_told_otherwise():
    assert cli.parser().parse_args(["serve", "demo"]).host == "127.0.0.1"


def test_a_port_that_is_taken_is_a_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RunError, match="another program listens there"):
            server.bound("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(RunError, match="give another --host"):
        server.bound("192.0.2.1", 0)


def test_without_the_libraries_the_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "uvicorn", None)
    with pytest.raises(RunError, match="make setup-serve"):
        serve.need_libraries()


# ---- regions


@pytest.mark.parametrize("seed", range(4))
def test_the_largest_regions_are_those_of_a_plain_search(seed):
    draws = np.random.RandomState(seed)
    classes = draws.randint(0, 3, (12, 17)).astype(np.uint8)
    rivals = np.where(
        draws.rand(12, 17) < 0.7, (classes + draws.randint(1, 3, classes.shape)) % 3, 255
    ).astype(np.uint8)
    sizes, seen = [], np.zeros(classes.shape, bool)
    pair = np.where(rivals == 255, 99, 3 * np.minimum(classes, rivals) + np.maximum(classes, rivals))
    for start in zip(*np.nonzero(pair != 99)):
        todo, size = [start], 0
        while todo:
            y, x = todo.pop()
            inside = 0 <= y < 12 and 0 <= x < 17
            if inside and not seen[y, x] and pair[y, x] == pair[start]:
                seen[y, x], size = True, size + 1
                todo += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        sizes += [size] * (size > 0)
    found = regions.largest(classes, rivals, 5)
    assert [region.pixels for region in found] == sorted(sizes, reverse=True)[:5]
    for region in found:
        x, y, width, height = region.box
        assert width * height >= region.pixels and region.classes[0] != region.classes[1]
        assert set(region.classes) & set(classes[y : y + height, x : x + width].ravel().tolist())
