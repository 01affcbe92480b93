"""Policies that tilt a known P_R over texts that can all be listed: tuned and judged in exact sums.

With S texts, features φ (S, k) and P_R (S,), a policy is ``log π = log P_R + θ·φ − log Z``. Its
value, its divergence from another one, and how often it wins are sums over the S texts.
Reference: arXiv 2402.14979.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from causalign.policy import OutcomeValue

__all__ = [
    "METHODS",
    "Linear",
    "Logged",
    "Support",
    "confounded_rows",
    "confounder",
    "drawn",
    "log_policy",
    "policies",
    "printed",
    "scores",
    "simulated",
    "summary",
    "tuned",
    "win_rate",
]

METHODS = (
    "fine-tuning",
    "OO-RLHF",
    "CPO",
    "DR-CPO",
    "DR-CPO from fine-tuned",
    "DR-CPO as released",
)
AS_RELEASED_BATCH = 4
STEPS = 150
TIE = 1e-9
Policies = dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class Support:
    """Hold all texts that a policy may write: what it tilts by (S, k), and log P_R (S,)."""

    features: np.ndarray
    log_probability: np.ndarray


@dataclass(frozen=True)
class Logged:
    """Hold n texts of a support: the row of each ``(n,)``, and what readers answered ``(n,)``."""

    chosen: np.ndarray
    outcome: np.ndarray
    support: Support

    def features(self) -> np.ndarray:
        """Return the features of each text, ``(n, k)``."""
        return self.support.features[self.chosen]

    def take(self, rows: np.ndarray) -> "Logged":
        """Return the texts at these positions."""
        return Logged(self.chosen[rows], self.outcome[rows], self.support)


@dataclass(frozen=True)
class Linear:
    """Predict the outcome from the features of a text: an intercept and k effects."""

    coefficients: np.ndarray

    @staticmethod
    def fitted(features: np.ndarray, outcome: np.ndarray) -> "Linear":
        """Fit by least squares."""
        X = np.column_stack([np.ones(len(features)), features])
        return Linear(np.linalg.lstsq(X, outcome, rcond=None)[0])

    @staticmethod
    def with_noise(texts: Logged) -> "tuple[Linear, float]":
        """Fit to the outcomes of texts; return also the standard deviation of what is left."""
        features = texts.features()
        found = Linear.fitted(features, texts.outcome)
        return found, float(np.std(texts.outcome - found(features)))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return predictions (n,)."""
        return self.coefficients[0] + features @ self.coefficients[1:]


def log_policy(logits: Tensor, support: Support) -> Tensor:
    """Return ``log π = log P_R + θ·φ − log Z`` of every text, ``(S,)``."""
    tilted = torch.from_numpy(support.log_probability) + torch.from_numpy(support.features) @ logits
    return tilted.log_softmax(0)


def drawn(support: Support, size: int, random: np.random.Generator) -> Logged:
    """Draw texts from P_R, without outcomes."""
    probability = np.exp(support.log_probability)
    chosen = random.choice(len(probability), size, p=probability)
    return Logged(chosen, np.zeros(size), support)


def simulated(truth: Linear, noise: float, support: Support, rows: int, seed: int) -> Logged:
    """Draw texts from P_R with outcomes of the truth and normal noise."""
    random = np.random.default_rng([seed, 3])
    texts = drawn(support, rows, random)
    outcome = truth(texts.features()) + random.normal(0, noise, rows)
    return Logged(texts.chosen, outcome, support)


def confounder(score: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw C ∈ {−1, 1} with P(C = 1) = σ(score + b), b such that C is even over these texts."""
    intercept = brentq(lambda b: np.mean(1 / (1 + np.exp(-score - b))) - 0.5, -50, 50)
    return np.where(random.random(len(score)) < 1 / (1 + np.exp(-score - intercept)), 1.0, -1.0)


def confounded_rows(
    generator: Linear,
    noise: float,
    support: Support,
    coefficients: np.ndarray,
    rows: int,
    seed: int,
) -> Callable[[float], Linear]:
    """Return what fits ĝ to Y = g + βC + noise, where C goes with the features, for each β.

    The texts are drawn from P_R; C is not recorded.
    """

    def fitted(strength: float) -> Linear:
        random = np.random.default_rng([seed, 1])
        features = drawn(support, rows, random).features()
        c = confounder(features @ coefficients, random)
        outcome = generator(features) + strength * c + random.normal(0, noise, rows)
        return Linear.fitted(features, outcome)

    return fitted


def tuned(
    method: str,
    texts: Logged,
    model: Linear | None,
    kl: float,
    seed: int,
    start: Tensor | None = None,
) -> Tensor:
    """Return the logits (k,) that raise the method's estimate of V(π) − κ KL(π ‖ f₀).

    ``start`` are the logits of f₀, the policy that tuning starts from and is held to; without them
    f₀ writes as the log does, P_R.
    """
    size = texts.support.features.shape[1]
    start = torch.zeros(size, dtype=torch.float64) if start is None else start
    logits = start.clone().requires_grad_()
    before, chosen = log_policy(start, texts.support), torch.tensor(texts.chosen)
    better = chosen[torch.tensor(texts.outcome >= np.median(texts.outcome))]
    rows = None if method == "fine-tuning" else _rows(method, texts, model)
    correction = _as_released(texts, model, seed) if method == "DR-CPO as released" else None
    # Small steps, as when a language model is tuned: a leap lands where few texts were logged.
    optimiser = torch.optim.Adam([logits], lr=0.05)
    for _ in range(STEPS):
        now = log_policy(logits, texts.support)
        if rows is None:
            # What is usually done: the likelihood of the texts that did better than half.
            loss = -now[better].mean()
        else:
            loss = (
                OutcomeValue()(now[rows[0]], rows[1])[0] / kl + (now.exp() * (now - before)).sum()
            )
        if correction is not None:
            loss = loss - correction(now) / kl
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    if not torch.isfinite(logits).all():
        raise ArithmeticError(f"{method} diverged.")
    return logits.detach()


def _rows(method: str, texts: Logged, model: Linear | None) -> tuple[Tensor, dict[str, Tensor]]:
    """Return logged rows, every text there is in the place of samples, or both, with columns."""
    proposal = torch.tensor(texts.support.log_probability)
    parts = []
    if method in ("CPO", "DR-CPO"):
        predicted = model(texts.features()) if model and method == "DR-CPO" else 0.0
        missed = torch.tensor(texts.outcome - predicted)
        share = torch.full_like(missed, 1 / len(missed))
        parts.append((torch.tensor(texts.chosen), share, missed, missed.mean().expand_as(missed)))
    if model and method != "CPO":
        probability, outcome = proposal.exp(), torch.tensor(model(texts.support.features))
        every = torch.arange(len(proposal))
        parts.append((every, probability, outcome, (probability @ outcome).expand_as(outcome)))
    chosen, share, outcome, baseline = (torch.cat(column) for column in zip(*parts, strict=True))
    return chosen, {
        "share": share,
        "outcome": outcome,
        "baseline": baseline,
        "proposal_logprob": proposal[chosen],
    }


def _as_released(texts: Logged, model: Linear | None, seed: int) -> Callable[[Tensor], Tensor]:
    """Return the correction with weights normalised in batches of four, divided by n once more."""
    assert model is not None
    order = np.random.default_rng([seed, 2]).permutation(len(texts.chosen))
    rows = order[: len(order) // AS_RELEASED_BATCH * AS_RELEASED_BATCH]
    batches = rows.reshape(-1, AS_RELEASED_BATCH)
    missed = torch.tensor((texts.outcome - model(texts.features()))[batches])
    chosen = torch.tensor(texts.chosen[batches])
    return lambda now: (now[chosen].softmax(-1) * missed).sum(-1).mean() / len(order)


def policies(
    train: Logged,
    model_at: Callable[[float], Linear],
    strengths: Sequence[float],
    kl: float,
    seed: int,
) -> Policies:
    """Return the logits of each method for each strength β of the confounding of ĝ."""
    fine_tuned = tuned("fine-tuning", train, None, kl, seed)
    free = {"fine-tuning": fine_tuned, "CPO": tuned("CPO", train, None, kl, seed)}
    found = {}
    for strength in strengths:
        model = model_at(strength)
        found[str(strength)] = free | {
            name: tuned(name, train, model, kl, seed)
            for name in ("OO-RLHF", "DR-CPO", "DR-CPO as released")
        }
        from_fine_tuned = tuned("DR-CPO", train, model, kl, seed, fine_tuned)
        found[str(strength)]["DR-CPO from fine-tuned"] = from_fine_tuned
    return found


def scores(
    found: Policies, support: Support, outcome: np.ndarray, kl: float | None = None
) -> dict[str, dict[str, float]]:
    """Return values above P_R and win rates, where each text of the support is worth ``outcome``.

    The support may have other texts than the one that policies were tuned on: they are logits.
    With κ also values less the price of divergence from P_R, which is what tuning raises.
    """
    before = np.exp(support.log_probability)
    table = {}
    for strength, logits in found.items():
        log_mass = {name: log_policy(theta, support).numpy() for name, theta in logits.items()}
        mass = {name: np.exp(log_p) for name, log_p in log_mass.items()}
        value = {name: float((p - before) @ outcome) for name, p in mass.items()}
        table[strength] = value | {
            "DR-CPO - OO-RLHF": value["DR-CPO"] - value["OO-RLHF"],
            **{
                f"DR-CPO wins against {other}": win_rate(mass["DR-CPO"], mass[other], outcome)
                for other in ("OO-RLHF", "fine-tuning", "CPO")
            },
        }
        if kl is not None:
            gap = {name: log_p - support.log_probability for name, log_p in log_mass.items()}
            net = {name: value[name] - kl * float(p @ gap[name]) for name, p in mass.items()}
            table[strength] |= {f"{name}, less the price": worth for name, worth in net.items()}
            gain = net["DR-CPO"] - net["OO-RLHF"]
            table[strength]["DR-CPO - OO-RLHF, less the price"] = gain
    return table


def win_rate(first: np.ndarray, second: np.ndarray, outcome: np.ndarray) -> float:
    """Return how often a text of the first is worth more, a tie as half: an exact sum.

    ``first`` and ``second`` are probabilities of texts that are worth ``outcome``, all ``(S,)``.
    """
    order = np.argsort(outcome, kind="stable")
    ranked = outcome[order]
    below = np.concatenate([[0.0], np.cumsum(second[order])])
    less = below[np.searchsorted(ranked, outcome - TIE, side="left")]
    not_more = below[np.searchsorted(ranked, outcome + TIE, side="right")]
    return float(first @ (less + not_more) / 2)


def summary(draws: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Return means, standard errors and quantiles over draws for every figure of a table."""
    return {
        strength: {figure: _spread([draw[strength][figure] for draw in draws]) for figure in row}
        for strength, row in draws[0].items()
    }


def _spread(values: list[float]) -> dict[str, float]:
    """Return mean and standard error over draws, and between which 95 % of the draws lie."""
    low, high = np.quantile(values, (0.025, 0.975))
    error = np.std(values, ddof=1) / len(values) ** 0.5
    return {
        "mean": round(float(np.mean(values)), 4),
        "error": round(float(error), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


def printed(title: str, table: Mapping[str, Any]) -> None:
    """Print values above P_R by strength of the confounding, and how often DR-CPO wins."""
    print(f"\n{title}")
    print("β    | " + " | ".join(METHODS) + " | DR-CPO wins against OO-RLHF [95 % of draws]")
    for strength, row in table.items():
        cells = (f"{row[m]['mean']:6.2f} ± {row[m]['error']:.2f}" for m in METHODS)
        wins = row["DR-CPO wins against OO-RLHF"]
        net = row.get("DR-CPO - OO-RLHF, less the price")
        print(
            f"{strength:>4} | " + " | ".join(cells) + f" | {wins['mean']:.1%} "
            f"[{wins['low']:.1%}, {wins['high']:.1%}]"
            + (f" | DR-CPO - OO-RLHF, less the price: {net['mean']:+.2f}" if net else ""),
            flush=True,
        )
