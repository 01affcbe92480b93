"""Tiny models and tokenizers in folders, for tests of what is read from a folder."""

import shutil
from pathlib import Path

import numpy as np

_LINE = "the a mug mugs free sale today only new our with returns happy monday rain sun buy now "
_LINE += "great price shop mail text long short red blue green one two three four five six"
WORDS = _LINE.split()
SIGNS = ("<s>", "<pad>", "</s>", "<unk>")


def byte_pairs(signs=SIGNS, *, bos="<s>", eos="</s>", pad="<pad>", ends=False, extra=(), **more):
    """Return a byte-level tokenizer, from which any text comes back; ``ends`` closes each text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[*signs, *extra],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([" ".join(WORDS)] * 20, trainer)
    made.post_processor = processors.TemplateProcessing(
        single=f"{bos}:0 $A:0" + f" {eos}:0" * ends,
        special_tokens=[(token, made.token_to_id(token)) for token in {bos, eos}],
    )
    signs = {"bos_token": bos, "eos_token": eos, "pad_token": pad, **more}
    return PreTrainedTokenizerFast(tokenizer_object=made, **signs)


def widen(model, factor=4.0):
    """Make random weights larger, so that positions and contexts matter; return the model."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(factor)
    return model.eval()


def sizes(tokenizer, **more):
    """Return the settings that most configurations share."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 130,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **more,
    }


def llama(tokenizer, *, seed=0, tie=False, **more):
    """Return a small Llama with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(**sizes(tokenizer, tie_word_embeddings=tie, **more))
    return widen(LlamaForCausalLM(config))


def bert(tokenizer, *, seed=0, **more):
    """Return a small BERT with random weights."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    return widen(BertModel(BertConfig(**sizes(tokenizer, **more))))


def save(folder, model, tokenizer) -> Path:
    """Write a model and a tokenizer to a new folder; return it."""
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return Path(folder)


def logprob_alone(model, prompt, completion) -> float:
    """Return log p of a completion's ids by plain transformers, alone in its batch."""
    import torch

    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *completion]])).logits[0]
    after = logits[len(prompt) - 1 : -1].float().log_softmax(-1)
    return float(after[range(len(completion)), list(completion)].sum())


def last_state(model, ids) -> np.ndarray:
    """Return the state of the last token in the last layer, scaled to length one."""
    import torch

    with torch.no_grad():
        output = model(input_ids=torch.tensor([list(ids)]), output_hidden_states=True)
    state = output.hidden_states[-1][0, -1].float().numpy()
    return state / np.linalg.norm(state)
