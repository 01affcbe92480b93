"""Posts, what their readers answered, and models of the answers that a confounder bends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.decomposition import PCA
from tilted import Linear, Logged, Support, confounder

from causalign.lm.cache import EmbeddingCache
from causalign.lm.embeddings import embed
from causalign.lm.encoders import load_encoder
from causalign.logs.reading import read_table

__all__ = ["Posts", "confounded_answers", "read", "unrecorded"]

Settings = dict[str, Any]
# The paper's coefficients are of Hong Kong's seven treatments; here they are of the seven leading
# components, halved, since these have a standard deviation of 1 and a treatment has about .5.
COEFFICIENTS = np.array([2.68, 1.85, 0.14, -2.12, -2.07, -0.94, 0.75]) / 2


@dataclass(frozen=True)
class Posts:
    """Hold all texts, P_R even over them, and of each its vector and what its readers answered.

    ``outcome`` (S,) is the percentage of a text's readers who do not call it hateful.
    """

    texts: list[str]
    support: Support
    vectors: np.ndarray
    outcome: np.ndarray

    def among(self, rows: np.ndarray) -> Support:
        """Return these texts alone, as likely as each other."""
        return Support(self.support.features[rows], np.full(len(rows), -np.log(len(rows))))

    def up_to(self, characters: int) -> "Posts":
        """Return the short posts alone."""
        rows = np.flatnonzero([len(text) <= characters for text in self.texts])
        texts = [self.texts[row] for row in rows]
        return Posts(texts, self.among(rows), self.vectors[rows], self.outcome[rows])


def read(settings: Settings) -> Posts:
    """Read the posts; features are leading components of their vectors, of standard deviation 1."""
    table = _of_each_text(read_table(settings["data"]))
    rows = np.random.default_rng(0).permutation(table.num_rows)[: settings["texts"]]
    texts = [table["text"][int(row)].as_py() for row in rows]
    vectors = embed(texts, load_encoder(settings["encoder"]), EmbeddingCache()).vectors
    vectors = vectors.astype(np.float64)
    # No outcome is in these, and P_R is known for every text: nothing leaks between halves.
    leading = PCA(settings["components"], svd_solver="full").fit_transform(vectors)
    features = leading / leading.std(axis=0)
    outcome = 100 * (1 - table["hateful"].to_numpy()[rows])
    even = np.full(len(rows), -np.log(len(rows)))
    return Posts(texts, Support(features, even), vectors, outcome)


def unrecorded(features: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw the confounder C, −1 or 1, that follows the leading components of texts."""
    return confounder(features[:, : len(COEFFICIENTS)] @ COEFFICIENTS, random)


def confounded_answers(texts: Logged, random: np.random.Generator) -> Callable[[float], Linear]:
    """Return what fits ĝ to Y + βC, Y the answers to these texts and C unrecorded, for each β."""
    features = texts.features()
    c = unrecorded(features, random)
    return lambda strength: Linear.fitted(features, texts.outcome + strength * c)


def _of_each_text(table: pa.Table) -> pa.Table:
    """Return the share of annotations that score a text above 0, from its publisher's rows."""
    if "hate_speech_score" not in table.column_names:
        return table
    above = pc.cast(pc.greater(table["hate_speech_score"], 0), pa.float64())
    rows = pa.table({"text": table["text"], "hateful": above})
    shares = rows.group_by("text").aggregate([("hateful", "mean")]).sort_by("text")
    return shares.rename_columns(["text", "hateful"])
