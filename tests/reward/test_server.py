"""A served reward: the model's numbers to the bit, trainers' requests, and what strangers send."""

import gzip
import http.server
import json
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import urlsplit

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from causalign.errors import ArtifactError, InputError, SettingsError
from causalign.policy.rewards import replace_outcome
from causalign.reward import (
    LinearHead,
    RewardModel,
    RewardServer,
    Ridge,
    ServedReward,
    ServerLimits,
)
from causalign.simulate import Newsletter
from tests.reward.serving import JSON, send, serving

TOKEN = "a-token-of-the-tests-0123456789"
SECRET = "the text nobody may see"


@pytest.fixture(scope="module")
def logs():
    return Newsletter(rows=400, pairs=2).simulate().logs


@pytest.fixture(scope="module")
def model(logs):
    return Ridge().fit(logs, "hashing+style").model


@pytest.fixture(scope="module")
def address(model):
    with serving(model) as place:
        yield place


class Slow:
    """Encode a text as its length, when it is let."""

    name, revision, dimension = "slow", "1", 1

    def __init__(self):
        self.may_go = threading.Event()
        self.may_go.set()

    def encode(self, texts, progress=False):
        assert self.may_go.wait(60)
        if any("break" in text for text in texts):
            raise RuntimeError(f"broken by {texts}")
        return np.array([[len(text)] for text in texts], dtype=np.float32)


def slow_model(**settings):
    return RewardModel("slow", LinearHead(np.ones(1)), encoder=Slow(), **settings)


def test_scores_are_the_models_to_the_bit(model, logs, address):
    mails = logs.completions[:64]
    served = ServedReward(address)
    assert (served(mails) == model(mails)).all()
    assert served([]).shape == (0,)
    for texts in (mails, [*mails, "?!" * 99, "WORD " * 9_000]):
        there, here = served.assess(texts), model.assess(texts)
        for name in ("reward", "standard_error", "leverage", "in_support"):
            assert (getattr(there, name) == getattr(here, name)).all()
        assert (there.limit, there.truncated) == (here.limit, here.truncated)
    assert (there.in_support.all(), there.truncated) == (False, 1)
    answer = send(address, "/assess", {"completions": texts})[2]
    assert answer["in_support"] == here.in_support.tolist()
    assert answer["units"] == model.units


def test_scores_of_a_transformer_are_the_models_to_the_bit(logs, tiny_encoder_folder, tmp_path):
    saved = Ridge().fit(logs, str(tiny_encoder_folder)).save(tmp_path / "reward") / "model"
    here = RewardModel.load(saved)
    batches = [logs.completions[i : i + 1 + i % 7] for i in range(24)]
    with serving(RewardModel.load(saved)) as place, ThreadPoolExecutor(8) as clients:
        scored = list(clients.map(ServedReward(place), batches))
    # Clients that ask at once are not scored together, which could move the last bit.
    for batch, rewards in zip(batches, scored, strict=True):
        assert (rewards == here(batch)).all()


def test_prompts_are_read_where_the_model_reads_them():
    with serving(slow_model(reads_prompt=True)) as place:
        assert ServedReward(place)(["abc"], ["ab"])[0] == len("ab\n\nabc") != 3
        with pytest.raises(InputError, match="reads prompts"):
            ServedReward(place)(["abc"])
        with pytest.raises(InputError, match="1 texts and 2 prompts"):
            ServedReward(place)(["abc"], ["a", "b"])


def test_a_model_without_a_covariance_says_so():
    with serving(slow_model()) as place:
        scored, assessed = (
            send(place, path, {"completions": ["abc"], "prompts": ["x"]})[2]
            for path in ("/score", "/assess")
        )
        described = send(place, "/model")[2]
        assert ServedReward(place).assess(["abc"]).in_support is None
    assert scored == {"reward": [3.0], "truncated": 0, "units": "units of the outcome"}
    assert assessed == {
        "reward": [3.0],
        "standard_error": None,
        "in_support": None,
        "leverage": None,
        "limit": None,
        "truncated": 0,
        "units": "units of the outcome",
    }
    assert described["tells_standard_error"] is described["tells_support"] is False
    assert described["reads_prompt"] is False
    assert described["encoder"] == "slow"


BROKEN = {
    "no JSON": (b'{"completions": ["' + SECRET.encode(), 422),
    "nothing": (b"", 422),
    "a list": (b"[]", 422),
    "no texts": (b'{"texts": []}', 422),
    "a text for a list": (json.dumps({"completions": SECRET}).encode(), 422),
    "a number": (json.dumps({"completions": [SECRET, 3]}).encode(), 422),
    "nan": (b'{"completions": [NaN]}', 422),
    "null": (b'{"completions": [null]}', 422),
    "deep": (b'{"completions": ' + b"[" * 100_000, 400),
    "deep and whole": (b'{"completions": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400),
    "half a surrogate pair": (rb'{"completions": ["\ud800"]}', 422),
    "half a surrogate pair asked": (rb'{"completions": ["a"], "prompts": ["\udfff"]}', 422),
    "latin-1": (f'{{"completions": ["é {SECRET}"]}}'.encode("latin-1"), 400),
    "zeros": (b"\0" * 1000, 422),
    "gzip unsaid": (gzip.compress(b'{"completions": ["a"]}'), 400),
    "many errors": (b'{"completions": [' + b"0," * 1_000_000 + b"0]}", 422),
    "too many texts": (json.dumps({"completions": ["a"] * 1025}).encode(), 413),
    "too large": (json.dumps({"completions": ["a" * 10_000_000]}).encode(), 413),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused_without_an_echo(name, address, caplog, capfd):
    body, status = BROKEN[name]
    with caplog.at_level(logging.DEBUG):
        answer = send(address, body=body)
    assert answer[0] == status
    assert set(answer[2]) == {"error"}
    assert SECRET not in str(answer[2])
    assert SECRET not in caplog.text + "".join(capfd.readouterr())
    assert send(address, body={"completions": ["a"]})[0] == 200


def test_other_encodings(address, model):
    body = {"completions": ["é"]}
    coded = json.dumps(body, ensure_ascii=False).encode("utf-16")
    assert send(address, body=coded)[2]["reward"] == model(["é"]).tolist()
    zipped = gzip.compress(json.dumps(body).encode())
    assert send(address, body=zipped, headers=JSON | {"Content-Encoding": "gzip"})[0] == 415
    assert send(address, body=body, headers={"Content-Type": "text/plain"})[0] == 415
    assert send(address, body=body, headers={})[0] == 415
    long = ServedReward(address)(["a " * 3_000_000])
    assert long == model(["a " * 3_000_000])


def test_paths_that_are_none(address):
    assert send(address, "/score")[0] == 405
    assert send(address, "/nowhere")[:1] + send(address, "/docs")[:1] == (404, 404)
    assert "/score" in send(address, "/openapi.json")[2]["paths"]


def test_a_model_that_breaks_tells_nobody_the_text(caplog, capfd):
    with serving(slow_model()) as place:
        status, _, answer = send(place, body={"completions": [f"break {SECRET}"]})
        assert (status, answer) == (500, {"error": "The server failed."})
        assert ServedReward(place)(["abc"]) == [3.0]
    assert SECRET not in caplog.text + "".join(capfd.readouterr())
    assert "RuntimeError" in caplog.text


def test_a_token_is_asked_for(monkeypatch):
    with serving(slow_model(), token=TOKEN) as place:
        body = {"completions": ["abc"]}
        for wrong in ({}, {"Authorization": "Bearer x"}, {"Authorization": TOKEN}):
            status, headers, answer = send(place, body=body, headers=JSON | wrong)
            assert status == 401
            assert headers["WWW-Authenticate"] == "Bearer"
            assert TOKEN not in str(answer)
        bearing = {"Authorization": f"Bearer {TOKEN}"}
        assert send(place, body=body, headers=JSON | bearing)[0] == 200
        assert send(place, "/health")[2] == {"status": "ok"}
        assert [send(place, path)[0] for path in ("/metrics", "/model", "/openapi.json")] == [
            401
        ] * 3
        with pytest.raises(InputError, match="asks for a token"):
            ServedReward(place)(["abc"])
        monkeypatch.setenv("CAUSALIGN_TOKEN", TOKEN)
        assert ServedReward(place)(["abc"]) == [3.0]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"host": "0.0.0.0"}, "CAUSALIGN_TOKEN"),
        ({"host": ""}, "CAUSALIGN_TOKEN"),
        ({"token": "short"}, "at least 16"),
        ({"token": "with a letter beyond ASCII: é"}, "ASCII"),
        ({"port": 70_000}, "port must be"),
        ({"host": "no.such.host.invalid", "token": TOKEN}, "no.such.host.invalid"),
    ],
)
def test_addresses_and_tokens_that_are_refused(settings, says):
    with pytest.raises(SettingsError, match=says):
        RewardServer(slow_model(), **{"port": 0} | settings)


def test_a_port_in_use_is_named(address):
    with pytest.raises(SettingsError, match=r"[Aa]ddress already in use"):
        RewardServer(slow_model(), port=urlsplit(address).port)


@pytest.mark.parametrize(
    "settings",
    [
        {"texts": 0},
        {"request_bytes": 1.5},
        {"waiting_bytes": 10},
        {"requests_a_second": 0},
        {"seconds": float("nan")},
        {"connections": -1},
    ],
)
def test_limits_out_of_range(settings):
    with pytest.raises(SettingsError, match=next(iter(settings))):
        ServerLimits(**settings)


def test_who_asks_too_often_waits():
    limits = ServerLimits(requests_a_second=4)
    with serving(slow_model(), limits=limits) as place:
        time.sleep(1 - time.monotonic() % 1)
        answers = [send(place, body={"completions": ["abc"]}) for _ in range(12)]
        assert {answer[0] for answer in answers} == {200, 429}
        assert {a[1]["Retry-After"] for a in answers if a[0] == 429} == {"1"}
        assert send(place, "/health")[0] == 200
        assert ServedReward(place)(["abc"]) == [3.0]  # asks again a second later
        with pytest.raises(InputError, match="4 times a second"):
            [ServedReward(place, seconds=0.5)(["abc"]) for _ in range(6)]


def test_what_waits_is_limited():
    model = slow_model()
    limits = ServerLimits(waiting_requests=2, request_bytes=10_000, waiting_bytes=12_000)
    with serving(model, limits=limits) as place, ThreadPoolExecutor(4) as clients:
        body = {"completions": ["a" * 9_000]}
        model.encoder.may_go.clear()
        first = clients.submit(send, place, body=body)
        wait_for(place, "causalign_waiting_bytes", lambda b: b > 9_000)
        status, headers, answer = send(place, body=body)
        assert (status, headers["Retry-After"]) == (503, "1")
        assert "waits" in answer["error"]
        second = clients.submit(send, place, body={"completions": ["abc"]})
        wait_for(place, "causalign_waiting_requests", lambda n: n == 2)
        status, headers, answer = send(place, body={"completions": ["abc"]})
        assert (status, headers["Retry-After"]) == (503, "1")
        assert send(place, "/health")[0] == 200
        patient = clients.submit(ServedReward(place), ["abcd"])
        model.encoder.may_go.set()
        assert [first.result()[0], second.result()[0]] == [200, 200]
        assert patient.result() == [4.0]
        assert read_metric(place, "causalign_waiting_bytes") == 0


def read_metric(place, name):
    lines = send(place, "/metrics")[2].splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(name))


def wait_for(place, name, is_so):
    deadline = time.monotonic() + 30
    while not is_so(read_metric(place, name)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_metrics_count_what_was_asked():
    with serving(slow_model()) as place:
        send(place, body={"completions": ["abc", "d"]})
        send(place, body=b"broken")
        send(place, "/get_reward", {"query": ["abc"]})
        send(place, "/some/secret", method="GET")
        kind, words = (send(place, "/metrics")[1]["Content-Type"], send(place, "/metrics")[2])
    assert kind.startswith("text/plain; version=0.0.4")
    for line in (
        'causalign_requests_total{endpoint="/score",status="200"} 1.0',
        'causalign_requests_total{endpoint="/score",status="422"} 1.0',
        'causalign_requests_total{endpoint="/get_reward",status="200"} 1.0',
        'causalign_requests_total{endpoint="other",status="404"} 1.0',
        "causalign_texts_total 3.0",
        "causalign_scoring_seconds_count 2.0",
    ):
        assert line in words.splitlines()
    assert "secret" not in words


def connect(place):
    where = urlsplit(place)
    return socket.create_connection((where.hostname, where.port), timeout=30)


HEAD = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("sent", [b"", b"POST /sc", HEAD], ids=["nothing", "a word", "half a head"])
def test_a_connection_that_asks_nothing_is_closed(sent):
    with serving(slow_model(), limits=ServerLimits(seconds=0.3)) as place, connect(place) as line:
        line.sendall(sent)
        started = time.monotonic()
        with suppress(ConnectionResetError):  # how a peer may hang up
            while line.recv(100):
                pass
        assert time.monotonic() - started < 10
        assert ServedReward(place)(["abc"]) == [3.0]


def test_a_body_that_comes_too_slowly_is_refused():
    with serving(slow_model(), limits=ServerLimits(seconds=0.5)) as place, connect(place) as line:
        line.sendall(HEAD + b"Content-Length: 100\r\n\r\n")
        for _ in range(4):
            line.sendall(b" ")
            time.sleep(0.05)
        assert line.recv(1000).startswith(b"HTTP/1.1 408")


def test_drops_of_a_head_do_not_hold_a_connection():
    with serving(slow_model(), limits=ServerLimits(seconds=0.5)) as place, connect(place) as line:
        started = time.monotonic()
        with suppress(ConnectionResetError, BrokenPipeError):
            line.settimeout(0.05)
            while time.monotonic() - started < 20:
                line.sendall(b"P")
                try:
                    if not line.recv(100):
                        break
                except TimeoutError:
                    pass
        assert time.monotonic() - started < 10


def test_a_client_that_does_not_listen_is_hung_up_on():
    body = json.dumps({"completions": ["abc"] * 1024}).encode()
    asked = HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    with serving(slow_model(), limits=ServerLimits(seconds=0.5)) as place, socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect((urlsplit(place).hostname, urlsplit(place).port))
        line.settimeout(30)
        started, hung_up = time.monotonic(), False
        while not hung_up and time.monotonic() - started < 30:
            try:
                line.sendall(asked)
            except (ConnectionResetError, BrokenPipeError):
                hung_up = True
        assert hung_up
        assert ServedReward(place)(["abc"]) == [3.0]


def test_crowds_that_ask_nothing_keep_nobody_out():
    with serving(slow_model(), limits=ServerLimits(connections=20)) as place:
        crowd = [connect(place) for _ in range(200)]
        assert ServedReward(place)(["abc"]) == [3.0]
        for line in crowd:
            line.close()
        assert ServedReward(place)(["abc"]) == [3.0]


def test_a_connection_is_kept_and_used_again():
    with serving(slow_model()) as place, connect(place) as line:
        body = b'{"completions": ["abc"]}'
        for _ in range(3):
            line.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = b""
            while b'"units"' not in answer:
                answer += line.recv(1000)
            assert b'"reward":[3.0]' in answer


def test_stopping_ends_what_is_under_way():
    model = slow_model()
    server = RewardServer(model, port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    with ThreadPoolExecutor(1) as client:
        model.encoder.may_go.clear()
        asked = client.submit(ServedReward(server.address), ["abc"])
        wait_for(server.address, "causalign_waiting_requests", lambda n: n == 1)
        server.stop()
        model.encoder.may_go.set()
        assert asked.result() == [3.0]
    thread.join(20)
    assert not thread.is_alive()
    with pytest.raises(ArtifactError, match="causalign serve"):
        ServedReward(server.address)(["abc"])


def test_many_texts_are_asked_in_parts(model, logs, address):
    mails = (logs.completions * 6)[:2100]
    served = ServedReward(address).assess(mails)
    parts = [model.assess(mails[start : start + 1024]) for start in range(0, 2100, 1024)]
    for name in ("reward", "standard_error", "leverage"):
        assert (getattr(served, name) == np.concatenate([getattr(p, name) for p in parts])).all()
    assert (ServedReward(address)(mails) == served.reward).all()
    scored = replace_outcome(logs, ServedReward(address))
    assert (scored.outcome == model(logs.completions)).all()


def test_a_client_says_what_it_found(address):
    with pytest.raises(InputError, match=r"refuses \(422\): completions.1: Input should be"):
        ServedReward(address)(["a", 3])
    with pytest.raises(SettingsError, match="begins with http"):
        ServedReward("file:///etc/passwd")


@pytest.mark.parametrize("answer", [b"[]", b"{}", b"<html>", b'{"reward": [1, 2]}', b"\xff"])
def test_another_server_is_taken_for_none(answer):
    class Other(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *words):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(ArtifactError, match="reward server"):
            ServedReward(f"http://127.0.0.1:{server.server_port}")(["abc"])
        thread.join()
