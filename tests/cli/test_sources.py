"""Verbs read databases, streams and addresses, and write rows back, without a secret anywhere."""

import io
import sys
from types import SimpleNamespace

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from causalign.cli import main
from causalign.logs.database import query_table, write_table
from causalign.simulate import Newsletter

pytest.importorskip("adbc_driver_sqlite")

ROLES = ["--completion", "mail", "--outcome", "minutes_read", "--encoder", "style"]
WEEKDAY = ["--confounder", "weekday"]
QUERY = ["--query", "select * from mails"]


@pytest.fixture(scope="module")
def rows():
    return Newsletter(rows=300, pairs=2).simulate().logs.data


@pytest.fixture
def shop(tmp_path, rows):
    """Write the mails to a table; give the address of the database."""
    write_table(rows, f"sqlite:///{tmp_path}/shop.db", "mails")
    return f"sqlite:///{tmp_path}/shop.db"


def call(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    said = capsys.readouterr()
    assert stopped.value.code == 0, said.err
    return " ".join(said.out.split())


def refusal(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert "Traceback" not in said
    assert 1 <= len(said.strip().splitlines()) <= 3, said
    assert "hunter2" not in said
    assert "reader" not in said
    return " ".join(said.split())


def test_from_a_table_through_two_verbs_to_a_table(shop, tmp_path, capsys):
    back = ["--to", shop, "--table"]
    call(
        *(capsys, "deconfound", shop, *QUERY, *ROLES, *WEEKDAY, "--out", tmp_path / "adjusted"),
        *(*back, "adjusted"),
    )
    stored = pq.read_table(tmp_path / "adjusted/logs.parquet")["minutes_read_adjusted"]
    adjusted = query_table(shop, "select * from adjusted")
    assert adjusted["minutes_read_adjusted"].to_pylist() == stored.to_pylist()
    select = ["--query", "select mail, minutes_read_adjusted as minutes_read from adjusted"]
    call(capsys, "reward", "fit", shop, *select, *ROLES, "--out", tmp_path / "reward")
    said = call(
        *(capsys, "reward", "score", tmp_path / "reward/model", shop, *QUERY),
        *("--completion", "mail", "--out", tmp_path / "scored", *back, "scores"),
    )
    assert said.endswith("table: scores")
    scores = query_table(shop, "select * from scores")
    assert scores["reward"].to_pylist() == pq.read_table(tmp_path / "scored")["reward"].to_pylist()


def test_a_query_gives_what_a_file_gives(shop, rows, tmp_path, capsys):
    pq.write_table(rows, tmp_path / "mails.parquet")
    deconfound = ("deconfound", *ROLES, *WEEKDAY)
    call(capsys, *deconfound, tmp_path / "mails.parquet", "--out", tmp_path / "file")
    call(capsys, *deconfound, shop, *QUERY, "--out", tmp_path / "query")
    one, other = (pq.read_table(tmp_path / name / "logs.parquet") for name in ("file", "query"))
    assert one["minutes_read_adjusted"].equals(other["minutes_read_adjusted"])


def test_a_result_is_kept_until_the_table_changes(shop, tmp_path, capsys):
    audit = ("audit", shop, *ROLES, "--no-markers", "--out", tmp_path / "audit", "--query")
    call(capsys, *audit, "select * from mails")
    assert "done before" in call(capsys, *audit, "select mail, weekday, minutes_read from mails")
    assert "other settings or data" in refusal(capsys, *audit, "select * from mails limit 250")


def test_standard_input(rows, tmp_path, capsys, monkeypatch):
    content = io.BytesIO()
    pacsv.write_csv(rows, content)
    for _ in range(2):
        stream = SimpleNamespace(buffer=io.BytesIO(content.getvalue()))
        monkeypatch.setattr(sys, "stdin", stream)
        said = call(capsys, "audit", "-", *ROLES, "--no-markers", "--out", tmp_path / "audit")
    assert "done before" in said
    assert '"logs": "standard input"' in (tmp_path / "audit/result.json").read_text()


def test_an_address_and_tests_behind_another(rows, tmp_path, capsys):
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://shop/mails.parquet", "wb") as file:
        pq.write_table(rows, file)
    audit = ("audit", "memory://shop/mails.parquet", *ROLES, "--no-markers")
    call(capsys, *audit, "--out", tmp_path / "audit")
    assert "done before" in call(capsys, *audit, "--out", tmp_path / "audit")
    assert "300 rows of memory://shop/mails.parquet" in call(
        capsys, "doctor", "--logs", "memory://shop/mails.parquet"
    )


def test_a_recipe_drafted_from_a_database_holds_no_secret(shop, tmp_path, capsys):
    drafted = tmp_path / "pipeline.yaml"
    call(capsys, "init", f"{shop}?key=hunter2", *QUERY, "--out", drafted)
    assert 'uri: "${CAUSALIGN_LOGS}"' in drafted.read_text()
    assert 'query: "select * from mails"' in drafted.read_text()
    assert "hunter2" not in drafted.read_text()
    assert "save it to a file" in refusal(capsys, "init", "-")


SERVER = "postgresql://reader:hunter2@127.0.0.1:1/shop?sslpassword=hunter2"


@pytest.mark.parametrize(
    ("logs", "query", "expected"),
    [
        (SERVER, "select 1", "Connection refused"),
        (SERVER, None, "--query"),
        ("mysql://reader:hunter2@127.0.0.1/shop", "select 1", "No database is known"),
        ("mails.csv", "select 1", "without a scheme"),
        ("SHOP", "select * from letters", "letters"),
        ("SHOP", "select * from mails where false", "returned no rows"),
        ("SHOP", "select mail from mails", "minutes_read"),
        ("sqlite:///none.db", "select 1", "There is no file 'none.db'"),
        ("https://reader:hunter2@127.0.0.1:1/a.csv?token=hunter2", None, "Cannot connect"),
        ("s3://shop/mails.csv", None, "pip install"),
        ("shop://mails.csv", None, "There is no way to read"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_line(logs, query, expected, shop, tmp_path, capsys):
    if "postgresql" in logs:
        pytest.importorskip("adbc_driver_postgresql")
    asked = [] if query is None else ["--query", query]
    source = shop if logs == "SHOP" else logs
    said = refusal(capsys, "audit", source, *asked, *ROLES, "--out", tmp_path / "out")
    assert expected in said
    assert [path.name for path in tmp_path.iterdir()] == ["shop.db"]


def test_a_table_that_is_there_is_refused_before_the_work(shop, tmp_path, capsys):
    deconfound = ("deconfound", shop, *QUERY, *ROLES, *WEEKDAY, "--out", tmp_path / "out")
    assert "already" in refusal(capsys, *deconfound, "--to", shop, "--table", "mails")
    assert "give both" in refusal(capsys, *deconfound, "--to", shop)
    away = refusal(capsys, *deconfound, "--to", SERVER, "--table", "adjusted")
    assert "Connection refused" in away
    assert not (tmp_path / "out").exists()
    assert query_table(shop, "select * from mails").num_rows == 300
