"""The page about where logs live: its commands run, and say what it shows."""

import io
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from causalign.cli import main

pytest.importorskip("adbc_driver_sqlite")
PAGE = Path(__file__).parents[2] / "docs/how-to/where-logs-live.md"


def run_line(line: str, monkeypatch) -> None:
    """Run one command as a shell would, with variables before it and a file piped into it."""
    source, pipe, command = line.rpartition(" | ")
    if pipe:
        content = Path(source.split()[1]).read_bytes()
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    words = shlex.split(command)
    while "=" in words[0]:
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    with pytest.raises(SystemExit) as stopped:
        main(words[1:])
    assert stopped.value.code == 0, line


def test_the_page_runs_and_shows_what_it_prints(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text("utf-8")
    blocks = re.findall(r"```(bash|python|yaml|text)\n(.*?)```", text, flags=re.DOTALL)
    printed = ""
    for language, block in blocks:
        if language == "python":
            exec(compile(block, PAGE.name, "exec"), {})
        elif language == "yaml":
            (tmp_path / "pipeline.yaml").write_text(block)
        elif language == "bash":
            for line in block.replace("\\\n", " ").splitlines():
                run_line(line, monkeypatch)
        printed += capsys.readouterr().out
        if language == "text" and not block.startswith("error:"):
            said = " ".join(printed.split())
            for line in filter(None, block.splitlines()):
                assert line == "..." or " ".join(line.split()) in said, line
    assert (tmp_path / "runs/mails/6-report/report.html").exists()
