"""Headlines whose popularity follows teams and tone: Tables 1 and 2 of arXiv 2506.00152.

python reproductions/deconfoundlm/mind/run.py --cpu --out found.json

Tuned policies stay in runs/mind-SIZE; a run that was killed goes on with the policy that it was
tuning.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

import correlations  # noqa: E402
import writing  # noqa: E402
from news import read  # noqa: E402
from rewards import Vectors  # noqa: E402
from running import Settings, run  # noqa: E402

from causalign.lm.cache import EmbeddingCache  # noqa: E402
from causalign.lm.encoders import load_encoder  # noqa: E402


def study(settings: Settings) -> dict[str, Any]:
    """Make Table 2 with each encoder and Table 1 with the first; print both."""
    everything = read(settings["data"])
    news = everything.take(np.arange(len(everything.titles))[: settings["articles"]])
    found: dict[str, Any] = {
        "articles": len(news.titles),
        "title and abstract": round(
            float(np.corrcoef(news.sentiment, news.abstract_sentiment)[0, 1]), 4
        ),
        "titles of sentiment 0": round(float(np.mean(news.sentiment == 0)), 4),
        "titles that name": {d: round(float(n.mean()), 4) for d, n in news.divisions.items()},
        "seeds": settings["seeds"],
    }
    for name in settings["encoders"]:
        encoder = load_encoder(name, training_texts=news.titles + news.abstracts)
        found[name] = correlations.table(news, Vectors(encoder, EmbeddingCache()), settings)
        print(correlations.shown(name, found[name]), flush=True)
        if name == settings["encoders"][0]:
            found["writing"] = writing.table(everything, encoder, settings)
            print(writing.shown(found["writing"]), flush=True)
    return found


if __name__ == "__main__":
    run(Path(__file__).parent, study)
