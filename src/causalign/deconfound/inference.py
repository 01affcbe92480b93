"""Decide from the logs how uncertain an estimate is: robust, or clustered."""

from typing import Literal, get_args

import numpy as np

from causalign.errors import InputError, RoleNotDeclared, SettingsError
from causalign.logs import Logs
from causalign.stats.least_squares import LinearFit

__all__ = ["Covariance", "clusters_for", "interval_degrees_of_freedom", "positive_weights"]

Covariance = Literal["auto", "robust", "clustered"]


def clusters_for(logs: Logs, covariance: Covariance) -> np.ndarray | None:
    """Return the clusters ``(n,)`` that the covariance asks for, or None for a robust one.

    ``auto`` clusters when the logs declare ``cluster`` or ``group``. Raises `RoleNotDeclared` when
    ``clustered`` is asked of logs that declare neither.
    """
    if covariance not in get_args(Covariance):
        raise SettingsError(
            f"covariance must be 'auto', 'robust' or 'clustered', not {covariance!r}."
        )
    clusters = None if covariance == "robust" else logs.clusters
    if covariance == "clustered" and clusters is None:
        raise RoleNotDeclared(
            "These logs declare neither cluster nor group, so that errors cannot be clustered. "
            "Name the column in `Roles(cluster=...)`, or use covariance='robust'."
        )
    return clusters


def interval_degrees_of_freedom(fit: LinearFit) -> float:
    """Return those of the t distribution: clusters less one, or rows less coefficients."""
    if fit.cluster_counts:
        return float(min(fit.cluster_counts) - 1)
    return max(len(fit.residuals) - fit.degrees_of_freedom, 1.0)


def positive_weights(logs: Logs) -> np.ndarray:
    """Return the row weights ``(n,)``, ones when the logs declare none; raise unless positive."""
    weights = np.ones(len(logs)) if logs.weights is None else logs.weights
    bad = np.flatnonzero(weights <= 0)
    if bad.size:
        raise InputError(
            f"{bad.size} weights in {logs.roles.weight!r} are not positive (first at row "
            f"{bad[0]}). Leave those rows out with `logs.take(...)`."
        )
    return weights
