"""What teaches and judges language models here: the short posts, with their readers' answers.

Half of them is split off first: it fits the judge. Of the other half all teach f₀ to write like the
log; some are the log that has outcomes; the rest have the confounded answers that ĝ is fitted to.
"""

from typing import Any

import numpy as np
from language_models import Parts, logged, regression
from posts import Posts, unrecorded

from causalign.lm.encoders import load_encoder
from causalign.reward import RewardModel

__all__ = ["parts_of"]

Settings = dict[str, Any]


def parts_of(chosen: Settings, posts: Posts, seed: int, draw: int | None = None) -> Parts:
    """Split the posts, draw the confounder, and fit the judge and ĝ to texts.

    The split is the seed's; a ``draw`` chooses anew which posts teach and the confounder.
    """
    random = np.random.default_rng([seed, 5])
    aside, rest = np.array_split(random.permutation(len(posts.texts))[: chosen["texts"]], 2)
    order = rest
    if draw is not None:
        random = np.random.default_rng([seed, 5, draw])
        order = random.permutation(rest)
    teach, other = np.split(order, [chosen["teachers"]])
    c = unrecorded(posts.support.features[other], random)
    encoder = load_encoder(chosen["encoder"])

    def fitted(rows: np.ndarray, worth: np.ndarray) -> RewardModel:
        return regression([posts.texts[row] for row in rows], worth, encoder)

    logs = logged(posts.texts, posts.outcome)
    return Parts(
        logs.take(rest, "half of the texts"),
        logs.take(teach, "texts that teach"),
        posts.support.log_probability[teach],
        lambda strength: fitted(other, posts.outcome[other] + strength * c),
        fitted(aside, posts.outcome[aside]),
    )
