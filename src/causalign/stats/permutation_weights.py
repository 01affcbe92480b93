"""Weights under which text and confounders are independent, from a real-or-shuffled classifier."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError, SettingsError
from causalign.stats.folds import check_folds
from causalign.stats.predictability import auc

Floats = NDArray[np.float64]
CLASSIFIERS = ("logistic", "boosting")
# Odds beyond this are certainty; the cap only keeps them finite.
MOST_CERTAIN = 1e-12


class Classifier(Protocol):
    """A classifier of scikit-learn, or anything with its two methods."""

    def fit(self, X: Floats, y: NDArray[np.int64], sample_weight: Floats) -> object:
        """Learn the classes ``y (n,)`` of rows ``X (n, p)``."""
        ...

    def predict_proba(self, X: Floats) -> Floats:
        """Return the probabilities of the classes, ``(n, 2)``."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PermutationWeights:
    """Hold the weights ``(n,)`` of mean 1, and what the classifier said on unseen rows.

    ``auc`` is that of shuffled against real rows: .5 when text and confounders are independent
    already, 1 when no weights can help. ``clipped`` is the share of rows whose weight was capped.
    """

    weights: Floats
    auc: float
    clipped: float


def permutation_weights(
    features: ArrayLike,
    confounders: ArrayLike,
    *,
    folds: ArrayLike,
    classifier: object = "logistic",
    repetitions: int = 4,
    components: int | None = 32,
    largest: float = 20.0,
    weights: ArrayLike | None = None,
    seed: int = 0,
) -> PermutationWeights:
    """Return ``w = p(T) p(C) / p(T, C)``, T and C the rows of ``features`` and ``confounders``.

    Real rows (T_i, C_i) and rows (T_i, C_σ(i)) with shuffled confounders are told apart by a
    classifier; if η is its probability of "shuffled", ``w = η / (1 - η)``. Each row's η comes from
    a fit on other folds. ``features (n, p)`` and ``confounders (n, k)`` are standardised; the
    classifier sees T, C, C² and all products T C. ``classifier`` is ``logistic``, ``boosting``
    (gradient-boosted trees) or a scikit-learn classifier. Shuffles are repeated ``repetitions``
    times; more than ``components`` features are first reduced to as many principal components;
    weights are capped at ``largest`` times their mean. With ``weights (n,)`` of the rows, the
    weighted distributions are made independent; the result does not contain them.

    Assumption: wherever p(T) p(C) > 0, p(T, C) > 0 (overlap), and the classifier is calibrated.

    Raises `SettingsError` and `InputError`. Reference: Arbour, Dimmery and Sondhi (2021),
    arXiv:1901.01230.
    """
    _check_settings(classifier, repetitions, components, largest)
    T, C = _standardise(features, "features"), _standardise(confounders, "confounders")
    if len(T) != len(C):
        raise InputError(f"There are {len(T)} rows of features and {len(C)} of confounders.")
    base = np.ones(len(T)) if weights is None else np.asarray(weights, dtype=np.float64)
    T = T if components is None else _reduce(T, components)
    member = check_folds(folds, len(T))
    generator = np.random.default_rng(seed)
    odds, scores = np.empty(len(T)), []
    for fold in range(int(member.max()) + 1):
        train, held = member != fold, member == fold
        model = _fit(classifier, T[train], C[train], base[train], repetitions, generator)
        real = _shuffled_probability(model, T[held], C[held])
        order = generator.permutation(int(held.sum()))
        other = _shuffled_probability(model, T[held], C[held][order])
        labels = np.repeat([0.0, 1.0], len(order))
        scores.append(auc(np.concatenate([real, other]), labels))
        odds[held] = real / (1 - real)
    weight, clipped = _cap(odds, base, largest)
    return PermutationWeights(weight, float(np.mean(scores)), clipped)


def weighted_correlations(features: ArrayLike, confounders: ArrayLike, weights: Floats) -> Floats:
    """Return the weighted correlation of each feature with each confounder, ``(p, k)``.

    A column that does not vary under the weights correlates with nothing: 0.
    """
    share = weights / weights.sum()

    def standardise(values: ArrayLike) -> Floats:
        columns = np.asarray(values, dtype=np.float64)
        columns = columns - share @ columns
        spread = np.sqrt(share @ columns**2)
        return np.asarray(
            np.divide(columns, spread, out=np.zeros_like(columns), where=spread > 1e-12)
        )

    return np.asarray((standardise(features) * share[:, None]).T @ standardise(confounders))


def effective_size(weights: Floats) -> float:
    """Return ``(Σ w)² / Σ w²``: as many equally weighted rows give as precise a mean."""
    return float(weights.sum() ** 2 / (weights @ weights))


def _fit(
    classifier: object,
    T: Floats,
    C: Floats,
    base: Floats,
    repetitions: int,
    generator: np.random.Generator,
) -> Classifier:
    """Fit the classifier to real rows (0) and to shuffled ones (1), both of the same weight."""
    orders = [generator.permutation(len(T)) for _ in range(repetitions)]
    columns = np.empty(((1 + repetitions) * len(T), _width(T, C)))
    for place, order in enumerate([np.arange(len(T)), *orders]):
        _fill_columns(columns[place * len(T) : (place + 1) * len(T)], T, C[order])
    labels = np.repeat([0, 1], [len(T), repetitions * len(T)])
    shuffled = [base * base[o] / base.mean() / repetitions for o in orders]
    sample = np.concatenate([base, *shuffled])
    model = _make_classifier(classifier)
    model.fit(columns, labels, sample_weight=sample)
    return model


def _make_classifier(classifier: object) -> Classifier:
    # Here, because scikit-learn takes more time and memory to import than the rest together.
    from sklearn.base import clone
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    if classifier == "logistic":
        logistic: Classifier = LogisticRegression(max_iter=1000)
        return logistic
    if classifier == "boosting":
        # Early stopping would hold out shuffled copies of rows that it trains on.
        trees: Classifier = HistGradientBoostingClassifier(
            max_iter=60, early_stopping=False, random_state=0
        )
        return trees
    copy: Classifier = clone(classifier)
    return copy


def _width(T: Floats, C: Floats) -> int:
    return int(T.shape[1] + 2 * C.shape[1] + T.shape[1] * C.shape[1])


def _fill_columns(columns: Floats, T: Floats, C: Floats) -> None:
    """Fill ``columns (n, w)`` with T, C, C² and all products of T and C, without a copy."""
    p, k = T.shape[1], C.shape[1]
    columns[:, :p], columns[:, p : p + k] = T, C
    np.square(C, out=columns[:, p + k : p + 2 * k])
    # Shuffling changes no column alone: trees, which split on one column at a time, would see
    # nothing to gain without the products.
    for j in range(p):
        start = p + 2 * k + j * k
        np.multiply(C, T[:, j, None], out=columns[:, start : start + k])


def _shuffled_probability(model: Classifier, T: Floats, C: Floats) -> Floats:
    columns = np.empty((len(T), _width(T, C)))
    _fill_columns(columns, T, C)
    probability = model.predict_proba(columns)[:, 1]
    return np.asarray(np.clip(probability, MOST_CERTAIN, 1 - MOST_CERTAIN))


def _cap(odds: Floats, base: Floats, largest: float) -> tuple[Floats, float]:
    """Scale the odds to a weighted mean of 1, capped; return them and the share that was capped.

    The cap is ``largest`` times the mean of the capped odds: one row whose odds are a million
    would else lift the mean so far that nothing of the others is left.
    """
    order = np.argsort(-odds)
    o, b = odds[order], base[order]
    # With the k largest capped, c = largest (c Σ_{i <= k} b_i + Σ_{i > k} b_i o_i) / Σ b_i.
    above = np.cumsum(b) - b
    room = b.sum() / largest - above
    rest = np.cumsum((b * o)[::-1])[::-1]
    caps = np.divide(rest, room, out=np.full_like(o, np.inf), where=room > 0)
    cap = caps[np.argmax(caps >= o)]  # the fewest that must be
    capped = np.minimum(odds, cap)
    return capped / np.average(capped, weights=base), float((odds > cap).mean())


def _standardise(values: ArrayLike, name: str) -> Floats:
    columns = np.asarray(values, dtype=np.float64)
    if columns.ndim != 2 or columns.shape[1] == 0 or not np.isfinite(columns).all():
        raise InputError(f"{name} must be finite numbers (n, columns), not {columns.shape}.")
    centred = columns - columns.mean(axis=0)
    spread = centred.std(axis=0)
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-12)
    return np.asarray(scaled)


def _reduce(T: Floats, components: int) -> Floats:
    """Return the leading principal components, each of unit variance, if there are too many."""
    if T.shape[1] <= components:
        return T
    _, vectors = np.linalg.eigh(T.T @ T)
    return _standardise(T @ vectors[:, ::-1][:, :components], "features")


def _check_settings(
    classifier: object, repetitions: int, components: int | None, largest: float
) -> None:
    known = isinstance(classifier, str) and classifier in CLASSIFIERS
    if not known and not (hasattr(classifier, "fit") and hasattr(classifier, "predict_proba")):
        raise SettingsError(
            f"classifier must be one of {', '.join(CLASSIFIERS)} or a scikit-learn classifier with "
            f"predict_proba, not {classifier!r}."
        )
    if repetitions < 1 or (components is not None and components < 1):
        raise SettingsError("repetitions and components must be at least 1.")
    if not largest > 1:
        raise SettingsError(f"largest must be above 1, the mean of the weights, not {largest!r}.")
