"""EV201 to EV210: may this number be believed, or must it be refused?"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from causalign.evaluate.limits import SupportLimits
from causalign.evaluate.off_policy_log import OffPolicyLog
from causalign.results import Finding, Verdict
from causalign.stats.importance_weights import (
    WeightDiagnostics,
    pareto_threshold,
    typicality_coverage,
)
from causalign.stats.ratio_of_means import clustered_error
from causalign.stats.support import share_near_the_log, share_within_logged_weights

__all__ = [
    "effective_size",
    "enough_clusters",
    "mass_cut",
    "mean_weight",
    "model_error",
    "outcome_model",
    "outcome_varies",
    "support",
    "tail_of_weights",
    "typicality",
]

Floats = NDArray[np.float64]


def effective_size(found: WeightDiagnostics, limits: SupportLimits) -> Finding:
    """EV201: how many rows the weighted log is worth."""
    size, share = found.effective_sample_size, found.effective_sample_size / found.rows
    few = size < limits.effective_rows
    verdict = Verdict.FAIL if few else Verdict.WARN if share < 0.1 else Verdict.PASS
    told = f"The weighted log is worth {size:,.0f} of its {found.rows:,} rows"
    if few:
        told += (
            f", fewer than {limits.effective_rows:g}: a handful of texts decides the estimate. "
            "Choose a target closer to the logging policy, log more, or evaluate online."
        )
    else:
        told += "." if verdict is Verdict.PASS else ": expect a wide interval."
    numbers = {"effective_rows": size, "share": share, "largest_share": found.largest_share}
    return Finding("EV201", "Effective sample size", verdict, told, numbers)


def tail_of_weights(found: WeightDiagnostics, limits: SupportLimits) -> Finding:
    """EV202: is the tail of the weights so heavy that their average does not settle?"""
    title, k = "Tail of the weights", found.pareto_shape
    if np.isnan(k):
        told = f"{found.rows} rows are too few to fit the tail (25 are needed)."
        return Finding("EV202", title, Verdict.NOT_APPLICABLE, told)
    edge = min(limits.pareto_shape, pareto_threshold(found.rows))
    verdict = Verdict.FAIL if k > edge else Verdict.WARN if k > 0.5 else Verdict.PASS
    shown = "none: the largest weight is common" if np.isneginf(k) else f"{k:.2f}"
    told = {
        Verdict.PASS: f"Pareto k is {shown}: the weights average reliably.",
        Verdict.WARN: f"Pareto k is {shown}: the variance of the weights may not exist, and "
        "intervals may be too narrow.",
        Verdict.FAIL: f"Pareto k is {shown}, above {edge:.2f}: texts that were not drawn would "
        "carry much of the weight, so no average of these is reliable. Use 'doubly-robust' with "
        "'switch', 'kernel', or a target closer to the logging policy.",
    }[verdict]
    return Finding("EV202", title, verdict, told, {"pareto_k": k, "limit": edge})


def mean_weight(found: WeightDiagnostics, limits: SupportLimits) -> Finding:
    """EV203: weights average to 1 when the log has support and its probabilities are right."""
    off = found.mean - 1.0
    # A mean weight without spread is exact: any distance is then beyond chance.
    z = off / found.mean_error if found.mean_error > 0 else np.inf * np.sign(off)
    p = 2 * float(norm.sf(abs(z))) if abs(off) > 1e-9 else 1.0
    far = abs(off) > limits.mean_weight and p < 0.001
    verdict = Verdict.FAIL if far else Verdict.WARN if p < 0.01 else Verdict.PASS
    told = f"The weights average {found.mean:.3g} (standard error {found.mean_error:.2g})"
    told += {
        Verdict.PASS: ", and 1 is expected.",
        Verdict.WARN: "; 1 is expected, so the probabilities are slightly off.",
        Verdict.FAIL: ", far from 1: the recorded probabilities are not those that wrote the log "
        "(temperature, top-p, filters, prompts), or the target writes much that the log lacks. "
        "Score the texts again with the policy as it was deployed.",
    }[verdict]
    numbers = {"mean": found.mean, "stderr": found.mean_error, "p_value": p}
    return Finding("EV203", "Mean weight", verdict, told, numbers)


def support(log: OffPolicyLog, limits: SupportLimits) -> Finding:
    """EV204: the share of the target's texts that lie where the log has texts."""
    title, samples = "Support of the log", log.samples
    shares: dict[str, float] = {}
    if samples is not None and samples.features is not None and log.features is not None:
        shares["near logged texts"] = share_near_the_log(log.features, samples.features)
    if samples is not None and log.target_logprob is not None:
        above, below = samples.target_logprob, samples.logging_logprob
        if above is not None and below is not None:
            within = share_within_logged_weights(log.log_weights, above - below)
            shares["within logged weights"] = within
    if not shares:
        return Finding(
            "EV204",
            title,
            Verdict.WARN,
            "Nobody checked whether the log has texts where the target would write: weights alone "
            "cannot tell. Give texts sampled from the target, with vectors or log-probabilities.",
        )
    where = min(shares, key=lambda name: shares[name])
    share = shares[where]
    low = share < limits.support
    verdict = Verdict.FAIL if low else Verdict.WARN if share < 0.9 else Verdict.PASS
    told = f"{share:.0%} of the target's texts lie {where}"
    if low:
        told += (
            f", less than {limits.support:.0%}: what the others earn is nowhere in this log, and "
            "no estimator can tell. Log such texts first, or restrict the target."
        )
    else:
        told += "." if verdict is Verdict.PASS else "; what the others earn is extrapolated."
    numbers = {name.replace(" ", "_"): value for name, value in shares.items()}
    return Finding("EV204", title, verdict, told, numbers)


def typicality(log: OffPolicyLog, limits: SupportLimits) -> Finding:
    """EV205: the share of logged texts that the target would typically write."""
    title, samples = "Typicality of the log", log.samples
    if samples is None or samples.target_logprob is None or log.target_logprob is None:
        told = "Needs log-probabilities of texts sampled from the target."
        return Finding("EV205", title, Verdict.NOT_APPLICABLE, told)
    share = typicality_coverage(log.target_logprob, samples.target_logprob)
    rows = share * len(log)
    few = rows < limits.typical_rows
    verdict = Verdict.FAIL if few else Verdict.WARN if share < 0.7 else Verdict.PASS
    told = f"{share:.1%} of logged texts ({rows:,.0f}) are such as the target typically writes"
    if few:
        told += ": too few to learn from what it earns. Log texts closer to the target's."
    else:
        told += "." if verdict is Verdict.PASS else "; the rest of the log hardly counts."
    return Finding("EV205", title, verdict, told, {"share": share, "rows": rows})


def mass_cut(
    log: OffPolicyLog, kept: Floats, largest: float, limits: SupportLimits, *, model: bool
) -> Finding:
    """EV206: the share of the target's mass on which clipping, or a model, replaced the weights.

    ``kept (n,)`` are the weights that were left; their mean falls short of 1 by that share.
    """
    title = "Weight left to the model" if model else "Weight cut away"
    lost = 1.0 - float(kept.mean())
    error, _ = clustered_error(kept - kept.mean(), log.clusters)
    by_chance = lost < 3 * error
    numbers = {"share": lost, "stderr": error, "largest": largest}
    if lost < -limits.mean_weight and lost < -3 * error:
        told = (
            f"The weights average {1.0 - lost:.3g} even after clipping, and no clipped weights can "
            "average more than 1: the recorded probabilities are not those that wrote the log."
        )
        return Finding("EV206", title, Verdict.FAIL, told, numbers)
    if log.log_weights.max() <= np.log(largest) and (by_chance or lost <= limits.cut):
        told = f"No logged weight is above {largest:.3g}."
        return Finding("EV206", title, Verdict.PASS, told, numbers)
    much = lost > limits.cut and not (model or by_chance)
    some = lost > limits.cut / 2 and not by_chance
    verdict = Verdict.FAIL if much else Verdict.WARN if some else Verdict.PASS
    told = f"Weights above {largest:.3g}, or texts never logged, carry {lost:.1%} of the target"
    if model:
        told += "; there the estimate is the outcome model's alone."
    elif much:
        told += (
            f", more than {limits.cut:.0%}: the estimate is that of another policy. Raise the "
            "bound, or give outcome_range for bounds that count what was cut."
        )
    else:
        told += ", which is cut away; the estimate leans by at most that share of the range."
    return Finding("EV206", title, verdict, told, numbers)


def outcome_varies(log: OffPolicyLog) -> Finding:
    """EV207: outcomes that are all the same carry no uncertainty, and no information."""
    title, first = "Outcomes vary", float(log.outcome[0])
    if np.ptp(log.outcome) == 0:
        told = (
            f"Every outcome is {first:g}. Any policy would seem to earn just that, with standard "
            "error 0, because the log shows nothing else. Log until outcomes differ."
        )
        return Finding("EV207", title, Verdict.FAIL, told, {"value": first})
    rare = min(np.unique(log.outcome, return_counts=True)[1]) if _binary(log.outcome) else None
    if rare is not None and rare < 20:
        told = f"The rarer of two outcomes occurs {rare} times; intervals are rough."
        return Finding("EV207", title, Verdict.WARN, told, {"rarer": float(rare)})
    return Finding("EV207", title, Verdict.PASS, "The outcome takes more than one value.")


def outcome_model(log: OffPolicyLog, found: WeightDiagnostics | None) -> Finding:
    """EV208: is the outcome model right, on average, about texts that the target would write?"""
    title = "Outcome model"
    if found is None or log.predicted is None or not found.pareto_shape <= 0.7:
        told = "Needs predictions for logged texts and weights that can be averaged."
        return Finding("EV208", title, Verdict.NOT_APPLICABLE, told)
    w = np.exp(log.log_weights - log.log_weights.max())
    residual = log.outcome - log.predicted
    off = float(w @ residual / w.sum())
    error, _ = clustered_error(w * (residual - off) / w.mean(), log.clusters)
    p = 2 * float(norm.sf(abs(off / error))) if error > 0 else float(abs(off) < 1e-9)
    verdict = Verdict.WARN if p < 0.01 else Verdict.PASS
    told = f"Weighted to the target's texts, outcomes lie {off:+.3g} from the predictions"
    told += (
        f" (p = {p:.2g}): the direct estimate is off by about that much."
        if verdict is Verdict.WARN
        else ", which chance explains."
    )
    return Finding("EV208", title, verdict, told, {"residual": off, "stderr": error})


def enough_clusters(count: int) -> Finding:
    """EV209: intervals rest on independent clusters, not on rows."""
    few = count < 30
    told = f"{count:,} independent clusters"
    told += " are few: the interval is rough, and covers less often than it says." if few else "."
    return Finding(
        "EV209",
        "Independent clusters",
        Verdict.WARN if few else Verdict.PASS,
        told,
        {"clusters": float(count)},
    )


def model_error() -> Finding:
    """EV210: the direct method cannot tell how wrong its model is."""
    return Finding(
        "EV210",
        "Error of the outcome model",
        Verdict.WARN,
        "The direct estimate has no interval: nothing that it reads tells how wrong the outcome "
        "model is. Give log-probabilities and use 'doubly-robust', whose interval needs no model.",
    )


def _binary(values: Floats) -> bool:
    return bool(np.isin(values, (values.min(), values.max())).all())
