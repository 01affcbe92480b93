"""The columns of h(C) that a formula asks for, and the terms that their coefficients make."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import block_diag

from causalign.deconfound.factors import (
    FittedFactor,
    Levels,
    Reader,
    fit_curve,
    fit_levels,
    fit_line,
)
from causalign.deconfound.formula import Factor, check_columns, read_formula
from causalign.deconfound.terms import LinearTerms, Term, combine_terms
from causalign.errors import InputError
from causalign.logs import Logs
from causalign.logs.covariates import MOST_NUMBERS, Covariate, require_variation
from causalign.stats.factor import factorise
from causalign.stats.rounding import DOUBLE, MARGIN


@dataclass(frozen=True, slots=True, eq=False)
class ExpandedTerm:
    """Hold one factor, or the product of several, each less its mean: a part of h(C)."""

    factors: tuple[FittedFactor, ...]

    @property
    def label(self) -> str:
        """Return the factors in words."""
        return " × ".join(factor.label for factor in self.factors)

    @property
    def category(self) -> Levels | None:
        """Return the levels of a part that is nothing but categories, else None."""
        only = self.factors[0] if len(self.factors) == 1 else None
        return only if isinstance(only, Levels) else None

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the k columns."""
        return _products([factor.names for factor in self.factors])

    def columns(self, read: Reader) -> np.ndarray:
        """Return the columns ``(n, k)``; what is no category is centred.

        So a slope is that of the average row, and a large offset costs no digits.
        """
        product = self.factors[0].columns(read)
        if self.category is not None:
            return product
        product = product - self.factors[0].means
        for factor in self.factors[1:]:
            centred = factor.columns(read) - factor.means
            product = (product[:, :, None] * centred[:, None, :]).reshape(len(product), -1)
        return np.asarray(product)

    def rounding(self, read: Reader) -> float:
        """Return the share of each column that may be rounding."""
        return sum(factor.rounding(read) for factor in self.factors)

    def reading(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Return names ``(r,)`` and the matrix ``(r, k)`` from coefficients to what is shown."""
        shown = [factor.reading() for factor in self.factors]
        matrix = np.ones((1, 1))
        for _, one in shown:
            matrix = np.kron(matrix, one)
        return _products([names for names, _ in shown]), matrix

    def unknown(self, read: Reader) -> int:
        """Return how many rows hold categories that the fitted logs did not."""
        named = [factor for factor in self.factors if isinstance(factor, Levels)]
        return int(np.any([f.unknown(read) for f in named], axis=0).sum())

    def term(self, coefficients: np.ndarray, means: np.ndarray) -> Term:
        """Return the term of these ``coefficients (k,)``; ``means (k,)`` of the columns."""
        simple = self.factors[0].term(coefficients) if len(self.factors) == 1 else None
        return simple or Product(self, coefficients, float(means @ coefficients))


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """Contribute ``columns @ coefficients - average``, the average that of the fitted logs."""

    part: ExpandedTerm
    coefficients: np.ndarray
    average: float

    @property
    def column(self) -> str:
        """Return the factors in words."""
        return self.part.label

    def contribution(self, logs: Logs) -> np.ndarray:
        """Return the contributions ``(n,)`` in units of the outcome."""
        contribution: np.ndarray = (
            self.part.columns(Reader(logs)) @ self.coefficients - self.average
        )
        return contribution

    def unknown(self, logs: Logs) -> int:
        """Return how many rows hold categories that the fitted logs did not."""
        return self.part.unknown(Reader(logs))


@dataclass(frozen=True, slots=True, eq=False)
class Expansion:
    """Hold the parts of h(C) and ``weights (n,)`` of the rows, from which their columns are made.

    The first ``exogenous`` columns belong to parts that need no instrument.
    """

    parts: tuple[ExpandedTerm, ...]
    read: Reader
    weights: np.ndarray
    exogenous: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the k columns."""
        return tuple(name for part in self.parts for name in part.names)

    @property
    def columns(self) -> np.ndarray:
        """Return the columns ``(n, k)``; raise `InputError` before they would fill the memory."""
        return self.columns_of(self.parts)

    def columns_of(self, parts: Sequence[ExpandedTerm]) -> np.ndarray:
        """Return the columns ``(n, k)`` of some of the parts."""
        widths = [len(part.names) for part in parts]
        rows = len(self.weights)
        if rows * sum(widths) > MOST_NUMBERS:
            raise InputError(_too_wide(rows, sum(widths), parts[int(np.argmax(widths))]))
        return np.hstack([np.zeros((rows, 0)), *(part.columns(self.read) for part in parts)])

    def rounding_of(self, parts: Sequence[ExpandedTerm], columns: np.ndarray) -> np.ndarray:
        """Return the length ``(k,)`` of each of the columns ``(n, k)`` that may be rounding."""
        shares = [np.full(len(part.names), part.rounding(self.read)) for part in parts]
        # Intercept and categories are exact, and sums of the rest are to double precision.
        least = MARGIN * DOUBLE
        share = np.maximum(np.concatenate([np.zeros(0), *shares]), least)
        return np.asarray(share * np.linalg.norm(columns, axis=0))

    @property
    def categories(self) -> tuple[Covariate, ...]:
        """Return the categories and combinations of categories that have effects."""
        every = [f for part in self.parts for f in part.factors if isinstance(f, Levels)]
        return tuple({level.label: level.covariate() for level in every}.values())

    @property
    def contrast(self) -> np.ndarray:
        """Return the matrix ``(r, k)`` from the coefficients to what is shown of all parts."""
        return np.asarray(block_diag(*(part.reading()[1] for part in self.parts)))

    def require_independent(self) -> None:
        """Raise `NotIdentified`, naming the column, when one column follows from the others."""
        columns = self.columns
        lost = np.concatenate([[0.0], self.rounding_of(self.parts, columns)])
        factorise(
            np.column_stack([np.ones(len(columns)), columns]),
            ("intercept", *self.names),
            rounding=lost,
        )

    def terms(
        self,
        coefficients: np.ndarray,
        covariance: np.ndarray,
        repaired: np.ndarray | None = None,
    ) -> LinearTerms:
        """Turn ``coefficients (k,)`` and ``covariance (k, k)`` into terms and what they show.

        ``repaired (k,)`` says which variances two ways of clustering had combined to negative ones.

        Categories become deviations from their average and curves values at their knots, so that
        no category is special and every estimate is read against the average row.
        """
        ends = np.cumsum([len(part.names) for part in self.parts])[:-1]
        pairs = zip(self.parts, np.split(coefficients, ends), strict=True)
        terms = [self.term(part, own) for part, own in pairs]
        shown = [part.reading() for part in self.parts]
        linear = combine_terms(terms, shown, coefficients, covariance)
        return replace(
            linear,
            repaired=repaired is not None and bool(repaired.any()),
            categories=self.categories,
        )

    def term(self, part: ExpandedTerm, coefficients: np.ndarray) -> Term:
        """Return the term of one part with ``coefficients (k,)``."""
        means = np.zeros(len(part.names))
        if part.category is None:
            means = np.average(part.columns(self.read), axis=0, weights=self.weights)
        return part.term(coefficients, means)


def _too_wide(rows: int, width: int, widest: ExpandedTerm) -> str:
    """Say which categories are too many for columns of their own, and what to do."""
    return (
        f"{rows:,} rows with {width:,} columns, of which {len(widest.names):,} are levels of "
        f"{widest.label!r}, take {8 * rows * width / 2**30:.1f} GiB. `additive` and `ordinary` "
        "absorb a category without columns; otherwise merge its rare levels, or use a coarser one."
    )


def expand_confounders(
    logs: Logs, formula: str | None, weights: np.ndarray, exogenous: Sequence[str] = ()
) -> Expansion:
    """Write h(C) as columns: as ``formula`` says, or every confounder as it is.

    Parts that read ``exogenous`` confounders only come first. Raises `SettingsError` when the
    formula cannot be read or does not fit the role, `InputError` when the values do not, and
    `NotIdentified` for a confounder that does not vary.
    """
    read, names = Reader(logs), logs.roles.confounders
    parts = _read_parts(read, formula, names, names, "confounder", weights)
    own = [part for part in parts if _reads_only(part, exogenous)]
    moved = [part for part in parts if not _reads_only(part, exogenous)]
    return _expand(read, (*own, *moved), weights, own)


def expand_instruments(
    logs: Logs, formula: str | None, weights: np.ndarray, exogenous: Sequence[str] = ()
) -> Expansion:
    """Write the instruments as columns: as ``formula`` says, or every instrument as it is.

    The formula may multiply instruments with ``exogenous`` confounders; parts without any
    instrument are left out, because an exogenous confounder is no instrument. Raises as
    `expand_confounders`.
    """
    read, names = Reader(logs), logs.roles.instruments
    parts = _read_parts(read, formula, names, (*names, *exogenous), "instrument", weights)
    moved = tuple(part for part in parts if not _reads_only(part, exogenous))
    return _expand(read, moved, weights, ())


def _read_parts(
    read: Reader,
    formula: str | None,
    names: Sequence[str],
    allowed: Sequence[str],
    role: str,
    weights: np.ndarray,
) -> tuple[ExpandedTerm, ...]:
    """Return the parts that the formula asks for, or one for each of ``names``, which must vary."""
    terms: tuple[tuple[Factor, ...], ...] = tuple((Factor(name),) for name in names)
    if formula is not None:
        terms = read_formula(formula)
        check_columns(formula, terms, allowed, names, f"{role}s")
    for name in names:
        require_variation(role, read.covariate(name))
    return _spell_out(read, terms, weights)


def _expand(
    read: Reader, parts: tuple[ExpandedTerm, ...], weights: np.ndarray, own: Sequence[ExpandedTerm]
) -> Expansion:
    return Expansion(parts, read, weights, sum(len(part.names) for part in own))


def _spell_out(
    read: Reader, terms: Sequence[Sequence[Factor]], weights: np.ndarray
) -> tuple[ExpandedTerm, ...]:
    """Spell out ``a * b`` as a, b and a × b; categories of a term combine into one factor."""
    kinds = {f.column: read.covariate(f.column).is_categorical for term in terms for f in term}
    wanted: dict[tuple[frozenset[Factor], frozenset[str]], tuple[str, ...]] = {}
    for term in terms:
        numbers = [f for f in term if not kinds[f.column]]
        named = [f for f in term if kinds[f.column]]
        for factor in named:
            if factor.function:
                raise InputError(f"{factor}: {factor.column!r} is a category, not a number.")
        combined = tuple(f.column for f in named)
        for size in range(2 ** len(numbers)):
            chosen = frozenset(f for j, f in enumerate(numbers) if size >> j & 1)
            for together in ((), combined) if combined else ((),):
                if chosen or together:
                    wanted.setdefault((chosen, frozenset(together)), together)
    # A combination of categories holds each of them alone, for the same numbers.
    needed = {
        (numbers, categories): order
        for (numbers, categories), order in wanted.items()
        if not any(other == numbers and more > categories > set() for other, more in wanted)
    }
    return tuple(
        _fit_factors(read, numbers, order, weights) for (numbers, _), order in needed.items()
    )


def _fit_factors(
    read: Reader, numbers: frozenset[Factor], categories: tuple[str, ...], weights: np.ndarray
) -> ExpandedTerm:
    factors: list[FittedFactor] = [
        fit_curve(read, f.column, f.columns, weights)
        if f.function == "spline"
        else fit_line(read, f.column, f.function, weights)
        for f in sorted(numbers, key=str)
    ]
    if categories:
        factors.append(fit_levels(read, categories, weights))
    return ExpandedTerm(tuple(factors))


def _reads_only(part: ExpandedTerm, columns: Sequence[str]) -> bool:
    read: set[str] = set()
    for factor in part.factors:
        read |= set(factor.read) if isinstance(factor, Levels) else {factor.column}
    return read <= set(columns)


def _products(names: Sequence[Sequence[str]]) -> tuple[str, ...]:
    products: list[str] = [""]
    for one in names:
        products = [f"{left} × {right}" if left else right for left in products for right in one]
    return tuple(products)
