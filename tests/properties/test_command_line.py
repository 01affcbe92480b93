"""Any words and any files: exit 0, 1 or 2, one to three lines of error, nothing half-written.

All verbs with all their options are read from the command line itself, so that a new one is tried
as it comes. Files are those of ``tests/cases/corpus``, whole or with a few bytes changed.
"""

import hashlib
import os
import shutil
import signal
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from causalign.cli import app, main

CORPUS = Path(__file__).parents[1] / "cases" / "corpus"
FILES = sorted(str(path.relative_to(CORPUS)) for path in CORPUS.rglob("*") if path.is_file())
FOLDERS = sorted(str(path.relative_to(CORPUS)) for path in CORPUS.rglob("*") if path.is_dir())
LOGS = [name for name in FILES if "/" not in name and not name.endswith(".yaml")]
MODELS = [name for name in FOLDERS if name.startswith("models/")]
SECONDS = 10.0
# Compares every estimator on logs of its own, whatever it is given: half an hour without --smoke.
LONG = {"bench": ("--smoke", 60.0)}

COLUMNS = ["text", "y", "c", "n", "g", "w", "p", "q", "day", "prompt"]
HOSTILE = ["", "missing", "é", "\u202e", "a" * 5000, "-", "--out", "a,b", "\x1b[2J", "a\nb",
           "a\0b", "\udcff", "../x", "%s{}[red]", "~", "*", "/", "nan", "=1+1"]  # fmt: skip
NUMBERS = ["0", "1", "-1", "0.5", "nan", "inf", "1e308", "9" * 400, "x", "", "0x10", "١"]
OVERRIDES = ["seed=1", "seed=x", "rows=40", "rows=-1", "rows=0", "pairs=10", "folds=2", "folds=-3",
             "folds=nan", "penalty=0", "penalty=.inf", "method=ridge", "training.steps=1",
             "training.epochs=1", "width=2", "training={}", "a.b.c.d=1", "=", "x", "seed=[[[[",
             "seed=!!python/none", "seed=&a [*a]", "name=../x", "data.held_out=0.5",
             "data.path=/dev/zero", "reward={method: ridge}", "policy={method: sft}",
             "model=models/language_model", "model=", "deconfound.method=two-stage"]  # fmt: skip
METHODS = ["ridge", "pairwise", "ordinary", "additive", "two-stage", "double-ml", "sft", "dpo",
           "permutation-weighting", "newsletter", "pricing", "identity", "log", "logit", "batches",
           "CF101", "list"]  # fmt: skip
ENCODERS = ["hashing", "tfidf", "hashing:mean", "nobody/nothing", *MODELS]


def list_verbs():
    """Return each verb with its arguments and options."""
    verbs = {}

    def walk(command, path):
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, [*path, name])
        if not hasattr(command, "commands"):
            verbs[" ".join(path)] = [p for p in command.params if p.name != "help"]

    walk(typer.main.get_command(app), [])
    return verbs


VERBS = list_verbs()
# Loads the embedded models, whatever it is asked; downloads are tried in tests/data.
QUICK = [name for name in VERBS if name not in ("doctor", "policy")]


def pick_value(parameter):
    """Return a strategy of what may be given for one parameter: mostly sensible, often not."""
    name = parameter.name
    likely = {
        "path": [n for n in FILES if n.endswith(".yaml")],
        "model": MODELS,
        "models": MODELS,
        "judge": MODELS,
        "reward_model": MODELS,
        "folder": FOLDERS,
        "encoder": ENCODERS,
        "settings": OVERRIDES,
        "codes": ["CF101", "cf101", "XX999"],
        "out": ["out", "out", "out", "a/b/out", "good.csv", "models", ".", "stages/finished"],
        "judge_command": ["true", "false", "cat", "no-such-program", "'", "sleep 60"],
        "timeout": ["0.2"],
        "method": METHODS,
        "name": METHODS,
        "column": ["completion", "text", "chosen", "reward"],
        "scale": ["identity", "log", "logit"],
        "engine": ["batches"],
    }.get(name)
    if likely is None and name in ("logs", "data", "pairs", "files", "samples"):
        likely = ["good.csv", "good.parquet", "good.jsonl", "pairs.parquet", "texts.parquet",
                  "folder_of_logs", "*.parquet", *LOGS]  # fmt: skip
    if likely is None:
        likely = NUMBERS if name in ("level", "outcome_range") else COLUMNS
    usual = st.sampled_from(likely)
    if name == "timeout":  # nobody waits for longer
        return usual
    return st.one_of(usual, usual, usual, usual, st.sampled_from([*HOSTILE, *FILES]))


@st.composite
def commands(draw, verbs):
    """Draw the words of a command; what is required is mostly there."""
    verb = draw(st.sampled_from(verbs))
    words = [*verb.split(), *([LONG[verb][0]] if verb in LONG else [])]
    for parameter in VERBS[verb]:
        if parameter.name == "open_page":
            continue
        is_column = parameter.name in ("completion", "outcome", "confounder")
        chance = 97 if parameter.required or parameter.name == "out" else 60 * is_column + 15
        if draw(st.integers(1, 100)) > chance:
            continue
        option = [] if parameter.param_type_name == "argument" else [parameter.opts[0]]
        if getattr(parameter, "is_flag", False):
            words += option
            continue
        right = {"completion": "text", "outcome": "y", "confounder": "c", "encoder": "hashing"}
        again = 2 if parameter.multiple or parameter.nargs == -1 else 1
        for _ in range(draw(st.integers(1, again))):
            usual = parameter.name in right and draw(st.integers(1, 100)) <= 85
            for _ in range(max(parameter.nargs, 1)):
                value = right[parameter.name] if usual else draw(pick_value(parameter))
                words += [*option, value] if option else [value]
                option = []
            option = [] if parameter.param_type_name == "argument" else [parameter.opts[0]]
    return words


@st.composite
def changes(draw):
    """Draw what is done to one file: its end cut off, a byte flipped, bytes doubled or put in."""
    how = draw(st.sampled_from(["nothing", "nothing", "cut", "flip", "double", "insert"]))
    where, other = draw(st.integers(0, 999)) / 1000, draw(st.integers(1, 255))
    inserted = draw(st.sampled_from([b"\0", b"\xff\xfe", b'"', b"\n", b"{" * 999, b"&a ", b"NaN"]))
    return how, where, other, inserted


def change(path: Path, how: str, where: float, other: int, inserted: bytes) -> None:
    data = path.read_bytes()
    if how == "nothing" or not data:
        return
    at = int(where * (len(data) - 1))
    path.write_bytes(
        {
            "cut": data[:at],
            "flip": data[:at] + bytes([data[at] ^ other]) + data[at + 1 :],
            "double": data[:at] + data[at : at + other] + data[at:],
            "insert": data[:at] + inserted + data[at:],
        }[how]
    )


@contextmanager
def limited_time(verb):
    """Fail after ten seconds of the processor, which other processes do not lengthen."""
    seconds = LONG[verb][1] if verb in LONG else SECONDS

    def late(number, frame):
        raise AssertionError(f"still working after {seconds:g} seconds")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def digest(folder: Path) -> dict[str, str]:
    """Return every file of the corpus with its hash."""
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in FILES
        if (folder / name).is_file()
    }


def assert_whole(folder: Path, code: int) -> None:
    """Assert that nothing is half-written: no rooms of writers, no stage without its result."""
    left = [str(p.relative_to(folder)) for p in folder.rglob("*") if ".partial-" in p.name]
    assert not left
    known = {folder / name for name in FOLDERS}
    for path in folder.rglob("*"):
        if path.is_dir() and path not in known and path.name[:1].isdigit():
            # The page that `report` writes is the last stage of a run.
            whole = "report.html" if path.name.endswith("-report") else "result.json"
            assert (path / whole).is_file(), path
    out = folder / "out"
    if code == 2 and out.exists():
        assert any(out.iterdir()), "an empty folder was left"


def try_command(words, target, how, capsys):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "here"
        shutil.copytree(CORPUS, folder)
        change(folder / target, *how)
        before = digest(folder)
        home = Path.cwd()
        os.chdir(folder)
        try:
            with limited_time(words[0]), pytest.raises(SystemExit) as stopped:
                main(words)
        finally:
            os.chdir(home)
        said = capsys.readouterr()
        code = stopped.value.code
        assert code in (0, 1, 2), said.err
        assert "Traceback" not in said.err + said.out
        if code == 2:
            lines = said.err.strip().splitlines()
            assert 1 <= len([line for line in lines if not line.startswith("warning:")]) <= 3
        assert digest(folder) == before
        assert_whole(folder, code)


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """Nothing is fetched, and nothing is read from a folder of the machine."""

    def refuse(*given, **named):
        raise OSError("there is no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def fuzz(verbs, examples, capsys, **how):
    """Try so many commands of these verbs."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        **how,
    )
    @given(commands(verbs), st.sampled_from(FILES), changes())
    def run(words, target, change):
        try_command(words, target, change, capsys)

    run()


def test_no_command_ends_in_a_traceback(capsys):
    fuzz(QUICK, 60, capsys, derandomize=True)


@pytest.mark.slow
def test_a_thousand_commands_end_well(capsys):
    pytest.importorskip("trl")
    with pytest.raises(SystemExit):
        main(["doctor"])  # what is imported once is not the time of whatever command is first
    # The same thousand every time: what passes here passes elsewhere.
    fuzz(sorted(VERBS), 1000, capsys, derandomize=True)
