"""Refuse, before anything is computed, a model that is not whole or not of a kind that is read.

A library for networks fills weights that it does not find with random numbers, leaves out those
that it has no place for, and says so in a log. Here each is an error of one or two sentences.
"""

import json
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from causalign.errors import ArtifactError, SettingsError

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_OTHER_FORMATS = ("*.gguf", "*.onnx", "onnx/*.onnx", "*.h5", "*.msgpack", "*.tflite", "*.ot")
_VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model", "*.tiktoken", "merges.txt")
_BYTES_AS_TOKENS = ("ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer", "MyT5Tokenizer")
_NUMBERS = ("F64", "F32", "F16", "BF16")
_OTHER_SENSES = ("vision_config", "audio_config", "image_config", "speech_config")
# Masks and tables of positions that older versions of transformers wrote beside the weights.
_BUFFERS = re.compile(
    r"(\.inv_freq|\.masked_bias|\.(attn|attention)\.bias|position_ids|token_type_ids"
    r"|\.(cos|sin)_cached)$"
)
_CALL_OF_CLOCK = re.compile(r"""strftime_now\(\s*(["'])((?:(?!\1).)*)\1\s*\)""")
# The day that the templates of Llama 3 name when they cannot ask the clock.
_DAY = date(2024, 7, 26)


def shorten(failure: object, limit: int = 240) -> str:
    """Return the first sentence of a library's message, ended by a full stop."""
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    text = (lines or [type(failure).__name__])[0][:limit].rstrip(" .:,;")
    return f"{text}."


def check_model_folder(folder: Path, what: str) -> None:
    """Raise ``ArtifactError`` unless the folder holds a model in files that are safe to read."""
    if (folder / "adapter_config.json").is_file():
        base = read_settings(folder / "adapter_config.json").get("base_model_name_or_path")
        raise ArtifactError(
            f"{what} cannot be loaded: {folder} holds an adapter, not a model. Name its base model "
            f"({base!r}) as the model and this folder as the adapter, or merge the two and save "
            "the whole model."
        )
    if not (folder / "config.json").is_file():
        _refuse_format(folder, what)
        raise ArtifactError(f"{what} cannot be loaded: {folder} holds no config.json.")
    config = read_settings(folder / "config.json")
    named = {**(read_settings_if_there(folder / "tokenizer_config.json")), **config}.get("auto_map")
    if named:
        raise ArtifactError(
            f"{what} cannot be loaded: {folder} names program code of its own (auto_map), which is "
            "never executed, and without which the numbers may be others. Choose a model that "
            "transformers itself knows; where it knows this one as well, delete auto_map."
        )
    if config.get("quantization_config"):
        raise ArtifactError(
            f"{what} cannot be loaded: the weights in {folder} are quantised. Use the folder of "
            "the model before it was quantised."
        )
    if not any((folder / name).is_file() for name in _WEIGHTS):
        _refuse_format(folder, what)
        raise ArtifactError(f"{what} cannot be loaded: {folder} holds no model.safetensors.")
    by_bytes = read_settings_if_there(folder / "tokenizer_config.json").get("tokenizer_class")
    if by_bytes not in _BYTES_AS_TOKENS and not any(
        path.is_file() for pattern in _VOCABULARIES for path in folder.glob(pattern)
    ):
        raise ArtifactError(
            f"{what} cannot be loaded: {folder} holds no tokenizer. Save the tokenizer that the "
            "model was trained with into the same folder."
        )


def _refuse_format(folder: Path, what: str) -> None:
    pickled = sorted({p.name for pattern in _PICKLED for p in folder.glob(pattern)})
    if pickled:
        raise ArtifactError(
            f"The folder {folder} holds its weights only as {', '.join(pickled[:4])}, a format "
            "that can run code when it is read. Convert them to safetensors where you trust them."
        )
    others = sorted({p.name for pattern in _OTHER_FORMATS for p in folder.glob(pattern)})
    if others:
        raise ArtifactError(
            f"{what} cannot be loaded: {folder} holds its weights only as {', '.join(others[:4])}, "
            "which is not read. Use the folder with its safetensors."
        )


def check_config(config: "PretrainedConfig", what: str) -> None:
    """Raise ``SettingsError`` for a model that reads more than one text and writes no vector."""
    if getattr(config, "is_encoder_decoder", False):
        raise SettingsError(
            f"{what} has an encoder and a decoder, which is not supported. Choose one that reads "
            "texts only, such as 'minilm', or a causal language model."
        )
    if any(getattr(config, name, None) is not None for name in _OTHER_SENSES):
        raise SettingsError(
            f"{what} reads images or sound beside texts, which is not supported. Choose a model "
            "of texts alone."
        )


def check_weights(model: Any, loading: Mapping[str, Any], what: str, *, needs_head: bool) -> None:
    """Raise ``ArtifactError`` unless the weights in the folder are those of the network.

    ``loading`` is what transformers tells of loading. Without ``needs_head``, for vectors, the
    layers of a known head may be left over, and a pooler, which nothing reads, may be missing.
    """
    kinds = " and ".join(model.config.architectures or ["an unknown kind of model"])
    read = f"(it keeps {kinds}, read as {type(model).__name__})"
    missing = sorted(loading["missing_keys"])
    if not needs_head:
        missing = [key for key in missing if not key.startswith("pooler.")]
    if missing:
        raise ArtifactError(
            f"{what} is not whole {read}: {_some(missing)} not in its file would be filled with "
            "random numbers. Use a folder that holds all weights of a model of this kind."
        )
    if mismatched := sorted(loading["mismatched_keys"]):
        _, stored, needed = mismatched[0]
        raise ArtifactError(
            f"{what} is not whole {read}: {_some([key for key, *_ in mismatched])} of another "
            f"shape than config.json says ({tuple(stored)}, not {tuple(needed)}). Use the "
            "config.json that was saved with the weights."
        )
    unknown = [key for key in sorted(loading["unexpected_keys"]) if not _BUFFERS.search(key)]
    if not needs_head and _is_known_head(model, unknown):
        unknown = []
    if unknown:
        raise ArtifactError(
            f"{what} would not be what its folder holds {read}: {_some(unknown)} would be left "
            "out. Use a folder of the kind that is read, or save the part that you want alone."
        )
    if loading["error_msgs"]:
        raise ArtifactError(f"{what} cannot be loaded: {shorten(loading['error_msgs'][0])}")
    check_finite(dict(model.named_parameters()), what)


def check_stored_types(folder: Path, what: str) -> None:
    """Raise ``ArtifactError`` where weights are stored as small integers, without their scales."""
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118  (it is no mapping)
                stored = file.get_slice(name)
                small = stored.get_dtype() not in _NUMBERS and len(stored.get_shape()) > 1
                if small and not _BUFFERS.search(name):
                    raise ArtifactError(
                        f"{what} cannot be loaded: {name} in {path} is quantised "
                        f"({stored.get_dtype()}). Use the folder of the model before that."
                    )


def check_finite(weights: Mapping[str, "torch.Tensor"], what: str) -> None:
    """Raise ``ArtifactError`` naming the first weights that hold a value that is not finite."""
    import torch

    for name, values in weights.items():
        # A sum is one pass without a copy; it is finite unless a value is not, or all are huge.
        if values.is_floating_point() and not torch.isfinite(values.detach().sum()):
            bad = int((~torch.isfinite(values)).sum())
            if bad:
                raise ArtifactError(
                    f"{what} holds {bad:,} values that are not finite in {name}. Its training "
                    "diverged or the file is damaged: use an earlier checkpoint or another copy."
                )


def count_embeddings(model: Any) -> int | None:
    """Return how many tokens have an embedding; None for a model without a table of them."""
    try:
        return int(model.get_input_embeddings().weight.shape[0])
    except (NotImplementedError, AttributeError):
        return None


def check_tokenizer(tokenizer: "PreTrainedTokenizerBase", rows: int | None, what: str) -> None:
    """Raise ``ArtifactError`` unless each token has a row of the embeddings, and most rows one."""
    if rows is None:
        return
    ids = [*tokenizer.get_vocab().values(), *tokenizer("a b")["input_ids"]]
    highest = max(ids, default=-1)
    if highest >= rows:
        raise ArtifactError(
            f"{what} cannot be used: its tokenizer gives ids up to {highest:,}, its "
            f"embeddings have {rows:,} rows. Save the tokenizer that the model was trained with, "
            "or resize the embeddings and train them."
        )
    if 2 * (highest + 1) < rows:
        raise ArtifactError(
            f"{what} cannot be used: its tokenizer knows {highest + 1:,} tokens, its "
            f"embeddings have {rows:,} rows: it belongs to another model. Save the tokenizer that "
            "the model was trained with."
        )


def fix_clock(tokenizer: "PreTrainedTokenizerBase", what: str) -> None:
    """Let a chat template that asks the clock name one day, so that a text keeps its tokens.

    Raises ``SettingsError`` where the template asks in a way that cannot be replaced.
    """
    templates = tokenizer.chat_template
    if not templates:
        return
    if isinstance(templates, Mapping):
        fixed = {name: _fix_day(text, what) for name, text in templates.items()}
        tokenizer.chat_template = fixed
    else:
        tokenizer.chat_template = _fix_day(templates, what)


def _fix_day(template: str, what: str) -> str:
    fixed = _CALL_OF_CLOCK.sub(lambda call: json.dumps(_DAY.strftime(call[2])), template)
    if re.search(r"strftime_now\s*\(", fixed) or re.search(r"\|\s*random\b", fixed):
        raise SettingsError(
            f"The chat template of {what[0].lower()}{what[1:]} reads the clock or draws at random, "
            "so the same text would have other tokens tomorrow. Write a fixed date into it."
        )
    return fixed


def first_states(model: Any, what: str) -> "torch.Tensor":
    """Return the states ``(2, d)`` of the first token of two texts that differ behind it alone.

    They are the logits of a model that predicts words. Raises ``SettingsError`` if the model gives
    no state for each token, ``ArtifactError`` if it fails on a text.
    """
    import torch

    rows = int(getattr(model.config, "vocab_size", None) or 256)
    width = min(8, position_limit(model) or 8)
    low = min(8, rows // 2)  # the first ids are often signs for padding
    ids = (torch.arange(low, low + 2 * width) % rows).reshape(2, width)
    ids[1, 0] = ids[0, 0]
    try:
        with torch.inference_mode():
            output = model(input_ids=ids.to(model.device))
    except Exception as failure:  # a network raises anything from IndexError to RuntimeError
        raise ArtifactError(f"{what} fails on a text: {shorten(failure)}") from failure
    states = getattr(output, "logits", None)
    states = getattr(output, "last_hidden_state", states)
    if states is None or states.dim() != 3 or states.shape[1] != width:
        raise SettingsError(
            f"{what} gives no state for each token of a text ({type(model).__name__}), which is "
            "not supported. Choose another model."
        )
    first: torch.Tensor = states[:, 0]
    return first


def looks_ahead(states: "torch.Tensor") -> bool:
    """Return whether :func:`first_states` differ: the model reads texts in both directions.

    That is measured, not looked up: masked models, models with a prefix, and causal ones that were
    told to read in both directions are found by it.
    """
    import torch

    first, second = states.float()
    # A causal model gives the same bits, unless the tokens of an expert are multiplied in another
    # order; one that looks ahead differs far more, even before it has learned anything.
    rounding = 1e-5 if states.dtype == torch.float32 else 5e-3
    return float((first - second).abs().max()) > float(first.abs().max()) * rounding


def position_limit(model: Any) -> int | None:
    """Return how many tokens have a position, or None where positions have no end.

    Models of the RoBERTa kind count positions from the one of padding, so that some rows of their
    table can never be used.
    """
    stated = getattr(model.config, "max_position_embeddings", None)
    limits = [int(stated)] if stated and stated > 0 else []
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            limits.append(int(module.weight.shape[0]) - int(padding) - 1)
    return min(limits, default=None)


def _is_known_head(model: Any, keys: list[str]) -> bool:
    """Return whether left-over weights are all of the head that the folder says it has."""
    import transformers

    if not any(hasattr(transformers, name) for name in model.config.architectures or ()):
        return False
    prefix = f"{model.base_model_prefix}."
    body = {name for name, _ in model.named_children()}
    return not any(key.removeprefix(prefix).split(".")[0] in body for key in keys)


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - 1} more weights" if len(keys) > 1 else ""
    return f"{keys[0]}{more}"


def read_settings(path: Path) -> dict[str, Any]:
    """Return the settings in a JSON file; raise ``ArtifactError`` if it is damaged."""
    return cast(dict[str, Any], _read_json(path, dict, "holds no settings"))


def read_list(path: Path) -> list[dict[str, Any]]:
    """Return the list in a JSON file; raise ``ArtifactError`` if it is damaged."""
    return cast(list[dict[str, Any]], _read_json(path, list, "lists nothing"))


def _read_json(path: Path, kind: type, otherwise: str) -> object:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as damage:
        raise ArtifactError(f"{path} cannot be read: {damage}. Copy the folder again.") from damage
    if not isinstance(content, kind):
        raise ArtifactError(f"{path} cannot be read: it {otherwise}. Copy the folder again.")
    return content


def read_settings_if_there(path: Path) -> dict[str, Any]:
    """Return the settings in a JSON file, none if there is no such file."""
    return read_settings(path) if path.is_file() else {}
