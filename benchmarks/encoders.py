"""Which encoder ranks and predicts best? AUC or R² on rows that no fit had seen, file by file.

python benchmarks/encoders.py [--files upworthy bristol ...] [--encoders minilm minilm+style ...]

Five folds of stories (groups that share a text, equal or nearly so). What an encoder learns, and
the penalty of the reward, come from the other four. On Upworthy: all arms within tests, and the
deconfounded log of one package for each test; AUC on the held-out significant pairs. On the others:
ridge on the outcome less its regression on the confounders alone, so that all encoders predict the
same numbers; R² on held-out rows. Standard errors count stories as independent; in brackets the
difference from the first encoder with its own. `mpnet` needs `scripts/install --mpnet`.
"""

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from causalign import Logs, Roles, recipe
from causalign.deconfound import Additive, OrdinaryLeastSquares
from causalign.lm import EmbeddingCache, embed, load_encoder
from causalign.logs import find_stories
from causalign.logs.arms import read_arms
from causalign.reward import Ridge, WithinTests
from causalign.stats.folds import group_folds
from causalign.stats.pair_metrics import pair_auc, paired_difference

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "reproductions/deconfoundlm/upworthy"))
from study import Archive, read, split  # noqa: E402

DATA = Path(os.environ["CAUSALIGN_DATA"])
ENCODERS = ("minilm", "minilm+style", "tfidf", "tfidf+style", "style", "mpnet", "mpnet+style")
TESTS = Roles("headline", "clicks", trials="impressions", group="clickability_test_id")
RAW = {"hacker_news": "hacker_news", "pizza": "pizza_requests", "bristol": "airbnb_bristol"}


def read_recipe(name: str) -> Logs:
    """Return the log that a recipe prepares, with its roles."""
    place = ROOT / "recipes" / name / "prepare.py"
    module = importlib.util.module_from_spec(
        spec := importlib.util.spec_from_file_location(f"prepare_{name}", place)
    )
    spec.loader.exec_module(module)
    table = module.prepare(pd.read_parquet(DATA / f"{RAW[name]}.parquet"))
    return Logs.of(table, recipe.load(place.with_name("pipeline.yaml")).data.roles)


def read_toronto() -> Logs:
    """Return names of homes in Toronto and how often they were reviewed within a year."""
    raw = pd.read_parquet(DATA / "airbnb_toronto.parquet").dropna(subset=["name"])
    raw = raw.assign(
        reviews=np.log1p(raw["number_of_reviews_ltm"]), log_price=np.log1p(raw["price"])
    )
    roles = Roles("name", "reviews", confounders=("log_price", "room_type", "neighbourhood"))
    return Logs.of(raw[list(roles.columns())], roles)


def read_hong_kong() -> Logs:
    """Return the randomised texts on Hong Kong and the answers to them."""
    raw = pd.read_parquet(DATA / "hongkong_wave1.parquet")[["text", "resp"]].dropna()
    return Logs.of(raw, Roles("text", "resp"))


def vectors_of(texts: list[str], held: np.ndarray, encoder: str) -> np.ndarray:
    """Return vectors of all texts; what the encoder learns, it learns from those not held out."""
    taught = [text for text, away in zip(texts, held, strict=True) if not away]
    fitted = load_encoder(encoder, training_texts=taught)
    return embed(texts, fitted, EmbeddingCache()).vectors


def predict(logs: Logs, encoder: str) -> tuple[np.ndarray, np.ndarray]:
    """Return by how much each held-out row's squared error falls, over the variance; stories."""
    y, story = logs.outcome, find_stories(logs).story
    if logs.roles.confounders:
        y = OrdinaryLeastSquares().fit(logs).adjust(logs).outcome
    fold, gain = group_folds(story, 5, 0), np.empty(len(y))
    for k in range(5):
        held = fold == k
        V = vectors_of(logs.texts, held, encoder)
        head = Ridge().fit_arrays(V[~held], y[~held], groups=story[~held]).head
        mean = y[~held].mean()
        gain[held] = (y[held] - mean) ** 2 - (y[held] - head(V[held])) ** 2
    return gain / np.var(y), story


def mean_and_error(values: np.ndarray, cluster: np.ndarray) -> tuple[float, float]:
    """Return a mean and its standard error, clusters independent."""
    sums = np.bincount(cluster, weights=values - values.mean())
    return float(values.mean()), float(np.sqrt(np.square(sums).sum()) / len(values))


def rank(archive: Archive, encoder: str) -> dict[str, np.ndarray]:
    """Return score differences of all pairs, each by a reward that saw nothing of its story."""
    pairs, raw = archive.pairs, archive.raw
    scores = {name: np.empty(len(pairs)) for name in ("upworthy, tests", "upworthy, log")}
    for k in range(5):
        one, held = split(archive, k, 0), archive.fold == k
        V = vectors_of(raw.completions, held, encoder)
        tests, log = Logs(raw.data.filter(~held), TESTS), archive.logs.take(one.log, "one each")
        of_log = V[one.log]
        adjusted = Additive().fit(log, text_features=of_log).adjust(log)
        heads = (
            WithinTests().fit_arms(read_arms(tests, "this"), V[~held]).head,
            Ridge()
            .fit_arrays(
                of_log, adjusted.outcome, groups=log.codes_of("headline"), weights=log.weights
            )
            .head,
        )
        judged = held[pairs.rows[:, 0]]
        sides = (V[pairs.rows[judged, 0]] - V[pairs.rows[judged, 1]]).astype(float)
        for score, head in zip(scores.values(), heads, strict=True):
            score[judged] = sides @ head.coefficients
    return scores


def upworthy(encoders: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yield file, encoder and AUC."""
    archive = read(str(DATA / "upworthy.parquet"), None)
    story = find_stories(archive.raw).story[archive.pairs.rows[:, 0]]
    first: dict[str, np.ndarray] = {}
    for encoder in encoders:
        for name, scores in rank(archive, encoder).items():
            auc = pair_auc(scores, clusters=story)
            more = paired_difference(scores, first.setdefault(name, scores), clusters=story)
            against = more.estimate, more.standard_error
            yield name, encoder, show(auc.estimate, auc.standard_error, against)


def others(name: str, encoders: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yield file, encoder and R²."""
    logs = READERS[name]()
    first = None
    for encoder in encoders:
        gain, story = predict(logs, encoder)
        first = gain if first is None else first
        yield name, encoder, show(*mean_and_error(gain, story), mean_and_error(gain - first, story))


def show(value: float, error: float, against: tuple[float, float]) -> str:
    return f"{value:.4f} ± {error:.4f}  ({against[0]:+.4f} ± {against[1]:.4f})"


READERS: dict[str, Callable[[], Logs]] = {
    "hong_kong": read_hong_kong,
    "bristol": lambda: read_recipe("bristol"),
    "pizza": lambda: read_recipe("pizza"),
    "toronto": read_toronto,
    "hacker_news": lambda: read_recipe("hacker_news"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", nargs="*", default=["upworthy", *READERS])
    parser.add_argument("--encoders", nargs="*", default=list(ENCODERS))
    given = parser.parse_args()
    for name in given.files:
        found = upworthy(given.encoders) if name == "upworthy" else others(name, given.encoders)
        for row in found:
            print("{:16s} {:24s} {}".format(*row), flush=True)


if __name__ == "__main__":
    main()
