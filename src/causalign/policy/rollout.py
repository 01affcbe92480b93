"""Methods that learn from what the policy writes: their settings, and rollouts with rewards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from causalign.errors import InputError, SettingsError
from causalign.lm.completions import Completions, read_prompts
from causalign.lm.generate import Sampler, room_for_prompts, sample
from causalign.lm.language_model import LanguageModel, shares_prompts
from causalign.lm.layout import lay_out
from causalign.lm.logprob import token_logprobs
from causalign.lm.processes import gather, process_count, process_rank, run_once
from causalign.lm.value_head import token_logprobs_and_values
from causalign.logs import Logs, Pairs, Roles
from causalign.logs.outcome_model import predict_outcome
from causalign.policy import findings
from causalign.policy.method import Data, ModelSettings, Numbers, OpenReference
from causalign.policy.rewards import Reward
from causalign.policy.rows import Columns, check_markup
from causalign.policy.samples import pack_texts, unpack_texts
from causalign.results import Finding

Floats = NDArray[np.float64]
TEXTS_IN_BATCH = 16
# Keeps the texts that compare start and result apart from whatever else draws under the same seed.
COMPARISON_STREAM = 0xAF7E


@dataclass(frozen=True, slots=True, kw_only=True)
class WritingSettings(ModelSettings):
    """The settings of methods that let the policy write and a reward score what it wrote."""

    max_new_tokens: int = 64
    kl_coef: float = 0.05
    clip_range: float = 0.2
    evaluation_texts: int = 64
    vllm: str | None = None

    reads: ClassVar[Literal["logs", "pairs", "prompts"]] = "prompts"

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "clip_range"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} must be above 0; found {getattr(self, name)}.")
        for name in ("kl_coef", "evaluation_texts"):
            if getattr(self, name) < 0:
                raise SettingsError(f"{name} must not be negative; found {getattr(self, name)}.")
        if self.evaluation_texts == 1:
            raise SettingsError("evaluation_texts must be 0 or at least 2; one has no spread.")

    @property
    def needs(self) -> Literal["reward"]:
        """A reward must come beside the data."""
        return "reward"

    @property
    def assumption(self) -> str:
        """On what the result rests."""
        return (
            "The reward is right for every text that the policy comes to write, not only for "
            "texts like those it was fitted to."
        )

    def check_roles(self, roles: Roles, *, with_reward: bool = True) -> None:  # noqa: ARG002
        """Ask for prompts or for steps to train; see :meth:`PolicyMethod.check_roles`."""
        if roles.prompt is None:
            self.check_prompts(None)

    def check(self, logs: Logs) -> None:
        """Raise before anything costly runs when these prompts cannot be asked."""
        self.read_prompts(logs)

    def read_prompts(self, data: Data) -> list[str] | None:
        """Return the prompts to ask: those given, or the distinct ones of logs; None for none."""
        if isinstance(data, Pairs):
            raise InputError(f"{self.name} reads prompts or logs; found Pairs.")
        if isinstance(data, Logs):
            data = None if data.prompts is None else list(dict.fromkeys(data.prompts))
        return self.check_prompts(data)

    def check_prompts(self, prompts: Sequence[str] | None) -> list[str] | None:
        """Return the prompts as a list.

        Raises `InputError` where one is no text, `SettingsError` where nothing says how long to
        train.
        """
        if prompts is None:
            if self.training.steps is None:
                raise SettingsError(
                    "Without prompts nothing says how long to train. Set Training(steps=...)."
                )
            return None
        if not len(prompts):
            raise InputError("There are no prompts. Give some, or None for texts of their own.")
        for row, prompt in enumerate(prompts):
            if not isinstance(prompt, str) or not prompt.strip():
                raise InputError(
                    f"The prompt in row {row} is {prompt!r}. Every prompt needs a text; remove the "
                    "row or fill it in."
                )
        return list(prompts)

    def require_reward(self, reward: Reward | None) -> Reward:
        """Return the reward; raise `SettingsError` where there is none."""
        if reward is None:
            raise SettingsError(
                f"{self.name} needs a reward: reward=, (completions, prompts) to (n,), such as a "
                "RewardModel."
            )
        return reward


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """n texts of N tokens that a policy wrote.

    ``score`` (n,) is the reward of whole texts; all else is (N,), text after text: ``logprob`` and
    ``value`` of the policy that wrote them, in units of its head, ``divergence`` log π/π_ref.
    ``empty`` counts the texts that say nothing.
    """

    completions: Completions
    score: Floats
    logprob: Floats
    divergence: Floats
    value: Floats
    empty: int

    @property
    def log_ratio(self) -> Floats:
        """Return ``log π/π_ref`` of each text, ``(n,)``; its mean estimates KL(π, π_ref)."""
        sums: Floats = np.add.reduceat(self.divergence, self._starts())
        return sums

    def tokens(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions in (N,) of the tokens of some texts."""
        starts, lengths = self._starts(), self.completions.lengths
        return np.concatenate([starts[row] + np.arange(lengths[row]) for row in rows])

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return the rollout as arrays."""
        names = ("score", "logprob", "divergence", "value")
        return pack_texts(self.completions, "rollout") | {
            **{f"rollout_{name}": getattr(self, name) for name in names},
            "rollout_empty": np.array([self.empty]),
        }

    @staticmethod
    def of(state: Columns) -> "Rollout":
        """Return the rollout that :meth:`state` made arrays of."""
        names = ("score", "logprob", "divergence", "value")
        arrays = {name: state[f"rollout_{name}"] for name in names}
        completions = unpack_texts(state, "rollout")
        return Rollout(completions, **arrays, empty=int(state["rollout_empty"][0]))

    def _starts(self) -> NDArray[np.int64]:
        lengths = self.completions.lengths
        return np.cumsum(lengths) - lengths


def write_rollout(
    language_model: LanguageModel,
    open_reference: OpenReference,
    asked: Sequence[str | None],
    reward: Reward,
    *,
    max_new_tokens: int,
    seed: int,
    chat: bool,
    values: bool = True,
    sampler: Sampler | None = None,
) -> Rollout:
    """Let the policy write one text for each prompt, and score policy, reference and text.

    Without ``values`` the network needs no value head, and the values are zero. A ``sampler``
    writes in the policy's place.
    """
    drawn = sample(
        language_model, asked, max_new_tokens=max_new_tokens, seed=seed, chat=chat, sampler=sampler
    )
    texts = drawn.completions
    logprob, value = _score_tokens(language_model, texts, values)
    with open_reference() as reference:
        reference_logprob, _ = _score_tokens(reference, texts, False)
    prompts = [text for text in asked if text is not None] or None
    return Rollout(
        texts,
        run_once(lambda: predict_outcome(reward, drawn.texts, prompts)),
        logprob,
        logprob - reference_logprob,
        value,
        sum(not text.strip() for text in drawn.texts),
    )


def draw_prompts(
    prompts: Sequence[str] | None, number: int, generator: np.random.Generator
) -> list[str | None]:
    """Return so many prompts, drawn evenly with replacement; Nones where there are none."""
    if prompts is None:
        return [None] * number
    return [prompts[row] for row in generator.integers(len(prompts), size=number)]


def write_evaluation(
    method: WritingSettings,
    language_model: LanguageModel,
    open_reference: OpenReference,
    prompts: Sequence[str] | None,
    reward: Reward,
    stream: int,
) -> Rollout:
    """Let a model write ``evaluation_texts``; the same stream asks with the same prompts."""
    generator = np.random.default_rng([method.training.seed, stream])
    asked = draw_prompts(prompts, method.evaluation_texts, generator)
    return write_rollout(
        language_model,
        open_reference,
        asked,
        reward,
        max_new_tokens=method.max_new_tokens,
        seed=int(generator.integers(2**31)),
        chat=method.chat,
        values=False,
    )


def compare_with_start(
    method: WritingSettings,
    language_model: LanguageModel,
    open_reference: OpenReference,
    prompts: Sequence[str] | None,
    reward: Reward,
    *,
    silence: float,
    far: float,
) -> tuple[Numbers, tuple[Finding, ...]]:
    """Return the mean reward of the starting and of the tuned model, and how far they are apart.

    The prompts and the seed are others than those that ranked the checkpoints. More than ``far``
    nats are too many. ``silence`` is the reward of an empty text.
    """
    if method.evaluation_texts == 0:
        return {}, ()
    shared = (open_reference, prompts, reward, COMPARISON_STREAM)
    with open_reference() as reference:
        before = write_evaluation(method, reference, *shared)
    after = write_evaluation(method, language_model, *shared)
    numbers = {}
    for name, rollout in (("before", before), ("after", after)):
        score = rollout.score
        numbers[f"reward_{name}"] = float(score.mean())
        numbers[f"reward_{name}_error"] = float(score.std(ddof=1) / np.sqrt(len(score)))
    numbers["kl_after"] = float(after.log_ratio.mean())
    cut = int(after.completions.cut.sum())
    below = float((before.score < silence).mean())
    return numbers, (
        findings.sampled_texts(after.empty, cut, len(after.score)),
        findings.divergence(numbers["kl_after"], far),
        findings.reward_of_silence(below, silence, numbers["reward_before"]),
    )


def read_asked(
    method: WritingSettings, model: LanguageModel, prompts: Sequence[str] | None
) -> Completions:
    """Return the prompts as the policy reads them, one where there are none, and no completions.

    They leave room in the window for what is written. Raises `SettingsError` where none can.
    """
    room = room_for_prompts(model, method.max_new_tokens)
    ids, remarks = read_prompts(model.tokenizer, prompts or [None], room, chat=method.chat)
    return Completions(tuple(ids), ((),) * len(ids), np.zeros(len(ids), dtype=bool), remarks)


def check_asked(
    method: WritingSettings, model: LanguageModel, asked: Completions
) -> tuple[Finding, ...]:
    """Return the findings on how prompts became tokens; ``asked`` is from `read_asked`."""
    room, shortened = room_for_prompts(model, method.max_new_tokens), asked.count("shortened")
    return (
        findings.read_whole(0, shortened, len(asked), room, "prompts"),
        *check_markup(model, asked, chat=method.chat),
    )


def score_silence(reward: Reward, prompts: Sequence[str] | None) -> float:
    """Return what an empty text earns on average: a policy may come to write nothing.

    Asked before training, so that a reward which fails on it fails at once. Raises `InputError`
    for one that gives no finite numbers.
    """
    asked = None if prompts is None else list(prompts[:TEXTS_IN_BATCH])
    texts = [""] * (1 if asked is None else len(asked))
    return float(run_once(lambda: predict_outcome(reward, texts, asked)).mean())


def collapse_reason(rollout: Rollout, stop_kl: float) -> str | None:
    """Return in which way the policy that wrote these texts has collapsed, or None."""
    if rollout.empty == len(rollout.score):
        return f"all {rollout.empty} texts that the policy wrote are empty"
    moved = float(rollout.log_ratio.mean())
    if moved > stop_kl:
        return f"the divergence from the starting model is {moved:.0f} nats, above {stop_kl:g}"
    return None


def _score_tokens(
    language_model: LanguageModel, texts: Completions, values: bool
) -> tuple[Floats, Floats]:
    """Return log-probability and value of each token ``(N,)``, without dropout or gradients."""
    model = language_model.model
    share, training = shares_prompts(model), model.training
    scored: dict[int, tuple[Floats, Floats]] = {}
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(
                process_rank() * TEXTS_IN_BATCH, len(texts), process_count() * TEXTS_IN_BATCH
            ):
                rows = np.arange(start, min(start + TEXTS_IN_BATCH, len(texts)))
                batch = lay_out(texts.take(rows), share_prompts=share)
                batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
                if values:
                    logprob, value = token_logprobs_and_values(model, batch)
                else:
                    logprob = token_logprobs(model, batch)
                    value = torch.zeros_like(logprob)
                scored[start] = (logprob.double().cpu().numpy(), value.double().cpu().numpy())
    finally:
        model.train(training)
    for part in gather(scored):
        scored.update(part)
    logprobs, predictions = zip(*(scored[start] for start in sorted(scored)), strict=True)
    return np.concatenate(logprobs), np.concatenate(predictions)
