"""Read what h(C) is made of, as in ``spline(price, 5) + season * region``; nothing is executed."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from causalign.errors import SettingsError, nearest

FUNCTIONS = ("log", "spline")
COLUMNS = 5
GRAMMAR = (
    "Write terms joined by +; a term is a column, log(column), spline(column) or spline(column, "
    "columns), or several of them joined by * (each alone and all together). Put other names of "
    "columns in backticks."
)
_TOKEN = re.compile(
    r"\s*(?:`(?P<quoted>[^`]+)`|(?P<word>[^\W\d][\w.]*)|(?P<number>\d{1,6})|(?P<mark>.))"
)


@dataclass(frozen=True, slots=True)
class Factor:
    """Name a column and what is done with it: nothing, ``log`` or ``spline`` with so many columns.

    ``str`` gives the words of the formula.
    """

    column: str
    function: str = ""
    columns: int = 1

    def __str__(self) -> str:
        return f"{self.function}({self.column})" if self.function else self.column


def read_formula(formula: str) -> tuple[tuple[Factor, ...], ...]:
    """Return the terms of a formula, each the factors that ``*`` joins.

    The grammar is ``term + term``, a term ``factor * factor``, a factor ``column``,
    ``log(column)``, ``spline(column)`` or ``spline(column, 7)``. Raises `SettingsError`.
    """
    tokens = _Tokens(formula)
    terms = [_read_term(tokens)]
    while tokens.take("+"):
        terms.append(_read_term(tokens))
    tokens.require_end()
    for term in terms:
        columns = [factor.column for factor in term]
        twice = next((name for name in columns if columns.count(name) > 1), None)
        if twice is not None:
            raise SettingsError(
                f"The formula {formula!r} multiplies {twice!r} by itself. Use spline({twice})."
            )
    return tuple(terms)


def check_columns(
    formula: str,
    terms: Iterable[Sequence[Factor]],
    allowed: Sequence[str],
    needed: Sequence[str],
    role: str,
) -> None:
    """Raise `SettingsError` unless the terms read ``allowed`` columns and all ``needed`` ones."""
    read = [factor.column for term in terms for factor in term]
    for name in read:
        if name not in allowed:
            raise SettingsError(
                f"The formula {formula!r} reads {name!r}, which is none of the {role}; "
                f"{nearest(name, allowed)}"
            )
    for name in needed:
        if name not in read:
            raise SettingsError(
                f"{name!r} is one of the {role} and in no term of the formula {formula!r}. Add "
                f"'+ {name}', or take it out of the role."
            )


class _Tokens:
    """Walk through the words, numbers and marks of a formula."""

    def __init__(self, formula: str) -> None:
        self.formula = formula
        self.rest: Iterator[re.Match[str]] = _TOKEN.finditer(formula.rstrip())
        self.now = next(self.rest, None)

    def take(self, mark: str) -> bool:
        """Go past ``mark`` if it is next, and say whether it was."""
        if self.now is None or self.now["mark"] != mark:
            return False
        self.now = next(self.rest, None)
        return True

    def value(self, *kinds: str) -> str:
        """Go past a word, quoted name or number and return it."""
        text = None if self.now is None else next((self.now[k] for k in kinds if self.now[k]), None)
        if text is None:
            raise self.error()
        self.now = next(self.rest, None)
        return text

    def require(self, mark: str) -> None:
        if not self.take(mark):
            raise self.error()

    def require_end(self) -> None:
        if self.now is not None:
            raise self.error()

    def error(self) -> SettingsError:
        if self.now is None:
            place = "at its end"
        else:
            place = f"at {self.now.group().strip()!r} (character {self.now.end()})"
        return SettingsError(f"Cannot read the formula {self.formula!r} {place}. {GRAMMAR}")


def _read_term(tokens: _Tokens) -> tuple[Factor, ...]:
    factors = [_read_factor(tokens)]
    while tokens.take("*"):
        factors.append(_read_factor(tokens))
    return tuple(factors)


def _read_factor(tokens: _Tokens) -> Factor:
    quoted = tokens.now is not None and tokens.now["quoted"] is not None
    name = tokens.value("quoted", "word")
    if quoted or not tokens.take("("):
        return Factor(name)
    if name not in FUNCTIONS:
        raise SettingsError(
            f"The formula {tokens.formula!r} calls {name!r}, which is no function here; "
            f"{nearest(name, FUNCTIONS)} {GRAMMAR}"
        )
    column = tokens.value("quoted", "word")
    width = 1
    if name == "spline":
        width = int(tokens.value("number")) if tokens.take(",") else COLUMNS
        if not 3 <= width <= 100:
            raise SettingsError(
                f"spline({column}, {width}): a cubic spline has between 3 and 100 columns."
            )
    tokens.require(")")
    return Factor(column, name, width)
