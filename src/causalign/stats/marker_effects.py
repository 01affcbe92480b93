"""Compare what markers seem to do before and after the confounders' effect is taken out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from causalign.errors import InputError
from causalign.stats.confounder_part import ConfounderPart
from causalign.stats.estimates import Estimates
from causalign.stats.marker_influence import Columns, InfluenceSums, sum_influence
from causalign.stats.sandwich import Groups, group_rows
from causalign.stats.ways import combine_ways, variance_if_independent

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MarkerContrasts:
    """Hold the effects of m markers.

    ``naive``: with nothing taken out. ``deconfounded``: with ``h(C)`` taken out of the outcome.
    ``distance``: their difference. ``alone``: with confounders and the rest of the text taken out
    of both sides, where that was asked for (else NaN), or None without text features; ``left (m,)``
    is the share of the marker that remains, and where that is below 5 % nothing is estimated (NaN):
    the features hold the marker. ``r2_on_confounders (m,)`` is the R² of the marker on the
    confounders.
    """

    naive: Estimates
    deconfounded: Estimates
    distance: Estimates
    r2_on_confounders: Floats
    alone: Estimates | None = None
    left: Floats | None = None

    def take(self, places: NDArray[np.int64]) -> "MarkerContrasts":
        """Return the effects of the markers at the places."""
        return MarkerContrasts(
            self.naive.take(places),
            self.deconfounded.take(places),
            self.distance.take(places),
            self.r2_on_confounders[places],
            None if self.alone is None else self.alone.take(places),
            None if self.left is None else self.left[places],
        )


def join_blocks(blocks: Sequence[MarkerContrasts]) -> MarkerContrasts:
    """Return the effects of several blocks of markers as one."""

    def estimates(parts: list[Estimates]) -> Estimates:
        return Estimates(*map(np.concatenate, zip(*(p.columns() for p in parts), strict=True)))

    return MarkerContrasts(
        estimates([b.naive for b in blocks]),
        estimates([b.deconfounded for b in blocks]),
        estimates([b.distance for b in blocks]),
        np.concatenate([b.r2_on_confounders for b in blocks]),
    )


def marker_effects(
    markers: ArrayLike | sparse.sparray,
    outcome: ArrayLike,
    confounders: ConfounderPart,
    *,
    clusters: ArrayLike | None = None,
) -> MarkerContrasts:
    """Return the effects of each column of ``markers (n, m)`` on ``outcome (n,)``.

    For a marker x with ``v = w (x - x̄)/Σ w (x - x̄)²``: naive ``Σ v y``, distance ``Σ v h``,
    deconfounded ``Σ v (y - h)``. An innocent marker has distance zero: it does not travel with
    what moves the outcome. All errors come from influence functions on the same rows, the error of
    γ included: for the distance ``v (h - ĥ_x) + ψ_γ Σ v B``, where the first term is divided by one
    minus the leverage of its row or cluster (HC3, the jackknife). Tests use t with the effective
    number of rows or clusters that carry the marker, less one. Markers are best sparse: rows that
    do not hold one are summed in closed form.

    Assumption: rows (clusters) are independent. References: MacKinnon and White (1985); Carter,
    Schnepel and Steigerwald (2017) for the effective number of clusters.
    """
    X = sparse.csr_array(markers, dtype=np.float64)
    y = np.asarray(outcome, dtype=np.float64)
    if y.shape != (X.shape[0],) or len(confounders.part) != X.shape[0]:
        raise InputError(f"markers must be (n, m), outcome (n,), not {X.shape} and {y.shape}.")
    groups = group_rows(clusters, len(y))
    columns = Columns.of(X, y, confounders)
    compared = _compare(columns, confounders, groups)
    r2 = columns.size * np.einsum(
        "jk,jk->j", columns.travels @ confounders.inverse, columns.travels
    )
    return MarkerContrasts(*compared, r2)


def _compare(
    columns: Columns, confounders: ConfounderPart, groups: Groups
) -> tuple[Estimates, Estimates, Estimates]:
    """Return naive effects, deconfounded effects and their distance."""
    ways = [sum_influence(columns, confounders, codes, count) for _, codes, count in groups]
    carried = np.max([way.carried for way in ways[:2]], axis=0)
    freedom = np.maximum(1.0 / carried - 1.0, 1.0)
    extra = combine_ways([way.extra for way in ways])
    # The influence of γ adds to the distance, takes from the deconfounded, spares the naive.
    signs = (0.0, 1.0, -1.0)
    independent = _independent(columns, confounders.weights, groups, ways)
    naive, distance, deconfounded = (
        Estimates(
            columns.estimate[o],
            np.sqrt(
                combine_ways([w.squares[o] + sign * w.through[o] + sign**2 * w.extra for w in ways])
            ),
            np.sqrt(independent[o] + sign**2 * extra),
            freedom,
        )
        for o, sign in enumerate(signs)
    )
    return naive, deconfounded, distance


def _independent(
    columns: Columns, w: Floats, groups: Groups, ways: Sequence[InfluenceSums]
) -> Floats:
    """Return the variance ``(3, m)`` of ``Σ v y`` if x and y were independent."""
    squares = columns.squared_weights(w)
    return np.array(
        [
            variance_if_independent(squares, [way.together for way in ways], outcome, w, groups)
            for outcome in columns.outcomes.T
        ]
    )
