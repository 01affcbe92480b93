import csv
import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from causalign import artifacts
from causalign.errors import ArtifactError
from causalign.results import Figure, Finding, Section, Verdict

SECTION = Section(
    stage="audit",
    question="What?",
    answer="This.",
    numbers={"x": 1.5, "none": None},
    tables={"the table": pa.table({"a": [1, 2], "b": ["=1+1", "y"]})},
    figures=(Figure("fig", "caption", "alt", "<svg/>"),),
    findings=(Finding("DA101", "t", Verdict.WARN, "e", {"n": 1.0}),),
    details={"deep": [1, {"k": True}]},
)


@dataclass(frozen=True)
class Settings:
    values: tuple = (1, 2)


def test_a_stage_is_read_back_as_it_was_written(tmp_path):
    place = tmp_path / "1-audit"
    artifacts.write_stage(place, SECTION, key="k", settings=Settings())
    assert artifacts.read_stage(place) == SECTION
    record = json.loads((place / "result.json").read_text())
    assert record["settings"] == {"type": "Settings", "values": [1, 2]}
    assert (place / "the-table.csv").read_text().startswith('"a","b"')


def test_nothing_is_left_when_the_payload_fails(tmp_path):
    def fails(folder):
        (folder / "half").write_text("x")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        artifacts.write_stage(tmp_path / "1-audit", SECTION, key="k", settings=None, payload=fails)
    assert not (tmp_path / "1-audit").exists()
    assert artifacts.stages(tmp_path) == []


def test_another_key_is_an_error_unless_replaced(tmp_path):
    place = tmp_path / "1-audit"
    artifacts.write_stage(place, SECTION, key="k", settings=None)
    assert artifacts.is_done(place, "k", replace=False)
    assert not artifacts.is_done(place, "other", replace=True)
    with pytest.raises(ArtifactError, match="settings or data. Choose another output folder"):
        artifacts.is_done(place, "other", replace=False)
    with pytest.raises(ArtifactError, match="settings or data. Pass redo=True"):
        artifacts.is_done(place, "other", replace=False, advice="Pass redo=True.")


def test_damage_is_said(tmp_path):
    place = tmp_path / "1-audit"
    artifacts.write_stage(place, SECTION, key="k", settings=None)
    (place / "the-table.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArtifactError, match="is damaged"):
        artifacts.read_stage(place)
    (place / "result.json").write_text("{")
    with pytest.raises(ArtifactError, match="is damaged"):
        artifacts.read_stage(place)


def test_what_a_killed_process_left_goes_when_the_next_takes_the_run(tmp_path):
    left = tmp_path / ".1-audit.partial-causalign-x"
    left.mkdir()
    with artifacts.lock(tmp_path):
        assert not left.exists()


def test_two_processes_do_not_share_a_run(tmp_path):
    with (
        artifacts.lock(tmp_path),
        pytest.raises(ArtifactError, match="Another process"),
        artifacts.lock(tmp_path),
    ):
        pass


def test_hash_is_of_the_content_not_of_the_chunks():
    whole = pa.table({"a": ["x", "y", None], "b": [1.0, 2.0, np.nan]})
    chunked = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    assert artifacts.hash_table(whole) == artifacts.hash_table(chunked)
    assert artifacts.hash_table(whole) != artifacts.hash_table(whole.slice(0, 2))


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1+1", "'-1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("＝1", "'＝1"),
        ("\r=1", "\ufffd=1"),
        ("\x1b[2J\x1b]0;title\x07", "\ufffd[2J\ufffd]0;title\ufffd"),
        ("\x9b2J", "\ufffd2J"),
        ("\u202egpj.exe", "\ufffdgpj.exe"),
        ("nul\x00l", "nul\ufffdl"),
        ("two\nlines", "two\nlines"),
        ("plain = word - 1", "plain = word - 1"),
    ],
)
@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary", "string_view"])
def test_exports_as_csv_command_neither_spreadsheets_nor_terminals(word, written, kind, tmp_path):
    column = pa.array([word, "x"])
    if kind == "dictionary":
        column = column.dictionary_encode()
    elif kind != "string":
        column = column.cast(getattr(pa, kind)())
    section = Section(stage="a", question="q", answer="w", tables={"t": pa.table({word: column})})
    artifacts.write_stage(tmp_path / "1-a", section, key="k", settings={})
    with (tmp_path / "1-a" / "t.csv").open(encoding="utf-8", newline="") as stream:
        assert list(csv.reader(stream)) == [[written], [written], ["x"]]
    assert artifacts.read_stage(tmp_path / "1-a").tables["t"][word].to_pylist() == [word, "x"]
