"""The scale on which effects add up: the outcome as it is, its logarithm, or its log-odds."""

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from causalign.errors import InputError, SettingsError
from causalign.logs.covariates import Covariate
from causalign.logs.table import Logs

Scale = Literal["identity", "log", "logit"]
Floats = NDArray[np.float64]

# Logarithms of counts that are expected to be smaller lean by more than a hundredth.
FEW_COUNTS = 5.0
# Where the field of a rescaled outcome says which share of the rows expects so few.
FEW_SHARE = b"causalign: share of the rows that expect few counts"
CERTAIN = 1e-12


def rescale(logs: Logs, scale: Scale) -> Logs:
    """Put the outcome on the scale on which effects add up.

    ``log`` is ln y for outcomes above 0, where effects multiply (revenue, views). ``logit`` is
    ln(p / (1 − p)) for rates: a week that doubles everybody's odds then adds a constant, which is
    what additive deconfounding assumes. ``identity`` changes nothing. There, with the role
    ``trials``, rates of 10 and of 10,000 trials count alike: estimates are unbiased and robust
    standard errors allow for the unequal noise, but a weighted fit would be more precise. Name a
    copy of the column of trials as the role ``weight`` to ask for it.

    Notes
    -----
    With the role ``trials`` both scales read s successes of n trials. Let μ be the rate that a
    logistic regression of the successes on the confounders (penalty ½‖b‖²) expects of the row.

    - Where at least 5 successes (``logit``: and failures) are expected, the value is the empirical
      logit ln((s + ½) / (n − s + ½)) (Haldane 1956), or ln((s + ½) / (n + ½)).
    - Where fewer are, logarithms of counts lean (2 % of 10 trials: by 1.09 log-odds) and no other
      function of s is unbiased. The value is then the working response of the binomial likelihood,
      η + (s/n − μ) dη/dμ − ½ τ² (d²μ/dη²)/(dμ/dη), which is linear in s and so does not lean: its
      regression on the confounders gives the coefficients of a binomial GLM. What a *text* does to
      such rows is read to first order: one that doubles the odds of a rare click counts as +1 and
      not as ln 2.

    The rows get weights 1 / (τ² + v), v the binomial variance of the value at μ and τ² the variance
    between rows beyond it by moments (DerSimonian and Laird 1986), of mean 1 and times those of the
    role ``weight``: without τ² they are those of the GLM; where texts differ more than counts are
    noisy, rows count nearly alike.

    Assumption: confounders act linearly on this scale; trials of a row are independent.

    Parameters
    ----------
    logs : Logs
    scale : {"identity", "log", "logit"}

    Returns
    -------
    Logs
        With another outcome and, of trials, weights; the audit then warns where many rows expect
        few counts (DA106).

    Raises
    ------
    InputError
        For outcomes outside the scale's domain.
    SettingsError
        For another scale.
    """
    if scale not in get_args(Scale):
        raise SettingsError(f"Unknown scale {scale!r}; there are: {', '.join(get_args(Scale))}")
    if scale == "identity":
        return logs
    if logs.roles.trials is not None:
        return _rescale_counts(logs, scale)
    outcome = logs.outcome
    if scale == "log":
        if outcome.min() <= 0:
            raise InputError(
                f"The log scale needs outcomes above 0; the smallest is {outcome.min():g}."
            )
        values = np.log(outcome)
    else:
        if outcome.min() <= 0 or outcome.max() >= 1:
            raise InputError(
                "The logit scale needs rates strictly between 0 and 1, or counts with the role "
                f"'trials'; outcomes reach from {outcome.min():g} to {outcome.max():g}. Of events "
                "that happened or not, a column of ones is that of the trials."
            )
        values = np.log(outcome) - np.log1p(-outcome)
    return logs.with_outcome(values, f"outcome on the {scale} scale")


def share_of_few_counts(logs: Logs) -> float | None:
    """Return the share of rows that expected few counts when their outcome was rescaled.

    None for logs whose outcome was never counts on the scale of logarithms or log-odds.
    """
    marks = [field.metadata[FEW_SHARE] for field in logs.data.schema
             if field.metadata and FEW_SHARE in field.metadata]  # fmt: skip
    return float(marks[-1]) if marks else None


def _rescale_counts(logs: Logs, scale: Scale) -> Logs:
    """Return logs with the scaled counts as the outcome, weighted by what they tell."""
    rate, n, mu = logs.outcome, logs.trials, _expected_rates(logs)
    successes, failures = n * rate, n * (1 - rate)
    if scale == "logit":
        few = n * np.minimum(mu, 1 - mu) < FEW_COUNTS
        expected, slope, bend = np.log(mu / (1 - mu)), 1 / (mu * (1 - mu)), 1 - 2 * mu
        empirical = np.log((successes + 0.5) / (failures + 0.5))
    else:
        few = n * mu < FEW_COUNTS
        expected, slope, bend = np.log(mu), 1 / mu, np.ones_like(mu)
        empirical = np.log((successes + 0.5) / (n + 0.5))
    variance = slope**2 * mu * (1 - mu) / n
    linear = expected + (rate - mu) * slope
    between = _variance_between(np.where(few, linear, empirical) - expected, variance)
    values = np.where(few, linear - between * bend / 2, empirical)
    share, weights = float(few.mean()), 1 / (between + variance)
    note = f"outcome on the {scale} scale, rows weighted by what their counts tell"
    if few.any():
        note += f"; {share:.0%} of them expect fewer than {FEW_COUNTS:g} counts"
    scaled = _mark(logs.with_outcome(values, note), share)
    given = np.ones(len(logs)) if logs.weights is None else logs.weights
    return replace(
        scaled.with_weights(given * weights / weights.mean(), note), history=scaled.history
    )


def _expected_rates(logs: Logs) -> Floats:
    """Return the rate ``(n,)`` that a logistic regression on the confounders expects."""
    given = np.ones(len(logs)) if logs.weights is None else logs.weights
    successes, failures = (given * logs.trials * rate for rate in (logs.outcome, 1 - logs.outcome))
    if not (successes.any() and failures.any()):
        raise InputError(
            f"Every trial of {logs.roles.outcome!r} ended alike: such counts have no odds."
        )
    # Here, because a log should not wait for scikit-learn.
    from sklearn.linear_model import LogisticRegression

    varying = [_columns(c) for c in logs.confounders if np.ptp(c.values) > 0]
    if not varying:
        return np.full(len(logs), successes.sum() / (successes.sum() + failures.sum()))
    X = sparse.csr_array(sparse.hstack(varying))
    counts = np.concatenate([successes, failures])
    happened = np.repeat([1, 0], len(logs))
    model = LogisticRegression(solver="newton-cg", tol=1e-10, max_iter=1000)
    rows = np.flatnonzero(counts)
    both = sparse.csr_array(sparse.vstack([X, X]))[rows]
    model.fit(both, happened[rows], sample_weight=counts[rows])
    return np.asarray(np.clip(model.predict_proba(X)[:, 1], CERTAIN, 1 - CERTAIN))


def _columns(confounder: Covariate) -> sparse.csr_array:
    """Return indicators of every level, or the number in standard deviations."""
    values, rows = confounder.values, np.arange(len(confounder.values))
    if confounder.is_categorical:
        shape = len(rows), len(confounder.levels)
        return sparse.csr_array((np.ones(len(rows)), (rows, values)), shape=shape)
    return sparse.csr_array(((values - values.mean()) / values.std())[:, None])


def _variance_between(deviations: Floats, variance: Floats) -> float:
    """Return the variance of rows beyond their ``variance (n,)``, by moments and not below 0."""
    information = 1 / variance
    about = deviations - information @ deviations / information.sum()
    room = information.sum() - (information @ information) / information.sum()
    return max(float((information @ about**2 - (len(about) - 1)) / room), 0.0) if room > 0 else 0.0


def _mark(logs: Logs, share: float) -> Logs:
    """Return the logs with the share of rows with few counts in the field of the outcome."""
    place = logs.data.column_names.index(logs.roles.outcome)
    field = logs.data.schema.field(place).with_metadata({FEW_SHARE: str(share).encode()})
    return replace(logs, data=logs.data.set_column(place, field, logs.data.column(place)))
