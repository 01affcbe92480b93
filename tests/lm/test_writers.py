"""Writers: servers that fail and answer pages, programs, files, models; answers outlive a kill."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from causalign.errors import ArtifactError, InputError, SettingsError
from causalign.lm import CommandWriter, FileWriter, LanguageModelWriter, ServerWriter
from causalign.lm.writers import ask_writer


class Server:
    """A server whose answers are what a function makes of a request: status and body."""

    def __init__(self, answer):
        self.requests, server = [], self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append((self.path, body, dict(self.headers)))
                status, content = answer(body, len(server.requests))
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.http.shutdown()
        self.http.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_port}/v1"


def chat(body, number, n=None):
    prompt = body["messages"][0]["content"]
    texts = [f"{prompt} {number} {i}" for i in range(n or body["n"])]
    return 200, {"choices": [{"message": {"content": text}} for text in texts]}


def test_a_server_is_asked_with_its_key_which_is_never_shown(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-secret")
    with Server(chat) as server:
        writer = ServerWriter(server.url, "m", key_variable="MY_KEY", temperature=0.5)
        texts = writer.write(["one", "two", "three"], 4, seed=3)
    assert [len(offered) for offered in texts] == [4, 4, 4]
    assert [offered[0].split()[0] for offered in texts] == ["one", "two", "three"]
    path, body, headers = server.requests[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer sk-secret"
    assert (body["n"], body["temperature"], body["model"]) == (4, 0.5, "m")
    assert "sk-secret" not in repr(writer) + str(writer.identify())


def test_a_server_that_gives_one_text_is_asked_again_and_prompts_can_be_continued():
    with Server(lambda body, number: chat(body, number, n=1)) as server:
        (texts,) = ServerWriter(server.url, "m").write(["a"], 3, seed=0)
    assert len(set(texts)) == 3
    assert len({body["seed"] for _, body, _ in server.requests}) == 3

    def plain(body, number):
        return 200, {"choices": [{"text": body["prompt"] + "!"}] * body["n"]}

    with Server(plain) as server:
        assert ServerWriter(server.url, "m", chat=False).write(["a"], 2, seed=0) == [["a!", "a!"]]
    assert server.requests[0][0] == "/v1/completions"


def test_a_server_that_is_busy_is_asked_again(monkeypatch):
    def busy(body, number):
        return (429, {"error": "slow down"}) if number < 3 else chat(body, number)

    monkeypatch.setattr("urllib3.util.retry.time.sleep", lambda seconds: None)
    with Server(busy) as server:
        assert len(ServerWriter(server.url, "m").write(["a"], 2, seed=0)[0]) == 2
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("status", "body", "match"),
    [
        (401, {"error": "no key"}, "error 401.*OPENAI_API_KEY"),
        (404, b"<html>Not found</html>", "error 404.*ends? in the version"),
        (500, b"<html>oops</html>", "error 500.*kept"),
        (200, b"<!DOCTYPE html><html>Sign in</html>", "a page that holds no texts"),
        (200, {"error": "quota"}, "a page that holds no texts"),
        (200, b"[" * 100_000, "a page that holds no texts"),
        (302, b"", "error 302"),
    ],
)
def test_an_error_page_is_told(status, body, match):
    with (
        Server(lambda *asked: (status, body)) as server,
        pytest.raises(InputError, match=match) as told,
    ):
        ServerWriter(server.url, "m", retries=0).write(["a"], 2, seed=0)
    assert len(str(told.value)) < 600


def test_a_server_that_is_not_there_is_told():
    with pytest.raises(ArtifactError, match="does not answer"):
        ServerWriter("http://127.0.0.1:9/v1", "m", retries=0).write(["a"], 2, seed=0)
    with pytest.raises(InputError, match="A server answers prompts"):
        ServerWriter("http://127.0.0.1:9/v1", "m").write([None], 2, seed=0)
    for settings in ({"url": "localhost"}, {"model": ""}, {"temperature": -1.0}, {"timeout": 0}):
        with pytest.raises(SettingsError):
            ServerWriter(**({"url": "http://x/v1", "model": "m"} | settings))


PROGRAM = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    texts = [f"{asked['prompt']} {i}" for i in range(asked["n"])]
    print(json.dumps({"id": asked["id"], "texts": TEXTS}))
"""


def program(folder, texts="texts"):
    path = folder / "writer.py"
    path.write_text(PROGRAM.replace("TEXTS", texts))
    return CommandWriter((sys.executable, str(path)))


def test_a_program_writes(tmp_path):
    assert program(tmp_path).write(["a", None], 2, 0) == [["a 0", "a 1"], ["None 0", "None 1"]]
    for wrong in ("'one'", "[1]", "None"):
        with pytest.raises(InputError, match="list of texts"):
            program(tmp_path, wrong).write(["a"], 2, 0)


def test_a_file_offers_rows_by_prompt_or_in_turn(tmp_path):
    path = tmp_path / "offers.csv"
    pacsv.write_csv(
        pa.table({"prompt": ["a", "b", "a", "a"], "completion": ["1", "2", "3", "4"]}), path
    )
    writer = FileWriter(str(path))
    assert writer.write(["a", "b", "c"], 2, 0) == [["1", "3"], ["2"], []]
    assert writer.write([None, None], 3, 0) == [["1", "2", "3"], ["4"]]
    with pytest.raises(InputError, match="no column 'headline'"):
        FileWriter(str(path), completion="headline").write(["a"], 2, 0)
    with pytest.raises(InputError, match="which candidate"):
        FileWriter(str(path), prompt="question").write(["a"], 2, 0)


def test_a_model_on_this_machine_writes_the_same_again(tiny_lm_folder):
    writer = LanguageModelWriter(str(tiny_lm_folder), max_new_tokens=4)
    first = writer.write(["Hello", None], 3, seed=1)
    assert [len(offered) for offered in first] == [3, 3]
    assert writer.write(["Hello", None], 3, seed=1) == first
    with pytest.raises(SettingsError, match="no language model"):
        LanguageModelWriter("no-such-model")


def test_a_broken_model_folder_is_told(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises((SettingsError, ArtifactError)):
        LanguageModelWriter(str(tmp_path)).write(["a"], 2, 0)


def test_answers_are_kept_and_not_asked_for_again(tmp_path):
    fails = {"at": 12}

    def answer(body, number):
        return (400, {"error": "stop"}) if number == fails["at"] else chat(body, number)

    prompts = [f"p{i}" for i in range(20)]
    with Server(answer) as server:
        writer = ServerWriter(server.url, "m", retries=0)
        with pytest.raises(InputError, match="error 400"):
            ask_writer(writer, prompts, 2, 0, tmp_path / "kept")
        asked = len(server.requests)
        fails["at"] = -1
        offers = ask_writer(writer, prompts, 2, 0, tmp_path / "kept")
        assert len(server.requests) - asked == 12  # the first eight are not asked for again
        assert [offered[0].split()[0] for offered in offers] == prompts
        before = len(server.requests)
        assert ask_writer(writer, prompts, 2, 0, tmp_path / "kept") == offers
        assert len(server.requests) == before
        with pytest.raises(ArtifactError, match="other settings or data"):
            ask_writer(writer, prompts, 3, 0, tmp_path / "kept")


def test_a_writer_that_offers_nothing_is_told(tmp_path):
    with pytest.raises(InputError, match="offered no text for any of 2 prompts"):
        ask_writer(program(tmp_path, "['', ' ']"), ["a", "b"], 2, 0)
