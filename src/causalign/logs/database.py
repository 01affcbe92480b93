"""Tables of databases through ADBC: what a query returns, and results written back whole.

A driver is a library of its own; what it says of an address or a password never reaches a message.
"""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from causalign.errors import (
    InputError,
    UnreadableFile,
    hide_address,
    mask_address,
    nearest,
    needs_extra,
)
from causalign.logs.containers import Foreign, to_arrow
from causalign.logs.kinds import UNREADABLE, UNTYPED

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection

# For each scheme: the module of the driver, and the package that brings it.
DRIVERS = {
    "postgresql": ("adbc_driver_postgresql", "adbc-driver-postgresql"),
    "postgres": ("adbc_driver_postgresql", "adbc-driver-postgresql"),
    "sqlite": ("adbc_driver_sqlite", "adbc-driver-sqlite"),
    "duckdb": ("adbc_driver_duckdb", "duckdb"),
    "snowflake": ("adbc_driver_snowflake", "adbc-driver-snowflake"),
    "bigquery": ("adbc_driver_bigquery", "adbc-driver-bigquery"),
}
SECONDS_TO_CONNECT = 20
# A database in a file; the others are servers.
_IN_FILES = ("sqlite", "duckdb")
# SQLite has no types: the driver takes a column's from so many rows, and fails at later others.
_ROWS_TO_TYPE = 10_000_000
# Drivers take Ctrl-C themselves, and say so: PostgreSQL's, DuckDB's, and one that cannot stop.
_INTERRUPTED = ("due to user request", "INTERRUPT Error", "NOT_IMPLEMENTED")
# What drivers put before the words that tell what is wrong.
_PREFIX = re.compile(r"(?:ERROR|FATAL):\s+|\bFailed to \w+(?: \w+)?: |^[A-Z_]+: |\[\w+\] ")


def query_table(uri: str, sql: str) -> pa.Table:
    """Return what a query selects; what it changes is not kept.

    Parameters
    ----------
    uri : str
        ``postgresql://``, ``sqlite:///FILE``, ``duckdb:///FILE``, ``snowflake://``, ``bigquery://``
        ``PROJECT/DATASET``.
    sql : str
        One statement.

    Raises
    ------
    InputError
        When the scheme is not known, the database cannot be reached, refuses the user or the query,
        or returns no rows.
    UnreadableFile
        When the file of a database is missing.
    ExtraNotInstalled
        When the driver is missing.
    """
    with _connect(uri) as connection, _explain(uri, "The query"), connection.cursor() as cursor:
        if name_scheme(uri) == "sqlite":
            rows = {"adbc.sqlite.query.batch_rows": str(_ROWS_TO_TYPE)}
            cursor.adbc_statement.set_options(**rows)
        cursor.execute(sql)
        table = cursor.fetch_arrow_table()
    if not table.num_rows:
        raise InputError(
            f"The query returned no rows from {mask_address(uri)!r}. Check its conditions."
        )
    return _settle_types(table, has_types=name_scheme(uri) != "sqlite")


def write_table(table: Foreign, uri: str, name: str) -> None:
    """Write a table to a new table of a database: whole, or not at all.

    Parameters
    ----------
    table : as for `Logs.of`
        Such as ``logs.data``, a frame, or a stream of Arrow.
    uri : str
        As in `query_table`.
    name : str
        ``TABLE`` or ``SCHEMA.TABLE``.

    Raises
    ------
    InputError
        When the table is there already, or the database refuses it.
    ExtraNotInstalled
        When the driver is missing.
    """
    require_new_table(uri, name)
    plain, schema = _split_name(name)
    file = _find_file(uri)
    is_new = file is not None and not file.exists()
    stream = table if isinstance(table, pa.RecordBatchReader) else to_arrow(table).to_reader()
    failures: list[Exception] = []
    data = pa.RecordBatchReader.from_batches(stream.schema, _watch(stream, failures))
    try:
        with _connect(uri, new=True) as connection, _explain(uri, f"Writing {name!r}"):
            with connection.cursor() as cursor:
                cursor.adbc_ingest(plain, data, mode="create", db_schema_name=schema)
            if failures:  # some drivers take them for the end
                raise failures[0]
            connection.commit()
    except BaseException:
        if is_new and file is not None:
            file.unlink(missing_ok=True)
        raise


def _watch(stream: pa.RecordBatchReader, failures: list[Exception]) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a stream; remember why it breaks off, if it does."""
    try:
        yield from stream
    except Exception as failure:
        failures.append(failure)
        raise


def require_new_table(uri: str, name: str) -> None:
    """Refuse, before long work, a table that could not be written at its end.

    Parameters
    ----------
    uri, name : str
        As in `write_table`.

    Raises
    ------
    InputError
        When the database cannot be reached, or has a table of this name.
    """
    file = _find_file(uri)
    if file is not None and not file.exists():
        if not file.absolute().parent.is_dir():
            raise InputError(f"There is no folder {str(file.parent)!r} for {mask_address(uri)!r}.")
        return
    plain, schema = _split_name(name)
    with _connect(uri) as connection, suppress(_driver_error()):
        connection.adbc_get_table_schema(plain, db_schema_filter=schema)
        raise InputError(
            f"{mask_address(uri)!r} has a table {name!r} already. Choose another name, or drop it."
        )


def name_scheme(uri: str) -> str:
    """Return what stands before ``://``, or nothing."""
    scheme, mark, _ = uri.partition("://")
    return scheme.lower() if mark else ""


@contextmanager
def _connect(uri: str, *, new: bool = False) -> Iterator["Connection"]:
    """Open a connection for the block; what is not committed there is undone."""
    scheme = name_scheme(uri)
    if scheme not in DRIVERS:
        shown = repr(f"{scheme}://") if scheme else "an address without a scheme"
        raise InputError(f"No database is known by {shown}; {nearest(scheme, DRIVERS)}")
    module, package = DRIVERS[scheme]
    with needs_extra(f"The database {scheme}://", f"`pip install adbc-driver-manager {package}`"):
        driver = import_module(f"{module}.dbapi")
    file = _find_file(uri)
    if file is not None and not new and not file.is_file():
        raise UnreadableFile(
            f"There is no file {str(file)!r}. An absolute path has four slashes: "
            f"{scheme}:////folder/file."
        )
    with _explain(uri, "The connection"):
        connection = driver.connect(**_options(scheme, uri, file))
    with connection:
        yield connection


def _options(scheme: str, uri: str, file: Path | None) -> dict[str, object]:
    """Return what the driver wants to know, each in its own words."""
    if file is not None:
        return {"path" if scheme == "duckdb" else "uri": str(file)}
    place = uri.partition("://")[2]
    if scheme == "bigquery":
        project, _, dataset = place.strip("/").partition("/")
        named = {"project_id": project, "dataset_id": dataset}
        return {"db_kwargs": {f"adbc.bigquery.sql.{n}": v for n, v in named.items() if v}}
    if scheme == "snowflake":
        return {"uri": place}
    if "connect_timeout" not in uri:
        uri += f"{'&' if '?' in uri else '?'}connect_timeout={SECONDS_TO_CONNECT}"
    return {"uri": uri}


def _find_file(uri: str) -> Path | None:
    """Return the file of a database that is one: three slashes, then the path."""
    if name_scheme(uri) not in _IN_FILES:
        return None
    path = uri.partition("://")[2].partition("?")[0]
    return Path(path.removeprefix("/")).expanduser()


def _split_name(name: str) -> tuple[str, str | None]:
    """Return the table and, if one is named before it, the schema."""
    schema, _, table = name.rpartition(".")
    return table, schema or None


def _driver_error() -> type[Exception]:
    error: type[Exception] = import_module("adbc_driver_manager").Error
    return error


@contextmanager
def _explain(uri: str, what: str) -> Iterator[None]:
    """Say in one line what a driver complains of in the block, without what it must not show."""
    try:
        yield
    except (_driver_error(), OSError, pa.ArrowException) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        words = " ".join(_PREFIX.split(lines[0])[-1].split())
        if any(sign in words for sign in _INTERRUPTED):
            signal.raise_signal(signal.SIGINT)
        reason = hide_address(words, uri)[:300].rstrip(".!")
        hint = ""
        if "option" in reason or "parse" in reason:
            hint = " In a password, signs such as / @ : # are written in percent: %2F %40 %3A %23."
        raise InputError(f"{what} failed at {mask_address(uri)!r}: {reason}.{hint}") from None


def _settle_types(table: pa.Table, *, has_types: bool) -> pa.Table:
    """Return the table with columns whose types only databases have as they are written."""
    for index, field in enumerate(table.schema):
        column, kind, marks = table.column(index), field.type, None
        # A type that only PostgreSQL knows comes as what holds it, and is named beside.
        origin = (field.metadata or {}).get(b"POSTGRESQL:type", b"")
        if isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.opaque":
            column = pa.chunked_array([c.storage for c in column.chunks], kind.storage_type)
        elif pa.types.is_interval(kind) or pa.types.is_union(kind):
            words = [None if value is None else str(value) for value in column.to_pylist()]
            column = pa.chunked_array([pa.array(words, pa.large_string())])
        if origin == b"money":
            marks = {UNREADABLE: b"holds money of PostgreSQL. Select it as numeric: x::numeric"}
        elif origin == b"numeric" or (not has_types and pa.types.is_string(kind)):
            marks = {UNTYPED: b"yes"}
        table = table.set_column(index, pa.field(field.name, column.type, metadata=marks), column)
    return table
