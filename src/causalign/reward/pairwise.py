"""Fit a reward to preferences between two texts by Bradley-Terry logistic regression."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError
from causalign.reward.findings import check_chooser, dropped_pairs, no_signal, penalty_at_edge
from causalign.reward.fitted import RewardFit, path_table
from causalign.reward.head import LinearHead
from causalign.stats.folds import group_folds
from causalign.stats.logistic_path import LogisticPath, logistic_path
from causalign.stats.penalties import check_penalties

__all__ = ["PairwiseReward"]

_ASSUMPTION = (
    "Preferences follow Bradley-Terry with a reward linear in the features; it is the effect of "
    "the text only as far as the two sides of a pair were compared under equal conditions."
)


@dataclass(frozen=True, slots=True)
class PairwiseReward:
    """Fit ``P(chosen ≻ rejected) = σ((x_c - x_r)'b)`` with penalty ``½ λ‖b‖²``, λ by validation.

    ``penalties`` are the λ to try (default: 33 scaled to the data); ``choose`` takes the one with
    the smallest cross-validated loss, or the largest within one standard error of it. The reward
    has no zero: only differences of it mean something, in log-odds.

    Assumption: Bradley-Terry given the features; pairs of different groups are independent.

    Raises ``SettingsError`` for settings out of range. Reference: Bradley and Terry (1952),
    Biometrika 39; used as the experimental benchmark by arXiv 2506.00152.
    """

    penalties: Sequence[float] | None = None
    folds: int = 5
    choose: Literal["minimum", "one-standard-error"] = "minimum"
    seed: int = 0

    name: ClassVar[str] = "pairwise"

    def __post_init__(self) -> None:
        check_chooser(self.choose)
        if self.penalties is not None:
            check_penalties(self.penalties)

    def fit(
        self,
        chosen_features: ArrayLike,
        rejected_features: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        margins: ArrayLike | None = None,
    ) -> RewardFit:
        """Fit on features ``(n, d)`` of the chosen and the rejected side; groups share a fold.

        ``weights`` and ``margins`` are ``(n,)``; a margin asks the chosen side to win by that many
        log-odds. Pairs with identical sides are dropped and counted in finding RM104; their
        ``out_of_fold`` difference is 0. Raises ``InputError`` if shapes or values do not fit, or no
        pair is left.
        """
        chosen = np.asarray(chosen_features, dtype=np.float64)
        rejected = np.asarray(rejected_features, dtype=np.float64)
        if chosen.ndim != 2 or chosen.shape != rejected.shape:
            raise InputError(
                "Both sides must have features (n, d) of one shape; they have "
                f"{chosen.shape} and {rejected.shape}."
            )
        D = chosen - rejected
        # NaN differs from 0, so that missing values stay and are refused below.
        kept = (D != 0).any(axis=1)
        if not kept.any():
            raise InputError("No pair has two different sides; nothing can be learned.")
        given = {"groups": groups, "weights": weights, "margins": margins}
        rows = {name: _rows(name, values, kept) for name, values in given.items()}
        labels = rows["groups"]
        cut = group_folds(int(kept.sum()) if labels is None else labels, self.folds, self.seed)
        path = logistic_path(
            D[kept],
            folds=cut,
            penalties=self.penalties,
            weights=rows["weights"],
            margins=rows["margins"],
        )
        index = path.best if self.choose == "minimum" else path.one_standard_error
        return _result(D, kept, path, index)


def _rows(name: str, values: ArrayLike | None, kept: NDArray[np.bool_]) -> NDArray | None:
    if values is None:
        return None
    given = np.asarray(values)
    if given.shape != kept.shape:
        raise InputError(f"{name} must have shape {kept.shape}; its shape is {given.shape}.")
    return given[kept]


def _result(
    D: NDArray[np.float64], kept: NDArray[np.bool_], path: LogisticPath, index: int
) -> RewardFit:
    held_out = np.zeros(len(D))
    best = index == path.best
    held_out[kept] = path.out_of_fold if best else path.out_of_fold_at(D[kept], index)
    r2 = 1 - float(path.cv_error[index]) / path.null_error
    accuracy = float(np.mean((held_out > 0) + 0.5 * (held_out == 0)))
    return RewardFit(
        method=PairwiseReward.name,
        head=LinearHead(path.coefficients[index]),
        penalty=float(path.penalties[index]),
        path=path_table(path.penalties, path.cv_error, path.cv_standard_error, index),
        error_name="negative log-likelihood",
        units="log-odds",
        assumption=_ASSUMPTION,
        out_of_fold=held_out,
        numbers={
            "pairs": float(kept.sum()),
            "features": float(D.shape[1]),
            "penalty": float(path.penalties[index]),
            "best_penalty": float(path.penalties[path.best]),
            "cv_error": float(path.cv_error[index]),
            "cv_r2": r2,
            "cv_accuracy": accuracy,
        },
        findings=(
            penalty_at_edge(path.penalties, path.best),
            no_signal(r2, "the share of log-likelihood explained (McFadden's R²)"),
            dropped_pairs(int((~kept).sum()), len(D)),
        ),
    )
