"""What every test shares: a private cache, a tiny encoder, the folder of real data."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.postgresql import PASSWORD, find_binaries, run_server


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


CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def tiny_lm_folder(tmp_path_factory) -> Path:
    """Write a randomly initialised one-layer Llama with a byte-level tokenizer and chat template.

    Any text survives encoding and decoding; 256 positions; eos and pad are ``<|im_end|>``.
    """
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    from causalign.simulate import Newsletter

    folder = tmp_path_factory.mktemp("tiny-lm")
    mails = Newsletter(rows=500, pairs=2).simulate().logs.completions
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*mails, "system user assistant"], trainer)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=64,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def finding():
    """Return a function that picks the finding with a code out of a result, or out of findings."""

    def pick(result, code: str):
        findings = getattr(result, "findings", result)
        matching = [one for one in findings if one.code == code]
        assert matching, f"no finding {code} among {[one.code for one in findings]}"
        return matching[0]

    return pick


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real data, or skip and say so."""
    folder = os.environ.get("CAUSALIGN_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("the environment variable CAUSALIGN_DATA names no folder of real data")
    return Path(folder)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Start a PostgreSQL server for all tests that ask for one; give its URI."""
    pytest.importorskip("adbc_driver_postgresql")
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed: scripts/install-postgresql")
    with (
        tempfile.TemporaryDirectory(prefix="causalign-postgresql-") as folder,
        run_server(binaries, Path(folder)) as place,
    ):
        yield f"postgresql://reader:{quote(PASSWORD, safe='')}@{place}"
