"""What teaches and judges language models here: the texts of two treatments, which are short.

Half of them is split off first: it fits the judge. Of the other half all teach f₀ to write like the
log, and some have outcomes, from the same linear model and noise as in the exact sums. So the truth
about the treatments is known here too.
"""

from typing import Any

import numpy as np
from language_models import Parts, logged, regression
from snippets import CONFOUNDER, of_two, worded
from tilted import Linear, Logged, confounded_rows, policies, scores, simulated, summary

from causalign.lm.encoders import load_encoder
from causalign.reward import RewardModel

__all__ = ["parts_of", "promised"]

Settings = dict[str, Any]


def promised(settings: Settings, everything: Logged) -> dict[str, Any]:
    """Return what exact sums find for these texts, so many of them with outcomes."""
    chosen = settings["language_models"]
    truth, noise = Linear.with_noise(everything)
    rows, texts = of_two(everything)
    support, teachers = texts.support, chosen["teachers"] or len(rows) // 2
    draws = []
    for seed in range(settings["draws"]):
        train = simulated(truth, noise, support, teachers, seed)
        model_at = confounded_rows(
            truth, noise, support, CONFOUNDER, settings["confounded_rows"], seed
        )
        tuned = policies(train, model_at, chosen["strengths"], settings["kl"], seed)
        draws.append(scores(tuned, support, truth(support.features)))
    return summary(draws)


def parts_of(
    settings: Settings, chosen: Settings, everything: Logged, seed: int, draw: int | None = None
) -> Parts:
    """Split the texts of two treatments, draw outcomes, and fit the judge and ĝ to texts.

    The split is the seed's; a ``draw`` chooses anew which texts teach, their outcomes and what ĝ is
    fitted to.
    """
    truth, noise = Linear.with_noise(everything)
    rows, texts = of_two(everything)
    words = worded(settings["data"])
    random = np.random.default_rng([seed, 5])
    aside, rest = np.array_split(random.permutation(len(rows))[: chosen["texts"]], 2)
    encoder = load_encoder(chosen["encoder"])
    written = [words.texts[row] for row in rows]
    features = texts.features()

    def fitted(where: np.ndarray, worth: np.ndarray) -> RewardModel:
        return regression([written[row] for row in where], worth[where], encoder)

    order, again = rest, seed
    if draw is not None:
        random, again = np.random.default_rng([seed, 5, draw]), 1000 * (seed + 1) + draw
        order = random.permutation(rest)
    model_at = confounded_rows(
        truth, noise, texts.support, CONFOUNDER, settings["confounded_rows"], again
    )
    logs = logged(written, truth(features) + random.normal(0, noise, len(features)))
    teach = order[: chosen["teachers"]]
    log_propensity = texts.support.log_probability[texts.chosen] + words.log_wording[rows]
    return Parts(
        logs.take(rest, "half of the texts"),
        logs.take(teach, "texts that teach"),
        log_propensity[teach],
        lambda strength: fitted(rest, model_at(strength)(features)),
        fitted(aside, truth(features)),
    )
