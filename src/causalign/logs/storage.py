"""How a column is stored: in dictionaries, views, runs, bytes, extensions, as class labels."""

import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from causalign.logs.kinds import UNREADABLE, UNTYPED, Column

EXTENSION, EXTENSION_ABOUT = b"ARROW:extension:name", b"ARROW:extension:metadata"
# Units of numpy for the frequencies of pandas.
PERIODS = {"D": "D", "M": "M", "Y-DEC": "Y", "A-DEC": "Y", "h": "h", "H": "h"}


def open_column(
    column: pa.ChunkedArray, about: pa.Field, metadata: dict[bytes, bytes] | None
) -> Column:
    """Take a column out of what it is stored in: dictionaries, views, runs, bytes, extensions."""
    marks = about.metadata or {}
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if UNREADABLE in marks:
        return Column(values, unreadable=marks[UNREADABLE].decode())
    names = _class_labels(about.name, metadata)
    if names is not None and pa.types.is_integer(values.type):
        inside = pc.and_(pc.greater_equal(values, 0), pc.less(values, len(names)))
        place = pc.if_else(inside, values, None)
        labels = pa.array(names, pa.large_string()).take(place)
        return Column(labels, named=True, notes=("the names of a ClassLabel",))
    named = pa.types.is_dictionary(values.type)
    values, trouble = _unwrap(values, marks)
    if trouble:
        return Column(values, unreadable=trouble)
    kind = values.type
    if pa.types.is_string_view(kind) or pa.types.is_string(kind) or pa.types.is_null(kind):
        values = values.cast(pa.large_string())
    elif _is_bytes(kind):
        try:
            values = values.cast(pa.large_binary()).cast(pa.large_string())
        except pa.ArrowException:
            return Column(values, unreadable="holds bytes that are not UTF-8 text")
    elif pa.types.is_nested(kind):
        return Column(values, unreadable=f"holds {kind}; a single value a row is needed")
    return Column(values, written=UNTYPED in marks, named=named)


def _unwrap(values: pa.Array, marks: Mapping[bytes, bytes]) -> tuple[pa.Array, str]:
    """Return the values in dictionaries, runs and extensions, and why there are none if so."""
    if pa.types.is_dictionary(values.type):
        inside, trouble = _unwrap(values.dictionary, marks)
        return inside.take(values.indices), trouble
    if pa.types.is_run_end_encoded(values.type):
        return _unwrap(pc.run_end_decode(values), marks)
    name, about = marks.get(EXTENSION, b"").decode(), marks.get(EXTENSION_ABOUT, b"")
    if isinstance(values, pa.ExtensionArray):
        name, kind = values.type.extension_name, values.type
        about = kind.__arrow_ext_serialize__() if name.startswith("pandas.") else b""
        if name == "arrow.uuid":
            return pa.array(map(_say_uuid, values.to_pylist()), pa.large_string()), ""
        values = values.storage
    if name == "arrow.bool8":
        return values.cast(pa.bool_()), ""
    if name == "pandas.interval":
        return _write_intervals(values, json.loads(about)["closed"]), ""
    if name == "pandas.period":
        unit = PERIODS.get(json.loads(about)["freq"])
        if unit is None:
            return values, "holds periods of pandas. Write them as text: .astype(str)"
        dates = pc.fill_null(values, 0).to_numpy(zero_copy_only=False).astype(f"datetime64[{unit}]")
        written = pa.array(np.datetime_as_string(dates), pa.large_string())
        return pc.if_else(values.is_valid(), written, None), ""
    return values, ""


def _say_uuid(value: object) -> str | None:
    return None if value is None else str(value)


def _write_intervals(values: pa.Array, closed: str) -> pa.Array:
    """Return intervals as pandas shows them: ``(0, 30]``."""
    left, right = (
        "[" if closed in ("left", "both") else "(",
        "]" if closed in ("right", "both") else ")",
    )
    rows = values.to_pylist()
    written = [row and f"{left}{row['left']}, {row['right']}{right}" for row in rows]
    return pa.array(written, pa.large_string())


def _class_labels(name: str, metadata: dict[bytes, bytes] | None) -> list[str] | None:
    """Return the names of a ClassLabel column, as `datasets` writes them beside a table."""
    try:
        about = json.loads((metadata or {})[b"huggingface"])["info"]["features"][name]
        return list(about["names"]) if about["_type"] == "ClassLabel" else None
    except (LookupError, TypeError, ValueError):
        return None


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )
