"""Count what sentence encoders are blind to: signs, capitals, lengths and function words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from unicodedata import category

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from causalign.artifacts import fingerprint
from causalign.errors import ArtifactError, InputError
from causalign.files import read_format, write_json
from causalign.lm.encoder import check_texts
from causalign.lm.vector_block import VectorBlock
from causalign.logs.long_texts import find_long, read_beginnings

_FILE = "style.json"
_FORMAT = "causalign-style"
_VERSION = 1
# Letters with an apostrophe inside: "don't" is one word. Digits and signs are counted apart.
_WORD = r"[^\W\d_]+(?:['’][^\W\d_]+)*"
_WORDS_AT_MOST = 40
_ROUNDING = 1e-12
_SHARE_AT_LEAST = 0.01
# Of the words of a text in its language some two in five are function words; of another language
# fewer than one in ten.
_COVERAGE_AT_LEAST = 0.2
_SIGNS = {
    "question marks": "?？؟",
    "exclamation marks": "!！",
    "full stops": ".。｡।",
    "ellipses": "…",
    "commas": ",，、،",
    "colons": ":：",
    "semicolons": ";；؛",
    "double quotes": '"“”„«»「」『』',
    "single quotes": "'’‘",
    "brackets": "()[]（）【】",
    "dashes": "-–—",
    "currency and percent": "$€£¥₹%",
    "stars, hashes and ats": "*#@&",
    "line ends": "\n",
}
_SHAPES = (
    "digits",
    "pictures",
    "capital letters",
    "share of capitals",
    "words in capitals",
    "words with a capital",
    "sentences",
    "characters",
    "words",
    "letters a word",
)


_ENDS = ".!?。！？।؟…"
_AROUND = "\"'“”‘’.,:;!?()[]*"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StyleEncoder:
    """Count signs, capitals, lengths and function words: ``u_j = (ln(1 + count_j) - m_j) / s_j``.

    ``m_j`` and ``s_j`` are mean and standard deviation over the training texts; a count that does
    not vary there is 0. Nothing that names a topic is counted, so that beside a sentence encoder
    these columns say *how* a text is written. Of a text its first 20,000 characters are read. Make
    one with :func:`fit_style`.

    Parameters
    ----------
    words : tuple of str
        The function words that are counted.
    mean, deviation : tuples of float
        Of the logarithm of each count over the training texts.
    """

    words: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    name: ClassVar[str] = "style"
    worth_caching: ClassVar[bool] = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.words)} function words, {self.dimension} columns)"

    @property
    def columns(self) -> tuple[str, ...]:
        """What each column counts."""
        return (*_SIGNS, *_SHAPES, *(f"the word {word!r}" for word in self.words))

    @property
    def revision(self) -> str:
        """A hash of the words and of what the counts are scaled by."""
        return fingerprint(_VERSION, self.words, self.mean, self.deviation)

    @property
    def dimension(self) -> int:
        """The number of counts."""
        return len(self.mean)

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        """Return one vector for each text, ``(n, d)``."""
        del progress  # done before a bar could be drawn
        return self.encode_sparse(texts).dense()

    def encode_sparse(self, texts: Sequence[str]) -> VectorBlock:
        """Return the vectors, most of whose counts are zero, less what centres them."""
        scale = np.array(self.deviation)
        inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
        counts = _count(read_beginnings(check_texts(texts)), self.words) * inverse
        return VectorBlock(sparse.csr_array(counts), np.array(self.mean) * inverse)

    def too_long(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return, ``(n,)``, whether the end of a text is not read."""
        return find_long(texts)

    def save(self, folder: Path) -> None:
        """Write the words and the scales as JSON."""
        content = {"words": self.words, "mean": self.mean, "deviation": self.deviation}
        write_json(folder / _FILE, {"format": _FORMAT, "version": _VERSION, **content})


def fit_style(texts: Sequence[str]) -> StyleEncoder:
    """Choose the function words of the texts' language, and learn how counts are scaled.

    The language is the one of Snowball's lists that covers most words of the texts; of its list
    the 40 words in most texts count, where at least one text in a hundred holds them. Texts
    in a language without a list, or whose words no spaces part, get signs and lengths alone.

    Raises ``InputError`` without texts.
    """
    if not len(check_texts(texts)):
        raise InputError("There are no texts to learn a style from.")
    read = read_beginnings(texts)
    words = _function_words(read)
    counts = _count(read, words).toarray()
    mean, deviation = counts.mean(axis=0), counts.std(axis=0)
    deviation[deviation < _ROUNDING * mean] = 0.0  # the count is the same in every text
    return StyleEncoder(words, tuple(mean.tolist()), tuple(deviation.tolist()))


def holds_style(folder: Path) -> bool:
    """Return whether a folder holds an encoder that :meth:`StyleEncoder.save` wrote."""
    return (folder / _FILE).is_file()


def load_style(folder: Path) -> StyleEncoder:
    """Read an encoder that was saved; raise ``ArtifactError`` if it is damaged."""
    path = folder / _FILE
    content = read_format(path, _FORMAT, _VERSION, again="fit the encoder again")
    try:
        words = tuple(map(str, content["words"]))
        mean, deviation = (tuple(map(float, content[name])) for name in ("mean", "deviation"))
        width = len(_SIGNS) + len(_SHAPES) + len(words)
        scales = np.array([mean, deviation])
        if scales.shape != (2, width) or not np.isfinite(scales).all() or (scales[1] < 0).any():
            raise ValueError("each count needs a finite mean and deviation")
        return StyleEncoder(words, mean, deviation)
    except (ValueError, KeyError, TypeError) as damage:
        raise ArtifactError(f"{path} cannot be read: {damage}. Fit the encoder again.") from damage


def _function_words(texts: Sequence[str]) -> tuple[str, ...]:
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(token_pattern=_WORD, lowercase=True, dtype=np.int64)
    try:
        counts = counter.fit_transform(texts)
    except ValueError:  # the texts hold no word
        return ()
    vocabulary, total = counter.vocabulary_, np.asarray(counts.sum(axis=0)).ravel()
    lists = [[word for word in dict.fromkeys(words) if word in vocabulary] for words in _lists()]
    covered = [sum(int(total[vocabulary[word]]) for word in words) for words in lists]
    if max(covered) < _COVERAGE_AT_LEAST * total.sum():
        return ()
    words = lists[int(np.argmax(covered))]
    holding = np.bincount(counts.indices, minlength=counts.shape[1])
    often = [word for word in words if holding[vocabulary[word]] >= _SHARE_AT_LEAST * len(texts)]
    often.sort(key=lambda word: (-holding[vocabulary[word]], word))
    return tuple(often[:_WORDS_AT_MOST])


def _lists() -> list[tuple[str, ...]]:
    """Return Snowball's lists of function words, one for each language, as bm25s keeps them."""
    from bm25s import stopwords as kept

    return [
        kept.STOPWORDS_EN_PLUS,
        kept.STOPWORDS_GERMAN,
        kept.STOPWORDS_DUTCH,
        kept.STOPWORDS_FRENCH,
        kept.STOPWORDS_SPANISH,
        kept.STOPWORDS_PORTUGUESE,
        kept.STOPWORDS_ITALIAN,
        kept.STOPWORDS_RUSSIAN,
        kept.STOPWORDS_SWEDISH,
        kept.STOPWORDS_NORWEGIAN,
        kept.STOPWORDS_DANISH,
        kept.STOPWORDS_TURKISH,
    ]


def _count(texts: Sequence[str], words: Sequence[str]) -> sparse.csr_array:
    """Return ``ln(1 + count)`` of signs, shapes and words, ``(n, d)``; shares stay shares."""
    width = len(_SIGNS) + len(_SHAPES)
    counts = np.zeros((len(texts), width))
    plain = np.array([text.isascii() for text in texts], dtype=bool)
    if plain.any():
        counts[plain] = _count_ascii([text for text in texts if text.isascii()])
    others = [_signs_and_shapes(text) for text in texts if not text.isascii()]
    counts[~plain] = np.array(others, dtype=np.float64).reshape(len(others), width)
    counts = sparse.csr_array(np.log1p(counts))
    if not words or not len(texts):
        return sparse.csr_array(sparse.hstack([counts, sparse.csr_array((len(texts), len(words)))]))
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(token_pattern=_WORD, lowercase=True, vocabulary=list(words))
    named = np.log1p(sparse.csr_array(counter.transform(texts), dtype=np.float64))
    return sparse.csr_array(sparse.hstack([counts, named], format="csr"))


def _count_ascii(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return what `_signs_and_shapes` does of texts of ASCII, many of them at once."""
    sizes = np.array([len(text) for text in texts])
    written = np.frombuffer("".join(texts).encode("ascii"), dtype=np.uint8)
    place = np.repeat(np.arange(len(texts)) * 128, sizes) + written
    held = np.bincount(place, minlength=len(texts) * 128).reshape(len(texts), 128)
    signs = [held[:, [ord(s) for s in g if ord(s) < 128]].sum(axis=1) for g in _SIGNS.values()]
    capitals = held[:, ord("A") : ord("Z") + 1].sum(axis=1)
    letters = capitals + held[:, ord("a") : ord("z") + 1].sum(axis=1)
    spelled = [
        _spell(text.split(), capital > 0) for text, capital in zip(texts, capitals, strict=True)
    ]
    shouted, capital_words, words = np.array(spelled).T
    return np.column_stack(
        [
            *signs,
            held[:, ord("0") : ord("9") + 1].sum(axis=1),
            np.zeros(len(texts)),
            capitals,
            capitals / np.maximum(letters, 1),
            shouted,
            capital_words,
            held[:, [ord(sign) for sign in _ENDS if ord(sign) < 128]].sum(axis=1),
            sizes,
            words,
            letters / np.maximum(words, 1),
        ]
    )


def _spell(words: list[str], capitals: bool) -> tuple[int, int, int]:
    """Return how many words are in capitals, how many begin with one, and how many there are."""
    if not capitals:
        return 0, 0, len(words)
    spelled = [word.strip(_AROUND) for word in words]
    shouted = sum(word.isupper() and len(word) > 1 for word in spelled)
    return shouted, sum(word[:1].isupper() for word in spelled), len(words)


def _signs_and_shapes(text: str) -> list[float]:
    held = Counter(text)
    signs = [float(sum(held[sign] for sign in group)) for group in _SIGNS.values()]
    letters = sum(number for character, number in held.items() if character.isalpha())
    capitals = sum(number for character, number in held.items() if character.isupper())
    shouted, capital_words, words = _spell(text.split(), capitals > 0)
    return [
        *signs,
        sum(number for character, number in held.items() if character.isdigit()),
        sum(number for character, number in held.items() if category(character) == "So"),
        capitals,
        capitals / max(letters, 1),
        shouted,
        capital_words,
        sum(held[sign] for sign in _ENDS),
        len(text),
        words,
        letters / max(words, 1),
    ]
