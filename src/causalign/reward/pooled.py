"""Fit one reward to a log and to the few experiments that a firm has."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from causalign.checks.experiments import check_sizes_of_logs
from causalign.errors import InputError
from causalign.lm.embedded_logs import embed_texts
from causalign.lm.encoder import Encoder
from causalign.lm.encoders import load_encoder
from causalign.logs import Logs, LogScan, require_memory
from causalign.logs.arms import Arms, SharedRows, match_log, read_arms
from causalign.logs.stories import rows_together
from causalign.reward.estimates import LinearHeadFit
from causalign.reward.examples import EVENT_ODDS
from causalign.reward.findings import (
    log_agrees,
    no_signal,
    penalty_at_edge,
    tests_share_texts,
    tests_suffice,
)
from causalign.reward.from_logs import Vectors
from causalign.reward.heads import LinearHead
from causalign.reward.model import RewardFit
from causalign.reward.ridge import Ridge
from causalign.reward.vector_method import LinearMethod
from causalign.reward.within_tests import UNITS
from causalign.stats.folds import group_folds
from causalign.stats.pooling import Pooling, WeighedLog, pool, weigh_log
from causalign.stats.support import measure_support
from causalign.stats.within_groups import Deviations, deviate_arms

_ASSUMPTION = (
    "Texts of the experiments were randomised within their test; the log was deconfounded. How "
    "probable it makes what the tests found decides how much it may say."
)


# Fewer may be met by chance, whatever the log says.
FEW_TESTS = 10


@dataclass(frozen=True, slots=True)
class Pooled(LinearMethod):
    """Fit a log and experiments together: log for the many texts, tests for what is causal.

        min_b Σ_tests (z̃ - x̃'b)²/(v + τ²) + ρ Σ_log (y - a - x'b)²/σ² + λ‖b‖²

    z̃ and x̃ are deviations from the test's mean, so that a test's level is absorbed; y is the
    deconfounded outcome of the log on the same scale. With ρ = 1 both are weighed by their
    information. The reward is a mean of fits over a grid of ρ and λ, weighted by how probable each
    makes what the tests found; before the tests, the log in full has 0.9 of the weight. So few
    tests change a log little, and one that misleads is left out as soon as they can tell.

    Assumption: texts of the experiments were randomised within the role ``group``; the log is
    unconfounded given what was adjusted for, or the tests are many enough to tell.

    Parameters
    ----------
    penalties : sequence of floats, optional
        The λ to try, in units of the tests' noise; 33 scaled to the data, unless given.
    folds : int
        Of tests, and of the log.
    choose : {"minimum"}
    seed : int
        Of the cuts into folds.

    Raises
    ------
    SettingsError
        For settings out of range.

    References
    ----------
    Rosenman, Basse, Owen and Baiocchi, arXiv 2002.06708; Kallus, Puli and Shalit (2018),
    arXiv 1810.11646; Ibrahim and Chen (2000), Statistical Science 15.
    """

    choose: Literal["minimum"] = "minimum"

    name: ClassVar[str] = "pooled"
    reads_experiments: ClassVar[bool] = True
    rules: ClassVar[tuple[str, ...]] = ("minimum",)

    def fit(
        self,
        logs: Logs | LogScan,
        encoder: str | Encoder | None = None,
        *,
        experiments: Logs | None = None,
        out: str | Path | None = None,  # noqa: ARG002
        progress: bool = False,
    ) -> RewardFit:
        """Fit on a log and on experiments.

        Parameters
        ----------
        logs : Logs
            The log, deconfounded, on the log-odds scale where the experiments declare trials.
        encoder : str or Encoder, optional
            What turns texts into vectors; "minilm+style" unless given. What it learns, it learns
            from the texts of the log.
        experiments : Logs, optional
            Logs whose texts were randomised within their role ``group``; the log alone without.
        progress : bool
            Show a bar.

        Raises
        ------
        RoleNotDeclared
            If the experiments declare no group.
        InputError
            If no test has two different texts, or the two are on different scales.
        """
        self.check_roles(logs.roles)
        logs = require_memory(logs, "The method 'pooled'")
        if encoder is None or isinstance(encoder, str):
            encoder = load_encoder(encoder, training_texts=logs.texts)
        if experiments is None:
            # Spelled out, since `super()` does not know a class with slots.
            return LinearMethod.fit(self, logs, encoder, progress=progress)
        if logs.roles.trials is not None and experiments.roles.trials is not None:
            raise InputError(
                "The experiments are read as log-odds and the log holds rates. Put the log on the "
                "scale 'logit' before it is deconfounded."
            )
        embeddings = embed_texts([*logs.texts, *experiments.texts], encoder, progress=progress)
        of_log, of_tests = np.split(embeddings.vectors, [len(logs)])
        estimate = self.fit_both(logs, of_log, experiments, of_tests)
        return RewardFit.of(
            self,
            estimate,
            embeddings.encoder,
            texts=len(embeddings.vectors),
            truncated=embeddings.truncated,
            reads_prompt=logs.prompts is not None,
        )

    def _fit_logs(self, logs: Logs, vectors: Vectors) -> LinearHeadFit:
        """Fit on the log alone: what ``ridge`` does."""
        ridge = Ridge(penalties=self.penalties, folds=self.folds, seed=self.seed)
        fit = ridge.fit_arrays(
            vectors, logs.outcome, groups=rows_together(logs), weights=logs.weights
        )
        findings = (*fit.findings, tests_suffice(0, FEW_TESTS))
        return replace(fit, method=self.name, findings=findings)

    def fit_both(
        self,
        logs: Logs,
        vectors: Vectors,
        experiments: Logs,
        experiment_vectors: Vectors,
    ) -> LinearHeadFit:
        """Fit on the vectors ``(n, d)`` of a log and ``(m, d)`` of experiments.

        Parameters
        ----------
        logs, vectors
            The log.
        experiments, experiment_vectors
            The experiments.
        """
        arms = read_arms(experiments, "Experiments")
        tests, between = deviate_arms(
            experiment_vectors[arms.rows], arms.outcome, arms.variance, arms.test, known=arms.known
        )
        stories = int(arms.story.max()) + 1
        folds = group_folds(arms.story, max(2, min(self.folds, stories)), self.seed)
        shared = match_log(logs, experiments, arms)
        log = self._weigh(logs, vectors, shared, _fold_of_rows(shared, arms, folds))
        pooling = pool(tests, folds, log, self.penalties)
        fit = self._conclude(arms, tests, folds, log, pooling, between, shared)
        read = shared.own if logs.weights is None else shared.own & (logs.weights > 0)
        support = measure_support(
            np.vstack([vectors[read], experiment_vectors[arms.rows]]),
            fit.penalty,
            np.r_[log.deviations.weights, tests.weights],
        )
        return replace(
            fit,
            head=replace(fit.head, support=support),
            findings=(*fit.findings, check_sizes_of_logs(experiments)),
        )

    def _weigh(
        self, logs: Logs, vectors: Vectors, shared: SharedRows, left_out: np.ndarray
    ) -> WeighedLog:
        """Return the rows of the log that are no rows of tests, in units of their noise."""
        rows = shared.own
        if not rows.any():
            raise InputError(
                "Every row of the log is a row of the experiments. Fit `within-tests` on them, or "
                "give a log of other rows."
            )
        return weigh_log(
            vectors[rows],
            logs.outcome[rows],
            rows_together(logs)[rows],
            weights=None if logs.weights is None else logs.weights[rows],
            leave_out=left_out[rows],
            penalties=self.penalties,
            folds=self.folds,
            seed=self.seed,
        )

    def _conclude(
        self,
        arms: Arms,
        tests: Deviations,
        folds: np.ndarray,
        log: WeighedLog,
        pooling: Pooling,
        between: float,
        shared: SharedRows,
    ) -> LinearHeadFit:
        """Return the fit that was chosen, and what tests and log say of each other."""
        path, index = pooling.path, pooling.trusted[1]
        predicted = pooling.predict_unseen(tests, folds)
        factor = pooling.covariance_factor(tests, log, tests.outcome - predicted, arms.story)
        coefficients, own = pooling.coefficients, shared.own
        numbers = _count(pooling, tests, predicted)
        return LinearHeadFit(
            method=self.name,
            head=LinearHead(coefficients, log.intercept(coefficients), factor.astype(np.float32)),
            penalty=float(path.penalties[index]),
            path=pa.table(
                {
                    "penalty": path.penalties,
                    "cv_error": path.error[-1],
                    "cv_standard_error": path.fold_spread(folds, tests.group)[-1],
                    "chosen": np.arange(len(path.penalties)) == index,
                    "cv_correlation": path.correlation[-1],
                }
            ),
            error_name="squared error within tests",
            units=EVENT_ODDS if arms.in_odds else UNITS,
            assumption=_ASSUMPTION,
            out_of_fold=predicted / np.sqrt(tests.weights),
            numbers={
                "rows": float(own.sum()),
                "arms": float(len(arms.rows)),
                "tests": float(arms.test.max() + 1),
                "features": float(len(coefficients)),
                **numbers,
                "between_variance": between,
            },
            findings=(
                penalty_at_edge(path.penalties, index),
                no_signal(numbers["cv_r2"], "the share of variance within tests explained"),
                tests_suffice(len(path.null), FEW_TESTS),
                log_agrees(pooling.agreement, pooling.share_of_log),
                tests_share_texts(int((shared.story >= 0).sum()), int((~own).sum()), len(own)),
            ),
        )


def _fold_of_rows(shared: SharedRows, arms: Arms, folds: np.ndarray) -> np.ndarray:
    """Return the fold of tests that leaves each row of the log out, -1 for none."""
    of_story = np.full(int(arms.story.max()) + 2, -1)  # the last is read at -1: no story
    of_story[arms.story] = folds
    return of_story[shared.story]


def _count(pooling: Pooling, tests: Deviations, predicted: np.ndarray) -> dict[str, float]:
    """Return how far the log was believed, and how well the reward met unseen tests."""
    path, index = pooling.path, pooling.trusted[1]
    square = max(float(tests.outcome @ tests.outcome), float(np.finfo(float).tiny))
    error = float(((tests.outcome - predicted) ** 2).sum()) / square
    length = max(float(predicted @ predicted), float(np.finfo(float).tiny))
    return {
        "penalty": float(path.penalties[index]),
        "best_penalty": float(path.penalties[int(path.error[-1].argmin())]),
        "share_of_log": pooling.share_of_log,
        "cv_error": error,
        "cv_r2": 1 - error,
        "cv_correlation": float(predicted @ tests.outcome) / np.sqrt(square * length),
        "cv_correlation_of_tests": float(path.correlation[0].max()),
        "slope_of_tests_on_log": pooling.agreement.slope,
        "slope_standard_error": pooling.agreement.standard_error,
    }
