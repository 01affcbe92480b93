"""Logging propensities: how likely each logged text was to be drawn."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError, RoleNotDeclared, SettingsError
from causalign.logs import Logs, Roles
from causalign.logs.propensity import log_propensities as log_propensities


def uniform_design(logs: Logs) -> NDArray[np.float64]:
    """Return log P_R where each distinct text of a prompt was as likely as the others.

    Parameters
    ----------
    logs : Logs
        Texts, with prompts where these have a role.

    Returns
    -------
    (n,) floats
    """
    texts = logs.codes_of(logs.roles.completion)
    prompt = np.zeros(len(logs), dtype=np.int64)
    if logs.roles.prompt is not None:
        prompt = logs.codes_of(logs.roles.prompt)
    distinct = np.unique(np.stack([prompt, texts], axis=1), axis=0)
    labels, counts = np.unique(distinct[:, 0], return_counts=True)
    return -np.log(counts[np.searchsorted(labels, prompt)].astype(np.float64))


def require_propensity(roles: Roles, source: str | None) -> None:
    """Raise `RoleNotDeclared` unless propensities have a column or another source."""
    if source not in (None, "column", "uniform", "reference"):
        raise SettingsError(
            f"propensity must be 'column', 'uniform' or 'reference'; found {source!r}."
        )
    if source in (None, "column") and roles.propensity is None:
        raise RoleNotDeclared(
            "Importance weights need the probability with which each text was logged, or "
            "propensity='uniform' (drawn evenly from the logged texts) or propensity='reference' "
            "(written by the starting model).",
            "propensity",
        )


def logged_propensities(
    logs: Logs, source: str | None, given: ArrayLike | None
) -> NDArray[np.float64] | None:
    """Return log P_R ``(n,)`` from where the user says it is; None stands for the reference."""
    if given is not None:
        logprob = log_propensities(given, "log_propensity")
        if len(logprob) != len(logs):
            raise InputError(f"There are {len(logprob)} log-propensities for {len(logs)} rows.")
        return logprob
    require_propensity(logs.roles, source)
    if source == "reference":
        return None
    if source == "uniform":
        return uniform_design(logs)
    column = str(logs.roles.propensity)
    return log_propensities(logs.numbers(column), column)
