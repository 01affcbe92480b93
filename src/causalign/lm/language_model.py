"""Load a causal language model and its tokenizer; add an adapter, and write it."""

import inspect
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from causalign.errors import ArtifactError, SettingsError, nearest, needs_extra
from causalign.files import hash_file
from causalign.lm.encoder_name import Precision, check_precision
from causalign.lm.model_files import choose_device, load_pretrained, revision_of
from causalign.lm.plain_text import read_ends
from causalign.lm.progress import silence_transformers
from causalign.lm.smollm2 import smollm2_folder

if TYPE_CHECKING:
    import torch
    from torch.utils.hooks import RemovableHandle

PUBLIC_NAMES = {"smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"}
DESCRIPTION = "causalign.json"


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank adapters: each chosen matrix W becomes ``W + (alpha / rank) B A``.

    Parameters
    ----------
    rank : int
        Rows of A and columns of B.
    alpha : float
        Size of the change, before it is divided by the rank.
    dropout : float
        Share of inputs of A that are left out in training.
    targets : tuple of str, optional
        Names of layers; without them they are peft's choice for the architecture (for Llama the
        query and value projections).

    Raises
    ------
    SettingsError
        When a number is out of range.

    References
    ----------
    Hu et al. (2021), arXiv 2106.09685; the defaults are those of arXiv 2402.14979.
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


class CausalNetwork(Protocol):
    """What is asked of a causal network, of transformers or of peft, beside being called."""

    @property
    def dtype(self) -> "torch.dtype": ...  # noqa: D102
    def get_output_embeddings(self) -> "torch.nn.Linear": ...  # noqa: D102
    def register_forward_hook(self, hook: Callable[..., object]) -> "RemovableHandle": ...  # noqa: D102


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LanguageModel:
    """A causal language model and its tokenizer.

    Parameters
    ----------
    name : str
        What `load_language_model` understands.
    revision : str
        Changes whenever the weights or the tokenizer do.
    model
        The network, of transformers or of peft.
    tokenizer
        Of transformers.
    """

    name: str
    revision: str
    model: Any
    tokenizer: Any

    def __repr__(self) -> str:
        adapter = ", with an adapter" if self.has_adapter else ""
        return f"LanguageModel({self.name!r}{adapter})"

    @property
    def window(self) -> int:
        """How many tokens the model reads at most."""
        return int(getattr(self.model.config, "max_position_embeddings", None) or 1 << 20)

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens at which a text ends, those that the model's settings name."""
        return read_ends(self.model.generation_config.eos_token_id, self.tokenizer)

    def end_at(self, token: int) -> None:
        """Let texts end at this token too, here and wherever the whole model is written."""
        if token not in self.ends:
            self.model.generation_config.eos_token_id = [*self.ends, token]

    @property
    def has_adapter(self) -> bool:
        """Whether the network carries a peft adapter."""
        return hasattr(self.model, "peft_config")

    @property
    def public_name(self) -> str:
        """The name under which others find the base model."""
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

    Weights must be safetensors; code that comes with a model is never executed.

    Parameters
    ----------
    name : str or path
        ``smollm2``, a local folder, or ``owner/name`` on a hub.
    precision : {"float32", "bfloat16"}
        What the weights are kept in.
    device : str, optional
        By default a GPU where there is one.
    adapter : path, optional
        A folder that peft wrote for the same base model.

    Raises
    ------
    ExtraNotInstalled
        Without the libraries.
    SettingsError
        For an unknown name or precision.
    ArtifactError
        If the model cannot be loaded or the adapter belongs to another.
    """
    check_precision(precision)
    source = _source(name)
    what = f"The language model {str(name)!r}"
    tokenizer, model = load_pretrained(
        source, "AutoModelForCausalLM", precision=precision, what=what
    )
    from transformers import GenerationConfig

    # What a model's author prefers when sampling must not bend the distribution.
    settings: Callable[..., GenerationConfig] = GenerationConfig
    ends = read_ends(getattr(model.generation_config, "eos_token_id", None), tokenizer)
    model.generation_config = settings(
        eos_token_id=ends[0] if len(ends) == 1 else list(ends) or None
    )
    revision = revision_of(model, source)
    placed = model.to(choose_device(device)).eval()
    loaded = LanguageModel(str(name), revision, placed, tokenizer)
    return loaded if adapter is None else _with_adapter(loaded, Path(adapter))


def add_lora(language_model: LanguageModel, lora: Lora, *, seed: int) -> LanguageModel:
    """Add a fresh adapter, which at first changes nothing (B = 0), and return the model with it.

    The network is shared with the model that was given. The adapter's weights are float32, also
    on a bfloat16 base. Raises ``SettingsError`` when the model already carries an adapter or
    ``targets`` name no layer of it.
    """
    with needs_extra("An adapter"):
        import torch
        from peft import LoraConfig, get_peft_model
    if language_model.has_adapter:
        raise SettingsError("The model already carries an adapter; merge it first, or load anew.")
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=None if lora.targets is None else list(lora.targets),
    )
    with torch.random.fork_rng(), silence_transformers(), warnings.catch_warnings():
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
        and takes_positions(model)
    )


def takes_positions(model: Any) -> bool:
    """Return whether the network can be told where each token stands."""
    network = model.get_base_model() if hasattr(model, "peft_config") else model
    return "position_ids" in inspect.signature(network.forward).parameters


@contextmanager
def suspend_training(network: "torch.nn.Module") -> Iterator[None]:
    """Switch off dropout and gradients inside the block."""
    import torch

    training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(training)


def unwrap(model: "torch.nn.Module") -> CausalNetwork:
    """Return the network inside what libraries wrap around it for several processes."""
    inner: Any = model
    while hasattr(inner, "module"):
        inner = inner.module
    return cast(CausalNetwork, inner)


def write_adapter(
    language_model: LanguageModel,
    folder: Path,
    weights: Mapping[str, "torch.Tensor"] | None = None,
) -> None:
    """Write the adapter so that plain peft loads it, and nothing in it names this machine.

    ``weights`` are written instead of those in the network where it has been split.
    """
    other = {} if weights is None else {"state_dict": weights}
    with silence_transformers():
        language_model.model.save_pretrained(str(folder), save_embedding_layers=False, **other)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = language_model.public_name
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


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
    with needs_extra("An adapter"):
        from peft import PeftModel
    if not (folder / "adapter_model.safetensors").is_file():
        raise ArtifactError(
            f"There is no adapter in {folder}: adapter_model.safetensors is missing."
        )
    described = folder / DESCRIPTION
    if described.is_file():
        try:
            revision = json.loads(described.read_text(encoding="utf-8"))["base_revision"]
        except (OSError, ValueError, KeyError, TypeError) as damage:
            raise ArtifactError(f"{described} cannot be read: {damage}.") from damage
        if revision != base.revision:
            raise ArtifactError(
                f"The adapter in {folder} was fitted to another base model (revision {revision}) "
                f"than {base.name!r} (revision {base.revision}). Load the base that its README "
                "names."
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # as in add_lora
            model = PeftModel.from_pretrained(base.model, str(folder), is_trainable=False)
    except Exception as failure:  # peft raises RuntimeError, ValueError, KeyError and others
        raise ArtifactError(
            f"The adapter in {folder} does not fit the base model {base.name!r}: {failure}"
        ) from failure
    digest = hash_file(folder / "adapter_model.safetensors")
    return replace(base, model=model.eval(), revision=f"{base.revision}+{digest[:16]}")
