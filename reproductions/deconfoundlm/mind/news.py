"""Sports news with the sentiment of title and abstract and the teams that the title names."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from causalign.logs.reading import read_table

__all__ = ["DIVISIONS", "News", "divisions_named", "read", "read_others", "sentiment"]

TEAMS = yaml.safe_load((Path(__file__).parent / "teams.yaml").read_text(encoding="utf-8"))
DIVISIONS = tuple(TEAMS)
COLUMNS = ["title", "abstract", "category"]


@dataclass(frozen=True)
class News:
    """Hold n articles: texts, their sentiments in [-1, 1], and which division a title names."""

    titles: list[str]
    abstracts: list[str]
    sentiment: np.ndarray
    abstract_sentiment: np.ndarray
    divisions: dict[str, np.ndarray]

    def take(self, rows: np.ndarray) -> "News":
        """Return the articles at these positions."""
        return News(
            [self.titles[i] for i in rows],
            [self.abstracts[i] for i in rows],
            self.sentiment[rows],
            self.abstract_sentiment[rows],
            {name: named[rows] for name, named in self.divisions.items()},
        )


def read(path: Path) -> News:
    """Read the sports news of a table, or of MIND's own news.tsv, each title once."""
    table = _published(path) if path.suffix == ".tsv" else read_table(path).select(COLUMNS)
    table = table.filter(pc.equal(table["category"], "sports")).drop_columns(["category"])
    found = dict(zip(table["title"].to_pylist(), table["abstract"].to_pylist(), strict=True))
    titles = [title for title, abstract in found.items() if title and abstract]
    abstracts = [found[title] for title in titles]
    return News(titles, abstracts, sentiment(titles), sentiment(abstracts), divisions_named(titles))


def read_others(path: Path) -> list[str]:
    """Return the titles of the articles that are not about sports."""
    table = _published(path) if path.suffix == ".tsv" else read_table(path).select(COLUMNS)
    table = table.filter(pc.not_equal(table["category"], "sports"))
    return [title for title in table["title"].to_pylist() if title]


def _published(path: Path) -> pa.Table:
    """Return news.tsv, which has no header and no quotes: id, category, subcategory, title, …."""
    rows = pd.read_csv(path, sep="\t", header=None, quoting=csv.QUOTE_NONE, usecols=[1, 3, 4])
    rows.columns = ["category", "title", "abstract"]
    return pa.Table.from_pandas(rows.astype(object).where(rows.notna(), None), preserve_index=False)


def sentiment(texts: Sequence[str]) -> np.ndarray:
    """Return VADER's compound sentiment in [-1, 1] of each text, ``(n,)``."""
    analyser = SentimentIntensityAnalyzer()
    return np.array([analyser.polarity_scores(text)["compound"] for text in texts])


def divisions_named(titles: Sequence[str]) -> dict[str, np.ndarray]:
    """Return for each division which titles name one of its towns or teams, ``(n,)``."""
    return {
        division: np.array([bool(_pattern(division).search(title)) for title in titles])
        for division in DIVISIONS
    }


def _pattern(division: str) -> re.Pattern[str]:
    """Return what finds a town or team as a word of its own."""
    names = {name for town, teams in TEAMS[division].items() for name in (town, *teams)}
    longest_first = "|".join(re.escape(n) for n in sorted(names, key=lambda n: (-len(n), n)))
    return re.compile(rf"(?<!\w)(?:{longest_first})(?!\w)")
