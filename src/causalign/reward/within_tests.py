"""Fit a reward to experiments by ridge regression on all arms, within tests."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.linalg import block_diag

from causalign.checks.experiments import check_sizes_of_logs
from causalign.logs import Logs
from causalign.logs.arms import Arms, read_arms
from causalign.reward.estimates import LinearHeadFit
from causalign.reward.examples import EVENT_ODDS
from causalign.reward.findings import no_signal, penalty_at_edge
from causalign.reward.from_logs import Vectors
from causalign.reward.heads import LinearHead
from causalign.reward.vector_method import LinearMethod
from causalign.stats.folds import group_folds
from causalign.stats.penalised_covariance import (
    implied_prior_variance,
    penalised_factor,
    score_covariance,
    with_level,
)
from causalign.stats.ridge_path import row_space
from causalign.stats.support import measure_support
from causalign.stats.within_groups import (
    Deviations,
    WithinPath,
    deviate_arms,
    penalties_for,
    within_path,
)

Array = NDArray[np.float64]

_ASSUMPTION = (
    "Texts were randomised within each test, and what a text does beside its test's level is "
    "linear in the features."
)
UNITS = "units of the outcome"


@dataclass(frozen=True, slots=True)
class WithinTests(LinearMethod):
    """Fit ``z_ti = α_t + x_ti'b + e_ti`` on every arm of every test, with penalty ``λ‖b‖²``.

    z is the log-odds of an arm where trials are declared, else its mean; α_t, the level of the
    test, is absorbed, so that nothing that moves a whole test can be taken for a text's effect.
    Arms weigh ``1/(v + τ²)``, v their sampling variance and τ² that of arms about the texts'
    effect, by restricted maximum likelihood. Unlike comparisons that must be significant, no arm
    is thrown away, and none enters for being lucky. λ has the least error in unseen tests; tests
    that share a text are unseen together.

    Assumption: texts were randomised within the role ``group``, beside the same other parts of the
    package where categories among ``confounders`` name some.

    Parameters
    ----------
    penalties : sequence of floats, optional
        The λ to try; 33 that are scaled to the data, unless given.
    folds : int
        Of tests.
    choose : {"minimum", "one-standard-error"}
    seed : int
        Of the cut into folds.

    Raises
    ------
    SettingsError
        For settings out of range.

    References
    ----------
    Kallus, Puli and Shalit (2018), arXiv 1810.11646, for experiments beside a log.
    """

    choose: Literal["minimum", "one-standard-error"] = "minimum"

    name: ClassVar[str] = "within-tests"

    @property
    def compares(self) -> bool:
        """Whether it learns from what competed, rather than from outcomes: always."""
        return True

    def _fit_logs(self, logs: Logs, vectors: Vectors) -> LinearHeadFit:
        arms = read_arms(logs, f"The method {self.name!r}")
        fit = self.fit_arms(arms, vectors)
        return replace(fit, findings=(*fit.findings, check_sizes_of_logs(logs)))

    def fit_arms(self, arms: Arms, vectors: Vectors) -> LinearHeadFit:
        """Fit on arms and the vectors ``(n, d)`` of the rows of their logs.

        Parameters
        ----------
        arms : Arms
        vectors : (n, d) array
        """
        tests, between = deviate_arms(
            vectors[arms.rows], arms.outcome, arms.variance, arms.test, known=arms.known
        )
        penalties = penalties_for(self.penalties, tests)
        folds = group_folds(arms.story, min(self.folds, int(arms.story.max()) + 1), self.seed)
        path = within_path(tests, folds, penalties)
        error, spread = path.error[0], path.fold_spread(folds, tests.group)[0]
        best = int(error.argmin())
        near = np.flatnonzero(error <= error[best] + spread[best])
        index = best if self.choose == "minimum" else int(near.max())
        coefficients = path.coefficients[0, index]
        level = arms.outcome - np.asarray(vectors[arms.rows], dtype=np.float64) @ coefficients
        unseen = held_out(path, tests, folds, 0, index)
        head = LinearHead(
            coefficients,
            float(np.average(level, weights=tests.weights)),
            _factor(arms, vectors, tests, coefficients, level, unseen, penalties[[index, best]]),
            measure_support(vectors[arms.rows], float(penalties[index]), tests.weights),
        )
        chosen = np.arange(len(penalties)) == index
        names = ("penalty", "cv_error", "cv_standard_error", "chosen")
        table = pa.table(dict(zip(names, (penalties, error, spread, chosen), strict=True)))
        return LinearHeadFit(
            method=self.name,
            head=head,
            penalty=float(penalties[index]),
            path=table,
            error_name="squared error within tests",
            units=EVENT_ODDS if arms.in_odds else UNITS,
            assumption=_ASSUMPTION,
            out_of_fold=unseen,
            numbers={
                "arms": float(len(arms.rows)),
                "tests": float(arms.test.max() + 1),
                "stories": float(arms.story.max() + 1),
                "features": float(len(coefficients)),
                "penalty": float(penalties[index]),
                "best_penalty": float(penalties[best]),
                "cv_error": float(error[index]),
                "cv_r2": 1 - float(error[index]),
                "cv_correlation": float(path.correlation[0, index]),
                "between_variance": between,
            },
            findings=(
                penalty_at_edge(penalties, best),
                no_signal(1 - float(error[best]), "the share of variance within tests explained"),
            ),
        )


def _factor(
    arms: Arms,
    vectors: Vectors,
    tests: Deviations,
    coefficients: Array,
    level: Array,
    unseen: Array,
    penalties: Array,
) -> NDArray[np.float32]:
    """Return ``(L, δ)`` ``(d + 1, d + 2)`` at the first penalty, of which the second predicts best.

    Stories are independent, and levels of slopes within tests.
    """
    root, basis = np.sqrt(tests.weights), row_space(tests.features)
    Z = tests.features if basis is None else tests.features @ basis
    off = root * (level - np.average(level, weights=tests.weights))
    gram = Z.T @ Z
    meat = score_covariance(Z, tests.outcome - root * unseen, arms.story)
    prior = implied_prior_variance(gram, meat, float(penalties[1]))
    inner = penalised_factor(
        block_diag(tests.weights.sum(), gram),
        block_diag(score_covariance(root[:, None], off, arms.story), meat),
        np.r_[0.0, np.full(len(gram), penalties[0])],
        prior,
        np.r_[0.0, coefficients if basis is None else coefficients @ basis],
    )
    centre = np.average(vectors[arms.rows], axis=0, weights=tests.weights)
    return with_level(inner, centre, basis, prior).astype(np.float32)


def held_out(
    path: WithinPath, tests: Deviations, folds: np.ndarray, share: int, penalty: int
) -> np.ndarray:
    """Return for each arm the deviation from its test that a fit without the test predicts."""
    predicted = np.empty(len(folds))
    for place, fold in enumerate(np.unique(folds)):
        rows = folds == fold
        predicted[rows] = tests.features[rows] @ path.fold_coefficients[place, share, penalty]
    return predicted / np.sqrt(tests.weights)
