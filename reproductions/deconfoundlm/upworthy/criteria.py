"""Ways to choose a penalty from the observational log alone; each returns an index on the path."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from causalign.stats.folds import group_folds
from causalign.stats.ridge_path import RidgePath, ridge_path
from causalign.stats.strata import ranking_path


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """Hold what a firm without tests has: vectors (n, d), outcome, weeks, raw outcome, texts."""

    features: np.ndarray
    outcome: np.ndarray
    raw: np.ndarray
    week: np.ndarray  # codes in order of time
    text: np.ndarray
    path: RidgePath  # folds of texts


def error(log: Log) -> int:
    """Least squared error in unseen rows: the usual way, and the paper's."""
    return log.path.best


def one_standard_error(log: Log) -> int:
    """The heaviest penalty whose error is within one standard error of the least."""
    return log.path.one_standard_error


def ranking(log: Log) -> int:
    """Largest rank correlation with the outcome of all unseen rows together."""
    same = np.zeros(len(log.outcome))
    return ranking_path(unseen(log.path, log.features), log.outcome, same).best


def ranking_in_week(log: Log) -> int:
    """Largest rank correlation with the outcome among unseen rows of the same week."""
    return ranking_path(unseen(log.path, log.features), log.outcome, log.week).best


def weeks_out(log: Log) -> int:
    """Least squared error where whole weeks, dealt at random to ten folds, were left out."""
    return _left_out(log, group_folds(log.week, min(10, len(np.unique(log.week))), 0)).best


def blocks_out(log: Log) -> int:
    """Least squared error where one of ten blocks of consecutive weeks was left out."""
    return _left_out(log, _blocks(log, 10)).best


def ranking_in_week_blocks_out(log: Log) -> int:
    """Largest rank correlation inside weeks of blocks that the fit did not see."""
    left_out = _left_out(log, _blocks(log, 10))
    return ranking_path(unseen(left_out, log.features), log.outcome, log.week).best


def independence(log: Log) -> int:
    """Weakest correlation with the week's mean raw outcome, within one standard error."""
    mean = (np.bincount(log.week, log.raw) / np.bincount(log.week))[log.week]
    predicted = unseen(log.path, log.features)
    follows = [abs(_correlation(column, mean)) for column in predicted.T]
    limit = log.path.cv_error.min() + log.path.cv_standard_error[log.path.best]
    return int(np.argmin(np.where(log.path.cv_error <= limit, follows, np.inf)))


def stability(log: Log) -> int:
    """Largest agreement of the scores of two fits, on odd and on even blocks of weeks."""
    path = _left_out(log, _blocks(log, 10) % 2)
    first, second = (log.features @ b.T for b in path.fold_coefficients)
    return int(np.argmax([_correlation(a, b) for a, b in zip(first.T, second.T, strict=True)]))


def evidence(log: Log) -> int:
    """Largest marginal likelihood of a Gaussian prior b ~ N(0, s²/λ), s² profiled out."""
    X = log.features - log.features.mean(axis=0)
    y = log.outcome - log.outcome.mean()
    spectrum, V = np.linalg.eigh(X.T @ X)
    spectrum, cross = np.clip(spectrum, 0, None), (V.T @ (X.T @ y)) ** 2
    return int(
        np.argmin(
            [
                (len(y) - 1) * np.log(y @ y - np.sum(cross / (spectrum + penalty)))
                + np.log1p(spectrum / penalty).sum()
                for penalty in log.path.penalties
            ]
        )
    )


CRITERIA: dict[str, Callable[[Log], int]] = {
    "error": error,
    "one standard error": one_standard_error,
    "ranking": ranking,
    "ranking in week": ranking_in_week,
    "weeks left out": weeks_out,
    "blocks left out": blocks_out,
    "ranking in week, blocks left out": ranking_in_week_blocks_out,
    "independence": independence,
    "stability": stability,
    "evidence": evidence,
}


def unseen(path: RidgePath, features: np.ndarray) -> np.ndarray:
    """Return predictions (n, L) of rows by fits that did not see them."""
    return np.column_stack([path.out_of_fold_at(features, i) for i in range(len(path.penalties))])


def _left_out(log: Log, folds: np.ndarray) -> RidgePath:
    return ridge_path(log.features, log.outcome, folds=folds, penalties=log.path.penalties)


def _blocks(log: Log, count: int) -> np.ndarray:
    """Cut the weeks, in order, into blocks of about equally many rows."""
    before = np.cumsum(np.bincount(log.week)) - 1
    return np.minimum(before[log.week] * count // len(log.week), count - 1)


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
