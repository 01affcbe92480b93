"""Texts with a topic each, as semi-synthetic logs are made of: from a file, or built in."""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from causalign.artifacts import fingerprint
from causalign.errors import ColumnNotFound, InputError, nearest, needs_extra
from causalign.logs.reading import read_table
from causalign.results import Card
from causalign.simulate.newsletter import BODIES, PRODUCTS

# Topics of the built-in texts: each has so many products, in their order.
_TOPICS = ("home", "kitchen", "leisure", "travel")
_CLOSINGS = (
    (" with free returns", True),
    (" in three colours", True),
    (", and readers are delighted", True),
    (" while stocks last", False),
    (", terms and conditions apply", False),
    (", though some were disappointed", False),
)
# How strongly VADER must speak before a text counts as favourable or unfavourable.
_CLEAR = 0.3
_FEWEST = 20


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LabelledTexts(Card):
    """Hold n different texts, each with a topic.

    Parameters
    ----------
    texts : tuple of str
        No text twice.
    topic : (n,) integers
        Which of the topics each text is about.
    topics : tuple of str
        The names of the topics, the most frequent first.
    source : str
        Where the texts come from, as a table names it.
    favourable : (n,) booleans, optional
        Whether a text speaks well of its matter, where that is known.
    """

    texts: tuple[str, ...]
    topic: NDArray[np.int64]
    topics: tuple[str, ...]
    source: str
    favourable: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def revision(self) -> str:
        """A hash of texts and topics."""
        return fingerprint(self.texts, [self.topics[k] for k in self.topic])


@lru_cache(maxsize=4)
def read_sentiment(texts: LabelledTexts) -> NDArray[np.int64]:
    """Return 1 for texts that speak well, -1 for those that speak ill, 0 between, ``(n,)``.

    By VADER's compound score beyond ±0.3, unless the texts know. Raises `ExtraNotInstalled`
    without vaderSentiment.
    """
    if texts.favourable is not None:
        return np.where(texts.favourable, 1, -1)
    with needs_extra("The sentiment of texts", "`pip install 'causalign[sentiment]'`"):
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    analyser = SentimentIntensityAnalyzer()
    score = np.array([analyser.polarity_scores(text)["compound"] for text in texts.texts])
    return np.where(np.abs(score) > _CLEAR, np.sign(score), 0).astype(np.int64)


def read_labelled_texts(
    path: str | Path, text: str = "text", topic: str = "topic"
) -> LabelledTexts:
    """Read texts and their topics from a file.

    Parameters
    ----------
    path : path
        A csv, tsv, jsonl or parquet file, a folder or a glob of them.
    text, topic : str
        The columns. Rows without either are left out, and so are texts that stand there again.

    Returns
    -------
    LabelledTexts
        Of topics with at least 20 texts, the most frequent first.

    Raises
    ------
    ColumnNotFound
        When the file has no such column.
    InputError
        When fewer than two topics have 20 texts.
    """
    table = read_table(path)
    for name in (text, topic):
        if name not in table.column_names:
            raise ColumnNotFound(
                f"{str(path)!r} has no column {name!r}; {nearest(name, table.column_names)}"
            )
    columns = (pc.cast(table[name], "string").to_pylist() for name in (text, topic))
    topic_of: dict[str, str] = {}
    for words, about in zip(*columns, strict=True):
        if words and words.strip() and about:
            topic_of.setdefault(words.strip(), about)
    return _label(topic_of, Path(path).name)


def _label(topic_of: dict[str, str], source: str) -> LabelledTexts:
    counts = Counter(topic_of.values())
    frequent = [name for name, count in counts.most_common() if count >= _FEWEST]
    if len(frequent) < 2:
        raise InputError(
            f"{source!r}: {len(frequent)} of its topics have {_FEWEST} different texts, and two "
            "are needed. Name a column with few values, such as a category."
        )
    place = {name: k for k, name in enumerate(frequent)}
    rows = [(words, place[about]) for words, about in topic_of.items() if about in place]
    texts, topic = zip(*rows, strict=True)
    return LabelledTexts(texts, np.array(topic), tuple(frequent), source)


def template_texts() -> LabelledTexts:
    """Return built-in texts, which need no file: mails about goods, made of templates.

    Returns
    -------
    LabelledTexts
        1,152 mails of four topics, half of them favourable.
    """
    rows = [
        (body.format(goods) + closing + ".", k * len(_TOPICS) // len(PRODUCTS), speaks_well)
        for (k, goods), body, (closing, speaks_well) in product(
            enumerate(PRODUCTS), BODIES, _CLOSINGS
        )
    ]
    texts, topic, favourable = zip(*rows, strict=True)
    return LabelledTexts(
        texts, np.array(topic), _TOPICS, "built-in templates", np.array(favourable)
    )


def split_texts(
    generator: np.random.Generator, topic: NDArray[np.int64], kinds: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return places of texts for the log and of texts that only held-out pairs show.

    Half of each topic goes either way, or, with ``kinds (n,)`` of 0 and 1, of each kind in it.
    """
    cell = topic if kinds is None else topic * 2 + kinds
    order = generator.permutation(len(topic))
    logged = np.zeros(len(topic), dtype=bool)
    for code in np.unique(cell):
        rows = order[cell[order] == code]
        logged[rows[: len(rows) // 2]] = True
    return np.flatnonzero(logged), np.flatnonzero(~logged)
