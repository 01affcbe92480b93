"""What written cells say: numbers, truth values, dates and missing values as people write them."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# How programs write that a number is missing, and how people do; the latter is no number either.
NO_NUMBER = ("", "na", "n/a", "#n/a", "nan", "null", "none", "\\n", "<na>", "nat")
PLACEHOLDERS = ("-", "--", "?", ".", "unknown", "missing", "#ref!", "#value!", "#div/0!", "#name?")
# "None" is a name that people give; "NA" is Namibia in a column of countries.
NO_NAME = ("", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "\\N", "<NA>", "NaT")
NO_NAME_AS_TEXT = ("", "NaN", "nan", "<NA>", "NaT")
NO_TEXT = ("", "NA", "N/A", "#N/A", "NaN", "nan", "NULL")

YES = ("true", "yes", "y", "t")
NO = ("false", "no", "n", "f")

PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
WHOLE = r"^[+-]?\d{1,18}$"
ISO_DATE = (
    r"^\d{4}[-/]\d{2}[-/]\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?( ?(Z|UTC|[+-]\d{2}:?\d{2}))?)?$"
)
ZONE = r":.*(Z|UTC|[+-]\d{2}:?\d{2})$"
DAY_OR_MONTH_FIRST = r"^\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d{2})([ T,].*)?$"
SLASHED_DATE = (
    r"^(?P<first>\d{1,2})[./-](?P<second>\d{1,2})[./-]\d{4}(?:[ T,]+\d{1,2}:\d{2}(?::\d{2})?)?$"
)

MEASURE = re.compile(r"[<>≤≥~≈]?\s*[+-]?\d[\d.,]*\s*(?P<unit>[^\W\d_]{1,6}|[µ°][A-Za-z]?)?")
TIME_OF_DAY = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?")

# Signs of numbers that look alike, in one form.
ONE_FORM = str.maketrans(
    {"−": "-", "–": "-", "‒": "-", "’": "'", "ʼ": "'", "´": "'", "`": "'"}
    | dict.fromkeys("\u00a0\u202f\u2009\u2007\t", " ")
)
CURRENCIES = (
    *("EUR", "USD", "GBP", "CHF", "JPY", "CNY", "INR", "BRL", "SEK", "NOK", "DKK", "PLN", "CZK"),
    *("CAD", "AUD", "NZD", "MXN", "ZAR", "KRW", "SGD", "HKD", "TRY", "RUB", "HUF", "US$", "R$"),
    *("Rs.", "Rs", "kr", "zł", "Kč", "Fr."),
)
# What a cell of ASCII is if it is a number or a measure: the others need not be taken apart.
_WORDS = "|".join(map(re.escape, CURRENCIES))
PERHAPS_A_NUMBER = (
    rf"[^\x00-\x7F]|(?i:inf)|"
    rf"^[^A-Za-z]*({_WORDS})?[^A-Za-z]*([eE][^A-Za-z]*)?({_WORDS})?[^A-Za-z]*$"
)
PERHAPS_A_MEASURE = r"[^\x00-\x7F]|^[<>~]?\s*[+-]?\d"
MARKS = {",": "comma", ".": "point", " ": "space", "'": "apostrophe"}
# (decimal mark, mark that groups digits), the usual ones first.
NOTATIONS = ((".", ""), (",", ""), (".", ","), (",", "."), (".", " "), (",", " "), (".", "'"),
             (",", "'"))  # fmt: skip
# So many numbers with three digits after the comma, and shorter ones without it: no decimals.
ENOUGH_GROUPED = 5


@dataclass(frozen=True, slots=True, eq=False)
class CellsRead:
    """Cells in one type: ``values (n,)``, null where missing or ``odd (n,)``: not of the kind.

    ``how`` says how they were read where it is not plain; ``refusal`` why they cannot be.
    """

    values: pa.Array
    odd: np.ndarray
    how: str = ""
    refusal: str | None = None


def trim(column: pa.Array) -> pa.Array:
    """Return strings without the blanks around them, no-break spaces among them."""
    return pc.utf8_trim_whitespace(column)


def matches(column: pa.Array, pattern: str) -> np.ndarray:
    """Return which strings ``(n,)`` match a pattern; a null does not."""
    return _mask(pc.match_substring_regex(column, pattern))


def are_among(column: pa.Array, words: Sequence[str], *, fold: bool = False) -> np.ndarray:
    """Return which strings ``(n,)`` are one of the words, or null; ``fold`` forgets their case."""
    text = pc.utf8_lower(column) if fold else column
    return _mask(pc.is_in(text, pa.array([*words, None], text.type)))


def read_numbers(column: pa.Array) -> CellsRead:
    """Read strings as numbers; one notation is chosen for all of them, or refused in words."""
    text = trim(column)
    absent = are_among(text, NO_NUMBER, fold=True)
    plain = matches(text, PLAIN)
    if (plain | absent).all():
        return _read_plain(text, plain, absent)
    encoded = text.dictionary_encode()
    known = pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)
    likely = np.flatnonzero(matches(encoded.dictionary, PERHAPS_A_NUMBER))
    written = [_take_apart(cell) for cell in encoded.dictionary.take(likely).to_pylist()]
    used = np.bincount(known[~absent], minlength=len(encoded.dictionary))[likely] > 0
    cells = [cell for cell, use in zip(written, used, strict=True) if use and cell is not None]
    notation, refusal = _choose_notation(cells)
    values = np.full(max(len(encoded.dictionary), 1), np.nan)
    values[likely] = [np.nan if cell is None else _value(cell, notation) for cell in written]
    numbers = np.where(absent, np.nan, values[known])
    how = _describe(cells, notation)
    return CellsRead(
        pa.array(numbers, pa.float64(), mask=np.isnan(numbers)),
        np.isnan(numbers) & ~absent,
        how,
        refusal,
    )


def read_truth(column: pa.Array) -> CellsRead | None:
    """Read strings as true and false, or return None when there are other words."""
    lowered = pc.utf8_lower(trim(column))
    absent = are_among(lowered, NO_NUMBER)
    true, false = (_mask(pc.is_in(lowered, pa.array(words, lowered.type))) for words in (YES, NO))
    if absent.all() or not (absent | true | false).all():
        return None
    words = [word for word in pc.unique(lowered).to_pylist() if word in (*YES, *NO)]
    how = "" if set(words) <= {"true", "false"} else " and ".join(sorted(words))
    return CellsRead(pa.array(true, mask=absent), np.zeros(len(true), dtype=bool), how)


def read_dates(column: pa.Array) -> CellsRead:
    """Read ISO 8601 dates and times; with time zones in UTC, as none of some and not of others."""
    text = trim(column)
    absent = are_among(text, NO_NUMBER, fold=True)
    shaped = matches(text, ISO_DATE)
    zoned = matches(text, ZONE) & shaped
    refusal = None
    if zoned.any() and not (zoned | ~shaped).all():
        refusal = "has dates with a time zone and dates without. Write all in one zone"
    text = pc.replace_substring_regex(text, r"(\.\d{6})\d+", r"\1")
    text = pc.replace_substring_regex(text, r"^(\d{4})/(\d{2})/", r"\1-\2-")
    text = pc.replace_substring_regex(text, r" ?UTC$", "Z")
    text = pc.replace_substring_regex(text, r"(\d) ([+-]\d{2}:?\d{2})$", r"\1\2")
    kind = pa.timestamp("us", "UTC") if zoned.any() else pa.timestamp("us")
    usable = shaped if not zoned.any() else zoned
    values, bad = _cast_each(pc.if_else(pa.array(usable), text, None), kind)
    how = "dates" + (", in UTC" if zoned.any() else "")
    return CellsRead(values.cast(pa.timestamp("us")), (~usable | bad) & ~absent, how, refusal)


def read_slashed_dates(column: pa.Array) -> CellsRead:
    """Read dates such as 8/31/2016 11:52, if one of the column says which number is the month."""
    text = trim(column)
    absent = are_among(text, NO_NUMBER, fold=True)
    shaped = matches(text, SLASHED_DATE)
    known = pc.if_else(pa.array(shaped), text, None)
    parts = pc.extract_regex(known, SLASHED_DATE)
    first, second = (pc.cast(pc.struct_field(parts, n), pa.int8()) for n in ("first", "second"))
    day_first, month_first = (bool((pc.max(one).as_py() or 0) > 12) for one in (first, second))
    refusal = None
    if day_first == month_first:
        refusal = (
            f"holds dates such as {pc.drop_null(text)[0].as_py()!r}, of which day and month cannot "
            "be told apart. Write them as 2024-01-31, or name the column as categorical: "
            "Roles(categorical=...), --categorical"
        )
    padded = pc.replace_substring_regex(known, r"\b(\d)\b", r"0\1")
    order = r"\3-\1-\2 \4" if month_first else r"\3-\2-\1 \4"
    written = pc.replace_substring_regex(padded, r"^(..).(..).(\d{4})[ T,]*(.*)$", order)
    values, bad = _cast_each(trim(written), pa.timestamp("us"))
    how = f"dates, {'month' if month_first else 'day'} first"
    return CellsRead(values, (~shaped | bad) & ~absent, how, refusal)


def find_measure(column: pa.Array) -> str | None:
    """Return a cell of strings most of which are a quantity: numbers of one unit, times of day."""
    text = trim(column)
    present = pc.sum(pc.greater(pc.utf8_length(text), 0)).as_py() or 0
    of_unit: dict[str, list[str]] = {}
    for cell in text.filter(pa.array(matches(text, PERHAPS_A_MEASURE))).to_pylist():
        measure = MEASURE.fullmatch(cell)
        if TIME_OF_DAY.fullmatch(cell):
            of_unit.setdefault(":", []).append(cell)
        elif measure and not re.fullmatch(r"[+-]?[\d.,]+", cell):
            of_unit.setdefault(measure["unit"] or "", []).append(cell)
    most = max(of_unit.values(), key=len, default=[])
    return most[0] if most and 2 * len(most) >= present else None


def _read_plain(text: pa.Array, plain: np.ndarray, absent: np.ndarray) -> CellsRead:
    """Read strings that are numbers as programs write them, or missing."""
    digits = pc.replace_substring_regex(
        pc.if_else(pa.array(plain & ~absent), text, None), r"^\+", ""
    )
    whole = matches(digits, WHOLE)
    kind = pa.int64() if (whole | absent).all() else pa.float64()
    return CellsRead(digits.cast(kind), np.zeros(len(text), dtype=bool))


def _cast_each(text: pa.Array, kind: pa.DataType) -> tuple[pa.Array, np.ndarray]:
    """Cast strings; where one cannot be (31 February), null, and say where."""
    try:
        return text.cast(kind), np.zeros(len(text), dtype=bool)
    except pa.ArrowInvalid:
        encoded = text.dictionary_encode()
        usable = pa.array([_casts(cell, kind) for cell in encoded.dictionary])
        bad = ~_mask(pc.fill_null(usable.take(encoded.indices), True))
        return pc.if_else(pa.array(bad), None, text).cast(kind), bad


def _casts(cell: pa.Scalar, kind: pa.DataType) -> bool:
    try:
        cell.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _mask(flags: pa.Array) -> np.ndarray:
    return np.asarray(pc.fill_null(flags, False).to_numpy(zero_copy_only=False), dtype=bool)


@dataclass(frozen=True, slots=True)
class _Written:
    """A number taken apart: its sign, digits with their marks, what stood beside them."""

    cell: str
    negative: bool
    digits: str
    percent: bool
    currency: str


@cache
def _pattern(decimal: str, group: str) -> re.Pattern[str]:
    """Return what a number looks like in a notation; groups of three, or of two as in India."""
    point = re.escape(decimal)
    whole = r"\d+"
    if group:
        mark = re.escape(group)
        whole = rf"[1-9]\d{{0,2}}(?:{mark}\d{{3}})+|[1-9]\d?(?:{mark}\d{{2}})+{mark}\d{{3}}|\d+"
    return re.compile(rf"(?:(?:{whole})(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?")


def _take_apart(cell: str | None) -> _Written | None:
    """Return a cell as a number without its notation, or None when it is none."""
    text = unicodedata.normalize("NFKC", (cell or "").translate(ONE_FORM)).translate(ONE_FORM)
    negative = False
    if text.startswith("(") and text.endswith(")"):
        text, negative = text[1:-1], True
    currency = ""
    percent = text.endswith("%")
    text, minus = _take_sign(text.removesuffix("%").strip())
    for word in CURRENCIES:
        if text.startswith(word) or text.endswith(word):
            text, currency = text.removeprefix(word).removesuffix(word).strip(), word
            break
    for end in (slice(0, 1), slice(-1, None)):
        if text and unicodedata.category(text[end]) == "Sc":
            currency, text = text[end], text.strip(text[end]).strip()
    if currency and not minus:
        text, minus = _take_sign(text)
    if text.lower() in ("inf", "infinity"):
        return _Written(str(cell), negative or minus, "inf", False, "")
    if not re.fullmatch(r"[\d.,' ]*\d[\d.,' ]*(?:[eE][+-]?\d{1,3})?", text) or (negative and minus):
        return None
    return _Written(str(cell), negative or minus, text, percent, currency)


def _take_sign(text: str) -> tuple[str, bool]:
    """Return the text without its sign, which may stand behind, and whether it was a minus."""
    if text[:1] in ("+", "-"):
        return text[1:].strip(), text[0] == "-"
    if text.endswith("-"):
        return text[:-1].strip(), True
    return text, False


def _value(written: _Written, notation: tuple[str, str]) -> float:
    """Return the number, NaN when it is none in this notation."""
    decimal, group = notation
    if written.digits == "inf":
        return -np.inf if written.negative else np.inf
    if not _pattern(decimal, group).fullmatch(written.digits):
        return np.nan
    text = written.digits.replace(group, "") if group else written.digits
    number = Decimal(text.replace(decimal, "."))
    number = number / 100 if written.percent else number
    return float(-number if written.negative else number)


def _choose_notation(cells: Sequence[_Written]) -> tuple[tuple[str, str], str | None]:
    """Return the notation of most cells, and why it cannot be told, if so."""
    refusal = _mixtures(cells)
    fits = {n: [c for c in cells if not np.isnan(_value(c, n))] for n in NOTATIONS}
    most = max(map(len, fits.values()), default=0)
    best = [notation for notation in NOTATIONS if len(fits[notation]) == most]
    chosen = best[0]
    marked = [c for c in fits[chosen] if chosen[0] in c.digits]
    grouped = next((n for n in best if n[1] == chosen[0]), None)
    if grouped is None or not marked:
        return chosen, refusal
    # Every number with this mark has three digits after it: decimals, or groups of thousands?
    short = [c for c in cells if chosen[0] not in c.digits and len(c.digits) <= 3]
    if chosen[0] == "." and not any(c.currency for c in cells):
        return chosen, refusal
    if len(marked) >= ENOUGH_GROUPED and short:
        return grouped, refusal
    value = _value(marked[0], chosen), _value(marked[0], grouped)
    return chosen, refusal or (
        f"has numbers such as {marked[0].cell!r}, which may be {value[0]:g} or {value[1]:g}. "
        "Write them without marks between thousands and with a point before decimals"
    )


def _mixtures(cells: Sequence[_Written]) -> str | None:
    """Return what must not stand in one column: two currencies, some percent and some not."""
    currencies = sorted({c.currency for c in cells if c.currency})
    if len(currencies) > 1:
        return f"mixes currencies ({' and '.join(currencies[:3])}). Convert them to one"
    if len({c.percent for c in cells}) > 1:
        one, other = (next(c.cell for c in cells if c.percent is p) for p in (True, False))
        return f"has numbers with a percent sign ({one!r}) and without ({other!r}). Write all alike"
    return None


def _describe(cells: Sequence[_Written], notation: tuple[str, str]) -> str:
    """Say how numbers are written, where it is not as programs write them."""
    decimal, group = notation
    parts: list[str] = []

    def tell(of: Callable[[_Written], bool], words: str) -> None:
        example = next((c for c in cells if of(c)), None)
        if example is not None:
            parts.append(f"{example.cell!r} as {_value(example, notation):.12g}{words}")

    tell(
        lambda c: bool(group) and group in c.digits, f" ({MARKS.get(group, '')} between thousands)"
    )
    tell(lambda c: decimal == "," and "," in c.digits, " (comma before decimals)")
    tell(lambda c: c.percent, "")
    tell(lambda c: bool(c.currency), "")
    tell(lambda c: c.negative and not c.cell.startswith("-"), "")
    return "; ".join(_distinct(parts))


def _distinct(parts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(parts))
