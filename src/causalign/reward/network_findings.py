"""The findings of networks, RM105 and RM106; each has a page in ``checks/pages``."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from causalign.results import Finding, Verdict
from causalign.reward.examples import Examples

__all__ = ["best_epoch_inside", "both_kinds_of_labels"]


def both_kinds_of_labels(examples: Examples, rows: NDArray[np.int64]) -> Finding:
    """Warn if an objective has labels of one kind only in the rows that teach (RM105)."""
    title = "Every objective has labels of both kinds"
    taught = rows[examples.weight[rows] > 0]
    share = {
        name: float(examples.target[taught[examples.objective[taught] == code]].mean())
        for code, name in enumerate(examples.objectives)
        if examples.objective is not None
    }
    single = [name for name, mean in share.items() if mean in (0.0, 1.0)]
    numbers = {f"share.{name}": mean for name, mean in share.items()}
    if not single:
        explanation = "Under every objective some examples have the label and some do not."
        return Finding("RM105", title, Verdict.PASS, explanation, numbers)
    explanation = (
        f"Under {', '.join(map(repr, single))} every example has the same label, so the head of "
        "that objective learns a constant that grows without limit. Add examples of the other "
        "label, or leave the objective out."
    )
    return Finding("RM105", title, Verdict.WARN, explanation, numbers)


def best_epoch_inside(best_epoch: int, validation: Sequence[float]) -> Finding:
    """Warn if the best of several epochs was the last one (RM106)."""
    title = "Best epoch before the last"
    numbers = {"best_epoch": float(best_epoch), "epochs": float(len(validation))}
    if len(validation) < 2:
        explanation = "There was no choice between epochs: no rows judged them, or one was trained."
        return Finding("RM106", title, Verdict.NOT_APPLICABLE, explanation, numbers)
    if best_epoch < len(validation):
        explanation = f"Epoch {best_epoch} of {len(validation)} validated best."
        return Finding("RM106", title, Verdict.PASS, explanation, numbers)
    explanation = (
        f"The last of {len(validation)} epochs validated best; training may have ended before the "
        "reward was learned. Train for more epochs."
    )
    return Finding("RM106", title, Verdict.WARN, explanation, numbers)
