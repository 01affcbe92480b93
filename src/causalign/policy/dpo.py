"""Direct preference optimisation on pairs, with margins and row weights."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from causalign.errors import InputError, SettingsError
from causalign.lm.language_model import Lora
from causalign.lm.training import Training
from causalign.pairs import Pairs
from causalign.policy.fitted import PolicyFit

__all__ = ["DPO", "alternating"]

_ASSUMPTION = (
    "Preferences follow Bradley-Terry, and which side won was decided by the texts: pairs of an "
    "experiment, or of deconfounded outcomes."
)


@dataclass(frozen=True, slots=True)
class DPO:
    """Make chosen texts likelier than rejected ones, relative to the starting model.

    ``− v log σ(β [log π/π_ref (chosen) − log π/π_ref (rejected)] − γ m)``: weights v and margins m
    are those of the pairs. ``margin_scale`` γ, in log-odds for each unit of outcome, asks for more
    where the outcomes differ more.

    The reference is the model at the start, with ``adapter`` if one is given; its
    log-probabilities are computed once and kept in the cache. Reference: Rafailov et al. (2023),
    arXiv 2305.18290.
    """

    model: str = "smollm2"
    adapter: str | None = None
    lora: Lora | None = field(default_factory=Lora)
    training: Training = field(default_factory=lambda: Training(learning_rate=5e-5))
    beta: float = 0.1
    margin_scale: float = 0.0
    chat: bool = False

    name: ClassVar[str] = "dpo"

    def __post_init__(self) -> None:
        if not self.beta > 0 or self.margin_scale < 0:
            raise SettingsError(
                "beta must be above 0 and margin_scale must not be negative; found "
                f"{self.beta} and {self.margin_scale}."
            )

    def fit(self, pairs: Pairs, out: str | Path, *, progress: bool = False) -> PolicyFit:
        """Tune on the pairs; the model, its card and the log of training go to ``out``.

        A killed fit goes on when it is called again. Raises ``InputError`` for pairs that cannot
        be used, ``ArtifactError`` when ``out`` holds another run or cannot be written.
        """
        from causalign.lm.reference import reference_logprobs
        from causalign.policy.fixed_run import run_on_fixed_rows
        from causalign.policy.objectives.direct_preference import DirectPreference
        from causalign.policy.tuning import opened

        weight = checked_weights(pairs)
        start = opened(self)
        length = min(self.training.max_length, start.window)
        texts = alternating(start.tokenizer, pairs, max_length=length, chat=self.chat)
        before = reference_logprobs(start, texts, progress=progress)
        with np.errstate(divide="ignore"):
            log_weight = np.log(weight)
        return run_on_fixed_rows(
            self,
            start,
            DirectPreference(self.beta, self.margin_scale),
            texts,
            {
                "reference_logprob": before.reshape(-1, 2),
                "weight": weight / weight.mean(),
                "margin": np.asarray(pairs.margin, dtype=np.float64),
            },
            Path(out),
            log_weight=log_weight,
            assumption=_ASSUMPTION,
            drawn="reward_difference",
            progress=progress,
        )


def alternating(tokenizer: Any, pairs: Pairs, *, max_length: int, chat: bool) -> Any:
    """Return the texts of pairs as completions ``(2p,)``: chosen, rejected, chosen, ..."""
    from causalign.lm.completions import tokenized

    texts = [text for pair in zip(pairs.chosen, pairs.rejected, strict=True) for text in pair]
    prompts = None if pairs.prompt is None else [p for p in pairs.prompt for _ in range(2)]
    return tokenized(tokenizer, prompts, texts, max_length=max_length, chat=chat)


def checked_weights(pairs: Pairs) -> np.ndarray:
    """Return the weights ``(p,)``; raise ``InputError`` for pairs that say nothing."""
    if len(pairs) == 0:
        raise InputError("There are no pairs. Make them from groups whose outcomes differ.")
    for name in ("weight", "margin"):
        values = np.asarray(getattr(pairs, name), dtype=np.float64)
        if not np.isfinite(values).all() or (values < 0).any():
            row = int(np.flatnonzero(~(np.isfinite(values) & (values >= 0)))[0])
            raise InputError(
                f"The {name} of pair {row} is {values[row]}; every pair needs a finite {name} "
                "that is not negative. Remove the pair or correct it."
            )
    weight = np.asarray(pairs.weight, dtype=np.float64)
    if weight.sum() == 0:
        raise InputError("All pairs have weight 0, so none would teach. Correct the weights.")
    return weight
