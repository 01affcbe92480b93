"""AUC on unseen tests by what was learned from: a log, so many tests, or both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError
from causalign.evaluate.log_and_tests import FEWEST_ROWS, LogAndTests
from causalign.logs import Logs, Pairs
from causalign.logs.arms import Arms
from causalign.logs.pairs import orient, pairs_within
from causalign.stats.folds import group_folds
from causalign.stats.pair_metrics import auc_influence
from causalign.stats.pooling import WeighedLog, pool
from causalign.stats.within_groups import Deviations

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

COUNTS = (0, 25, 50, 100, 200, 400, 800, 1600)
LOG, TESTS, BOTH = "log", "tests", "both"
RESAMPLES = 1000
SIGNIFICANT = 1.96


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Hold AUC by number of tests, for each line, and the same in resamples.

    Attributes
    ----------
    counts : (K,) integers
    auc : mapping of str to (K,) floats
    resampled : mapping of str to (B, K) floats
    """

    counts: Codes
    auc: Mapping[str, Floats]
    resampled: Mapping[str, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Judging:
    """Hold p pairs of arms, or of their rows: what won less what lost, story and fold of each."""

    sides: Floats
    story: Codes
    fold: Codes


def choose_judges(study: LogAndTests, experiments: Logs, pairs: Pairs | None) -> Judging:
    """Return the pairs that judge: those given, or all arms of a test that differ significantly.

    Raises ``InputError`` where a fold has none.
    """
    first, second = (
        _significant(study.arms).T if pairs is None else _find(study, experiments, pairs)
    )
    fold = study.fold[first]
    if set(study.folds) - set(fold):
        raise InputError(
            "Too few pairs of texts differ significantly within their test to judge by. Give more "
            "tests, or tests with more readers."
        )
    sides = study.features[first] - study.features[second]
    return Judging(sides, study.arms.story[first], fold)


def _significant(arms: Arms) -> Codes:
    """Return pairs of arms within tests, the better first, that differ at 5 %, ``(p, 2)``."""
    pairs: Codes = orient(pairs_within(arms.test), arms.outcome, 0.0)[0]
    if not arms.known:
        return pairs
    apart = arms.outcome[pairs[:, 0]] - arms.outcome[pairs[:, 1]]
    surely = apart > SIGNIFICANT * np.sqrt(arms.variance[pairs].sum(axis=1))
    return np.asarray(pairs[surely])


def _find(study: LogAndTests, experiments: Logs, pairs: Pairs) -> tuple[Codes, Codes]:
    """Return the arms of both sides of given pairs of rows."""
    if pairs.rows is None:
        raise InputError("The pairs that judge must come from the experiments: `Logs.pairs`.")
    text, test = experiments.codes_of(experiments.roles.completion), experiments.groups
    rows = study.arms.rows
    arm_of = {(test[row], text[row]): arm for arm, row in enumerate(rows)}
    first, second = (
        np.array([arm_of[test[row], text[row]] for row in side], dtype=np.int64)
        for side in pairs.rows.T
    )
    return first, second


def draw_curves(
    study: LogAndTests,
    outcomes: Mapping[str, Floats],
    judges: Judging,
    draws: int,
    counts: Sequence[int] = COUNTS,
) -> Curves:
    """Let each fold of stories judge fits on the others, and resample stories and draws of tests.

    Parameters
    ----------
    study : LogAndTests
    outcomes : mapping of str to (n,) arrays
        Of the log, by line: ``log`` is the one that is pooled with tests.
    judges : Judging
    draws : int
        Random orders of the tests, in each fold.
    counts : sequence of int
        Numbers of tests; all that teach in the smallest fold are added.
    """
    folds = study.folds
    smallest = min(len(np.unique(study.arms.test[study.fold != fold])) for fold in folds)
    tried = np.array([k for k in counts if k < smallest] + [smallest])
    lines = (*outcomes, TESTS, BOTH)
    story = np.unique(judges.story, return_inverse=True)[1].ravel()
    level = {line: np.zeros((len(folds), draws, len(tried))) for line in lines}
    influence = {line: np.zeros((story.max() + 1, draws, len(tried))) for line in lines}
    rng = np.random.default_rng(study.seed)
    for place, fold in enumerate(folds):
        rows = judges.fold == fold
        for draw in range(draws):
            scores = _score(study, outcomes, fold, tried, judges.sides[rows], rng)
            for line in lines:
                for column, score in enumerate(scores[line]):
                    auc, each = auc_influence(score)
                    level[line][place, draw, column] = auc
                    np.add.at(influence[line][:, draw, column], story[rows], each)
    share = np.bincount(judges.fold) / len(judges.fold)
    resampled = _resample(level, influence, share, story, judges.fold, rng)
    means = {line: share @ values.mean(axis=1) for line, values in level.items()}
    return Curves(tried, means, resampled)


def _score(
    study: LogAndTests,
    outcomes: Mapping[str, Floats],
    fold: int,
    counts: Codes,
    sides: Floats,
    rng: np.random.Generator,
) -> dict[str, list[Floats]]:
    """Return score differences ``(p,)`` of one fold's pairs, for each line and number of tests."""
    arms, teach = study.arms, study.fold != fold
    shown = study.shared.folds(arms, study.fold) == fold
    logs = {line: study.weigh(y, ~shown) for line, y in outcomes.items()}
    scores = {line: [sides @ _fit_log(weighed)] * len(counts) for line, weighed in logs.items()} | {
        TESTS: [],
        BOTH: [],
    }
    tests, names = study.deviate(teach), np.unique(arms.test[teach])
    order = rng.permutation(names)
    for count in counts:
        if count == 0:
            scores[TESTS].append(np.zeros(len(sides)))
            scores[BOTH].append(scores[LOG][0])
            continue
        chosen = teach & np.isin(arms.test, order[:count])
        alone, both = _fit(study, outcomes[LOG], ~shown, tests.take(chosen[teach]), chosen)
        scores[TESTS].append(sides @ alone)
        scores[BOTH].append(sides @ both)
    return scores


def _fit_log(log: WeighedLog) -> Floats:
    """Return the coefficients ``(d,)`` of ridge regression on a log alone."""
    gram, cross = log.deviations.products()
    gram[np.diag_indices_from(gram)] += log.penalty
    return np.asarray(np.linalg.solve(gram, cross))


def _fit(
    study: LogAndTests,
    outcome: Floats,
    rows: NDArray[np.bool_],
    tests: Deviations,
    chosen: NDArray[np.bool_],
) -> tuple[Floats, Floats]:
    """Return the coefficients of some tests alone, and of the log with them.

    Rows of the log that are rows of these tests count once, as tests; where too few others are
    left to know their noise, the tests are all there is.
    """
    arms, shared = study.arms, study.shared
    story = arms.story[chosen]
    inner = group_folds(story, max(2, min(5, len(np.unique(story)))), study.seed)
    cut = np.full(len(arms.rows), -1)
    cut[chosen] = inner
    own = rows & ~((shared.arm >= 0) & chosen[shared.arm])
    few = own.sum() < FEWEST_ROWS
    log = study.weigh(outcome, rows if few else own, shared.folds(arms, cut))
    pooling = pool(tests, inner, log)
    path = pooling.path
    alone = path.coefficients[0, int(path.error[0].argmin())]
    return alone, alone if few else pooling.coefficients


def _resample(
    level: Mapping[str, Floats],
    influence: Mapping[str, Floats],
    share: Floats,
    story: Codes,
    fold: Codes,
    rng: np.random.Generator,
) -> dict[str, Floats]:
    """Return AUC ``(B, K)`` of each line where stories and draws of tests are drawn anew.

    All lines meet the same stories and the same draws, so that their differences are resampled
    too. Stories move an AUC by the sum of their pairs' influences.
    """
    stories, draws = int(story.max()) + 1, next(iter(level.values())).shape[1]
    of_story = np.zeros(stories, dtype=np.int64)
    of_story[story] = fold
    beyond = rng.multinomial(stories, np.full(stories, 1 / stories), RESAMPLES) - 1.0
    pick = rng.integers(0, draws, (RESAMPLES, len(share)))
    resampled = {}
    for line, values in level.items():
        total = np.zeros((RESAMPLES, values.shape[2]))
        for draw in range(draws):
            here = pick == draw  # (B, F)
            total += (here * share) @ values[:, draw]
            total += (beyond * here[:, of_story]) @ influence[line][:, draw] / len(story)
        resampled[line] = np.clip(total, 0.0, 1.0)
    return resampled
