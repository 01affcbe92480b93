"""Take out of outcome, confounders and instruments what the text explains of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from causalign.covariates import LARGEST, design
from causalign.errors import InputError, NotIdentified, RoleNotDeclared, SettingsError
from causalign.logs import Logs
from causalign.results import Finding, Verdict
from causalign.stats.cross_fit import learner_cross_fit, ridge_cross_fit
from causalign.stats.folds import group_folds

__all__ = [
    "Nuisance",
    "PartialledOut",
    "confounder_left",
    "rows_together",
    "text_features_of",
]

LITTLE = 0.05
NOTHING = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class PartialledOut:
    """Hold ``residuals (n, m)``, and ``left (m,)``: their variance over that of the columns."""

    residuals: np.ndarray
    left: np.ndarray


@dataclass(frozen=True, slots=True)
class Nuisance:
    """Predict columns from the text by fits on other folds, and keep what is left of them.

    ``learner``: a scikit-learn regressor, or None for ridge whose penalty each fold chooses among
    the other folds, for each column.
    """

    learner: Any = None
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.learner is not None and not (
            hasattr(self.learner, "fit") and hasattr(self.learner, "predict")
        ):
            raise SettingsError(
                "learner must be None (ridge) or a scikit-learn regressor such as "
                f"RandomForestRegressor(), not {self.learner!r}."
            )
        fewest = 3 if self.learner is None else 2
        if self.folds < fewest:
            raise SettingsError(
                f"folds must be at least {fewest}, not {self.folds!r}: without a learner, ridge "
                "chooses its penalty on further folds."
            )

    def partial_out(self, logs: Logs, features: np.ndarray, columns: np.ndarray) -> PartialledOut:
        """Return ``columns (n, m)`` less their cross-fitted prediction from ``features (n, p)``."""
        member = group_folds(rows_together(logs), self.folds, self.seed)
        if self.learner is None:
            fit = ridge_cross_fit(features, columns, folds=member, weights=logs.weights)
        else:
            fit = learner_cross_fit(
                self.learner, features, columns, folds=member, weights=logs.weights
            )
        residuals = columns - fit.predicted
        w = np.ones(len(logs)) if logs.weights is None else logs.weights
        spread = w @ (columns - w @ columns / w.sum()) ** 2
        remains = w @ residuals**2
        left = np.divide(remains, spread, out=np.zeros_like(remains), where=spread > 0)
        return PartialledOut(residuals, left)

    def settings(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them."""
        learner = "ridge" if self.learner is None else repr(self.learner)
        return {"learner": learner, "folds": self.folds, "seed": self.seed}


def rows_together(logs: Logs) -> np.ndarray:
    """Return ``(n,)`` codes of the rows that folds keep together: clusters, else equal texts."""
    clusters = logs.clusters
    return logs.codes_of(logs.roles.completion) if clusters is None else clusters


def text_features_of(
    logs: Logs, given: np.ndarray | None, method: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the text features ``(n, p)``, given or of the role ``features``, and their names.

    Raises `RoleNotDeclared` when there are neither and `InputError` when they do not fit.
    """
    if given is None:
        if not logs.roles.features:
            raise RoleNotDeclared(
                f"The method {method} compares texts by their features, and these logs declare "
                "none. Name columns in `Roles(features=...)`, or pass text_features, an array "
                "(n, p) such as embeddings of the completions."
            )
        features, names = design([logs.covariate(name) for name in logs.roles.features])
    else:
        features = np.asarray(given, dtype=np.float64)
        if features.ndim != 2 or len(features) != len(logs) or not np.isfinite(features).all():
            raise InputError(
                f"text_features must be finite numbers ({len(logs)}, p), not {features.shape}."
            )
        names = tuple(f"text feature {i}" for i in range(features.shape[1]))
    if features.shape[1] == 0:
        raise InputError("text_features has no columns: texts cannot be told apart by them.")
    if np.abs(features).max() > LARGEST:
        raise InputError(f"text_features holds numbers beyond {LARGEST:g}. Change their units.")
    if (features == features[0]).all():
        raise InputError("Every text feature is constant: texts cannot be told apart by them.")
    return features, names


def confounder_left(left: np.ndarray, names: Sequence[str]) -> Finding:
    """Judge how much of each confounder the text leaves unexplained, ``left (k,)`` (DE201).

    Raises `NotIdentified` when nothing is left: every text then has one value of the confounder.
    """
    title = "What the text leaves of the confounders"
    least = int(np.argmin(left))
    share, name = float(left[least]), names[least]
    if share < NOTHING:
        raise NotIdentified(
            f"The text features determine {name!r}, so that its effect cannot be told from the "
            "text's (DE201). Leave out the feature that copies it, or use instruments."
        )
    numbers: dict[str, float | str] = {"left": share, "confounder": name}
    said = f"the text features leave {min(share, 1.0):.1%} of the variance of {name} unexplained"
    if share >= LITTLE:
        return Finding("DE201", title, Verdict.PASS, f"At the least, {said}.", numbers)
    return Finding(
        "DE201",
        title,
        Verdict.WARN,
        f"Only {share:.1%} of the variance of {name} is left once the text is known. Its effect "
        "rests on that rest, and small errors in predicting it bias the estimate. Use coarser "
        "text features, or instruments.",
        numbers,
    )
