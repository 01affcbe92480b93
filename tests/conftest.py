"""What every test shares: a private cache, a tiny encoder, the folder of real data."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _private_cache(tmp_path_factory):
    """Keep the tests away from the user's cache; child processes inherit the place."""
    before = os.environ.get("CAUSALIGN_CACHE")
    os.environ["CAUSALIGN_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["CAUSALIGN_CACHE"]
    else:
        os.environ["CAUSALIGN_CACHE"] = before


@pytest.fixture(scope="session")
def tiny_encoder_folder(tmp_path_factory) -> Path:
    """Write a randomly initialised one-layer BERT that knows the newsletter's words."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    from causalign.simulate import Newsletter

    folder = tmp_path_factory.mktemp("tiny-encoder")
    mails = " ".join(Newsletter(rows=2000, pairs=2).simulate().logs.completions)
    split = pre_tokenizers.Whitespace().pre_tokenize_str(mails)
    words = ["[PAD]", "[UNK]", *sorted({word for word, _ in split})]
    tokenizer = Tokenizer(
        models.WordLevel(dict(zip(words, range(len(words)), strict=True)), "[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real data, or skip and say so."""
    folder = os.environ.get("CAUSALIGN_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("the environment variable CAUSALIGN_DATA names no folder of real data")
    return Path(folder)
