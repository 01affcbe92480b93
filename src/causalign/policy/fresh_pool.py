"""A pool of texts drawn from the policy as it is now, with what an outcome model says of them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causalign.lm.completions import Completions, Prompt
from causalign.lm.generate import Samples, sample
from causalign.lm.language_model import LanguageModel
from causalign.lm.logprob import completion_logprobs
from causalign.lm.processes import once
from causalign.policy.outcome_model import OutcomeModel, predicted
from causalign.policy.packed_texts import packed, unpacked
from causalign.policy.settings import FreshSamples

__all__ = ["FreshPool", "ReferenceModel", "mixture_logprob"]

Floats = NDArray[np.float64]
# Opens the model that does not change, for as long as the block lasts.
ReferenceModel = Callable[[], AbstractContextManager[LanguageModel]]


@dataclass(slots=True)
class FreshPool:
    """Draw texts anew every so many steps and remember them between the draws.

    After a draw, all (m,): ``proposal`` is the log-density that the texts were drawn from, of the
    policy at that step or of its mixture with the reference; ``reference`` the log-probability
    under the reference (zeros where nothing asks for it); ``outcome`` what the model predicts.
    """

    language_model: LanguageModel
    reference_model: ReferenceModel | None
    prompts: Sequence[str] | None
    outcome_model: OutcomeModel
    settings: FreshSamples
    size: int
    chat: bool
    seed: int
    completions: Completions | None = None
    proposal: Floats = field(default_factory=lambda: np.zeros(0))
    reference: Floats = field(default_factory=lambda: np.zeros(0))
    outcome: Floats = field(default_factory=lambda: np.zeros(0))
    drawn_at: int = -1
    empty: int = 0
    total: int = 0
    unfinished: int = 0

    def refresh(self, step: int) -> None:
        """Draw a new pool if one is due; the same seed, step and weights give the same pool."""
        due = step % self.settings.every == 0 or self.completions is None
        if due and self.drawn_at != step:
            self.redraw(step)

    def redraw(self, step: int) -> None:
        """Draw a new pool from the policy as it is."""
        generator = np.random.default_rng([self.seed, step])
        rows = generator.integers(len(self.prompts), size=self.size) if self.prompts else None
        asked = None if rows is None else [self.prompts[row] for row in rows]  # type: ignore[index]
        seed = int(generator.integers(2**31))
        samples = self._drawn(asked, seed)
        self.completions, self.drawn_at = samples.completions, step
        own = samples.logprob
        self.reference = np.zeros(self.size)
        if self.reference_model is not None:
            with self.reference_model() as reference:
                self.reference = completion_logprobs(reference, samples.completions)
        if self.settings.defensive:
            own = completion_logprobs(self.language_model, samples.completions)
        self.proposal = mixture_logprob(own, self.reference, self.settings.defensive)
        self.outcome = once(lambda: predicted(self.outcome_model, asked, samples.texts))
        self.total += self.size
        self.empty += sum(not text.strip() for text in samples.texts)
        self.unfinished += int(samples.completions.cut.sum())

    def texts(self) -> Completions:
        """Return the texts of the last draw."""
        if self.completions is None:
            raise RuntimeError("the pool is empty: refresh it first")
        return self.completions

    def _drawn(self, asked: Sequence[str] | None, seed: int) -> Samples:
        prompts: Sequence[Prompt] = asked or [None] * self.size
        options: dict[str, Any] = {
            "max_new_tokens": self.settings.max_new_tokens,
            "seed": seed,
            "chat": self.chat,
        }
        guests = round(self.settings.defensive * self.size)
        if guests == 0 or self.reference_model is None:
            return sample(self.language_model, prompts, **options)
        own = sample(self.language_model, prompts[guests:], **options)
        with self.reference_model() as reference:
            other = sample(reference, prompts[:guests], **options)
        return _joined(other, own)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the pool as arrays."""
        if self.completions is None:
            return {}
        return packed(self.completions, "pool") | {
            "pool_proposal": self.proposal,
            "pool_reference": self.reference,
            "pool_outcome": self.outcome,
            "pool_counts": np.array([self.drawn_at, self.empty, self.total, self.unfinished]),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up what :meth:`state` returned."""
        if "pool_ids" not in state:
            return
        self.completions = unpacked(state, "pool")
        self.proposal = state["pool_proposal"]
        self.reference = state["pool_reference"]
        self.outcome = state["pool_outcome"]
        counts = (int(count) for count in state["pool_counts"])
        self.drawn_at, self.empty, self.total, self.unfinished = counts


def mixture_logprob(own: Floats, reference: Floats, share: float) -> Floats:
    """Return ``log[(1 − α) π + α π_ref]``, ``(m,)``, for texts of which a share α is π_ref's.

    Weights against the mixture never exceed ``π / (α π_ref)`` (Owen and Zhou 2000).
    """
    if share == 0:
        return own
    return np.logaddexp(np.log1p(-share) + own, np.log(share) + reference)


def _joined(first: Samples, second: Samples) -> Samples:
    return Samples(
        first.texts + second.texts,
        Completions.joined([first.completions, second.completions]),
        np.concatenate([first.logprob, second.logprob]),
    )
