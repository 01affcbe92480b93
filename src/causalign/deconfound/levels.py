"""Absorb categories instead of giving each level a column, and read their effects afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from causalign.deconfound.expansion import ExpandedTerm, Expansion
from causalign.deconfound.factors import Levels
from causalign.deconfound.inference import Covariance, clusters_for
from causalign.deconfound.terms import LinearTerms, Term
from causalign.errors import NotIdentified
from causalign.logs import Logs
from causalign.stats.absorb import (
    Absorber,
    absorb,
    degrees_of_freedom,
    level_bread,
    level_covariance,
    singletons,
)
from causalign.stats.carrying_rows import carrying_rows
from causalign.stats.least_squares import LinearFit, ordinary
from causalign.stats.sandwich import number_labels

# Beyond this many categories their joint covariance is not computed: their stderr is NaN.
MOST_LEVELS = 1000
# Then categories of a column with at most so many keep theirs, through indicator columns.
FEW_LEVELS = 100
# Of more estimates than this only the variances are kept, not the covariances.
MOST_COVARIANCES = 2000
# So many numbers are held at once to count the rows behind the effects.
BLOCK = 10_000_000


@dataclass(frozen=True, slots=True, eq=False)
class AbsorbedDesign:
    """Hold what is regressed when categories are absorbed: the m rows ``used (n,)``.

    ``absorbed`` are the categories without columns, with the codes of their levels that were fitted
    in ``levels``; ``columns (m, k)`` those of the other parts, ``rounding (k,)`` their length that
    may be rounding. ``spent`` are the degrees of freedom of the absorbed levels.
    """

    h: Expansion
    absorbed: tuple[Levels, ...]
    levels: tuple[np.ndarray, ...]
    absorber: Absorber
    used: np.ndarray
    y: np.ndarray
    columns: np.ndarray
    names: tuple[str, ...]
    rounding: np.ndarray
    clusters: np.ndarray | None
    spent: int

    def fit(
        self,
        text: np.ndarray,
        rounding: np.ndarray,
        names: Sequence[str],
        penalty: np.ndarray | None = None,
    ) -> LinearFit:
        """Regress on what categories leave of the ``text (m, p)``, and on the columns of h.

        ``rounding (p,)``, ``names`` and ``penalty (p + k,)`` are those of the columns. Raises
        `NotIdentified` for a column that the categories or the other columns determine.
        """
        within = self.absorber.within(self.columns)
        gone = np.linalg.norm(within, axis=0) <= self.rounding
        if gone.any():
            raise NotIdentified(
                f"Confounder {self.names[int(np.argmax(gone))]!r} does not vary within the "
                "categories of the other confounders, so that its effect cannot be told from "
                "theirs. Leave one of them out."
            )
        return ordinary(
            self.absorber.within(self.y),
            np.hstack([text, within]),
            weights=self.absorber.weights,
            clusters=self.clusters,
            correction="min",
            absorbed=self.spent,
            penalty=penalty,
            rounding=np.concatenate([rounding, self.rounding]),
            names=(*names, *self.names),
        )


def absorb_categories(
    logs: Logs, h: Expansion, weights: np.ndarray, covariance: Covariance
) -> AbsorbedDesign:
    """Prepare to absorb the categories of h; rows alone in one of them are left out.

    Of very many categories no covariances are computed; columns of few levels then get indicators
    instead, so that their effects keep their intervals.
    """
    named = [part.category for part in h.parts if part.category is not None]
    # Without categories, one category of all rows is absorbed: the intercept.
    codes = [one.codes for one in named] or [np.zeros(len(logs), dtype=np.int64)]
    used = _rows_with_company(codes)
    levels, compact = zip(*(number_labels(code[used]) for code in codes), strict=True)
    clusters = clusters_for(logs.take(used, "not alone in a category"), covariance)
    spent = degrees_of_freedom(compact, clusters)
    absorber, chosen = absorb(compact, weights[used]), list(range(len(codes)))
    largest = int(np.argmax(absorber.counts))
    small = [f for f in chosen if f != largest and _is_small(named[f], levels[f])]
    if small and sum(absorber.counts) > MOST_LEVELS and is_connected(absorber):
        chosen = [f for f in chosen if f not in small]
        absorber = absorb([compact[f] for f in chosen], weights[used])
        spent -= sum(len(levels[f]) - 1 for f in small)
    without = tuple(named[f] for f in chosen if named)
    others = [part for part in h.parts if all(part.category is not one for one in without)]
    columns = h.columns_of(others)
    return AbsorbedDesign(
        h=h,
        absorbed=without,
        levels=tuple(levels[f] for f in chosen),
        absorber=absorber,
        used=used,
        y=logs.outcome[used],
        columns=columns[used],
        names=tuple(name for part in others for name in part.names),
        rounding=h.rounding_of(others, columns),
        clusters=clusters,
        spent=spent,
    )


def is_connected(absorber: Absorber) -> bool:
    """Return whether the levels of each factor can be compared, as far as that is known."""
    redundant = absorber.redundant
    return redundant is None or redundant < len(absorber.counts)


def absorbed_terms(
    design: AbsorbedDesign, X: np.ndarray, fit: LinearFit, *, shrink: bool = False
) -> LinearTerms:
    """Return one term for each part of h, in their order.

    ``X (m, p + k)`` are the columns before categories were taken out; those of h come last.
    """
    absorber, h, shown = design.absorber, design.h, _show(design, X.shape[1])
    effects = absorber.split(absorber.effects(design.y - X @ fit.coefficients))
    total = sum(absorber.counts)
    terms: list[Term] = []
    estimates: list[np.ndarray] = []
    for part, one in zip(h.parts, shown, strict=True):
        f = one.factor
        if f is None:
            coefficients = fit.coefficients[one.own.start - total : one.own.stop - total]
            estimates.append(one.contrast @ coefficients)
            terms.append(h.term(part, coefficients))
        else:
            estimates.append(_deviations(design, fit, f, effects[f], shrink))
            terms.append(design.absorbed[f].effects(design.levels[f], estimates[-1]))
    names = tuple(name for one in shown for name in one.names(design))
    errors = _errors(design, X, fit, shown)
    every = np.concatenate(estimates)
    return LinearTerms(tuple(terms), names, every, *errors, categories=h.categories)


def rows_behind_levels(design: AbsorbedDesign, X: np.ndarray, fit: LinearFit) -> np.ndarray:
    """Return on how many rows, or clusters, each estimate of `absorbed_terms` rests, ``(r,)``.

    NaN for categories of which no covariance is computed: they would be levels times rows to sum.
    """
    absorber, shown, total = design.absorber, _show(design, X.shape[1]), sum(design.absorber.counts)
    indicators, within, levels = absorber.indicators, absorber.within(X), 0
    counted, bread = _through_columns(shown), fit.bread
    if _levels_are_known(design):
        levels, counted = total, np.ones_like(counted)
        bread = level_bread(absorber, X, fit)
    readable = [one for one in shown if levels or one.factor is None]
    reading = _place(readable, levels + X.shape[1], total - levels) @ bread
    weight = (absorber.weights / absorber.weights.mean())[:, None]
    carried = [np.zeros(0)]
    for some in np.array_split(reading, 1 + len(reading) * len(weight) // BLOCK):
        pull = within @ some[:, levels:].T
        if levels:
            pull += indicators @ some[:, :levels].T
        carried.append(carrying_rows(weight * pull, design.clusters))
    behind = np.full(len(counted), np.nan)
    behind[counted] = np.concatenate(carried)
    return behind


def shrinkage(deviations: np.ndarray, counts: np.ndarray, noise: float) -> np.ndarray:
    """Return by how much to multiply deviations ``(L,)`` of group means from their mean.

    ``t^2/(t^2 + s^2/n_l)``, s^2 the ``noise`` of one row, ``counts (L,)`` the rows n_l; t^2 by
    moments: ``(sum n_l d_l^2 - (L - 1) s^2) / (N - sum n_l^2/N)``, not below 0. Assumption: the
    effects of the groups are draws from one distribution. Reference: Searle, Casella and
    McCulloch (1992), section 3.6.
    """
    total = counts.sum()
    room = total - (counts**2).sum() / total
    if room <= 0:
        return np.zeros(len(counts))
    spread = counts @ deviations**2 - (len(counts) - 1) * noise
    variance = max(spread / room, 0.0)
    return variance / (variance + noise / counts) if variance > 0 else np.zeros(len(counts))


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """Hold which of all effects and coefficients a part has, and what is shown of them.

    They are read through a matrix, or, where the levels of a ``factor`` were absorbed, against
    their average with ``shares (L,)``.
    """

    part: ExpandedTerm
    own: slice
    factor: int | None
    through: np.ndarray  # the matrix, or the shares

    def names(self, design: AbsorbedDesign) -> tuple[str, ...]:
        """Return what each of the numbers shown is of, one for each row of ``through``."""
        if self.factor is None:
            return self.part.reading()[0]
        label, every = self.part.label, design.absorbed[self.factor].level_names
        return tuple(f"{label}[{every[code]}]" for code in design.levels[self.factor].tolist())

    @property
    def contrast(self) -> np.ndarray:
        """Return the matrix from effects and coefficients to what is shown."""
        if self.factor is None:
            return self.through
        return np.asarray(np.eye(len(self.through)) - self.through)


def _show(design: AbsorbedDesign, width: int) -> list[_Shown]:
    """Return what is shown of each part of h: of the ``width`` columns, its own come last."""
    absorber = design.absorber
    starts = np.concatenate([[0], np.cumsum(absorber.counts)]).astype(int)
    place = int(starts[-1]) + width - design.columns.shape[1]
    shown: list[_Shown] = []
    for part in design.h.parts:
        f = next((i for i, one in enumerate(design.absorbed) if one is part.category), None)
        if f is None:
            own = slice(place, place + len(part.names))
            place = own.stop
            shown.append(_Shown(part, own, None, part.reading()[1]))
        else:
            own = slice(int(starts[f]), int(starts[f + 1]))
            shown.append(_Shown(part, own, f, _shares(absorber, f)))
    return shown


def _is_small(category: Levels, fitted: np.ndarray) -> bool:
    """Return whether indicators are affordable, and all levels are among the fitted rows."""
    return len(fitted) == len(category.members) <= FEW_LEVELS


def _rows_with_company(codes: Sequence[np.ndarray]) -> np.ndarray:
    """Return the rows ``(n,)`` that share each of their categories with another row."""
    shared = ~singletons(codes)
    if not shared.any():
        raise NotIdentified("Every row is alone in some category. Use coarser confounders.")
    return shared


def _shares(absorber: Absorber, f: int) -> np.ndarray:
    totals = np.bincount(absorber.codes[f], weights=absorber.weights)
    return np.asarray(totals / totals.sum())


def _deviations(
    design: AbsorbedDesign, fit: LinearFit, f: int, effects: np.ndarray, shrink: bool
) -> np.ndarray:
    """Return the effects ``(L,)`` of a factor less their average, shrunk if asked."""
    absorber = design.absorber
    shares = _shares(absorber, f)
    deviations = effects - shares @ effects
    if not shrink:
        return np.asarray(deviations)
    n = len(fit.residuals)
    noise = float(np.average(fit.residuals**2, weights=absorber.weights))
    noise *= n / max(n - fit.degrees_of_freedom, 1.0)
    deviations = deviations * shrinkage(deviations, shares * n, noise)
    return np.asarray(deviations - shares @ deviations)


def _errors(
    design: AbsorbedDesign, X: np.ndarray, fit: LinearFit, shown: Sequence[_Shown]
) -> tuple[np.ndarray, bool, str]:
    """Return the covariance of the estimates before they were shrunk, whether two ways had to be
    repaired, and why some of it is not known.
    """
    total = sum(design.absorber.counts)
    if _levels_are_known(design):
        joint = level_covariance(
            design.absorber,
            X,
            fit,
            clusters=design.clusters,
            correction="min",
            reading=_place(shown, total + X.shape[1], 0),
        )
        return joint.covariance, bool(joint.repaired.any()), ""
    # Where categories fall apart, a deviation from the common average has no meaning of its own.
    reason = "categories fall apart into groups that share no row (DE102)"
    if is_connected(design.absorber):
        reason = f"of {total:,} categories no covariances are computed (of {MOST_LEVELS:,} at most)"
    known = _through_columns(shown)
    rows = _place([one for one in shown if one.factor is None], X.shape[1], total)
    part, repaired = rows @ fit.covariance @ rows.T, bool(fit.repaired.any())
    if len(known) > MOST_COVARIANCES:
        variances = np.full(len(known), np.nan)
        variances[known] = np.diag(part)
        return variances, repaired, reason
    covariance = np.full((len(known), len(known)), np.nan)
    covariance[np.ix_(known, known)] = part
    return covariance, repaired, reason


def _levels_are_known(design: AbsorbedDesign) -> bool:
    """Return whether every absorbed level has a covariance: there are few, and connected ones."""
    few = sum(design.absorber.counts) <= MOST_LEVELS
    return not design.absorbed or (few and is_connected(design.absorber))


def _through_columns(shown: Sequence[_Shown]) -> np.ndarray:
    """Return which estimates ``(r,)`` are read from coefficients of columns."""
    return np.repeat([one.factor is None for one in shown], [len(one.through) for one in shown])


def _place(shown: Sequence[_Shown], width: int, offset: int) -> np.ndarray:
    """Return the matrix from ``width`` effects and coefficients, from ``offset`` on, to reading."""
    blocks = [np.zeros((0, width))]
    for one in shown:
        contrast = one.contrast
        block = np.zeros((len(contrast), width))
        block[:, one.own.start - offset : one.own.stop - offset] = contrast
        blocks.append(block)
    return np.vstack(blocks)
