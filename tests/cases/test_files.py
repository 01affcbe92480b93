"""Files and folders that were misread without a word: read as a careful user means, or refused."""

import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalign import Logs, Roles
from causalign.cli import main
from causalign.deconfound import OrdinaryLeastSquares
from causalign.errors import CausalignError
from causalign.logs import read_table

ROLES = Roles("text", "y", confounders="c")
SIZE = 30
LINES = "text,y,c\n" + "".join(f"mail {i},{i % 3},{i % 2}\n" for i in range(SIZE))


@pytest.mark.parametrize(
    "hidden", [".ipynb_checkpoints/log-checkpoint.csv", "_temporary/0/part-0.csv", ".Trash/log.csv"]
)
def test_hidden_files_are_counted_once_too_often(hidden, tmp_path):
    """Every row twice: standard errors too small by the root of two."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "text": [f"mail {i}" for i in range(400)],
            "y": random.normal(size=400),
            "c": random.normal(size=400),
        }
    )
    (tmp_path / hidden).parent.mkdir(parents=True)
    for name in ("log.csv", hidden):
        table.to_csv(tmp_path / name, index=False)
    logs = Logs.read(tmp_path, ROLES)
    true = OrdinaryLeastSquares().fit(Logs.of(table, ROLES)).standard_errors
    assert len(logs) == 400
    np.testing.assert_allclose(OrdinaryLeastSquares().fit(logs).standard_errors, true, rtol=1e-12)


def test_what_macos_leaves_is_no_csv(tmp_path):
    (tmp_path / "log.csv").write_text(LINES)
    (tmp_path / "._log.csv").write_bytes(b"\x00\x05\x16\x07\x00\x02")
    assert len(Logs.read(tmp_path, ROLES)) == SIZE


@pytest.mark.parametrize("weeks", [("a", "b"), ("1", "2"), ("01", "02")])
def test_partitions_are_columns(weeks, tmp_path):
    """The confounder stood in the names of the folders alone."""
    for week in weeks:
        (tmp_path / f"week={week}").mkdir()
        table = pa.table({"text": [f"mail {week}{i}" for i in range(SIZE)], "y": range(SIZE)})
        pq.write_table(table, tmp_path / f"week={week}" / "part-0.parquet")
    week = Logs.read(tmp_path, Roles("text", "y", confounders="week")).confounders[0]
    if weeks == ("1", "2"):
        assert week.values.tolist() == [1] * SIZE + [2] * SIZE
    else:
        assert week.levels == weeks


def test_a_text_that_begins_with_a_quote_does_not_swallow_rows(tmp_path):
    texts = [f"mail {i}" for i in range(SIZE)]
    texts[5], texts[9] = '"Best deal', '10" pan'
    lines = "".join(f"{text}\t{i % 3}\t{i % 2}\n" for i, text in enumerate(texts))
    (tmp_path / "log.tsv").write_text("text\ty\tc\n" + lines)
    logs = Logs.read(tmp_path / "log.tsv", ROLES)
    assert logs.completions == texts
    assert "quotes read as part of the texts" in logs.history


def test_backslashes_before_quotes_as_spark_writes_them(tmp_path):
    lines = "".join(f'"say \\"hi {i}\\" now",{i % 3},{i % 2}\n' for i in range(SIZE))
    (tmp_path / "log.csv").write_text("text,y,c\n" + lines)
    assert Logs.read(tmp_path / "log.csv", ROLES).completions[0] == 'say "hi 0" now'


@pytest.mark.parametrize("first", ["\ufeff", "sep=;\n", "\ufeffsep=;\r\n"])
def test_semicolons_and_decimal_commas_of_excel(first, tmp_path):
    lines = "text;y;c\n" + "".join(f"mail {i};{i % 3},5;{i % 2}\n" for i in range(SIZE))
    (tmp_path / "log.csv").write_text(first + lines)
    logs = Logs.read(tmp_path / "log.csv", ROLES)
    assert logs.outcome.tolist() == [i % 3 + 0.5 for i in range(SIZE)]
    assert "semicolons between the columns" in logs.history


def test_a_first_line_that_names_commas(tmp_path):
    (tmp_path / "log.csv").write_text("sep=,\n" + LINES)
    assert len(Logs.read(tmp_path / "log.csv", ROLES)) == SIZE


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_text_that_is_typed_as_bytes_is_text(kind, tmp_path):
    """Impala and old Spark write text as BINARY."""
    texts = pa.array([b"good mail", "größer".encode(), b"third"]).cast(kind)
    pq.write_table(pa.table({"text": texts, "y": [1, 2, 3]}), tmp_path / "log.parquet")
    logs = Logs.read(tmp_path / "log.parquet", Roles("text", "y"))
    assert logs.completions == ["good mail", "größer", "third"]


def test_a_column_of_pictures_without_a_role_harms_nobody(tmp_path):
    pictures = pa.array([b"\x89PNG\xff", b"\x00", b"\xfe"])
    table = pa.table({"text": ["good", "mail", "third"], "y": [1, 2, 3], "image": pictures})
    pq.write_table(table, tmp_path / "log.parquet")
    logs = Logs.read(tmp_path / "log.parquet", Roles("text", "y"))
    assert logs.data["image"].to_pylist() == pictures.to_pylist()
    with pytest.raises(CausalignError, match="not UTF-8"):
        Logs.read(tmp_path / "log.parquet", Roles("image", "y"))


def test_text_of_parquet_that_is_no_utf8_is_no_text(tmp_path):
    """Arrow does not look: the first text that was read ended in a traceback."""
    broken = pa.Array.from_buffers(
        pa.string(), 3, pa.array([b"good", b"\xff\xfe", b"third"]).buffers()
    )
    table = pa.table({"text": ["a", "b", "c"], "y": [1, 2, 3], "name": broken})
    pq.write_table(table, tmp_path / "log.parquet")
    assert len(Logs.read(tmp_path / "log.parquet", Roles("text", "y"))) == 3
    with pytest.raises(CausalignError, match="not UTF-8"):
        Logs.read(tmp_path / "log.parquet", Roles("text", "y", confounders="name"))


DAMAGED = {
    "log.jsonl": [
        '{"text":' * 100_000 + "1" + "}" * 100_000,
        '{"text":"a","y":' + "[" * 1_000_000,
        '{"text":"a","y":1}\n{"text":"b","y":"x"}\n',
        '[{"text":"a","y":1},{"text":"b","y":2}]',
        '{"text":"a","y":1,"y":2}\n',
        b'{"text":"gr\xf6\xdfe","y":1}\n{"text":"b","y":2}\n',
        "1\n2\n",
    ],
    "log.csv": [
        '"text","y"\n"a,1\n"b",2\n',
        "text,y\na,1\nb,2,3\n",
        "text,y\ngr\xf6\xdfe,1\nb,2\n".encode("latin-1"),
        LINES.encode("utf-16"),
        b"text,y\na\0,1\n",
        b"PAR1",
        b"PK\x03\x04",
        "<html><body>Not found</body></html>",
        "\n\n\n",
        ",,,\n1,2,3,4\n",
        b"\xff\xfe",
        b"\x80",
        "sep=;",
        '"',
    ],
    "log.csv.gz": [gzip.compress(LINES.encode())[:-12], LINES],
    "log.parquet": [b"PAR1", b"PAR1" * 9, LINES],
    "log.json": [json.dumps([{"text": "a", "y": 1}])],
    "log.xlsx": [b"PK\x03\x04"],
}


@pytest.mark.parametrize(
    ("name", "content"), [(name, each) for name, all_of in DAMAGED.items() for each in all_of]
)
def test_damaged_files_end_in_one_clear_line(name, content, tmp_path, capsys):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SystemExit) as stopped:
        main(["audit", str(path), "--completion", "text", "--outcome", "y"])
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    assert name in said


PIECES = ("text", "y", '"', '""', '\\"', "\\", ",", ";", "\t", "|", "\n", "\r\n", "\r", "\ufeff",
          "sep=;", "#", "1", "2,5", " ", "ß", "\x00", "[", "{", "}", ":", "NaN")  # fmt: skip


@pytest.mark.parametrize("name", ["log.csv", "log.tsv", "log.jsonl", "log.parquet", "log.csv.gz"])
@given(pieces=st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=40))
@settings(max_examples=60, deadline=None)
def test_no_bytes_end_in_a_traceback(name, pieces, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(b"".join(p.encode() if isinstance(p, str) else p for p in pieces))
    said, rows = "refused", []
    try:
        rows = read_table(path).to_pylist()
    except CausalignError as refused:
        said = str(refused)
    assert isinstance(rows, list)
    assert len(said.splitlines()) == 1
