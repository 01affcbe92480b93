"""Stories: rows whose texts are equal or nearly so, and all that is connected through them.

A headline that was tested twice is one text in two tests. Where one of them teaches and the other
judges, what is called unseen was seen. So splits keep stories together: groups that share a text,
one by way of another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import regex
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from causalign.logs.long_texts import read_beginnings
from causalign.logs.table import Logs
from causalign.results import Card

Codes = NDArray[np.int64]

# Two texts are nearly equal when they share so much of their words and pairs of neighbours. Above
# it headlines differ in a word or two; at 0.5 "The Death of Paper" is "The Death of Surplus".
ALIKE = 0.7
# Five folds come out about equal only if no story holds more than one of them.
LARGEST = 0.2
# So many texts take about a minute; of more, only equal ones are sought.
MOST_TEXTS = 200_000

_PAIRS_AT_ONCE = 100_000
_HASHES, _IN_BAND = 128, 5  # 25 bands: a pair at ALIKE agrees in one of them with probability .99
# Scripts without blanks: each sign is a word.
_WORD = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
    r"|[\w--[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]]+",
    regex.V1,
)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Stories(Card):
    """Say which of n rows belong together, since their units share a text.

    Attributes
    ----------
    unit : (n,) integers
        What the logs declare: the group, else the cluster, else the text itself.
    text : (n,) integers
        One number for texts that are equal or nearly so.
    story : (n,) integers
        Units that share a text, one by way of another. What a split keeps together.
    limit : str
        Why nearly equal texts, or texts at all, join no units; empty where they do.
    """

    unit: Codes
    text: Codes
    story: Codes
    limit: str = ""

    def count_sharing(self) -> tuple[int, int]:
        """Return how many units share a text with another unit, and how many units there are."""
        pairs = np.unique(np.column_stack([self.text, self.unit]), axis=0)
        shared = np.bincount(pairs[:, 0])[pairs[:, 0]] > 1
        return len(np.unique(pairs[shared, 1])), len(np.unique(self.unit))


def find_stories(logs: Logs) -> Stories:
    """Join the groups (else clusters, else rows) of logs that share a text, nearly equal or equal.

    Nothing is joined that would make a story of more than a fifth of the rows: then texts are made
    from templates, and only equal texts, or none, join units. `Stories.limit` says so.

    Parameters
    ----------
    logs : Logs

    Returns
    -------
    Stories
    """
    equal = logs.codes_of(logs.roles.completion)
    declared = logs.groups if logs.roles.group is not None else logs.clusters
    unit = equal if declared is None else declared
    alike, limit = number_texts(logs.completions)
    story = join_units(unit, alike)
    if story is not None:
        return Stories(unit, alike, story, limit)
    limit = "nearly equal texts would join more than a fifth of the rows, so only equal texts count"
    story = join_units(unit, equal)
    if story is not None:
        return Stories(unit, equal, story, limit)
    limit = "shared texts would join more than a fifth of the rows, so they join nothing"
    return Stories(unit, equal, unit, limit)


def rows_together(logs: Logs) -> Codes:
    """Return what folds keep together, ``(n,)``: clusters that share an equal text, else texts.

    Clusters stay apart where their shared texts would join more than a fifth of the rows.
    """
    texts, clusters = logs.codes_of(logs.roles.completion), logs.clusters
    if clusters is None:
        return texts
    story = join_units(clusters, texts)
    return clusters if story is None else story


def join_units(unit: ArrayLike, text: ArrayLike) -> Codes | None:
    """Return the story ``(n,)`` of each row; None where one would hold more than a fifth of them.

    A unit that is larger by itself is no reason.
    """
    units = np.unique(unit, return_inverse=True)[1].ravel()
    story = number_stories(units, np.asarray(text))
    most = max(LARGEST * len(story), np.bincount(units).max())
    return story if np.bincount(story).max() <= most else None


def number_stories(unit: Codes, text: Codes) -> Codes:
    """Return the story ``(n,)`` of each row: units that share a text, transitively, are one.

    Stories are numbered in the order of their first unit, so that nothing moves where none share.
    """
    units, texts = unit.max() + 1, np.unique(text, return_inverse=True)[1].ravel()
    size = units + texts.max() + 1
    graph = coo_array((np.ones(len(unit)), (unit, units + texts)), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1][unit], dtype=np.int64)


def number_texts(texts: Sequence[str]) -> tuple[Codes, str]:
    """Number texts so that equal and nearly equal ones have one number, transitively.

    Two texts are nearly equal when |A ∩ B| / |A ∪ B| is at least `ALIKE`, A and B their words and
    pairs of neighbouring words, in lower case. The share is estimated by 128 MinHash values, within
    about .04; pairs at `ALIKE` are met with probability .99 (Broder 1997; Leskovec, Rajaraman and
    Ullman 2014, chapter 3). Of a text its first 20,000 characters count. Of more than `MOST_TEXTS`
    different texts only equal ones are joined.

    Parameters
    ----------
    texts : n strings

    Returns
    -------
    (n,) integers
        In the order of first appearance.
    str
        Why only equal texts were joined, or nothing.
    """
    place: dict[str, int] = {}
    row = np.array([place.setdefault(text, len(place)) for text in texts], dtype=np.int64)
    if len(place) > MOST_TEXTS:
        return row, (
            f"there are more than {MOST_TEXTS:,} different texts, so only equal ones are sought"
        )
    first, second = _alike_pairs(_sign(read_beginnings(list(place))))
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(place), len(place)))
    return np.asarray(connected_components(graph, directed=False)[1][row], dtype=np.int64), ""


def _sign(texts: list[str]) -> NDArray[np.uint32]:
    """Return the MinHash values ``(m, 128)`` of the words and pairs of words of each text."""
    # 0.1 s, which `import causalign` need not take.
    from datasketch import MinHash

    made = MinHash.generator(map(_shingles, texts), num_perm=_HASHES, scheme="affine32")
    return np.array([one.hashvalues for one in made], dtype=np.uint32).reshape(-1, _HASHES)


def _shingles(text: str) -> list[bytes]:
    words = _WORD.findall(text.lower())
    pairs = (f"{left} {right}" for left, right in pairwise(words))
    # A text without a word is itself; a lone surrogate is no valid UTF-8, but a text all the same.
    return [s.encode("utf-8", "surrogatepass") for s in {*words, *pairs}] or [
        text.encode("utf-8", "surrogatepass")
    ]


def _alike_pairs(signature: NDArray[np.uint32]) -> tuple[Codes, Codes]:
    """Return pairs of texts that are alike: each text with the first of its bucket in each band.

    So the work grows with the number of texts, also where all of them are alike.
    """
    rows, met = np.arange(len(signature)), []
    for start in range(0, _HASHES - _IN_BAND + 1, _IN_BAND):
        band = np.ascontiguousarray(signature[:, start : start + _IN_BAND])
        key = band.view(np.dtype((np.void, band.itemsize * _IN_BAND))).ravel()
        _, first, bucket = np.unique(key, return_index=True, return_inverse=True)
        pairs = np.column_stack([first[bucket.ravel()], rows])
        met.append(pairs[pairs[:, 0] != pairs[:, 1]])
    pairs = np.unique(np.vstack(met), axis=0)
    same = [
        (signature[some[:, 0]] == signature[some[:, 1]]).mean(axis=1)
        for some in np.array_split(pairs, len(pairs) // _PAIRS_AT_ONCE + 1)
    ]
    alike = pairs[np.concatenate(same) >= ALIKE]
    return alike[:, 0], alike[:, 1]
