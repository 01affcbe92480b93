"""Fit a reward to preferences between two texts by Bradley-Terry logistic regression."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError
from causalign.lm.embedded_logs import embed_texts
from causalign.lm.encoder import Encoder
from causalign.logs import Logs, Pairs
from causalign.logs.pairs import join_prompts
from causalign.reward.estimates import LinearHeadFit
from causalign.reward.examples import NEGATIVE_MARGIN
from causalign.reward.findings import dropped_pairs, no_signal, pairs_decide, penalty_at_edge
from causalign.reward.from_logs import Vectors, learning_rows
from causalign.reward.heads import LinearHead
from causalign.reward.model import RewardFit
from causalign.reward.vector_method import LinearMethod, path_numbers, path_table
from causalign.stats.folds import group_folds
from causalign.stats.logistic_path import MOST_CURVATURE, LogisticPath, logistic_path
from causalign.stats.support import Support, measure_support

_ASSUMPTION = (
    "Preferences follow Bradley-Terry with a reward linear in the features; it is the effect of "
    "the text only as far as the two sides of a pair were compared under equal conditions."
)


@dataclass(frozen=True, slots=True)
class Pairwise(LinearMethod):
    """Fit ``P(chosen ≻ rejected) = σ((x_c - x_r)'b)`` with penalty ``½ λ‖b‖²``, λ by validation.

    The reward has no zero: only differences of it mean something, in log-odds.

    Assumption: Bradley-Terry given the features; pairs of different groups are independent.

    Parameters
    ----------
    penalties : sequence of floats, optional
        The λ to try; unless given up to 33 that are scaled to the data, none so light that the
        fit would claim more than the number of pairs can show.
    folds : int
    choose : {"minimum", "one-standard-error"}
        Take the λ with the smallest cross-validated loss, or the largest within one standard error
        of it.
    seed : int
        Of the cut into folds.

    Raises
    ------
    SettingsError
        For settings out of range.

    References
    ----------
    Bradley and Terry (1952), Biometrika 39; used as the experimental benchmark by
    arXiv 2506.00152.
    """

    choose: Literal["minimum", "one-standard-error"] = "minimum"

    name: ClassVar[str] = "pairwise"

    @property
    def compares(self) -> bool:
        """Whether it learns from pairs: always."""
        return True

    def _check_groups(self, groups: NDArray[np.int64]) -> None:
        group_folds(groups, self.folds, self.seed)

    def _fit_logs(self, logs: Logs, vectors: Vectors) -> LinearHeadFit:
        rows = learning_rows(logs, pairs=True)
        return self.fit_arrays(*rows.vectors(vectors), groups=rows.groups, weights=rows.weights)

    def fit_pairs(
        self, pairs: Pairs, encoder: str | Encoder | None = None, *, progress: bool = False
    ) -> RewardFit:
        """Fit on pairs that were read or made elsewhere; their groups and weights count.

        Parameters
        ----------
        pairs : Pairs
            Sides that met the same conditions.
        encoder : str or Encoder, optional
            What turns texts into vectors; "minilm+style" unless given.
        progress : bool
            Show a bar.
        """
        sides = (pairs.chosen, pairs.rejected)
        texts = [text for side in sides for text in join_prompts(side, pairs.prompt)]
        embeddings = embed_texts(texts, encoder, progress=progress)
        chosen, rejected = np.split(embeddings.vectors.astype(np.float64), 2)
        estimate = self.fit_arrays(chosen, rejected, groups=pairs.group, weights=pairs.weight)
        return RewardFit.of(
            self,
            estimate,
            embeddings.encoder,
            texts=len(embeddings.vectors),
            truncated=embeddings.truncated,
            reads_prompt=pairs.prompt is not None,
        )

    def fit_arrays(
        self,
        chosen_features: ArrayLike,
        rejected_features: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        margins: ArrayLike | None = None,
    ) -> LinearHeadFit:
        """Fit on vectors of the chosen and the rejected side of pairs.

        Pairs with identical sides are dropped and counted (RM104); their difference is 0.

        Parameters
        ----------
        chosen_features, rejected_features : (n, d) arrays
        groups : (n,) array, optional
            Pairs of one group share a fold.
        weights, margins : (n,) arrays, optional
            With a margin the chosen side is asked to win by that many log-odds.

        Raises
        ------
        InputError
            If shapes or values do not fit, a margin is negative, or no pair is left.
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
        differs = (D != 0).any(axis=1)
        if not differs.any():
            raise InputError("No pair has two different sides; nothing can be learned.")
        labels, asked = _rows("groups", groups, differs), _rows("margins", margins, differs)
        if asked is not None and (np.asarray(asked, dtype=np.float64) < 0).any():
            raise InputError(NEGATIVE_MARGIN)
        counted = _rows("weights", weights, differs)
        path = logistic_path(
            D[differs],
            folds=group_folds(
                int(differs.sum()) if labels is None else labels, self.folds, self.seed
            ),
            penalties=self.penalties,
            weights=counted,
            margins=asked,
        )
        index = path.best if self.choose == "minimum" else path.one_standard_error
        factor = path.covariance_factor(
            D[differs], index, weights=counted, margins=asked, groups=labels
        )
        support = _texts_support(chosen[differs], rejected[differs], path, index, counted)
        return _fit_of_path(D, differs, path, index, factor, support)


def _rows(
    name: str, values: ArrayLike | None, differs: NDArray[np.bool_]
) -> NDArray[np.generic] | None:
    if values is None:
        return None
    given = np.asarray(values)
    if given.shape != differs.shape:
        raise InputError(f"{name} must have shape {differs.shape}; its shape is {given.shape}.")
    return given[differs]


def _texts_support(
    chosen: NDArray[np.float64],
    rejected: NDArray[np.float64],
    path: LogisticPath,
    index: int,
    weights: NDArray[np.generic] | None,
) -> Support:
    """Return what the texts of both sides cover, a pair at the most that it says of a text."""
    w = np.ones(len(chosen)) if weights is None else weights.astype(np.float64)
    both = np.vstack([chosen, rejected])
    return measure_support(both, float(path.penalties[index]), MOST_CURVATURE * np.r_[w, w])


def _fit_of_path(
    D: NDArray[np.float64],
    differs: NDArray[np.bool_],
    path: LogisticPath,
    index: int,
    factor: NDArray[np.float64],
    support: Support,
) -> LinearHeadFit:
    held_out = np.zeros(len(D))
    best = index == path.best
    held_out[differs] = path.out_of_fold if best else path.out_of_fold_at(D[differs], index)
    numbers = path_numbers(path, index)
    return LinearHeadFit(
        method=Pairwise.name,
        head=LinearHead(path.coefficients[index], 0.0, factor.astype(np.float32), support),
        penalty=numbers["penalty"],
        path=path_table(path, index),
        error_name="negative log-likelihood",
        units="log-odds",
        assumption=_ASSUMPTION,
        out_of_fold=held_out,
        numbers={
            "pairs": float(differs.sum()),
            **numbers,
            "cv_accuracy": float(np.mean((held_out > 0) + 0.5 * (held_out == 0))),
        },
        findings=(
            penalty_at_edge(path.penalties, path.best, is_floored=path.is_floored),
            no_signal(numbers["cv_r2"], "the share of log-likelihood explained (McFadden's R²)"),
            dropped_pairs(int((~differs).sum()), len(D)),
            pairs_decide(int(differs.sum()), index, is_floored=path.is_floored),
        ),
    )
