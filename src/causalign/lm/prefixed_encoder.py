"""Turn texts into vectors with the same words in front of each."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from causalign.errors import ArtifactError
from causalign.files import read_format, write_json
from causalign.lm.encoder import Encoder, NoticesLongTexts, Storable

_FILE = "prefixed.json"
_FORMAT = "causalign-prefixed-encoder"
_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PrefixedEncoder:
    """Encode ``before + text`` with another encoder.

    A reward that was fitted on texts with a confounder in front scores new texts with it at one
    value: see :class:`causalign.reward.ConfounderInText`.
    """

    before: str
    encoder: Encoder

    def __repr__(self) -> str:
        return f"PrefixedEncoder({self.before!r}, {self.encoder!r})"

    @property
    def name(self) -> str:
        """The name of the encoder behind."""
        return self.encoder.name

    @property
    def revision(self) -> str:
        """A hash of the words in front and of the encoder behind."""
        read = json.dumps([self.before, self.encoder.name, self.encoder.revision])
        return hashlib.sha256(read.encode()).hexdigest()[:32]

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return self.encoder.dimension

    @property
    def worth_caching(self) -> bool:
        """Whether vectors of the encoder behind are worth a disk."""
        return getattr(self.encoder, "worth_caching", True)

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        """Return one vector for each text, ``(n, d)``."""
        return self.encoder.encode(self._prepend(texts), progress)

    def too_long(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return, ``(n,)``, whether the end of a text is not read."""
        if not isinstance(self.encoder, NoticesLongTexts):
            return np.zeros(len(texts), dtype=bool)
        return self.encoder.too_long(self._prepend(texts))

    def save(self, folder: Path) -> None:
        """Write the words in front, the name of the encoder behind, and itself if it is small."""
        stored = isinstance(self.encoder, Storable)
        if isinstance(self.encoder, Storable):
            self.encoder.save(folder / "behind")
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "before": self.before,
            "encoder": self.encoder.name,
            "stored": stored,
        }
        write_json(folder / _FILE, content)

    def _prepend(self, texts: Sequence[str]) -> list[str]:
        return [self.before + text for text in texts]


def holds_prefixed(folder: Path) -> bool:
    """Return whether a folder holds an encoder that :meth:`PrefixedEncoder.save` wrote."""
    return (folder / _FILE).is_file()


def load_prefixed(folder: Path, load: Callable[[str | Path], Encoder]) -> PrefixedEncoder:
    """Read an encoder back; ``load`` makes the one behind from its name or folder.

    Raises ``ArtifactError`` if it is damaged or of another version.
    """
    path = folder / _FILE
    content = read_format(path, _FORMAT, _VERSION, again="fit the reward again")
    try:
        before, name = str(content["before"]), str(content["encoder"])
        behind: str | Path = folder / "behind" if content["stored"] else name
    except KeyError as damage:
        raise ArtifactError(f"{path} cannot be read: {damage}. Fit the reward again.") from damage
    return PrefixedEncoder(before, load(behind))
