"""The findings of reward models, RM101 to RM104 and RM107; each has a page in ``checks/pages``."""

import numpy as np
from numpy.typing import NDArray

from causalign.errors import SettingsError
from causalign.lm.embed import Embeddings
from causalign.results import Finding, Verdict

__all__ = [
    "check_chooser",
    "dropped_pairs",
    "no_signal",
    "penalty_at_edge",
    "texts_read_whole",
    "truncated_texts",
    "tuning_helped",
]


def check_chooser(choose: str) -> None:
    """Raise ``SettingsError`` unless ``choose`` is one of the two rules for the penalty."""
    if choose not in ("minimum", "one-standard-error"):
        raise SettingsError(f"choose must be 'minimum' or 'one-standard-error'; found {choose!r}.")


def penalty_at_edge(penalties: NDArray[np.float64], best: int) -> Finding:
    """Warn if the smallest cross-validated error lies at an end of the grid (RM101)."""
    title = "Penalty inside its grid"
    numbers = {
        "penalty": float(penalties[best]),
        "smallest": float(penalties[0]),
        "largest": float(penalties[-1]),
    }
    if len(penalties) == 1:
        explanation = "One penalty was given, so none was chosen."
        return Finding("RM101", title, Verdict.NOT_APPLICABLE, explanation, numbers)
    if 0 < best < len(penalties) - 1:
        explanation = f"The best penalty, {penalties[best]:.4g}, lies inside the grid."
        return Finding("RM101", title, Verdict.PASS, explanation, numbers)
    side = "smallest" if best == 0 else "largest"
    advice = (
        "Add smaller penalties, or use features that say more about the text."
        if best == 0
        else "Add larger penalties; if the edge stays best, the features hardly predict."
    )
    explanation = f"The best penalty is the {side} of the grid, {penalties[best]:.4g}. {advice}"
    return Finding("RM101", title, Verdict.WARN, explanation, numbers)


def truncated_texts(embeddings: Embeddings) -> Finding:
    """Warn if the encoder did not read some texts to their end (RM102)."""
    return texts_read_whole(embeddings.truncated, len(embeddings.vectors))


def texts_read_whole(truncated: int, total: int) -> Finding:
    """Warn if ``truncated`` of ``total`` texts were not read to their end (RM102)."""
    numbers = {"truncated": float(truncated), "texts": float(total)}
    if truncated == 0:
        explanation = f"The encoder read all {total:,} texts to their end."
        return Finding("RM102", "Texts read whole", Verdict.PASS, explanation, numbers)
    explanation = (
        f"The encoder did not read the end of {truncated:,} of {total:,} texts; what "
        "stands there cannot move the reward. Use shorter texts or an encoder that reads more."
    )
    return Finding("RM102", "Texts read whole", Verdict.WARN, explanation, numbers)


def no_signal(cv_r2: float, measure: str) -> Finding:
    """Fail if unseen rows are predicted no better than without features (RM103)."""
    title = "Reward predicts unseen data"
    numbers = {"cv_r2": cv_r2}
    if cv_r2 > 0:
        explanation = f"In rows that the fit did not see, {measure} is {cv_r2:.4f}."
        return Finding("RM103", title, Verdict.PASS, explanation, numbers)
    explanation = (
        f"In rows that the fit did not see, {measure} is {cv_r2:.4f}: no better than ignoring the "
        "text. Do not tune on this reward; collect more rows, or use other features."
    )
    return Finding("RM103", title, Verdict.FAIL, explanation, numbers)


def dropped_pairs(dropped: int, total: int) -> Finding:
    """Say how many pairs had two identical sides and were dropped (RM104)."""
    title = "Sides of pairs differ"
    numbers = {"dropped": float(dropped), "pairs": float(total)}
    if dropped == 0:
        explanation = f"Both sides differ in all {total:,} pairs."
        return Finding("RM104", title, Verdict.PASS, explanation, numbers)
    explanation = (
        f"{dropped:,} of {total:,} pairs have identical sides and were dropped: no reward can tell "
        "them apart. Check how the pairs were made, and whether texts were truncated."
    )
    return Finding("RM104", title, Verdict.WARN, explanation, numbers)


def tuning_helped(kept: int, steps: int, before: float, after: float) -> Finding:
    """Warn if no step of tuning beat the untouched model in unseen rows (RM107)."""
    title = "Tuning beats the untouched model"
    numbers = {"kept_step": float(kept), "steps": float(steps), "before": before, "after": after}
    if kept == 0:
        explanation = (
            f"None of {steps} steps predicted unseen rows better than the untouched model with a "
            f"linear head ({before:.4f} of the loss explained), which was kept. Use RidgeReward or "
            "PairwiseReward on its vectors, or tune on more rows or with a smaller learning rate."
        )
        return Finding("RM107", title, Verdict.WARN, explanation, numbers)
    explanation = (
        f"In unseen rows the explained share of the loss went from {before:.4f} to {after:.4f}, at "
        f"step {kept} of {steps}."
    )
    if kept == steps:
        explanation += " The last step was the best: more steps may help."
    return Finding("RM107", title, Verdict.PASS, explanation, numbers)
