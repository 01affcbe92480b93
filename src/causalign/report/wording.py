"""How numbers, names and strangers' words are written, the same on the page and in Markdown."""

import json
import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence

from causalign.figures import printable

DIGITS = 3
MISSING = "–"
CELL_LENGTH = 160
PARAGRAPH_LENGTH = 2000
PARAGRAPHS = 40
MOST_DECIMALS = 5
WIDEST = 1000.0


def number(value: float) -> str:
    """Return the number with three significant digits, ``≈ 0`` where only rounding is left."""
    if isinstance(value, numbers.Integral):
        return _true_minus(f"{value:,}")
    value = float(value)
    size = abs(value)
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return _true_minus("∞" if value > 0 else "-∞")
    if size == 0.0:
        return "0"
    if size < 1e-12:
        return "≈ 0"
    if size >= 1e15 or size < 1e-4:
        return _true_minus(f"{value:.{DIGITS - 1}e}")
    if size >= 10**DIGITS:
        return _true_minus(f"{value:,.0f}")
    return _true_minus(f"{value:.{DIGITS}g}")


def with_interval(estimate: float, lower: float, upper: float) -> tuple[str, str]:
    """Return an estimate with its sign, and its interval; both as precise as the interval is.

    The interval's half-width has two significant digits; without one the estimate has three.
    """
    half = (upper - lower) / 2
    if not (math.isfinite(half) and half > 0):
        return f"{'+' if estimate > 0 else ''}{number(estimate)}", "no interval"
    decimals = min(max(1 - math.floor(math.log10(half)), 0), 6)
    texts = [_true_minus(f"{value:,.{decimals}f}") for value in (estimate, lower, upper)]
    sign = "+" if estimate > 0 else ""
    return f"{sign}{texts[0]}", f"95 % interval {texts[1]} to {texts[2]}"


def spread(
    estimate: float, lower: float, upper: float, *, unit: str = "", sign: bool = False
) -> str:
    """Return ``72 % (70 to 74)``: an estimate with its unit, and its interval in brackets."""
    text, interval = with_interval(estimate, lower, upper)
    # Lines break between the estimate and its interval, not within.
    ends = interval.removeprefix("95 % interval ").replace(" ", "\u00a0")
    return f"{text if sign else text.removeprefix('+')}{unit} ({ends})"


def cell(value: object, limit: int = CELL_LENGTH) -> str:
    """Return any value as one short line of text."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, numbers.Real):
        return number(value)  # type: ignore[arg-type]
    if isinstance(value, Mapping | list | tuple):
        return printable(json.dumps(value, default=str, ensure_ascii=False), limit)
    return printable(value, limit)


def column(values: Sequence[object]) -> list[str]:
    """Return the cells of one column; its numbers share their decimals where that loses little."""
    whole = [abs(v) for v in values if isinstance(v, int)]
    if whole and max(whole) < 10_000:
        # Years and small counts in a column read better without separators.
        return [_true_minus(str(v)) if type(v) is int else cell(v) for v in values]
    sizes = [abs(v) for v in values if isinstance(v, float) and 1e-12 <= abs(v) < math.inf]
    if not sizes or max(sizes) > WIDEST * min(sizes) or max(sizes) >= 1e6:
        return [cell(v) for v in values]
    small = sorted(sizes)[len(sizes) // 4]  # three digits for all but the smallest quarter
    needed = min(DIGITS - 2 - math.floor(math.log10(small)), _decimals(sizes))
    if needed > MOST_DECIMALS:
        return [cell(v) for v in values]
    return [
        _true_minus(f"{v:,.{max(needed, 0)}f}")
        if isinstance(v, float) and abs(v) < math.inf and round(v, max(needed, 0))
        else cell(v)
        for v in values
    ]


def label(name: str) -> str:
    """Return the name of a number, column or setting as words."""
    return printable(name, 80).replace("_", " ")


def paragraphs(text: str) -> tuple[str, ...]:
    """Return the lines of a text that hold anything, each made printable and bounded."""
    lines = [line for line in text[:200_000].splitlines() if line.strip()]
    shown = tuple(printable(line, PARAGRAPH_LENGTH) for line in lines[:PARAGRAPHS])
    return shown if len(lines) <= PARAGRAPHS else (*shown, "…")


def markdown(text: str) -> str:
    """Return the words escaped so that no Markdown reader sees markup, links or mathematics."""
    line = re.sub(r"([\\`*_{}\[\]#|~$!@^])", r"\\\1", printable(text))
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # GitHub turns bare addresses into links.
    line = line.replace("://", ":\\//")
    line = re.sub(r"(?i)\bwww\.", lambda match: match[0][:-1] + "\\.", line)
    line = re.sub(r"^([-+=])", r"\\\1", line)
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", line)


def join_words(items: Iterable[str]) -> str:
    """Return ``a, b and c``."""
    *first, last = list(items) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _decimals(sizes: Sequence[float]) -> int:
    return max(len(f"{size:.6f}".rstrip("0").partition(".")[2]) for size in sizes)


def _true_minus(text: str) -> str:
    if not any(digit in text for digit in "123456789∞"):
        return text.removeprefix("-")
    return text.replace("-", "−", 1) if text.startswith("-") else text
