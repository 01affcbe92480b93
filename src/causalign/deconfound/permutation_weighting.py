"""Weight the rows so that text and confounders are independent: no additivity is needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from causalign.checks.check import Check
from causalign.deconfound.balancing import Balance, BalancingWeights
from causalign.deconfound.inference import positive_weights
from causalign.deconfound.method import FittedOnLogs, TextFeatures
from causalign.errors import InputError, SettingsError
from causalign.logs import Logs
from causalign.logs.covariates import design
from causalign.results import Finding, Verdict
from causalign.settings import require_number
from causalign.stats.folds import group_folds
from causalign.stats.permutation_weights import (
    PermutationWeights,
    effective_size,
    permutation_weights,
    weighted_correlations,
)

ASSUMPTION = (
    "among rows with the same confounders the text was chosen without regard to the outcome, and "
    "every text could have met every value of the confounders"
)
SEPARATED = 0.99
FEW, SPARSE, FEWEST = 0.05, 0.3, 30.0
BALANCED = 0.05
# Weights that leave more than this share of the correlation have not done their work.
REMAINING = 0.8
# The most numbers (4 GiB of them) that the classifier is given at once.
MOST_PRODUCTS = 2**29


@dataclass(frozen=True, slots=True)
class PermutationWeighting(FittedOnLogs[BalancingWeights]):
    """Weight row i by ``p(T_i) p(C_i) / p(T_i, C_i)``, from a classifier of shuffled rows.

    Under the weights texts and confounders are independent, each with the distribution it had, so
    that a weighted regression of the outcome on the text estimates ``r(T) = E_C[y(T, C)]`` even
    where the best text depends on C. Assumption: no confounder is missing, and every text could
    have met every value of the confounders (overlap). Nothing is subtracted: the result weights
    logs, and a reward is then fitted with those weights.

    Parameters
    ----------
    classifier : "logistic", "boosting" or classifier of scikit-learn
        It sees text, confounders and their products.
    folds, seed : int
        The weight of a row comes from a fit on other folds, which keep clusters together.
    repetitions : int
        How often the rows are shuffled.
    components : int, optional
        The number of principal components of the text that the classifier sees; None for all.
    largest : float
        The cap of weights in units of their mean.

    References
    ----------
    Arbour, Dimmery and Sondhi (2021), arXiv:1901.01230.
    """

    name: ClassVar[str] = "permutation-weighting"
    reads_text: ClassVar[bool] = True

    classifier: object = "logistic"
    folds: int = 5
    seed: int = 0
    repetitions: int = 4
    components: int | None = 32
    largest: float = 20.0

    def __post_init__(self) -> None:
        require_number("folds", self.folds, least=2, whole=True)
        require_number("seed", self.seed, least=0, whole=True)
        require_number("repetitions", self.repetitions, least=1, whole=True)
        require_number("largest", self.largest, above=1, why="in units of the mean weight")
        if self.components is not None:
            require_number("components", self.components, least=1, whole=True)
        if not (self.classifier in ("logistic", "boosting") or hasattr(self.classifier, "fit")):
            raise SettingsError(
                "classifier must be 'logistic', 'boosting' or a classifier of scikit-learn, not "
                f"{self.classifier!r}."
            )

    def _check_rows(self, logs: Logs) -> None:
        self._cut(logs)

    def _cut(self, logs: Logs) -> np.ndarray:
        groups = len(logs) if logs.clusters is None else logs.clusters
        return group_folds(groups, self.folds, self.seed)

    def _estimate(self, logs: Logs, features: TextFeatures) -> BalancingWeights:
        """Estimate the weights that balance text and confounders."""
        text = features.columns
        width = text.shape[1] if self.components is None else min(text.shape[1], self.components)
        _require_room(logs, width, self.repetitions)
        columns, names = design(logs.confounders)
        base = positive_weights(logs)
        fit = permutation_weights(
            text,
            columns,
            folds=self._cut(logs),
            classifier=self.classifier,
            repetitions=self.repetitions,
            components=self.components,
            largest=self.largest,
            weights=base,
            seed=self.seed,
        )
        total = base * fit.weights
        balance = Balance(
            names,
            weighted_correlations(text, columns, base),
            weighted_correlations(text, columns, total),
        )
        size = effective_size(total)
        return BalancingWeights(
            weights=fit.weights,
            balance=balance,
            effective_rows=size,
            auc=fit.auc,
            clipped=fit.clipped,
            assumption=ASSUMPTION,
            findings=(
                _check_separation(fit),
                _check_size(size, len(logs)),
                _check_balance(balance, size, names),
            ),
            settings=self.settings(),
        )


def _require_room(logs: Logs, text: int, repetitions: int) -> None:
    """Raise `InputError` when products of text and confounders would fill the memory."""
    levels = {c.name: max(len(c.levels) - 1, 1) for c in logs.confounders}
    k = sum(levels.values())
    rows, width = len(logs) * (1 + repetitions), text + 2 * k + text * k
    if rows * width <= MOST_PRODUCTS:
        return
    widest = max(levels, key=lambda name: levels[name])
    raise InputError(
        f"{len(logs):,} rows with {k:,} columns of confounders, of which {levels[widest]:,} are of "
        f"{widest!r}: the classifier compares {rows:,} rows in {width:,} products of text and "
        f"confounders, {8 * rows * width / 2**30:,.0f} GiB. Merge rare levels, use a coarser "
        "column, fewer components or repetitions, or `additive`."
    )


def _check_separation(fit: PermutationWeights) -> Finding:
    """Ask whether real rows can be told from shuffled ones without error (DE202)."""
    check = Check("DE202", "Real rows look like shuffled ones", auc=fit.auc, clipped=fit.clipped)
    described = f"A classifier tells real rows from shuffled ones with AUC {fit.auc:.3f}"
    if fit.auc < SEPARATED:
        return check.passes(f"{described} (.5 is independence).")
    return check.fails(
        f"{described}: almost every text met only its own values of the confounders, so that no "
        "weights can make them independent. Use coarser text features or confounders, or a "
        "method that extrapolates, such as additive."
    )


def _check_size(size: float, rows: int) -> Finding:
    """Count the rows that are left in effect (DE203)."""
    check = Check("DE203", "Rows left after weighting", effective_rows=size, share=size / rows)
    worth = f"the weighted rows are worth {size:.0f} of {rows}"
    if size / rows >= SPARSE and size >= FEWEST:
        return check.passes(f"In precision, {worth}.")
    verdict = Verdict.FAIL if size / rows < FEW or size < FEWEST else Verdict.WARN
    return check.end(
        verdict,
        f"In precision, {worth}: a few rows with large weights decide. Lower `largest`, use fewer "
        "components or coarser confounders, or collect texts under conditions they rarely met.",
    )


def _check_balance(balance: Balance, size: float, names: Sequence[str]) -> Finding:
    """Compare the correlation of text and confounders before and after (DE204)."""
    worst = int(np.argmax(balance.typical_after))
    before = float(balance.typical_before[worst])
    after, name = float(balance.typical_after[worst]), names[worst]
    # Independent columns still correlate by about one over the root of the rows.
    chance = size**-0.5
    numbers = {"before": before, "after": after, "by_chance": chance}
    check = Check("DE204", "Balance after weighting", confounder=name, **numbers)
    change = (
        f"the typical correlation of the text with {name} went from {before:.3f} to {after:.3f}"
    )
    if after <= max(BALANCED, 1.5 * chance):
        return check.passes(f"At worst, {change}.")
    return check.end(
        Verdict.WARN if after < REMAINING * before else Verdict.FAIL,
        f"At worst, {change}; chance alone would give {chance:.3f}. Text and confounder still "
        "travel together under the weights. Try classifier='boosting', more components or a "
        "larger cap.",
    )
