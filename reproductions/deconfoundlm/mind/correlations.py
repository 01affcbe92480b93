"""Table 2: how closely each reward follows the sentiment of titles that it has not seen."""

import sys
from typing import Any

import numpy as np
from news import News
from rewards import IV, MODELS, SCENARIOS, Fitted, Vectors, fitted, simulated
from running import Settings
from scipy import stats

__all__ = ["shown", "table"]

# ODIN is a network by what it is.
WITHOUT_ODIN = tuple(name for name in MODELS if name != "ODIN")

Parts = dict[str, list[dict[str, float]]]


def table(
    news: News, vectors: Vectors, settings: Settings, *, ridge: bool = False
) -> dict[str, Any]:
    """Return for both scenarios mean and standard error over seeds of each model."""
    return {
        scenario: _of_scenario(news, vectors, settings, entangled, ridge)
        for scenario, entangled in SCENARIOS.items()
    }


def correlations(fit: Fitted, news: News, vectors: Vectors) -> dict[str, float]:
    """Return Pearson's correlation of each model's reward with the sentiment of the titles."""
    rewards = fit.score(tuple(fit.heads), vectors, news.titles, news.abstracts)
    return {name: float(np.corrcoef(r, news.sentiment)[0, 1]) for name, r in rewards.items()}


def _of_scenario(
    news: News, vectors: Vectors, settings: Settings, entangled: bool, ridge: bool
) -> dict[str, Any]:
    parts: Parts = {"train": [], "valid": [], "slope": [], "first stage": []}
    for seed in range(settings["seeds"]):
        order = np.random.default_rng([seed, 0]).permutation(len(news.titles))
        cut = round(settings["valid_share"] * len(order))
        teach, judge = news.take(order[cut:]), news.take(order[:cut])
        logs = simulated(teach, entangled, seed)
        fit = fitted(
            teach,
            logs,
            vectors,
            settings,
            seed,
            abstracts=True,
            names=WITHOUT_ODIN if ridge else MODELS,
            ridge=ridge,
        )
        parts["train"].append(correlations(fit, teach, vectors))
        parts["valid"].append(correlations(fit, judge, vectors))
        parts["slope"].append(fit.slopes)
        parts["first stage"].append({"F": fit.first_stage_f})
        print(f"seed {seed} done", file=sys.stderr, flush=True)
    return {
        part: {name: _summary([row[name] for row in rows]) for name in rows[0]}
        for part, rows in parts.items()
    } | {"IV / only sentiment, valid": _ratio(parts)}


def _summary(values: list[float]) -> dict[str, float]:
    error = np.std(values, ddof=1) / len(values) ** 0.5
    return {"mean": round(float(np.mean(values)), 4), "error": round(float(error), 4)}


def _ratio(parts: Parts) -> dict[str, float]:
    """Return DeconfoundLM-IV's share of the true reward's correlation, t interval over seeds."""
    ratios = [row[IV] / row["only sentiment"] for row in parts["valid"]]
    half = stats.t.ppf(0.975, len(ratios) - 1) * stats.sem(ratios)
    mean = float(np.mean(ratios))
    return {
        "mean": round(mean, 4),
        "low": round(float(mean - half), 4),
        "high": round(float(mean + half), 4),
        "least": round(min(ratios), 4),
    }


def shown(encoder: str, tables: dict[str, Any]) -> str:
    """Return Table 2 as lines of Markdown."""
    lines = [
        f"{encoder}: correlation of reward and sentiment, train / valid ± standard error",
        f"| | {' | '.join(tables)} |",
        f"| --- {'| --- ' * len(tables)}|",
    ]
    for name in next(iter(tables.values()))["valid"]:
        cells = (
            f"{t['train'][name]['mean']:.3f} / {t['valid'][name]['mean']:.3f} "
            f"± {t['valid'][name]['error']:.3f}"
            for t in tables.values()
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
