"""Vectors of some texts, sparse where an encoder counts words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from causalign.errors import SettingsError
from causalign.lm.encoder import Encoder, JoinsBlocks, NoticesLongTexts, check_texts

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class VectorBlock:
    """Hold n vectors ``values - shift``, the values sparse or not.

    What centres the vectors of words that most texts lack is the same in every row; apart from the
    values it leaves these sparse.

    Parameters
    ----------
    values : (n, d) array
    shift : (d,) array
    truncated : int
        Texts whose end was not read.
    """

    values: sparse.csr_array | NDArray[np.float32]
    shift: Floats
    truncated: int = 0

    def dense(self) -> NDArray[np.float32]:
        """Return the vectors ``(n, d)``."""
        given = self.values
        values = given.copy() if isinstance(given, np.ndarray) else given.toarray()
        if self.shift.any():
            values -= self.shift.astype(values.dtype)
        return np.asarray(values, dtype=np.float32)


@runtime_checkable
class EncodesSparsely(Protocol):
    """An encoder most of whose numbers are zero, but for a shift."""

    def encode_sparse(self, texts: Sequence[str]) -> VectorBlock:
        """Turn texts into vectors, as ``encode`` does."""
        ...


def is_sparse(encoder: Encoder) -> bool:
    """Return whether most numbers of an encoder's vectors are zero, all its blocks' if it has some.

    Parameters
    ----------
    encoder : Encoder
    """
    blocks = encoder.blocks if isinstance(encoder, JoinsBlocks) else ()
    return all(map(is_sparse, blocks)) if blocks else isinstance(encoder, EncodesSparsely)


def encode_block(encoder: Encoder, texts: Sequence[str]) -> VectorBlock:
    """Turn some texts into vectors, sparse where the encoder can.

    Parameters
    ----------
    encoder : Encoder
    texts : n strings

    Returns
    -------
    VectorBlock

    Raises
    ------
    InputError
        If something is not a text.
    SettingsError
        If the encoder returns vectors of the wrong shape or values that are not finite.
    """
    if isinstance(encoder, EncodesSparsely):
        block = encoder.encode_sparse(check_texts(texts))
        numbers = block.values if isinstance(block.values, np.ndarray) else block.values.data
    else:
        vectors = np.asarray(encoder.encode(check_texts(texts)), dtype=np.float32)
        block, numbers = VectorBlock(vectors, np.zeros(encoder.dimension)), vectors
    if block.values.shape != (len(texts), encoder.dimension) or not np.isfinite(numbers).all():
        raise SettingsError(
            f"The encoder {encoder.name!r} must return ({len(texts)}, {encoder.dimension}) finite "
            f"numbers; it returned shape {block.values.shape}"
            f"{'' if np.isfinite(numbers).all() else ' with values that are not finite'}."
        )
    if isinstance(encoder, NoticesLongTexts):
        return replace(block, truncated=int(encoder.too_long(texts).sum()))
    return block
