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

# What one of a reward is, unless it says otherwise.
OUTCOME = "units of the outcome"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MarkerPayments(Measure):
    """What each reward pays for each marker, in its own units, with 95 % intervals.

    Attributes
    ----------
    marker, reward : tuples of r str
        Which marker was written, and which reward read it.
    effect, stderr : (r,) floats
        Mean change of the reward, and its standard error.
    texts : tuple of r int
        How many texts the marker was written into.
    units : tuple of r str
        What one of each reward is: units of the outcome, or log-odds of a reward of comparisons.
    """

    question: ClassVar[str] = "What does each reward pay for a marker?"
    assumption: ClassVar[str] = "A reward that is right pays what the marker causes."

    marker: tuple[str, ...]
    reward: tuple[str, ...]
    effect: Floats
    stderr: Floats
    texts: tuple[int, ...]
    units: tuple[str, ...]

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
                "units": list(self.units),
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
        shared = len(set(self.units)) == 1
        for marker in dict.fromkeys(self.marker):
            paid = [
                f"{name} pays {effect:+.2f}" + ("" if shared else f" ({unit})")
                for m, name, effect, unit in zip(
                    self.marker, self.reward, self.effect, self.units, strict=True
                )
                if m == marker
            ]
            sentences.append(f"For “{marker}” {', '.join(paid)}.")
        return " ".join(sentences)

    def drawing(self) -> figures.Drawing:
        """Return the effects with their intervals, of the rewards in the units of the first."""
        unit = self.units[0] if self.units else OUTCOME
        rows = [row for row in self.table().to_pylist() if row["units"] == unit]
        others = dict.fromkeys(
            f"{name} ({own})"
            for name, own in zip(self.reward, self.units, strict=True)
            if own != unit
        )
        caption = "What each reward pays when a marker is written into held-out texts."
        if others:
            caption += f" In other units, and so in the table alone: {', '.join(others)}."
        labels = [f"{row['marker']} · {row['reward']}" for row in rows]
        return figures.forest(
            "markers",
            labels,
            [row["effect"] for row in rows],
            [row["lower"] for row in rows],
            [row["upper"] for row in rows],
            xlabel=f"change of the reward, in {unit}",
            caption=caption,
            alt="; ".join(
                f"{n}: {row['effect']:+.2f}" for n, row in zip(labels, rows, strict=True)
            ),
        )


def measure_marker_payments(
    models: Mapping[str, Score],
    texts: Sequence[str],
    markers: Sequence[str],
    prompts: Sequence[str] | None = None,
    *,
    outcome: str | None = None,
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
    outcome : str, optional
        The name of the outcome that rewards were fitted to, for their units.

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
            unit = name_units(getattr(model, "units", OUTCOME), outcome)
            rows.append((marker, reward, effect, _standard_error(change), len(plain), unit))
    names, rewards, effects, errors, counts, units = zip(*rows, strict=True) if rows else ((),) * 6
    return MarkerPayments(names, rewards, np.array(effects), np.array(errors), counts, units)


def marker_worth(
    score: Score,
    texts: Sequence[str],
    markers: Sequence[str],
    prompts: Sequence[str] | None = None,
) -> dict[str, float]:
    """Return what a score pays for each marker, in standard deviations of its scores of the texts.

    Arguments are those of `measure_marker_payments`. NaN where every text holds the marker, or
    where all scores are equal.
    """
    paid = measure_marker_payments({"judge": score}, texts, markers, prompts)
    spread = float(predict_outcome(score, texts, prompts).std())
    return {
        marker: float(effect) / spread if spread > 0 else float("nan")
        for marker, effect in zip(paid.marker, paid.effect, strict=True)
    }


def name_units(units: str, outcome: str | None) -> str:
    """Return units with the outcome by its name; of one on the scale of log-odds, "log-odds"."""
    if outcome is None or units != OUTCOME:
        return units
    if outcome.endswith("on the logit scale"):
        return "log-odds of the outcome"
    if outcome.endswith("on the log scale"):
        return "logarithms of the outcome"
    return f"units of {outcome}"


def _standard_error(change: Floats) -> float:
    return float(change.std(ddof=1) / np.sqrt(len(change))) if len(change) > 1 else float("nan")
