"""Turn texts into vectors with the same words in front of each."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from causalign.errors import ArtifactError
from causalign.lm.encoder import Encoder, NoticesLongTexts, Storable, load_encoder

__all__ = ["PrefixedEncoder", "holds_prefixed", "load_prefixed"]

_FILE = "prefixed.json"
_FORMAT = "causalign-prefixed-encoder"
_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class PrefixedEncoder:
    """Encode ``before + text`` with another encoder.

    A reward that was fitted on texts with a confounder in front scores new texts with it at one
    value: see :class:`causalign.reward.ConfounderInText`.
    """

    before: str
    encoder: Encoder

    @property
    def name(self) -> str:
        """Return the name of the encoder behind."""
        return self.encoder.name

    @property
    def revision(self) -> str:
        """Return a hash of the words in front and of the encoder behind."""
        read = json.dumps([self.before, self.encoder.name, self.encoder.revision])
        return hashlib.sha256(read.encode()).hexdigest()[:32]

    @property
    def dimension(self) -> int:
        """Return the length of a vector."""
        return self.encoder.dimension

    @property
    def worth_caching(self) -> bool:
        """Return whether vectors of the encoder behind are worth a disk."""
        return getattr(self.encoder, "worth_caching", True)

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        """Return one vector for each text, ``(n, d)``."""
        return self.encoder.encode(self._written(texts), progress)

    def too_long(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return, ``(n,)``, whether the end of a text is not read."""
        if not isinstance(self.encoder, NoticesLongTexts):
            return np.zeros(len(texts), dtype=bool)
        return self.encoder.too_long(self._written(texts))

    def save(self, folder: Path) -> None:
        """Write the words in front, the name of the encoder behind, and itself if it is small."""
        folder.mkdir(parents=True, exist_ok=True)
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
        text = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
        (folder / _FILE).write_text(text, encoding="utf-8")

    def _written(self, texts: Sequence[str]) -> list[str]:
        return [self.before + text for text in texts]


def holds_prefixed(folder: Path) -> bool:
    """Return whether a folder holds an encoder that :meth:`PrefixedEncoder.save` wrote."""
    return (folder / _FILE).is_file()


def load_prefixed(folder: Path) -> PrefixedEncoder:
    """Read an encoder back; raise ``ArtifactError`` if it is damaged or of another version."""
    path = folder / _FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kind = (content["format"], content["version"])
        if kind != (_FORMAT, _VERSION):
            raise ValueError(f"it is {kind}, not {(_FORMAT, _VERSION)}")
        before, name = str(content["before"]), str(content["encoder"])
        behind: str | Path = folder / "behind" if content["stored"] else name
    except (OSError, ValueError, KeyError, TypeError) as damage:
        raise ArtifactError(f"{path} cannot be read: {damage}. Fit the reward again.") from damage
    return PrefixedEncoder(before, load_encoder(behind))
