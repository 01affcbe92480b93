"""``causalign serve`` as a person starts it: what it shows, how it ends, what it refuses."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from causalign.cli import main
from causalign.reward import LinearHead, RewardModel, Ridge, ServedReward
from causalign.simulate import Newsletter

TOKEN = "a-token-of-the-tests-0123456789"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    logs = Newsletter(rows=300, pairs=2).simulate().logs
    return Ridge().fit(logs, "hashing+style").save(tmp_path_factory.mktemp("reward")) / "model"


@contextmanager
def started(folder, *options, **environment):
    """Start the command at a free port; give it with its address when it says that it listens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "causalign", "serve", folder, "--port", "0", *options],
        env={**os.environ, "COLUMNS": "80"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        lines = [process.stdout.readline() for _ in range(3)]
        yield process, lines, re.search(r"http://127\.0\.0\.1:\d+", lines[1])[0]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(folder, number):
    with started(folder) as (process, lines, address):
        assert "scores texts in units of the outcome: hashing+style, a linear head" in lines[0]
        assert "without a token; Ctrl-C ends it" in lines[1]
        assert f"curl {address}/assess" in lines[2]
        mails = ["Happy Monday!", "With free returns."]
        assert (ServedReward(address)(mails) == RewardModel.load(folder)(mails)).all()
        process.send_signal(number)
        rest, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        assert rest == "stopped: what was asked before is answered\n"


def test_the_line_to_try_works(folder):
    with started(folder, CAUSALIGN_TOKEN=TOKEN) as (_, lines, _):
        line = lines[2].partition("try: ")[2]
        assert TOKEN not in "".join(lines)
        asked = ["bash", "-c", line.replace("curl ", "curl -s ")]
        environment = {**os.environ, "CAUSALIGN_TOKEN": TOKEN}
        try:
            done = subprocess.run(["curl", "--version"], capture_output=True)
        except FileNotFoundError:
            pytest.skip("no curl is installed")
        done = subprocess.run(asked, capture_output=True, text=True, env=environment)
    assert done.stdout.startswith('{"reward":[')


def call(capsys, *words):
    with pytest.raises(SystemExit) as stopped:
        main(["serve", *map(str, words)])
    return stopped.value.code, " ".join(capsys.readouterr().err.split())


def test_what_is_refused_is_said_in_a_line(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("CAUSALIGN_TOKEN", raising=False)
    code, said = call(capsys, tmp_path)
    assert (code, "There is no reward model in" in said) == (2, True)
    code, said = call(capsys, folder.parent)
    assert (code, f"{folder} holds one" in said) == (2, True)
    RewardModel("no/such-encoder-here:mean", LinearHead(np.ones(3))).save(tmp_path / "lost")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, said = call(capsys, tmp_path / "lost")
    assert (code, "no/such-encoder-here" in said) == (2, True)
    code, said = call(capsys, folder, "--host", "0.0.0.0")
    assert (code, "CAUSALIGN_TOKEN" in said) == (2, True)
    code, said = call(capsys, folder, "--set", "text=3")
    assert (code, "did you mean 'texts'" in said) == (2, True)
    monkeypatch.setenv("CAUSALIGN_TOKEN", "too-short")
    code, said = call(capsys, folder)
    assert code == 2
    assert "at least 16" in said
    assert "too-short" not in said


def test_a_busy_port_is_named(folder, capsys, monkeypatch):
    monkeypatch.delenv("CAUSALIGN_TOKEN", raising=False)
    with started(folder) as (_, _, address):
        port = address.rpartition(":")[2]
        code, said = call(capsys, folder, "--port", port)
    assert code == 2
    assert f"port {port}: Address already in use. Choose another port" in said


WITHOUT = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "prometheus_client":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())
from causalign.cli import main
main(["serve", sys.argv[1]])
"""


def test_without_the_extra_it_says_what_to_install(folder):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, folder], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'causalign[serve]'" in done.stderr
