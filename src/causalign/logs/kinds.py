"""Which kind a column is: decided from its type, all its values and all its roles."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from causalign.logs import cells
from causalign.logs.cells import CellsRead
from causalign.logs.covariates import EXACT, Kind

ColumnKind = Kind | Literal["text"]

# Marks of a column in its field's metadata: the file has no types; the column cannot be read.
UNTYPED = b"causalign.untyped"
UNREADABLE = b"causalign.unreadable"
OUTCOMES = ("outcome", "guardrails")
NUMBERS = (*OUTCOMES, "trials", "weight", "propensity")
COVARIATES = ("confounders", "instruments", "features", "audience")
# A column with more different numbers than this is no column of a few names.
FEW = 20
WIDTH = 40


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column on its way: its values, and what is known of them besides."""

    values: pa.Array
    written: bool = False  # cells of a file without types
    named: bool = False  # a dictionary, a ClassLabel: the values are names
    gaps: bool = False  # some cells are empty
    unreadable: str = ""
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """A column in its kind: null where a value is missing or ``odd (n,)``."""

    values: pa.Array
    kind: ColumnKind
    odd: np.ndarray | None = None
    how: str = ""
    refusal: str = ""


def settle_kind(column: Column, played: Sequence[str]) -> Settled:
    """Decide the kind of a column from its type, its different values and all its roles."""
    if not pa.types.is_large_string(column.values.type):
        return _settle(column, played)
    encoded = column.values.dictionary_encode()
    if len(encoded.dictionary) == len(column.values):  # all differ: nothing to save
        return _settle(column, played)
    gaps = column.values.null_count > 0
    settled = _settle(replace(column, values=encoded.dictionary, gaps=gaps), played)
    known = encoded.indices
    odd = None
    if settled.odd is not None and len(settled.odd):
        place = pc.fill_null(known, 0).to_numpy(zero_copy_only=False)
        odd = settled.odd[place] & _valid(known)
    return replace(settled, values=settled.values.take(known), odd=odd)


def _settle(column: Column, played: Sequence[str]) -> Settled:
    if "completion" in played or "prompt" in played:
        return _settle_text(column)
    if any(role in NUMBERS for role in played):
        return _settle_numbers(column, truth=any(role in OUTCOMES for role in played))
    strict = "group" in played or "cluster" in played
    if "categorical" in played:
        return _settle_names(column, strict)
    if any(role in COVARIATES for role in played):
        return _settle_covariate(column)
    if "time" in played:
        return _settle_time(column)
    return _settle_names(column, strict)


def _settle_text(column: Column) -> Settled:
    values = column.values
    if not pa.types.is_large_string(values.type):
        return Settled(values, "text", refusal=f"must hold text, but holds {values.type}")
    if column.written:
        values = pc.if_else(pa.array(cells.are_among(values, cells.NO_TEXT)), None, values)
    empty = cells.are_among(cells.trim(values), ("",)) & _valid(values)
    return Settled(pc.if_else(pa.array(empty), None, values), "text", empty)


def _settle_numbers(column: Column, *, truth: bool = False) -> Settled:
    """Read a column that must be numbers; as outcome also truth values, as 0 and 1."""
    values = column.values
    if pa.types.is_boolean(values.type) and truth:
        return Settled(values.cast(pa.float64()), "numeric", how="false and true as 0 and 1")
    if not pa.types.is_large_string(values.type):
        return _settle_typed_numbers(values)
    read = cells.read_truth(values) if truth else None
    if read is not None:
        one = read.values.cast(pa.float64())
        return Settled(one, "numeric", how=f"{read.how or 'false and true'} as 0 and 1")
    read = cells.read_numbers(values)
    if _valid(read.values).sum() == 0 and read.odd.any():
        refusal = (
            f"is not numeric but text, such as {_show_first(values, read.odd)}. Convert it to "
            "numbers, or give it a role that takes text"
        )
        return Settled(values, "numeric", refusal=refusal)
    return _as_numbers(read, values)


def _settle_typed_numbers(values: pa.Array) -> Settled:
    """Read integers, floats and decimals; what is not finite is missing (NaN) or odd."""
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        large = _inexact(values)
        if large is not None:
            return Settled(values, "numeric", refusal=_say_inexact(large))
        whole = pa.types.is_integer(kind)
        return Settled(values.cast(pa.int64() if whole else pa.float64()), "numeric")
    if pa.types.is_floating(kind):
        numbers = values.cast(pa.float64())
        return _as_numbers(CellsRead(_without_nan(numbers), np.zeros(len(values), bool)), values)
    return Settled(
        values,
        "numeric",
        refusal=f"is not numeric but {kind}. Convert it to numbers, or give it a role that takes "
        "what it holds",
    )


def _as_numbers(read: CellsRead, written: pa.Array) -> Settled:
    """Return numbers that are finite and exact; infinite ones are odd."""
    numbers, odd = read.values, read.odd
    if pa.types.is_floating(numbers.type):
        infinite = np.isinf(pc.fill_null(numbers, 0.0).to_numpy(zero_copy_only=False))
        numbers, odd = pc.if_else(pa.array(infinite), None, numbers), odd | infinite
    refusal = read.refusal or ""
    if not refusal and pa.types.is_large_string(written.type):
        large = _inexact_text(written, numbers)
        refusal = _say_inexact(large) if large is not None else ""
    elif pa.types.is_integer(numbers.type) and (large := _inexact(numbers)) is not None:
        refusal = _say_inexact(large)
    return Settled(numbers, "numeric", odd, read.how, refusal)


def _settle_covariate(column: Column) -> Settled:
    """Read a confounder, an instrument or a feature as what its values are."""
    values = column.values
    kind = values.type
    if column.named:
        names = _settle_names(column, strict=False)
        return replace(names, values=names.values.cast(pa.large_string()))
    if pa.types.is_boolean(kind):
        return Settled(values, "boolean")
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Settled(_as_timestamps(values), "datetime")
    if not pa.types.is_large_string(kind):
        return _settle_typed_numbers(values)
    truth = cells.read_truth(values)
    if truth is not None and not truth.how:
        return Settled(truth.values, "boolean")
    dates = _settle_dates(values)
    return dates or _settle_words_or_numbers(column)


def _settle_dates(values: pa.Array) -> Settled | None:
    """Read strings as dates where most of them are; None where they are not."""
    shaped = int(cells.matches(cells.trim(values), cells.ISO_DATE).sum())
    if shaped and 2 * shaped >= int(_valid(values).sum()):
        read = cells.read_dates(values)
        return Settled(read.values, "datetime", read.odd, read.how, read.refusal or "")
    slashed = cells.matches(cells.trim(values), cells.DAY_OR_MONTH_FIRST)
    if slashed.any() and 2 * slashed.sum() >= int(_valid(values).sum()):
        read = cells.read_slashed_dates(values)
        return Settled(read.values, "datetime", read.odd, read.how, read.refusal or "")
    return None


def _settle_words_or_numbers(column: Column) -> Settled:
    """Tell names from numbers: few words among numbers are mistakes, few numbers are names.

    Text of a container with types stays text: whole numbers in it are names, since somebody made
    them text; other numbers in it are refused, since a slope was meant.
    """
    values = column.values
    text = cells.trim(values)
    if cells.matches(text, r"^[+-]?0\d+$").any():
        return _settle_names(column, strict=False)
    read = cells.read_numbers(values)
    placed = cells.are_among(text, (*cells.NO_NUMBER, *cells.PLACEHOLDERS), fold=True)
    number = _valid(read.values)
    numbers, words = int(number.sum()), int((~number & ~placed).sum())
    distinct = pc.count_distinct(read.values).as_py() if numbers else 0
    if not numbers and words > FEW and (measure := cells.find_measure(values)) is not None:
        refusal = (
            f"holds quantities written with a unit or sign, such as {measure!r}. Write them as "
            "numbers, or name the column as categorical: Roles(categorical=...), --categorical"
        )
        return Settled(values, "categorical", refusal=refusal)
    if column.written:
        if numbers and (numbers >= words or distinct > FEW):
            return _as_numbers(read, values)
        return _settle_names(column, strict=False)
    whole = cells.matches(text, r"^[+-]?\d+$")
    if not numbers or (
        (whole | ~number & placed | ~_valid(values)).all()
        and not (distinct > FEW and (placed & _valid(values)).any())
    ):
        return _settle_names(column, strict=False)
    if (distinct > FEW and numbers >= words) or read.how:
        others = placed & ~number & _valid(values)
        examples = [_show_first(values, rows) for rows in (number & ~whole, number, others)]
        shown = " and ".join(dict.fromkeys(filter(None, examples)))
        refusal = (
            f"holds numbers written as text, such as {shown}. Convert it to numbers, or name it as "
            "categorical: Roles(categorical=...), --categorical"
        )
        return Settled(values, "categorical", refusal=refusal)
    return _settle_names(column, strict=False)


def _settle_time(column: Column) -> Settled:
    """Read a time as dates or numbers; text that is neither stays text, which orders nothing."""
    values = column.values
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Settled(_as_timestamps(values), "datetime")
    if pa.types.is_large_string(kind):
        dates = cells.read_dates(values)
        if not dates.odd.any() and dates.refusal is None:
            return Settled(dates.values, "datetime", how=dates.how)
        numbers = cells.read_numbers(values)
        if column.written and not numbers.odd.any() and not numbers.how:
            return _as_numbers(numbers, values)
        truth = cells.read_truth(values)
        if truth is not None and not truth.how:
            return Settled(truth.values, "boolean")
        return replace(_settle_names(column, strict=False), how="text that is no date")
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _settle_typed_numbers(values)
    return _settle_names(column, strict=False)


def _settle_names(column: Column, strict: bool) -> Settled:
    """Read values as names, exactly as they are written; whole floats are the integers they are.

    Where ``strict``, rows without a name must not become one group: words for nothing are missing.
    """
    values = column.values
    kind = values.type
    if pa.types.is_large_string(kind):
        return _settle_written_names(column, strict)
    if pa.types.is_floating(kind):
        values = _without_nan(values)
        numbers = pc.fill_null(values.cast(pa.float64()), 0.0).to_numpy(zero_copy_only=False)
        if (np.abs(numbers) <= EXACT).all() and (numbers == np.floor(numbers)).all():
            values = values.cast(pa.float64()).cast(pa.int64())
        else:
            values = values.cast(pa.large_string())
    elif kind in (pa.date32(), pa.date64()) or (pa.types.is_timestamp(kind) and kind.unit != "ns"):
        values = _as_timestamps(values)
    elif pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        values = values.cast(pa.int64())
    elif not pa.types.is_boolean(kind):
        try:
            values = values.cast(pa.large_string())
        except pa.ArrowException:
            return Settled(
                values, "categorical", refusal=f"of type {kind} cannot be read as categories"
            )
    return Settled(values, "categorical")


def _settle_written_names(column: Column, strict: bool) -> Settled:
    """Read strings as names; say which are missing values written as a word."""
    values = column.values
    absent = cells.NO_NAME if column.written else cells.NO_NAME_AS_TEXT
    how = ""
    gone = cells.are_among(values, (*absent, "None") if strict else absent)
    nations = cells.are_among(values, ("NA",)) & _valid(values)
    if column.written and nations.any():
        # Where empty cells are missing, or all are codes such as US and FR, NA is a name.
        codes = cells.matches(values, r"^[A-Z]{2}$") | gone
        if not (column.gaps or gone.any()) and (
            strict or not codes.all() or nations.sum() == len(codes)
        ):
            gone = gone | nations
        else:
            how = "'NA' as a name, not as missing"
    return Settled(pc.if_else(pa.array(gone), None, values), "categorical", how=how)


def _as_timestamps(values: pa.Array) -> pa.Array:
    """Return dates and times as microseconds, without a zone, in UTC."""
    zone = values.type.tz if pa.types.is_timestamp(values.type) else None
    return values.cast(pa.timestamp("us", zone), safe=False).cast(pa.timestamp("us"))


def _without_nan(values: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_nan(pc.fill_null(values.cast(pa.float64()), 0.0)), None, values)


def _inexact(values: pa.Array) -> int | None:
    """Return an integer that floats would round, as identifiers may be."""
    ends: dict[str, Any] = pc.min_max(values).as_py()
    beyond = [v for v in ends.values() if v is not None and abs(v) > EXACT and v == int(v)]
    return int(beyond[0]) if beyond else None


def _inexact_text(written: pa.Array, numbers: pa.Array) -> int | None:
    if pa.types.is_integer(numbers.type):
        return _inexact(numbers)
    long = cells.matches(cells.trim(written), r"^[+-]?\d{16,}$")
    digits = [int(v) for v in written.filter(pa.array(long)).to_pylist()] if long.any() else []
    return next((value for value in digits if abs(value) > EXACT), None)


def _say_inexact(value: int) -> str:
    return (
        f"holds the integer {value}, beyond 2^53, where numbers are rounded. If it is an "
        "identifier, name it in `Roles(categorical=...)`; otherwise subtract an offset or change "
        "the unit"
    )


def _valid(values: pa.Array) -> np.ndarray:
    return np.asarray(values.is_valid().to_numpy(zero_copy_only=False))


def name_first(values: pa.Array, rows: np.ndarray, verb: str = " holds") -> str:
    """Name the first of some rows, and what it holds where that says more than nothing."""
    if not rows.any():
        return ""
    row = int(np.argmax(rows))
    value = values[row].as_py()
    if value is None or value == "":
        return f"row {row}"
    if str(value).strip(" +-").lower() in ("inf", "infinity"):
        return f"row {row} is infinite"
    shown = "NaN" if isinstance(value, float) and np.isnan(value) else repr(shorten(value))
    return f"row {row}{verb} {shown}"


def _show_first(values: pa.Array, rows: np.ndarray) -> str:
    return repr(shorten(values[int(np.argmax(rows))].as_py())) if rows.any() else ""


def shorten(value: object) -> object:
    """Return a value as messages show it: a long text is cut."""
    return value if not isinstance(value, str) or len(value) <= WIDTH else f"{value[:WIDTH]}…"
