"""What a reward may offer to a policy: a score of each text, predicted outcomes, preferences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError
from causalign.lm.processes import run_once
from causalign.logs import CrossFitted, Logs, OutcomeModel
from causalign.logs.outcome_model import CrossFittable as CrossFittable
from causalign.logs.outcome_model import predict_outcome

# (completions, prompts or None) -> (n,): a score of each text, higher is better.
Reward = OutcomeModel


@runtime_checkable
class PredictsOutcome(Protocol):
    """A reward that predicts the outcome itself, such as a `RewardModel`."""

    def expected_outcome(
        self, completions: Sequence[str], prompts: Sequence[str] | None = None
    ) -> ArrayLike:
        """Predict the outcome of texts.

        Parameters
        ----------
        completions : n texts
        prompts : n texts, optional

        Returns
        -------
        (n,) numbers
            E[Y | T] of each text, in units of the outcome.
        """
        ...


@runtime_checkable
class PredictsPreference(Protocol):
    """A reward that says which of two texts is preferred."""

    def preference(
        self,
        first: Sequence[str],
        second: Sequence[str],
        prompts: Sequence[str] | None = None,
    ) -> ArrayLike:
        """Predict who wins.

        Parameters
        ----------
        first, second : p texts
            The two sides of each pair.
        prompts : p texts, optional

        Returns
        -------
        (p,) numbers
            The probability that the first text is preferred.
        """
        ...


def replace_outcome(logs: Logs, reward: Reward) -> Logs:
    """Return the logs with the reward of each text as its outcome.

    A reward averages over the noise of single outcomes, and holds what a deconfounder did.
    """
    rewards = run_once(lambda: predict_outcome(reward, logs.completions, logs.prompts))
    if np.ptp(rewards) == 0:
        raise InputError(
            f"The reward of every text is {rewards[0]:g}: nothing can be learned from it."
        )
    return logs.with_outcome(rewards, "the reward of each text")


@dataclass(slots=True)
class OutcomePredictor:
    """The outcome model in a reward, asked by the main process alone; all get the answer.

    With ``crossed`` it is fitted again without each fold of the logs, if the reward can be.
    """

    reward: Reward
    logs: Logs
    crossed: bool
    _model: OutcomeModel | None = None

    def __call__(self, completions: Sequence[str], prompts: Sequence[str] | None) -> ArrayLike:
        """Return predictions ``(n,)`` for new texts."""
        return run_once(lambda: predict_outcome(self._resolve(), completions, prompts))

    def predict_logged(self) -> NDArray[np.float64]:
        """Return predictions ``(n,)`` for the logged rows, by models that did not see them."""

        def ask() -> NDArray[np.float64]:
            model, logs = self._resolve(), self.logs
            if isinstance(model, CrossFitted):
                return model.predict_logged(logs.completions, logs.prompts)
            return predict_outcome(model, logs.completions, logs.prompts)

        return run_once(ask)

    def _resolve(self) -> OutcomeModel:
        if self._model is None:
            if self.crossed and isinstance(self.reward, CrossFittable):
                self._model = self.reward.cross_fit(self.logs)
            elif isinstance(self.reward, PredictsOutcome):
                self._model = self.reward.expected_outcome
            else:
                self._model = self.reward
        return self._model
