"""Turn texts into vectors with a language model and an adapter that was trained for them."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causalign.errors import ArtifactError
from causalign.lm.adapter_files import write_adapter
from causalign.lm.language_model import DESCRIPTION, LanguageModel, load_language_model
from causalign.lm.transformer_encoder import TransformerEncoder

__all__ = ["AdaptedEncoder", "holds_adapted", "load_adapted"]

_FORMAT = "causalign-adapted-encoder"
_VERSION = 1
_FILES = ("adapter_model.safetensors", "adapter_config.json")

CARD = """---
base_model: {base}
library_name: peft
tags: [causalign]
---
# Adapter of a reward model on {base}

Plain peft loads it onto the base model. A text's vector is the state of its last token in the last
layer, scaled to length one; texts are cut at {max_tokens} tokens. The head that turns the vector
into a reward lies beside this folder.
"""


@dataclass(frozen=True, slots=True, eq=False)
class AdaptedEncoder:
    """Encode texts as ``h_T / ‖h_T‖``, the last token's state under the model and its adapter.

    Texts are cut at ``max_tokens``. While the adapter is trained the vectors move with it.
    """

    language_model: LanguageModel
    max_tokens: int

    @property
    def name(self) -> str:
        """Return the base model's name and that it was adapted."""
        return f"{self.language_model.name}:adapted"

    @property
    def revision(self) -> str:
        """Return a hash of the base model, the adapter as it is now, and how texts are read."""
        from peft import get_peft_model_state_dict

        network = self.language_model.model
        config = network.peft_config["default"]
        read = (self._base_revision, self.max_tokens, self._precision, config.r, config.lora_alpha)
        total = hashlib.sha256(json.dumps(read).encode())
        tensors = get_peft_model_state_dict(network, save_embedding_layers=False)
        for name in sorted(tensors):
            total.update(name.encode() + tensors[name].detach().float().cpu().numpy().tobytes())
        return total.hexdigest()[:32]

    @property
    def dimension(self) -> int:
        """Return the width of the model's last layer."""
        return int(self.language_model.model.get_output_embeddings().in_features)

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        """Return one unit vector for each text, ``(n, d)``, without dropout.

        Raises as :meth:`causalign.lm.transformer_encoder.TransformerEncoder.encode` does.
        """
        network = self.language_model.model
        training = network.training
        network.eval()
        try:
            return self._reader().encode(texts, progress)
        finally:
            network.train(training)

    def too_long(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return, ``(n,)``, whether a text has more than ``max_tokens`` tokens."""
        return self._reader().too_long(texts)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text that are read."""
        return self.language_model.tokenizer(
            list(texts), truncation=True, max_length=self.max_tokens, padding=False, verbose=False
        )["input_ids"]

    def save(self, folder: Path) -> None:
        """Write the adapter, how texts are read, and the hashes of both files.

        Raises ``ArtifactError`` if the folder cannot be written.
        """
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            write_adapter(self.language_model, partial)
            described = {
                "format": _FORMAT,
                "version": _VERSION,
                "base": self.language_model.name,
                "base_revision": self._base_revision,
                "max_tokens": self.max_tokens,
                "precision": self._precision,
                "sha256": {name: _hash(partial / name) for name in _FILES},
            }
            card = CARD.format(base=self.language_model.public_name, max_tokens=self.max_tokens)
            (partial / "README.md").write_text(card, encoding="utf-8")
            (partial / DESCRIPTION).write_text(json.dumps(described, indent=2) + "\n")
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(partial, folder)
        except Exception as failure:  # a full disk shows as OSError, RuntimeError, SafetensorError
            shutil.rmtree(partial, ignore_errors=True)
            raise ArtifactError(
                f"The adapter cannot be written to {folder}: {failure}. Free some space and save "
                "again."
            ) from failure

    @property
    def _base_revision(self) -> str:
        return self.language_model.revision.split("+")[0]

    @property
    def _precision(self) -> str:
        return str(self.language_model.model.dtype).removeprefix("torch.")

    def _reader(self) -> TransformerEncoder:
        loaded = self.language_model
        body = loaded.model.get_base_model().base_model  # without the layer to the vocabulary
        return TransformerEncoder(
            self.name, "", self.dimension, self.max_tokens, loaded.tokenizer, body, "last"
        )


def holds_adapted(folder: Path) -> bool:
    """Return whether a folder holds an encoder that :meth:`AdaptedEncoder.save` wrote."""
    return all((folder / name).is_file() for name in (DESCRIPTION, "adapter_config.json"))


def load_adapted(folder: Path, *, device: str | None = None) -> AdaptedEncoder:
    """Read an encoder back; the base model is loaded by its name.

    Raises ``ArtifactError`` if files are missing or altered, the format is another version, or the
    base model is another one.
    """
    path = folder / DESCRIPTION
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        kind = (described.get("format"), described.get("version"))
        if kind != (_FORMAT, _VERSION):
            raise ArtifactError(
                f"{path} describes {kind[0]!r} of version {kind[1]!r}; this causalign reads "
                f"{_FORMAT!r} of version {_VERSION}. Install the causalign that wrote it, or fit "
                "the reward again."
            )
        max_tokens = int(described["max_tokens"])
        hashes = {name: described["sha256"][name] for name in _FILES}
        base: dict[str, Any] = {"name": described["base"], "precision": described["precision"]}
    except ArtifactError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as damage:
        raise ArtifactError(f"{path} cannot be read: {damage}. Fit the reward again.") from damage
    for name, expected in hashes.items():
        if _hash(folder / name) != expected:
            raise ArtifactError(
                f"{folder / name} is not the file that was saved: its SHA-256 differs from the one "
                f"in {DESCRIPTION}. Copy the folder again, or fit the reward again."
            )
    return AdaptedEncoder(load_language_model(**base, device=device, adapter=folder), max_tokens)


def _hash(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
