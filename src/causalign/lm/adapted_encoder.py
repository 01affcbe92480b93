"""Turn texts into vectors with a language model and an adapter that was trained for them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from causalign.errors import ArtifactError, SettingsError
from causalign.files import hash_file, read_format, write_json, write_whole
from causalign.lm.encoder_name import Precision
from causalign.lm.language_model import (
    LanguageModel,
    load_language_model,
    suspend_training,
    write_adapter,
)
from causalign.lm.model_files import DESCRIPTION
from causalign.lm.transformer_encoder import TransformerEncoder

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


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AdaptedEncoder:
    """Encode texts as ``h_T / ‖h_T‖``, the last token's state under the model and its adapter.

    Texts are cut at ``max_tokens``. While the adapter is trained the vectors move with it.
    """

    language_model: LanguageModel
    max_tokens: int

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, dimension={self.dimension})"

    @property
    def name(self) -> str:
        """The base model's name and that it was adapted."""
        return f"{self.language_model.name}:adapted"

    @property
    def revision(self) -> str:
        """A hash of the base model, the adapter as it is now, and how texts are read."""
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
        """The width of the model's last layer."""
        return int(self.language_model.model.get_output_embeddings().in_features)

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        """Return one unit vector for each text, ``(n, d)``, without dropout.

        Raises as :meth:`causalign.lm.transformer_encoder.TransformerEncoder.encode` does.
        """
        with suspend_training(self.language_model.model):
            return self._reader().encode(texts, progress)

    def too_long(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return, ``(n,)``, whether a text has more than ``max_tokens`` tokens."""
        return self._reader().too_long(texts)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text that are read."""
        return self._reader().tokens(list(texts))

    def save(self, folder: Path) -> None:
        """Write the adapter, how texts are read, and the hashes of both files.

        Raises ``ArtifactError`` if the folder cannot be written.
        """
        card = CARD.format(base=self.language_model.public_name, max_tokens=self.max_tokens)
        try:
            with write_whole(folder) as partial:
                write_adapter(self.language_model, partial)
                description = {
                    "format": _FORMAT,
                    "version": _VERSION,
                    "base": self.language_model.name,
                    "base_revision": self._base_revision,
                    "max_tokens": self.max_tokens,
                    "precision": self._precision,
                    "sha256": {name: hash_file(partial / name) for name in _FILES},
                }
                (partial / "README.md").write_text(card, encoding="utf-8")
                write_json(partial / DESCRIPTION, description)
        except Exception as failure:  # a full disk shows as OSError, RuntimeError, SafetensorError
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
    """Return whether a folder holds an encoder that :meth:`AdaptedEncoder.save` wrote.

    Raises ``SettingsError`` for the folder of a policy, which holds files of the same names.
    """
    path = folder / DESCRIPTION
    if not (path.is_file() and (folder / "adapter_config.json").is_file()):
        return False
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True  # a damaged one, of which `load_adapted` says so
    if isinstance(description, dict) and "format" not in description and "method" in description:
        raise SettingsError(
            f"The folder {folder} holds a policy that {description['method']} tuned, not an "
            f"encoder. Name the model that it was tuned from, {description.get('base')!r}, or the "
            "folder of a reward."
        )
    return True


def load_adapted(folder: Path, *, device: str | None = None) -> AdaptedEncoder:
    """Read an encoder back; the base model is loaded by its name.

    Raises ``ArtifactError`` if files are missing or altered, the format is another version, or the
    base model is another one.
    """
    path = folder / DESCRIPTION
    description = read_format(path, _FORMAT, _VERSION, again="fit the reward again")
    try:
        max_tokens, base = int(description["max_tokens"]), str(description["base"])
        precision = cast(Precision, description["precision"])
        hashes = {name: description["sha256"][name] for name in _FILES}
    except (ValueError, KeyError, TypeError) as damage:
        raise ArtifactError(f"{path} cannot be read: {damage}. Fit the reward again.") from damage
    for name, expected in hashes.items():
        if not (folder / name).is_file() or hash_file(folder / name) != expected:
            raise ArtifactError(
                f"{folder / name} is not the file that was saved: its SHA-256 differs from the one "
                f"in {DESCRIPTION}. Copy the folder again, or fit the reward again."
            )
    model = load_language_model(base, precision=precision, device=device, adapter=folder)
    return AdaptedEncoder(model, max_tokens)
