"""Headlines whose popularity follows teams and tone: Table 2 of arXiv 2506.00152.

python reproductions/deconfoundlm/mind/run.py --cpu --out found.json
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from news import DIVISIONS, News, read  # noqa: E402
from running import Settings, run  # noqa: E402

from causalign.deconfound import (  # noqa: E402
    Additive,
    DoubleML,
    OrdinaryLeastSquares,
    PermutationWeighting,
    TwoStageLeastSquares,
)
from causalign.lm.cache import EmbeddingCache  # noqa: E402
from causalign.lm.embed import embed  # noqa: E402
from causalign.lm.encoder import Encoder, load_encoder  # noqa: E402
from causalign.logs import Logs  # noqa: E402
from causalign.reward import (  # noqa: E402
    ConfounderInLayer,
    ConfounderInText,
    Examples,
    Member,
    Odin,
    Perceptron,
    Training,
    fit_together,
)
from causalign.simulate import EntangledNews  # noqa: E402

SCENARIOS = {"orthogonal": False, "entangled": True}
DECONFOUNDERS = {
    "two-stage (DeconfoundLM-IV)": TwoStageLeastSquares(),
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
    "odin",
    *DECONFOUNDERS,
    "permutation-weighting",
)


IN_TEXT = ConfounderInText(("popularity",))


@dataclass(frozen=True)
class Fitted:
    """Hold a head for each model, the slope of popularity that each deconfounder found."""

    heads: dict[str, Any]
    slopes: dict[str, float]
    mean_popularity: float


class Vectors:
    """Encode titles and abstracts, each text once."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder, self._cache = encoder, EmbeddingCache()

    def __call__(self, titles: list[str], abstracts: list[str]) -> np.ndarray:
        """Return the vectors of title and abstract side by side, ``(n, 2d)``."""
        return np.hstack(
            [
                embed(texts, self._encoder, self._cache).vectors.astype(float)
                for texts in (titles, abstracts)
            ]
        )


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


def fitted(news: News, logs: Logs, vectors: Vectors, settings: Settings, seed: int) -> Fitted:
    """Fit every model on the same articles, stacked where they are alike."""
    X = vectors(news.titles, news.abstracts)
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
    written = IN_TEXT.write(news.titles, popularity)
    examples["popularity in text"] = Examples.of_outcomes(
        vectors(written, news.abstracts), logs.outcome
    )
    for name in ("popularity in layer", "odin"):
        examples[name] = Examples.of_outcomes(X, logs.outcome, confounders=popularity)
    weighted = PermutationWeighting(seed=seed).fit(logs, text_features=leading).weight(logs)
    examples["permutation-weighting"] = Examples.of_outcomes(
        X, logs.outcome, weights=weighted.weights
    )
    training = Training(
        learning_rate=settings["learning_rate"],
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        precision=settings["precision"],
    )
    width = settings["width"]
    networks = {
        "popularity in layer": ConfounderInLayer(width=width),
        "odin": Odin(loss="squared-error", width=width),
    }
    members = [
        Member(networks.get(name, Perceptron(width=width)), examples[name], training, seed)
        for name in MODELS
    ]
    fits = fit_together(members)
    return Fitted(
        {name: fit.head for name, fit in zip(MODELS, fits, strict=True)},
        {name: float(effect.estimates[0]) for name, effect in effects.items()},
        float(popularity.mean()),
    )


def correlations(fit: Fitted, news: News, vectors: Vectors) -> dict[str, float]:
    """Return Pearson's correlation of each model's reward with the sentiment of the titles."""
    X = vectors(news.titles, news.abstracts)
    neutral = IN_TEXT.write(news.titles, np.full(len(news.titles), fit.mean_popularity))
    seen = {"popularity in text": vectors(neutral, news.abstracts)}
    return {
        name: float(np.corrcoef(fit.heads[name](seen.get(name, X)), news.sentiment)[0, 1])
        for name in MODELS
    }


def study(settings: Settings) -> dict[str, Any]:
    """Fit every model in both scenarios with every seed, and print Table 2."""
    news = read(settings["data"], settings["articles"])
    found: dict[str, Any] = {
        "articles": len(news.titles),
        "title and abstract": float(np.corrcoef(news.sentiment, news.abstract_sentiment)[0, 1]),
        "seeds": settings["seeds"],
    }
    for name in settings["encoders"]:
        vectors = Vectors(load_encoder(name, training_texts=news.titles + news.abstracts))
        tables = {
            scenario: scenario_table(news, vectors, settings, entangled)
            for scenario, entangled in SCENARIOS.items()
        }
        found[name] = tables
        _print(name, tables)
    return found


def scenario_table(
    news: News, vectors: Vectors, settings: Settings, entangled: bool
) -> dict[str, Any]:
    """Return mean and standard error over seeds of each model, and the slopes that were found."""
    parts: dict[str, list[dict[str, float]]] = {"train": [], "valid": [], "slope": []}
    for seed in range(settings["seeds"]):
        order = np.random.default_rng([seed, 0]).permutation(len(news.titles))
        cut = round(settings["valid_share"] * len(order))
        teach, judge = news.take(order[cut:]), news.take(order[:cut])
        fit = fitted(teach, simulated(teach, entangled, seed), vectors, settings, seed)
        parts["train"].append(correlations(fit, teach, vectors))
        parts["valid"].append(correlations(fit, judge, vectors))
        parts["slope"].append(fit.slopes)
        print(f"seed {seed} done", file=sys.stderr, flush=True)
    return {
        part: {name: _summary([row[name] for row in rows]) for name in rows[0]}
        for part, rows in parts.items()
    } | {
        "share of only sentiment, valid": {
            name: _summary([row[name] / row["only sentiment"] for row in parts["valid"]])
            for name in MODELS
        }
    }


def _summary(values: list[float]) -> dict[str, float]:
    error = np.std(values, ddof=1) / len(values) ** 0.5
    return {"mean": round(float(np.mean(values)), 4), "error": round(float(error), 4)}


def _print(encoder: str, tables: dict[str, Any]) -> None:
    print(f"\n{encoder}: correlation of reward and sentiment, train / valid ± standard error")
    for name in MODELS:
        cells = (
            f"{table['train'][name]['mean']:6.3f} / {table['valid'][name]['mean']:6.3f} "
            f"± {table['valid'][name]['error']:.3f}"
            for table in tables.values()
        )
        print(f"{name:28s} | " + " | ".join(cells), flush=True)


if __name__ == "__main__":
    run(Path(__file__).parent, study)
