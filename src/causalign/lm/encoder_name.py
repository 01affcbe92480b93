"""Read an encoder's name: which model, how its states become a vector, in which precision."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast, get_args

from causalign.errors import SettingsError, nearest

__all__ = ["EncoderName", "Pooling", "Precision", "parse_encoder_name"]

Pooling = Literal["mean", "last"]
Precision = Literal["float32", "bfloat16"]

EMBEDDED = ("minilm", "smollm2", "tfidf", "hashing")


@dataclass(frozen=True, slots=True)
class EncoderName:
    """Hold the parts of a name such as ``smollm2:last:float32``; ``None`` was not said."""

    model: str
    pooling: Pooling | None = None
    precision: Precision | None = None

    def __str__(self) -> str:
        return ":".join(part for part in (self.model, self.pooling, self.precision) if part)

    @property
    def is_embedded(self) -> bool:
        """Return whether the model comes with the library."""
        return self.model in EMBEDDED

    @property
    def is_on_hub(self) -> bool:
        """Return whether the model is called ``owner/name`` and is no local folder."""
        owner, slash, name = self.model.partition("/")
        plain = bool(slash and owner and name) and "/" not in name
        return plain and not owner.startswith((".", "~")) and not Path(self.model).is_dir()


def parse_encoder_name(name: str | Path) -> EncoderName:
    """Read ``MODEL[:mean|:last][:float32|:bfloat16]``.

    MODEL is ``minilm``, ``smollm2``, ``tfidf``, ``hashing``, a local folder, or ``owner/name`` on a
    hub. Raises ``SettingsError`` for an unknown model or word, naming the nearest right one.
    """
    found = EncoderName(str(name))
    while True:
        rest, colon, word = found.model.rpartition(":")
        if not colon or Path(found.model).expanduser().is_dir():
            break
        if word in get_args(Pooling) and found.pooling is None:
            found = replace(found, model=rest, pooling=cast(Pooling, word))
        elif word in get_args(Precision) and found.precision is None:
            found = replace(found, model=rest, precision=cast(Precision, word))
        else:
            raise SettingsError(
                f"Cannot read {word!r} in the encoder's name {str(name)!r}; "
                f"{nearest(word, (*get_args(Pooling), *get_args(Precision)))} Write "
                "MODEL[:mean|:last][:float32|:bfloat16]."
            )
    is_folder = found.model != "" and Path(found.model).expanduser().is_dir()
    if not (found.is_embedded or found.is_on_hub or is_folder):
        raise SettingsError(
            f"There is no encoder named {found.model!r}, and no such folder; "
            f"{nearest(found.model, EMBEDDED)}"
        )
    if found.model in ("tfidf", "hashing") and (found.pooling or found.precision):
        raise SettingsError(f"The encoder {found.model!r} counts words: it has no further options.")
    return found
