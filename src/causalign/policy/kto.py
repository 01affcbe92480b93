"""Kahneman-Tversky optimisation: learn from single texts, better or worse than a threshold."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from causalign.errors import InputError
from causalign.lm.completions import Completions
from causalign.lm.language_model import LanguageModel
from causalign.lm.layout import Batch
from causalign.lm.logprob import completion_logprobs
from causalign.lm.reference import reference_logprobs
from causalign.logs import Logs
from causalign.policy.dpo import log_ratios
from causalign.policy.fit import PolicyFit
from causalign.policy.method import Data, ModelSettings, load_start, require_logs
from causalign.policy.rewards import Reward, replace_outcome
from causalign.policy.rows import tokenize_texts, train_on_rows
from causalign.settings import require_number

Floats = NDArray[np.float64]
# Keeps the exchange of completions apart from whatever else draws under the same seed.
EXCHANGE_STREAM = 0x4B70


@dataclass(frozen=True, slots=True, kw_only=True)
class KTO(ModelSettings):
    """Make texts likelier whose outcome is above a threshold, and those below it less likely.

    Reads single rows: no pairs, no propensities. A row is desirable where its outcome is above the
    threshold, and counts in proportion to how far it is from there, times its row weight:
    `KahnemanTversky`. So what decides about a text is the mean of its outcomes, and desirable and
    undesirable rows balance at the mean, however rare a click is. The signs of outcomes alone would
    not do: a click less the effect of the season is still above zero, and no click is below.

    Parameters
    ----------
    model : str
        What to tune: ``"smollm2"``, a folder, or a name on a hub.
    adapter : str, optional
        A folder with an adapter to train further.
    lora : Lora or None
        The adapter to train; None trains all weights.
    training : Training
        How long, how fast and how precisely.
    beta : float
        β: how far the policy may move; smaller moves further.
    threshold : float, optional
        The outcome at which a text is neither desirable nor undesirable; None is the mean of the
        outcomes, by the weights of the rows.
    desirable_weight, undesirable_weight : float
        λ: how much rows above and below the threshold count beside that.
    chat : bool
        Put prompts into the chat template of the model.

    Raises
    ------
    SettingsError
        For a setting out of range.

    Notes
    -----
    Assumption: outcomes are the effects of the texts (deconfounded or randomised).

    References
    ----------
    Ethayarajh et al. (2024), arXiv 2402.01306.
    """

    beta: float = 0.1
    threshold: float | None = None
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0

    name: ClassVar[str] = "kto"
    reads: ClassVar[Literal["logs", "pairs", "prompts"]] = "logs"
    plotted_metric: ClassVar[str] = "reward_difference"

    def __post_init__(self) -> None:
        require_number("beta", self.beta, above=0)
        if self.threshold is not None:
            require_number("threshold", self.threshold)
        require_number("desirable_weight", self.desirable_weight, least=0)
        require_number("undesirable_weight", self.undesirable_weight, least=0)

    @property
    def assumption(self) -> str:
        """On what the result rests."""
        return (
            "Outcomes are the effects of the texts: they were deconfounded, or the texts were "
            "randomised."
        )

    def fit(
        self,
        data: Data,
        out: str | Path,
        *,
        reward: Reward | None = None,
        progress: bool = False,
    ) -> PolicyFit:
        """Tune on logged texts; a killed fit goes on when it is called again.

        Parameters
        ----------
        data : Logs
            The texts and their outcomes, with prompts and row weights where these have a role.
        out : path
            A folder for the model, its card and the log of training.
        reward : callable, optional
            ``(completions, prompts)`` to ``(n,)``; its scores take the place of the outcome.
        progress : bool
            Show bars of progress.

        Returns
        -------
        PolicyFit

        Raises
        ------
        InputError
            For texts that cannot be used, or outcomes that are all on the threshold.
        ArtifactError
            When ``out`` holds another run or cannot be written.
        """
        logs = require_logs(data, self.name)
        return self._train(logs if reward is None else replace_outcome(logs, reward), out, progress)

    def _train(self, logs: Logs, out: str | Path, progress: bool) -> PolicyFit:
        row_weight = np.ones(len(logs)) if logs.weights is None else logs.weights
        distance = distance_from_threshold(logs.outcome, row_weight, self.threshold)
        weight = row_weight * np.abs(distance)
        start = load_start(self, whole=True)
        texts = tokenize_texts(self, start, logs.prompts, logs.completions)
        other = exchange(len(logs), self.training.seed)
        exchanged = tokenize_texts(
            self, start, logs.prompts, [logs.completions[row] for row in other]
        )
        divergence = ExchangedTexts(
            exchanged,
            reference_logprobs(start, exchanged, progress=progress),
            row_weight[other] / row_weight.mean(),
        )
        columns = {
            "reference_logprob": reference_logprobs(start, texts, progress=progress),
            "weight": weight / weight.mean(),
            "desirable": distance > 0,
        }
        objective = KahnemanTversky(self.beta, self.desirable_weight, self.undesirable_weight)
        with np.errstate(divide="ignore"):
            log_weight = np.log(weight)
        return train_on_rows(
            self,
            start,
            objective,
            texts,
            columns,
            log_weight,
            out,
            progress,
            measure=divergence.measure,
        )


@dataclass(frozen=True, slots=True)
class KahnemanTversky:
    """Minimise the loss of prospects: single texts that are desirable or not.

    With ``r = β (log π/π_ref − z)`` of a text, z the divergence of the policy from the reference::

        L = mean_i v_i λ_i [1 − σ(r_i)]  where desirable,  mean_i v_i λ_i [1 − σ(−r_i)]  where not

    with weights v, of mean one over the data. In expectation it is decided for each text by whether
    ``E[v λ; desirable]`` exceeds ``E[v λ; undesirable]``; with v the distance of the outcome from
    a threshold, by whether its mean outcome exceeds that. All is saturated far from z, so that one
    text cannot pull for ever.

    Columns: ``reference_logprob``, ``weight``, ``desirable``, all (n,), and ``divergence`` z (1,).

    Parameters
    ----------
    beta : float
        β.
    desirable_weight, undesirable_weight : float
        λ.

    References
    ----------
    Ethayarajh et al. (2024), arXiv 2402.01306, equation 7.
    """

    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0

    def __call__(self, logprob: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and its metrics; ``logprob`` is (n,)."""
        weight, divergence = (batch[name].to(logprob) for name in ("weight", "divergence"))
        desirable = batch["desirable"].to(logprob)
        reward = self.beta * log_ratios(logprob, batch)
        sign = 2 * desirable - 1
        price = weight * (
            self.desirable_weight * desirable + self.undesirable_weight * (1 - desirable)
        )
        loss = (price * (-sign * (reward - self.beta * divergence)).sigmoid()).mean()
        # Of weights that balance, this is the difference between the means of both kinds.
        difference = 2 * (weight * sign * reward.detach()).mean()
        return loss, {"reward_difference": difference.item(), "divergence": divergence.item()}


@dataclass(frozen=True, slots=True, eq=False)
class ExchangedTexts:
    """n texts that belong to other prompts, as far as prompts differ: they tell how far π has gone.

    ``reference`` is their log π_ref, ``weight`` their weights, of mean one; both are (n,).
    """

    texts: Completions
    reference: Floats
    weight: Floats

    def measure(self, model: LanguageModel, rows: NDArray[np.int64]) -> Mapping[str, float]:
        """Return the divergence ``max(0, mean_i v_i log π/π_ref)`` of the texts of these rows."""
        ratio = completion_logprobs(model, self.texts.take(rows)) - self.reference[rows]
        return {"divergence": max(0.0, float(np.mean(self.weight[rows] * ratio)))}


def exchange(count: int, seed: int) -> NDArray[np.int64]:
    """Return for each row another one, ``(n,)``, whose completion it takes; each is taken once."""
    order = np.random.default_rng([seed, EXCHANGE_STREAM]).permutation(count)
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)
    return other


def distance_from_threshold(outcome: Floats, weight: Floats, threshold: float | None) -> Floats:
    """Return outcomes minus the threshold, ``(n,)``; None is their mean by ``weight`` (n,).

    Raises `InputError` where nothing counts, or all that does is on the threshold.
    """
    if not weight.any():
        raise InputError("All rows have weight 0: there is nothing to learn. Correct the weights.")
    distance = outcome - (np.average(outcome, weights=weight) if threshold is None else threshold)
    # What rounding leaves of equal outcomes is no distance.
    distance[np.abs(distance) < 1e-12 * np.abs(outcome).max(initial=0)] = 0
    if not (weight * distance).any():
        raise InputError(
            "No outcome is above or below the threshold: no text is desirable. Give outcomes that "
            "differ, or another threshold."
        )
    return distance
