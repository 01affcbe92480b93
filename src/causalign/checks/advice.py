"""Which estimator does this log support? The decision table of the docs, applied to one log."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from causalign.logs import Logs
from causalign.logs.covariates import Covariate

# Additive intervals are too short with fewer rows for each category (docs/methods/additive.md).
ROWS_FOR_A_CATEGORY = 20
# Where instruments explain so little of a confounder, two-stage least squares may be biased by more
# than half a standard error once restrictions exceed 2 + sqrt(rows * LITTLE_MOVED) / 2 (see ID201).
LITTLE_MOVED = 0.05


@dataclass(frozen=True, slots=True)
class Advice:
    """Hold one recommendation: which method, when, and why for this log.

    Parameters
    ----------
    method : str
        The name of the method on the command line.
    take_it : str
        When to take it, such as "first".
    because : str
        What in the log speaks for it.
    """

    method: str
    take_it: str
    because: str


def advise(logs: Logs, confounded_by: Sequence[str], text_was_seen: bool) -> tuple[Advice, ...]:
    """Choose the estimators that fit what the log contains.

    The rules are those of docs/choosing-an-estimator.md. Nothing is fitted: diagnostics of the fit
    come with the fit.

    Parameters
    ----------
    logs : Logs
        The log.
    confounded_by : sequence of str
        The confounders that the text gives away and that move the outcome.
    text_was_seen : bool
        Whether that could be measured.

    Returns
    -------
    tuple of Advice
        The first choice first; none without confounders.
    """
    if not logs.roles.confounders:
        return ()
    if logs.roles.instruments:
        return _with_instruments(logs)
    if text_was_seen and not confounded_by:
        return (
            Advice(
                "ordinary",
                "to take their noise out",
                "no confounder both shows in the text and moves the outcome, so that a reward is "
                "not misled; subtracting their effect makes it more precise",
            ),
        )
    advice = [_additive(logs)]
    if any(not c.is_categorical for c in logs.confounders):
        advice.append(
            Advice(
                "double-ml",
                "to check the first",
                "a learner takes out of a numeric confounder what the text explains of it, also "
                "where that is not linear; the two should agree",
            )
        )
    advice.append(
        Advice(
            "permutation-weighting",
            "where the best text depends on the confounder",
            "it needs no additivity, but every text must have met every condition; it says how "
            "many rows are left",
        )
    )
    return tuple(advice)


def _with_instruments(logs: Logs) -> tuple[Advice, ...]:
    moved = sum(_columns(c) for c in logs.confounders)
    moving = sum(_columns(c) for c in logs.instruments)
    if moving < moved:
        return (
            Advice(
                "two-stage",
                "with exogenous confounders named",
                f"there are {moving} instrument columns for {moved} confounder columns: name the "
                "confounders that need no instrument, or declare more instruments",
            ),
            _additive(logs),
        )
    many = moving - moved - 1 > np.sqrt(len(logs) * LITTLE_MOVED) / 2
    two_stage = Advice(
        "two-stage",
        "if ID201 passes" if many else "first",
        f"{', '.join(logs.roles.instruments)} move what confounds, if they reach "
        f"{logs.roles.outcome} on no other way; look at ID201, ID203 and ID204 before use",
    )
    limited = Advice(
        "limited-information",
        "first" if many else "if ID201 or ID203 fails",
        (f"there are {moving} instrument columns for {len(logs)} rows, and " if many else "")
        + "it is less biased when instruments are weak or many; the interval of ID203 stays valid; "
        "where instruments depend on the text, double-ml-instruments with kappa 'liml' does the "
        "same with what the text leaves of them",
    )
    advice = [limited, two_stage] if many else [two_stage, limited]
    if any(not c.is_categorical for c in logs.confounders):
        advice.append(
            Advice(
                "adversarial-gmm",
                "where the effect is not a straight line",
                "it lets the confounder's effect bend; compare its held-out moments with those of "
                "two-stage; where ID205 sees no difference from least squares, little is hidden, "
                "and a curve without instruments (formula of additive) is several times as precise",
            )
        )
    return tuple(advice)


def _additive(logs: Logs) -> Advice:
    thin = [
        c.name
        for c in logs.confounders
        if c.is_categorical and _typical_rows(c) < ROWS_FOR_A_CATEGORY
    ]
    because = "text features and confounders are fitted together, categories are absorbed"
    if thin:
        because += (
            f"; with fewer than {ROWS_FOR_A_CATEGORY} rows for a typical category of "
            f"{', '.join(thin)}, use shrink=True or coarser categories"
        )
    return Advice("additive", "first", because)


def _typical_rows(confounder: Covariate) -> float:
    """Return the median number of rows of a category."""
    return float(np.median(np.bincount(confounder.values, minlength=len(confounder.levels))))


def _columns(confounder: Covariate) -> int:
    return len(confounder.levels) - 1 if confounder.is_categorical else 1
