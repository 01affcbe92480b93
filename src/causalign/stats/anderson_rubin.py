"""Find every coefficient that the instruments do not contradict, however weak they are."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special

from causalign.errors import NotIdentified, SettingsError
from causalign.stats.partial import Partialled
from causalign.stats.sandwich import factors, group_rows, sum_groups

Floats = NDArray[np.float64]
Shape = Literal["interval", "two rays", "whole line", "empty", "pieces"]
Kind = Literal["robust", "unadjusted"]


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
        """Return the kind of set: bounded, unbounded, everything, nothing or several pieces."""
        if not self.pieces:
            return "empty"
        lower, upper = self.pieces[0][0], self.pieces[-1][1]
        if len(self.pieces) == 1:
            if np.isinf(lower) and np.isinf(upper):
                return "whole line"
            return "interval" if np.isfinite([lower, upper]).all() else "pieces"
        rays = np.isinf(lower) and np.isinf(upper)
        return "two rays" if rays and len(self.pieces) == 2 else "pieces"

    def contains(self, value: float) -> bool:
        """Return whether the coefficient belongs to the set."""
        return any(lower <= value <= upper for lower, upper in self.pieces)

    def describe(self) -> str:
        """Return the set in words, with its numbers."""
        share = f"{100 * self.level:g}%"
        shown = " or ".join(_piece(lower, upper) for lower, upper in self.pieces)
        if self.shape == "empty":
            return f"the {share} set is empty: no effect agrees with all instruments"
        if self.shape == "whole line":
            return f"the {share} set is the whole line: the instruments rule out no effect"
        if self.shape == "interval":
            return f"the {share} interval is {shown}"
        if self.shape == "two rays":
            lower, upper = self.pieces[0][1], self.pieces[1][0]
            return (
                f"the {share} set is unbounded: everything except effects between {lower:.4g} and "
                f"{upper:.4g}"
            )
        return f"the {share} set is {shown}"


@dataclass(frozen=True, slots=True, eq=False)
class AndersonRubin:
    """Hold the test of every value of one coefficient, as polynomials in that value.

    ``moments (q, 2)``: the covariances ``g(b) = moments @ (1, -b)`` of the instruments with
    ``y - b x``; ``spread (3, q, q)``: their covariance ``S(b) = S_0 - b S_1 + b^2 S_2``;
    ``scale`` is the unit in which b is measured inside. Statistic ``g(b)'S(b)^-1 g(b) / q``, F
    with ``q`` and ``denominator`` degrees of freedom at the true b.
    """

    moments: Floats
    spread: Floats
    scale: float
    denominator: float

    def statistic(self, value: float) -> float:
        """Return the F statistic of the hypothesis that the coefficient is ``value``."""
        return self._at(value / self.scale)

    def p_value(self, value: float) -> float:
        """Return the probability of a larger statistic if the coefficient is ``value``."""
        return float(special.fdtrc(len(self.moments), self.denominator, self.statistic(value)))

    def confidence_set(self, level: float = 0.95) -> ConfidenceSet:
        """Return all values that the test does not reject, exactly, without a grid.

        The bounds solve ``det(c S(b) - g(b) g(b)') = 0`` with c the critical value times q: real
        roots of a quadratic eigenvalue problem of size q. Between neighbouring roots the test is
        evaluated once. With errors of equal variance this is one quadratic inequality.
        """
        if not 0 < level < 1:
            raise SettingsError(f"level must lie between 0 and 1, not {level!r}.")
        q = len(self.moments)
        critical = float(special.fdtri(q, self.denominator, level))
        roots = self._roots(critical * q)
        edges = [-np.inf, *roots.tolist(), np.inf]
        held: list[tuple[float, float]] = []
        for lower, upper in pairwise(edges):
            if self._at(_inside(lower, upper)) > critical:
                continue
            if held and held[-1][1] == lower:
                held[-1] = (held[-1][0], upper)
            else:
                held.append((lower, upper))
        return ConfidenceSet(tuple((a * self.scale, b * self.scale) for a, b in held), level)

    def _at(self, b: float) -> float:
        g = self.moments @ np.array([1.0, -b])
        S = self.spread[0] - b * self.spread[1] + b * b * self.spread[2]
        return float(g @ np.linalg.lstsq(S, g, rcond=None)[0]) / len(g)

    def _roots(self, c: float) -> Floats:
        """Return the sorted real b with ``c S(b) - g(b) g(b)'`` singular."""
        a, d = self.moments[:, 0], self.moments[:, 1]
        constant = c * self.spread[0] - np.outer(a, a)
        linear = -c * self.spread[1] + np.outer(a, d) + np.outer(d, a)
        square = c * self.spread[2] - np.outer(d, d)
        one, zero = np.eye(len(a)), np.zeros((len(a), len(a)))
        left = np.block([[zero, one], [-constant, -linear]])
        right = np.block([[one, zero], [zero, square]])
        numerators, denominators = linalg.eig(left, right, right=False, homogeneous_eigvals=True)
        finite = np.abs(denominators) > 1e-12 * (np.abs(numerators) + np.abs(denominators))
        ratios = numerators[finite] / denominators[finite]
        # Candidates that are no roots do no harm: intervals between them are judged one by one.
        real = ratios.real[np.abs(ratios.imag) <= 1e-6 * (1 + np.abs(ratios.real))]
        roots: Floats = np.unique(real)
        return roots


def anderson_rubin(parts: Partialled, *, kind: Kind = "robust") -> AndersonRubin:
    """Prepare the Anderson-Rubin test of one endogenous column's coefficient.

    ``y - b x = W g + Z d + e``: at the true b, the instruments Z have nothing to explain, so that
    ``d = 0`` is tested, with robust (or clustered) covariance or, ``unadjusted``, the classical F.
    Assumption: the instruments are valid; they may be arbitrarily weak. When they disagree with
    each other the set becomes small or empty, which speaks against them and not for precision.

    Raises `NotIdentified` with several endogenous columns, where the set is no set of numbers.
    Reference: Anderson and Rubin (1949); Andrews, Stock and Sun (2019).
    """
    if parts.X.shape[1] != 1:
        raise NotIdentified(
            f"Anderson-Rubin intervals are for one endogenous column, not {parts.X.shape[1]}. "
            "Name confounders that need no instrument as exogenous."
        )
    y, x = parts.y, parts.X[:, 0]
    scale = float(np.linalg.norm(y) / np.linalg.norm(x))
    (to_y, left_y), (to_x, left_x) = parts.on_basis(y), parts.on_basis(x * scale)
    moments = np.column_stack([to_y, to_x])
    left = np.column_stack([left_y, left_x])
    if kind == "unadjusted":
        freedom = parts.residual_degrees_of_freedom
        products = left.T @ left / freedom
        pairs = (products[0, 0], 2 * products[0, 1], products[1, 1])
        spread = np.array(pairs)[:, None, None] * np.eye(len(moments))
        return AndersonRubin(moments, spread, scale, freedom)
    if kind != "robust":
        raise SettingsError(f"kind must be 'robust' or 'unadjusted', not {kind!r}.")
    spread, counts = _robust_spread(parts, left)
    return AndersonRubin(moments, spread, scale, parts.test_degrees_of_freedom(counts))


def _robust_spread(parts: Partialled, left: Floats) -> tuple[Floats, tuple[int, ...]]:
    """Return ``(3, q, q)``: the covariance of moments of ``y - b x`` as a polynomial in -b."""
    q = parts.Z.shape[1]
    n = len(left)
    groups = group_rows(parts.clusters, n)
    spread = np.zeros((3, q, q))
    of_y, of_x = parts.basis * left[:, :1], parts.basis * left[:, 1:]
    corrections = factors(groups, n, "conventional", parts.exogenous + q)
    for (_, codes, count), factor in zip(groups, corrections, strict=True):
        a, b = sum_groups(of_y, codes, count), sum_groups(of_x, codes, count)
        cross = a.T @ b
        spread += factor * np.stack([a.T @ a, cross + cross.T, b.T @ b])
    return spread, tuple(count for _, codes, count in groups[:2] if codes is not None)


def _inside(lower: float, upper: float) -> float:
    """Return a value between two bounds, of which either may be infinite."""
    if np.isinf(lower) and np.isinf(upper):
        return 0.0
    if np.isinf(lower):
        return upper - 1.0 - abs(upper)
    if np.isinf(upper):
        return lower + 1.0 + abs(lower)
    return (lower + upper) / 2


def _piece(lower: float, upper: float) -> str:
    if np.isinf(lower):
        return f"below {upper:.4g}"
    return f"above {lower:.4g}" if np.isinf(upper) else f"[{lower:.4g}, {upper:.4g}]"
