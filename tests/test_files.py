"""Files and folders are whole or as they were, also after a kill; formats are told apart."""

import os
import signal
import subprocess
import sys

import pytest

from causalign import files
from causalign.errors import ArtifactError

# The child kills itself the moment before the rename: no handler runs, nothing is cleaned up.
CHILD = """
import os, signal, sys
from pathlib import Path
from causalign import files
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
target = Path(sys.argv[1])
with files.write_whole(target) as partial:
    if target.is_dir():
        partial.mkdir()
        (partial / "part").write_text("new")
    else:
        partial.write_text("new")
"""


def write(target, text="new"):
    with files.write_whole(target) as partial:
        partial.write_text(text)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "value.txt"
    path.write_text("old")
    return path


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "values"
    path.mkdir()
    (path / "part").write_text("old")
    return path


@pytest.mark.parametrize("name", ["file", "folder"])
def test_a_kill_before_the_rename_leaves_the_old_content(name, request):
    target = request.getfixturevalue(name)
    done = subprocess.run([sys.executable, "-c", CHILD, str(target)], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert (target / "part" if target.is_dir() else target).read_text() == "old"
    assert len(list(target.parent.iterdir())) == 2
    files.remove_partial(target.parent)
    assert list(target.parent.iterdir()) == [target]


def test_a_failure_leaves_the_old_content_and_nothing_else(file):
    def fail(partial):
        partial.write_text("new")
        raise RuntimeError

    with pytest.raises(RuntimeError), files.write_whole(file) as partial:
        fail(partial)
    assert file.read_text() == "old"
    assert list(file.parent.iterdir()) == [file]


def test_a_folder_replaces_a_folder_whole(folder):
    with files.write_whole(folder) as partial:
        (partial / "deep").mkdir(parents=True)
        (partial / "deep" / "other").write_text("new")
    assert [p.name for p in folder.rglob("*")] == ["deep", "other"]
    assert list(folder.parent.iterdir()) == [folder]


def test_missing_folders_above_are_made(tmp_path):
    write(tmp_path / "a" / "b" / "value.txt")
    assert (tmp_path / "a" / "b" / "value.txt").read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_permissions_are_those_of_files_written_plainly(tmp_path):
    (tmp_path / "plain").write_text("")
    (tmp_path / "plain folder").mkdir()
    write(tmp_path / "whole")
    with files.write_whole(tmp_path / "whole folder") as partial:
        partial.mkdir()
    modes = {path.name: path.stat().st_mode for path in tmp_path.iterdir()}
    assert modes["whole"] == modes["plain"]
    assert modes["whole folder"] == modes["plain folder"]


def test_everything_is_flushed_before_the_rename(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda f: (done.append(os.fstat(f).st_ino), fsync(f))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), replace(a, b))[1])
    with files.write_whole(tmp_path / "values") as partial:
        partial.mkdir()
        (partial / "part").write_text("new")
    written = {p.stat().st_ino for p in (tmp_path / "values", tmp_path / "values" / "part")}
    assert set(done[: done.index("rename")]) == written
    assert done[-1] == tmp_path.stat().st_ino


def test_json_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "value.json"
    files.write_json(path, {"b": (1, 2), "a": "é"})
    assert files.read_json(path) == {"a": "é", "b": [1, 2]}
    path.write_text("[1]")
    with pytest.raises(ArtifactError, match="damaged"):
        files.read_json(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no thing.json in .*: fit it again"),
        ("{", "cannot be read: .*fit it again"),
        ("[]", "does not describe a thing: fit it again"),
        ('{"format": "other", "version": 2}', "does not describe a thing"),
        ('{"format": "thing", "version": 3}', "version 3; this causalign reads version 2"),
    ],
)
def test_what_is_not_of_the_format_is_refused(tmp_path, content, message):
    path = tmp_path / "thing.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ArtifactError, match=message):
        files.read_format(path, "thing", 2, again="fit it again")


def test_the_right_format_is_read(tmp_path):
    files.write_json(tmp_path / "thing.json", {"format": "thing", "version": 2, "x": 1})
    assert files.read_format(tmp_path / "thing.json", "thing", 2, again="")["x"] == 1
