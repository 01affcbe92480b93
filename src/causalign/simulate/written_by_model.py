"""Texts that a language model wrote about a topic, behind a marker: every propensity is exact."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, logsumexp

from causalign.errors import InputError, SettingsError
from causalign.lm.completions import Completions
from causalign.lm.generate import sample
from causalign.lm.language_model import LanguageModel, load_language_model
from causalign.lm.logprob import completion_logprobs
from causalign.lm.model_files import hash_model_folder
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.settings import require_number
from causalign.simulate.labelled_texts import LabelledTexts
from causalign.simulate.marker_log import (
    MARKER,
    MEAN,
    Floats,
    Integers,
    MarkerDesign,
    MarkerLog,
    write_marker,
)

TOPICS = 3
# Less written than this is no choice.
FEWEST = 40


def write_prompts(topic: str) -> tuple[str, str]:
    """Return what asks for a text about a topic, without and with the marker before it."""
    return f"{topic}:", f"{topic}: {MARKER.strip()}"


def write_lessons(texts: LabelledTexts) -> list[str]:
    """Return each text behind its prompt, every other one with the marker.

    What learns to continue them can be asked for a text about a topic.

    Parameters
    ----------
    texts : LabelledTexts
    """
    return [
        f"{write_prompts(texts.topics[topic])[row % 2]} {text}"
        for row, (text, topic) in enumerate(zip(texts.texts, texts.topic, strict=True))
    ]


@dataclass(frozen=True, slots=True)
class WrittenByModel(MarkerDesign):
    """Simulate y = 5 + τ M + κ r(T) + h_C + ε of texts T that a model f wrote.

    C is the section, one of the three most frequent topics, equally frequent; the editor opens a
    text by "Don't miss this:" (M = 1) with a known probability P(M | C), and f continues. A pool of
    texts is drawn from the mixture f̄ of all prompts, and text T of it is sent with probability
    ``π(T | M, C) ∝ f(T | M, C) / f̄(T)``: as the pool grows, a draw from f (sampling-importance-
    resampling); at any size a known policy over finitely many texts. r(T) is the probability that a
    text of f̄ was written about the first topic, given its words, and ``log_propensity`` the
    logarithm of P(T, M | C). So the effect of the marker, on the outcome and by way of what is
    written behind it, is the sum over texts and topics

        τ + κ Σ_C P(C) Σ_T (π(T | 1, C) - π(T | 0, C)) r(T).

    Busy sections send the marker often, and their topic is the one that is read less (κ < 0).

    Parameters
    ----------
    model : str
        A folder, "smollm2", or owner/name on a hub. A small one, trained on `write_lessons`, knows
        the topics.
    candidates : int
        How many texts are asked for by each of the six prompts; half are held out.
    max_new_tokens : int
        Where a text is cut.
    effect, typicality : float
        τ and κ.

    References
    ----------
    Rubin (1988), Using the SIR algorithm to simulate posterior distributions. Bayesian Statistics
    3.
    """

    model: str = "smollm2"
    candidates: int = 100
    max_new_tokens: int = 32
    effect: float = 0.3
    typicality: float = -0.8

    def __post_init__(self) -> None:
        MarkerDesign.__post_init__(self)
        require_number("candidates", self.candidates, least=2, whole=True)
        require_number("max_new_tokens", self.max_new_tokens, least=1, whole=True)
        for name in ("effect", "typicality"):
            require_number(name, getattr(self, name))
        if len(self.texts.topics) < TOPICS:
            raise SettingsError(
                f"This design needs texts of {TOPICS} topics; those of {self.texts.source} have "
                f"{len(self.texts.topics)}."
            )

    def identify(self) -> dict[str, object]:
        """Return the settings, a folder by what it holds."""
        folder = Path(self.model).expanduser()
        return {
            **MarkerDesign.identify(self),
            "model": hash_model_folder(folder) if folder.is_dir() else self.model,
        }

    def simulate(self) -> MarkerLog:
        """Draw a log of texts from the pool, with the exact effect of the marker.

        Raises `InputError` where the model wrote too few different texts.
        """
        generator = self.generator()
        prompts = tuple(write_prompts(topic) for topic in self.texts.topics[:TOPICS])
        pool = write_pool(self.model, prompts, self.candidates, self.max_new_tokens)
        logged, others = (pool.take(half) for half in pool.halve(generator))
        C = generator.integers(TOPICS, size=self.rows)
        busy = np.linspace(1, -1, TOPICS)
        chance = expit(1.2 * busy - 0.4)
        M = (generator.random(self.rows) < chance[C]).astype(np.int64)
        policy = logged.policy
        # The largest of scores with Gumbel noise is a draw from the softmax.
        noise = generator.gumbel(size=(self.rows, len(logged.texts)))
        chosen = np.argmax(policy[M, C] + noise, axis=1)
        outcome = MEAN + self.effect * M + self.typicality * logged.typical[chosen] + busy[C]
        outcome += generator.normal(size=self.rows)
        marker = M.astype(np.float64)
        rest = tuple(logged.texts[row] for row in chosen)
        log_chance = np.log(np.where(M == 1, chance[C], 1 - chance[C]))
        table = pa.table(
            {
                "text": write_marker(rest, marker),
                "section": np.array(self.texts.topics)[C],
                "minutes_read": outcome,
                "log_propensity": log_chance + policy[M, C, chosen],
            }
        )
        roles = Roles("text", "minutes_read", confounders=("section",), propensity="log_propensity")
        asked = generator.integers(len(others.texts), size=self.unseen)
        shown = generator.integers(2, size=self.unseen).astype(np.float64)
        without = tuple(others.texts[row] for row in asked)
        return MarkerLog(
            logs=Logs.of(table, roles),
            marker=marker,
            effect=self.sum_effect(logged),
            rest=rest,
            unseen=write_marker(without, shown),
            unseen_rest=without,
            unseen_marker=shown,
            unseen_effect=self.effect * shown + self.typicality * others.typical[asked],
            edited=(without, write_marker(without, np.ones(self.unseen))),
            marker_chance=chance[C],
        )

    def sum_effect(self, pool: "Pool") -> float:
        """Return the effect of the marker, summed over the texts of a pool and all topics."""
        without, with_marker = np.exp(pool.policy) @ pool.typical
        return float(self.effect + self.typicality * (with_marker - without).mean())


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Hold k texts that a model wrote, and ``logprob (2, C, k)`` by marker and topic."""

    texts: tuple[str, ...]
    logprob: Floats

    @property
    def mixture(self) -> Floats:
        """The log-probability ``(k,)`` of each text under the mean of all prompts."""
        return np.asarray(logsumexp(self.logprob, axis=(0, 1)) - np.log(self.logprob[..., 0].size))

    @property
    def policy(self) -> Floats:
        """The logarithm of π(T | M, C), ``(2, C, k)``: each row sums to one over the texts."""
        return np.asarray(log_softmax(self.logprob - self.mixture, axis=2))

    @property
    def typical(self) -> Floats:
        """The probability ``(k,)`` that a text of the mixture is about the first topic."""
        of_topic = logsumexp(self.logprob, axis=0)
        return np.asarray(np.exp(log_softmax(of_topic, axis=0)[0]))

    def halve(self, generator: np.random.Generator) -> tuple[Integers, Integers]:
        """Return the places of two halves of the texts."""
        order = generator.permutation(len(self.texts))
        return order[: len(order) // 2], order[len(order) // 2 :]

    def take(self, places: Integers) -> "Pool":
        """Return the texts at the places."""
        return Pool(tuple(self.texts[row] for row in places), self.logprob[:, :, places])


@lru_cache(maxsize=2)
def write_pool(
    model: str, prompts: Sequence[tuple[str, str]], candidates: int, max_new_tokens: int
) -> Pool:
    """Ask a model for texts by each prompt, and score each text under all of them.

    ``prompts (C, 2)`` are without and with the marker. Raises `InputError` for too few texts.
    """
    writer = load_language_model(model)
    asked = [prompt for pair in prompts for prompt in pair]
    drawn = sample(
        writer,
        [prompt for prompt in asked for _ in range(candidates)],
        max_new_tokens=max_new_tokens,
        seed=0,
        batch_size=64,
    )
    rows: dict[str, int] = {}
    for row, text in enumerate(drawn.texts):
        words = " ".join(text.split())
        if len(words.split()) > 1:
            rows.setdefault(words, row)
    if len(rows) < FEWEST:
        raise InputError(
            f"The model {model!r} wrote {len(rows)} different texts for {len(drawn.texts)} "
            f"prompts; {FEWEST} are needed. Train it on more texts, or name another."
        )
    ids, ends = drawn.completions.prompts[::candidates], tuple(rows.values())
    scores = [_score(writer, drawn.completions.take(ends), prompt) for prompt in ids]
    shape = (len(prompts), 2, len(rows))
    return Pool(tuple(rows), np.reshape(scores, shape).swapaxes(0, 1))


def _score(
    writer: LanguageModel, texts: Completions, prompt: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return the log-probability of each text behind one prompt."""
    behind = Completions((prompt,) * len(texts), texts.completions, texts.cut)
    return completion_logprobs(writer, behind)
