"""The estimators that the benchmark compares: peers in few lines, and every deconfounder."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from causalign.benchmark.blind_log import BlindLog, Estimate, Estimator, Floats
from causalign.deconfound import METHODS, Additive
from causalign.errors import RoleNotDeclared
from causalign.logs import Logs
from causalign.logs.arms import read_arms
from causalign.logs.covariates import design
from causalign.reward import Pooled, Ridge, WithinTests

BUCKETS = 20
SALT = b"0"  # of its seed 0, so that words meet in the same buckets
FOLDS = 5
MOST_WORDS = 200
# No propensity is taken to be more extreme.
EXTREME = 0.02
# Of scikit-learn's 1, .3, .1 and .03 the best on seeds 1000 to 1015, which no table judges.
INVERSE_PENALTY = 0.3


def compare_means(log: BlindLog) -> Estimate:
    """Compare outcomes with and without the marker; rank texts by ridge on raw outcomes."""
    scores = _rank(log, replace_weights(log.logs))
    return _contrast(log, log.logs.outcome, np.ones(len(log.logs)), scores=scores)


def regress_on_buckets(log: BlindLog) -> Estimate:
    """Regress the outcome on the marker, the confounders and 20 hashed buckets of words.

    As ``text_treatment_effect`` of StatsPAI does with its defaults: words are hashed into 20
    buckets, counts scaled to length one; least squares, errors by HC1, a normal interval. Texts
    come without the marker; a regression that sees its words divides the effect among columns.
    """
    confounders = design(log.logs.confounders)[0]
    marker = log.marker[:, None]
    X = np.hstack([np.ones((len(marker), 1)), marker, _hash_words(log.rest), confounders])
    inverse = np.linalg.pinv(X.T @ X)
    slopes = inverse @ (X.T @ log.logs.outcome)
    error = log.logs.outcome - X @ slopes
    meat = (X * error[:, None] ** 2).T @ X * len(X) / max(len(X) - X.shape[1], 1)
    stderr = np.sqrt((inverse @ meat @ inverse)[1, 1])
    buckets = _hash_words(log.unseen_rest) @ slopes[2 : 2 + BUCKETS]
    scores = log.unseen_marker * slopes[1] + buckets
    return Estimate.with_error(slopes[1], stderr, scores)


def _hash_words(texts: tuple[str, ...]) -> Floats:
    counts = np.zeros((len(texts), BUCKETS))
    for row, text in enumerate(texts):
        for word in re.findall(r"[a-z0-9_]+", text.lower()):
            digest = hashlib.md5(SALT + word.encode(), usedforsecurity=False).digest()
            counts[row, int.from_bytes(digest[:4], "little") % BUCKETS] += 1
    return np.asarray(counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1))


def augment_bags_of_words(log: BlindLog) -> Estimate:
    """Estimate by augmented inverse propensity weighting on bags of words and confounders.

    Propensities by logistic regression, outcomes of either arm by ridge, both of scikit-learn and
    cross-fitted over five folds of texts. Words are those of the texts without the marker.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.model_selection import GroupKFold

    words = CountVectorizer(max_features=MOST_WORDS, binary=True).fit_transform(log.rest)
    X = np.hstack([words.toarray(), design(log.logs.confounders)[0]])
    y, t = log.logs.outcome, log.marker
    chance, outcome = np.empty(len(y)), np.empty((2, len(y)))
    for train, test in GroupKFold(FOLDS).split(X, groups=np.array(log.rest)):
        fit = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000).fit(X[train], t[train])
        chance[test] = fit.predict_proba(X[test])[:, 1]
        for arm in (0, 1):
            own = train[t[train] == arm]
            model = RidgeCV(np.logspace(-1, 4, 11)).fit(X[own], y[own])
            outcome[arm, test] = model.predict(X[test])
    chance = np.clip(chance, EXTREME, 1 - EXTREME)
    part = outcome[1] - outcome[0]
    part += t * (y - outcome[1]) / chance - (1 - t) * (y - outcome[0]) / (1 - chance)
    return Estimate.with_error(part.mean(), part.std(ddof=1) / np.sqrt(len(part)))


@dataclass(frozen=True, slots=True)
class Deconfounded:
    """Take the confounders' effect out by a method of `causalign.deconfound`, then compare.

    For the effect of the marker, the method is told of each text whether it carries the marker.
    The interval is that of a regression on marker and confounders with robust errors, or, for
    methods that return weights, of a weighted comparison. For the ranking, it is told all words,
    and ridge learns a reward from the adjusted logs.
    """

    method: str

    def __call__(self, log: BlindLog) -> Estimate | None:
        """Return the estimate, or None where the logs lack a role that the method needs."""
        deconfounder = METHODS[self.method]()
        try:
            deconfounder.check_roles(log.logs.roles)
        except RoleNotDeclared:
            return None
        adjustment = deconfounder.fit(log.logs, text_features=log.marker[:, None])
        adjusted = adjustment.adjust(log.logs)
        told_all = deconfounder.fit(log.logs, text_features=log.vectors)
        scores = _rank(log, told_all.adjust(log.logs))
        w = np.ones(len(adjusted)) if adjusted.weights is None else adjusted.weights
        beside = None if adjustment.is_of_rows else design(log.logs.confounders)[0]
        return _contrast(log, adjusted.outcome, w, beside, scores)


def ignore_weights(log: BlindLog) -> Estimate | None:
    """Do as the method ``additive`` does, on logs whose weights are ignored."""
    if log.logs.roles.weight is None:
        return None
    return Deconfounded("additive")(replace(log, logs=replace_weights(log.logs)))


def compare_within_tests(log: BlindLog) -> Estimate | None:
    """Use the experiments alone: the mean over tests of the difference that the marker made."""
    if log.experiments is None:
        return None
    y, t = log.experiments.outcome, log.experiment_marker
    tests = log.experiments.groups
    differences = [
        y[(tests == k) & (t == 1)].mean() - y[(tests == k) & (t == 0)].mean()
        for k in np.unique(tests)
    ]
    stderr = np.std(differences, ddof=1) / np.sqrt(len(differences))
    fit = WithinTests().fit_arms(
        read_arms(log.experiments, "The benchmark"), log.experiment_vectors
    )
    scores = fit.head(log.unseen_vectors)
    return Estimate.with_error(
        float(np.mean(differences)), stderr, scores, degrees_of_freedom=len(differences) - 1
    )


def pool_with_tests(log: BlindLog) -> Estimate | None:
    """Fit one reward to the deconfounded log and to the experiments: `causalign.reward.Pooled`.

    The effect is what the reward pays for writing the marker into a text; the interval is that of
    the reward, shrinkage included.
    """
    if log.experiments is None or log.edit is None:
        return None
    logs = Additive().fit(log.logs, text_features=log.vectors).adjust(log.logs)
    fit = Pooled().fit_both(logs, log.vectors, log.experiments, log.experiment_vectors)
    ends = np.vstack([np.zeros_like(log.edit), log.edit])
    stderr = np.linalg.norm(np.diff(fit.head.along(ends), axis=0))
    effect = float(log.edit @ fit.head.coefficients)
    return Estimate.with_error(effect, float(stderr), fit.head(log.unseen_vectors))


def weigh_by_propensity(log: BlindLog) -> Estimate | None:
    """Weigh outcomes by one over the logged probability of having, or not having, the marker.

    Hájek's ratio in either arm, with the error of its influence function.
    """
    if log.marker_chance is None:
        return None
    influence, effect = np.zeros(len(log.marker)), 0.0
    for sign, held, chance in (
        (1.0, log.marker, log.marker_chance),
        (-1.0, 1 - log.marker, 1 - log.marker_chance),
    ):
        w = held / chance
        mean = float(w @ log.logs.outcome / w.sum())
        effect += sign * mean
        influence += sign * w * (log.logs.outcome - mean) / w.mean()
    return Estimate.with_error(effect, influence.std(ddof=1) / np.sqrt(len(influence)))


def replace_weights(logs: Logs) -> Logs:
    """Return the logs with the weights of their rows forgotten."""
    return replace(logs, roles=replace(logs.roles, weight=None))


def _rank(log: BlindLog, logs: Logs) -> Floats:
    """Return rewards of the unseen texts, by ridge on logs whose outcome was adjusted."""
    texts = logs.codes_of(logs.roles.completion)
    fit = Ridge().fit_arrays(log.vectors, logs.outcome, groups=texts, weights=logs.weights)
    return np.asarray(fit.head(log.unseen_vectors))


def _contrast(
    log: BlindLog,
    outcome: Floats,
    w: Floats,
    beside: Floats | None = None,
    scores: Floats | None = None,
) -> Estimate:
    """Return the weighted difference that the marker makes, with an HC1 error.

    What ``beside (n, k)`` explains of the marker adds nothing to what is known of its effect.
    """
    centred = log.marker - np.average(log.marker, weights=w)
    effect = float((w * centred) @ outcome / ((w * centred) @ centred))
    Z = np.ones((len(w), 1)) if beside is None else np.column_stack([np.ones(len(w)), beside])
    root = np.sqrt(w)[:, None]
    both = np.column_stack([log.marker, outcome - effect * log.marker])
    left = both - Z @ np.linalg.lstsq(root * Z, root * both, rcond=None)[0]
    score = w * left[:, 0] * left[:, 1]
    bread = (w * left[:, 0]) @ left[:, 0]
    small = len(w) / max(len(w) - Z.shape[1] - 1, 1)
    return Estimate.with_error(effect, float(np.sqrt(small * score @ score) / bread), scores)


ESTIMATORS: Mapping[str, Estimator] = MappingProxyType(
    {
        "naive": compare_means,
        "hashed-buckets": regress_on_buckets,
        "bag-of-words-aiptw": augment_bags_of_words,
        **{name: Deconfounded(name) for name in METHODS},
        "logged-propensities": weigh_by_propensity,
        "weights-ignored": ignore_weights,
        "tests-alone": compare_within_tests,
        "log-and-tests": pool_with_tests,
    }
)
