"""Rewards of Table 2: one network for each way to deal with popularity, all fitted alike."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from news import DIVISIONS, News
from running import Settings
from sklearn.decomposition import PCA

from causalign.deconfound import (
    Additive,
    DoubleML,
    OrdinaryLeastSquares,
    PermutationWeighting,
    TwoStageLeastSquares,
)
from causalign.lm.cache import EmbeddingCache
from causalign.lm.embeddings import embed
from causalign.lm.encoder import Encoder
from causalign.logs import Logs
from causalign.reward import (
    ConfounderInLayer,
    ConfounderInText,
    Examples,
    Member,
    NetworkTraining,
    Odin,
    Perceptron,
    fit_together,
)
from causalign.simulate import EntangledNews

__all__ = ["IV", "MODELS", "SCENARIOS", "Fitted", "Vectors", "fitted", "simulated"]

SCENARIOS = {"orthogonal": False, "entangled": True}
IV = "two-stage (DeconfoundLM-IV)"
DECONFOUNDERS = {
    IV: TwoStageLeastSquares(),
    "ordinary": OrdinaryLeastSquares(),
    "additive": Additive(),
    "double-ml": DoubleML(),
}
MODELS = (
    "only sentiment",
    "sentiment + noise",
    "observed",
    "popularity in text",
    "popularity in layer",
    "ODIN",
    *DECONFOUNDERS,
    "permutation-weighting",
)
IN_TEXT = ConfounderInText(("popularity",))


@dataclass(frozen=True)
class Vectors:
    """Encode titles and, if they are given, abstracts, side by side: ``(n, d)`` or ``(n, 2d)``."""

    encoder: Encoder
    cache: EmbeddingCache | None = None

    def __call__(self, titles: list[str], abstracts: list[str] | None) -> np.ndarray:
        """Return the vectors; what the cache knows is not encoded again."""
        columns = [titles] if abstracts is None else [titles, abstracts]
        return np.hstack(
            [embed(texts, self.encoder, self.cache).vectors.astype(float) for texts in columns]
        )


@dataclass(frozen=True)
class Fitted:
    """Hold a head for each model, and what the deconfounders found about popularity."""

    heads: dict[str, Any]
    slopes: dict[str, float]
    first_stage_f: float
    mean_popularity: float

    def score(
        self, names: tuple[str, ...], vectors: Vectors, titles: list[str], abstracts: Any
    ) -> dict[str, np.ndarray]:
        """Return the reward of each title under each of these models, popularity unknown."""
        X = vectors(titles, abstracts)
        seen = {}
        if "popularity in text" in names:
            neutral = IN_TEXT.write(titles, np.full(len(titles), self.mean_popularity))
            seen["popularity in text"] = vectors(neutral, abstracts)
        return {name: self.heads[name](seen.get(name, X)) for name in names}


def simulated(news: News, entangled: bool, seed: int) -> Logs:
    """Draw popularity and outcome; the role of the instruments goes to the named divisions."""
    design = EntangledNews(entangled=entangled, seed=seed).simulate(
        news.titles,
        news.sentiment,
        teams=news.divisions,
        divisions={name: name for name in DIVISIONS},
        abstract_sentiment=news.abstract_sentiment,
    )
    return design.logs


def fitted(
    news: News, logs: Logs, vectors: Vectors, settings: Settings, seed: int, *, abstracts: bool
) -> Fitted:
    """Fit every model on the same articles, stacked where they are alike."""
    read = news.abstracts if abstracts else None
    X = vectors(news.titles, read)
    popularity = logs.covariate("popularity").values
    # Least squares needs fewer columns than rows; popularity can follow the leading ones only.
    leading = PCA(settings["components"], random_state=0).fit_transform(X)
    effects = {n: method.fit(logs, text_features=leading) for n, method in DECONFOUNDERS.items()}
    noise = np.random.default_rng([seed, 1]).normal(0, 0.1, len(news.titles))
    learned = {
        "only sentiment": news.sentiment,
        "sentiment + noise": news.sentiment + noise,
        "observed": logs.outcome,
        **{name: effect.subtract_from(logs).outcome for name, effect in effects.items()},
    }
    examples = {name: Examples.of_outcomes(X, outcome) for name, outcome in learned.items()}
    written = vectors(IN_TEXT.write(news.titles, popularity), read)
    examples["popularity in text"] = Examples.of_outcomes(written, logs.outcome)
    for name in ("popularity in layer", "ODIN"):
        examples[name] = Examples.of_outcomes(X, logs.outcome, confounders=popularity)
    weighted = PermutationWeighting(seed=seed).fit(logs, text_features=leading).weight(logs)
    examples["permutation-weighting"] = Examples.of_outcomes(
        X, logs.outcome, weights=weighted.weights
    )
    return Fitted(
        _heads(examples, settings, seed),
        {name: float(effect.estimates[0]) for name, effect in effects.items()},
        float(effects[IV].numbers["first_stage_f"]),
        float(popularity.mean()),
    )


def _heads(examples: dict[str, Examples], settings: Settings, seed: int) -> dict[str, Any]:
    """Return a fitted head for each model; all but two are the same perceptron."""
    training = NetworkTraining(
        learning_rate=settings["learning_rate"],
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        precision=settings["precision"],
    )
    alike = {"width": settings["width"], "training": training, "seed": seed}
    networks = {
        "popularity in layer": ConfounderInLayer(**alike),
        "ODIN": Odin(loss="squared-error", **alike),
    }
    fits = fit_together(
        [Member(networks.get(name, Perceptron(**alike)), examples[name]) for name in MODELS]
    )
    return {name: fit.head for name, fit in zip(MODELS, fits, strict=True)}
