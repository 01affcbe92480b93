"""A small language model of the texts at hand: a tokenizer learned from them, and new weights."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from causalign.artifacts import fingerprint
from causalign.errors import ArtifactError, InputError, SettingsError, needs_extra
from causalign.files import write_whole
from causalign.lm.cache import default_cache_folder, make_cache_folder, require_trusted
from causalign.lm.completions import tokenize
from causalign.lm.language_model import LanguageModel
from causalign.lm.logprob import completion_logprobs
from causalign.lm.progress import silence_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END = "<|end|>"
# A piece must be seen so often, on average, before anything can be learned of where it stands.
_SEEN_A_PIECE = 20


@dataclass(frozen=True, slots=True)
class SmallModel:
    """The shape of a small language model: a Llama of two to six million weights.

    Parameters
    ----------
    vocabulary : int
        Pieces of the byte-pair tokenizer, the 256 bytes and the end of a text among them.
    width : int
        Of the states between layers, a multiple of ``heads``.
    layers, heads : int
        Layers of the network and heads of attention in each.
    window : int
        Tokens that it reads at most.
    seed : int
        Of the new weights.

    Raises
    ------
    SettingsError
        When a number is out of range.

    References
    ----------
    Sennrich et al. (2016), arXiv 1508.07909 (byte pairs); Touvron et al. (2023), arXiv 2302.13971
    (the network); Eldan and Li (2023), arXiv 2305.07759 (how little a narrow language needs).
    """

    vocabulary: int = 2048
    width: int = 192
    layers: int = 4
    heads: int = 4
    window: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        if self.vocabulary < 300 or min(self.width, self.layers, self.heads) < 1 or self.window < 8:
            raise SettingsError(
                "A small model needs vocabulary >= 300, width, layers and heads >= 1 and window >= "
                f"8; found {asdict(self)}."
            )
        if self.width % (2 * self.heads):
            raise SettingsError(
                f"width must be a multiple of twice the heads; found {self.width} and {self.heads}."
            )

    def make(self, texts: Sequence[str], cache: str | Path | None = None) -> Path:
        """Return a folder with the tokenizer learned from texts, and weights that know nothing.

        It is kept in ``cache``, or the default cache folder, under the hash of texts and settings.

        Parameters
        ----------
        texts : n strings
            What the tokenizer is learned from.
        cache : path, optional
            Folder of caches.

        Returns
        -------
        Path
            What ``model=`` of any method and `load_language_model` take.

        Raises
        ------
        InputError
            For too few texts; the message says how many are needed.
        ArtifactError
            When the folder cannot be written.
        """
        parent = (default_cache_folder() if cache is None else Path(cache).expanduser()) / "models"
        target = parent / f"small-{fingerprint(self, hash_texts(texts))[:16]}-untrained"
        make_cache_folder(parent.parent)
        parent.mkdir(exist_ok=True)
        require_trusted(parent, target)
        if not target.exists():
            tokenizer = _learn_tokenizer(self, texts)
            with write_whole(target) as partial:
                partial.mkdir()
                _write(self, tokenizer, partial)
        return target


def hash_texts(texts: Sequence[str]) -> str:
    """Return a hash of texts in their order."""
    total = hashlib.sha256()
    for text in texts:
        total.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return total.hexdigest()


def bits_per_byte(
    language_model: LanguageModel, texts: Sequence[str], *, max_length: int = 256
) -> float:
    """Return ``−log₂ π(text) / bytes`` over all texts, whatever the tokenizer.

    Perplexities of a token cannot be compared between tokenizers; bits of a byte can. The end of
    a text counts as part of it. Of a text of more than ``max_length`` tokens the beginning is read.

    Parameters
    ----------
    language_model : LanguageModel
    texts : n strings
    max_length : int
        Tokens that are read of a text.

    Returns
    -------
    float
    """
    tokenizer = language_model.tokenizer
    room = min(max_length, language_model.window)
    read = tokenize(tokenizer, None, texts, max_length=room)
    decoded = tokenizer.batch_decode(
        [list(ids) for ids in read.completions],
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in decoded)
    return float(-completion_logprobs(language_model, read).sum() / (np.log(2) * size))


def _learn_tokenizer(settings: SmallModel, texts: Sequence[str]) -> "PreTrainedTokenizerFast":
    with needs_extra("A small language model"):
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        from transformers import PreTrainedTokenizerFast
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learned.decoder = decoders.ByteLevel()
    given = [text.encode("utf-8", "replace").decode() for text in texts]
    learned.train_from_iterator(
        given,
        trainers.BpeTrainer(
            vocab_size=settings.vocabulary,
            min_frequency=2,
            special_tokens=[END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokens = sum(len(encoded.ids) for encoded in learned.encode_batch(given))
    needed = _SEEN_A_PIECE * settings.vocabulary
    if tokens < needed:
        each = max(1, tokens) / max(1, len(given))
        raise InputError(
            f"A tokenizer of {settings.vocabulary:,} pieces needs {needed:,} tokens of text, which "
            f"are some {int(np.ceil(needed / each)):,} texts like these; found {len(given):,} "
            f"texts of {tokens:,} tokens. Give more texts, set a smaller vocabulary, or tune a "
            "model that was trained elsewhere."
        )
    wrap: Callable[..., PreTrainedTokenizerFast] = PreTrainedTokenizerFast
    return wrap(tokenizer_object=learned, eos_token=END, model_max_length=settings.window)


def _write(settings: SmallModel, tokenizer: "PreTrainedTokenizerFast", folder: Path) -> None:
    import torch
    from safetensors import SafetensorError
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        intermediate_size=8 * settings.width // 3,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        max_position_embeddings=settings.window,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(), silence_transformers():
        torch.manual_seed(settings.seed)
        try:
            LlamaForCausalLM(config).save_pretrained(str(folder))
            tokenizer.save_pretrained(str(folder))
        except (OSError, RuntimeError, SafetensorError) as failure:
            raise ArtifactError(
                f"A small model cannot be written to {folder.parent}: {failure}. Free some space, "
                "or set CAUSALIGN_CACHE to another folder."
            ) from failure
