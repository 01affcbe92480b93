"""Fit a reward to outcomes by ridge regression on vectors of the texts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError, RoleNotDeclared
from causalign.lm.embedded_logs import learn_encoder
from causalign.lm.encoder import Encoder
from causalign.logs import Logs, LogScan, Roles, hold_workers, require_memory
from causalign.reward.estimates import LinearHeadFit
from causalign.reward.findings import no_signal, penalty_at_edge
from causalign.reward.from_logs import Vectors, environment_codes, learning_rows
from causalign.reward.heads import LinearHead
from causalign.reward.model import RewardFit
from causalign.reward.ridge_sums import path_support, read_outcomes, scan_error, scan_path
from causalign.reward.vector_method import LinearMethod, path_numbers, path_table
from causalign.stats.folds import group_folds
from causalign.stats.ridge_path import RidgePath, ridge_paths
from causalign.stats.strata import ranking_path
from causalign.stats.support import Support, limit_support

PenaltyRule = Literal["minimum", "one-standard-error", "ranking"]

_ASSUMPTION = (
    "The outcome given the text is linear in the features; it is the effect of the text only as "
    "far as the outcome was deconfounded or the texts were randomised."
)


@dataclass(frozen=True, slots=True)
class Ridge(LinearMethod):
    """Fit ``r(x) = a + x'b`` by least squares with penalty ``λ‖b‖²``, λ by cross-validation.

    Assumption: the outcome, deconfounded, is the effect of the text plus noise independent of it.

    Parameters
    ----------
    penalties : sequence of floats, optional
        The λ to try; 33 that are scaled to the data, unless given.
    folds : int
    choose : {"minimum", "one-standard-error", "ranking"}
        Take the λ with the smallest cross-validated error, the largest within one standard error of
        it, or the one that best ranks unseen rows of equal conditions, which stays right when the
        outcome is still confounded. No rule sees an experiment.
    seed : int
        Of the cut into folds.

    Raises
    ------
    SettingsError
        For settings out of range.

    References
    ----------
    Hoerl and Kennard (1970), Technometrics 12; used as a causal reward by arXiv 2506.00152.
    """

    choose: PenaltyRule = "minimum"

    name: ClassVar[str] = "ridge"
    rules: ClassVar[tuple[str, ...]] = ("minimum", "one-standard-error", "ranking")

    def check_roles(self, roles: Roles) -> None:
        """Raise ``RoleNotDeclared`` if conditions are compared and no confounder tells them."""
        if self.choose == "ranking" and not roles.confounders:
            raise RoleNotDeclared(
                "choose='ranking' compares rows of equal conditions.", "confounders"
            )

    def _check_groups(self, groups: NDArray[np.int64]) -> None:
        group_folds(groups, self.folds, self.seed)

    def _fit_logs(self, logs: Logs, vectors: Vectors) -> LinearHeadFit:
        rows = learning_rows(logs, pairs=False)
        fits = self._fit_outcomes(
            np.asarray(vectors, dtype=np.float64),
            read_outcomes(logs),
            groups=rows.groups,
            weights=rows.weights,
            environment=environment_codes(logs),
        )
        return _set_beside(logs.roles.guardrails, fits)

    def fit(
        self,
        logs: Logs | LogScan,
        encoder: str | Encoder | None = None,
        *,
        out: str | Path | None = None,
        progress: bool = False,
    ) -> RewardFit:
        """Fit on the outcome of logs; those on disk are read batch by batch, twice.

        See :meth:`causalign.reward.RewardMethod.fit`.
        """
        if isinstance(logs, LogScan):
            self.check_logs(logs)
            with hold_workers(logs.engine):
                return self._fit_scan(logs, encoder)
        # Spelled out, since `super()` does not know a class with slots.
        return LinearMethod.fit(self, logs, encoder, out=out, progress=progress)

    def check_logs(self, logs: Logs | LogScan) -> None:
        """Raise before anything costly runs when the method cannot learn from these logs."""
        if not isinstance(logs, LogScan):
            LinearMethod.check_logs(self, logs)
            return
        self.check_roles(logs.roles)
        if self.choose == "ranking":
            require_memory(logs, "choose='ranking'")

    def _fit_scan(self, scan: LogScan, encoder: str | Encoder | None) -> RewardFit:
        """Fit from sums over batches, twice over the rows."""
        learnt = learn_encoder(scan, encoder)
        fitted = scan_path(scan, learnt, self.folds, self.seed, self.penalties)
        first = fitted.paths[0]
        indices = [_choose_by_error(path, self.choose) for path in fitted.paths]
        factors, support = scan_error(scan, learnt, self.folds, self.seed, fitted, indices)
        fits = [
            _fit_of_path(fitted.rows, path, index, factor, support if path is first else None)
            for path, index, factor in zip(fitted.paths, indices, factors, strict=True)
        ]
        return RewardFit.of(
            self,
            _set_beside(scan.roles.guardrails, fits),
            learnt,
            texts=fitted.rows,
            truncated=fitted.truncated,
            reads_prompt=scan.roles.prompt is not None,
        )

    def fit_arrays(
        self,
        features: ArrayLike,
        outcome: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        environment: ArrayLike | None = None,
    ) -> LinearHeadFit:
        """Fit on vectors of texts.

        Parameters
        ----------
        features : (n, d) array
        outcome : (n,) array
        groups : (n,) array, optional
            Rows of one group share a fold: put into it what must not be in training and validation
            at once, such as the same text, test or user.
        weights : (n,) array, optional
        environment : (n,) array, optional
            Which rows had equal conditions (the same week, the same place); only
            ``choose="ranking"`` reads it.

        Raises
        ------
        InputError
            If shapes or values do not fit.
        NotIdentified
            If the features do not vary, or no rows of one environment can be ranked.
        """
        X, y = (np.asarray(given, dtype=np.float64) for given in (features, outcome))
        (fit,) = self._fit_outcomes(
            X, y[..., None], groups=groups, weights=weights, environment=environment
        )
        return fit

    def _fit_outcomes(
        self,
        X: NDArray[np.float64],
        outcomes: NDArray[np.float64],
        *,
        groups: ArrayLike | None,
        weights: ArrayLike | None,
        environment: ArrayLike | None,
    ) -> list[LinearHeadFit]:
        """Fit each outcome ``(n, m)`` with a penalty of its own, from one factorisation."""
        cut = group_folds(len(X) if groups is None else groups, self.folds, self.seed)
        paths = ridge_paths(X, outcomes, folds=cut, penalties=self.penalties, weights=weights)
        w = np.ones(len(X)) if weights is None else np.asarray(weights, dtype=np.float64)
        fits: list[LinearHeadFit] = []
        for path, y in zip(paths, outcomes.T, strict=True):
            index, ranking = _choose_penalty(path, X, y, self.choose, environment)
            factor = path.covariance_factor(X, y, index, weights=weights, groups=groups)
            unseen = path.out_of_fold if index == path.best else path.out_of_fold_at(X, index)
            # Texts are the same whatever they caused: the region of the outcome's fit serves all.
            support = None if fits else limit_support(path_support(path, index), X, w)
            fits.append(_fit_of_path(len(X), path, index, factor, support, ranking, unseen))
        return fits


def _set_beside(guardrails: Sequence[str], fits: Sequence[LinearHeadFit]) -> LinearHeadFit:
    """Return the fit of the outcome, those of the guardrails beside it."""
    return replace(fits[0], guardrails=dict(zip(guardrails, fits[1:], strict=True)))


def _choose_penalty(
    path: RidgePath,
    X: NDArray[np.float64],
    outcome: ArrayLike,
    rule: PenaltyRule,
    environment: ArrayLike | None,
) -> tuple[int, NDArray[np.float64] | None]:
    """Return the index of the penalty, and the rank correlations ``(L,)`` if they chose it."""
    if rule != "ranking":
        return _choose_by_error(path, rule), None
    if environment is None:
        raise InputError(
            "choose='ranking' compares rows of equal conditions. Pass environment, one code for "
            "each row: the week, the place, or whatever else moved the outcome of all texts."
        )
    steps = range(len(path.penalties))
    unseen = np.column_stack([path.out_of_fold_at(X, step) for step in steps])
    ranking = ranking_path(unseen, outcome, environment)
    return ranking.best, ranking.correlation


def _choose_by_error(path: RidgePath, rule: PenaltyRule) -> int:
    return path.best if rule == "minimum" else path.one_standard_error


def _fit_of_path(
    rows: int,
    path: RidgePath,
    index: int,
    factor: NDArray[np.float64],
    support: Support | None,
    ranking: NDArray[np.float64] | None = None,
    out_of_fold: NDArray[np.float64] | None = None,
) -> LinearHeadFit:
    table = path_table(path, index)
    if ranking is not None:
        table = table.append_column("rank_correlation", [ranking])
    numbers = path_numbers(path, index)
    return LinearHeadFit(
        method=Ridge.name,
        head=LinearHead(
            path.coefficients[index],
            float(path.intercepts[index]),
            factor.astype(np.float32),
            support,
        ),
        penalty=numbers["penalty"],
        path=table,
        error_name="mean squared error",
        units="units of the outcome",
        assumption=_ASSUMPTION,
        out_of_fold=out_of_fold,
        numbers={"rows": float(rows)} | numbers,
        findings=(
            penalty_at_edge(path.penalties, path.best if ranking is None else index),
            no_signal(numbers["cv_r2"], "the share of variance explained (R²)"),
        ),
    )
