"""Decide from the logs how uncertain an estimate is: robust, or clustered."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from causalign.errors import RoleNotDeclared, SettingsError
from causalign.logs import Logs
from causalign.stats.least_squares import LinearFit

__all__ = ["Covariance", "clusters_for", "t_degrees_of_freedom", "weights_of"]

Covariance = Literal["auto", "robust", "clustered"]


@dataclass(frozen=True, slots=True)
class _Choices:
    names: tuple[str, ...] = ("auto", "robust", "clustered")


def clusters_for(logs: Logs, covariance: Covariance) -> np.ndarray | None:
    """Return the clusters ``(n,)`` that the covariance asks for, or None for a robust one.

    ``auto`` clusters when the logs declare ``cluster`` or ``group``. Raises `RoleNotDeclared` when
    ``clustered`` is asked of logs that declare neither.
    """
    if covariance not in _Choices().names:
        raise SettingsError(
            f"covariance must be 'auto', 'robust' or 'clustered', not {covariance!r}."
        )
    if covariance == "robust":
        return None
    if covariance == "clustered" and logs.clusters is None:
        raise RoleNotDeclared(
            "These logs declare neither cluster nor group, so that errors cannot be clustered. "
            "Name the column in `Roles(cluster=...)`, or use covariance='robust'."
        )
    return logs.clusters
