"""Fit one reward to a log and to the few experiments that a firm has."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from scipy.linalg import cho_factor, cho_solve

from causalign.errors import InputError
from causalign.lm.embedded_logs import embed_texts
from causalign.lm.encoder import Encoder
from causalign.lm.encoders import DEFAULT_ENCODER, load_encoder
from causalign.logs import Logs
from causalign.reward.arms import Arms, read_arms
from causalign.reward.estimates import LinearHeadFit
from causalign.reward.examples import EVENT_ODDS
from causalign.reward.findings import (
    log_agrees,
    no_signal,
    penalty_at_edge,
    tests_share_texts,
    tests_suffice,
)
from causalign.reward.from_logs import Vectors, unit_codes
from causalign.reward.heads import LinearHead
from causalign.reward.model import RewardFit
from causalign.reward.ridge import Ridge
from causalign.reward.vector_method import LinearMethod
from causalign.reward.within_tests import UNITS, held_out, penalties_for
from causalign.stats.folds import group_folds
from causalign.stats.ridge_path import ridge_path
from causalign.stats.within_groups import (
    Agreement,
    Deviations,
    WithinPath,
    compare_with_log,
    deviate,
    within_path,
)

_ASSUMPTION = (
    "Texts of the experiments were randomised within their test; the log was deconfounded. Where "
    "the two differ by more than noise, unseen tests decide how much the log may say."
)
# ρ: from the tests alone to the log at full weight.
SHARES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
# Fewer cannot tell a log that misleads from bad luck: on Upworthy 25 chose wrongly in a fold of 5.
FEW_TESTS = 50
# The best of some hundred correlated cells beats the default by 3 standard errors in fewer than one
# twenty logs that are right.
_BEYOND_CHANCE = 3.0


@dataclass(frozen=True, slots=True)
class Pooled(LinearMethod):
    """Fit a log and experiments together: log for the many texts, tests for what is causal.

        min_b Σ_tests (z̃ - x̃'b)²/(v + τ²) + ρ Σ_log (y - a - x'b)²/σ² + λ‖b‖²

    z̃ and x̃ are deviations from the test's mean, so that a test's level is absorbed; y is the
    deconfounded outcome of the log on the same scale. With ρ = 1 and the λ that predicts unseen
    rows of the log best, both are weighed by their information. Another (ρ, λ) is taken only if
    its predictions of unseen tests, whatever their scale, correlate better by 3 standard errors:
    with few tests the log's choice stays, with many a log that misleads is left out (ρ = 0).

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
    arXiv 1810.11646.
    """

    choose: Literal["minimum"] = "minimum"

    name: ClassVar[str] = "pooled"
    reads_experiments: ClassVar[bool] = True
    rules: ClassVar[tuple[str, ...]] = ("minimum",)

    def fit(
        self,
        logs: Logs,
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
            What turns texts into vectors; "minilm" unless given. What it learns, it learns from
            the texts of the log.
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
        if encoder is None or isinstance(encoder, str):
            encoder = load_encoder(encoder or DEFAULT_ENCODER, training_texts=logs.texts)
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
        return RewardFit.of(self, estimate, embeddings, reads_prompt=logs.prompts is not None)

    def _fit_logs(self, logs: Logs, vectors: Vectors) -> LinearHeadFit:
        """Fit on the log alone: what ``ridge`` does."""
        ridge = Ridge(penalties=self.penalties, folds=self.folds, seed=self.seed)
        fit = ridge.fit_arrays(vectors, logs.outcome, groups=unit_codes(logs), weights=logs.weights)
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
        tests, between = arms.deviate(experiment_vectors)
        stories = int(arms.story.max()) + 1
        folds = group_folds(arms.story, max(2, min(self.folds, stories)), self.seed)
        shared = _Shared.of(logs, experiments, arms, folds)
        log = self._read_log(logs, vectors, shared)
        cells = self._choose(log, tests, folds)
        return self._conclude(arms, tests, folds, log, cells, between, shared)

    def _conclude(
        self,
        arms: Arms,
        tests: Deviations,
        folds: np.ndarray,
        log: "_Log",
        cells: "_Cells",
        between: float,
        shared: "_Shared",
    ) -> LinearHeadFit:
        """Return the fit that was chosen, and what tests and log say of each other."""
        path, (share, index) = cells.path, cells.chosen
        coefficients = path.coefficients[share, index]
        level = log.outcome - log.vectors @ coefficients
        error = path.error[share]
        return LinearHeadFit(
            method=self.name,
            head=LinearHead(coefficients, float(np.average(level, weights=log.weights))),
            penalty=float(path.penalties[index]),
            path=pa.table(
                {
                    "penalty": path.penalties,
                    "cv_error": error,
                    "cv_standard_error": path.fold_spread(folds, tests.group)[share],
                    "chosen": np.arange(len(path.penalties)) == index,
                    "cv_correlation": path.correlation[share],
                }
            ),
            error_name="squared error within tests",
            units=EVENT_ODDS if arms.in_odds else UNITS,
            assumption=_ASSUMPTION,
            out_of_fold=held_out(path, tests, folds, share, index),
            numbers=_count(arms, log, cells, between),
            findings=(
                penalty_at_edge(path.penalties, index),
                no_signal(1 - float(error[index]), "the share of variance within tests explained"),
                tests_suffice(len(path.null), FEW_TESTS),
                log_agrees(cells.agreement, float(path.shares[share])),
                tests_share_texts(shared.texts, shared.dropped, len(shared.own)),
            ),
        )

    def _read_log(self, logs: Logs, vectors: Vectors, shared: "_Shared") -> "_Log":
        """Return the log in units of its own noise, and the penalty that suits it."""
        rows = shared.own
        X, y = np.asarray(vectors, dtype=np.float64)[rows], logs.outcome[rows]
        w = np.ones(len(y)) if logs.weights is None else logs.weights[rows]
        cut = group_folds(unit_codes(logs)[rows], self.folds, self.seed)
        path = ridge_path(X, y, folds=cut, penalties=self.penalties, weights=w)
        noise = float(path.cv_error[path.best])
        positive = w > 0
        deviations = deviate(
            X[positive], y[positive], np.zeros(positive.sum()), w[positive] / noise
        )
        return _Log(
            deviations,
            shared.fold[rows][positive],
            float(path.penalties[path.best]) / noise,
            X,
            y,
            w,
        )

    def _choose(self, log: "_Log", tests: Deviations, folds: np.ndarray) -> "_Cells":
        """Fit every ρ and λ, and keep the log's choice unless the tests know better."""
        penalties = np.unique([*penalties_for(self.penalties, tests), log.penalty])
        path = within_path(
            tests, folds, penalties, log=log.deviations, log_folds=log.folds, shares=SHARES
        )
        default = (len(SHARES) - 1, int(np.flatnonzero(penalties == log.penalty)[0]))
        gain, error = path.gain(*default)
        better = (gain > _BEYOND_CHANCE * error) & (len(path.null) >= FEW_TESTS)
        chosen = default
        if better.any():
            best = np.unravel_index(int(np.where(better, gain, -np.inf).argmax()), gain.shape)
            chosen = (int(best[0]), int(best[1]))
        gram, cross = log.deviations.products()
        factor = cho_factor(gram + log.penalty * np.eye(len(gram)))
        covariance = cho_solve(factor, np.eye(len(gram)))
        return _Cells(path, chosen, compare_with_log(tests, covariance @ cross, covariance))


def _count(arms: Arms, log: "_Log", cells: "_Cells", between: float) -> dict[str, float]:
    """Return the numbers of a fit: what it was made of, and how well it met unseen tests."""
    path, (share, index) = cells.path, cells.chosen
    error = path.error[share]
    return {
        "rows": float(len(log.outcome)),
        "arms": float(len(arms.rows)),
        "tests": float(arms.test.max() + 1),
        "features": float(len(log.vectors.T)),
        "penalty": float(path.penalties[index]),
        "best_penalty": float(path.penalties[int(error.argmin())]),
        "share_of_log": float(path.shares[share]),
        "cv_error": float(error[index]),
        "cv_r2": 1 - float(error[index]),
        "cv_correlation": float(path.correlation[share, index]),
        "cv_correlation_of_tests": float(path.correlation[0].max()),
        "between_variance": between,
        "slope_of_tests_on_log": cells.agreement.slope,
        "slope_standard_error": cells.agreement.standard_error,
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Log:
    """Hold the log in units of its noise, the fold of each row, and the penalty that suits it."""

    deviations: Deviations
    folds: np.ndarray
    penalty: float
    vectors: np.ndarray
    outcome: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Hold the fits for every ρ and λ, the indices that were chosen, and how far tests agree."""

    path: WithinPath
    chosen: tuple[int, int]
    agreement: Agreement


@dataclass(frozen=True, slots=True, eq=False)
class _Shared:
    """Hold what log and tests share: rows to keep, the fold that leaves each out, counts."""

    own: np.ndarray
    fold: np.ndarray
    texts: int
    dropped: int

    @classmethod
    def of(cls, logs: Logs, experiments: Logs, arms: Arms, folds: np.ndarray) -> "_Shared":
        """Find rows of the log that show texts of tests, and those that are rows of tests."""
        texts = experiments.texts
        fold_of = {texts[row]: fold for row, fold in zip(arms.rows, folds, strict=True)}
        fold = np.array([fold_of.get(text, -1) for text in logs.texts])
        group = experiments.roles.group
        twice = np.zeros(len(logs), dtype=bool)
        if group is not None and group in logs.data.column_names:
            tested = set(zip(experiments.data[group].to_pylist(), texts, strict=True))
            here = zip(logs.data[group].to_pylist(), logs.texts, strict=True)
            twice = np.array([row in tested for row in here])
        if twice.all():
            raise InputError(
                "Every row of the log is a row of the experiments. Fit `within-tests` on them, or "
                "give a log of other rows."
            )
        return cls(~twice, fold, int((fold >= 0).sum()), int(twice.sum()))
