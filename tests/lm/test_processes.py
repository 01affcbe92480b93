"""What is done once and what everybody tells, in two processes and in one."""

import subprocess
import sys

import pytest

from causalign.errors import InputError
from causalign.lm import processes

TWO = """
import sys
from contextlib import contextmanager
from causalign.errors import InputError
from causalign.lm.processes import (
    enter_once, gather, is_main_process, process_count, process_rank, run_once
)

assert process_count() == 2 and is_main_process() == (process_rank() == 0)
assert gather({process_rank()}) == [{0}, {1}]
assert run_once(lambda: process_rank() + 7) == 7

def refuse():
    raise InputError(f"told by {process_rank()}")

try:
    run_once(refuse)
except InputError as error:
    assert str(error) == "told by 0"
else:
    raise SystemExit("the error was lost")

@contextmanager
def counted():
    entered.append(process_rank())
    yield

entered = []
with enter_once(counted):
    assert gather(list(entered)) == [[0], []]
sys.stdout.write(f"process {process_rank()} agrees\\n")
"""


def test_one_process_does_everything_itself(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (processes.process_count(), processes.process_rank(), processes.is_main_process()) == (
        1,
        0,
        True,
    )
    assert processes.gather("a") == ["a"]
    assert processes.run_once(lambda: 3) == 3

    def refuse():
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        processes.run_once(refuse)


@pytest.mark.slow
def test_two_processes_agree_also_on_errors(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*command, "--nproc-per-node=2", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(line for line in done.stdout.splitlines() if "agrees" in line) == [
        "process 0 agrees",
        "process 1 agrees",
    ]
