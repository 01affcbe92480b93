"""What an outcome model is: a callable of texts; cross-fitted, several of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError
from causalign.logs.table import Logs
from causalign.results import Card

Texts = Sequence[str]
# ĝ(completions, prompts) -> (n,), in units of the outcome; for a binary outcome P(Y = 1 | T).
OutcomeModel = Callable[[Sequence[str], Sequence[str] | None], ArrayLike]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CrossFitted(Card):
    """K outcome models, each fitted without one fold of the logs.

    A logged row is predicted by the model that did not see it, a new text by their mean, weighted
    by the sizes of the folds: then the doubly robust correction has mean zero whenever P_R is
    right, also for models that fitted their noise.

    Parameters
    ----------
    models : tuple of K callables
        Model k was fitted on the rows with ``fold != k``.
    fold : (n,) integers
        Which model did not see a row.
    whole : UncertainReward, optional
        A model of the same kind, fitted on all rows. The mean of the K models has its error, as
        near as matters: each of them saw all rows but one fold.

    Raises
    ------
    InputError
        When ``fold`` names a model that is not there.
    """

    models: tuple[OutcomeModel, ...]
    fold: NDArray[np.int64]
    whole: "UncertainReward | None" = None

    def __post_init__(self) -> None:
        if set(np.unique(self.fold)) - set(range(len(self.models))):
            raise InputError(
                f"fold must hold numbers from 0 to {len(self.models) - 1}, one model for each."
            )

    def __call__(self, completions: Texts, prompts: Texts | None = None) -> NDArray[np.float64]:
        """Predict the outcome of new texts: the mean of the models.

        Parameters
        ----------
        completions : m texts
        prompts : m texts, optional

        Returns
        -------
        (m,) array
            In units of the outcome.
        """
        share = np.bincount(self.fold, minlength=len(self.models)) / len(self.fold)
        each = [predict_outcome(model, completions, prompts) for model in self.models]
        return share @ np.stack(each)

    def predict_logged(
        self, completions: Texts, prompts: Texts | None = None
    ) -> NDArray[np.float64]:
        """Predict the logged rows, each by the model that did not see it.

        Parameters
        ----------
        completions : n texts
            Those of the logs, in their order.
        prompts : n texts, optional

        Returns
        -------
        (n,) array
            In units of the outcome.

        Raises
        ------
        InputError
            When the number of texts is not that of the folds.
        """
        if len(completions) != len(self.fold):
            raise InputError(f"There are {len(completions)} rows and {len(self.fold)} folds.")
        predictions = np.zeros(len(completions))
        for number, model in enumerate(self.models):
            rows = np.flatnonzero(self.fold == number).tolist()
            if rows:
                asked = None if prompts is None else [prompts[row] for row in rows]
                texts = [completions[row] for row in rows]
                predictions[rows] = predict_outcome(model, texts, asked)
        return predictions


@runtime_checkable
class UncertainReward(Protocol):
    """An outcome model that tells how uncertain its predictions are: a linear reward model."""

    def __call__(self, completions: Texts, prompts: Texts | None = None) -> ArrayLike:
        """Predict the outcomes ``(m,)`` of texts."""
        ...

    def covariance_factor(
        self, completions: Texts, prompts: Texts | None = None
    ) -> NDArray[np.float64]:
        """Return F ``(m, k)``, ``F_i'F_j`` the covariance of the predictions of two texts.

        Raises ``SettingsError`` for a model that has none.
        """
        ...

    def shrinkage(self, completions: Texts, prompts: Texts | None = None) -> NDArray[np.float64]:
        """Return what the model's penalty took from each prediction ``(m,)``, by its estimate."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Assessment:
    """What a reward says of n texts, and how far it is to be believed.

    Attributes
    ----------
    reward : (n,) array
        In the units of the model.
    standard_error : (n,) array, optional
        Of each reward; of a reward of comparisons that of its difference from the average text of
        the fit. None where the model does not tell.
    leverage : (n,) array, optional
        How far each text lies from those of the fit: see `causalign.stats.support.Support`. None
        where the model does not tell: that the support is unknown.
    limit : float, optional
        The leverage up to which a text lies inside the support.
    truncated : int
        Texts whose end was not read.
    factor : (n, k + 1) array, optional
        F of `UncertainReward.covariance_factor`, and beside it what the penalty took.
    guardrails : mapping from str to Assessment
        By how much each text moves further outcomes from their mean in the log.
    audiences : mapping from str to Assessment
        What each text earns in each audience beyond what that earned in the log.
    """

    reward: NDArray[np.float64]
    standard_error: NDArray[np.float64] | None
    leverage: NDArray[np.float64] | None
    limit: float | None
    truncated: int
    factor: NDArray[np.float64] | None
    guardrails: "Mapping[str, Assessment]" = field(default_factory=dict)
    audiences: "Mapping[str, Assessment]" = field(default_factory=dict)

    @property
    def in_support(self) -> NDArray[np.bool_] | None:
        """Whether each text ``(n,)`` lies inside what the fit covers; None where unknown."""
        if self.leverage is None or self.limit is None:
            return None
        return np.asarray(self.leverage <= self.limit)


class AssessesTexts(Protocol):
    """What says of texts what they earn, and how sure that is."""

    def assess(self, completions: Texts, prompts: Texts | None = None) -> Assessment:
        """Return reward, standard error and leverage of each text."""
        ...


class AssessingReward(AssessesTexts, Protocol):
    """A reward that says how far it is to be believed, and can be fitted again: a reward model."""

    @property
    def units(self) -> str: ...  # noqa: D102
    @property
    def reads_prompt(self) -> bool: ...  # noqa: D102
    @property
    def has_covariance(self) -> bool: ...  # noqa: D102
    @property
    def guardrails(self) -> "Mapping[str, AssessesTexts]": ...  # noqa: D102
    @property
    def audiences(self) -> tuple[str, ...]: ...  # noqa: D102

    def find_nearest(
        self, completions: Texts, logged: Texts, prompts: Texts | None = None
    ) -> NDArray[np.int64]:
        """Return which of the logged texts, prompts and all, lies nearest to each ``(n,)``."""
        ...

    def fit_apart(
        self, logs: Logs, seed: int = 0
    ) -> "Sequence[tuple[AssessingReward, AssessesTexts]]":
        """Return models that were fitted without a part of the logs, and what values theirs."""
        ...


@runtime_checkable
class CrossFittable(Protocol):
    """An outcome model that can be fitted again without each fold: a reward model."""

    def cross_fit(self, logs: Logs) -> CrossFitted:
        """Return models of the same kind, each fitted without one fold of the logs."""
        ...


def predict_outcome(
    model: OutcomeModel, completions: Texts, prompts: Texts | None
) -> NDArray[np.float64]:
    """Return the model's predictions ``(n,)``; raise ``InputError`` if they are not n numbers."""
    returned, wanted = model(list(completions), prompts), f"{len(completions):,} finite numbers"
    try:
        predictions = np.asarray(returned, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as failure:
        raise InputError(
            f"An outcome model or reward must return {wanted}, one for each text; it returned "
            f"{str(returned)[:60]}, which cannot be read as numbers."
        ) from failure
    if predictions.shape != (len(completions),):
        shape = "nothing" if returned is None else f"shape {predictions.shape}"
        raise InputError(
            f"An outcome model or reward must return {wanted}, one for each text; it returned "
            f"{shape}."
        )
    broken = np.flatnonzero(~np.isfinite(predictions))
    if broken.size:
        raise InputError(
            f"An outcome model or reward must return {wanted}, one for each text; "
            f"{broken.size:,} are not, the first being {predictions[broken[0]]} for the text "
            f"{completions[broken[0]][:60]!r}."
        )
    return predictions
