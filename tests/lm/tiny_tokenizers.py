"""Tokenizers and models of a few kilobytes, each with a trait of those that people use."""

from pathlib import Path

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    AddedToken,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizer,
    PreTrainedTokenizerFast,
)

WORDS = [
    "the",
    "a",
    "mug",
    "mugs",
    "free",
    "sale",
    "today",
    "only",
    "new",
    "our",
    "with",
    "returns",
    "happy",
    "monday",
    "rain",
    "sun",
    "buy",
    "now",
    "great",
    "price",
    "shop",
    "mail",
    "text",
    "long",
    "short",
    "red",
    "blue",
    "green",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
]

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA = (
    "<s>{% for m in messages %}<turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}"
)


def byte_level(
    specials=("<unk>", "<s>", "</s>"),
    *,
    bos="<s>",
    eos="</s>",
    pad=None,
    unk=None,
    add_bos=False,
    add_eos=False,
    chat_template=None,
) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on a few words: any text comes back from its tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 20, trainer)
    if add_bos or add_eos:
        edges = ([bos] if add_bos else []), ([eos] if add_eos else [])
        tokenizer.post_processor = processors.TemplateProcessing(
            single=" ".join([*(f"{t}:0" for t in edges[0]), "$A:0", *(f"{t}:0" for t in edges[1])]),
            special_tokens=[(t, tokenizer.token_to_id(t)) for t in (*edges[0], *edges[1])],
        )
    named = {"bos_token": bos, "eos_token": eos, "pad_token": pad, "unk_token": unk}
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        **{name: token for name, token in named.items() if token is not None},
    )
    if chat_template is not None:
        fast.chat_template = chat_template
    return fast


def sentence_pieces(chat_template=None) -> PreTrainedTokenizerFast:
    """A BPE over words that begin with ``▁``, one put before each text, bytes for other letters."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    letters = sorted({*"".join(WORDS), *"<>|_/[]{}INSTEMOR.,:;!?\n"})
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=letters,
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 20, trainer)
    # The bytes are pieces like others, no tokens that a text could name.
    import json

    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [t for t in state["added_tokens"] if not t["content"].startswith("<0x")]
    fast = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )
    if chat_template is not None:
        fast.chat_template = chat_template
    return fast


def lower_case() -> PreTrainedTokenizerFast:
    """Whole words, in small letters; all others are unknown."""
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<s>", "</s>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


class Letters(PreTrainedTokenizer):
    """A tokenizer written in Python: a token for each letter."""

    def __init__(self, **settings):
        self.letters = [chr(number) for number in range(32, 127)] + ["\n"]
        super().__init__(**settings)

    @property
    def vocab_size(self):
        return len(self.letters)

    def get_vocab(self):
        return {c: i for i, c in enumerate(self.letters)} | self.added_tokens_encoder

    def _tokenize(self, text, **_):
        return list(text)

    def _convert_token_to_id(self, token):
        return self.letters.index(token if token in self.letters else "?")

    def _convert_id_to_token(self, number):
        return self.letters[number]

    def convert_tokens_to_string(self, tokens):
        return "".join(tokens)


def letters(chat_template) -> Letters:
    tokenizer = Letters(bos_token="<s>", eos_token="<|im_end|>", unk_token=None)
    tokenizer.add_tokens(["<|im_start|>"], special_tokens=True)
    tokenizer.chat_template = chat_template
    return tokenizer


def add_plain_tokens(tokenizer: PreTrainedTokenizerFast, *names: str) -> PreTrainedTokenizerFast:
    """Add tokens that are not declared special, as some control tokens are not."""
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in names])
    return tokenizer


def llama(tokenizer, *, positions=256, seed=0, wide=5.0) -> LlamaForCausalLM:
    """A random model of two layers, with weights so large that contexts and positions matter."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=positions,
        tie_word_embeddings=False,
        **_ids(tokenizer),
    )
    return _widen(LlamaForCausalLM(config), wide)


def gpt2(tokenizer, *, positions=64, seed=0, wide=8.0) -> GPT2LMHeadModel:
    """A random model that learned one vector for each position."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=positions,
        **_ids(tokenizer),
    )
    return _widen(GPT2LMHeadModel(config), wide)


def save(folder: Path, model, tokenizer) -> str:
    """Write both into a folder, as people hand them over; return its path."""
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return str(folder)


def logprob_alone(model, prompt, completion) -> float:
    """Return the log-probability of a completion by plain transformers, alone in its batch."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *completion]])).logits[0].float()
    scores = logits.log_softmax(-1)
    return sum(float(scores[len(prompt) - 1 + i, t]) for i, t in enumerate(completion))


def _ids(tokenizer) -> dict:
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    return {name: getattr(tokenizer, name) for name in names}


def _widen(model, factor):
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(factor)
    return model.eval()
