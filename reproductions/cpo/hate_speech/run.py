"""Tuning for less hateful texts with a confounded outcome model (arXiv 2402.14979).

python reproductions/cpo/hate_speech/run.py --cpu --out found.json

First in exact sums, then with a language model. What that one tunes and writes stays in
runs/hate_speech-SIZE; a run that was killed goes on.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge

sys.path[:0] = [str(folder) for folder in (*Path(__file__).parents[1:3], Path(__file__).parent)]

import language_models  # noqa: E402
import short_posts  # noqa: E402
import small_policies  # noqa: E402
from posts import Posts, confounded_answers, read  # noqa: E402
from running import Settings, run  # noqa: E402
from tilted import Linear, Logged, drawn, policies, printed, scores, summary  # noqa: E402

TITLE = "points (0 to 100: readers who see no hate) above P_R, mean ± standard error over draws"
UNSEEN = "real outcomes, unseen texts"
Table = dict[str, dict[str, float]]


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
        UNSEEN: scores(found, posts.among(aside), unseen, kl),
        "real outcomes, a model judges": scores(found, support, believed, kl),
    }


def promised(short: Posts, settings: Settings) -> dict[str, Any]:
    """Return what exact sums find for the short posts, as many of them with outcomes."""
    chosen = settings["language_models"]
    alike = settings | {"rows": chosen["teachers"], "strengths": chosen["strengths"]}
    return summary([real_draw(short, alike, seed)[UNSEEN] for seed in range(settings["draws"])])


def study(settings: Settings) -> dict[str, Any]:
    """Repeat both designs, and print values above P_R by strength of the confounding."""
    posts, folder = read(settings), Path("runs") / f"hate_speech-{settings['name']}"
    found: dict[str, Any] = {"texts": len(posts.outcome), "draws": settings["draws"]}
    for draw in (simulated_draw, real_draw):
        draws = [draw(posts, settings, seed) for seed in range(settings["draws"])]
        for name in draws[0]:
            found[name] = summary([each[name] for each in draws])
            printed(f"{name}: {TITLE}", found[name])
    chosen = settings["language_models"]
    short = posts.up_to(chosen["characters"])
    found["language models"] = {"short posts": len(short.texts)}
    found["language models"] |= {"promised": promised(short, settings)}
    found["language models"] |= language_models.study(
        chosen,
        lambda seed: short_posts.parts_of(chosen, short, seed),
        folder,
    )
    small = settings["small_policies"]
    short = posts.up_to(small["characters"])
    found["small policies"] = small_policies.study(
        small, lambda split, draw: short_posts.parts_of(small, short, split, draw), folder / "small"
    )
    return found


if __name__ == "__main__":
    run(Path(__file__).parent, study)
