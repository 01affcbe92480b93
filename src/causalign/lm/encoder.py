"""What turns texts into vectors: the protocol of an encoder, and the check of its texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError


class Encoder(Protocol):
    """What turns texts into vectors: anything with these four members.

    An encoder that is quicker than a disk says so with ``worth_caching = False``.
    """

    @property
    def name(self) -> str:
        """The name that :func:`causalign.lm.load_encoder` understands."""
        ...

    @property
    def revision(self) -> str:
        """A text that changes whenever the vectors of the same texts would change."""
        ...

    @property
    def dimension(self) -> int:
        """The length ``d`` of a vector."""
        ...

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        """Turn texts into vectors.

        Parameters
        ----------
        texts : n strings
        progress : bool
            Report progress on standard error.

        Returns
        -------
        (n, d) array
            One vector for each text.
        """
        ...


@runtime_checkable
class NoticesLongTexts(Protocol):
    """An encoder that knows which texts are longer than it reads."""

    def too_long(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return, ``(n,)``, whether the end of a text is not read."""
        ...


@runtime_checkable
class Storable(Protocol):
    """An encoder that was learnt, and is so small that a reward model carries it along."""

    def save(self, folder: Path) -> None:
        """Write to ``folder`` what :func:`causalign.lm.load_encoder` makes the encoder of."""
        ...


@runtime_checkable
class JoinsBlocks(Protocol):
    """An encoder that puts the vectors of others side by side, each of which is cached apart."""

    @property
    def blocks(self) -> tuple[Encoder, ...]:
        """The encoders of the blocks."""
        ...

    def join(self, parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Put the vectors ``(n, d_j)`` of the blocks side by side: ``(n, d)``."""
        ...


def check_texts(texts: Sequence[str]) -> Sequence[str]:
    """Return the texts; raise ``InputError`` naming the first row that is not a text."""
    if isinstance(texts, str):
        raise InputError("Give a list of texts, not one text.")
    wrong = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        raise InputError(
            f"Row {wrong} holds {texts[wrong]!r}, which is not a text; remove or fill such rows."
        )
    return texts
