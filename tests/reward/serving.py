"""A reward server in a thread of its own, and raw requests to it."""

import http.client
import json
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

from causalign.reward import RewardServer

JSON = {"Content-Type": "application/json"}


@contextmanager
def serving(model, **settings):
    """Serve a model at a free port while the block runs; give the address."""
    server = RewardServer(model, port=0, **settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.address
    finally:
        server.stop()
        thread.join()


def send(address, path="/score", body=None, headers=JSON, method=None):
    """Send bytes, or what becomes JSON; return the status, the headers and the answer."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request(method or ("GET" if data is None else "POST"), path, data, headers)
        answer = connection.getresponse()
        read = answer.read()
    finally:
        connection.close()
    is_json = answer.headers["Content-Type"] == "application/json"
    return answer.status, answer.headers, json.loads(read) if is_json else read.decode()
