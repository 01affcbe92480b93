"""Tuning on randomised texts with a confounded outcome model (arXiv 2402.14979), in exact sums.

python reproductions/cpo/hongkong/run.py --cpu --out found.json
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from running import Settings, run  # noqa: E402
from snippets import SETS, TREATMENTS, Texts, log_policy, read  # noqa: E402

from causalign.policy.objectives import OutcomeValue  # noqa: E402

# The coefficients of the paper's confounder; its intercept is set so that C is even.
CONFOUNDER = np.array([2.68, 1.85, 0.14, -2.12, -2.07, -0.94, 0.75])
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


@dataclass(frozen=True)
class Linear:
    """Predict support from the treatments of a text: an intercept and seven effects."""

    coefficients: np.ndarray

    @staticmethod
    def fitted(present: np.ndarray, outcome: np.ndarray) -> "Linear":
        """Fit by least squares."""
        X = np.column_stack([np.ones(len(present)), present])
        return Linear(np.linalg.lstsq(X, outcome, rcond=None)[0])

    def __call__(self, present: np.ndarray) -> np.ndarray:
        """Return predictions (n,)."""
        return self.coefficients[0] + present @ self.coefficients[1:]


def drawn_from_design(texts: Texts, size: int, random: np.random.Generator) -> Texts:
    """Draw new texts from P_R, without outcomes."""
    probability = np.exp(texts.design.log_probability())
    return Texts(random.choice(len(SETS), size, p=probability), np.zeros(size), texts.design)


def confounded_model(
    truth: Linear, noise: float, texts: Texts, strength: float, rows: int, seed: int
) -> Linear:
    """Fit ĝ to Y = g + βC + noise, where C goes with the treatments and is not recorded."""
    random = np.random.default_rng([seed, 1])
    present = drawn_from_design(texts, rows, random).present()
    score = present @ CONFOUNDER
    intercept = brentq(lambda b: np.mean(1 / (1 + np.exp(-score - b))) - 0.5, -50, 50)
    c = np.where(random.random(rows) < 1 / (1 + np.exp(-score - intercept)), 1.0, -1.0)
    return Linear.fitted(present, truth(present) + strength * c + random.normal(0, noise, rows))


def tuned(
    method: str, texts: Texts, model: Linear, kl: float, seed: int, start: Tensor | None = None
) -> Tensor:
    """Return the logits (7,) that raise the method's estimate of V(π) − κ KL(π ‖ f₀).

    ``start`` are the logits of f₀, the policy that tuning starts from and is held to; without them
    f₀ writes as the log does, P_R.
    """
    start = torch.zeros(len(TREATMENTS), dtype=torch.float64) if start is None else start
    logits = start.clone().requires_grad_()
    before, chosen = log_policy(start, texts.design), torch.tensor(texts.chosen)
    better = chosen[torch.tensor(texts.outcome >= np.median(texts.outcome))]
    rows = None if method == "fine-tuning" else _rows(method, texts, model)
    correction = _as_released(texts, model, seed) if method == "DR-CPO as released" else None
    # Small steps, as when a language model is tuned: a leap lands where few texts were logged.
    optimiser = torch.optim.Adam([logits], lr=0.05)
    for _ in range(STEPS):
        now = log_policy(logits, texts.design)
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


def _rows(method: str, texts: Texts, model: Linear) -> tuple[Tensor, dict[str, Tensor]]:
    """Return logged rows, every set there is in the place of samples, or both, with columns."""
    proposal = torch.tensor(texts.design.log_probability())
    parts = []
    if method in ("CPO", "DR-CPO"):
        predicted = model(texts.present()) if method == "DR-CPO" else 0.0
        missed = torch.tensor(texts.outcome - predicted)
        share = torch.full_like(missed, 1 / len(missed))
        parts.append((torch.tensor(texts.chosen), share, missed, missed.mean().expand_as(missed)))
    if method != "CPO":
        probability, outcome = proposal.exp(), torch.tensor(model(SETS))
        every = torch.arange(len(SETS))
        parts.append((every, probability, outcome, (probability @ outcome).expand_as(outcome)))
    chosen, share, outcome, baseline = (torch.cat(column) for column in zip(*parts, strict=True))
    return chosen, {
        "share": share,
        "outcome": outcome,
        "baseline": baseline,
        "proposal_logprob": proposal[chosen],
    }


def _as_released(texts: Texts, model: Linear, seed: int) -> Callable[[Tensor], Tensor]:
    """Return the correction with weights normalised in batches of four, divided by n once more."""
    order = np.random.default_rng([seed, 2]).permutation(len(texts.chosen))
    rows = order[: len(order) // AS_RELEASED_BATCH * AS_RELEASED_BATCH]
    batches = rows.reshape(-1, AS_RELEASED_BATCH)
    missed = torch.tensor((texts.outcome - model(texts.present()))[batches])
    chosen = torch.tensor(texts.chosen[batches])
    return lambda now: (now[chosen].softmax(-1) * missed).sum(-1).mean() / len(order)


def support(logits: Tensor, texts: Texts, judge: Linear) -> tuple[np.ndarray, np.ndarray]:
    """Return probability and judged outcome of every set of treatments."""
    return log_policy(logits, texts.design).exp().numpy(), judge(SETS)


def win_rate(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> float:
    """Return how often a text of the first is judged better, a tie as half: an exact sum."""
    gap = np.subtract.outer(first[1], second[1])
    won = (gap > 1e-9) + 0.5 * (np.abs(gap) <= 1e-9)
    return float(first[0] @ won @ second[0])


def one_draw(
    train: Texts, judge: Linear, generator: Linear, noise: float, settings: Settings, seed: int
) -> dict[str, dict[str, float]]:
    """Return the value of each method above P_R, and win rates, for each strength β."""
    zero = torch.zeros(len(TREATMENTS), dtype=torch.float64)
    start = support(zero, train, judge)
    fine_tuned = tuned("fine-tuning", train, generator, settings["kl"], seed)
    weighted = tuned("CPO", train, generator, settings["kl"], seed)
    free = {
        "fine-tuning": support(fine_tuned, train, judge),
        "CPO": support(weighted, train, judge),
    }
    found = {}
    for strength in settings["strengths"]:
        model = confounded_model(
            generator, noise, train, strength, settings["confounded_rows"], seed
        )
        policies = free | {
            name: support(tuned(name, train, model, settings["kl"], seed), train, judge)
            for name in ("OO-RLHF", "DR-CPO", "DR-CPO as released")
        }
        from_fine_tuned = tuned("DR-CPO", train, model, settings["kl"], seed, fine_tuned)
        policies["DR-CPO from fine-tuned"] = support(from_fine_tuned, train, judge)
        value = {name: float(p @ y - start[0] @ start[1]) for name, (p, y) in policies.items()}
        dr, oo = policies["DR-CPO"], policies["OO-RLHF"]
        found[str(strength)] = value | {
            "DR-CPO - OO-RLHF": value["DR-CPO"] - value["OO-RLHF"],
            "DR-CPO wins against OO-RLHF": win_rate(dr, oo),
            "DR-CPO wins against fine-tuning": win_rate(dr, policies["fine-tuning"]),
            "DR-CPO wins against CPO": win_rate(dr, policies["CPO"]),
        }
    return found


def simulated_draw(texts: Texts, settings: Settings, seed: int) -> dict[str, dict[str, float]]:
    """Draw texts and outcomes from the linear model of all real answers; it is also the judge."""
    truth = Linear.fitted(texts.present(), texts.outcome)
    noise = float(np.std(texts.outcome - truth(texts.present())))
    random = np.random.default_rng([seed, 3])
    drawn = drawn_from_design(texts, settings["rows"], random)
    outcome = truth(drawn.present()) + random.normal(0, noise, settings["rows"])
    train = Texts(drawn.chosen, outcome, texts.design)
    return one_draw(train, truth, truth, noise, settings, seed)


def real_draw(texts: Texts, settings: Settings, seed: int) -> dict[str, dict[str, float]]:
    """Resample respondents; half teach, and the other half fit the judge."""
    random = np.random.default_rng([seed, 4])
    halves = np.array_split(random.permutation(len(texts.outcome)), 2)
    train, other = (texts.take(random.choice(half, len(half))) for half in halves)
    judge = Linear.fitted(other.present(), other.outcome)
    generator = Linear.fitted(train.present(), train.outcome)
    noise = float(np.std(train.outcome - generator(train.present())))
    return one_draw(train, judge, generator, noise, settings, seed)


def study(settings: Settings) -> dict[str, Any]:
    """Repeat both designs, and print values above P_R by strength of the confounding."""
    texts = read(settings["data"])
    found: dict[str, Any] = {"texts": len(texts.outcome), "draws": settings["draws"]}
    for name, draw in (("simulated outcomes", simulated_draw), ("real outcomes", real_draw)):
        draws = [draw(texts, settings, seed) for seed in range(settings["draws"])]
        found[name] = {
            strength: {
                what: _summary([each[strength][what] for each in draws])
                for what in draws[0][strength]
            }
            for strength in draws[0]
        }
        _print(name, found[name])
    return found


def _summary(values: list[float]) -> dict[str, float]:
    """Return mean and standard error over draws, and between which 95 % of the draws lie."""
    low, high = np.quantile(values, (0.025, 0.975))
    error = np.std(values, ddof=1) / len(values) ** 0.5
    return {
        "mean": round(float(np.mean(values)), 4),
        "error": round(float(error), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


def _print(name: str, table: dict[str, Any]) -> None:
    print(f"\n{name}: points of support (0 to 100) above P_R, mean ± standard error over draws")
    print("β    | " + " | ".join(METHODS) + " | DR-CPO wins against OO-RLHF [95 % of draws]")
    for strength, row in table.items():
        cells = (f"{row[m]['mean']:6.2f} ± {row[m]['error']:.2f}" for m in METHODS)
        wins = row["DR-CPO wins against OO-RLHF"]
        print(
            f"{strength:>4} | " + " | ".join(cells) + f" | {wins['mean']:.1%} "
            f"[{wins['low']:.1%}, {wins['high']:.1%}]",
            flush=True,
        )


if __name__ == "__main__":
    run(Path(__file__).parent, study)
