import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from causalign import Logs, Roles
from causalign.errors import SettingsError
from causalign.lm import EmbeddingCache, embed, embed_logs, load_encoder
from causalign.lm.cache import default_cache_folder, text_keys

ENCODER = '''
import hashlib, sys, time
from dataclasses import dataclass
import numpy as np

@dataclass
class Hashing:
    """Give each text a vector drawn from its hash, so that any process knows the right one."""

    name: str = "hashing"
    revision: str = "1"
    dimension: int = 384
    encoded: int = 0
    delay: float = 0.0

    def encode(self, texts, progress=False):
        time.sleep(self.delay)
        self.encoded += len(texts)
        seeds = [int.from_bytes(hashlib.sha256(t.encode()).digest()[:8], "big") for t in texts]
        rows = [np.random.default_rng(s).normal(size=self.dimension) for s in seeds]
        return np.array(rows, dtype=np.float32).reshape(len(texts), self.dimension)
'''
exec(ENCODER)  # the same text runs in the processes that are started below

WORKER = (
    ENCODER
    + """
from causalign import Logs, Roles
from causalign.lm import EmbeddingCache, embed, embed_logs, load_encoder
texts = [f"text {i}" for i in range(int(sys.argv[2]))]
print("started", flush=True)
done = embed(texts, Hashing(delay=float(sys.argv[3])), EmbeddingCache(sys.argv[1]))
assert done.cache_problem is None, done.cache_problem
assert (done.vectors == Hashing().encode(texts)).all()
"""
)
TEXTS = [f"text {i}" for i in range(700)]


def start(folder, count, delay=0.0):
    command = [sys.executable, "-c", WORKER, str(folder), str(count), str(delay)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path, seconds):
    """Wait until the database at the path holds a row."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists() and path.stat().st_size > 100_000:
            return
        time.sleep(0.05)


def right(texts):
    return Hashing().encode(texts)  # noqa: F821


@pytest.fixture
def encoder():
    return Hashing()  # noqa: F821


def test_the_second_time_nothing_is_encoded(tmp_path, encoder):
    cache = EmbeddingCache(tmp_path)
    first = embed(TEXTS + TEXTS[:5], encoder, cache)
    assert (encoder.encoded, first.cached) == (700, 0)
    second = embed(TEXTS + TEXTS[:5], encoder, cache)
    assert (encoder.encoded, second.cached) == (700, 705)
    assert (first.vectors == second.vectors).all()
    third = embed([*TEXTS[:3], "new"], encoder, cache)
    assert (encoder.encoded, third.cached) == (701, 3)


def test_encoders_do_not_share_vectors():
    keys = {
        text_keys(*given, ["text"])[0]
        for given in [("a", "1", 3), ("a", "2", 3), ("b", "1", 3), ("a", "1", 4)]
    }
    assert len(keys) == 4


def test_truncation_is_remembered(tmp_path, encoder):
    @dataclass
    class Short(type(encoder)):
        def too_long(self, texts):
            return np.array([len(t) > 6 for t in texts])

    cache = EmbeddingCache(tmp_path)
    for _ in range(2):
        assert embed(["text 1", "text 10", "text 10"], Short(), cache).truncated == 2


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE embedding SET vector = zeroblob(1536)",
        "UPDATE embedding SET vector = x'00'",
        "UPDATE embedding SET truncated = 1",
        "UPDATE embedding SET truncated = 'no'",
        "UPDATE embedding SET checksum = x'00'",
        "UPDATE embedding SET vector = (SELECT vector FROM embedding ORDER BY key LIMIT 1)",
    ],
)
def test_damaged_entries_are_encoded_again(tmp_path, encoder, damage):
    cache = EmbeddingCache(tmp_path)
    embed(TEXTS, encoder, cache)
    with sqlite3.connect(cache.path) as db:
        db.execute(damage)
    again = embed(TEXTS, encoder, cache)
    assert again.cached <= 1
    assert again.truncated == 0
    assert (again.vectors == right(TEXTS)).all()
    assert embed(TEXTS, encoder, cache).cached == 700


@pytest.mark.parametrize("content", [b"no database" * 500, b"", "half", "other"])
def test_a_damaged_or_foreign_file_is_never_trusted(tmp_path, encoder, content):
    cache = EmbeddingCache(tmp_path)
    embed(TEXTS, encoder, cache)
    if content == "half":
        whole = cache.path.read_bytes()
        cache.path.write_bytes(whole[: len(whole) // 2])
    elif content == "other":
        cache.path.unlink()
        with sqlite3.connect(cache.path) as db:
            db.execute("CREATE TABLE embedding (something TEXT)")
    else:
        cache.path.write_bytes(content)
    again = embed(TEXTS, encoder, cache)
    assert (again.vectors == right(TEXTS)).all()
    assert again.cache_problem is None
    third = embed(TEXTS, encoder, cache)
    assert third.cached == 700
    assert (third.vectors == right(TEXTS)).all()


def test_random_flips_of_bits_never_give_wrong_vectors(tmp_path, encoder):
    cache = EmbeddingCache(tmp_path)
    embed(TEXTS, encoder, cache)
    whole = cache.path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(30):
        altered = bytearray(whole)
        for place in rng.integers(0, len(whole), size=200):
            altered[place] ^= 1 << int(rng.integers(8))
        cache.path.write_bytes(altered)
        assert (embed(TEXTS, encoder, cache).vectors == right(TEXTS)).all()


def test_a_cache_that_cannot_be_written_does_not_stop_the_work(tmp_path, encoder):
    (tmp_path / "file").write_text("not a folder")
    done = embed(TEXTS, encoder, EmbeddingCache(tmp_path / "file"))
    assert (done.vectors == right(TEXTS)).all()
    assert "CAUSALIGN_CACHE" in done.cache_problem


def test_a_full_disk_does_not_stop_the_work(tmp_path, encoder, monkeypatch):
    cache = EmbeddingCache(tmp_path)
    embed(TEXTS[:10], encoder, cache)
    connect = sqlite3.connect

    def small(*given, **named):
        db = connect(*given, **named)
        db.execute("PRAGMA max_page_count=20")
        return db

    monkeypatch.setattr(sqlite3, "connect", small)
    done = embed(TEXTS, encoder, cache)
    assert (done.vectors == right(TEXTS)).all()
    assert "full" in done.cache_problem
    monkeypatch.undo()
    assert embed(TEXTS, encoder, cache).cached == 10


def test_two_processes_share_a_cache(tmp_path):
    workers = [start(tmp_path, 3000, delay=0.01) for _ in range(3)]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
    assert len(list(tmp_path.glob("*damaged*"))) == 0


def test_a_killed_process_leaves_no_wrong_vectors(tmp_path, encoder):
    texts = [f"text {i}" for i in range(20000)]
    for wait in (0.0, 0.1, 0.25, None):
        worker = start(tmp_path, len(texts))
        assert worker.stdout.readline() == "started\n"
        if wait is None:  # a busy machine needs longer to store the first batch
            wait_for(EmbeddingCache(tmp_path).path, seconds=60)
        time.sleep(wait or 0.1)
        os.kill(worker.pid, signal.SIGKILL)
        worker.communicate()
    stored = EmbeddingCache(tmp_path).get(text_keys("hashing", "1", 384, texts), encoder.dimension)
    assert len(stored) > 0
    done = embed(texts[-3000:], encoder, EmbeddingCache(tmp_path))
    assert (done.vectors == right(texts[-3000:])).all()
    assert done.cache_problem is None
    assert not list(tmp_path.glob("*damaged*"))


def test_an_encoder_of_the_wrong_shape_is_refused(encoder):
    encoder.encode = lambda texts: np.zeros((len(texts), 2))
    with pytest.raises(SettingsError, match="384"):
        embed(["a"], encoder)


def test_the_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("CAUSALIGN_CACHE", str(tmp_path))
    assert default_cache_folder() == tmp_path
    monkeypatch.delenv("CAUSALIGN_CACHE")
    assert default_cache_folder().parts[-1] in ("causalign", "Cache")


def test_texts_that_no_encoding_knows_have_keys():
    assert len({*text_keys("a", "1", 2, ["\ud800", "", "\0"])}) == 3
    assert hashlib.sha256().digest_size == len(text_keys("a", "1", 2, [""])[0])


def test_logs_are_embedded_with_their_prompts_by_name_or_encoder():
    table = pa.table({"text": ["a mug", "rain"], "y": [1.0, 2.0], "ask": ["what?", "why?"]})
    logs = Logs.of(table, Roles("text", "y", prompt="ask"))
    encoder = load_encoder("hashing")
    expected = encoder.encode(["what?\n\na mug", "why?\n\nrain"])
    for given in ("hashing", encoder):
        embeddings = embed_logs(logs, given)
        np.testing.assert_array_equal(embeddings.vectors, expected)
    assert embed_logs(logs, "tfidf").encoder.dimension == 6
