"""Causal preference optimisation: tune the policy on an unbiased estimate of its own value."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from causalign.errors import SettingsError
from causalign.lm.language_model import Lora
from causalign.lm.processes import once
from causalign.lm.training import Training
from causalign.logs import Logs
from causalign.policy.fitted import PolicyFit
from causalign.policy.outcome_model import CrossFitted, OutcomeModel, predicted
from causalign.policy.propensity import logged_propensities
from causalign.policy.settings import FreshSamples, Weighting

__all__ = ["CausalPreference"]

_ASSUMPTIONS = {
    "weighted": "The texts were drawn from P_R, the propensities given, apart from what else "
    "moves the outcome.",
    "outcome-model": "The outcome model is right for every text that the policy may write.",
    "doubly-robust": "The propensities are right, or the outcome model is; not necessarily both.",
}


@dataclass(frozen=True, slots=True)
class CausalPreference:
    """Raise ``V(π) = E_{T∼π}[Y(T)]`` as estimated from logged texts, an outcome model, or both.

    ``objective``: ``"weighted"`` averages outcomes with weights π/P_R; ``"outcome-model"``
    averages predictions for texts that the policy writes; ``"doubly-robust"`` adds to these the
    weighted average of what the model missed, and is unbiased if P_R is right or the model is.

    ``propensity`` says where P_R comes from: ``"column"`` (role ``propensity``, probabilities or
    their logarithms), ``"uniform"`` (each logged text of a prompt was as likely as the others),
    ``"reference"`` (the starting model wrote the texts). ``kl`` is the price, in units of the
    outcome, of a nat of divergence from the starting model. ``held_out`` is the share of texts
    that teach nothing and rank the checkpoints; 0 keeps the last model.

    The starting model should write like the log: fine-tune on the logged texts first and pass the
    result as ``adapter``. Reference: Lin, Ben-Michael and Morency (2024), arXiv 2402.14979, who
    call the three CPO, OO-RLHF and DR-CPO.
    """

    objective: Literal["weighted", "outcome-model", "doubly-robust"] = "weighted"
    model: str = "smollm2"
    adapter: str | None = None
    lora: Lora | None = field(default_factory=Lora)
    training: Training = field(default_factory=lambda: Training(learning_rate=5e-5))
    propensity: Literal["column", "uniform", "reference"] | None = None
    weighting: Weighting = field(default_factory=Weighting)
    samples: FreshSamples = field(default_factory=FreshSamples)
    kl: float = 0.0
    held_out: float = 0.2
    chat: bool = False

    name: ClassVar[str] = "causal-preference"

    def __post_init__(self) -> None:
        if self.objective not in _ASSUMPTIONS:
            raise SettingsError(
                f"objective must be one of {', '.join(_ASSUMPTIONS)}; found {self.objective!r}."
            )
        if self.kl < 0 or not 0 <= self.held_out < 1:
            raise SettingsError(
                "kl must not be negative and held_out must lie in [0, 1); found "
                f"{self.kl} and {self.held_out}."
            )

    @property
    def assumption(self) -> str:
        """Return on what the objective rests."""
        return _ASSUMPTIONS[self.objective]

    def fit(
        self,
        logs: Logs,
        out: str | Path,
        *,
        outcome_model: OutcomeModel | CrossFitted | None = None,
        log_propensity: ArrayLike | None = None,
        progress: bool = False,
    ) -> PolicyFit:
        """Tune on the logs; the model, its card and the log of training go to ``out``.

        ``outcome_model`` (prompts, completions) → (n,), in units of the outcome; give it as
        :class:`CrossFitted` if it was fitted to these very rows. ``log_propensity`` (n,) gives
        log P_R directly, as when a design is known. A killed fit goes on when it is called again.

        Raises ``SettingsError`` when the objective lacks an outcome model or propensities,
        ``InputError`` for values that cannot be such, ``ArtifactError`` as the other methods.
        """
        if (outcome_model is None) != (self.objective == "weighted"):
            needs = "takes no" if outcome_model is not None else "needs an"
            raise SettingsError(f"objective={self.objective!r} {needs} outcome_model.")
        proposal = None
        if self.objective != "outcome-model":
            proposal = logged_propensities(logs, self.propensity, log_propensity)
        missed = logs.outcome
        if outcome_model is not None and self.objective == "doubly-robust":
            missed = missed - once(lambda: _predictions(outcome_model, logs))

        from causalign.policy.causal_run import CausalRun

        return CausalRun.prepared(self, logs, missed, proposal, outcome_model, progress).fit(
            Path(out)
        )


def _predictions(model: Any, logs: Logs) -> np.ndarray:
    if isinstance(model, CrossFitted):
        return model.logged(logs.prompts, logs.completions)
    return predicted(model, logs.prompts, logs.completions)
