"""Load a causal language model and its tokenizer; put an adapter on it, or take one off."""

import hashlib
import inspect
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from causalign.errors import ArtifactError, ExtraNotInstalled, SettingsError, nearest
from causalign.lm.model_files import refuse_pickles, revision_of
from causalign.lm.quiet import quiet_transformers
from causalign.lm.smollm2 import smollm2_folder

__all__ = ["LanguageModel", "Lora", "load_language_model", "with_lora"]

Precision = Literal["float32", "bfloat16"]

PUBLIC_NAMES = {"smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"}
DESCRIPTION = "causalign.json"


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank adapters: each chosen matrix W becomes ``W + (alpha / rank) B A``.

    ``targets`` names the layers; without it they are peft's choice for the architecture (for Llama
    the query and value projections). Reference: Hu et al. (2021), arXiv 2106.09685; the defaults
    are those of arXiv 2402.14979.
    """

    rank: int = 8
    alpha: float = 32.0
    dropout: float = 0.1
    targets: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise SettingsError(
                "Lora needs rank >= 1, alpha > 0 and 0 <= dropout < 1; found "
                f"rank={self.rank}, alpha={self.alpha}, dropout={self.dropout}."
            )


@dataclass(frozen=True, slots=True, eq=False)
class LanguageModel:
    """Hold a causal language model and its tokenizer.

    ``name`` is what :func:`load_language_model` understands; ``revision`` changes whenever the
    weights or the tokenizer do. ``model`` is the network, of transformers or of peft.
    """

    name: str
    revision: str
    model: Any
    tokenizer: Any

    @property
    def window(self) -> int:
        """Return how many tokens the model reads at most."""
        return int(getattr(self.model.config, "max_position_embeddings", None) or 1 << 20)

    @property
    def has_adapter(self) -> bool:
        """Return whether the network carries a peft adapter."""
        return hasattr(self.model, "peft_config")

    @property
    def public_name(self) -> str:
        """Return the name under which others find the base model."""
        return PUBLIC_NAMES.get(self.name, self.name)

    @contextmanager
    def reference(self) -> Iterator["LanguageModel"]:
        """Yield the model as it was before its adapter; raise ``SettingsError`` without one."""
        if not self.has_adapter:
            raise SettingsError(
                "A model without an adapter does not remember what it was before training. Score "
                "the reference before training begins, or load it a second time."
            )
        with self.model.disable_adapter():
            yield self


def load_language_model(
    name: str | Path = "smollm2",
    *,
    precision: Precision = "float32",
    device: str | None = None,
    adapter: str | Path | None = None,
) -> LanguageModel:
    """Load a model by name (``'smollm2'``), from a local folder, or by its name on a hub.

    Weights must be safetensors; code that comes with a model is never executed. ``adapter`` is a
    folder that peft wrote for the same base model. ``device`` defaults to a GPU where there is
    one.

    Raises ``ExtraNotInstalled`` without the libraries, ``SettingsError`` for an unknown name or
    precision, ``ArtifactError`` if the model cannot be loaded or the adapter belongs to another.
    """
    if precision not in ("float32", "bfloat16"):
        raise SettingsError(f"precision must be 'float32' or 'bfloat16'; found {precision!r}.")
    source = _source(name)
    refuse_pickles(source)
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
    except ImportError as missing:
        raise ExtraNotInstalled(
            f"A language model needs {missing.name or 'torch'}, which is not installed: "
            "`pip install 'causalign[lm]'`."
        ) from missing
    local = {"local_files_only": True} if isinstance(source, Path) else {}
    with quiet_transformers():
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **local)
            model = AutoModelForCausalLM.from_pretrained(
                source,
                dtype=getattr(torch, precision),
                use_safetensors=True,
                trust_remote_code=False,
                **local,
            )
        except Exception as failure:  # the library raises anything from KeyError to ImportError
            raise ArtifactError(
                f"The language model {str(name)!r} cannot be loaded: {failure}"
            ) from failure
    # What a model's author prefers when sampling must not bend the distribution.
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    revision = revision_of(model, source)
    placed: Any = model  # the library's annotation of `to` forgets its arguments
    loaded = LanguageModel(str(name), revision, placed.to(chosen).eval(), tokenizer)
    return loaded if adapter is None else _with_adapter(loaded, Path(adapter))


def with_lora(language_model: LanguageModel, lora: Lora, *, seed: int) -> LanguageModel:
    """Return the model with a fresh adapter, which at first changes nothing (B = 0).

    The network is shared with the model that was given. The adapter's weights are float32, also
    on a bfloat16 base. Raises ``SettingsError`` when the model already carries an adapter or
    ``targets`` name no layer of it.
    """
    import torch

    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as missing:
        raise ExtraNotInstalled(
            "Adapters need peft, which is not installed: `pip install 'causalign[lm]'`."
        ) from missing
    if language_model.has_adapter:
        raise SettingsError("The model already carries an adapter; merge it first, or load anew.")
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=None if lora.targets is None else list(lora.targets),
    )
    with torch.random.fork_rng(), quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks for what transformers renamed
        torch.manual_seed(seed)
        try:
            model = get_peft_model(language_model.model, config)
        except ValueError as failure:
            raise SettingsError(
                f"The adapter does not fit this model: {failure} Name layers in Lora(targets=...)."
            ) from failure
    return replace(language_model, model=model)


def shares_prompts(model: Any) -> bool:
    """Return whether completions may stand side by side behind one prompt in a single row.

    That needs a mask of our own and positions of our own, which models with sliding windows, with
    recurrent layers, or with fused kernels do not take.
    """
    network = model.get_base_model() if hasattr(model, "peft_config") else model
    config = network.config
    plain = set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
    return (
        plain
        and getattr(config, "sliding_window", None) is None
        and getattr(config, "_attn_implementation", "") in ("sdpa", "eager")
        and "position_ids" in inspect.signature(network.forward).parameters
    )


def _source(name: str | Path) -> Path | str:
    if str(name) == "smollm2":
        return smollm2_folder()
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if isinstance(name, str) and name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return name
    raise SettingsError(
        f"There is no language model named {str(name)!r}, and no such folder; "
        f"{nearest(str(name), ['smollm2'])}"
    )


def _with_adapter(base: LanguageModel, folder: Path) -> LanguageModel:
    try:
        from peft import PeftModel
    except ImportError as missing:
        raise ExtraNotInstalled(
            "Adapters need peft, which is not installed: `pip install 'causalign[lm]'`."
        ) from missing
    if not (folder / "adapter_model.safetensors").is_file():
        raise ArtifactError(
            f"There is no adapter in {folder}: adapter_model.safetensors is missing."
        )
    described = folder / DESCRIPTION
    if described.is_file():
        try:
            fitted = json.loads(described.read_text(encoding="utf-8"))["base_revision"]
        except (OSError, ValueError, KeyError, TypeError) as damage:
            raise ArtifactError(f"{described} cannot be read: {damage}.") from damage
        if fitted != base.revision:
            raise ArtifactError(
                f"The adapter in {folder} was fitted to another base model (revision {fitted}) "
                f"than {base.name!r} (revision {base.revision}). Load the base that its README "
                "names."
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # as in with_lora
            model = PeftModel.from_pretrained(base.model, str(folder), is_trainable=False)
    except Exception as failure:  # peft raises RuntimeError, ValueError, KeyError and others
        raise ArtifactError(
            f"The adapter in {folder} does not fit the base model {base.name!r}: {failure}"
        ) from failure
    digest = hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()
    return replace(base, model=model.eval(), revision=f"{base.revision}+{digest[:16]}")
