"""Findings on support, outcomes and models, EV204 to EV212: may a value be given?"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from causalign.checks.check import Check
from causalign.checks.weights import SupportLimits, effective_rows, mean_weight, weight_tail
from causalign.evaluate.off_policy_log import OffPolicyLog, PilotTexts
from causalign.results import Finding, Verdict
from causalign.stats.distances import share_near_the_log, share_within_logged_weights
from causalign.stats.importance_weights import (
    WeightDiagnostics,
    at_most,
    typicality_coverage,
)
from causalign.stats.kernel_weights import are_equidistant
from causalign.stats.ratio_of_means import clustered_error

Floats = NDArray[np.float64]
# Where a vector occurs so often on average, texts are compared with themselves.
REPEATED = 2.0


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
    words = f"{share:.0%} of the target's texts lie {where}"
    if low:
        words += (
            f", less than {limits.support:.0%}: what the others earn is nowhere in this log, and "
            "no estimator can tell. Log such texts first, or restrict the target."
        )
    else:
        words += "." if verdict is Verdict.PASS else "; what the others earn is extrapolated."
    numbers = {name.replace(" ", "_"): value for name, value in shares.items()}
    return Finding("EV204", title, verdict, words, numbers)


def typicality(log: OffPolicyLog, limits: SupportLimits) -> Finding:
    """EV205: the share of logged texts that the target would typically write."""
    title, samples = "Typicality of the log", log.samples
    if samples is None or samples.target_logprob is None or log.target_logprob is None:
        words = "Needs log-probabilities of texts sampled from the target."
        return Finding("EV205", title, Verdict.NOT_APPLICABLE, words)
    share = typicality_coverage(log.target_logprob, samples.target_logprob)
    rows = share * len(log)
    few = rows < limits.typical_rows
    verdict = Verdict.FAIL if few else Verdict.WARN if share < 0.7 else Verdict.PASS
    words = f"{share:.1%} of logged texts ({rows:,.0f}) are such as the target typically writes"
    if few:
        words += ": too few to learn from what it earns. Log texts closer to the target's."
    else:
        words += "." if verdict is Verdict.PASS else "; the rest of the log hardly counts."
    return Finding("EV205", title, verdict, words, {"share": share, "rows": rows})


def mass_cut(
    log: OffPolicyLog, weights: Floats, largest: float, limits: SupportLimits, *, model: bool
) -> Finding:
    """EV206: the share of the target's mass on which clipping, or a model, replaced the weights.

    ``weights (n,)`` are those that were left; their mean falls short of 1 by that share.
    """
    title = "Weight left to the model" if model else "Weight cut away"
    lost = 1.0 - float(weights.mean())
    error, _ = clustered_error(weights - weights.mean(), log.clusters)
    by_chance = lost < 3 * error
    numbers = {"share": lost, "stderr": error, "largest": largest}
    if lost < -limits.mean_weight and lost < -3 * error:
        words = (
            f"The weights average {1.0 - lost:.3g} even after clipping, and no clipped weights can "
            "average more than 1: the recorded probabilities are not those that wrote the log."
        )
        return Finding("EV206", title, Verdict.FAIL, words, numbers)
    if at_most(log.log_weights, largest).all() and (by_chance or lost <= limits.cut):
        words = f"No logged weight is above {largest:.3g}."
        return Finding("EV206", title, Verdict.PASS, words, numbers)
    much = lost > limits.cut and not (model or by_chance)
    some = lost > limits.cut / 2 and not by_chance
    verdict = Verdict.FAIL if much else Verdict.WARN if some else Verdict.PASS
    words = f"Weights above {largest:.3g}, or texts never logged, carry {lost:.1%} of the target"
    if model:
        words += "; there the estimate is the outcome model's alone."
    elif much:
        words += (
            f", more than {limits.cut:.0%}: the estimate is that of another policy. Raise the "
            "bound, or give outcome_range for bounds that count what was cut."
        )
    else:
        words += ", which is cut away; the estimate leans by at most that share of the range."
    return Finding("EV206", title, verdict, words, numbers)


def likeness(vectors: Floats, often: float) -> Finding:
    """EV211: do the vectors say which texts are alike, or does each occur ``often``?"""
    check = Check("EV211", "Vectors that compare texts", copies=often)
    if often >= REPEATED:
        return check.passes(f"Each vector was logged {often:,.1f} times on average.")
    if not are_equidistant(vectors):
        return check.passes("Some texts are nearer to each other than others.")
    return check.fails(
        "All different texts are equally far apart: their vectors name them and do not say which "
        f"are alike, and each was logged {often:.1f} times. Give vectors of an encoder, or log the "
        "same texts more often."
    )


def outcome_varies(outcome: Floats) -> Finding:
    """EV207: outcomes that are all the same carry no uncertainty, and no information."""
    title, first = "Outcomes vary", float(outcome[0])
    if np.ptp(outcome) == 0:
        words = (
            f"Every outcome is {first:g}. Every policy would seem to earn just that, with standard "
            "error 0, because the log shows nothing else. Log until outcomes differ."
        )
        return Finding("EV207", title, Verdict.FAIL, words, {"value": first})
    rare = min(np.unique(outcome, return_counts=True)[1]) if _binary(outcome) else None
    if rare is not None and rare < 20:
        words = f"The rarer of two outcomes occurs {rare} times; intervals are rough."
        return Finding("EV207", title, Verdict.WARN, words, {"rarer": float(rare)})
    return Finding("EV207", title, Verdict.PASS, "The outcome takes more than one value.")


def outcome_model(log: OffPolicyLog, weights: WeightDiagnostics | None) -> Finding:
    """EV208: is the outcome model right, on average, about texts that the target would write?

    A pilot shows it; without one, logged texts that are weighed to the target's.
    """
    title, pilot = "Outcome model", log.pilot
    if pilot is not None and pilot.predicted is not None:
        where, residual = "In the pilot", pilot.outcome - pilot.predicted
        off = float(residual.mean())
        error, _ = clustered_error(residual - off, pilot.clusters)
    elif weights is not None and log.predicted is not None and weights.pareto_shape <= 0.7:
        where, residual = "Weighted to the target's texts", log.outcome - log.predicted
        w = np.exp(log.log_weights - log.log_weights.max())
        off = float(w @ residual / w.sum())
        error, _ = clustered_error(w * (residual - off) / w.mean(), log.clusters)
    else:
        words = "Needs a pilot, or predictions for logged texts and weights that can be averaged."
        return Finding("EV208", title, Verdict.NOT_APPLICABLE, words)
    p = 2 * float(norm.sf(abs(off / error))) if error > 0 else float(abs(off) < 1e-9)
    verdict = Verdict.WARN if p < 0.01 else Verdict.PASS
    words = f"{where}, outcomes lie {off:+.3g} from the predictions"
    words += (
        f" (p = {p:.2g}): the direct estimate is off by about that much."
        if verdict is Verdict.WARN
        else ", which chance explains."
    )
    return Finding("EV208", title, verdict, words, {"residual": off, "stderr": error})


def shared_findings(log: OffPolicyLog, limits: SupportLimits) -> tuple[Finding, ...]:
    """Return the findings that matter to every estimator: support, outcomes, clusters."""
    _, clusters = clustered_error(np.zeros(len(log)), log.clusters)
    return support(log, limits), outcome_varies(log.outcome), enough_clusters(clusters)


def weight_findings(
    log: OffPolicyLog, weights: WeightDiagnostics, limits: SupportLimits
) -> tuple[Finding, ...]:
    """Return every finding that an average with unclipped weights has to pass."""
    return (
        effective_rows(weights, limits),
        weight_tail(weights, limits),
        mean_weight(weights, limits),
        typicality(log, limits),
        *shared_findings(log, limits),
    )


def enough_clusters(count: int) -> Finding:
    """EV209: intervals rest on independent clusters, not on rows."""
    few = count < 30
    words = f"{count:,} independent clusters"
    words += " are few: the interval is rough, and covers less often than it says." if few else "."
    return Finding(
        "EV209",
        "Independent clusters",
        Verdict.WARN if few else Verdict.PASS,
        words,
        {"clusters": float(count)},
    )


def model_error(coefficients: float | None = None, bias: float = 0.0) -> Finding:
    """EV210: does the interval of the direct method count how wrong its model may be?

    ``coefficients`` is the standard error that those of the model add, None where it tells none;
    ``bias`` the standard deviation of what is wrong beside them, as the user says.
    """
    check = Check("EV210", "Error of the outcome model", bias=bias)
    if coefficients is None:
        return check.warns(
            "There is no interval: nothing that was given tells how wrong the outcome model is. "
            "Give a linear reward as outcome_model, which tells how uncertain its coefficients "
            "are; or a pilot, texts of the target whose outcome was measured; or log-probabilities "
            "and use 'doubly-robust'."
        )
    check.numbers["coefficients"] = coefficients
    words = f"The interval counts an error of {coefficients:.3g} of the reward's coefficients"
    if bias > 0:
        return check.passes(f"{words}, and a bias of {bias:.3g} beside it, as was asked for.")
    return check.warns(
        f"{words}. It holds if the reward is right: what its features miss, or what is still "
        "confounded, is not counted. Give its size as bias, or a pilot, texts of the target whose "
        "outcome was measured."
    )


def pilot_size(pilot: PilotTexts, tuning: float, narrower: float) -> Finding:
    """EV212: how many independent texts a pilot has, and what predictions add to it.

    ``tuning`` is the weight λ of the predictions, ``narrower`` by what share they shorten the
    interval.
    """
    _, clusters = clustered_error(pilot.outcome, pilot.clusters)
    check = Check(
        "EV212", "Size of the pilot", clusters=float(clusters), tuning=tuning, narrower=narrower
    )
    words = f"{clusters:,} independent texts, or clusters of texts, were measured"
    if clusters < 30:
        return check.warns(
            f"{words}: few, so that the interval is rough and covers less often than it says. "
            "Measure at least 30."
        )
    if tuning == 0:
        return check.passes(f"{words}, and no prediction of texts of the target adds to them.")
    return check.passes(
        f"{words}; predictions count with weight {tuning:.2f} and narrow the interval by "
        f"{narrower:.0%}."
    )


def _binary(values: Floats) -> bool:
    return bool(np.isin(values, (values.min(), values.max())).all())
