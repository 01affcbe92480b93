"""What turns texts into vectors: one protocol, and one function that makes encoders by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError, SettingsError
from causalign.lm.encoder_name import Precision, parse_encoder_name

__all__ = ["Encoder", "NoticesLongTexts", "Storable", "checked_texts", "load_encoder"]


class Encoder(Protocol):
    """Turn texts into vectors. Anything with these four members can be used.

    An encoder that is quicker than a disk says so with ``worth_caching = False``.
    """

    @property
    def name(self) -> str:
        """Return the name that :func:`load_encoder` understands."""
        ...

    @property
    def revision(self) -> str:
        """Return a text that changes whenever the vectors of the same texts would change."""
        ...

    @property
    def dimension(self) -> int:
        """Return the length ``d`` of a vector."""
        ...

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        """Return one vector for each text, ``(n, d)``."""
        ...


@runtime_checkable
class NoticesLongTexts(Protocol):
    """Say which texts are longer than the encoder reads."""

    def too_long(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return, ``(n,)``, whether the end of a text is not read."""
        ...


@runtime_checkable
class Storable(Protocol):
    """Be learnt from training texts, and so small that a reward model carries it along."""

    def save(self, folder: Path) -> None:
        """Write what :func:`load_encoder` needs to make the same encoder from ``folder``."""
        ...


def load_encoder(
    name: str | Path = "minilm",
    *,
    precision: Precision | None = None,
    device: str | None = None,
    training_texts: Sequence[str] | None = None,
) -> Encoder:
    """Make the encoder called ``MODEL[:mean|:last][:float32|:bfloat16]``.

    MODEL is one of

    - ``minilm``: all-MiniLM-L6-v2, mean of the last layer (arXiv 1908.10084);
    - ``smollm2``: SmolLM2-135M-Instruct, state of the last token (arXiv 2502.02737);
    - a local folder, or ``owner/name`` on a hub: ``config.json``, a tokenizer and safetensors.
      Nothing in it is executed or unpickled;
    - ``tfidf``: words and pairs of words, weighted by their rarity in ``training_texts``;
    - ``hashing``: the same, hashed to columns, with nothing to learn.

    Without a word for the pooling, causal models give the state of the last token and others the
    mean. Without a word for the precision, the means of ``minilm`` and ``smollm2`` are computed in
    bfloat16 where the processor multiplies it (:mod:`causalign.lm.transformer_encoder` says why),
    all else in float32. ``precision`` does the same as the word. ``device`` defaults to a GPU
    where there is one.

    Raises ``ExtraNotInstalled`` without torch and transformers, ``SettingsError`` for an unknown
    name, precision or pooling, ``ArtifactError`` for a model that cannot be loaded.
    """
    asked = parse_encoder_name(name)
    if asked.model == "hashing":
        from causalign.lm.word_counts import HashingEncoder

        return HashingEncoder()
    if asked.model == "tfidf":
        from causalign.lm.word_counts import fit_tfidf

        if training_texts is None:
            raise SettingsError(
                "The encoder 'tfidf' learns its words from training texts; pass training_texts, or "
                "name a folder in which such an encoder was saved."
            )
        return fit_tfidf(checked_texts(training_texts))
    folder = Path(asked.model).expanduser()
    saved = _saved_with_a_reward(folder, device)
    if saved is not None:
        return saved
    from causalign.lm.transformer_encoder import load_transformer

    return load_transformer(asked, precision=precision, device=device)


def _saved_with_a_reward(folder: Path, device: str | None) -> Encoder | None:
    """Return the encoder that a reward model carried along in this folder, if there is one."""
    from causalign.lm.adapted_encoder import holds_adapted, load_adapted
    from causalign.lm.prefixed_encoder import holds_prefixed, load_prefixed
    from causalign.lm.word_counts import load_tfidf

    if (folder / "tfidf.json").is_file():
        return load_tfidf(folder)
    if holds_prefixed(folder):
        return load_prefixed(folder)
    if holds_adapted(folder):
        return load_adapted(folder, device=device)
    return None


def checked_texts(texts: Sequence[str]) -> Sequence[str]:
    """Return the texts; raise ``InputError`` naming the first row that is not a text."""
    if isinstance(texts, str):
        raise InputError("Give a list of texts, not one text.")
    wrong = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        raise InputError(
            f"Row {wrong} holds {texts[wrong]!r}, which is not a text; remove or fill such rows."
        )
    return texts
