"""Time a served reward against the model called directly: `causalign serve`, 8 clients.

    python benchmarks/serving.py                     1,000 requests of 64 texts, hashing+style
    python benchmarks/serving.py --encoder minilm --requests 60
    python benchmarks/serving.py --hostile           what strangers send, and the memory it takes

The server runs in a process of its own; clients are threads of this one, each with one connection
that is kept. The direct call scores the same texts in this process, by turns with the server. The
ratios to it, of the wall clock and of the processors' time, are what counts.
"""

import argparse
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import local
from urllib.parse import urlsplit

import numpy as np

import causalign as ca

CLIENTS, TEXTS, TURNS = 8, 64, 10
JSON = {"Content-Type": "application/json"}


@contextmanager
def serve(folder: Path) -> Iterator[tuple[int, str]]:
    """Start the server; give its process id and its address."""
    command = [sys.executable, "-m", "causalign", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        try:
            yield process.pid, re.search(r"http://\S+\d", lines[1])[0]
        finally:
            process.terminate()


def megabytes(process: int, name: str = "VmRSS") -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024


def processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(address: str, path: str, bodies: list[bytes]) -> tuple[list[float], list[bytes], float]:
    """Send bodies from 8 clients; return seconds and answers of each, and seconds of all."""
    place, kept = urlsplit(address), local()

    def send(body: bytes) -> tuple[float, bytes]:
        started = time.perf_counter()
        if not hasattr(kept, "line"):
            kept.line = http.client.HTTPConnection(place.hostname, place.port)
        kept.line.request("POST", path, body, JSON)
        answer = kept.line.getresponse().read()
        return time.perf_counter() - started, answer

    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        seconds, answers = zip(*clients.map(send, bodies), strict=True)
    return list(seconds), list(answers), time.perf_counter() - started


def measure(encoder: str, requests: int) -> None:
    logs = ca.simulate.Newsletter(rows=4000).simulate().logs
    random = np.random.default_rng(0)
    mails = np.array(logs.completions)
    batches = [mails[random.integers(len(mails), size=TEXTS)].tolist() for _ in range(requests)]
    print(f"{encoder}: {requests:,} requests of {TEXTS} texts from {CLIENTS} clients\n")
    print(
        "| asked | texts a second | p50, ms | p99, ms | of the direct call's speed | of its ",
        end="",
    )
    print("processor time | MB before | MB after |\n" + "| --- " * 8 + "|")
    with tempfile.TemporaryDirectory() as place:
        ca.reward.Ridge().fit(logs, encoder).save(place)
        folder = Path(place, "model")
        model = ca.reward.RewardModel.load(folder)
        rows = (
            ("/get_reward", "query", "rewards", model),
            ("/score", "completions", "reward", model),
            ("/assess", "completions", "reward", lambda texts: model.assess(texts).reward),
        )
        with serve(folder) as (process, address):
            for path, question, answered, score in rows:
                bodies = [json.dumps({question: batch}).encode() for batch in batches]
                ask(address, path, bodies[:CLIENTS])  # what is loaded late is loaded now
                score(batches[0])
                memory, seconds = megabytes(process), []
                wall = used = alone = direct = 0.0
                # By turns, since a machine that others use is not equally fast all the time.
                for part in np.array_split(np.arange(requests), TURNS):
                    before = processor_seconds(process)
                    took, answers, of_part = ask(address, path, [bodies[i] for i in part])
                    used += processor_seconds(process) - before
                    wall, seconds = wall + of_part, seconds + took
                    started, processor = time.perf_counter(), time.process_time()
                    scored = [score(batches[i]) for i in part]
                    alone += time.perf_counter() - started
                    direct += time.process_time() - processor
                    for rewards, answer in zip(scored, answers, strict=True):
                        assert (np.array(json.loads(answer)[answered]) == rewards).all()
                after = megabytes(process)
                p50, p99 = np.percentile(seconds, [50, 99]) * 1000
                print(
                    f"| `{path}` | {requests * TEXTS / wall:,.0f} | {p50:.0f} | {p99:.0f} | "
                    f"{alone / wall:.2f} | {used / direct:.2f} | {memory:.0f} | {after:.0f} |"
                )
    print("\nEvery reward was the direct call's to the last bit.")


def attack(connections: int = 10_000, rounds: int = 3) -> None:
    """Send what strangers send, again and again; print answers, and the memory of the server."""
    logs = ca.simulate.Newsletter(rows=4000).simulate().logs
    with tempfile.TemporaryDirectory() as place:
        ca.reward.Ridge().fit(logs, "hashing+style").save(place)
        with serve(Path(place, "model")) as (process, address):
            ask(
                address,
                "/assess",
                [json.dumps({"completions": logs.completions[:64]}).encode()] * 80,
            )
            memory = [[megabytes(process)] for _ in range(len(HOSTILE) + 1)]
            told: list[object] = [""] * (len(HOSTILE) + 1)
            for _ in range(rounds):
                told[0] = open_and_leave(address, connections)
                memory[0].append(megabytes(process))
                for row, body in enumerate(HOSTILE.values(), start=1):
                    answers = ask_raw(address, [body] * 40)
                    told[row] = ", ".join(f"{n} × {code}" for code, n in answers.items())
                    memory[row].append(megabytes(process))
            ca.reward.ServedReward(address)(["A text."])
            print(f"{memory[0][0]:.0f} MB after 80 requests of 64 texts\n")
            heads = " | ".join(f"MB after round {n + 1}" for n in range(rounds))
            print(f"| sent | told | {heads} |\n" + "| --- " * (2 + rounds) + "|")
            names = [
                f"{connections:,} connections, nothing on them",
                *(f"40 × {n}" for n in HOSTILE),
            ]
            for name, answer, (_, *after) in zip(names, told, memory, strict=True):
                print(f"| {name} | {answer} | {' | '.join(f'{mb:.0f}' for mb in after)} |")
            print(f"\n{megabytes(process, 'VmHWM'):.0f} MB at most.")


def open_and_leave(address: str, connections: int) -> str:
    """Open connections without asking anything; say how long another then waits for a score."""
    where = urlsplit(address)
    lines = [
        socket.create_connection((where.hostname, where.port), timeout=60)
        for _ in range(connections)
    ]
    started = time.perf_counter()
    ca.reward.ServedReward(address)(["A text."])
    waited = time.perf_counter() - started
    for line in lines:
        line.close()
    return f"another is answered after {waited * 1000:.0f} ms"


HOSTILE = {
    "a text of 10 MB": json.dumps({"completions": ["a" * 10_000_000]}).encode(),
    "a text of 8 MB": json.dumps({"completions": ["é " * 1_000_000]}).encode(),
    "a million numbers for texts": b'{"completions": [' + b"0," * 1_000_000 + b"0]}",
    "two million objects for texts": b'{"completions": [' + b"{}," * 2_000_000 + b"{}]}",
    "a hundred thousand brackets": b'{"completions": ' + b"[" * 100_000,
    "broken JSON": b'{"completions": ["a',
}


def ask_raw(address: str, bodies: list[bytes]) -> Counter[int]:
    place = urlsplit(address)

    def send(body: bytes) -> int:
        line = http.client.HTTPConnection(place.hostname, place.port, timeout=600)
        try:
            line.request("POST", "/score", body, JSON)
            return line.getresponse().status
        except (BrokenPipeError, ConnectionResetError):
            return line.getresponse().status
        finally:
            line.close()

    with ThreadPoolExecutor(CLIENTS) as clients:
        return Counter(clients.map(send, bodies))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--encoder", default="hashing+style")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--hostile", action="store_true")
    asked = parser.parse_args()
    if asked.hostile:
        attack()
    else:
        measure(asked.encoder, asked.requests)
