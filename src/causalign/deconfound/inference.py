"""Decide from the logs how uncertain an estimate is: robust, or clustered."""

from typing import Literal, get_args

import numpy as np

from causalign.errors import InputError, RoleNotDeclared
from causalign.logs import Logs
from causalign.settings import require_choice
from causalign.stats.carrying_rows import carrying_rows
from causalign.stats.least_squares import LinearFit

Covariance = Literal["auto", "robust", "clustered"]
# Below the worth of so many equally weighted rows, one row says what the estimate is.
FEWEST = 1.5


def clusters_for(logs: Logs, covariance: Covariance) -> np.ndarray | None:
    """Return the clusters that the covariance asks for, or None for a robust one.

    They are ``(n,)``, or ``(n, 2)`` where the role ``cluster`` names two columns. ``auto`` clusters
    when the logs declare ``cluster`` or ``group``. Raises `RoleNotDeclared` when
    ``clustered`` is asked of logs that declare neither.
    """
    check_covariance(covariance)
    clusters = None if covariance == "robust" else logs.cluster_ways
    if covariance == "clustered" and clusters is None:
        raise RoleNotDeclared(
            "These logs declare neither cluster nor group, so that errors cannot be clustered; "
            "covariance='robust' does not cluster.",
            "cluster",
        )
    return clusters


def check_covariance(covariance: object) -> None:
    """Raise `SettingsError` unless it is one of the covariances."""
    require_choice("covariance", covariance, get_args(Covariance))


def interval_degrees_of_freedom(fit: LinearFit) -> float:
    """Return those of the t distribution: clusters less one, or rows less coefficients."""
    if fit.cluster_counts:
        return float(min(fit.cluster_counts) - 1)
    return max(len(fit.residuals) - fit.degrees_of_freedom, 1.0)


def rows_behind(
    regressors: np.ndarray,
    bread: np.ndarray,
    contrast: np.ndarray,
    weights: np.ndarray,
    clusters: np.ndarray | None,
) -> np.ndarray:
    """Return on how many rows, or clusters, each estimate ``contrast @ coefficients`` rests.

    ``regressors (n, k)`` are the columns whose scores make the covariance (of instruments: what
    they predict), ``bread (c, k)`` the rows of the inverse moment matrix for c coefficients,
    ``contrast (r, c)``; the result is ``(r,)``.
    """
    pull = regressors @ (contrast @ bread).T
    return carrying_rows(pull * (weights / weights.mean())[:, None], clusters)


def positive_weights(logs: Logs) -> np.ndarray:
    """Return the row weights ``(n,)``, ones when the logs declare none; raise unless positive.

    Weights of which nearly all lies on one row raise `InputError` too.
    """
    weights = np.ones(len(logs)) if logs.weights is None else logs.weights
    bad = np.flatnonzero(weights <= 0)
    if bad.size:
        raise InputError(
            f"{bad.size} weights in {logs.roles.weight!r} are not positive (first at row "
            f"{bad[0]}). Leave those rows out with `logs.take(...)`."
        )
    share = weights / weights.max()
    worth = share.sum() ** 2 / (share @ share)
    if worth < FEWEST:
        raise InputError(
            f"The weights in {logs.roles.weight!r} leave the worth of {worth:.2f} rows: row "
            f"{int(np.argmax(share))} carries {1 / share.sum():.1%} of them. Check the column."
        )
    return weights
