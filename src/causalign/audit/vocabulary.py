"""Which markers do texts carry? Words, phrases, punctuation, lengths, sentiment, attributes."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from causalign.errors import ExtraNotInstalled, InputError
from causalign.lm.words import is_emoji, parts_of, read_phrases, read_signs
from causalign.logs import Logs
from causalign.logs.long_texts import CHARACTERS_READ

Attribute = Callable[[Sequence[str]], ArrayLike] | np.ndarray

# The vocabulary is chosen on so many texts.
TEXTS_READ = 20_000
FEWEST_CLUSTERS = 10
WORDS = r"(?u)\b\w+\b"


@dataclass(frozen=True, slots=True, eq=False)
class TextMarkers:
    """Hold m markers of n texts.

    ``columns (n, m)``: 1 where a word, phrase or sign occurs, else 0; for lengths, sentiment and
    numeric attributes the number in standard deviations. ``variants`` names for each marker the
    words and phrases that are told with it. ``left_out`` counts the words and phrases that were
    frequent enough but beyond the number asked for.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    variants: tuple[tuple[str, ...], ...]
    columns: sparse.csc_array
    left_out: int = 0

    @staticmethod
    def of(names: Sequence[str], kind: str, columns: object) -> "TextMarkers":
        """Return markers of one kind, none of which stands for others."""
        count = len(names)
        return TextMarkers(tuple(names), (kind,) * count, ((),) * count, sparse.csc_array(columns))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def unit(self) -> tuple[str, ...]:
        """What one unit of each marker is."""
        return tuple("presence" if c else "standard deviation" for c in self.is_presence)

    @property
    def is_presence(self) -> NDArray[np.bool_]:
        """Which markers are there or not."""
        data, starts = self.columns.data, self.columns.indptr
        return np.array(
            [bool((data[a:b] == 1.0).all()) for a, b in pairwise(starts)],
            dtype=bool,
        )

    @property
    def rows(self) -> NDArray[np.int64]:
        """In how many texts each marker is not zero, ``(m,)``."""
        return np.asarray(np.diff(self.columns.indptr), dtype=np.int64)

    def in_enough_clusters(self, ways: np.ndarray | None) -> "TextMarkers":
        """Leave out markers that fewer than ten clusters use: their errors cannot be known."""
        if ways is None:
            return self
        enough = np.ones(len(self), dtype=bool)
        for codes in ways.reshape(len(ways), -1).T:
            picker = sparse.csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))))
            used = sparse.csc_array((picker @ abs(self.columns)) > 0)
            enough &= np.diff(used.indptr) >= min(FEWEST_CLUSTERS, picker.shape[0])
        return self.take(np.flatnonzero(enough))

    def in_rows(self, rows: NDArray[np.int64]) -> "TextMarkers":
        """Return the markers of some texts."""
        return replace(self, columns=sparse.csc_array(sparse.csr_array(self.columns)[rows]))

    def take(self, places: Sequence[int] | NDArray[np.int64]) -> "TextMarkers":
        """Return the markers at the places."""
        at = [int(i) for i in places]
        return TextMarkers(
            tuple(self.names[i] for i in at),
            tuple(self.kinds[i] for i in at),
            tuple(self.variants[i] for i in at),
            sparse.csc_array(self.columns[:, at]),
            self.left_out,
        )


def text_markers(
    texts: Sequence[str],
    rare: int = 20,
    most: int = 2000,
    attributes: Mapping[str, Attribute] | None = None,
    sentiment: bool = False,
    seed: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> TextMarkers:
    """Read the markers of ``texts`` (n strings) without looking at any outcome.

    Words and phrases of up to three words (in scripts without blanks, sequences of up to four
    characters), and signs that are neither letter, digit nor blank, are kept when at least
    ``rare`` texts have them and as many have not; of words and phrases the ``most`` frequent.
    ``attributes`` are numbers, truth values or labels ``(n,)``, or functions that return them for
    texts. ``sentiment`` adds the mean valence of the words in the VADER lexicon (English).
    ``advance(count)`` hears how many texts were read.

    Raises `ExtraNotInstalled` without vaderSentiment, `InputError` for attributes that do not fit.
    """
    cut = [text[:CHARACTERS_READ] for text in texts]
    phrases, left_out = _count_phrases(cut, rare, most, seed, advance)
    parts = [phrases, _mark_signs(cut, rare), _measure_lengths(texts)]
    if sentiment:
        parts.append(_standardise({"sentiment": _read_sentiment(cut)}, "sentiment"))
    parts += [_read_attribute(n, a, texts, rare) for n, a in (attributes or {}).items()]
    return TextMarkers(
        tuple(n for p in parts for n in p.names),
        tuple(k for p in parts for k in p.kinds),
        tuple(v for p in parts for v in p.variants),
        sparse.csc_array(sparse.hstack([p.columns for p in parts], format="csc")),
        left_out,
    )


def read_attributes(
    logs: Logs, given: Mapping[str, Attribute] | Sequence[str]
) -> dict[str, Attribute]:
    """Return attributes by name: those given, or the columns that are named."""
    if isinstance(given, Mapping):
        return dict(given)
    columns: dict[str, Attribute] = {}
    for name in given:
        column = logs.covariate(name)
        levels = np.array(column.levels, dtype=object)
        columns[name] = levels[column.values] if column.is_categorical else column.values
    return columns


def _count_phrases(
    texts: list[str], rare: int, most: int, seed: int, advance: Callable[[int], None]
) -> tuple[TextMarkers, int]:
    """Choose words and phrases on a sample of the texts, then mark them in all."""
    n, dropped = len(texts), 0
    if n <= TEXTS_READ:
        names, columns = _mark(texts, read_phrases, rare, advance=advance)
    else:
        sample = np.sort(np.random.default_rng(seed).choice(n, TEXTS_READ, replace=False))
        # Half of the rate asked for: what the sample has too rarely, all may have enough.
        fewest = max(2, int(rare * TEXTS_READ / n / 2))
        seen, counted = _mark([texts[i] for i in sample], read_phrases, fewest)
        order = np.argsort(-np.diff(counted.indptr), kind="stable")
        known = [seen[i] for i in np.sort(order[: 2 * most])]
        names, columns = _mark(texts, read_phrases, rare, known, advance)
        dropped = len(order) - len(known)
    counts = np.diff(columns.indptr)
    usable = np.flatnonzero((counts >= rare) & (counts <= n - rare))
    chosen = usable[np.argsort(-counts[usable], kind="stable")[:most]]
    words = tuple(names[i] for i in chosen)
    kinds = tuple("phrase" if len(parts_of(name)) > 1 else "word" for name in words)
    picked = sparse.csc_array(columns[:, chosen])
    return TextMarkers(words, kinds, ((),) * len(words), picked), len(usable) - len(words) + dropped


def _mark(
    texts: Sequence[str],
    read: Callable[[str], list[str]],
    fewest: int,
    known: Sequence[str] | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[list[str], sparse.csc_array]:
    """Return what at least ``fewest`` texts hold, by its letters, and which text holds it, 0 or 1.

    Only what is ``known`` is looked for, when that is given.
    """
    place = {} if known is None else {name: i for i, name in enumerate(known)}
    held, ends = array("i"), array("q", [0])
    for text in texts:
        phrases = dict.fromkeys(read(text))
        if known is None:
            held.extend([place.setdefault(phrase, len(place)) for phrase in phrases])
        else:
            held.extend([place[phrase] for phrase in phrases if phrase in place])
        ends.append(len(held))
        advance(1)
    at, names = np.asarray(held, dtype=np.int32), list(place)
    frequent = np.flatnonzero(np.bincount(at, minlength=len(names)) >= fewest)
    frequent = np.array(sorted(frequent, key=lambda i: names[i]), dtype=np.int64)
    column = np.full(len(names), -1)
    column[frequent] = np.arange(len(frequent))
    row = np.repeat(np.arange(len(texts)), np.diff(np.array(ends)))
    marked = column[at] >= 0
    entries = (np.ones(int(marked.sum())), (row[marked], column[at[marked]]))
    shape = (len(texts), len(frequent))
    return [names[i] for i in frequent], sparse.csc_array(entries, shape=shape)


def _mark_signs(texts: list[str], rare: int) -> TextMarkers:
    names, columns = _mark(texts, read_signs, rare)
    counts = np.diff(columns.indptr)
    usable = np.flatnonzero((counts >= rare) & (counts <= len(texts) - rare))
    signs = tuple(names[i] for i in usable)
    kinds = tuple("emoji" if is_emoji(sign) else "punctuation" for sign in signs)
    return TextMarkers(signs, kinds, ((),) * len(signs), sparse.csc_array(columns[:, usable]))


def _measure_lengths(texts: Sequence[str]) -> TextMarkers:
    letters = [sum(map(str.isalpha, text[:CHARACTERS_READ])) for text in texts]
    capitals = [sum(map(str.isupper, text[:CHARACTERS_READ])) for text in texts]
    return _standardise(
        {
            "characters (log)": np.log1p([len(text) for text in texts]),
            "words (log)": np.log1p([len(text.split()) for text in texts]),
            "share of capitals": np.array(capitals) / np.maximum(letters, 1),
        },
        "length",
    )


def _standardise(values: Mapping[str, np.ndarray], kind: str) -> TextMarkers:
    """Put numbers into units of their standard deviation; leave out what does not vary."""
    columns, names = [], []
    for name, given in values.items():
        number = np.asarray(given, dtype=np.float64)
        if not np.isfinite(number).all():
            raise InputError(f"Attribute {name!r} holds values that are missing or infinite.")
        spread = number.std()
        if spread > 1e-12 * max(1.0, float(np.abs(number).max(initial=0.0))):
            names.append(name)
            columns.append((number - number.mean()) / spread)
    n = len(next(iter(values.values())))
    return TextMarkers.of(names, kind, np.column_stack(columns) if columns else np.zeros((n, 0)))


def _read_attribute(name: str, given: Attribute, texts: Sequence[str], rare: int) -> TextMarkers:
    """Read an attribute: 0/1 as presence, numbers in standard deviations, labels one by one."""
    values = np.asarray(given(texts) if callable(given) else given)
    if values.shape != (len(texts),):
        raise InputError(
            f"Attribute {name!r} must hold one value for each of {len(texts)} texts; its shape is "
            f"{values.shape}."
        )
    if values.dtype.kind in "biuf":
        if not np.isin(values, (0, 1)).all():
            return _standardise({name: values}, "attribute")
        indicators = {name: values.astype(np.float64)}
    else:
        labels = values.astype(str)
        indicators = {f"{name}: {level}": (labels == level) * 1.0 for level in np.unique(labels)}
    usable = {k: v for k, v in indicators.items() if rare <= v.sum() <= len(texts) - rare}
    columns = np.column_stack([*usable.values()]) if usable else np.zeros((len(texts), 0))
    return TextMarkers.of([*usable], "attribute", columns)


def _read_sentiment(texts: list[str]) -> NDArray[np.float64]:
    """Return the mean valence, -4 to 4, of the words of each text that the lexicon knows."""
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        raise ExtraNotInstalled(
            "Sentiment needs the lexicon of vaderSentiment: pip install 'causalign[sentiment]'. "
            "Or name a column or function of your own as an attribute."
        ) from None
    from sklearn.feature_extraction.text import CountVectorizer

    lexicon = SentimentIntensityAnalyzer().lexicon
    words = sorted(word for word in lexicon if word.isalpha())
    counts = CountVectorizer(vocabulary=words, token_pattern=WORDS).transform(texts)
    valence = counts @ np.array([lexicon[word] for word in words])
    return np.asarray(valence / np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1))
