"""Could a text have met other conditions than its own? Overlap from cross-fitted scores."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from causalign.errors import InputError

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

# A condition is out of a text's reach when it is this much rarer there than among all texts.
FLOOR = 0.05
ENOUGH_GROUPS = 20
STEPS = 50
# Slopes are held back by so little that only perfect separation notices: it keeps them finite.
HOLD = 1e-4


@dataclass(frozen=True, slots=True)
class Overlap:
    """Hold how far texts and a condition can be told apart.

    ``missing`` is the share of comparisons without a counterpart: of a text and a condition that
    it did not have, drawn by the frequency of both, those where texts like it hardly ever had that
    condition. ``left`` is the share of the condition's variance that the text does not explain.
    """

    missing: float
    left: float


def calibrated(scores: Floats, member: Codes) -> Floats:
    """Turn scores ``(n, k)`` of k conditions into probabilities ``(n, k)`` that sum to one.

    For each condition a logistic regression of ``member == k`` on its score (Platt 2000), then
    divided by the sum. ``member`` ``(n,)`` are codes 0 ... k − 1.

    Assumption: the scores of a row come from fits that did not see it.
    """
    probability = np.empty(scores.shape)
    for k in range(scores.shape[1]):
        probability[:, k] = _logistic(scores[:, k], member == k)
    probability /= probability.sum(axis=1, keepdims=True)
    return probability


def condition_overlap(scores: Floats, member: Codes, groups: Codes) -> Overlap | None:
    """Return the overlap of a condition in k classes from cross-fitted scores ``(n, k)``.

    ``member`` ``(n,)`` are codes 0 ... k − 1, each of which occurs. Only conditions seen in 20 of
    the ``groups`` ``(n,)`` that folds keep together are compared: scores of one that stands in a
    single group come from fits that never saw it. None where there are not two.

    Assumption: the probability of a condition is a monotone function of its score. Where it is
    not, overlap looks better than it is. Raises `InputError` for shapes that do not fit.
    """
    count = scores.shape[1]
    share = np.bincount(member, minlength=count) / len(member)
    if scores.shape != (len(member), len(share)) or count < 2 or (share == 0).any():
        raise InputError("Scores must be (n, k) of k conditions that occur, at least two.")
    seen = np.unique(np.column_stack([member, groups]), axis=0)[:, 0]
    common = np.bincount(seen, minlength=count) >= ENOUGH_GROUPS
    if common.sum() < 2:
        return None
    probability = calibrated(scores, member)
    weight = share * common
    missing, error = np.zeros(len(member)), 0.0
    for k in np.flatnonzero(common):
        own, p = member == k, probability[:, k]
        missing += weight[k] * ((p < FLOOR * share[k]) & ~own)
        error += float(np.mean((own - p) ** 2))
    left = error / float((share * (1.0 - share)) @ common)
    other = weight.sum() - weight[member]
    return Overlap(float((missing / other).mean()), min(left, 1.0))


def number_overlap(
    predicted: Floats, values: Floats, scores: Floats, classes: Codes, groups: Codes
) -> Overlap | None:
    """Return the overlap of a number: ``missing`` by its ``classes``, ``left`` by itself.

    ``predicted`` and ``values`` ``(n,)``; ``scores`` ``(n, k)`` are those of the classes into
    which the number was cut. Assumption and errors are those of :func:`condition_overlap`.
    """
    cut = condition_overlap(scores, classes, groups)
    left = float(np.mean((values - predicted) ** 2) / np.var(values))
    return None if cut is None else Overlap(cut.missing, min(left, 1.0))


def _logistic(score: Floats, label: NDArray[np.bool_]) -> Floats:
    """Fit P(label) = expit(a + b s) by Newton's method, s in standard deviations; return it."""
    spread = score.std()
    s = (score - score.mean()) / spread if spread > 0 else np.zeros_like(score)
    share = label.mean()
    a, b = float(np.log(share / (1 - share))), 0.0
    for _ in range(STEPS):
        p = expit(a + b * s)
        w = p * (1.0 - p)
        gap = label - p
        step_a, step_b = _step(float(gap.sum()), float(gap @ s) - HOLD * b, w, s)
        # Halved where the score separates well: a full step would overshoot.
        size = max(abs(step_a), abs(step_b), 1.0)
        a, b = a + step_a / size, b + step_b / size
        if max(abs(step_a), abs(step_b)) < 1e-8:
            break
    return np.asarray(np.clip(expit(a + b * s), 1e-12, 1.0 - 1e-12))


def _step(of_a: float, of_b: float, w: Floats, s: Floats) -> tuple[float, float]:
    """Solve the two equations of a Newton step."""
    ws = w * s
    aa, ab, bb = float(w.sum()) + HOLD, float(ws.sum()), float(ws @ s) + HOLD
    determinant = aa * bb - ab * ab
    return (bb * of_a - ab * of_b) / determinant, (aa * of_b - ab * of_a) / determinant
