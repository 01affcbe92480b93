"""Logs behind addresses and in streams are read as files on this machine are, without secrets."""

import gzip
import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import causalign as ca
from causalign.errors import CausalignError, ExtraNotInstalled, UnreadableFile
from causalign.logs.reading import read_table, read_with_notes

ROLES = ca.Roles("mail", "minutes", confounders=("price",))
CSV = b"mail,minutes,price\na b,1.5,1\nc d,2.0,2\ne f,3.0,1\n"
JSON = b'{"mail": "a b", "minutes": 1.5, "price": 1}\n{"mail": "c d", "minutes": 2.0, "price": 2}\n'


@pytest.fixture
def memory():
    """Give a storage in memory, as fsspec's own tests use it."""
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


@pytest.fixture
def web():
    """Serve what a test puts into a mapping of paths; answer others with 404, some with 403."""
    pytest.importorskip("aiohttp")
    content: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0]
            body = content.get(path)
            self.send_response(200 if body is not None else 403 if path == "/mine" else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write((body or b"")[: len(body or b"") // (2 if "cut" in path else 1)])

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield content, f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_a_file_in_a_storage(memory):
    for name, content in {"a.csv": CSV, "a.jsonl": JSON, "a.csv.gz": gzip.compress(CSV)}.items():
        memory.pipe(f"/shop/{name}", content)
        logs = ca.Logs.read(f"memory://shop/{name}", ROLES)
        assert logs.completions[0] == "a b"
        assert logs.history[0] == f"read {len(logs)} rows from memory://shop/{name}"


def test_a_folder_and_a_glob_are_read_as_here(memory, tmp_path):
    for week in (1, 2):
        for name in ("a.csv", ".hidden.csv", "picture.png", "_SUCCESS"):
            memory.pipe(f"/shop/logs/week={week}/{name}", CSV)
            (tmp_path / f"logs/week={week}").mkdir(parents=True, exist_ok=True)
            (tmp_path / f"logs/week={week}/{name}").write_bytes(CSV)
    here = read_table(tmp_path / "logs")
    assert read_table("memory://shop/logs").equals(here)
    assert read_table("memory://shop/logs/").equals(here)
    assert read_table("memory://shop/logs/*/a.csv").equals(here)
    assert here["week"].to_pylist() == ["1"] * 3 + ["2"] * 3


def test_a_name_never_leads_out_of_the_folder(memory, tmp_path):
    memory.pipe("/shop/logs/../../../escaped.csv", CSV)
    memory.pipe("/shop/logs/a.csv", CSV)
    assert read_table("memory://shop/logs").num_rows == 3


def test_pairs_are_read_from_a_storage(memory):
    memory.pipe("/shop/pairs.jsonl", b'{"chosen": "a", "rejected": "b"}\n' * 2)
    assert len(ca.Pairs.read("memory://shop/pairs.jsonl")) == 2


def test_pages_of_the_web(web):
    content, host = web
    content["/mails.csv"] = CSV
    content["/export"] = JSON
    content["/table"] = parquet(pa.table({"mail": ["a", "b"], "minutes": [1, 2], "price": [1, 2]}))
    for path, rows in {"mails.csv?token=hunter2": 3, "export": 2, "table?id=4": 2}.items():
        logs = ca.Logs.read(f"http://reader:hunter2@{host}/{path}", ROLES)
        assert len(logs) == rows
        assert "hunter2" not in str(logs.history)
        assert "reader" not in str(logs.history)


@pytest.mark.parametrize(
    ("stream", "rows"),
    [
        (CSV, 3),
        (CSV.replace(b",", b"\t"), 3),
        (JSON, 2),
        (gzip.compress(JSON), 2),
        (b"\xef\xbb\xbf" + CSV, 3),
        (parquet(pa.table({"mail": ["a", "b"], "minutes": [1, 2], "price": [1, 2]})), 2),
    ],
    ids=["csv", "tsv", "jsonl", "gzip", "mark", "parquet"],  # a gzip holds the time
)
def test_streams_are_known_by_their_first_bytes(stream, rows):
    logs = ca.Logs.read(io.BytesIO(stream), ROLES)
    assert len(logs) == rows
    assert logs.history[0] == f"read {rows} rows from standard input"


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"", "'standard input' is empty"),
        (b"%PDF-1.4", "'standard input' is a PDF"),
        (b"PAR1 and then nothing", "'standard input' is damaged"),
        (gzip.compress(CSV)[:-20], "standard input"),
        (b'[{"mail": "a"}]', "'standard input' is one JSON array"),
    ],
    ids=["empty", "pdf", "damaged", "cut", "array"],
)
def test_streams_that_are_no_table(stream, expected):
    with pytest.raises(UnreadableFile) as caught:
        ca.Logs.read(io.BytesIO(stream), ROLES)
    assert expected in str(caught.value)
    assert "causalign-" not in str(caught.value)


def test_text_streams_are_refused():
    with pytest.raises(UnreadableFile, match="as bytes"):
        ca.Logs.read(io.StringIO("a,b\n"), ROLES)


def test_what_cannot_be_fetched(web, memory):
    content, host = web
    content["/page.csv"] = b"<!DOCTYPE html><p>Please log in.</p>"
    content["/cut.csv"] = CSV * 100
    memory.pipe("/shop/empty/readme.txt", b"nothing")
    memory.pipe("/shop/bad.csv", b"a,b\n1,2,3\n")
    refusals = {
        f"http://reader:hunter2@{host}/none.csv?key=hunter2": "There is no file",
        f"http://reader:hunter2@{host}/mine": "credentials",
        f"http://reader:hunter2@{host}/page.csv": "an HTML page",
        f"http://reader:hunter2@{host}/cut.csv": "cannot be read",
        "http://reader:hunter2@127.0.0.1:1/a.csv": "Cannot connect",
        "memory://shop/none.csv": "There is no file 'memory://shop/none.csv'",
        "memory://shop/empty": "holds no csv",
        "memory://shop/none/*.csv": "holds no csv",
        "memory://shop/bad.csv": "'memory://shop/bad.csv'",
        "postgresql://reader:hunter2@host/shop": "`Logs.query`",
        "s4://shop/a.csv": "there are: s3",
        "no scheme://a.csv": "There is no way to read",
    }
    for address, expected in refusals.items():
        with pytest.raises(CausalignError) as caught:
            read_with_notes(address)
        message = str(caught.value)
        assert expected in message, (address, message)
        for secret in ("hunter2", "reader", "causalign-"):
            assert secret not in message, message
        assert message.count("\n") < 3


def test_libraries_that_are_missing_are_named(monkeypatch):
    pytest.importorskip("fsspec")
    for scheme, library in {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub"}.items():
        monkeypatch.setitem(__import__("sys").modules, library, None)
        with pytest.raises(ExtraNotInstalled, match=f"pip install {library}"):
            read_table(f"{scheme}://shop/a.csv")
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(ExtraNotInstalled, match=r"causalign\[cloud\]"):
        read_table("s3://shop/a.csv")
