"""How likely each logged text was to be logged: from a column, or by design."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError, SettingsError
from causalign.logs import Logs

__all__ = ["log_propensities", "uniform_design"]


def log_propensities(values: ArrayLike, name: str = "propensity") -> NDArray[np.float64]:
    """Return log P_R ``(n,)`` from probabilities in (0, 1] or from log-probabilities.

    A column without a positive number holds logarithms; one without a negative number holds
    probabilities. Raises ``InputError`` for zeros, values above one, mixtures and missing values.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or not len(found):
        raise InputError(f"{name} must hold one number for each row; its shape is {found.shape}.")
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found))[0])
        raise InputError(
            f"{name} holds {found[row]} in row {row}. A logged text had a positive probability; "
            "remove the row, or correct the column."
        )
    if (found < 0).any():
        if (found > 0).any():
            row = int(np.flatnonzero(found > 0)[0])
            raise InputError(
                f"{name} mixes negative numbers, which are log-probabilities, with positive ones "
                f"(row {row} holds {found[row]:g}). Write all as logarithms, or all as "
                "probabilities."
            )
        return found
    if (found == 0).any():
        row = int(np.flatnonzero(found == 0)[0])
        raise InputError(
            f"{name} is 0 in row {row}, but that text was logged. For very small probabilities "
            "write logarithms."
        )
    if (found > 1).any():
        row = int(np.flatnonzero(found > 1)[0])
        raise InputError(
            f"{name} is {found[row]:g} in row {row}, above 1. It must hold probabilities or "
            "log-probabilities; minus log-probabilities need their sign changed."
        )
    return np.log(found)


def uniform_design(logs: Logs) -> NDArray[np.float64]:
    """Return log P_R ``(n,)`` where each distinct text of a prompt was as likely as the others."""
    texts = logs.codes_of(logs.roles.completion)
    prompt = np.zeros(len(logs), dtype=np.int64)
    if logs.roles.prompt is not None:
        prompt = logs.codes_of(logs.roles.prompt)
    distinct = np.unique(np.stack([prompt, texts], axis=1), axis=0)
    labels, counts = np.unique(distinct[:, 0], return_counts=True)
    return -np.log(counts[np.searchsorted(labels, prompt)].astype(np.float64))


def logged_propensities(
    logs: Logs, source: str | None, given: ArrayLike | None
) -> NDArray[np.float64] | None:
    """Return log P_R ``(n,)`` from where the user says it is; None stands for the reference."""
    if given is not None:
        found = log_propensities(given, "log_propensity")
        if len(found) != len(logs):
            raise InputError(f"There are {len(found)} log-propensities for {len(logs)} rows.")
        return found
    if source == "reference":
        return None
    if source == "uniform":
        return uniform_design(logs)
    if source not in (None, "column"):
        raise SettingsError(
            f"propensity must be 'column', 'uniform' or 'reference'; found {source!r}."
        )
    if logs.roles.propensity is None:
        raise SettingsError(
            "Importance weights need the probability with which each text was logged. Name its "
            "column in `Roles(propensity=...)`, or say propensity='uniform' (drawn evenly from "
            "the logged texts) or 'reference' (written by the starting model)."
        )
    return log_propensities(logs.numbers(logs.roles.propensity), logs.roles.propensity)
