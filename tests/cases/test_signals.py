"""Killed or stopped at any moment: nothing half-written, and the same command gives the same bits.

Four commands are killed: a run, the scoring of logs, a tuning, and two writers of one cache. Those
that are stopped by SIGINT or SIGTERM say so in one sentence. Each is the child of a process that
has the libraries loaded, so that signals come while it works and not while it loads.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from causalign import Logs, Roles
from causalign.reward import Ridge
from causalign.simulate import Newsletter

pytest.importorskip("torch")

RECIPE = """
name: small
data:
  path: logs.parquet
  roles: {completion: mail, outcome: minutes_read, confounders: [weekday]}
deconfound: {method: ordinary}
encoder: tfidf
"""
# Runs each command that it is given in a child of its own; tells its number, then how it ended.
PARENT = """
import importlib, json, os, sys
import causalign.cli
from causalign.__main__ import main
for line in sys.stdin:
    job = json.loads(line)
    for name in job["loads"]:
        importlib.import_module(name)
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.environ["CAUSALIGN_CACHE"] = job["cache"]
        sys.argv = ["causalign", *job["words"]]
        try:
            exec(job["code"]) if job["code"] else main()
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException:
            import traceback
            traceback.print_exc()
            code = 70
        sys.stderr.flush()
        os._exit(code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
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

    words: Callable[[Path], list[list[str]]]  # of processes that run at the same time
    loads: tuple[str, ...] = ("causalign.reward.scoring",)
    code: str = ""
    seconds: float = 0.0
    expected: dict[str, bytes] | None = None


class Parent:
    """A process with the libraries loaded, whose children do the work."""

    def __init__(self, folder: Path, number: int) -> None:
        self.said = folder / f"said-{number}"
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", PARENT], env=environment, **pipes)

    def start(self, case: Case, words: list[str], cache: Path) -> int:
        job = {"words": words, "code": case.code, "loads": case.loads}
        job |= {"cache": str(cache), "said": str(self.said)}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def wait(self) -> tuple[int, str]:
        return int(self.process.stdout.readline()), self.said.read_text()

    def end(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    made = [Parent(tmp_path_factory.mktemp("parents"), number) for number in range(2)]
    yield made
    for parent in made:
        parent.end()


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
        unfinished = ".partial-" in stage.name or stage.name.endswith(".unfinished")
        if stage.is_dir() and not unfinished and not stage.name.endswith("6-report"):
            assert (stage / "result.json").is_file(), stage


@pytest.fixture(scope="module")
def cases(tmp_path_factory, tiny_lm_folder):
    folder = tmp_path_factory.mktemp("signals")
    table = Newsletter(rows=2000, pairs=2).simulate().logs.data
    pq.write_table(table.slice(0, 100), folder / "logs.parquet")
    (folder / "many").mkdir()
    for part in range(6):
        pq.write_table(table, folder / "many" / f"{part}.parquet")
    (folder / "pipeline.yaml").write_text(RECIPE)
    logs = Logs.read(folder / "logs.parquet", Roles("mail", "minutes_read"))
    Ridge().fit(logs, "hashing").model.save(folder / "model")
    roles = ["--completion", "mail", "--outcome", "minutes_read"]
    tuning = ["--set", f"model={tiny_lm_folder}", "--set", "training.steps=12", "--set",
              "training.save_every=2", "--set", "training.max_length=32"]  # fmt: skip

    def words(*given):
        return [[str(word) for word in given]]

    return {
        "run": Case(
            lambda out: words("run", folder / "pipeline.yaml", "--out", out / "run"),
            ("causalign.pipeline.order", "causalign.stats.marker_effects"),
        ),
        "score": Case(
            lambda out: words(
                *("reward", "score", folder / "model", folder / "many", "--completion", "mail"),
                *("--out", out / "scored"),
            )
        ),
        "tune": Case(
            lambda out: words(
                *("policy", "sft", folder / "logs.parquet", *roles, *tuning),
                *("--out", out / "policy"),
            ),
            ("causalign.lm.trainer", "causalign.policy.sft", "peft"),
        ),
        "cache": Case(
            lambda out: [[str(out / "cache"), str(out / name)] for name in ("one", "two")],
            code=WRITER,
        ),
    }


def finish(case: Case, out: Path, parents: list[Parent]) -> float:
    """Run the commands to their end; return how many seconds they took."""
    started = time.monotonic()
    for code, said in interrupt(case, out, parents):
        assert code == 0, said
    return time.monotonic() - started


def interrupt(
    case: Case, out: Path, parents: list[Parent], number: int = 0, wait: float = 0
) -> list[tuple[int, str]]:
    """Send a signal to each process after a while; return their exit codes and last words."""
    out.mkdir(exist_ok=True)
    working = list(zip(parents, case.words(out), strict=False))
    children = [parent.start(case, words, out / "cache") for parent, words in working]
    time.sleep(wait)
    for child in children if number else ():
        with suppress(ProcessLookupError):
            os.kill(child, number)
    return [parent.wait() for parent, _ in working]


def results(out: Path) -> dict[str, bytes]:
    """Return what a command left, the cache aside; a report names its own folder."""
    own = {name: data for name, data in contents(out).items() if not name.startswith("cache")}
    return {name: data.replace(str(out).encode(), b"OUT") for name, data in own.items()}


@pytest.fixture
def whole(cases, parents, tmp_path):
    def of(name: str) -> Case:
        case = cases[name]
        if case.expected is None:
            case.seconds = finish(case, tmp_path / "whole", parents)
            case.expected = results(tmp_path / "whole")
        return case

    return of


def kill_and_resume(case: Case, out: Path, parents, random: np.random.Generator) -> bool:
    """Kill at a random moment, go on, compare; return whether it was killed before its end."""
    wait = random.uniform(0.02, 0.9) * case.seconds
    ended = interrupt(case, out, parents, signal.SIGKILL, wait)
    assert_whole(out)
    case.seconds = min(case.seconds, finish(case, out, parents))
    assert results(out) == case.expected
    assert not [path.name for path in out.rglob("*") if ".partial-" in path.name]
    return any(code == -signal.SIGKILL for code, _ in ended)


def stop_and_resume(
    case: Case, out: Path, parents, number: int, random: np.random.Generator
) -> bool:
    """Stop at a random moment: the sentence and its code, then the same result."""
    wait = random.uniform(0.02, 0.9) * case.seconds
    ended = interrupt(case, out, parents, number, wait)
    for code, said in ended:
        assert code in (0, 128 + number), said
        lines = [line for line in said.splitlines() if not line.startswith("warning:")]
        assert lines == ([SENTENCE[number]] if code else [])
    assert_whole(out)
    assert not [path.name for path in out.rglob("*") if ".partial-" in path.name]
    finish(case, out, parents)
    assert results(out) == case.expected
    return any(code for code, _ in ended)


def repeat(attempt: Callable[[int], bool], times: int) -> None:
    """Try until so many signals came before the end."""
    hits = tries = 0
    while hits < times:
        hits += attempt(tries)
        tries += 1
        assert tries < 5 * times, f"only {hits} of {tries} signals came in time"


def test_a_killed_and_a_stopped_scoring_go_on(whole, parents, tmp_path):
    case, random = whole("score"), np.random.default_rng(0)
    kill_and_resume(case, tmp_path / "killed", parents, random)
    for number in SENTENCE:
        stop_and_resume(case, tmp_path / f"stopped-{number}", parents, number, random)


def test_two_killed_writers_of_one_cache_go_on(whole, parents, tmp_path):
    case, random = whole("cache"), np.random.default_rng(0)
    kill_and_resume(case, tmp_path / "killed", parents, random)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run", "score", "tune", "cache"])
def test_fifteen_kills_at_random_moments_change_no_bit(name, whole, parents, tmp_path):
    case, random = whole(name), np.random.default_rng(1)
    repeat(lambda n: kill_and_resume(case, tmp_path / str(n), parents, random), 15)


# The shell's own signal twenty times; what a scheduler sends takes the same way, and a few will do.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "name", "times"),
    [
        *[(signal.SIGINT, name, times) for name, times in (("run", 7), ("score", 7), ("tune", 6))],
        *[(signal.SIGTERM, name, 2) for name in ("run", "score", "tune")],
    ],
)
def test_signals_are_answered_with_the_sentence(number, name, times, whole, parents, tmp_path):
    case, random = whole(name), np.random.default_rng(2)
    repeat(lambda n: stop_and_resume(case, tmp_path / str(n), parents, number, random), times)
