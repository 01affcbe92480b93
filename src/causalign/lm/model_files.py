"""What a model's folder holds: a hash of all that decides its numbers, and no pickles."""

import hashlib
from pathlib import Path
from typing import Any

from causalign.errors import ArtifactError

__all__ = ["fingerprint", "refuse_pickles", "revision_of"]

_SETTINGS = (
    "adapter_config.json",
    "chat_template.jinja",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)


def revision_of(model: Any, source: Path | str) -> str:
    """Return what tells this model from others: the hash of its folder, or the hub's commit."""
    if isinstance(source, Path):
        return fingerprint(source)
    return str(getattr(model.config, "_commit_hash", None) or source)


def fingerprint(folder: Path) -> str:
    """Return a hash of weights, settings and tokenizer."""
    settings = [folder / name for name in _SETTINGS if (folder / name).is_file()]
    total = hashlib.sha256()
    for path in settings + sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:32]


def refuse_pickles(source: Path | str) -> None:
    """Raise ``ArtifactError`` where a folder keeps weights only in a format that can run code.

    For a hub's name the library is told to take safetensors only.
    """
    if isinstance(source, str) or any(source.glob("*.safetensors")):
        return
    pickled = [p.name for pattern in ("*.bin", "*.pt", "*.pth") for p in source.glob(pattern)]
    if pickled:
        raise ArtifactError(
            f"The folder {source} holds its weights only as {', '.join(sorted(pickled))}, a format "
            "that can run code when it is read. Convert them to safetensors where you trust them."
        )
