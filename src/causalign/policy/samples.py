"""Fresh texts from the policy as it is: how they are drawn, the pool of them, checkpoints of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from causalign.errors import SettingsError
from causalign.lm.completions import Completions, Prompt
from causalign.lm.generate import Samples, sample
from causalign.lm.language_model import LanguageModel
from causalign.lm.logprob import completion_logprobs
from causalign.logs import OutcomeModel
from causalign.logs.outcome_model import predict_outcome
from causalign.policy.method import OpenReference
from causalign.policy.rows import Columns

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FreshSamples:
    """How texts are drawn for the outcome model's part.

    Parameters
    ----------
    refresh_every : int
        Steps between two pools of texts, each drawn from the policy as it then is.
    samples_per_row : int
        New texts in a batch for each logged row.
    max_new_tokens : int
        Longest text, in tokens.
    defensive_share : float
        Share of a pool that comes from the reference. Weights are then taken against the mixture
        of both, which bounds them.
    evaluation_texts : int
        Texts of the tuned policy that tell how typical the logged texts are for it; 0 for none.

    Raises
    ------
    SettingsError
        For a setting out of range.
    """

    refresh_every: int = 10
    samples_per_row: int = 2
    max_new_tokens: int = 64
    defensive_share: float = 0.0
    evaluation_texts: int = 64

    def __post_init__(self) -> None:
        for name in ("refresh_every", "samples_per_row", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be at least 1; found {getattr(self, name)}.")
        if not 0 <= self.defensive_share < 1:
            raise SettingsError(
                f"defensive_share must lie in [0, 1); found {self.defensive_share}."
            )
        if self.evaluation_texts < 0:
            raise SettingsError(
                f"evaluation_texts must not be negative; found {self.evaluation_texts}."
            )


@dataclass(slots=True)
class FreshPool:
    """Texts that are drawn anew every so many steps, and remembered between the draws.

    After a draw, all (m,): ``proposal`` is the log-density that the texts were drawn from, of the
    policy at that step or of its mixture with the reference; ``reference`` the log-probability
    under the reference (zeros where nothing asks for it); ``outcome`` what the model predicts.
    """

    language_model: LanguageModel
    reference_model: OpenReference | None
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
    step_of_draw: int = -1
    empty: int = 0
    total: int = 0
    unfinished: int = 0

    def refresh(self, step: int) -> None:
        """Draw a new pool if one is due; the same seed, step and weights give the same pool."""
        due = step % self.settings.refresh_every == 0 or self.completions is None
        if due and self.step_of_draw != step:
            self.redraw(step)

    def redraw(self, step: int) -> None:
        """Draw a new pool from the policy as it is."""
        generator = np.random.default_rng([self.seed, step])
        prompts = self.prompts
        rows = generator.integers(len(prompts), size=self.size) if prompts else None
        asked = [prompts[row] for row in rows] if prompts and rows is not None else None
        seed = int(generator.integers(2**31))
        samples = self._sample(asked, seed)
        self.completions, self.step_of_draw = samples.completions, step
        own = samples.logprob
        self.reference = np.zeros(self.size)
        if self.reference_model is not None:
            with self.reference_model() as reference:
                self.reference = completion_logprobs(reference, samples.completions)
        if self.settings.defensive_share:
            own = completion_logprobs(self.language_model, samples.completions)
        self.proposal = mixture_logprob(own, self.reference, self.settings.defensive_share)
        self.outcome = predict_outcome(self.outcome_model, samples.texts, asked)
        self.total += self.size
        self.empty += sum(not text.strip() for text in samples.texts)
        self.unfinished += int(samples.completions.cut.sum())

    def texts(self) -> Completions:
        """Return the texts of the last draw."""
        if self.completions is None:
            raise RuntimeError("the pool is empty: refresh it first")
        return self.completions

    def _sample(self, asked: Sequence[str] | None, seed: int) -> Samples:
        prompts: Sequence[Prompt] = asked or [None] * self.size
        draw = partial(
            sample, max_new_tokens=self.settings.max_new_tokens, seed=seed, chat=self.chat
        )
        guests = round(self.settings.defensive_share * self.size)
        if guests == 0 or self.reference_model is None:
            return draw(self.language_model, prompts)
        own = draw(self.language_model, prompts[guests:])
        with self.reference_model() as reference:
            other = draw(reference, prompts[:guests])
        return _join(other, own)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return the pool as arrays."""
        if self.completions is None:
            return {}
        return pack_texts(self.completions, "pool") | {
            "pool_proposal": self.proposal,
            "pool_reference": self.reference,
            "pool_outcome": self.outcome,
            "pool_counts": np.array([self.step_of_draw, self.empty, self.total, self.unfinished]),
        }

    def restore(self, state: Columns) -> None:
        """Take up what :meth:`state` returned."""
        if "pool_ids" not in state:
            return
        self.completions = unpack_texts(state, "pool")
        self.proposal = state["pool_proposal"]
        self.reference = state["pool_reference"]
        self.outcome = state["pool_outcome"]
        counts = (int(count) for count in state["pool_counts"])
        self.step_of_draw, self.empty, self.total, self.unfinished = counts


def mixture_logprob(own: Floats, reference: Floats, share: float) -> Floats:
    """Return ``log[(1 − α) π + α π_ref]``, ``(m,)``, for texts of which a share α is π_ref's.

    Weights against the mixture never exceed ``π / (α π_ref)`` (Owen and Zhou 2000).
    """
    if share == 0:
        return own
    mixture: Floats = np.logaddexp(np.log1p(-share) + own, np.log(share) + reference)
    return mixture


def _join(first: Samples, second: Samples) -> Samples:
    return Samples(
        first.texts + second.texts,
        Completions.concatenate([first.completions, second.completions]),
        np.concatenate([first.logprob, second.logprob]),
    )


def pack_texts(completions: Completions, prefix: str) -> dict[str, NDArray[np.generic]]:
    """Return the texts as arrays named after ``prefix``; ids of different lengths follow."""
    parts = (completions.prompts, completions.completions)
    return {
        f"{prefix}_prompt_ids": np.array([t for ids in parts[0] for t in ids], dtype=np.int64),
        f"{prefix}_prompt_sizes": np.array([len(ids) for ids in parts[0]], dtype=np.int64),
        f"{prefix}_ids": np.array([t for ids in parts[1] for t in ids], dtype=np.int64),
        f"{prefix}_sizes": np.array([len(ids) for ids in parts[1]], dtype=np.int64),
        f"{prefix}_cut": completions.cut,
    }


def unpack_texts(state: Columns, prefix: str) -> Completions:
    """Return the texts that `pack_texts` made arrays of."""
    return Completions(
        _split(state[f"{prefix}_prompt_ids"], state[f"{prefix}_prompt_sizes"]),
        _split(state[f"{prefix}_ids"], state[f"{prefix}_sizes"]),
        state[f"{prefix}_cut"].astype(bool),
    )


def _split(ids: NDArray[np.int64], sizes: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(part.tolist()) for part in np.split(ids, np.cumsum(sizes)[:-1]))
