"""Direct preference optimisation made doubly robust: logged pairs, and pairs the model writes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError, SettingsError
from causalign.lm.language_model import Lora
from causalign.lm.processes import once
from causalign.lm.training import Training
from causalign.pairs import Pairs
from causalign.policy.dpo import checked_weights
from causalign.policy.fitted import PolicyFit
from causalign.policy.propensity import log_propensities
from causalign.policy.settings import Weighting

__all__ = ["PairedDPO", "PreferenceModel", "symmetric_preference"]

Texts = Sequence[str]
# p̂(prompts, first, second) -> (p,): the probability that the first text is preferred.
PreferenceModel = Callable[[Texts | None, Texts, Texts], ArrayLike]


@dataclass(frozen=True, slots=True)
class PairedDPO:
    """Minimise the DPO loss over the pairs that the starting model would write.

    The log's pairs are a sample of q, the pairs that count of ν: two texts of the starting model
    for the same prompt. A preference model says which of ``for_each_pair`` sampled pairs for each
    logged one is better; logged pairs, weighted by ν/q, correct it by what it missed. The objective
    is :class:`causalign.policy.objectives.PairedPreference`. Sampled pairs and weights do not
    change while training, since ν does not.

    ``propensity="reference"`` says that the starting model wrote the logged pairs: all weights are
    one. ``max_new_tokens`` bounds the sampled texts.

    Assumption: the propensities are right, or the preference model is; not necessarily both.
    Reference: after Xu et al. (2025), arXiv 2506.01183; the derivation is in docs/methods/dpo.md.
    """

    model: str = "smollm2"
    adapter: str | None = None
    lora: Lora | None = field(default_factory=Lora)
    training: Training = field(default_factory=lambda: Training(learning_rate=5e-5))
    beta: float = 0.1
    for_each_pair: int = 1
    max_new_tokens: int = 64
    propensity: Literal["reference"] | None = None
    weighting: Weighting = field(default_factory=Weighting)
    chat: bool = False

    name: ClassVar[str] = "paired-dpo"
    assumption: ClassVar[str] = (
        "The probabilities with which pairs were logged are right, or the preference model is; not "
        "necessarily both."
    )

    def __post_init__(self) -> None:
        if not self.beta > 0 or self.max_new_tokens < 1:
            raise SettingsError(
                "beta must be above 0 and max_new_tokens at least 1; found "
                f"{self.beta} and {self.max_new_tokens}."
            )
        if self.for_each_pair < 1 or self.training.batch_size % (1 + self.for_each_pair):
            raise SettingsError(
                "Each batch holds for_each_pair >= 1 sampled pairs for each logged one, so "
                "training.batch_size must be a multiple of 1 + for_each_pair; found "
                f"{self.training.batch_size} and {self.for_each_pair}."
            )
        if self.weighting.level != "sequence":
            raise SettingsError(
                "The weights of pairs are ratios of whole texts: level must be 'sequence'; found "
                f"{self.weighting.level!r}."
            )

    def fit(
        self,
        pairs: Pairs,
        out: str | Path,
        *,
        preference_model: PreferenceModel,
        log_propensity: ArrayLike | None = None,
        progress: bool = False,
    ) -> PolicyFit:
        """Tune on the pairs; the model, its card and the log of training go to ``out``.

        ``preference_model`` (prompts, first, second) → (p,), the probability that the first text
        wins, fitted to other pairs than these; ``log_propensity`` (p,) is log q of each pair (for
        texts drawn one by one the sum of both), or q itself. The order of a pair does not matter:
        the model is made to say the same of both. A killed fit goes on when it is called again.

        Raises ``SettingsError`` without propensities, ``InputError`` for values that cannot be
        such, ``ArtifactError`` as the other methods.
        """
        weight = checked_weights(pairs)
        proposal = None
        if log_propensity is not None:
            proposal = log_propensities(log_propensity, "log_propensity")
            if len(proposal) != len(pairs):
                raise InputError(f"There are {len(proposal)} propensities for {len(pairs)} pairs.")
        elif self.propensity != "reference":
            raise SettingsError(
                "Weights need the probability with which each pair was logged. Give "
                "log_propensity, or say propensity='reference' if the starting model wrote them."
            )
        texts = (pairs.prompt, pairs.chosen, pairs.rejected)
        believed = once(lambda: symmetric_preference(preference_model, *texts))
        from causalign.policy.paired_run import run

        logged = (pairs, weight, proposal, believed)
        return run(self, *logged, preference_model, Path(out), progress)


def symmetric_preference(
    model: PreferenceModel, prompts: Texts | None, first: Texts, second: Texts
) -> NDArray[np.float64]:
    """Return ``(p̂(T, T') + 1 − p̂(T', T)) / 2``, ``(p,)``; raise unless p̂ are probabilities."""
    found = []
    for one, other in ((first, second), (second, first)):
        said = np.asarray(model(prompts, one, other), dtype=np.float64)
        if said.shape != (len(first),) or not ((said >= 0) & (said <= 1)).all():
            raise InputError(
                f"The preference model must return {len(first)} probabilities, one for each pair; "
                f"it returned shape {said.shape}"
                + (f", from {said.min():g} to {said.max():g}." if said.size else ".")
            )
        found.append(said)
    return (found[0] + 1 - found[1]) / 2
