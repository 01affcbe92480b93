"""Where the reading of a text ends, so that one of millions of characters costs what others do."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Some 3,000 words: longer than letters, posts and articles are.
CHARACTERS_READ = 20_000
# Tokenizers read whole texts before they cut them, unless these are cut where so many characters
# stand for each token; most tokens have four.
CHARACTERS_A_TOKEN = 64


def read_beginnings(texts: Sequence[str]) -> list[str]:
    """Return of each text what words, signs and shapes are counted in: its beginning."""
    return [text[:CHARACTERS_READ] for text in texts]


def find_long(texts: Sequence[str]) -> NDArray[np.bool_]:
    """Return, ``(n,)``, whether a text goes on behind its beginning."""
    return np.array([len(text) > CHARACTERS_READ for text in texts], dtype=bool)
