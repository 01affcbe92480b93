import bz2
import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign import Logs, Roles
from causalign.audit import audit_logs
from causalign.errors import ColumnNotFound, InputError
from causalign.logs import read_column
from causalign.results import Verdict

ROLES = Roles(completion="text", outcome="y", confounders=("c",))
FRAME = {"text": ["a", "b", "c", "d"], "y": [1.0, 2.0, 0.5, 4.0], "c": ["u", "v", "u", "w"]}


def frame():
    return pd.DataFrame(FRAME)


def csv_bytes(separator=","):
    return frame().to_csv(index=False, sep=separator).encode()


WRITERS = {
    "logs.csv": lambda p: p.write_bytes(csv_bytes()),
    "logs.tsv": lambda p: p.write_bytes(csv_bytes("\t")),
    "logs.jsonl": lambda p: frame().to_json(p, orient="records", lines=True),
    "logs.parquet": lambda p: frame().to_parquet(p),
    "logs.csv.gz": lambda p: p.write_bytes(gzip.compress(csv_bytes())),
    "logs.tsv.bz2": lambda p: p.write_bytes(bz2.compress(csv_bytes("\t"))),
    "logs.csv.zst": lambda p: pa.output_stream(str(p), compression="zstd").write(csv_bytes()),
    "bom.csv": lambda p: p.write_bytes(b"\xef\xbb\xbf" + csv_bytes()),
}


@pytest.mark.parametrize("name", WRITERS)
def test_reads_every_format_alike(name, tmp_path):
    path = tmp_path / name
    if name.endswith(".zst"):
        with pa.output_stream(str(path), compression="zstd") as sink:
            sink.write(csv_bytes())
    else:
        WRITERS[name](path)
    logs = Logs.read(path, ROLES)
    assert logs.completions == FRAME["text"]
    np.testing.assert_array_equal(logs.outcome, FRAME["y"])
    assert logs.confounders[0].levels == ("u", "v", "w")
    assert name in logs.history[0]


def test_reads_a_folder_and_a_glob(tmp_path):
    for i in range(3):
        frame().to_parquet(tmp_path / f"part-{i}.parquet")
    (tmp_path / "notes.txt").write_text("not a log")
    assert len(Logs.read(tmp_path, ROLES)) == 12
    assert len(Logs.read(tmp_path / "part-[01].parquet", ROLES)) == 8


def test_promotes_integers_and_floats_across_files(tmp_path):
    frame().to_parquet(tmp_path / "a.parquet")
    frame().assign(y=[1, 2, 3, 4]).to_parquet(tmp_path / "b.parquet")
    assert Logs.read(tmp_path, ROLES).outcome.dtype == float


def test_a_column_is_read_as_what_its_role_needs(tmp_path):
    (tmp_path / "logs.csv").write_text("text;p;q\na;0,5;x\nb;0,25;y\n" + "c;0,75;z\n" * 9)
    assert read_column(tmp_path / "logs.csv", "p", "propensity").to_pylist()[:2] == [0.5, 0.25]
    assert read_column(tmp_path / "logs.csv", "text").to_pylist()[:2] == ["a", "b"]
    with pytest.raises(InputError, match="'q' is not numeric"):
        read_column(tmp_path / "logs.csv", "q", "propensity")
    with pytest.raises(ColumnNotFound, match="did you mean 'text'"):
        read_column(tmp_path / "logs.csv", "texts")
    asked = [[{"role": "user", "content": "Hi"}]]
    pq.write_table(pa.table({"prompt": asked}), tmp_path / "prompts.parquet")
    assert read_column(tmp_path / "prompts.parquet", "prompt").to_pylist() == asked


def test_huge_cell_and_duplicates_are_findings(tmp_path):
    rows = [("x" * 10_000_000, 1.0, 0), ("b", 2.0, 1), ("b", 2.0, 1), ("d", 3.0, 0), ("e", 4.0, 1)]
    path = tmp_path / "logs.csv"
    pd.DataFrame(rows, columns=["text", "y", "c"]).to_csv(path, index=False)
    found = {f.code: f for f in audit_logs(Logs.read(path, ROLES), folds=2).findings}
    assert found["DA102"].verdict is Verdict.WARN
    assert "10,000,000" in found["DA102"].explanation
    assert found["DA101"].verdict is Verdict.WARN
    assert "1 of 5 rows repeat" in found["DA101"].explanation


def test_parquet_larger_than_a_row_group(tmp_path):
    pq.write_table(pa.table(FRAME), tmp_path / "x.parquet", row_group_size=1)
    assert len(Logs.read(tmp_path / "x.parquet", ROLES)) == 4
