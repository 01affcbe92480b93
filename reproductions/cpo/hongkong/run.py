"""Tuning on randomised texts with a confounded outcome model (arXiv 2402.14979).

python reproductions/cpo/hongkong/run.py --cpu --out found.json

First in exact sums, then with a language model. What that one tunes and writes stays in
runs/hongkong-SIZE; a run that was killed goes on.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(folder) for folder in (*Path(__file__).parents[1:3], Path(__file__).parent)]

import language_models  # noqa: E402
import small_policies  # noqa: E402
import two_treatments  # noqa: E402
from running import Settings, run  # noqa: E402
from snippets import CONFOUNDER, read  # noqa: E402
from tilted import (  # noqa: E402
    Linear,
    Logged,
    confounded_rows,
    policies,
    printed,
    scores,
    simulated,
    summary,
)

TITLE = "points of support (0 to 100) above P_R, mean ± standard error over draws"


def one_draw(
    train: Logged, judge: Linear, generator: Linear, noise: float, settings: Settings, seed: int
) -> dict[str, dict[str, float]]:
    """Return the value of each method above P_R, and win rates, for each strength β."""
    rows = settings["confounded_rows"]
    model_at = confounded_rows(generator, noise, train.support, CONFOUNDER, rows, seed)
    found = policies(train, model_at, settings["strengths"], settings["kl"], seed)
    return scores(found, train.support, judge(train.support.features))


def simulated_draw(texts: Logged, settings: Settings, seed: int) -> dict[str, dict[str, float]]:
    """Draw texts and outcomes from the linear model of all real answers; it is also the judge."""
    truth, noise = Linear.with_noise(texts)
    train = simulated(truth, noise, texts.support, settings["rows"], seed)
    return one_draw(train, truth, truth, noise, settings, seed)


def real_draw(texts: Logged, settings: Settings, seed: int) -> dict[str, dict[str, float]]:
    """Resample respondents; half teach, and the other half fit the judge."""
    random = np.random.default_rng([seed, 4])
    halves = np.array_split(random.permutation(len(texts.outcome)), 2)
    train, other = (texts.take(random.choice(half, len(half))) for half in halves)
    judge = Linear.fitted(other.features(), other.outcome)
    generator, noise = Linear.with_noise(train)
    return one_draw(train, judge, generator, noise, settings, seed)


def study(settings: Settings) -> dict[str, Any]:
    """Repeat both designs, and print values above P_R by strength of the confounding."""
    texts, folder = read(settings["data"]), Path("runs") / f"hongkong-{settings['name']}"
    found: dict[str, Any] = {"texts": len(texts.outcome), "draws": settings["draws"]}
    for name, draw in (("simulated outcomes", simulated_draw), ("real outcomes", real_draw)):
        found[name] = summary([draw(texts, settings, seed) for seed in range(settings["draws"])])
        printed(f"{name}: {TITLE}", found[name])
    found["language models"] = {"promised": two_treatments.promised(settings, texts)}
    found["language models"] |= language_models.study(
        settings["language_models"],
        lambda seed: two_treatments.parts_of(settings, settings["language_models"], texts, seed),
        folder,
    )
    found["small policies"] = small_policies.study(
        settings["small_policies"],
        lambda split, draw: two_treatments.parts_of(
            settings, settings["small_policies"], texts, split, draw
        ),
        folder / "small",
    )
    return found


if __name__ == "__main__":
    run(Path(__file__).parent, study)
