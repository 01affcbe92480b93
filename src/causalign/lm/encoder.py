"""Turn texts into vectors with a local transformer: mean pooling, unit length."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from causalign.errors import ArtifactError, ExtraNotInstalled, InputError, SettingsError, nearest
from causalign.lm.minilm import minilm_folder
from causalign.lm.progress import progress_of

__all__ = ["Encoder", "NoticesLongTexts", "TransformerEncoder", "load_encoder"]

Precision = Literal["float32", "bfloat16"]

_MAX_TOKENS = 256
# Batches that fit the processor's cache: fastest of 1,024 ... 16,384 on short and on long texts.
_TOKENS_IN_BATCH = 2048
_TOKENS_IN_BATCH_ON_GPU = 32768


class Encoder(Protocol):
    """Turn texts into vectors. Anything with these four members can be used."""

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


@dataclass(frozen=True, slots=True, eq=False)
class TransformerEncoder:
    """Encode texts as the mean of a transformer's last hidden states, scaled to length one.

    ``v = u / ‖u‖``, ``u = Σ_t m_t h_t / Σ_t m_t`` over the tokens ``t`` with mask ``m``. Texts are
    cut at ``max_tokens``. A text without tokens gets the zero vector. Make one with
    :func:`load_encoder`.
    """

    name: str
    revision: str
    dimension: int
    max_tokens: int
    tokenizer: Any
    model: Any

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        """Return one unit vector for each text, ``(n, d)``; equal texts are encoded once.

        Raises ``InputError`` if something is not a text, ``SettingsError`` if the model returns
        values that are not finite.
        """
        distinct = list(dict.fromkeys(checked_texts(texts)))
        vectors = np.zeros((len(distinct), self.dimension), dtype=np.float32)
        if distinct:
            tokens = self._tokens(distinct, truncation=True, max_length=self.max_tokens)
            with progress_of("Encoding texts", len(distinct), progress) as advance:
                for rows in _batches([len(t) for t in tokens], self._budget()):
                    vectors[rows] = self._forward([tokens[row] for row in rows])
                    advance(len(rows))
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if bad.size:
            raise SettingsError(
                f"The encoder {self.name!r} returned values that are not finite for {bad.size} "
                f"texts, the first being {distinct[bad[0]][:60]!r}. Use precision 'float32', or "
                "check the weights."
            )
        row = {text: number for number, text in enumerate(distinct)}
        return vectors[[row[text] for text in texts]]

    def too_long(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return, ``(n,)``, whether a text has more than ``max_tokens`` tokens."""
        if not len(texts):
            return np.zeros(0, dtype=bool)
        tokens = self._tokens(list(texts), truncation=False)
        return np.array([len(t) > self.max_tokens for t in tokens])

    def _tokens(self, texts: list[str], **options: Any) -> list[list[int]]:
        return self.tokenizer(texts, padding=False, verbose=False, **options)["input_ids"]

    def _budget(self) -> int:
        return _TOKENS_IN_BATCH if self.model.device.type == "cpu" else _TOKENS_IN_BATCH_ON_GPU

    def _forward(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        import torch

        width = max(len(t) for t in tokens)
        if width == 0:
            return np.zeros((len(tokens), self.dimension), dtype=np.float32)
        ids = np.zeros((len(tokens), width), dtype=np.int64)
        mask = np.zeros((len(tokens), width), dtype=np.int64)
        for row, sequence in enumerate(tokens):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        with torch.inference_mode():
            kept = torch.from_numpy(mask).to(self.model.device)
            hidden = self.model(
                input_ids=torch.from_numpy(ids).to(self.model.device),
                # Attention without a mask is faster, and texts of one length need none.
                attention_mask=None if mask.all() else kept,
            ).last_hidden_state.float()  # (b, t, d)
            share = kept.float() / kept.sum(dim=1, keepdim=True).clamp(min=1)
            pooled = torch.einsum("bt,btd->bd", share, hidden)
            return torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()


def load_encoder(
    name: str | Path = "minilm", *, precision: Precision = "float32", device: str | None = None
) -> TransformerEncoder:
    """Load an encoder by name (``'minilm'``) or from a local folder, never from the internet.

    The folder holds ``config.json``, a tokenizer and weights as safetensors; nothing else is
    executed or unpickled. ``precision='bfloat16'`` is about twice as fast on processors that have
    the instructions, and changes vectors by less than 2e-4 in cosine. ``device`` defaults to a GPU
    where there is one.

    Raises ``ExtraNotInstalled`` without torch and transformers, ``SettingsError`` for an unknown
    name, precision or pooling, ``ArtifactError`` for a folder that cannot be loaded. Reference:
    Reimers and Gurevych (2019), arXiv 1908.10084.
    """
    if precision not in ("float32", "bfloat16"):
        raise SettingsError(f"precision must be 'float32' or 'bfloat16'; found {precision!r}.")
    folder = minilm_folder() if str(name) == "minilm" else Path(name).expanduser()
    if not folder.is_dir():
        raise SettingsError(
            f"There is no encoder named {str(name)!r}, and no such folder; "
            f"{nearest(str(name), ['minilm'])}"
        )
    _check_pooling(folder)
    tokenizer, model = _load(folder, precision, device)
    limits = (_MAX_TOKENS, tokenizer.model_max_length, _positions(model.config))
    max_tokens = int(min(limits))
    return TransformerEncoder(
        str(name),
        f"{_fingerprint(folder)}-mean-{max_tokens}-{precision}",
        int(model.config.hidden_size),
        max_tokens,
        tokenizer,
        model,
    )


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


def _batches(lengths: list[int], budget: int) -> list[NDArray[np.int64]]:
    """Cut rows, longest first, into batches of at most ``budget`` tokens with their padding."""
    order = np.argsort([-length for length in lengths], kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        batches.append(order[start : start + size])
        start += size
    return batches


def _load(folder: Path, precision: Precision, device: str | None) -> tuple[Any, Any]:
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging
    except ImportError as missing:
        raise ExtraNotInstalled(
            f"Encoding texts needs {missing.name or 'torch'}, which is not installed: "
            "`pip install 'causalign[lm]'`."
        ) from missing
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except Exception as failure:  # the library raises anything from KeyError to SafetensorError
        raise ArtifactError(f"The encoder in {folder} cannot be loaded: {failure}") from failure
    finally:
        if shown:
            logging.enable_progress_bar()
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return tokenizer, model.to(chosen, getattr(torch, precision)).eval()


def _positions(config: Any) -> int:
    return getattr(config, "max_position_embeddings", None) or _MAX_TOKENS


def _check_pooling(folder: Path) -> None:
    described = folder / "1_Pooling" / "config.json"
    if not described.is_file():
        return
    try:
        pooling = json.loads(described.read_text(encoding="utf-8"))
        asked = [key for key, on in pooling.items() if key.startswith("pooling_mode") and on]
    except (ValueError, AttributeError) as damage:
        raise ArtifactError(f"{described} cannot be read: {damage}") from damage
    if asked not in ([], ["pooling_mode_mean_tokens"]):
        raise SettingsError(
            f"The encoder in {folder} pools by {', '.join(asked)}; only the mean of the tokens is "
            "supported. Choose another encoder."
        )


def _fingerprint(folder: Path) -> str:
    """Return a hash of everything that decides the vectors: weights, settings, tokenizer."""
    names = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
    paths = [folder / name for name in names if (folder / name).is_file()]
    total = hashlib.sha256()
    for path in sorted(paths) + sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:32]
