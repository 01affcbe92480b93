"""Proximal policy optimisation: write, let a reward judge, improve a little, write again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from causalign.errors import InputError, SettingsError
from causalign.lm.language_model import Lora
from causalign.lm.training import Training
from causalign.policy.fitted import PolicyFit
from causalign.policy.outcome_model import OutcomeModel

__all__ = ["PPO", "checked_prompts"]


@dataclass(frozen=True, slots=True)
class PPO:
    """Raise the mean reward of what the policy writes, at a price for leaving the starting model.

    The policy writes ``rollout`` texts. Each token is paid ``−kl log π/π_ref``, the last one also
    the reward of the text; a value head predicts what is still to come, and generalised advantage
    estimation (``discount`` γ, ``trace`` λ) says how much better each token did than predicted.
    These advantages, whitened over the rollout, are learned in ``passes`` over the texts, in
    batches of ``training.batch_size``, by the clipped surrogate of
    :class:`causalign.policy.objectives.ProximalPolicy`. Then the policy writes again.

    ``kl`` is in units of the reward for each nat. ``measured`` texts, written at each checkpoint,
    rank the models; 0 keeps the last one. Training stops when a text is on average more than
    ``stop_kl`` nats likelier than under the starting model, or when all texts are empty. Dropout is
    off throughout, also that of the adapter. ``vllm`` is the address of a running vLLM server,
    which then writes the rollouts; the policy scores them.

    Assumption: the reward is right for whatever the policy comes to write. Reference: Schulman et
    al. (2017), arXiv 1707.06347; for language models Ouyang et al. (2022), arXiv 2203.02155.
    """

    model: str = "smollm2"
    adapter: str | None = None
    lora: Lora | None = field(default_factory=Lora)
    training: Training = field(default_factory=lambda: Training(learning_rate=5e-5))
    rollout: int = 64
    passes: int = 4
    max_new_tokens: int = 64
    kl: float = 0.05
    clip: float = 0.2
    value_clip: float = 0.2
    value_weight: float = 0.5
    discount: float = 1.0
    trace: float = 0.95
    measured: int = 64
    stop_kl: float = 100.0
    vllm: str | None = None
    chat: bool = False

    name: ClassVar[str] = "ppo"
    assumption: ClassVar[str] = (
        "The reward is right for every text that the policy comes to write, not only for texts "
        "like those it was fitted to."
    )

    def __post_init__(self) -> None:
        for name in ("rollout", "passes", "max_new_tokens", "clip", "value_clip", "stop_kl"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} must be above 0; found {getattr(self, name)}.")
        for name in ("kl", "value_weight", "measured"):
            if getattr(self, name) < 0:
                raise SettingsError(f"{name} must not be negative; found {getattr(self, name)}.")
        if self.measured == 1:
            raise SettingsError("measured must be 0 or at least 2; one text has no spread.")
        for name in ("discount", "trace"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} must lie in [0, 1]; found {getattr(self, name)}.")
        if self.rollout % self.training.batch_size:
            raise SettingsError(
                "rollout must be a multiple of training.batch_size, so that each pass reads every "
                f"text once; found {self.rollout} and {self.training.batch_size}."
            )

    def fit(
        self,
        prompts: Sequence[str] | None,
        out: str | Path,
        *,
        reward: OutcomeModel,
        progress: bool = False,
    ) -> PolicyFit:
        """Tune on texts written to the prompts; model, card and log of training go to ``out``.

        ``reward`` (prompts, completions) → (n,), such as a ``RewardModel``. Without prompts the
        policy writes texts of their own; give ``training.steps`` then. Without ``training.steps``
        ``training.epochs`` counts how often each prompt is asked, on average. A killed fit goes on
        when it is called again.

        Raises ``InputError`` for prompts or rewards that cannot be used, ``SettingsError`` when
        nothing says how long to train, ``ArtifactError`` as the other methods.
        """
        asked = checked_prompts(prompts, self.training)
        from causalign.policy.proximal_run import run

        return run(self, asked, reward, Path(out), progress)


def checked_prompts(prompts: Sequence[str] | None, training: Training) -> list[str] | None:
    """Return the prompts as a list; raise if one is no text, or nothing says how long to train."""
    if prompts is None:
        if training.steps is None:
            raise SettingsError(
                "Without prompts nothing says how long to train. Set Training(steps=...)."
            )
        return None
    found: list[Any] = list(prompts)
    if not found:
        raise InputError("There are no prompts. Give some, or None for texts of their own.")
    for row, prompt in enumerate(found):
        if not isinstance(prompt, str) or not prompt.strip():
            raise InputError(
                f"The prompt in row {row} is {prompt!r}. Every prompt needs a text; remove the row "
                "or fill it in."
            )
    return found
