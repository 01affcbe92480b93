"""Read an encoder's name: which model, how its states become a vector, in which precision."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast, get_args

from causalign.errors import SettingsError, nearest

Pooling = Literal["mean", "last"]
Precision = Literal["float32", "bfloat16"]

EMBEDDED = ("minilm", "mpnet", "smollm2", "tfidf", "hashing", "style")
_COUNTS = ("tfidf", "hashing", "style")


@dataclass(frozen=True, slots=True)
class EncoderName:
    """The parts of a name such as ``smollm2:last:float32``; ``None`` was not said."""

    model: str
    pooling: Pooling | None = None
    precision: Precision | None = None

    def __str__(self) -> str:
        return ":".join(part for part in (self.model, self.pooling, self.precision) if part)

    @property
    def is_on_hub(self) -> bool:
        """Whether the model is called ``owner/name`` and is no local folder."""
        owner, slash, name = self.model.partition("/")
        plain = bool(slash and owner and name) and "/" not in name
        return plain and not owner.startswith((".", "~")) and not Path(self.model).is_dir()


def parse_encoder_name(name: str | Path) -> EncoderName:
    """Read an encoder's name, ``MODEL[:mean|:last][:float32|:bfloat16]``.

    Parameters
    ----------
    name : str or path
        MODEL is ``minilm``, ``mpnet``, ``smollm2``, ``tfidf``, ``hashing``, ``style``, a local
        folder, or ``owner/name`` on a hub.

    Returns
    -------
    EncoderName
        With ``model``, ``pooling`` and ``precision``.

    Raises
    ------
    SettingsError
        For an unknown model or word, naming the nearest right one.
    """
    parts = EncoderName(str(name))
    while True:
        rest, colon, word = parts.model.rpartition(":")
        if not colon or Path(parts.model).expanduser().is_dir():
            break
        if word in get_args(Pooling) and parts.pooling is None:
            parts = replace(parts, model=rest, pooling=cast(Pooling, word))
        elif word in get_args(Precision) and parts.precision is None:
            parts = replace(parts, model=rest, precision=cast(Precision, word))
        else:
            raise SettingsError(
                f"Cannot read {word!r} in the encoder's name {str(name)!r}; "
                f"{nearest(word, (*get_args(Pooling), *get_args(Precision)))} Write "
                "MODEL[:mean|:last][:float32|:bfloat16]."
            )
    is_folder = parts.model != "" and Path(parts.model).expanduser().is_dir()
    if not (parts.model in EMBEDDED or parts.is_on_hub or is_folder):
        raise SettingsError(
            f"There is no encoder named {parts.model!r}, and no such folder; "
            f"{nearest(parts.model, EMBEDDED)}"
        )
    if parts.model in _COUNTS and (parts.pooling or parts.precision):
        raise SettingsError(f"The encoder {parts.model!r} counts words: it has no further options.")
    return parts


def split_blocks(name: str | Path) -> list[str]:
    """Return the names of encoders that stand side by side: ``minilm+style`` has two.

    A folder whose name holds a plus is one.

    Parameters
    ----------
    name : str or path

    Raises
    ------
    SettingsError
        Where one is named twice.
    """
    whole = str(name)
    if "+" not in whole or Path(whole.partition(":")[0]).expanduser().is_dir():
        return [whole]
    blocks = [block.strip() for block in whole.split("+")]
    twice = next((block for block in blocks if blocks.count(block) > 1), None)
    if twice is not None:
        raise SettingsError(f"The encoder {whole!r} names {twice!r} twice; once says as much.")
    return blocks


def check_precision(precision: str) -> None:
    """Raise `SettingsError` unless it is one in which models are kept."""
    if precision not in get_args(Precision):
        raise SettingsError(f"precision must be 'float32' or 'bfloat16'; found {precision!r}.")
