"""Turn texts into counts of words and pairs of words, weighted by rarity, with scikit-learn."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from causalign.errors import ArtifactError, InputError
from causalign.files import read_format, write_whole
from causalign.lm.encoder import check_texts
from causalign.lm.vector_block import VectorBlock
from causalign.logs.long_texts import find_long, read_beginnings

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer


_FILE = "tfidf.json"
_FORMAT = "causalign-tfidf"
_VERSION = 1
_COLUMNS = 2048
_WORDS = {"ngram_range": (1, 2), "lowercase": True, "dtype": np.float32}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TfidfEncoder:
    """Weigh words and pairs of words by rarity: ``u_j = (1 + ln count_j) idf_j``, length one.

    ``idf_j = 1 + ln((1 + n) / (1 + texts with j))`` over the n training texts. Texts without any
    known word get the zero vector. Only the vocabulary and the weights are learnt, never an
    outcome. Of a text its first 20,000 characters are read. Make one with :func:`fit_tfidf`.
    """

    vocabulary: tuple[str, ...]
    idf: tuple[float, ...]

    name: ClassVar[str] = "tfidf"
    worth_caching: ClassVar[bool] = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, dimension={self.dimension})"

    @property
    def revision(self) -> str:
        """A hash of the vocabulary and its weights."""
        return hashlib.sha256(self._content().encode()).hexdigest()[:32]

    @property
    def dimension(self) -> int:
        """The number of words and pairs."""
        return len(self.vocabulary)

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        """Return one vector for each text, ``(n, d)``."""
        del progress  # done before a bar could be drawn
        return self.encode_sparse(texts).dense()

    def encode_sparse(self, texts: Sequence[str]) -> VectorBlock:
        """Return the vectors, most of whose numbers are zero."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        counter = TfidfVectorizer(**_WORDS, sublinear_tf=True, vocabulary=list(self.vocabulary))
        counter.idf_ = np.array(self.idf)
        return _count(counter, texts, self.dimension)

    def too_long(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return, ``(n,)``, whether the end of a text is not read."""
        return find_long(texts)

    def save(self, folder: Path) -> None:
        """Write the vocabulary and its weights as JSON."""
        with write_whole(folder / _FILE) as partial:
            partial.write_text(self._content(), encoding="utf-8")

    def _content(self) -> str:
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "vocabulary": self.vocabulary,
            "idf": self.idf,
        }
        return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


@dataclass(frozen=True, slots=True)
class HashingEncoder:
    """Count words and pairs of words in columns chosen by their hash; vectors have length one.

    Nothing is learnt, so a log of any size can be encoded. Words that share a column are not told
    apart; their signs alternate, so that the errors cancel on average. Of a text its first 20,000
    characters are read.
    """

    dimension: int = _COLUMNS

    name: ClassVar[str] = "hashing"
    worth_caching: ClassVar[bool] = False

    @property
    def revision(self) -> str:
        """The number of columns and the version of the counting."""
        return f"{self.dimension}-{_VERSION}"

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        """Return one vector for each text, ``(n, d)``."""
        del progress  # done before a bar could be drawn
        return self.encode_sparse(texts).dense()

    def encode_sparse(self, texts: Sequence[str]) -> VectorBlock:
        """Return the vectors, most of whose numbers are zero."""
        from sklearn.feature_extraction.text import HashingVectorizer

        counter = HashingVectorizer(**_WORDS, n_features=self.dimension)
        return _count(counter, texts, self.dimension)

    def too_long(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return, ``(n,)``, whether the end of a text is not read."""
        return find_long(texts)


def fit_tfidf(texts: Sequence[str], columns: int = _COLUMNS) -> TfidfEncoder:
    """Learn the ``columns`` most frequent words and pairs of words, and how rare they are.

    Raises ``InputError`` if the texts hold no words.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    counter = TfidfVectorizer(**_WORDS, sublinear_tf=True, max_features=columns)
    try:
        counter.fit(read_beginnings(check_texts(texts)))
    except ValueError as empty:
        raise InputError(f"The {len(texts):,} texts hold no words to count: {empty}.") from empty
    return TfidfEncoder(
        tuple(str(word) for word in counter.get_feature_names_out()),
        tuple(float(weight) for weight in counter.idf_),
    )


def load_tfidf(folder: Path) -> TfidfEncoder:
    """Read an encoder that was saved; raise ``ArtifactError`` if it is damaged."""
    path = folder / _FILE
    content = read_format(path, _FORMAT, _VERSION, again="fit the encoder again")
    try:
        words, idf = content["vocabulary"], content["idf"]
        if not words or len(words) != len(idf) or not np.isfinite(np.array(idf, float)).all():
            raise ValueError("each word needs one finite weight")
        return TfidfEncoder(tuple(map(str, words)), tuple(map(float, idf)))
    except (ValueError, KeyError, TypeError) as damage:
        raise ArtifactError(f"{path} cannot be read: {damage}. Fit the encoder again.") from damage


def _count(
    counter: "HashingVectorizer | TfidfVectorizer", texts: Sequence[str], dimension: int
) -> VectorBlock:
    if len(check_texts(texts)):
        values = sparse.csr_array(counter.transform(read_beginnings(texts)))
    else:
        values = sparse.csr_array((0, dimension), dtype=np.float32)
    return VectorBlock(values, np.zeros(dimension))
