"""A server on this machine that answers as the publishers' documentation says they do."""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from causalign.data import Source

EXPLORATORY = b"headline,clicks\nYou will not believe it,12\n"
CONFIRMATORY = b"headline,clicks\nIt is true,7\n"


@dataclass
class Answer:
    body: bytes = b""
    status: int = 200
    headers: dict = field(default_factory=dict)
    stops_after: int | None = None  # bytes after which the connection hangs until released


class Publisher:
    """Answers by path; ``seen`` are the paths that were asked for."""

    def __init__(self):
        self.answers, self.seen, self.released = {}, [], threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def json(self, path, value):
        self.answers[path] = Answer(json.dumps(value).encode())

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    def _handler(publisher):  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                publisher.seen.append(self.path)
                answer = publisher.answers.get(self.path, Answer(b"not here", 404))
                self.send_response(answer.status)
                length = {"Content-Length": str(len(answer.body))}
                for name, value in (length | answer.headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body[: answer.stops_after])
                if answer.stops_after is not None:
                    self.wfile.flush()
                    publisher.released.wait(20)

            def log_message(self, *_):
                pass

        return Handler


def source_of(deposit, *files, name="upworthy") -> Source:
    return Source(name=name, title="Tests of headlines", publisher="A publisher",
                  page="https://example.org/page", licence="CC BY 4.0", citation="Someone (2021).",
                  read_by=(), deposit=deposit, files=files)  # fmt: skip


def osf_file(publisher, name, body, **changed):
    publisher.answers[f"/download/{name}"] = Answer(body)
    attributes = {"name": name, "kind": "file", "size": len(body),
                  "extra": {"hashes": {"md5": hashlib.md5(body).hexdigest(),
                                       "sha256": hashlib.sha256(body).hexdigest()}}}  # fmt: skip
    links = {"download": f"{publisher.address}/download/{name}"}
    return {"attributes": attributes | changed, "links": links, "relationships": {}}


def osf_folder(publisher, name, path):
    related = {"href": f"{publisher.address}{path}", "meta": {}}
    return {"attributes": {"name": name, "kind": "folder"}, "links": {},
            "relationships": {"files": {"links": {"related": related}}}}  # fmt: skip


TOP = "/v2/nodes/jd64p/files/osfstorage/"
