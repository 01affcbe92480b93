"""JSON lines into a table, in limits: what would crash or mislead the parser is named by line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pajson

from causalign.errors import UnreadableFile

# Arrow descends into nested values by recursion and overflows the stack at some 10,000 levels.
DEEPEST = 100
# One value may be larger than Arrow's default block of 1 MiB; nothing larger than this is a log.
LONGEST = 256 << 20
# Integers beyond are rounded where a column becomes floats.
EXACT = 2**53
_CHUNK = 8 << 20

_MARKS = np.zeros(256, dtype=bool)
_MARKS[[ord(c) for c in '"[{]}']] = True
_STEPS = np.zeros(256, dtype=np.int64)
_STEPS[[ord("["), ord("{")]] = 1
_STEPS[[ord("]"), ord("}")]] = -1


def read_json_lines(file: Path, compression: str | None) -> pa.Table:
    """Read a file with one JSON object on each line.

    A field with integers that neither 64 bits nor a float holds becomes text, as written.

    Parameters
    ----------
    file : path
    compression : str, optional
        How it is packed.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    UnreadableFile
        When it is nested deeper than 100 levels, a field changes its type or is there twice, or a
        line is no object.
    """
    _require_shallow(file, compression)
    try:
        with pa.input_stream(str(file), compression=compression) as stream:
            table = pajson.read_json(stream, read_options=pajson.ReadOptions(block_size=LONGEST))
        # Arrow looks at the encoding of names and texts only when it is asked to.
        names = table.column_names
        table.validate(full=True)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise UnreadableFile(_explain(file, compression, error)) from error
    if not names:
        raise UnreadableFile(f"{str(file)!r} holds no fields. Each line must be a JSON object.")
    rounded = [name for name in names if _may_be_rounded(table[name])]
    return _as_written(file, compression, table, rounded) if rounded else table


def _require_shallow(file: Path, compression: str | None) -> None:
    """Raise where brackets outside strings are nested deeper than the parser survives."""
    depth = inside = 0
    rest = b""
    with pa.input_stream(str(file), compression=compression) as stream:
        while read := stream.read(_CHUNK):
            chunk = rest + read
            # A backslash that escapes the first byte of the next chunk goes with it.
            split = (len(chunk) - len(chunk.rstrip(b"\\"))) % 2
            rest, chunk = (chunk[-1:], chunk[:-1]) if split else (b"", chunk)
            deepest, depth, inside = _deepest(chunk, depth, inside)
            if deepest > DEEPEST:
                raise UnreadableFile(
                    f"{str(file)!r} holds values nested deeper than {DEEPEST} levels. Write the "
                    "fields that are needed as plain values."
                )


def _deepest(chunk: bytes, depth: int, inside: int) -> tuple[int, int, int]:
    """Return the greatest depth in a chunk, the depth at its end, and whether a string is open."""
    data = np.frombuffer(chunk.replace(b"\\\\", b"").replace(b'\\"', b""), dtype=np.uint8)
    marks = data[_MARKS[data]]
    if not len(marks):
        return depth, depth, inside
    within = (np.cumsum(marks == ord('"')) + inside) % 2
    heights = depth + np.cumsum(np.where(within == 1, 0, _STEPS[marks]))
    return int(heights.max()), int(heights[-1]), int(within[-1])


def _may_be_rounded(column: pa.ChunkedArray) -> bool:
    """Return whether floats are so large that integers would have been rounded to them."""
    if not pa.types.is_floating(column.type):
        return False
    large = pc.and_(pc.greater(pc.abs(column), float(EXACT)), pc.is_finite(column))
    return bool(pc.any(large).as_py())


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def _as_written(file: Path, compression: str | None, table: pa.Table, names: list[str]) -> pa.Table:
    """Return the table with fields as text whose integers no float holds, as identifiers may be."""
    written: dict[str, list[str | None]] = {name: [] for name in names}
    lossy = set()
    for number, line in _lines(file, compression):
        try:
            row = json.loads(line, parse_int=_Number, parse_float=_Number)
        except ValueError:
            raise UnreadableFile(
                f"{str(file)!r} holds integers of more digits than numbers have here, and line "
                f"{number} is no object of its own. Write one object on each line."
            ) from None
        for name, values in written.items():
            value = row.get(name)
            values.append(None if value is None else str(value))
            digits = isinstance(value, _Number) and value.lstrip("-").isdigit()
            if digits and len(value) > 15 and not _is_exact(value):
                lossy.add(name)
    for name in lossy:
        column = pa.chunked_array([pa.array(written[name], pa.string())])
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def _is_exact(digits: str) -> bool:
    return len(digits) < 300 and int(float(digits)) == int(digits)


def _lines(file: Path, compression: str | None) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with their numbers."""
    with pa.input_stream(str(file), compression=compression) as stream:
        rest, number = b"", 0
        while read := stream.read(_CHUNK):
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                number += 1
                if line.strip():
                    yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if rest.strip():
            yield number + 1, rest.removeprefix(b"\xef\xbb\xbf") if number == 0 else rest


def _explain(file: Path, compression: str | None, error: Exception) -> str:
    """Return what is wrong with a file that Arrow refused, by the first line that shows it."""
    kinds: dict[str, tuple[str, int]] = {}
    for number, line in _lines(file, compression):
        where = f"{str(file)!r}, line {number}"
        if number == 1 and line.lstrip().startswith(b"["):
            return (
                f"{str(file)!r} is one JSON array. Write one object on each line: "
                "`pandas.read_json(...).to_json('x.jsonl', orient='records', lines=True)`."
            )
        try:
            row = json.loads(line.decode(), object_pairs_hook=_once, parse_int=_Number)
        except UnicodeDecodeError:
            return f"{where} is not UTF-8 text. Save the file as UTF-8."
        except _Repeated as repeated:
            return f"{where} holds the field {str(repeated)!r} twice. Rename one of them."
        except ValueError as damage:
            return f"{where} is damaged, cut short, or no JSON: {damage}."
        if not isinstance(row, dict):
            return f"{where} holds {_kind(row)}, where each line must be a JSON object."
        for name, value in row.items():
            kind, first = kinds.setdefault(name, (_kind(value), number))
            if kind == "null":
                kinds[name] = (_kind(value), number)
            elif _kind(value) not in (kind, "null"):
                return (
                    f"{where}: the field {name!r} mixes types, {kind} in line {first} and "
                    f"{_kind(value)} here. Make it of one type."
                )
    detail = str(error).splitlines()[0][:200].removeprefix("JSON parse error: ")
    return f"{str(file)!r} is damaged, cut short, or no JSON lines: {detail}"


class _Repeated(Exception):
    """Says which key an object holds twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        raise _Repeated(next(k for k, _ in pairs if k in seen or seen.add(k)))  # type: ignore[func-returns-value]
    return content


def _kind(value: object) -> str:
    if isinstance(value, _Number | float):
        return "a number"
    names = {bool: "true or false", str: "text", list: "a list", dict: "an object"}
    return names.get(type(value), "null")
