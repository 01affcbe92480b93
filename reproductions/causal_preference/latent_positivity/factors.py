"""Texts with known factors: Hong Kong's treatments, fine-grained feedback, UltraFeedback.

Every loader returns texts and the factors of each. A study takes two of them: factor 1, which
weighs little in the reward, and factor 2, which weighs most.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

VADER_NEUTRAL = 0.05  # what its authors call neither positive nor negative


@dataclass(frozen=True)
class Factored:
    """Hold texts, their factors ``(n, q)``, and which prompt each belongs to, if they differ."""

    texts: list[str]
    factors: np.ndarray
    names: tuple[str, ...]
    prompt: np.ndarray | None = None

    def chosen(self, seed: int) -> list[int]:
        """Return the columns of factors 1 and 2: every seed takes another ordered pair."""
        ordered = list(permutations(range(len(self.names)), 2))
        if len(self.names) == 2:
            return [0, 1]
        return list(
            ordered[np.random.default_rng(0).permutation(len(ordered))[seed % len(ordered)]]
        )


def hong_kong(path: Path) -> Factored:
    """Read wave 1 of Fong and Grimmer: which of six treatments a text holds, drawn at random.

    The seventh, treatycommit, is in nearly every text and does not vary.
    """
    names = ("brave", "evil", "flag", "threat", "economy", "treatyviolation")
    table = pq.read_table(path).to_pydict()
    factors = np.stack([table[name] for name in names], axis=1).astype(float)
    texts = [str(text or "") for text in table["text"]]
    # A text that several people read is one text.
    _, first = np.unique(np.array(texts), return_index=True)
    kept = [i for i in np.sort(first) if texts[i].strip()]
    return Factored([texts[i] for i in kept], factors[kept], names)


def fine_grained(path: Path) -> Factored:
    """Read FineGrainedRLHF: an answer's freedom from untruths, and from what was not asked.

    The file marks error spans in the first of four answers only. Factor 1 is minus the share of its
    characters marked as wrong or unverifiable, factor 2 minus the share marked as irrelevant,
    redundant or incoherent.
    """
    texts, factors = [], []
    for row in json.loads(path.read_text(encoding="utf-8")):
        answer = row["prediction 1"]
        untrue = unasked = 0
        for error in row["feedback"]["errors"]:
            length = max(0, int(error["end"]) - int(error["start"]))
            if error["error type"] in ("Irrelevant", "Redundant", "Incoherent"):
                unasked += length
            else:
                untrue += length
        texts.append(f"{row['question']}\n\n{answer}")
        factors.append([-untrue / max(1, len(answer)), -unasked / max(1, len(answer))])
    return Factored(texts, np.array(factors), ("truth", "relevance"))


def news(path: Path) -> Factored:
    """Read news: the text is a title, the factors are of its abstract, which no reward reads.

    Its tone (VADER below -.05, between, above .05), whether it is sports, whether it holds a
    number. A title tells them in part, as an answer tells what a judge will think of it.
    """
    table = pq.read_table(path).to_pandas()
    table = table[
        table["title"].str.strip().astype(bool) & table["abstract"].str.strip().astype(bool)
    ]
    table = table.drop_duplicates("title")
    analyse = SentimentIntensityAnalyzer().polarity_scores
    tone = np.array([analyse(text)["compound"] for text in table["abstract"]])
    columns = (
        np.sign(tone) * (np.abs(tone) >= VADER_NEUTRAL),
        table["category"].str.lower() == "sports",
        table["abstract"].str.contains(r"\d"),
    )
    factors = np.column_stack(columns).astype(float)
    return Factored(table["title"].tolist(), factors, ("tone", "sports", "number"))


def ultrafeedback(path: Path) -> Factored:
    """Read UltraFeedback in its published schema: truthfulness and instruction following, 1 to 5.

    A row holds ``instruction`` and ``completions``, each with ``response`` and
    ``annotations[aspect]["Rating"]``. Answers without both ratings are left out. Reads Parquet,
    JSON or one JSON object on each line; the pairs of an instruction are answers to one prompt.
    """
    texts, factors, prompts = [], [], []
    for number, row in enumerate(_rows(path)):
        for completion in row["completions"]:
            ratings = [
                _rating(completion, aspect) for aspect in ("truthfulness", "instruction_following")
            ]
            if None in ratings or not str(completion.get("response") or "").strip():
                continue
            texts.append(f"{row['instruction']}\n\n{completion['response']}")
            factors.append(ratings)
            prompts.append(number)
    if not texts:
        sys.exit(f"{path} holds no answer with ratings of truthfulness and instruction_following.")
    names = ("truthfulness", "instruction_following")
    return Factored(texts, np.array(factors, dtype=float), names, np.array(prompts))


def _rows(path: Path) -> Iterable[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    text = path.read_text(encoding="utf-8")
    if text.lstrip().startswith("["):
        return json.loads(text)
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _rating(completion: dict[str, Any], aspect: str) -> float | None:
    """Return a rating; the published file writes N/A where the judge gave none."""
    try:
        return float(completion["annotations"][aspect]["Rating"])
    except (KeyError, TypeError, ValueError):
        return None


LOADERS = {
    "hong-kong": hong_kong,
    "fine-grained": fine_grained,
    "news": news,
    "ultrafeedback": ultrafeedback,
}
