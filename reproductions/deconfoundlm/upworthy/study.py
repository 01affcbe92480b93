"""One split of the tests: fit on some, judge on the pairs of the others."""

from dataclasses import dataclass, replace

import numpy as np
from criteria import CRITERIA, Log

from causalign import Logs, Pairs, Roles
from causalign.deconfound import Additive
from causalign.logs.scales import rescale
from causalign.logs.splits import draw_one_per_group
from causalign.logs.stories import number_stories
from causalign.reward import Pairwise
from causalign.stats.folds import group_folds
from causalign.stats.pair_metrics import pair_auc
from causalign.stats.ridge_path import RidgePath, ridge_path

# Of vectors with mean squared length one; scikit-learn's alpha.
PENALTIES = np.geomspace(1e-1, 1e4, 26)
ROLES = Roles(
    completion="headline",
    outcome="clicks",
    trials="impressions",
    confounders=("test_week",),
    categorical=("test_week",),
    group="clickability_test_id",
)


@dataclass(frozen=True, slots=True, eq=False)
class Archive:
    """Hold the tests, their outcome as log-odds, their pairs, and the fold of each row's test."""

    raw: Logs
    logs: Logs
    pairs: Pairs
    fold: np.ndarray
    week: np.ndarray
    month: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Hold which rows and pairs teach and which judge."""

    log: np.ndarray  # rows that a firm without tests would have
    held: np.ndarray  # (n,) rows of the tests that judge
    teach: Pairs
    judge: Pairs


def read(path: str, tests: int | None) -> Archive:
    """Read the archive; keep ``tests`` tests, drawn at random, or all."""
    raw = Logs.read(path, ROLES)
    if tests is not None:
        names = np.random.default_rng(0).permutation(np.unique(raw.groups))[:tests]
        raw = raw.take(np.isin(raw.groups, names), f"kept {tests} tests")
    pairs = raw.pairs(("clickability_test_id", "eyecatcher_id"), significance=0.05)
    pairs = replace(pairs, group=raw.groups[pairs.rows[:, 0]])
    number = raw.numbers("test_week").astype(int)
    month = (number // 100) * 12 + np.minimum((number % 100 - 1) * 12 // 52, 11)
    return Archive(
        raw,
        rescale(raw, "logit"),
        pairs,
        group_folds(number_stories(raw.groups, raw.codes_of("headline")), 5, 0),
        np.unique(number, return_inverse=True)[1],
        np.unique(month, return_inverse=True)[1],
    )


def split(archive: Archive, judge: int, draw: int) -> Split:
    """Let the tests of one fold judge; of each other test keep one random package."""
    held = archive.fold == judge
    rows = np.flatnonzero(~held)
    train = archive.logs.take(~held, "tests that teach")
    numbered = replace(train, data=train.data.append_column("row", [rows]))
    kept = draw_one_per_group(numbered, draw).data["row"].to_numpy()
    judges = held[archive.pairs.rows[:, 0]]
    return Split(kept, held, archive.pairs.take(~judges), archive.pairs.take(judges))


def observational(archive: Archive, one: Split, V: np.ndarray) -> dict[str, dict]:
    """Fit the path on the outcome as logged and deconfounded; pick by every criterion."""
    logs = archive.logs.take(one.log, "one package for each test")
    X, text = V[one.log], logs.codes_of("headline")
    week = np.unique(archive.week[one.log], return_inverse=True)[1]
    adjusted = Additive().fit(logs, text_features=X).subtract_from(logs)
    sides = V[one.judge.rows[:, 0]] - V[one.judge.rows[:, 1]]
    found = {}
    for name, outcome in (("naive", logs.outcome), ("deconfounded", adjusted.outcome)):
        folds = group_folds(text, 5, 0)
        path = ridge_path(X, outcome, folds=folds, penalties=PENALTIES)
        log = Log(X, outcome, logs.outcome, week, text, path)
        scores = sides @ path.coefficients.T  # (pairs, L)
        found[name] = {
            "scores": scores,
            "auc": [pair_auc(column).estimate for column in scores.T],
            "cv_error": path.cv_error,
            "null_error": path.null_error,
            "train_error": np.mean((outcome[:, None] - _fitted(path, X)) ** 2, axis=0),
            "month": _monthly(archive, one, V, path),
            "picks": {label: int(choose(log)) for label, choose in CRITERIA.items()},
        }
    return found


def every_package(archive: Archive, one: Split, V: np.ndarray) -> np.ndarray:
    """Return score differences by a log of all packages, not knowing which were tested together.

    Copies of a story stay in one fold: a firm knows for which lede a headline was written. The
    penalty is the one with the least error.
    """
    rows = np.flatnonzero(~one.held)
    logs, X = archive.logs.take(rows, "every package"), V[rows]
    story = np.unique([str(lede) for lede in logs.data["lede"].to_pylist()], return_inverse=True)[1]
    adjusted = Additive().fit(logs, text_features=X).subtract_from(logs)
    folds = group_folds(story, 5, 0)
    path = ridge_path(X, adjusted.outcome, folds=folds, penalties=PENALTIES)
    sides = V[one.judge.rows[:, 0]] - V[one.judge.rows[:, 1]]
    return sides @ path.coefficients[path.best]


def experimental(one: Split, V: np.ndarray, budget: int | None = None) -> np.ndarray:
    """Return score differences of judging pairs by Bradley-Terry on the teaching pairs.

    With ``budget`` only so many packages are used: tests drawn at random until they are spent.
    """
    teach = one.teach
    if budget is not None:
        teach = _affordable(teach, budget)
    fit = Pairwise().fit_arrays(V[teach.rows[:, 0]], V[teach.rows[:, 1]], groups=teach.group)
    return fit.head(V[one.judge.rows[:, 0]]) - fit.head(V[one.judge.rows[:, 1]])


def _affordable(pairs: Pairs, budget: int) -> Pairs:
    """Keep tests in random order until their packages in pairs reach the budget."""
    order = np.random.default_rng(0).permutation(np.unique(pairs.group))
    cost = [len(np.unique(pairs.rows[pairs.group == test])) for test in order]
    kept = order[: int(np.searchsorted(np.cumsum(cost), budget, side="right"))]
    return pairs.take(np.isin(pairs.group, kept))


def _fitted(path: RidgePath, X: np.ndarray) -> np.ndarray:
    return X @ path.coefficients.T + path.intercepts


def _monthly(archive: Archive, one: Split, V: np.ndarray, path: RidgePath) -> np.ndarray:
    """Correlate monthly means: predictions of unseen tests with outcomes of the log (figure 4d)."""
    seen, size = archive.month[one.log], archive.month.max() + 1
    held = archive.month[one.held]
    both = (np.bincount(seen, minlength=size) > 4) & (np.bincount(held, minlength=size) > 4)
    logged = np.bincount(seen, archive.logs.outcome[one.log], size)[both]
    logged = logged / np.bincount(seen, minlength=size)[both]
    found = []
    for predicted in _fitted(path, V[one.held]).T:
        mean = np.bincount(held, predicted, size)[both] / np.bincount(held, minlength=size)[both]
        found.append(np.corrcoef(mean, logged)[0, 1] if np.ptp(mean) > 0 else 0.0)
    return np.array(found)
