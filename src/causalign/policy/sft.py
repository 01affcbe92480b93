"""Supervised fine-tuning on logged texts, plain or weighted by their outcomes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from causalign.errors import SettingsError
from causalign.lm.layout import Batch
from causalign.logs import Logs
from causalign.policy.fit import PolicyFit
from causalign.policy.method import Data, ModelSettings, Training, load_start, require_logs
from causalign.policy.rewards import Reward, replace_outcome
from causalign.policy.rows import tokenize_texts, train_on_rows

_PLAIN = "The policy learns to write like the log; nothing is said about what texts cause."
_WEIGHTED = (
    "Texts with a better outcome are written more often. It is the effect of the text as far as "
    "the outcome was deconfounded or the texts were randomised."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SFT(ModelSettings):
    """Fine-tune on the logged texts by the cross-entropy of their tokens.

    With a ``temperature`` τ each row weighs ``exp((Y − Ȳ) / (τ sd(Y)))``, scaled to mean one: the
    policy moves towards ``P_R(T) E[exp(Y/τ) | T]``, the closest policy to the log that has a
    better outcome. Small τ asks for more and uses fewer rows.

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
    temperature : float, optional
        τ, in standard deviations of the outcome; None weighs no row by its outcome.
    chat : bool
        Put prompts into the chat template of the model.

    Raises
    ------
    SettingsError
        For a setting out of range.

    Notes
    -----
    Assumption: with weights, outcomes are the effects of the texts (deconfounded or randomised).

    References
    ----------
    Peng et al. (2019), arXiv 1910.00177 (advantage-weighted regression).
    """

    training: Training = field(default_factory=lambda: Training(learning_rate=2e-4))
    temperature: float | None = None

    name: ClassVar[str] = "sft"
    reads: ClassVar[Literal["logs", "pairs", "prompts"]] = "logs"
    plotted_metric: ClassVar[str] = "token_loss"

    def __post_init__(self) -> None:
        if self.temperature is not None and not self.temperature > 0:
            raise SettingsError(f"temperature must be above 0; found {self.temperature}.")

    @property
    def uses_outcome(self) -> bool:
        """Whether rows are weighted by their outcome."""
        return self.temperature is not None

    @property
    def assumption(self) -> str:
        """On what the result rests."""
        return _WEIGHTED if self.uses_outcome else _PLAIN

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
            The texts, with prompts and row weights where these have a role.
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
            For texts that cannot be used.
        SettingsError
            For a reward without a temperature, which would change nothing.
        ArtifactError
            When ``out`` holds another run or cannot be written.
        """
        logs = require_logs(data, self.name)
        if reward is not None and not self.uses_outcome:
            raise SettingsError("Without a temperature sft uses no outcome and no reward.")
        return self._train(logs if reward is None else replace_outcome(logs, reward), out, progress)

    def _train(self, logs: Logs, out: str | Path, progress: bool) -> PolicyFit:
        log_weight = outcome_log_weights(logs, self.temperature)
        weight = np.exp(log_weight - log_weight.max())
        start = load_start(self)
        texts = tokenize_texts(self, start, logs.prompts, logs.completions)
        lengths = texts.lengths
        # Mean one over tokens, so that equal weights give the plain mean over tokens.
        columns = {"weight": weight * lengths.sum() / (weight @ lengths)}
        return train_on_rows(self, start, Supervised(), texts, columns, log_weight, out, progress)


@dataclass(frozen=True, slots=True)
class Supervised:
    """Minimise the weighted cross-entropy of a token.

    ``L = − Σ_i v_i log π(T_i) / Σ_i |T_i|`` with row weights v, of mean one over the data, and |T|
    the tokens of a completion. With equal weights it is the mean over completion tokens.

    Columns: ``weight`` (n,), ``length`` (n,); optional ``mean_length``, the mean of ``length`` over
    the batch that these rows are a part of.
    """

    def __call__(self, logprob: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and its metrics; ``logprob`` is (n,)."""
        weight = batch["weight"].to(logprob)  # (n,)
        length = batch.get("mean_length", batch["length"]).to(logprob).mean()
        loss = -(weight * logprob).mean() / length
        return loss, {"token_loss": -(logprob.detach().mean() / length).item()}


def outcome_log_weights(logs: Logs, temperature: float | None) -> NDArray[np.float64]:
    """Return ``log v`` ``(n,)``: the row weights, times ``exp((Y − Ȳ) / (τ sd(Y)))`` if asked."""
    row_weight = np.ones(len(logs)) if logs.weights is None else logs.weights
    with np.errstate(divide="ignore"):
        log_weight: NDArray[np.float64] = np.log(row_weight)
    if temperature is None:
        return log_weight
    outcome = logs.outcome
    log_weight = log_weight + (outcome - outcome.mean()) / (temperature * outcome.std())
    return log_weight
