"""Delimited text into a table: which marks a file uses is found and proved on all its rows.

Sniffers guess from a sample, and guess wrong where cells are sentences; here a guess counts only if
every row then has as many cells as the header. Otherwise the file is refused, by line.
"""

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from causalign.errors import UnreadableFile
from causalign.logs.kinds import UNTYPED

# One cell may be larger than Arrow's default block of 1 MiB; nothing larger than this is a log.
LONGEST = 256 << 20
SAMPLE = 1 << 18
ENOUGH_LINES = 20
NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# Of a guess on the sample: so many rows must have the usual number of cells.
ENOUGH = 0.8
MOST_TITLES = 20
# So many cells show how a file uses quotes.
MOST_CELLS = 10_000
# For signs behind a backslash, while cells are parted; no text holds these bytes.
STAND_INS = ("\x01", "\x02", "\x03")

Places = np.ndarray  # positions of a byte in a file


@dataclass(frozen=True, slots=True)
class _Layout:
    """What stands between cells, the names of the columns, and where the rows begin."""

    delimiter: str
    names: tuple[str, ...]
    start: int  # bytes above the rows
    lines: int  # lines above the rows
    has_empty_last: bool
    has_quotes: bool  # around the names
    notes: tuple[str, ...]

    @property
    def width(self) -> int:
        """How many cells each row has."""
        return len(self.names) + self.has_empty_last


@dataclass(frozen=True, slots=True)
class _Rows:
    """The bytes of the rows, whether quotes enclose cells in them, and what was assumed.

    ``escaped`` are the signs that bytes which no text holds stand for.
    """

    data: memoryview
    quoted: bool
    notes: tuple[str, ...] = ()
    escaped: tuple[tuple[str, str], ...] = ()


def read_delimited(
    file: Path, compression: str | None, usual: str
) -> tuple[pa.Table, tuple[str, ...]]:
    """Read cells as they are written, every row proved to have those of the header.

    Parameters
    ----------
    file : path
    compression : str, optional
        How it is packed.
    usual : str
        What its name says that stands between cells.

    Returns
    -------
    pyarrow.Table, tuple of str
        Columns of strings, marked as without a type; and what was assumed, in words.

    Raises
    ------
    UnreadableFile
        When it is not UTF-8, rows differ in their cells, or quotes do not fit together.
    """
    with pa.input_stream(str(file), compression=compression) as stream:
        data = stream.read()
    _require_text(file, data)
    if b"\n" not in data:  # as old Macs end lines
        data = data.replace(b"\r", b"\n")
    layout = _find_layout(file, data, usual)
    rows = _settle_quotes(file, memoryview(data)[layout.start :], layout)
    return _parse(file, rows, layout), (*layout.notes, *rows.notes)


def _require_text(file: Path, data: bytes) -> None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:4]:
        raise UnreadableFile(f"{str(file)!r} is UTF-16 text. Save the file as UTF-8.")
    if (place := data.find(b"\0")) >= 0:
        raise UnreadableFile(
            f"{str(file)!r} holds bytes of zero (first in line {_line_at(data, place)}): it is "
            "damaged or no text."
        )


def _line_at(data: bytes, place: int) -> int:
    return data.count(b"\n", 0, place) + 1


def _find_layout(file: Path, data: bytes, usual: str) -> _Layout:
    """Find the delimiter and the header from the beginning of the file."""
    mark = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    # Bytes that are no UTF-8 pass here and are named when all rows are read.
    end = mark + SAMPLE
    while end < len(data) and data.count(b"\n", mark, end) < ENOUGH_LINES:
        end *= 4
    text = data[mark:end].decode("utf-8", "surrogateescape")
    lines = list(io.StringIO(text, newline=""))
    named = re.fullmatch(r'"?sep=([!-/:-@\[-`{-~\t])"?', lines[0].strip("\r\n ")) if lines else None
    first = 1 if named else 0
    is_cut = end < len(data)
    sample = lines[first:-1] if is_cut else lines[first:]
    delimiter, width = (named[1], _measure(sample, named[1])[0]) if named else _guess(sample, usual)
    titles = _count_titles(sample, delimiter, width)
    with _cells_of_any_size():
        reader = csv.reader(sample[titles:], delimiter=delimiter)
        names = next(reader, [])
        above = first + titles + reader.line_num
        below = [row for row in reader if row]
    if not any(name.strip() for name in names):
        raise UnreadableFile(f"{str(file)!r} has no header. Write the names of the columns first.")
    if any("\ud800" <= sign <= "\udfff" for name in names for sign in name):
        raise UnreadableFile(_not_utf8(file, above))
    ends_empty = [len(row) == len(names) + 1 and not row[-1] for row in below]
    has_empty_last = bool(below) and all(ends_empty)
    assumed = {
        f"{NAMES.get(delimiter, repr(delimiter))} between the columns": delimiter != usual,
        f"{titles} lines above the header left out": titles > 0,
        "a last column without a name left out, which is empty": has_empty_last,
    }
    header = "".join(lines[first + titles : above])
    start = mark + len("".join(lines[:above]).encode("utf-8", "surrogateescape"))
    notes = tuple(note for note, holds in assumed.items() if holds)
    return _Layout(
        delimiter, tuple(names), start, above, has_empty_last, header.startswith('"'), notes
    )


def _guess(lines: Sequence[str], usual: str) -> tuple[str, int]:
    """Return the delimiter that cuts most rows alike, into most cells, and how many."""
    sizes = {delimiter: _measure(lines, delimiter) for delimiter in dict.fromkeys((usual, *NAMES))}
    # The header is cut like the rows or lacks their empty end; else it stands below a title.
    cut = {d: m for d, m in sizes.items() if m[2] > 1 and m[2] in (m[0], m[0] - 1)}
    titled = {d: m for d, m in sizes.items() if m[2] == 1 and m[0] > 2}
    for fits in (cut, titled):
        sure = {d: share * (size - 1) for d, (size, share, _) in fits.items() if share >= ENOUGH}
        if sure:
            best = max(sure, key=lambda delimiter: sure[delimiter])
            return best, sizes[best][0]
    return usual, 1


def _measure(lines: Sequence[str], delimiter: str) -> tuple[int, float, int]:
    """Return how many cells rows usually have, the share that does, and those of the first row."""
    with _cells_of_any_size():
        rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
    if not rows:
        return 1, 0.0, 1
    size, count = Counter(map(len, rows)).most_common(1)[0]
    first = next((row for row in rows if not row[0].startswith("#")), rows[0])
    return size, count / len(rows), len(first)


def _count_titles(lines: Sequence[str], delimiter: str, width: int) -> int:
    """Return how many lines above the header are blank, comments, or titles of one cell."""
    for count, line in enumerate(lines[: MOST_TITLES + 1]):
        cells = next(csv.reader([line], delimiter=delimiter), [])
        is_comment = line.startswith("#") and len(cells) != width
        if line.strip() and not is_comment and not (len(cells) == 1 and width > 2):
            return count
    return 0


def _settle_quotes(file: Path, rows: memoryview, layout: _Layout) -> _Rows:
    """Find out what quotes and backslashes mean in the rows."""
    quotes, delimiters, newlines = (_places(rows, s) for s in ('"', layout.delimiter, "\n"))
    fit = layout.width > 1 and _lines_fit(rows, delimiters, newlines, layout.width)
    if not len(quotes):
        return (not fit and _unescape(rows, layout, layout.delimiter, "\n")) or _Rows(rows, False)
    if _are_regular(rows, quotes, layout.delimiter):
        # Where every line is a row, has a text that begins with a quote swallowed others?
        enclosed = newlines[np.searchsorted(quotes, newlines) % 2 == 1]
        is_clear = layout.has_quotes or _follow(rows, enclosed, layout.delimiter)
        if fit and len(enclosed) and not is_clear:
            raise UnreadableFile(_ambiguous(file, rows, int(enclosed[0]), layout))
        return _Rows(rows, True)
    if unescaped := _unescape(rows, layout, '"'):
        return unescaped
    # Databases write tabs without any quoting.
    if fit and not layout.has_quotes and not _enclose_cells(rows, quotes, delimiters, newlines):
        return _Rows(rows, False, ("quotes read as part of the texts",))
    _require_rows(file, rows, layout)
    return _Rows(rows, True)


def _unescape(rows: memoryview, layout: _Layout, *signs: str) -> _Rows | None:
    """Return the rows with bytes for signs behind a backslash, if quotes and lines then fit."""
    whole = rows.tobytes()
    marks = {f"\\{sign}": mark for sign, mark in zip(("\\", *signs), STAND_INS, strict=False)}
    is_escaped = any(f"\\{sign}".encode() in whole for sign in signs)
    if not is_escaped or any(mark.encode() in whole for mark in STAND_INS):
        return None
    for pair, mark in marks.items():
        whole = whole.replace(pair.encode(), mark.encode())
    plain = memoryview(whole)
    quotes, delimiters, newlines = (_places(plain, s) for s in ('"', layout.delimiter, "\n"))
    quoted = '"' in signs
    if quoted and not _are_regular(plain, quotes, layout.delimiter):
        return None
    if not quoted and not _lines_fit(plain, delimiters, newlines, layout.width):
        return None
    escaped = tuple((mark, pair[1]) for pair, mark in marks.items())
    return _Rows(plain, quoted, ("a backslash before signs within texts",), escaped)


def _signs(rows: memoryview) -> Places:
    return np.frombuffer(rows, dtype=np.uint8)


def _places(rows: memoryview, sign: str) -> Places:
    return np.flatnonzero(_signs(rows) == ord(sign))


def _lines_fit(rows: memoryview, delimiters: Places, newlines: Places, width: int) -> bool:
    """Return whether each line, whatever its quotes, has as many cells as there are columns."""
    ends = np.append(newlines, len(rows))
    counts = np.diff(np.searchsorted(delimiters, ends), prepend=0)
    lengths = np.diff(ends, prepend=-1)
    return bool((counts[lengths > 2] == width - 1).all())  # others are blank


def _are_regular(rows: memoryview, quotes: Places, delimiter: str) -> bool:
    """Return whether every quote opens or closes a whole cell, or is doubled within one."""
    if len(quotes) % 2:
        return False
    opening, closing, signs = quotes[0::2], quotes[1::2], _signs(rows)
    edges = np.frombuffer(f'{delimiter}\r\n"'.encode(), dtype=np.uint8)
    opens = (opening == 0) | np.isin(signs[opening - 1], edges)
    closes = (closing == len(rows) - 1) | np.isin(signs[(closing + 1) % len(rows)], edges)
    return bool(opens.all() and closes.all())


def _follow(rows: memoryview, newlines: Places, delimiter: str) -> bool:
    """Return whether some lines end in a delimiter, as sentences may and rows hardly do."""
    signs = _signs(rows)
    last = signs[newlines - 1]
    last = np.where(last == ord("\r"), signs[newlines - 2], last)
    return bool((last == ord(delimiter)).any())


def _enclose_cells(rows: memoryview, quotes: Places, delimiters: Places, newlines: Places) -> bool:
    """Return whether most cells that begin with a quote end with one, others within doubled."""
    edges = np.sort(np.concatenate([[-1], delimiters, newlines, [len(rows)]]))
    opening = quotes[np.isin(quotes - 1, edges)][:MOST_CELLS]
    ends = edges[np.searchsorted(edges, opening)]
    closed = [
        re.fullmatch(rb'"(?:[^"]|"")*"\r?', rows[start:end])
        for start, end in zip(opening.tolist(), ends.tolist(), strict=True)
    ]
    return 2 * sum(map(bool, closed)) > len(closed)


def _parse(file: Path, rows: _Rows, layout: _Layout) -> pa.Table:
    """Return the rows as columns of strings."""
    names = [str(i) for i in range(layout.width)]
    options = {
        "read_options": pacsv.ReadOptions(column_names=names, block_size=LONGEST),
        "parse_options": pacsv.ParseOptions(
            delimiter=layout.delimiter,
            quote_char='"' if rows.quoted else False,
            newlines_in_values=rows.quoted,
        ),
        "convert_options": pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.large_string()),
            strings_can_be_null=True,
            null_values=[""],
        ),
    }
    try:
        table = pacsv.read_csv(pa.BufferReader(pa.py_buffer(rows.data)), **options)
    except pa.ArrowInvalid as error:
        if "Empty CSV" not in str(error):
            _require_utf8(file, rows.data, layout)
            _require_rows(file, rows.data, layout, quoted=rows.quoted)
            detail = str(error).splitlines()[0][:200]
            raise UnreadableFile(f"{str(file)!r} is damaged: {detail}") from error
        table = pa.table({name: pa.array([], pa.large_string()) for name in names})
    if layout.has_empty_last:
        if table.column(layout.width - 1).null_count < table.num_rows:
            raise UnreadableFile(_ragged(file, layout.lines + 1, layout.width, layout))
        table = table.drop_columns([names[-1]])
    fields = [
        pa.field(name, pa.large_string(), metadata={UNTYPED: b"yes"}) for name in layout.names
    ]
    columns = table.columns
    for mark, sign in rows.escaped:
        columns = [pc.replace_substring(column, mark, sign) for column in columns]
    return pa.table(columns, schema=pa.schema(fields))


def _require_utf8(file: Path, rows: memoryview, layout: _Layout) -> None:
    whole = rows.tobytes()
    try:
        whole.decode()
    except UnicodeDecodeError as error:
        line = layout.lines + _line_at(whole, error.start)
        raise UnreadableFile(_not_utf8(file, line)) from error


def _require_rows(file: Path, rows: memoryview, layout: _Layout, *, quoted: bool = True) -> None:
    """Raise for the first row whose quotes or number of cells are wrong; slowly, but by line."""
    lines = io.StringIO(rows.tobytes().decode("utf-8", "replace"), newline="")
    with _cells_of_any_size():
        reader = csv.reader(
            lines,
            delimiter=layout.delimiter,
            strict=True,
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        )
        begin = 1
        try:
            for row in reader:
                if row and len(row) != layout.width:
                    raise UnreadableFile(_ragged(file, layout.lines + begin, len(row), layout))
                begin = reader.line_num + 1
        except csv.Error as error:
            place = f"the row that begins in line {layout.lines + begin}"
            why = (
                f"opens a quote in {place} that is never closed: it is cut short, or a text begins "
                "with a quote"
                if "unexpected end" in str(error)
                else f"has text behind a closing quote in {place}"
            )
            why += ". Quotes within texts must be doubled, and such texts enclosed in quotes"
            raise UnreadableFile(f"{str(file)!r} {why}.") from error


def _ragged(file: Path, line: int, cells: int, layout: _Layout) -> str:
    marks = NAMES.get(layout.delimiter, repr(layout.delimiter))
    return (
        f"{str(file)!r} has {cells} cells in line {line} but {len(layout.names)} names in its "
        f"header, with {marks} between them. Enclose texts that hold such marks in quotes."
    )


def _ambiguous(file: Path, rows: memoryview, place: int, layout: _Layout) -> str:
    line = layout.lines + _line_at(rows.tobytes(), place)
    return (
        f"{str(file)!r} opens a quote in line {line} that a later line closes, and each of these "
        "lines looks like a row. Enclose all texts in quotes, and double those within them."
    )


def _not_utf8(file: Path, line: int) -> str:
    return f"{str(file)!r} is not UTF-8 text (line {line}). Save the file as UTF-8."


@contextmanager
def _cells_of_any_size() -> Iterator[None]:
    """Lift Python's limit on the size of a cell for a while."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
