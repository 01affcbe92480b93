"""Read how a folder of sentence-transformers turns states into a vector: modules and settings.

What it says is done as sentence-transformers does it, or refused in words; nothing is left out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causalign.errors import ArtifactError, SettingsError
from causalign.lm.encoder_name import Pooling
from causalign.lm.model_checks import check_finite, read_list, read_settings, read_settings_if_there

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Layer = Callable[["Tensor"], "Tensor"]
MODULES = "modules.json"
_SETTINGS = "config_sentence_transformers.json"
_POOLINGS: dict[str, Pooling] = {"mean": "mean", "lasttoken": "last"}
# The names of versions before 6, each a switch of its own.
_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# Settings of a Transformer module that change no vector, or that are read below.
_HARMLESS = {
    *("max_seq_length", "do_lower_case", "transformer_task", "modality_config"),
    *("module_output_name", "unpad_inputs", "query_length", "document_length", "query_expansion"),
}
_HARMLESS_ARGUMENTS = {
    *("add_pooling_layer", "attn_implementation", "dtype", "torch_dtype", "trust_remote_code"),
    *("use_cache", "padding_side", "use_fast", "model_max_length"),
}
_ARGUMENTS = (
    *("model_args", "tokenizer_args", "config_args"),
    *("model_kwargs", "processor_kwargs", "config_kwargs"),
)


@dataclass(frozen=True, slots=True)
class SentenceModules:
    """What stands between texts and vectors in a folder, beside the transformer.

    Parameters
    ----------
    folder : Path
        Where the transformer lies.
    pooling : {"mean", "last"}
    max_tokens : int, optional
        Where texts are cut, if the folder says so.
    before : str
        The default prompt, which is put before each text.
    lower_case : bool
        Whether texts are lowered before they are cut into tokens.
    layers : tuple of callables
        What the pooled states ``(n, d)`` go through.
    dimension : int, optional
        How many of the numbers are kept, from the first on (Matryoshka).
    """

    folder: Path
    pooling: Pooling = "mean"
    max_tokens: int | None = None
    before: str = ""
    lower_case: bool = False
    layers: tuple[Layer, ...] = ()
    dimension: int | None = None


def read_sentence_modules(folder: Path) -> SentenceModules | None:
    """Read the modules of a folder, or return None where it names none.

    Raises
    ------
    SettingsError
        For a module or a setting that is not supported.
    ArtifactError
        If a file is damaged or missing.
    """
    if (folder / MODULES).is_file():
        listed = read_list(folder / MODULES)
    elif (folder / "1_Pooling" / "config.json").is_file():
        listed = [{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]
        listed.insert(0, {"type": "sentence_transformers.models.Transformer", "path": ""})
    else:
        return None
    try:
        modules = [(_kind(folder, module), folder / str(module["path"])) for module in listed]
    except (KeyError, TypeError, AttributeError) as damage:
        raise ArtifactError(f"{folder / MODULES} cannot be read: {damage!r} is wrong.") from damage
    kinds = [kind for kind, _ in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or {"Transformer", "Pooling"} & set(kinds[2:]):
        raise SettingsError(
            f"The encoder in {folder} is made of {', '.join(kinds)}; one Transformer and one "
            "Pooling first are supported. Choose another encoder."
        )
    read = _read_transformer(modules[0][1], folder)
    pooling = _read_pooling(modules[1][1] / "config.json", folder)
    after = [(kind, place) for kind, place in modules[2:] if kind != "Dropout"]  # of training
    layers = tuple(_read_layer(kind, place, folder) for kind, place in after)
    return _read_settings(replace(read, pooling=pooling, layers=layers), folder, modules[1][1])


def _kind(folder: Path, module: Mapping[str, Any]) -> str:
    """Return the name of a module's class; refuse those of others, and paths that lead outside."""
    package, _, kind = str(module["type"]).rpartition(".")
    if not package.startswith("sentence_transformers."):
        raise SettingsError(
            f"The encoder in {folder} has a module of its own, {module['type']}, which is never "
            "executed. Choose another encoder."
        )
    if not (folder / str(module["path"])).resolve().is_relative_to(folder.resolve()):
        raise ArtifactError(f"{folder / MODULES} names the folder {module['path']!r} outside.")
    return kind


def _read_transformer(place: Path, folder: Path) -> SentenceModules:
    described = sorted(place.glob("sentence_*_config.json"))
    config = read_settings(described[0]) if described else {}
    for name in _ARGUMENTS:
        given = set(config.pop(name, None) or {}) - _HARMLESS_ARGUMENTS
        if given:
            raise _unsupported(folder, f"the settings {', '.join(sorted(given))} of {name}")
    other = sorted(key for key in set(config) - _HARMLESS if config[key])
    if config.get("transformer_task", "feature-extraction") != "feature-extraction":
        other.append("transformer_task")
    if other:
        raise _unsupported(folder, f"the setting {other[0]}")
    if "message" in (config.get("modality_config") or {}):
        raise _unsupported(folder, "texts that are put into its chat template (modality_config)")
    limit = config.get("max_seq_length")
    return SentenceModules(
        place, max_tokens=limit and int(limit), lower_case=bool(config.get("do_lower_case"))
    )


def _read_pooling(path: Path, folder: Path) -> Pooling:
    config = read_settings(path)
    asked = config.get("pooling_mode")
    if asked is None:
        asked = [mode for key, mode in _SWITCHES.items() if config.get(key)] or "mean"
    modes = [asked] if isinstance(asked, str) else [str(mode) for mode in asked]
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise SettingsError(
            f"The encoder in {folder} pools by {' and '.join(map(repr, modes))}; only the mean of "
            "the tokens and the last token are supported. Choose another encoder."
        )
    return _POOLINGS[modes[0]]


def _read_settings(read: SentenceModules, folder: Path, pooling: Path) -> SentenceModules:
    path = folder / _SETTINGS
    config = read_settings_if_there(path)
    if config.get("model_type", "SentenceTransformer") != "SentenceTransformer":
        raise SettingsError(
            f"The folder {folder} holds a {config['model_type']}, which gives no vector for a "
            "text. Choose an encoder of sentences."
        )
    name = config.get("default_prompt_name")
    prompts = config.get("prompts") or {}
    if name is not None and name not in prompts:
        raise ArtifactError(f"{path} names the prompt {name!r}, which is not among its prompts.")
    before = str(prompts[name] or "") if name is not None else ""
    if before and not read_settings(pooling / "config.json").get("include_prompt", True):
        raise _unsupported(folder, "a default prompt that the pooling leaves out")
    dimension = config.get("truncate_dim")
    return replace(read, before=before, dimension=dimension and int(dimension))


def _read_layer(kind: str, place: Path, folder: Path) -> Layer:
    """Return what a module after the pooling does to a vector."""
    import torch

    path = place / "config.json"
    config = read_settings_if_there(path)
    for side in ("module_input_name", "module_output_name"):
        if config.get(side) not in (None, "sentence_embedding"):
            raise _unsupported(folder, f"a {kind} of {config[side]}")
    if kind == "Normalize":
        return partial(torch.nn.functional.normalize, dim=-1)
    if kind == "LayerNorm":
        norm = torch.nn.LayerNorm(int(config["dimension"]))
        return _fill(norm, place, "norm.")
    if kind != "Dense" or config.get("use_residual"):
        how = " with a residual" if kind == "Dense" else ""
        raise _unsupported(folder, f"the module {kind}{how}")
    linear = torch.nn.Linear(
        int(config["in_features"]), int(config["out_features"]), bool(config.get("bias", True))
    )
    return torch.nn.Sequential(_fill(linear, place, "linear."), _activation(config, folder))


def _activation(config: Mapping[str, Any], folder: Path) -> "torch.nn.Module":
    import torch

    given = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    kind = getattr(torch.nn, given.rpartition(".")[2], None)
    if not given.startswith("torch.nn.modules.") or not isinstance(kind, type):
        raise _unsupported(folder, f"the activation {given}")
    try:
        made = kind()
    except TypeError:  # a layer, which needs to be told its sizes
        made = None
    if not isinstance(made, torch.nn.Module):
        raise _unsupported(folder, f"the activation {given}")
    return made


def _fill(layer: "torch.nn.Module", place: Path, prefix: str) -> "torch.nn.Module":
    """Give a layer the weights in a folder: all of them and no others."""
    from safetensors.torch import load_file

    path = place / "model.safetensors"
    if not path.is_file():
        raise ArtifactError(
            f"{place} holds no model.safetensors. Weights in other formats, which can run code, "
            "are not read: convert them where you trust them."
        )
    try:
        weights = {
            key.removeprefix(prefix): value.float() for key, value in load_file(path).items()
        }
        layer.load_state_dict(weights)
    except Exception as failure:  # safetensors raises errors of its own, torch RuntimeError
        raise ArtifactError(f"{path} does not fit its config.json: {failure}") from failure
    check_finite(weights, f"The layer in {place}")
    return layer.eval().requires_grad_(False)


def _unsupported(folder: Path, what: str) -> SettingsError:
    return SettingsError(
        f"The encoder in {folder} asks for {what}, which is not supported. Choose another encoder."
    )
