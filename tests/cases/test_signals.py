"""Killed or stopped at any moment: nothing half-written, and the same command gives the same bits.

Four commands are killed: a run, the scoring of logs, a tuning, and two writers of one cache. Those
that are stopped by SIGINT or SIGTERM say so in one sentence.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from causalign.simulate import Newsletter

pytest.importorskip("torch")

RECIPE = """
name: small
data:
  path: logs.parquet
  roles: {completion: mail, outcome: minutes_read, confounders: [weekday]}
deconfound: {method: ordinary}
encoder: hashing
"""
# Two of these fill one cache with the vectors of the same texts, and keep what they read of it.
WRITER = """
import sys
from pathlib import Path
import numpy as np
from causalign.files import remove_partial, write_whole
from causalign.lm import EmbeddingCache, embed, load_encoder
encoder = load_encoder("hashing")
class Slow:
    name, revision, dimension = "slow", "1", encoder.dimension
    encode = staticmethod(encoder.encode)
texts = [f"text {i} of many" for i in range(4000)]
done = embed(texts, Slow(), EmbeddingCache(sys.argv[1]))
assert done.cache_problem is None, done.cache_problem
target = Path(sys.argv[2])
remove_partial(target.parent, target.name)
with write_whole(target) as partial:
    partial.write_bytes(done.vectors.tobytes())
"""
SENTENCE = {
    signal.SIGINT: "error: Stopped by SIGINT: what was finished is kept whole; run the same "
    "command again to go on from there.",
    signal.SIGTERM: "error: Stopped by SIGTERM: what was finished is kept whole; run the same "
    "command again to go on from there.",
}
# What says when or how long, and differs from one run to the next.
OF_THE_CLOCK = ("cost.json",)


@dataclass
class Case:
    """A command, where it writes, and how long it takes when nothing stops it."""

    words: Callable[[Path], list[list[str]]]  # processes that run at the same time
    seconds: float = 0.0
    expected: dict[str, bytes] | None = None


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "causalign", *map(str, words)]


def start(words: list[str], cache: Path) -> subprocess.Popen:
    environment = os.environ | {"CAUSALIGN_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, env=environment, **quiet)


def contents(folder: Path) -> dict[str, bytes]:
    """Return what a command left, except for locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", *OF_THE_CLOCK)
    }


def assert_whole(folder: Path) -> None:
    """Assert that whatever a reader looks at is there to its end."""
    for part in folder.rglob("part-*.parquet"):
        if ".partial-" not in str(part):
            pq.read_table(part)
    for stage in folder.glob("run/*-*"):
        if stage.is_dir() and not stage.name.endswith((".unfinished", "6-report")):
            assert (stage / "result.json").is_file(), stage


@pytest.fixture(scope="module")
def cases(tmp_path_factory, tiny_lm_folder):
    folder = tmp_path_factory.mktemp("signals")
    table = Newsletter(rows=2000, pairs=2).simulate().logs.data
    pq.write_table(table.slice(0, 400), folder / "logs.parquet")
    (folder / "many").mkdir()
    for part in range(6):
        pq.write_table(table, folder / "many" / f"{part}.parquet")
    (folder / "pipeline.yaml").write_text(RECIPE)
    roles = ["--completion", "mail", "--outcome", "minutes_read"]
    fit = command("reward", "fit", folder / "logs.parquet", *roles, "--encoder", "hashing",
                  "--out", folder / "reward")  # fmt: skip
    subprocess.run(fit, check=True, capture_output=True)
    return {
        "run": Case(lambda out: [command("run", folder / "pipeline.yaml", "--out", out / "run")]),
        "score": Case(lambda out: [command(
            "reward", "score", folder / "reward" / "model", folder / "many", "--completion",
            "mail", "--out", out / "scored")]),
        "tune": Case(lambda out: [command(
            "policy", "sft", folder / "logs.parquet", *roles, "--out", out / "policy", "--set",
            f"model={tiny_lm_folder}", "--set", "training.steps=12", "--set",
            "training.save_every=2", "--set", "training.max_length=32")]),
        "cache": Case(lambda out: [
            [sys.executable, "-c", WRITER, str(out / "cache"), str(out / name)]
            for name in ("one", "two")
        ]),
    }  # fmt: skip


def finish(case: Case, out: Path) -> float:
    """Run the commands to their end; return how many seconds they took."""
    started = time.monotonic()
    running = [start(words, out / "cache") for words in case.words(out)]
    for process in running:
        said = process.communicate()[1]
        assert process.returncode == 0, said
    return time.monotonic() - started


def results(out: Path) -> dict[str, bytes]:
    """Return what a command left, the cache aside; a report names its own folder."""
    own = {name: data for name, data in contents(out).items() if not name.startswith("cache")}
    return {name: data.replace(str(out).encode(), b"OUT") for name, data in own.items()}


@pytest.fixture
def whole(cases, tmp_path):
    def of(name: str) -> Case:
        case = cases[name]
        if case.expected is None:
            case.seconds = finish(case, tmp_path / "whole")
            case.expected = results(tmp_path / "whole")
        return case

    return of


def interrupt(case: Case, out: Path, number: int, wait: float) -> list[tuple[int, str]]:
    """Send a signal to each process after a while; return their exit codes and last words."""
    running = [start(words, out / "cache") for words in case.words(out)]
    time.sleep(wait)
    for process in running:
        process.send_signal(number)
    said = [process.communicate(timeout=120)[1] for process in running]
    return [(process.returncode, words) for process, words in zip(running, said, strict=True)]


def kill_and_resume(case: Case, out: Path, random: np.random.Generator) -> bool:
    """Kill at a random moment, go on, compare; return whether it was killed before its end."""
    ended = interrupt(case, out, signal.SIGKILL, random.uniform(0.2, 1) * case.seconds)
    assert_whole(out)
    finish(case, out)
    assert results(out) == case.expected
    assert not [path.name for path in out.rglob("*") if ".partial-" in path.name]
    return any(code == -signal.SIGKILL for code, _ in ended)


def stop_and_resume(case: Case, out: Path, number: int, random: np.random.Generator) -> bool:
    """Stop at a random moment: the sentence and its code, then the same result."""
    ended = interrupt(case, out, number, random.uniform(0.2, 1) * case.seconds)
    for code, said in ended:
        assert code in (0, 128 + number), said
        lines = [line for line in said.splitlines() if not line.startswith("warning:")]
        assert lines == ([SENTENCE[number]] if code else [])
    assert_whole(out)
    assert not [path.name for path in out.rglob("*") if ".partial-" in path.name]
    finish(case, out)
    assert results(out) == case.expected
    return any(code for code, _ in ended)


def test_a_killed_and_a_stopped_scoring_go_on(whole, tmp_path):
    case, random = whole("score"), np.random.default_rng(0)
    kill_and_resume(case, tmp_path / "killed", random)
    stop_and_resume(case, tmp_path / "stopped", signal.SIGTERM, random)


def repeat(attempt: Callable[[int], bool], times: int) -> None:
    """Try until so many signals came before the end."""
    hits = tries = 0
    while hits < times:
        hits += attempt(tries)
        tries += 1
        assert tries < 5 * times, f"only {hits} of {tries} signals came in time"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run", "score", "tune", "cache"])
def test_fifteen_kills_at_random_moments_change_no_bit(name, whole, tmp_path):
    case, random = whole(name), np.random.default_rng(1)
    repeat(lambda n: kill_and_resume(case, tmp_path / str(n), random), 15)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "times"), [("run", 7), ("score", 7), ("tune", 6)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_twenty_signals_are_answered_with_the_sentence(name, times, number, whole, tmp_path):
    case, random = whole(name), np.random.default_rng(2)
    repeat(lambda n: stop_and_resume(case, tmp_path / str(n), number, random), times)
