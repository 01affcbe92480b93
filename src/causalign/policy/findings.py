"""The findings of policies, PO101 to PO109; each has a page in ``checks/pages``."""

import numpy as np
from numpy.typing import NDArray

from causalign.results import Finding, Verdict
from causalign.stats.importance_weights import WeightDiagnostics, pareto_threshold

__all__ = [
    "clipped_weights",
    "cut_texts",
    "effective_rows",
    "mean_weight",
    "same_model",
    "sampled_texts",
    "stopped",
    "tail_of_weights",
    "typical_texts",
]


def effective_rows(found: WeightDiagnostics, stop_below: float) -> Finding:
    """Say how many rows the weights are worth (PO101)."""
    title = "Effective sample size"
    size, rows = found.effective_sample_size, found.rows
    numbers = {"effective_rows": size, "rows": float(rows), "largest_share": found.largest_share}
    said = f"The {rows:,} weighted rows are worth {size:.1f} equally weighted ones"
    if size < stop_below:
        advice = (
            "the objective follows a handful of texts. Start from a policy that was fine-tuned on "
            "the logged texts, move less far from it (kl), or weigh by level='length'."
        )
        return Finding("PO101", title, Verdict.FAIL, f"{said}: {advice}", numbers)
    if size < 0.1 * rows:
        advice = "less than a tenth. Expect noise; log more texts like those the policy writes."
        return Finding("PO101", title, Verdict.WARN, f"{said}, {advice}", numbers)
    return Finding("PO101", title, Verdict.PASS, f"{said}.", numbers)


def tail_of_weights(found: WeightDiagnostics) -> Finding:
    """Say whether the largest weights let a mean converge (PO102)."""
    title = "Tail of the weights"
    k, limit = found.pareto_shape, pareto_threshold(found.rows)
    numbers = {"pareto_k": k, "threshold": limit}
    if np.isnan(k):
        explanation = f"With {found.rows} rows the tail cannot be judged; 25 are needed."
        return Finding("PO102", title, Verdict.NOT_APPLICABLE, explanation, numbers)
    if k > limit:
        explanation = (
            f"The Pareto shape of the largest weights is {k:.2f}, above {limit:.2f}: their mean "
            "does not settle at this number of rows. Do not read the value as an estimate."
        )
        return Finding("PO102", title, Verdict.FAIL, explanation, numbers)
    explanation = f"The Pareto shape of the largest weights is {k:.2f}, not above {limit:.2f}."
    return Finding("PO102", title, Verdict.PASS, explanation, numbers)


def clipped_weights(share: float, clip: float | None) -> Finding:
    """Say how many weights were clipped (PO103)."""
    title = "Clipped weights"
    if clip is None:
        explanation = "No clipping was asked for."
        return Finding("PO103", title, Verdict.NOT_APPLICABLE, explanation)
    numbers = {"clipped_share": share, "clip": clip}
    explanation = f"{share:.1%} of the weights exceeded {clip:g} and were clipped to it."
    if share <= 0.05:
        return Finding("PO103", title, Verdict.PASS, explanation, numbers)
    explanation += " So large a share biases the value; clip higher, or move the policy less far."
    return Finding("PO103", title, Verdict.WARN, explanation, numbers)


def typical_texts(coverage: float | None, level: float = 0.9) -> Finding:
    """Say whether the logged texts are such as the policy writes (PO104)."""
    title = "Logged texts typical for the policy"
    if coverage is None:
        explanation = "The policy wrote no texts to compare with."
        return Finding("PO104", title, Verdict.NOT_APPLICABLE, explanation)
    numbers = {"coverage": coverage, "level": level}
    said = (
        f"{coverage:.0%} of the logged texts are as likely under the policy as {level:.0%} of its "
        "own"
    )
    if coverage >= 0.7:
        return Finding("PO104", title, Verdict.PASS, f"{said}.", numbers)
    verdict = Verdict.FAIL if coverage < 0.2 else Verdict.WARN
    explanation = (
        f"{said}. The policy mostly writes what the log does not hold, and no weight can tell what "
        "such texts cause. Fine-tune on the logged texts first, or log texts from the policy."
    )
    return Finding("PO104", title, verdict, explanation, numbers)


def cut_texts(cut: NDArray[np.bool_], max_length: int) -> Finding:
    """Say how many completions were longer than the window (PO105)."""
    title = "Completions read whole"
    count, total = int(cut.sum()), len(cut)
    numbers = {"cut": float(count), "completions": float(total), "max_length": float(max_length)}
    if count == 0:
        explanation = f"All {total:,} completions fit into {max_length} tokens with their prompts."
        return Finding("PO105", title, Verdict.PASS, explanation, numbers)
    explanation = (
        f"{count:,} of {total:,} completions lost their end at {max_length} tokens; the policy "
        "learns their beginnings, and their weights are too large. Raise max_length or drop them."
    )
    verdict = Verdict.FAIL if count > 0.5 * total else Verdict.WARN
    return Finding("PO105", title, verdict, explanation, numbers)


def mean_weight(found: WeightDiagnostics, *, normalised: bool) -> Finding:
    """Say whether the weights of the starting policy average to one (PO106)."""
    title = "Mean weight"
    reach = 4 * found.mean_error
    numbers = {"mean": found.mean, "standard_error": found.mean_error}
    if 0.5 - reach <= found.mean <= 2 + reach and found.mean_error < 0.5:
        explanation = f"At the start the weights average {found.mean:.3g}; they should average 1."
        return Finding("PO106", title, Verdict.PASS, explanation, numbers)
    explanation = (
        f"At the start the weights average {found.mean:.3g} (standard error "
        f"{found.mean_error:.2g}) where right propensities give 1. Either the propensities are on "
        "another scale, or the policy writes other texts than those that were logged."
    )
    if normalised:
        explanation += (
            " Self-normalised weights do not depend on the scale: what is tuned is the choice "
            "among the logged texts."
        )
    return Finding(
        "PO106", title, Verdict.WARN if normalised else Verdict.FAIL, explanation, numbers
    )


def same_model(propensity_is_reference: bool) -> Finding:
    """Say when the logging policy is taken to be the model that is tuned (PO107)."""
    title = "Logging policy"
    if not propensity_is_reference:
        explanation = "The logging propensities do not come from the model that is tuned."
        return Finding("PO107", title, Verdict.PASS, explanation)
    explanation = (
        "The logging policy is taken to be the starting model itself, so every weight starts at "
        "one and nothing can contradict it. It holds only if that very model wrote the logged "
        "texts, at temperature 1."
    )
    return Finding("PO107", title, Verdict.WARN, explanation)


def stopped(reason: str | None, step: int, steps: int) -> Finding:
    """Say whether training ran to its end (PO108)."""
    title = "Training ran to its end"
    numbers = {"kept_step": float(step), "steps": float(steps)}
    if reason is None:
        return Finding("PO108", title, Verdict.PASS, f"All {steps} steps were made.", numbers)
    explanation = (
        f"Training stopped by itself: {reason}. The model of step {step} of {steps} was kept"
        + (", which is the untouched starting model." if step == 0 else ".")
    )
    return Finding("PO108", title, Verdict.FAIL, explanation, numbers)


def sampled_texts(empty: int, cut: int, total: int) -> Finding:
    """Say how many of the texts that the policy wrote are empty or did not end (PO109)."""
    title = "Sampled texts are texts"
    numbers = {"empty": float(empty), "cut": float(cut), "texts": float(total)}
    if total == 0:
        explanation = "The policy wrote no texts."
        return Finding("PO109", title, Verdict.NOT_APPLICABLE, explanation, numbers)
    explanation = (
        f"Of {total:,} texts that the policy wrote, {empty:,} are empty and {cut:,} did not end "
        "within max_new_tokens."
    )
    if empty + cut <= 0.1 * total:
        return Finding("PO109", title, Verdict.PASS, explanation, numbers)
    explanation += (
        " The outcome model was never fitted to such texts. Raise max_new_tokens, or fine-tune "
        "on the logged texts first."
    )
    return Finding("PO109", title, Verdict.WARN, explanation, numbers)
