"""What does a reward pay for a marker? The mean change when the marker is written into texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import ndtri

from causalign import figures
from causalign.evaluate.judges import Score
from causalign.evaluate.measure import Measure
from causalign.logs.outcome_model import predict_outcome

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MarkerPayments(Measure):
    """What each reward pays for each marker, in units of the outcome, with 95 % intervals.

    Attributes
    ----------
    marker, reward : tuples of r str
        Which marker was written, and which reward read it.
    effect, stderr : (r,) floats
        Mean change of the reward, and its standard error.
    texts : tuple of r int
        How many texts the marker was written into.
    """

    question: ClassVar[str] = "What does each reward pay for a marker?"
    assumption: ClassVar[str] = "A reward that is right pays what the marker causes."

    marker: tuple[str, ...]
    reward: tuple[str, ...]
    effect: Floats
    stderr: Floats
    texts: tuple[int, ...]

    def table(self) -> pa.Table:
        """Return one row for each marker and reward."""
        half = ndtri(0.975) * self.stderr
        return pa.table(
            {
                "marker": list(self.marker),
                "reward": list(self.reward),
                "effect": self.effect,
                "lower": self.effect - half,
                "upper": self.effect + half,
                "texts": list(self.texts),
            }
        )

    def of(self, marker: str, reward: str) -> float:
        """Return one effect.

        Parameters
        ----------
        marker, reward : str
            Which marker was written, and which reward read it.
        """
        places = zip(self.marker, self.reward, strict=True)
        return float(self.effect[list(places).index((marker, reward))])

    def answer(self) -> str:
        """Return what each reward pays, a sentence for each marker."""
        sentences = []
        for marker in dict.fromkeys(self.marker):
            rewards = [r for m, r in zip(self.marker, self.reward, strict=True) if m == marker]
            paid = [f"{name} pays {self.of(marker, name):+.2f}" for name in rewards]
            sentences.append(f"For “{marker}” {', '.join(paid)}.")
        return " ".join(sentences)

    def drawing(self) -> figures.Drawing:
        """Return every effect with its interval."""
        table = self.table().to_pydict()
        labels = [f"{m} · {r}" for m, r in zip(self.marker, self.reward, strict=True)]
        return figures.forest(
            "markers",
            labels,
            table["effect"],
            table["lower"],
            table["upper"],
            xlabel="change of the reward, in units of the outcome",
            caption="What each reward pays when a marker is written into held-out texts.",
            alt="; ".join(f"{n}: {e:+.2f}" for n, e in zip(labels, table["effect"], strict=True)),
        )


def measure_marker_payments(
    models: Mapping[str, Score],
    texts: Sequence[str],
    markers: Sequence[str],
    prompts: Sequence[str] | None = None,
) -> MarkerPayments:
    """Score texts with and without each marker in front; average the paired differences.

    Δ(m) = (1/n) Σᵢ [r(m ⊕ Tᵢ) − r(Tᵢ)] over the distinct texts that do not hold m yet. It is a
    property of the reward, not of the world. The standard error is that of a mean of paired
    differences.

    Parameters
    ----------
    models : mapping of str to callable
        ``reward(completions, prompts) -> (n,)`` by name.
    texts : sequence of n str
        Texts to write markers into.
    markers : sequence of str
        Words or phrases.
    prompts : sequence of n str, optional
        What was asked.

    Returns
    -------
    MarkerPayments
    """
    distinct = dict.fromkeys(zip(texts, prompts or [""] * len(texts), strict=True))
    rows = []
    for marker in markers:
        plain = [pair for pair in distinct if marker.lower() not in pair[0].lower()]
        own_prompts = None if prompts is None else [prompt for _, prompt in plain]
        sides = [f"{marker} {text}" for text, _ in plain], [text for text, _ in plain]
        for reward, model in models.items():
            change = np.zeros(0)
            if plain:
                above, below = (predict_outcome(model, side, own_prompts) for side in sides)
                change = above - below
            effect = float(change.mean()) if len(change) else float("nan")
            rows.append((marker, reward, effect, _standard_error(change), len(plain)))
    names, rewards, effects, errors, counts = zip(*rows, strict=True) if rows else ((),) * 5
    return MarkerPayments(names, rewards, np.array(effects), np.array(errors), counts)


def _standard_error(change: Floats) -> float:
    return float(change.std(ddof=1) / np.sqrt(len(change))) if len(change) > 1 else float("nan")
