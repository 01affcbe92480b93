"""Weight the rows so that text and confounders are independent: no additivity is needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from causalign.covariates import design
from causalign.deconfound.balancing import Balance, BalancingWeights
from causalign.deconfound.inference import positive_weights
from causalign.deconfound.nuisance import text_features_of
from causalign.errors import SettingsError
from causalign.logs import Logs
from causalign.results import Finding, Verdict
from causalign.stats.folds import group_folds
from causalign.stats.permutation_weights import (
    PermutationWeights,
    effective_size,
    permutation_weights,
    weighted_correlations,
)

__all__ = ["PermutationWeighting"]

ASSUMPTION = (
    "among rows with the same confounders the text was chosen without regard to the outcome, and "
    "every text could have met every value of the confounders"
)
SEPARATED = 0.99
FEW, SPARSE, FEWEST = 0.05, 0.3, 30.0
BALANCED = 0.05
# Weights that leave more than this share of the correlation have not done their work.
REMAINING = 0.8


@dataclass(frozen=True, slots=True)
class PermutationWeighting:
    """Weight row i by ``p(T_i) p(C_i) / p(T_i, C_i)``, from a classifier of shuffled rows.

    Under the weights texts and confounders are independent, each with the distribution it had, so
    that a weighted regression of the outcome on the text estimates ``r(T) = E_C[y(T, C)]`` even
    where the best text depends on C. Assumption: no confounder is missing, and every text could
    have met every value of the confounders (overlap). Nothing is subtracted: the result weights
    logs, and a reward is then fitted with those weights.

    ``classifier``: ``logistic``, ``boosting`` or a scikit-learn classifier, which sees text,
    confounders and their products. ``folds``, ``seed``: the weight of a row comes from a fit on
    other folds, which keep clusters together. ``repetitions`` of the shuffle; ``components``, the
    number of principal components of the text that the classifier sees;
    ``largest``, the cap of weights in units of their mean. Reference: Arbour, Dimmery and Sondhi
    (2021), arXiv:1901.01230.
    """

    classifier: Any = "logistic"
    folds: int = 5
    seed: int = 0
    repetitions: int = 4
    components: int | None = 32
    largest: float = 20.0

    def fit(self, logs: Logs, text_features: np.ndarray | None = None) -> BalancingWeights:
        """Estimate the weights with ``text_features (n, p)``, or the role ``features``.

        Raises `RoleNotDeclared`, `InputError` and `SettingsError`.
        """
        logs.require("confounders")
        if self.folds < 2:
            raise SettingsError(f"folds must be at least 2, not {self.folds!r}.")
        features, _ = text_features_of(logs, text_features, "permutation-weighting")
        columns, names = design(logs.confounders)
        base = positive_weights(logs)
        groups = len(logs) if logs.clusters is None else logs.clusters
        found = permutation_weights(
            features,
            columns,
            folds=group_folds(groups, self.folds, self.seed),
            classifier=self.classifier,
            repetitions=self.repetitions,
            components=self.components,
            largest=self.largest,
            weights=base,
            seed=self.seed,
        )
        total = base * found.weights
        balance = Balance(
            names,
            weighted_correlations(features, columns, base),
            weighted_correlations(features, columns, total),
        )
        size = effective_size(total)
        return BalancingWeights(
            weights=found.weights,
            balance=balance,
            effective_rows=size,
            auc=found.auc,
            clipped=found.clipped,
            assumption=ASSUMPTION,
            findings=(_separated(found), _size(size, len(logs)), _balanced(balance, size, names)),
            settings=self._settings(),
        )

    def _settings(self) -> dict[str, Any]:
        named = isinstance(self.classifier, str)
        return {
            "classifier": self.classifier if named else repr(self.classifier),
            "folds": self.folds,
            "seed": self.seed,
            "repetitions": self.repetitions,
            "components": self.components,
            "largest": self.largest,
        }


def _separated(found: PermutationWeights) -> Finding:
    """Ask whether real rows can be told from shuffled ones without error (DE202)."""
    title = "Real rows look like shuffled ones"
    numbers = {"auc": found.auc, "clipped": found.clipped}
    said = f"A classifier tells real rows from shuffled ones with AUC {found.auc:.3f}"
    if found.auc < SEPARATED:
        return Finding("DE202", title, Verdict.PASS, f"{said} (.5 is independence).", numbers)
    return Finding(
        "DE202",
        title,
        Verdict.FAIL,
        f"{said}: almost every text met only its own values of the confounders, so that no "
        "weights can make them independent. Use coarser text features or confounders, or a "
        "method that extrapolates, such as additive.",
        numbers,
    )


def _size(size: float, rows: int) -> Finding:
    """Count the rows that are left in effect (DE203)."""
    title = "Rows left after weighting"
    numbers = {"effective_rows": size, "share": size / rows}
    said = f"the weighted rows are worth {size:.0f} of {rows}"
    if size / rows >= SPARSE and size >= FEWEST:
        return Finding("DE203", title, Verdict.PASS, f"In precision, {said}.", numbers)
    verdict = Verdict.FAIL if size / rows < FEW or size < FEWEST else Verdict.WARN
    return Finding(
        "DE203",
        title,
        verdict,
        f"In precision, {said}: a few rows with large weights decide. Lower `largest`, use fewer "
        "components or coarser confounders, or collect texts under conditions they rarely met.",
        numbers,
    )


def _balanced(balance: Balance, size: float, names: Sequence[str]) -> Finding:
    """Compare the correlation of text and confounders before and after (DE204)."""
    title = "Balance after weighting"
    worst = int(np.argmax(balance.typical_after))
    before = float(balance.typical_before[worst])
    after, name = float(balance.typical_after[worst]), names[worst]
    # Independent columns still correlate by about one over the root of the rows.
    chance = size**-0.5
    numbers: dict[str, float | str] = {"before": before, "after": after, "by_chance": chance}
    numbers["confounder"] = name
    said = f"the typical correlation of the text with {name} went from {before:.3f} to {after:.3f}"
    if after <= max(BALANCED, 1.5 * chance):
        return Finding("DE204", title, Verdict.PASS, f"At worst, {said}.", numbers)
    return Finding(
        "DE204",
        title,
        Verdict.WARN if after < REMAINING * before else Verdict.FAIL,
        f"At worst, {said}; chance alone would give {chance:.3f}. Text and confounder still travel "
        "together under the weights. Try classifier='boosting', more components or a larger cap.",
        numbers,
    )
