"""From the score of a text to what each of its tokens is credited with."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["explained_variance", "generalised_advantages", "shaped_rewards", "whitened"]

Floats = NDArray[np.float64]


def shaped_rewards(
    score: Floats, divergence: Floats, lengths: NDArray[np.int64], kl: float
) -> Floats:
    """Return the reward of each token ``(N,)``: ``−κ log π/π_ref``, and the score at the end.

    ``score`` (n,) belongs to whole texts, ``divergence`` (N,) is log π/π_ref of each token, the
    tokens of a text following each other; ``lengths`` (n,) are at least one. The rewards of a text
    add up to its score minus κ times its log-ratio, whose mean is the divergence KL(π, π_ref).
    """
    rewards = -kl * divergence
    rewards[np.cumsum(lengths) - 1] += score
    return rewards


def generalised_advantages(
    rewards: Floats,
    values: Floats,
    lengths: NDArray[np.int64],
    *,
    discount: float,
    trace: float,
) -> Floats:
    """Return ``A_t = δ_t + γλ A_{t+1}`` with ``δ_t = r_t + γ V_{t+1} − V_t``, ``(N,)``.

    V_t is the value before token t is written; after the last token there is none. The trace λ
    trades bias for variance: 1 is the return that followed minus the value, 0 one step of it.
    ``A + V`` is the return that the value head should have predicted.

    Reference: Schulman et al. (2015), arXiv 1506.02438.
    """
    found = np.zeros_like(rewards)
    for end, length in zip(np.cumsum(lengths), lengths, strict=True):
        advantage = following = 0.0
        for t in range(end - 1, end - length - 1, -1):
            surprise = rewards[t] + discount * following - values[t]
            advantage = surprise + discount * trace * advantage
            found[t], following = advantage, values[t]
    return found


def whitened(advantages: Floats) -> Floats:
    """Return the advantages with mean zero and variance one; zeros if they are all alike."""
    spread = advantages.std()
    centred = advantages - advantages.mean()
    return centred / spread if spread > 1e-12 else np.zeros_like(centred)


def explained_variance(returns: Floats, values: Floats) -> float:
    """Return ``1 − Var(G − V) / Var(G)``, or nan where the returns do not vary."""
    total = returns.var()
    return float(1 - (returns - values).var() / total) if total > 1e-12 else float("nan")
