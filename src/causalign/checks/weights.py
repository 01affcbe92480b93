"""Findings on importance weights, EV201 to EV203, and the limits that all support checks share."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from causalign.checks.check import Check
from causalign.results import Finding, Verdict
from causalign.settings import require_number
from causalign.stats.importance_weights import (
    LARGEST_LOG_WEIGHT,
    WeightDiagnostics,
    pareto_threshold,
)


@dataclass(frozen=True, slots=True)
class SupportLimits:
    """Limits beyond which findings about weights and support fail.

    A failed finding refuses the value of a policy, and is shown beside a policy that was tuned
    with such weights. The limits are settings because costs differ; the defaults are those of the
    documentation's simulations.

    Parameters
    ----------
    effective_rows : float
        Fewest rows that the weighted log must be worth (EV201).
    pareto_shape : float
        Heaviest tail of the weights (EV202); the bound for small logs is stricter by itself.
    mean_weight : float
        Distance of the mean weight from 1 that counts when it is also beyond chance (EV203).
    support : float
        Smallest share of the target's texts that lie where the log has texts (EV204).
    typical_rows : float
        Fewest logged texts that the target would typically write (EV205).
    cut : float
        Largest share of the target's mass that clipping may remove (EV206).

    Raises
    ------
    SettingsError
        When a limit is out of its range.
    """

    effective_rows: float = 50.0
    pareto_shape: float = 0.7
    mean_weight: float = 0.1
    support: float = 0.8
    typical_rows: float = 50.0
    cut: float = 0.1

    def __post_init__(self) -> None:
        for name in ("support", "cut"):
            require_number(name, getattr(self, name), least=0, most=1)
        for name in ("effective_rows", "pareto_shape", "mean_weight", "typical_rows"):
            require_number(name, getattr(self, name), least=0, infinite=True)


def effective_rows(weights: WeightDiagnostics, limits: SupportLimits) -> Finding:
    """Check how many equally weighted rows the weighted log is worth (EV201).

    Parameters
    ----------
    weights : WeightDiagnostics
        Importance weights before clipping.
    limits : SupportLimits
        Where it fails.

    Returns
    -------
    Finding
    """
    size, rows = weights.effective_sample_size, weights.rows
    few, share = size < limits.effective_rows, size / rows
    verdict = Verdict.FAIL if few else Verdict.WARN if share < 0.1 else Verdict.PASS
    explanation = f"The {rows:,} weighted rows are worth {size:,.1f} equally weighted ones"
    explanation += {
        Verdict.PASS: ".",
        Verdict.WARN: ", less than a tenth: expect noise and wide intervals. Log more texts like "
        "those that the policy writes.",
        Verdict.FAIL: f", fewer than {limits.effective_rows:g}: a handful of texts decides the "
        "result. Choose a policy closer to the one that wrote the log (start from one that was "
        "fine-tuned on the logged texts, or move less far from it), log more, or evaluate online.",
    }[verdict]
    check = Check(
        "EV201",
        "Effective sample size",
        effective_rows=size,
        rows=float(rows),
        share=share,
        largest_share=weights.largest_share,
    )
    return check.end(verdict, explanation)


def weight_tail(weights: WeightDiagnostics, limits: SupportLimits) -> Finding:
    """Check whether the tail of the weights is too heavy for their average to settle (EV202).

    Parameters
    ----------
    weights : WeightDiagnostics
        Importance weights before clipping.
    limits : SupportLimits
        Where it fails; a small log has a stricter limit by itself.

    Returns
    -------
    Finding
    """
    title, k = "Tail of the weights", weights.pareto_shape
    if np.isnan(k):
        why = f"{weights.rows} rows are too few to fit the tail (25 are needed)."
        return Check("EV202", title).does_not_apply(why)
    limit = min(limits.pareto_shape, pareto_threshold(weights.rows))
    verdict = Verdict.FAIL if k > limit else Verdict.WARN if k > 0.5 else Verdict.PASS
    shape = "none: the largest weight is common" if np.isneginf(k) else f"{k:.2f}"
    explanation = {
        Verdict.PASS: f"Pareto k is {shape}: the weights average reliably.",
        Verdict.WARN: f"Pareto k is {shape}: the variance of the weights may not exist, and "
        "intervals may be too narrow.",
        Verdict.FAIL: f"Pareto k is {shape}, above {limit:.2f}: texts that were not logged would "
        "carry much of the weight, so no average of these weights is reliable at this number of "
        "rows. Evaluate with 'switch' or 'kernel', or choose a policy closer to the one that "
        "wrote the log.",
    }[verdict]
    return Check("EV202", title, pareto_k=k, limit=limit).end(verdict, explanation)


def mean_weight(
    weights: WeightDiagnostics, limits: SupportLimits, *, normalised: bool = False
) -> Finding:
    """Check that the weights average 1, as right probabilities with support make them (EV203).

    Parameters
    ----------
    weights : WeightDiagnostics
        Importance weights before clipping, of the policy that is evaluated or tuned.
    limits : SupportLimits
        Where it fails.
    normalised : bool
        Whether a policy is tuned in how it chooses among the logged texts, by weights that are
        divided by their sum: their scale then does no harm, and what would fail only warns.

    Returns
    -------
    Finding
    """
    off = weights.mean - 1.0
    # A mean without spread is exact, and one that no number can hold is off: neither is chance.
    by_chance = np.isfinite(weights.mean) and weights.mean_error != 0
    p = 2 * float(norm.sf(abs(off) / weights.mean_error)) if by_chance else float(abs(off) < 1e-9)
    far = abs(off) > limits.mean_weight and p < 0.001
    far |= weights.highest > LARGEST_LOG_WEIGHT  # whatever the limits: no sum holds such a weight
    grave = Verdict.WARN if normalised else Verdict.FAIL
    verdict = grave if far else Verdict.WARN if p < 0.01 else Verdict.PASS
    explanation = (
        f"The weights average {weights.mean:.3g} (standard error {weights.mean_error:.2g})"
    )
    if far:
        explanation += (
            ", far from 1: the recorded probabilities are not those that wrote the log "
            "(temperature, top-p, filters, prompts, or another scale), or the policy writes much "
            "that the log lacks. Score the texts again with the policy as it was deployed."
        )
        explanation += normalised * (
            " Self-normalised weights do not depend on the scale: what is tuned is the choice "
            "among the logged texts."
        )
    else:
        explanation += (
            ", and 1 is expected."
            if verdict is Verdict.PASS
            else "; 1 is expected, so the probabilities are slightly off."
        )
    numbers = {"mean": weights.mean, "stderr": weights.mean_error, "p_value": p}
    return Check("EV203", "Mean weight", **numbers).end(verdict, explanation)
