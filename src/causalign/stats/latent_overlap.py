"""Ask whether texts judged by different objectives look alike in the features that were learned."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError
from causalign.stats.folds import group_folds
from causalign.stats.predictability import auc

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

INVERSE_PENALTIES = (1e-3, 1e-1, 1e1, 1e3)


@dataclass(frozen=True, slots=True, eq=False)
class LatentOverlap:
    """Hold, by objective, how well features give it away and how many rows could be of another.

    ``probability`` ``(n, c)`` is that of each objective for a row, by a fit that did not see it;
    ``auc`` ``(c,)`` one objective against the rest; ``overlap`` the share of rows to which every
    objective has at least ``floor`` times its own share.
    """

    objective: tuple[str, ...]
    probability: Array
    auc: Array
    overlap: float
    floor: float


def latent_overlap(
    features: ArrayLike,
    objective: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    folds: int = 5,
    floor: float = 0.1,
    seed: int = 0,
) -> LatentOverlap:
    """Predict the ``objective`` ``(n,)`` from ``features`` ``(n, d)`` by cross-fitted regression.

    Positivity in the latent features, ``P(c | z) > 0`` for every objective c, is what lets a reward
    for c be learned where texts were judged by others. A logistic regression on standardised
    features, its penalty chosen inside the training folds, stands for ``P(c | z)``.

    Assumption: the objective's log-odds are linear in the features; a relation that is not stays
    unseen, so overlap is an upper bound. Raises `InputError` for shapes that do not fit or a single
    objective. Reference: arXiv 2506.05967, section 4.
    """
    X = np.asarray(features, dtype=np.float64)
    label, member = np.unique(np.asarray(objective), return_inverse=True)
    if X.ndim != 2 or member.shape != (len(X),) or not np.isfinite(X).all():
        raise InputError(f"features must be finite (n, d), objective (n,); found {X.shape}.")
    if len(label) < 2:
        raise InputError("Overlap compares at least two objectives; there is one.")
    labels = np.arange(len(X)) if groups is None else np.asarray(groups)
    fold = group_folds(labels, folds, seed)
    share = np.bincount(member) / len(member)
    probability = np.tile(share, (len(X), 1))
    for f in range(folds):
        train, held = fold != f, fold == f
        if len(np.unique(member[train])) < len(label):
            raise InputError(f"An objective has rows in one fold only; use fewer than {folds}.")
        inner = group_folds(labels[train], 3, seed)
        probability[held] = _fit_and_predict(X[train], member[train], inner, X[held])
    areas = np.array([auc(probability[:, k], (member == k) * 1.0) for k in range(len(label))])
    possible = (probability >= floor * share).all(axis=1)
    names = tuple(str(name) for name in label)
    return LatentOverlap(names, probability, areas, float(possible.mean()), floor)


def _fit_and_predict(X: Array, member: Codes, inner: Codes, held: Array) -> Array:
    """Return P(c | z) of held-out rows, with the penalty of the least log loss in inner folds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import StandardScaler

    def model(inverse: float, rows: NDArray[np.bool_]) -> "Pipeline":
        fit = LogisticRegression(C=inverse, max_iter=2000)
        return make_pipeline(StandardScaler(), fit).fit(X[rows], member[rows])

    loss = np.zeros(len(INVERSE_PENALTIES))
    for f in range(int(inner.max()) + 1):
        away = inner == f
        if len(np.unique(member[~away])) < len(np.unique(member)):
            continue
        for step, inverse in enumerate(INVERSE_PENALTIES):
            log_share = model(inverse, ~away).predict_log_proba(X[away])
            loss[step] -= np.maximum(log_share, -50)[np.arange(len(log_share)), member[away]].sum()
    everyone = np.ones(len(X), dtype=bool)
    best = model(INVERSE_PENALTIES[int(loss.argmin())], everyone)
    return np.asarray(best.predict_proba(held))
