"""Find every coefficient that the instruments do not contradict, however weak they are."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from causalign.errors import NotIdentified, SettingsError
from causalign.stats.partial import Partialled
from causalign.stats.sandwich import Groups, group_rows, sum_groups

Floats = NDArray[np.float64]
Shape = Literal["interval", "two rays", "whole line", "empty"]
# Of errors that are all zero, the set is one value: a double root.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class ConfidenceSet:
    """Hold a set of coefficients as disjoint intervals from left to right.

    ``pieces`` are pairs (lower, upper), infinite where the set is unbounded; ``level`` is the
    share of samples in which the set holds the truth.
    """

    pieces: tuple[tuple[float, float], ...]
    level: float

    @property
    def shape(self) -> Shape:
        """Return the kind of set: bounded, all but a gap, everything or nothing."""
        if not self.pieces:
            return "empty"
        if len(self.pieces) == 2:
            return "two rays"
        return "whole line" if np.isinf(self.pieces[0]).all() else "interval"

    def contains(self, value: float) -> bool:
        """Return whether the coefficient belongs to the set."""
        return any(lower <= value <= upper for lower, upper in self.pieces)

    def describe(self) -> str:
        """Return the set in words, with its numbers."""
        share = f"{100 * self.level:g}%"
        if self.shape == "empty":
            return f"the {share} set is empty: too few rows or clusters tell the errors' variance"
        if self.shape == "whole line":
            return f"the {share} set is the whole line: the instruments rule out no effect"
        if self.shape == "interval":
            lower, upper = self.pieces[0]
            return f"the {share} interval is [{lower:.4g}, {upper:.4g}]"
        lower, upper = self.pieces[0][1], self.pieces[1][0]
        return (
            f"the {share} set is unbounded: everything except effects between {lower:.4g} and "
            f"{upper:.4g}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class WeakInstrumentTest:
    """Hold the test of every value of one coefficient, as polynomials in that value.

    ``score (2,)`` and ``spread (3,)``: ``s(b) = score @ (1, -b)`` has mean zero at the true b and
    the variance ``V(b) = spread @ (1, -b, b^2)``; ``scale`` is the unit in which b is measured
    inside; ``groups`` counts the rows, or clusters, that V was estimated from. Hotelling's
    ``s^2 / (V - s^2 / groups)`` is F with 1 and ``groups - 1`` degrees of freedom.
    """

    score: Floats
    spread: Floats
    scale: float
    groups: int

    def p_value(self, value: float) -> float:
        """Return the probability of a larger statistic if the coefficient is ``value``."""
        b, n = value / self.scale, self.groups
        square = float(self.score @ (1.0, -b)) ** 2
        variance = float(self.spread @ (1.0, -b, b * b))
        if not variance > square / n:
            return 0.0 if square else 1.0
        return float(special.fdtrc(1, n - 1, square * (n - 1) / (n * variance - square)))

    def confidence_set(self, level: float = 0.95) -> ConfidenceSet:
        """Return all values that the test does not reject, exactly: ``s(b)^2 <= c V(b)``.

        One quadratic inequality: an interval, everything but a gap, or the whole line. The value
        with ``s(b) = 0`` always belongs to it, however many instruments there are and whatever
        they disagree about, unless an estimate of V is negative there.
        """
        if not 0 < level < 1:
            raise SettingsError(f"level must lie between 0 and 1, not {level!r}.")
        f, n = float(special.fdtri(1, self.groups - 1, level)), self.groups
        critical = f * n / (n - 1 + f)
        constant, linear, square = critical * self.spread - np.array(
            [self.score[0] ** 2, 2 * self.score[0] * self.score[1], self.score[1] ** 2]
        )
        # Where constant - linear b + square b^2 >= 0.
        inside = linear**2 - 4 * square * constant
        if inside < -ROUNDING * linear**2:
            everything = ((-np.inf, np.inf),) if square > 0 else ()
            return ConfidenceSet(everything, level)
        half = linear + np.copysign(np.sqrt(max(inside, 0.0)), linear)
        other = 2 * constant / half if half else 0.0
        first, second = sorted((self.scale * half / (2 * square), self.scale * other))
        if square > 0:
            return ConfidenceSet(((-np.inf, first), (second, np.inf)), level)
        return ConfidenceSet(((first, second),), level)


def weak_instrument_test(parts: Partialled) -> WeakInstrumentTest:
    """Prepare a test of one endogenous column's coefficient that weak instruments cannot spoil.

    One instrument: that of Anderson and Rubin, ``s(b) = sum_i z_i e_i(b)`` with ``e(b) = y - x b``,
    V robust or clustered. Several: the jackknife score ``s(b) = sum_i t_i e_i(b)``, t_i what the
    first stage of all other rows (clusters) says about x_i, ``V(b) = sum_i t_i^2 e_i(b)^2 +
    sum_{i != j} P_ij^2 x_i e_i(b) x_j e_j(b)`` with P the projection on the instruments. e(b) is
    not projected: a variance taken from the residuals of a regression on many instruments is too
    small, and the test of all of them at once then rejects the truth.
    Assumption: the instruments are valid; they may be many and arbitrarily weak, errors may have
    unequal variances. With several weak instruments the set is somewhat longer than it must be.

    Raises `NotIdentified` with several endogenous columns, where the set is no set of numbers.
    Reference: Anderson and Rubin (1949); Matsushita and Otsu (2024), Econometric Theory.
    """
    if parts.X.shape[1] != 1:
        raise NotIdentified(
            "Intervals that weak instruments cannot spoil are for one endogenous column, not "
            f"{parts.X.shape[1]}. Name confounders that need no instrument as exogenous."
        )
    y, x = parts.y, parts.X[:, 0]
    scale = float(np.linalg.norm(y) / np.linalg.norm(x))
    left = np.column_stack([y, x * scale])
    groups = group_rows(parts.clusters, len(y))
    smallest = min(count for _, _, count in groups)
    spread = np.zeros(3)
    if parts.Z.shape[1] == 1:
        scores = parts.basis * left
    else:
        scores = _jackknifed(parts.basis, left[:, 1], groups)[:, None] * left
        for sign, codes, count in groups:
            spread += sign * _of_first_stage(parts.basis, left, codes, count)
    for sign, codes, count in groups:
        a, b = sum_groups(scores, codes, count).T
        spread += sign * np.array([a @ a, 2 * a @ b, b @ b])
    return WeakInstrumentTest(scores.sum(axis=0), spread, scale, smallest)


def _jackknifed(basis: Floats, x: Floats, groups: Groups) -> Floats:
    """Return ``(n,)``: x as the rows that share no cluster with a row predict it."""
    of_x = basis * x[:, None]
    others = np.broadcast_to(of_x.sum(axis=0), of_x.shape).copy()
    for sign, codes, count in groups:
        sums = sum_groups(of_x, codes, count)
        others -= sign * (sums if codes is None else sums[codes])
    return np.asarray((basis * others).sum(axis=1))


def _of_first_stage(
    basis: Floats, left: Floats, codes: NDArray[np.int64] | None, count: int
) -> Floats:
    """Return ``(3,)``: what the noise of the first stage adds to V, as a polynomial in -b.

    ``sum_{g != h} (A_g'B_h) (A_h'B_g)`` with A and B the sums of x and of e(b) times the basis.
    """
    of_y, of_x = (sum_groups(basis * column[:, None], codes, count) for column in left.T)
    cross, own = of_y.T @ of_x, of_x.T @ of_x
    d, f = (of_y * of_x).sum(axis=1), np.square(of_x).sum(axis=1)
    return np.array(
        [
            np.sum(cross * cross.T) - d @ d,
            2 * (np.sum(cross * own) - d @ f),
            np.sum(own * own) - f @ f,
        ]
    )
