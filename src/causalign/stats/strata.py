"""Cut rows into strata, by quantiles or crossed codes, and rank rows inside each of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from causalign.errors import InputError, NotIdentified, SettingsError

Array = NDArray[np.float64]
Codes = NDArray[np.int64]


def quantile_strata(values: ArrayLike, count: int = 10) -> Codes:
    """Return which of ``count`` equally full classes each number is in, ``(n,)``, from 0.

    Equal numbers share a class, so that there may be fewer classes than asked for.
    """
    given = np.asarray(values, dtype=np.float64)
    if count < 2:
        raise SettingsError(f"Strata need a count of at least 2, not {count}.")
    if given.ndim != 1 or not np.isfinite(given).all():
        raise InputError("Strata are cut from finite numbers (n,).")
    edges = np.unique(np.quantile(given, np.linspace(0, 1, count + 1)[1:-1]))
    return np.unique(np.searchsorted(edges, given, side="left"), return_inverse=True)[1]


def crossed(codes: Sequence[ArrayLike]) -> Codes:
    """Return one code ``(n,)`` for each combination of the given codes that occurs, from 0."""
    joint = np.column_stack([np.asarray(code) for code in codes])
    return np.unique(joint, axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def rank_within(values: ArrayLike, strata: ArrayLike) -> NDArray[np.float64]:
    """Return the rank of each value among those of its stratum, less their mean rank.

    ``values`` are ``(n,)`` or ``(n, L)``, ranked column by column; ties share their mean rank.
    """
    given = np.asarray(values, dtype=np.float64)
    member = np.asarray(strata)
    ranks = np.empty_like(given)
    order = np.argsort(member, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(member[order])) + 1):
        ranks[rows] = rankdata(given[rows], axis=0) - (len(rows) + 1) / 2
    return ranks


@dataclass(frozen=True, slots=True, eq=False)
class RankingPath:
    """Hold the rank correlation ``(L,)`` of each penalty, and the index of the largest.

    ``strata`` and ``rows`` count what could be compared: strata of at least two different outcomes.
    """

    correlation: Array
    best: int
    strata: int
    rows: int


def ranking_path(predictions: ArrayLike, outcome: ArrayLike, environment: ArrayLike) -> RankingPath:
    """Return how well predictions ``(n, L)`` of unseen rows rank the outcome ``(n,)``.

    With ranks taken inside each stratum e of ``environment`` ``(n,)`` and n_e its rows,

        ρ_l = Σ_e n_e ρ_el / Σ_e n_e,      ρ_el = Spearman's correlation inside stratum e.

    Nothing is compared across strata, so whatever moves a whole stratum (a busy week) cannot make
    a penalty look good; a squared error rewards predicting it. A constant prediction ranks nothing
    and has ρ = 0.

    Assumption: inside a stratum the outcome differs by the text and by noise, not by a confounder.

    Raises `InputError` for shapes that do not fit, `NotIdentified` if no stratum has two rows of
    different outcomes.
    """
    P = np.asarray(predictions, dtype=np.float64)
    y, member = np.asarray(outcome, dtype=np.float64), np.asarray(environment)
    if P.ndim != 2 or y.shape != (len(P),) or member.shape != (len(P),):
        raise InputError(
            f"predictions must be (n, L), outcome and environment (n,); found {P.shape}, "
            f"{y.shape} and {member.shape}."
        )
    code = np.unique(member, return_inverse=True)[1]
    target, ranks = rank_within(y, code), rank_within(P, code)
    size = np.bincount(code)
    total = np.bincount(code, weights=target**2)
    usable = total > 0
    if not usable.any():
        raise NotIdentified(
            "No two rows of one environment differ in their outcome, so nothing can be ranked. "
            "Name a coarser environment."
        )
    correlation = np.empty(P.shape[1])
    for column in range(P.shape[1]):
        r = ranks[:, column]
        cross = np.bincount(code, weights=target * r)[usable]
        spread = np.sqrt(total * np.bincount(code, weights=r**2))[usable]
        within = np.divide(cross, spread, out=np.zeros_like(cross), where=spread > 0)
        correlation[column] = np.average(within, weights=size[usable])
    return RankingPath(
        correlation, int(correlation.argmax()), int(usable.sum()), int(size[usable].sum())
    )
