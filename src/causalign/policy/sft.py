"""Supervised fine-tuning on logged texts, plain or weighted by their outcomes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from causalign.errors import SettingsError
from causalign.lm.language_model import Lora
from causalign.lm.training import Training
from causalign.logs import Logs
from causalign.policy.fitted import PolicyFit

__all__ = ["SFT", "outcome_log_weights"]

_PLAIN = "The policy learns to write like the log; nothing is said about what texts cause."
_WEIGHTED = (
    "Texts with a better outcome are written more often. It is the effect of the text as far as "
    "the outcome was deconfounded or the texts were randomised."
)


@dataclass(frozen=True, slots=True)
class SFT:
    """Fine-tune on the logged texts by the cross-entropy of their tokens.

    With a ``temperature`` τ each row weighs ``exp((Y − Ȳ) / (τ sd(Y)))``, scaled to mean one: the
    policy moves towards ``P_R(T) E[exp(Y/τ) | T]``, the closest policy to the log that has a
    better outcome. Small τ asks for more and uses fewer rows.

    Assumption: with weights, outcomes are the effects of the texts (deconfounded or randomised).

    Raises ``SettingsError`` for settings out of range. Reference: Peng et al. (2019),
    arXiv 1910.00177 (advantage-weighted regression).
    """

    model: str = "smollm2"
    adapter: str | None = None
    lora: Lora | None = field(default_factory=Lora)
    training: Training = field(default_factory=lambda: Training(learning_rate=2e-4))
    temperature: float | None = None
    chat: bool = False

    name: ClassVar[str] = "sft"

    def __post_init__(self) -> None:
        if self.temperature is not None and not self.temperature > 0:
            raise SettingsError(f"temperature must be above 0; found {self.temperature}.")

    def fit(self, logs: Logs, out: str | Path, *, progress: bool = False) -> PolicyFit:
        """Tune on the logs; the model, its card and the log of training go to ``out``.

        A killed fit goes on when it is called again. Raises ``InputError`` for texts that cannot
        be used, ``ArtifactError`` when ``out`` holds another run or cannot be written.
        """
        from causalign.lm.completions import tokenized
        from causalign.policy.fixed_run import run_on_fixed_rows
        from causalign.policy.objectives.supervised import Supervised
        from causalign.policy.tuning import opened

        start = opened(self)
        texts = tokenized(
            start.tokenizer,
            logs.prompts,
            logs.completions,
            max_length=min(self.training.max_length, start.window),
            chat=self.chat,
        )
        log_weight = outcome_log_weights(logs, self.temperature)
        weight = np.exp(log_weight - log_weight.max())
        lengths = texts.lengths
        return run_on_fixed_rows(
            self,
            start,
            Supervised(),
            texts,
            # Mean one over tokens, so that equal weights give the plain mean over tokens.
            {"weight": weight * lengths.sum() / (weight @ lengths)},
            Path(out),
            log_weight=log_weight,
            assumption=_PLAIN if self.temperature is None else _WEIGHTED,
            drawn="token_loss",
            progress=progress,
        )


def outcome_log_weights(logs: Logs, temperature: float | None) -> NDArray[np.float64]:
    """Return ``log v`` ``(n,)``: the row weights, times ``exp((Y − Ȳ) / (τ sd(Y)))`` if asked."""
    given = np.ones(len(logs)) if logs.weights is None else logs.weights
    with np.errstate(divide="ignore"):
        found = np.log(given)
    if temperature is None:
        return found
    outcome = logs.outcome
    return found + (outcome - outcome.mean()) / (temperature * outcome.std())
