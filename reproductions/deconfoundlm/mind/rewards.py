"""Rewards of both tables: one head for each way to deal with popularity, all fitted alike."""

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
from causalign.reward.heads import LinearHead
from causalign.simulate import EntangledNews
from causalign.stats.folds import group_folds
from causalign.stats.ridge_path import ridge_paths

__all__ = ["IV", "MODELS", "PUBLISHED", "SCENARIOS", "Fitted", "Vectors", "fitted", "simulated"]

SCENARIOS = {"orthogonal": False, "entangled": True}
IV = "two-stage (DeconfoundLM-IV)"
DECONFOUNDERS = {
    IV: TwoStageLeastSquares(),
    "ordinary": OrdinaryLeastSquares(),
    "additive": Additive(),
    "double-ml": DoubleML(),
}
PUBLISHED = (
    "only sentiment",
    "sentiment + noise",
    "observed",
    "popularity in text",
    "popularity in layer",
    "ODIN",
    IV,
)
MODELS = (*PUBLISHED, "ordinary", "additive", "double-ml", "permutation-weighting")
# Their columns or weights are their own.
READ_ALONE = ("popularity in text", "popularity in layer", "permutation-weighting")
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
        read = {}
        if "popularity in text" in names:
            neutral = IN_TEXT.write(titles, np.full(len(titles), self.mean_popularity))
            read["popularity in text"] = vectors(neutral, abstracts)
        others = [name for name in names if name not in read]
        if others:
            read |= dict.fromkeys(others, vectors(titles, abstracts))
        return {name: self.heads[name](read[name]) for name in names}


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
    news: News,
    logs: Logs,
    vectors: Vectors,
    settings: Settings,
    seed: int,
    *,
    abstracts: bool,
    names: tuple[str, ...] = MODELS,
    ridge: bool = False,
) -> Fitted:
    """Fit these models on the same articles: networks, or ridge regressions where there is one."""
    read = news.abstracts if abstracts else None
    X = vectors(news.titles, read)
    popularity = logs.covariate("popularity").values
    # Least squares needs fewer columns than rows; popularity can follow the leading ones only.
    leading = PCA(settings["components"], random_state=0).fit_transform(X)
    effects = {
        name: method.fit(logs, text_features=leading)
        for name, method in DECONFOUNDERS.items()
        if name in names
    }
    noise = np.random.default_rng([seed, 1]).normal(0, 0.1, len(news.titles))
    learned = {
        "only sentiment": news.sentiment,
        "sentiment + noise": news.sentiment + noise,
        "observed": logs.outcome,
        **{name: effect.subtract_from(logs).outcome for name, effect in effects.items()},
    }
    examples = {name: Examples.of_outcomes(X, outcome) for name, outcome in learned.items()}
    if "popularity in text" in names:
        written = vectors(IN_TEXT.write(news.titles, popularity), read)
        examples["popularity in text"] = Examples.of_outcomes(written, logs.outcome)
    for name in ("popularity in layer", "ODIN"):
        examples[name] = Examples.of_outcomes(X, logs.outcome, confounders=popularity)
    if "permutation-weighting" in names:
        weighted = PermutationWeighting(seed=seed).fit(logs, text_features=leading).weight(logs)
        examples["permutation-weighting"] = Examples.of_outcomes(
            X, logs.outcome, weights=weighted.weights
        )
    taught = {name: examples[name] for name in names}
    return Fitted(
        _ridges(taught) if ridge else _networks(taught, settings, seed),
        {name: float(effect.estimates[0]) for name, effect in effects.items()},
        float(effects[IV].numbers["first_stage_f"]) if IV in effects else float("nan"),
        float(popularity.mean()),
    )


def _networks(examples: dict[str, Examples], settings: Settings, seed: int) -> dict[str, Any]:
    """Return a network for each model; all but two are the same perceptron."""
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
        [
            Member(networks.get(name, Perceptron(**alike)), taught)
            for name, taught in examples.items()
        ]
    )
    return {name: fit.head for name, fit in zip(examples, fits, strict=True)}


def _ridges(examples: dict[str, Examples]) -> dict[str, Any]:
    """Return a ridge regression for each model, λ by five folds of the rows that teach it.

    Popularity in the layer is a column beside the vectors, and stands at its mean in new texts.
    Models that read the same columns share a factorisation.
    """
    alike = [name for name in examples if name not in READ_ALONE]
    heads: dict[str, Any] = {}
    for names in (alike, *([name] for name in READ_ALONE if name in examples)):
        if not names:
            continue
        first = examples[names[0]]
        X = np.asarray(first.features, dtype=float)
        popularity = np.empty((len(X), 0)) if first.confounders is None else first.confounders[:, 0]
        paths = ridge_paths(
            np.hstack([X, popularity]),
            np.column_stack([examples[name].target for name in names]),
            folds=group_folds(len(X)),
            weights=first.weight,
        )
        for name, path in zip(names, paths, strict=True):
            slopes, level = path.coefficients[path.best], float(path.intercepts[path.best])
            level += float(popularity.mean(axis=0) @ slopes[X.shape[1] :])
            heads[name] = LinearHead(slopes[: X.shape[1]], level)
    return {name: heads[name] for name in examples}
