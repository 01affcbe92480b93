"""Output folders of real life: nothing of anybody is lost, and no result is of other data."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign import artifacts, pipeline, recipe
from causalign.cli import main
from causalign.errors import ArtifactError, CausalignError, SettingsError, hide_secrets
from causalign.lm import EmbeddingCache, embed
from causalign.simulate import Newsletter

ROLES = ["--completion", "mail", "--outcome", "minutes_read"]
HASHING = ["--encoder", "hashing"]
RECIPE = """
name: small
encoder: hashing
deconfound: {method: ordinary}
data:
  path: data/logs.parquet
  roles: {completion: mail, outcome: minutes_read, confounders: [weekday]}
evaluate: {pairs: data/experiment.parquet, truth: true_text_effect}
"""


@pytest.fixture
def call(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(a) for a in arguments])
        said = capsys.readouterr()
        return stopped.value.code, said.out, said.err

    return run


@pytest.fixture
def log(tmp_path):
    Newsletter(rows=120, pairs=120).simulate().write(tmp_path / "data")
    return tmp_path / "data" / "logs.parquet"


@pytest.fixture
def other(tmp_path):
    Newsletter(rows=120, pairs=30, seed=5).simulate().write(tmp_path / "other")
    return tmp_path / "other" / "logs.parquet"


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def verb(name, log, out):
    return {
        "audit": ["audit", log, *ROLES, *HASHING, "--no-markers", "--out", out],
        "deconfound": ["deconfound", log, *ROLES, *HASHING, "--method", "ordinary",
                       "--confounder", "weekday", "--out", out],
        "reward": ["reward", "fit", log, *ROLES, *HASHING, "--out", out],
        "generations": ["evaluate", "generations", log, "--column", "mail", "--column", "weekday",
                        "--out", out],
        "simulate": ["simulate", "newsletter", "--out", out, "--set", "rows=60",
                     "--set", f"seed={len(str(log))}"],
    }[name]  # fmt: skip


@pytest.mark.parametrize("name", ["audit", "deconfound", "reward", "generations"])
def test_a_second_log_does_not_replace_the_first(name, log, other, tmp_path, call):
    """Same verb, same settings, other content: refused, even where path and size are the same."""
    out = tmp_path / "out"
    assert call(*verb(name, log, out))[0] == 0
    (out / "notes.md").write_text("mine")
    before = contents(out)
    code, _, said = call(*verb(name, other, out))
    assert (code, len(said.strip().splitlines())) == (2, 1)
    assert "other settings or data" in said
    status = log.stat()
    table = pq.read_table(other)
    pq.write_table(table, log)
    os.utime(log, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert call(*verb(name, log, out))[0] == 2
    assert contents(out) == before


def test_the_same_command_again_keeps_what_is_there(log, tmp_path, call):
    out = tmp_path / "out"
    first = call(*verb("reward", log, out))
    (out / "notes.md").write_text("mine")
    before = contents(out)
    moved = tmp_path / "elsewhere" / "renamed.parquet"
    moved.parent.mkdir()
    log.rename(moved)
    code, told, _ = call(*verb("reward", moved, out))
    assert code == 0
    assert told == f"done before\n{first[1]}"
    assert contents(out) == before


def test_a_second_simulated_log_does_not_replace_the_first(tmp_path, call):
    out = tmp_path / "out"
    assert call(*verb("simulate", "a", out))[0] == 0
    before = contents(out)
    code, _, said = call(*verb("simulate", "longer", out))
    assert code == 2
    assert "holds another log" in said
    assert call(*verb("simulate", "b", out))[0] == 0
    assert contents(out) == before


def test_folders_beside_the_output_are_left_alone(log, tmp_path, call):
    for name in ("out.training", ".out.training", "out.partial", ".out.partial-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.tex").write_text("years of work")
    before = contents(tmp_path)
    assert call(*verb("reward", log, tmp_path / "out"))[0] == 0
    after = contents(tmp_path)
    assert {name: after.get(name) for name in before} == before


@pytest.mark.parametrize("name", [".write-test", ".lock"])
def test_a_link_in_the_folder_does_not_empty_its_target(name, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("years of work")
    out = tmp_path / "run"
    out.mkdir()
    (out / name).symlink_to(precious)
    with suppress(ArtifactError), artifacts.lock(artifacts.open_run(out)):
        pass
    assert precious.read_text() == "years of work"


def place(name: str, folder: Path, log: Path) -> Path | str:
    (folder / "file").write_text("precious")
    (folder / "full").mkdir()
    (folder / "full" / "thesis.tex").write_text("years of work")
    (folder / "empty").mkdir()
    (folder / "link").symlink_to(folder / "empty")
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "circle").symlink_to(folder / "circle")
    return {
        "the input": log,
        "the folder of the input": log.parent,
        "a file": folder / "file",
        "below a file": folder / "file" / "out",
        "a full folder": folder / "full",
        "a link to nothing": folder / "dangling",
        "below a link to nothing": folder / "dangling" / "out",
        "a circle": folder / "circle",
        "the root": "/",
        "nothing": "",
        "the working folder": ".",
        "a name too long": folder / ("x" * 300),
        "in proc": "/proc/out",
        "a null character": f"{folder}/a\0b",
        "a link to a folder": folder / "link",
        "a trailing slash": f"{folder / 'new'}/",
        "missing parents": folder / "a" / "b" / "c",
        "an empty folder": folder / "empty",
        "a long name": folder / ("y" * 200),
        "two dots": folder / "full" / ".." / "new",
        "a newline": folder / "a\nb",
        "not UTF-8": folder / "\udcff",
    }[name]


WORKS = ("a link to a folder", "a trailing slash", "missing parents", "an empty folder",
         "a long name", "two dots", "a newline")  # fmt: skip
REFUSED = ("the input", "the folder of the input", "a file", "below a file", "a full folder",
           "a link to nothing", "below a link to nothing", "a circle", "the root", "nothing",
           "the working folder", "a name too long", "in proc",
           "a null character", "not UTF-8")  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("of", ["reward", "deconfound"])
def test_a_place_that_cannot_be_an_output_is_refused(of, name, log, tmp_path, call, monkeypatch):
    out = place(name, tmp_path, log)
    monkeypatch.chdir(tmp_path / "empty")
    before, folders = contents(tmp_path), sorted(tmp_path.rglob("*"))
    code, _, said = call(*verb(of, log, out))
    assert code == 2
    assert len(said.strip().splitlines()) <= 3
    assert contents(tmp_path) == before
    assert sorted(tmp_path.rglob("*")) == folders


@pytest.mark.parametrize("name", WORKS)
def test_a_place_that_can_be_an_output_gets_the_result(name, log, tmp_path, call):
    out = place(name, tmp_path, log)
    code, _, said = call(*verb("deconfound", log, out))
    assert code == 0, said
    assert (Path(out) / "logs.parquet").is_file()
    assert (tmp_path / "link").is_symlink()


def test_the_home_folder_is_filled_in(log, tmp_path, call, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert call(*verb("deconfound", log, "~/result"))[0] == 0
    assert (tmp_path / "result" / "logs.parquet").is_file()


def test_an_output_inside_the_folder_of_logs_is_refused(log, tmp_path, call):
    """What is written there would be read as logs by the next command."""
    for given in (log.parent, f"{log.parent}/**/*.parquet"):
        for command in (
            verb("deconfound", given, log.parent / "out"),
            ["reward", "score", tmp_path, given, "--completion", "mail",
             "--out", log.parent / "out"],
        ):  # fmt: skip
            code, _, said = call(*command)
            assert code == 2
            assert len(said.strip().splitlines()) == 1
    assert {path.name for path in log.parent.iterdir()} == {"logs.parquet", "experiment.parquet"}


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_results_are_readable_by_whom_the_umask_lets_read(mask, log, tmp_path, call):
    before = os.umask(mask)
    try:
        assert call(*verb("reward", log, tmp_path / "out"))[0] == 0
    finally:
        os.umask(before)
    for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~mask, path


# Runs -------------------------------------------------------------------------------------------


def run(path: Path, folder: Path, *overrides: str):
    lines: list[str] = []
    pipeline.run(recipe.load(path, overrides), folder, say=lines.append)
    return [line for line in lines if "done before" in line]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    Newsletter(rows=120, pairs=120).simulate().write(folder / "data")
    (folder / "pipeline.yaml").write_text(RECIPE)
    assert run(folder / "pipeline.yaml", folder / "run") == []
    return folder


@pytest.fixture
def finished(whole, tmp_path):
    """A finished run, moved: what it was made of has the same content."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return tmp_path / "pipeline.yaml"


def test_moved_data_are_known_again(finished, tmp_path):
    shutil.move(tmp_path / "data", tmp_path / "elsewhere")
    overrides = ("data.path=elsewhere/logs.parquet", "evaluate.pairs=elsewhere/experiment.parquet")
    assert len(run(finished, tmp_path / "run", *overrides)) == 4
    assert run(finished, tmp_path / "run", *overrides, "name=other") != []


def change(table: pa.Table, name: str) -> pa.Table:
    """Swap the values of two rows that differ: size, extremes and moments stay."""
    values = table[name].to_pylist()
    second = next(i for i, value in enumerate(values) if value != values[0])
    values[0], values[second] = values[second], values[0]
    column = pa.array(values, table[name].type)
    return table.set_column(table.column_names.index(name), name, column)


@pytest.mark.parametrize(
    ("file", "column"),
    [
        ("logs", "mail"),
        ("logs", "minutes_read"),
        ("logs", "weekday"),
        ("logs", "true_text_effect"),  # no role: the judge reads it
        ("experiment", "chosen"),
        ("experiment", "margin"),
        ("experiment", "group"),
    ],
)
def test_other_content_under_the_same_name_is_no_finished_run(finished, tmp_path, file, column):
    path = tmp_path / "data" / f"{file}.parquet"
    status = path.stat()
    pq.write_table(change(pq.read_table(path), column), path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ArtifactError, match="other settings or data"):
        run(finished, tmp_path / "run")


def test_a_column_that_nothing_reads_may_change(finished, tmp_path):
    path = tmp_path / "data" / "logs.parquet"
    pq.write_table(pq.read_table(path).append_column("note", pa.nulls(120)), path)
    assert len(run(finished, tmp_path / "run")) == 4


NAMES = ["../x", "/tmp/x", "", ".", "..", "a/b", "a\\b", "a\0b", "x" * 300, "CON", "nul.txt",
         "lpt1", ".hidden", "dot.", " blank", "a\nb", "c:x", "é" * 60, "*"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_no_folder_below_the_runs_is_refused(name, tmp_path, call, monkeypatch):
    path = tmp_path / "pipeline.yaml"
    path.write_text(RECIPE.replace("name: small", f"name: {json.dumps(name)}"))
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    before = sorted(tmp_path.rglob("*"))
    code, _, said = call("run", path)
    assert code == 2
    assert len(said.strip().splitlines()) <= 3
    assert "'name'" in said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["small", "Été 2024", "a_b-c", "日本", "console", "v1.2"])
def test_other_names_are_names(name, tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(RECIPE.replace("name: small", f"name: {json.dumps(name)}"))
    assert recipe.load(path).name == name


def test_a_method_says_itself_what_is_wrong_with_its_settings(tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(RECIPE)
    with pytest.raises(SettingsError) as refused:
        recipe.load(path, ("generate.texts=1",))
    assert "Value error" not in str(refused.value)


@pytest.mark.parametrize("written", ["$WAREHOUSE/logs.parquet", "${WAREHOUSE}/none*.csv"])
@pytest.mark.parametrize("place", ["data.path", "evaluate.pairs"])
def test_what_a_recipe_takes_from_the_environment_is_not_shown(
    written, place, log, tmp_path, call, monkeypatch
):
    monkeypatch.setenv("WAREHOUSE", "/srv/hunter2-password")
    path = tmp_path / "pipeline.yaml"
    path.write_text(RECIPE)
    code, told, said = call("run", path, "--set", f"{place}={written}", "--out", tmp_path / "run")
    assert code == 2
    assert "hunter2" not in told + said
    assert "WAREHOUSE" in said


def test_what_a_run_stores_holds_no_value_of_the_environment(log, tmp_path, call, monkeypatch):
    (tmp_path / "hunter2-password").mkdir()
    log.parent.rename(tmp_path / "hunter2-password" / "data")
    monkeypatch.setenv("WAREHOUSE", str(tmp_path / "hunter2-password"))
    path = tmp_path / "pipeline.yaml"
    path.write_text(RECIPE.replace("data/", "$WAREHOUSE/data/"))
    code, told, said = call("run", path, "--out", tmp_path / "run")
    assert code == 0, said
    assert "hunter2" not in told + said
    for name, content in contents(tmp_path / "run").items():
        assert b"hunter2" not in content, name


def test_messages_hide_secrets_of_the_environment_and_passwords_in_addresses(monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "sk-1234567890")
    assert str(CausalignError("no file /x/sk-1234567890.csv")) == "no file /x/$MY_API_KEY.csv"
    assert hide_secrets("postgres://me:hunter2@host/logs") == "postgres://***@host/logs"
    assert hide_secrets("https://host/a:b@c") == "https://host/a:b@c"


def test_the_command_of_a_judge_is_not_stored(tmp_path, call):
    for name in ("a", "b"):
        pq.write_table(pa.table({"completion": ["x", "y"], "prompt": ["p", "q"]}),
                       tmp_path / f"{name}.parquet")  # fmt: skip
    judge = tmp_path / "judge.py"
    judge.write_text(
        "import sys, json\n"
        "for line in sys.stdin: print(json.dumps({'id': json.loads(line)['id'],"
        " 'preference': 'tie'}))\n"
    )
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    command = ["--judge-command", f"python3 {judge} --key hunter2"]
    code, _, said = call("evaluate", "generations", *files, *command, "--out", tmp_path / "out")
    assert code == 0, said
    assert not any(b"hunter2" in content for content in contents(tmp_path / "out").values())


# Who may write what is trusted -------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path):
    encoder = Slow()
    stored = EmbeddingCache(tmp_path / "cache")
    embed(["a", "b"], encoder, stored)
    return stored


class Slow:
    """An encoder that is worth caching."""

    name, revision, dimension = "slow", "1", 2

    def encode(self, texts, progress=False):
        return np.ones((len(texts), 2), dtype=np.float32)


def test_a_cache_is_for_its_owner_alone(cache):
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert embed(["a", "b"], Slow(), cache).cached == 2


@pytest.mark.parametrize("part", ["folder", "path"])
def test_a_cache_that_everybody_may_write_is_not_read(cache, part):
    getattr(cache, part).chmod(0o777)
    done = embed(["a", "b"], Slow(), cache)
    assert done.cached == 0
    assert "everybody may write" in done.cache_problem
    assert done.vectors.tolist() == [[1.0, 1.0], [1.0, 1.0]]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize("part", ["folder", "path"])
def test_a_cache_of_a_stranger_is_not_read(cache, part):
    os.chown(getattr(cache, part), 12345, -1)
    done = embed(["a", "b"], Slow(), cache)
    assert done.cached == 0
    assert "belongs to another user" in done.cache_problem


def test_a_group_may_share_its_umask(cache):
    cache.path.chmod(0o664)
    cache.folder.chmod(0o2775)
    assert embed(["a", "b"], Slow(), cache).cached == 2


# Ends of the terminal ----------------------------------------------------------------------------

ENDS = """
import resource, sys
from causalign.__main__ import main
limit = int(sys.argv.pop(1))
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
main()
"""


def end(words, limit=0, **how):
    environment = os.environ | how.pop("env", {})
    command = [sys.executable, "-c", ENDS, str(limit), *map(str, words)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, **how)


def test_a_full_disk_leaves_nothing_half_written(log, tmp_path):
    out = tmp_path / "out"
    with end(verb("deconfound", log, out), limit=3000, stdout=subprocess.DEVNULL) as process:
        said = process.stderr.read().decode()
    assert process.returncode == 2
    assert said.startswith("error: Cannot write to")
    assert len(said.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


@pytest.mark.parametrize("reader", ["closes the pipe", "is a full disk", "reads ASCII"])
def test_no_result_is_lost_because_it_cannot_be_shown(reader, log, tmp_path):
    out = tmp_path / "out"
    words, ascii_only = verb("deconfound", log, out), {"PYTHONIOENCODING": "ascii"}
    if reader == "closes the pipe":
        with end(words, stdout=subprocess.PIPE) as process:
            process.stdout.close()
            said = process.stderr.read().decode()
    else:
        with (
            open("/dev/full" if reader == "is a full disk" else os.devnull, "w") as shown,
            end(words, stdout=shown, env=ascii_only) as process,
        ):
            said = process.stderr.read().decode()
    full = "error: Standard output cannot be written: No space left on device. What was kept is "
    assert said == (full + "whole.\n" if reader == "is a full disk" else "")
    assert process.returncode == (2 if reader == "is a full disk" else 0)
    assert (out / "result.json").is_file()
