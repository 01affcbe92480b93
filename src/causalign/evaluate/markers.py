"""What does a reward pay for a marker? The mean change when the marker is written into texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.special import ndtri

__all__ = ["MarkerEffects", "marker_effects"]

Scorer = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True, slots=True)
class MarkerEffects:
    """Hold the effect of each marker on each reward, in units of the outcome, with 95 % intervals.

    ``texts`` counts the texts a marker was written into.
    """

    marker: tuple[str, ...]
    reward: tuple[str, ...]
    effect: np.ndarray
    stderr: np.ndarray
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
        """Return one effect."""
        places = zip(self.marker, self.reward, strict=True)
        return float(self.effect[list(places).index((marker, reward))])


def marker_effects(
    scorers: Mapping[str, Scorer], texts: Sequence[str], markers: Sequence[str]
) -> MarkerEffects:
    """Score texts with and without each marker in front; average the paired differences.

    Δ(m) = (1/n) Σᵢ [r(m ⊕ Tᵢ) − r(Tᵢ)] over the texts that do not hold m yet. It is a property of
    the reward, not of the world: a reward that is right pays what the marker causes. The standard
    error is that of a mean of paired differences over distinct texts.
    """
    names, rewards, effects, errors, counts = [], [], [], [], []
    distinct = list(dict.fromkeys(texts))
    for marker in markers:
        plain = [t for t in distinct if marker.lower() not in t.lower()]
        marked = [f"{marker} {t}" for t in plain]
        for reward, score in scorers.items():
            change = score(marked) - score(plain) if plain else np.zeros(0)
            names.append(marker)
            rewards.append(reward)
            effects.append(float(change.mean()) if len(change) else float("nan"))
            errors.append(_standard_error(change))
            counts.append(len(plain))
    return MarkerEffects(
        tuple(names), tuple(rewards), np.array(effects), np.array(errors), tuple(counts)
    )


def _standard_error(change: np.ndarray) -> float:
    return float(change.std(ddof=1) / np.sqrt(len(change))) if len(change) > 1 else float("nan")
