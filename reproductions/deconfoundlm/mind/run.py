"""Headlines whose popularity follows teams and tone: Tables 1 and 2 of arXiv 2506.00152.

python reproductions/deconfoundlm/mind/run.py --cpu --out found.json

Tuned policies stay in runs/mind-SIZE, and a line for each tuning of the small policy; a run that
was killed goes on with the policy that it was tuning.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

import correlations  # noqa: E402
import tuned  # noqa: E402
import tunings  # noqa: E402
import writing  # noqa: E402
from news import News, read  # noqa: E402
from rewards import Vectors  # noqa: E402
from running import Settings, run  # noqa: E402

from causalign.lm.cache import EmbeddingCache  # noqa: E402
from causalign.lm.encoder import Encoder  # noqa: E402
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
    for name in dict.fromkeys([*settings["encoders"], *settings["ridge_encoders"]]):
        encoder = load_encoder(name, training_texts=news.titles + news.abstracts)
        for ridge, names in ((False, settings["encoders"]), (True, settings["ridge_encoders"])):
            if name in names:
                title = f"{name}, ridge" if ridge else name
                vectors = Vectors(encoder, EmbeddingCache())
                found[title] = correlations.table(news, vectors, settings, ridge=ridge)
                print(correlations.shown(title, found[title]), flush=True)
        if name == settings["encoders"][0]:
            found["writing"] = writing.table(everything, encoder, settings)
            print(writing.shown(found["writing"]), flush=True)
            if "small" in settings:
                found["small policy"] = small_policy(everything, encoder, settings)
    return found


def small_policy(news: News, encoder: Encoder, settings: Settings) -> dict[str, Any]:
    """Make Table 1 with many tunings of a small language model; print it."""
    parts = writing.parts_of(news, settings["writing"]["articles"])
    start = tunings.start_of(news, parts.sft, settings)
    rows = tunings.tune_all(parts.rewards, start, encoder, settings)
    small = settings["small"]
    written = tunings.write(start.language_model(), small, 2026, small["generations"])
    found = tuned.summary(rows, written.texts, small["tunings"])
    print(tuned.shown(found), flush=True)
    return found


if __name__ == "__main__":
    run(Path(__file__).parent, study)
