"""Logs from databases by a query, and tables written back: PostgreSQL, SQLite, DuckDB."""

import signal
import sqlite3
import threading
from contextlib import suppress
from datetime import datetime
from urllib.parse import quote

import pyarrow as pa
import pytest

import causalign as ca
from causalign.errors import CausalignError, ExtraNotInstalled, InputError, UnreadableFile
from causalign.logs.database import query_table, require_new_table, write_table
from tests.postgresql import PASSWORD

ROLES = ca.Roles("mail", "minutes", confounders=("price",))
MAILS = pa.table(
    {
        "mail": ["a b", "c d", "e", "f"],
        "minutes": [1.0, 2.5, 3.0, 4.0],
        "price": [1, 2, 1, 3],
        "sent": pa.array([datetime(2024, 1, day) for day in (1, 2, 3, 4)], pa.timestamp("us")),
    }
)
SELECT = "select * from mails order by minutes"


@pytest.fixture(params=["postgresql", "sqlite", "duckdb"])
def uri(request, tmp_path):
    """Give an empty place for tables in each kind of database."""
    if request.param != "postgresql":
        pytest.importorskip(f"adbc_driver_{request.param}")
        yield f"{request.param}:///{tmp_path}/shop.db"
        return
    server = request.getfixturevalue("postgresql")
    yield server
    drop(server, "mails", "scores")


def drop(server: str, *names: str) -> None:
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(server) as connection, connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"drop table if exists {name}")
        connection.commit()


def refusal(call, *given) -> str:
    """Return the one to three lines that a call is refused with; no password is in them."""
    with pytest.raises(CausalignError) as caught:
        call(*given)
    message = str(caught.value)
    assert message.count("\n") < 3
    for secret in (PASSWORD, quote(PASSWORD, safe=""), "battery", "hunter2", "reader"):
        assert secret not in message
    assert caught.value.__suppress_context__ or caught.value.__cause__ is None or "pip" in message
    return message


def test_what_is_written_is_read_back(uri):
    write_table(MAILS, uri, "mails")
    logs = ca.Logs.query(uri, SELECT, ROLES)
    assert logs.completions == MAILS["mail"].to_pylist()
    assert logs.outcome.tolist() == MAILS["minutes"].to_pylist()
    assert logs.numbers("price").tolist() == [1, 2, 1, 3]
    assert PASSWORD not in str(logs.history)
    assert "reader" not in str(logs.history)


def test_times_are_times_in_every_database(uri):
    write_table(MAILS, uri, "mails")
    timed = ca.Roles("mail", "minutes", confounders=("price",), time="sent")
    assert ca.Logs.query(uri, SELECT, timed).data["sent"].type == pa.timestamp("us")


def test_a_table_that_is_there_is_not_touched(uri):
    write_table(MAILS, uri, "mails")
    assert "Choose another name" in refusal(write_table, MAILS.slice(0, 2), uri, "mails")
    assert "Choose another name" in refusal(require_new_table, uri, "mails")
    assert query_table(uri, SELECT).num_rows == len(MAILS)
    require_new_table(uri, "scores")


def test_a_stream_that_breaks_off_leaves_no_table(uri, tmp_path):
    def batches():
        yield MAILS.to_batches()[0]
        raise OSError("the disk is gone")

    stream = pa.RecordBatchReader.from_batches(MAILS.schema, batches())
    refusal(write_table, stream, uri, "mails")
    assert list(tmp_path.iterdir()) == []
    require_new_table(uri, "mails")
    write_table(MAILS, uri, "mails")


def test_a_query_changes_nothing(uri):
    write_table(MAILS, uri, "mails")
    with suppress(InputError):  # DuckDB tells how many rows it deleted
        query_table(uri, "delete from mails")
    assert query_table(uri, SELECT).num_rows == len(MAILS)


def test_a_query_that_returns_nothing(uri):
    write_table(MAILS, uri, "mails")
    assert "returned no rows" in refusal(query_table, uri, "select * from mails where price > 9")


def test_a_column_or_a_table_that_vanished(uri):
    write_table(MAILS, uri, "mails")
    assert "cost" in refusal(query_table, uri, "select cost from mails")
    assert "letters" in refusal(query_table, uri, "select * from letters")
    assert "price" in refusal(ca.Logs.query, uri, "select mail, minutes from mails", ROLES)


def test_wrong_credentials(postgresql):
    other = postgresql.replace(quote(PASSWORD, safe=""), "hunter2")
    assert "password authentication failed" in refusal(query_table, other, "select 1")


def test_a_password_that_is_not_written_in_percent(postgresql):
    other = postgresql.replace(quote(PASSWORD, safe=""), "hunter2/battery@x")
    assert "%2F" in refusal(query_table, other, "select 1")


def test_a_database_that_is_away(postgresql):
    host = postgresql.rpartition("@")[2]
    away = postgresql.replace(host, "127.0.0.1:1/postgres?sslpassword=hunter2")
    assert "Connection refused" in refusal(query_table, away, "select 1")
    assert "unheard" in refusal(
        query_table, postgresql.replace("/postgres", "/unheard"), "select 1"
    )


def test_types_that_only_postgresql_has(postgresql):
    table = query_table(
        postgresql,
        "select 12.50::numeric as price, 12.5::money as cost, interval '1 day' as lag, "
        "'{\"a\": 1}'::jsonb as about, gen_random_uuid() as id, now() as at, array[1] as many "
        "union all select 3, 1::money, null, null, null, null, null",
    )
    logs = ca.Logs.of(
        table.append_column("mail", [["a", "b"]]).append_column("minutes", [[1, 2]]),
        ca.Roles("mail", "minutes"),
    )
    assert logs.numbers("price").tolist() == [12.5, 3.0]
    with pytest.raises(InputError, match="Select it as numeric"):
        logs.numbers("cost")
    assert "1 day" in table["lag"][0].as_py() or "days=1" in table["lag"][0].as_py()


def test_sqlite_finds_the_kind_of_a_column_in_all_its_rows(tmp_path):
    pytest.importorskip("adbc_driver_sqlite")
    file = tmp_path / "shop.db"
    with sqlite3.connect(file) as connection:
        connection.execute("create table mails (mail text, minutes, price)")
        rows = [(f"mail {i}", i, 1) for i in range(2000)] + [("last", 0.5, 2.5)]
        connection.executemany("insert into mails values (?, ?, ?)", rows)
    connection.close()
    logs = ca.Logs.query(f"sqlite:///{file}", "select * from mails", ROLES)
    assert logs.outcome[-1] == 0.5
    assert len(logs) == 2001


@pytest.fixture
def heeding_ctrl_c():
    """A command line that ran in this process before has left Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeding_ctrl_c")
def test_ctrl_c_ends_a_query(postgresql):
    timer = threading.Timer(0.5, signal.raise_signal, (signal.SIGINT,))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        query_table(postgresql, "select pg_sleep(20)")
    timer.join()


def test_schemas_of_tables(postgresql):
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(postgresql) as connection, connection.cursor() as cursor:
        cursor.execute("create schema if not exists letters")
        connection.commit()
    write_table(MAILS, postgresql, "letters.mails")
    assert query_table(postgresql, "select * from letters.mails").num_rows == len(MAILS)
    assert "already" in refusal(write_table, MAILS, postgresql, "letters.mails")
    drop(postgresql, "letters.mails")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mysql://reader:hunter2@host/shop", "mysql://"),
        ("postgresqll://reader:hunter2@host/shop", "did you mean 'postgresql'"),
        ("host=db password=hunter2", "without a scheme"),
    ],
)
def test_unknown_schemes(uri, expected):
    assert expected in refusal(query_table, uri, "select 1")


def test_files_of_databases_that_are_missing_or_none(tmp_path):
    for scheme in ("sqlite", "duckdb"):
        pytest.importorskip(f"adbc_driver_{scheme}")
        with pytest.raises(UnreadableFile, match="There is no file"):
            query_table(f"{scheme}:///{tmp_path}/none.db", "select 1")
        assert "no folder" in refusal(
            write_table, MAILS, f"{scheme}:///{tmp_path}/none/shop.db", "mails"
        )
        (tmp_path / "text.db").write_text("no database at all\n" * 100)
        refusal(query_table, f"{scheme}:///{tmp_path}/text.db", "select * from mails")
    assert [path.name for path in tmp_path.iterdir()] == ["text.db"]


def test_drivers_that_are_missing_are_named(monkeypatch):
    for scheme in ("snowflake", "bigquery"):
        monkeypatch.setitem(__import__("sys").modules, f"adbc_driver_{scheme}", None)
        with pytest.raises(ExtraNotInstalled, match=f"pip install .*adbc-driver-{scheme}"):
            query_table(f"{scheme}://reader:hunter2@host/shop", "select 1")
