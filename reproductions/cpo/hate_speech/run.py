"""Tuning for less hateful texts with a confounded outcome model (arXiv 2402.14979), in exact sums.

python reproductions/cpo/hate_speech/run.py --cpu --out found.json
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

sys.path[:0] = [str(folder) for folder in Path(__file__).parents[1:3]]

from running import Settings, run  # noqa: E402
from tilted import (  # noqa: E402
    Linear,
    Logged,
    Support,
    confounder,
    drawn,
    policies,
    printed,
    scores,
    summary,
)

from causalign.lm.cache import EmbeddingCache  # noqa: E402
from causalign.lm.embed import embed  # noqa: E402
from causalign.lm.encoder import load_encoder  # noqa: E402

# The paper's coefficients are of Hong Kong's seven treatments; here they are of the seven leading
# components, halved, since these have a standard deviation of 1 and a treatment has about .5.
COEFFICIENTS = np.array([2.68, 1.85, 0.14, -2.12, -2.07, -0.94, 0.75]) / 2
TITLE = "points (0 to 100: readers who see no hate) above P_R, mean ± standard error over draws"
Table = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Posts:
    """Hold all texts, P_R even over them, and of each its vector and what its readers answered.

    ``outcome`` (S,) is the percentage of a text's readers who do not call it hateful.
    """

    support: Support
    vectors: np.ndarray
    outcome: np.ndarray

    def among(self, rows: np.ndarray) -> Support:
        """Return these texts alone, as likely as each other."""
        return Support(self.support.features[rows], np.full(len(rows), -np.log(len(rows))))


def read(settings: Settings) -> Posts:
    """Read the posts; features are leading components of their vectors, of standard deviation 1."""
    table = pq.read_table(settings["data"])
    rows = np.random.default_rng(0).permutation(table.num_rows)[: settings["texts"]]
    texts = [table["text"][int(row)].as_py() for row in rows]
    vectors = embed(texts, load_encoder(settings["encoder"]), EmbeddingCache()).vectors
    vectors = vectors.astype(np.float64)
    # No outcome is in these, and P_R is known for every text: nothing leaks between halves.
    leading = PCA(settings["components"], svd_solver="full").fit_transform(vectors)
    features = leading / leading.std(axis=0)
    outcome = 100 * (1 - table["hateful"].to_numpy()[rows])
    return Posts(Support(features, np.full(len(rows), -np.log(len(rows)))), vectors, outcome)


def confounded_answers(texts: Logged, random: np.random.Generator) -> Callable[[float], Linear]:
    """Return what fits ĝ to Y + βC, Y the answers to these texts and C unrecorded, for each β."""
    features = texts.features()
    c = confounder(features[:, : len(COEFFICIENTS)] @ COEFFICIENTS, random)
    return lambda strength: Linear.fitted(features, texts.outcome + strength * c)


def simulated_draw(posts: Posts, settings: Settings, seed: int) -> dict[str, Table]:
    """Draw texts, and for each one reader of a truth that is a linear model of all real answers.

    The truth, cut off at 0 and 100, is also the judge.
    """
    support = posts.support
    fitted = Linear.fitted(support.features, posts.outcome)
    truth = np.clip(fitted(support.features), 0, 100)
    random = np.random.default_rng([seed, 3])

    def answered(rows: int) -> Logged:
        chosen = drawn(support, rows, random).chosen
        return Logged(chosen, 100.0 * (random.random(rows) < truth[chosen] / 100), support)

    train, other = answered(settings["rows"]), answered(settings["confounded_rows"])
    model_at = confounded_answers(other, random)
    found = policies(train, model_at, settings["strengths"], settings["kl"], seed)
    return {"simulated outcomes": scores(found, support, truth, settings["kl"])}


def real_draw(posts: Posts, settings: Settings, seed: int) -> dict[str, Table]:
    """Split the texts: what one half teaches is judged by the answers to the other.

    Of the teaching half some texts are the log, with their own answers; the others are what ĝ is
    fitted to, their answers confounded. The policy writes texts of the other half, whose answers
    judge it; and texts of its own half, judged by a ridge regression fitted to the other.
    """
    random = np.random.default_rng([seed, 4])
    teach, aside = np.array_split(random.permutation(len(posts.outcome)), 2)
    support, size = posts.among(teach), settings["rows"]
    half = Logged(np.arange(len(teach)), posts.outcome[teach], support)
    train, other = half.take(half.chosen[:size]), half.take(half.chosen[size:])
    model_at = confounded_answers(other, random)
    found = policies(train, model_at, settings["strengths"], settings["kl"], seed)
    kl = settings["kl"]
    judge = Ridge(settings["penalty"]).fit(posts.vectors[aside], posts.outcome[aside])
    unseen = posts.outcome[aside]
    believed = judge.predict(posts.vectors[teach])
    return {
        "real outcomes, unseen texts": scores(found, posts.among(aside), unseen, kl),
        "real outcomes, a model judges": scores(found, support, believed, kl),
    }


def study(settings: Settings) -> dict[str, Any]:
    """Repeat both designs, and print values above P_R by strength of the confounding."""
    posts = read(settings)
    found: dict[str, Any] = {"texts": len(posts.outcome), "draws": settings["draws"]}
    for draw in (simulated_draw, real_draw):
        draws = [draw(posts, settings, seed) for seed in range(settings["draws"])]
        for name in draws[0]:
            found[name] = summary([each[name] for each in draws])
            printed(f"{name}: {TITLE}", found[name])
    return found


if __name__ == "__main__":
    run(Path(__file__).parent, study)
