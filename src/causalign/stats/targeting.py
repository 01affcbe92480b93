"""What does it gain to send each audience its own text? Chosen on one half, valued on the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError
from causalign.stats.audience_ridge import AudienceRidge, audience_ridge
from causalign.stats.folds import group_folds

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

NORMAL = 1.959963984540054


@dataclass(frozen=True, slots=True, eq=False)
class Gains:
    """Hold gains with standard errors ``(k,)``, in units of the outcome."""

    estimate: Array
    error: Array

    @property
    def lower(self) -> Array:
        """Return the lower ends of the 95 % intervals."""
        return np.asarray(self.estimate - NORMAL * self.error)

    @property
    def upper(self) -> Array:
        """Return the upper ends of the 95 % intervals."""
        return np.asarray(self.estimate + NORMAL * self.error)


@dataclass(frozen=True, slots=True, eq=False)
class TargetingGains:
    """Hold what choosing among texts earns; gains are over the texts of the log.

    ``targeting`` and ``whole`` hold one number: what own texts earn beyond one text for all, and
    what one text for all earns over the whole. By audience ``(a,)``: ``one``, what the text for all
    earns there, ``own`` what the audience's own text earns, ``regret`` their difference. ``naive``
    is ``targeting`` as those claim who let each audience learn alone, and choose and value on the
    same rows. ``text_for_all`` and
    ``own_texts (a,)`` are places among the candidates, chosen on all rows.
    """

    targeting: Gains
    naive: Gains
    whole: Gains
    one: Gains
    own: Gains
    regret: Gains
    text_for_all: int
    own_texts: Codes


def targeting_gains(
    fit: AudienceRidge,
    features: ArrayLike,
    outcome: ArrayLike,
    audience: ArrayLike,
    candidates: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    folds: int = 5,
    seed: int = 0,
) -> TargetingGains:
    """Choose by rewards of one half of the groups, value by those of the other, average both ways.

    The text for all has the largest mean reward over the audiences as they are mixed, each
    audience's own the largest there. The best of many estimates is best partly by luck, which the
    half that chose believes and the other does not share. Errors count noise, what penalties take
    from any direction, and what they took from this one; the halves' errors are added as if they
    always agreed, which never falls short.

    Assumption: that of the rewards; the candidates lie where the log's texts do.

    Parameters
    ----------
    fit : AudienceRidge
        Of all rows.
    features, outcome, audience, weights, groups
        Those of the fit.
    candidates : (c, d) array
        Vectors of the texts to choose among.
    folds : int
        For the penalties of each half.
    seed : int
        Of the cuts.
    """
    X, y, code = np.asarray(features), np.asarray(outcome), np.asarray(audience)
    texts = np.asarray(candidates, dtype=np.float64)
    if texts.ndim != 2 or texts.shape[1] != X.shape[1] or not len(texts):
        raise InputError(f"candidates must be (c, {X.shape[1]}), not {texts.shape}.")
    labels = np.arange(len(X)) if groups is None else np.asarray(groups)
    w = np.ones(len(X)) if weights is None else np.asarray(weights, dtype=np.float64)
    half = group_folds(labels, 2, seed)

    def fit_rows(rows: NDArray[np.bool_], *, alone: bool = False) -> AudienceRidge:
        return audience_ridge(
            X[rows],
            y[rows],
            code[rows],
            folds=group_folds(labels[rows], folds, seed),
            weights=w[rows],
            groups=labels[rows],
            audiences=len(fit.shares),
            alone=alone,
        )

    halves = [fit_rows(half == number) for number in range(2)]
    apart = fit_rows(half >= 0, alone=True)
    choices = [_choose(one, texts, fit.shares) for one in (*halves, apart)]
    contrasts = [_contrasts(choice, texts, fit) for choice in choices]
    honest = _average([_value(halves[1], contrasts[0]), _value(halves[0], contrasts[1])])
    naive = apart.contrast(contrasts[2][:, :, :1])
    a = len(fit.shares)
    cut = np.cumsum([1, 1, a, a])
    parts = zip(*(np.split(values, cut) for values in honest), strict=True)
    targeting, whole, one, own, regret = (Gains(*part) for part in parts)
    claimed = Gains(naive.estimate, np.sqrt(np.diag(naive.noise + naive.prior)))
    return TargetingGains(
        targeting, claimed, whole, one, own, regret, *_choose(fit, texts, fit.shares)
    )


def gains_of_texts(fit: AudienceRidge, texts: ArrayLike) -> tuple[Gains, Gains]:
    """Return what sending vectors ``(m, d)`` at random earns: over the whole, and by audience.

    As when a policy wrote them for everybody. They must not have been chosen by this reward.
    """
    mean = np.asarray(texts, dtype=np.float64).mean(axis=0)
    beyond = mean - fit.centres  # (a, d)
    each = np.eye(len(fit.shares))[:, None, :] * beyond[:, :, None]
    whole = (fit.shares[:, None] * beyond)[:, :, None]
    return Gains(*_value(fit, whole)), Gains(*_value(fit, each))


def _choose(fit: AudienceRidge, texts: Array, shares: Array) -> tuple[int, Codes]:
    """Return the best text for all, and the best for each audience."""
    rewards = texts @ fit.coefficients.T  # (c, a); levels move no choice
    return int((rewards @ shares).argmax()), rewards.argmax(axis=0)


def _contrasts(choice: tuple[int, Codes], texts: Array, fit: AudienceRidge) -> Array:
    """Return the contrasts ``(a, d, 2 + 3a)`` of `TargetingGains`, in its order."""
    one, own = texts[choice[0]], texts[choice[1]]  # (d,), (a, d)
    each, share = np.eye(len(own))[:, None, :], fit.shares[:, None, None]
    regret, beyond, best = (
        gap[:, :, None] for gap in (own - one, one - fit.centres, own - fit.centres)
    )
    parts = [share * regret, share * beyond, each * beyond, each * best, each * regret]
    return np.concatenate(parts, axis=2)


def _value(fit: AudienceRidge, contrasts: Array) -> tuple[Array, Array]:
    """Return estimates and standard errors of contrasts that the fit did not choose."""
    seen = fit.contrast(contrasts)
    return seen.estimate, np.sqrt(np.diag(seen.noise + seen.prior) + seen.shrunk**2)


def _average(both: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    first, second = both
    return (first[0] + second[0]) / 2, (first[1] + second[1]) / 2
