"""Load a causal language model and its tokenizer; add an adapter, and write it."""

import inspect
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast
from weakref import WeakKeyDictionary

from causalign.errors import SettingsError, nearest, needs_extra
from causalign.lm.adapter_checks import put_adapter_on
from causalign.lm.encoder_name import Precision, check_precision
from causalign.lm.model_checks import (
    first_states,
    looks_ahead,
    position_limit,
    read_settings_if_there,
)
from causalign.lm.model_files import (
    choose_device,
    fetch_from_hub,
    hash_model_folder,
    load_pretrained,
)
from causalign.lm.plain_text import read_ends
from causalign.lm.progress import silence_transformers
from causalign.lm.smollm2 import gguf_file, smollm2_folder

if TYPE_CHECKING:
    import torch
    from torch.utils.hooks import RemovableHandle

PUBLIC_NAMES = {"smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"}
_SHARING: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()  # what was measured of a network


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
    generation : mapping, optional
        How the model's author writes with it, its ``generation_config.json``: it goes with the
        weights where they are written, and never bends what is sampled here.
    """

    name: str
    revision: str
    model: Any
    tokenizer: Any
    generation: Mapping[str, object] | None = None

    def __repr__(self) -> str:
        adapter = ", with an adapter" if self.has_adapter else ""
        return f"LanguageModel({self.name!r}{adapter})"

    @property
    def window(self) -> int:
        """How many tokens the model reads at most."""
        return position_limit(self.model) or 1 << 20

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

    Weights must be safetensors, and all of the model's; code that comes with a model is never
    executed. A chat template that asks the clock names one day instead.

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
        For an unknown name or precision, or a model that reads in both directions.
    ArtifactError
        If the model cannot be loaded, its folder does not fill it, or the adapter does not fit.
    """
    check_precision(precision)
    what = f"The language model {str(name)!r}"
    folder = _source(name, what)
    tokenizer, model = load_pretrained(
        folder, "AutoModelForCausalLM", precision=precision, what=what
    )
    from transformers import GenerationConfig

    generation = read_settings_if_there(folder / "generation_config.json") or None
    # What a model's author prefers when sampling must not bend the distribution.
    settings: Callable[..., GenerationConfig] = GenerationConfig
    ends = read_ends(getattr(model.generation_config, "eos_token_id", None), tokenizer)
    model.generation_config = settings(
        eos_token_id=ends[0] if len(ends) == 1 else list(ends) or None
    )
    placed = model.to(choose_device(device)).eval()
    if looks_ahead(first_states(placed, what)):
        raise SettingsError(
            f"{what} reads texts in both directions ({type(model).__name__}), so a text has no "
            "probability under it. Choose a causal language model."
        )
    loaded = LanguageModel(str(name), hash_model_folder(folder), placed, tokenizer, generation)
    if adapter is None:
        return loaded
    adapted, added = put_adapter_on(
        placed,
        tokenizer,
        Path(adapter).expanduser(),
        base=loaded.name,
        public_name=loaded.public_name,
        revision=loaded.revision,
    )
    return replace(loaded, model=adapted.eval(), revision=f"{loaded.revision}+{added[:16]}")


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

    That needs a mask of our own and positions of our own. Models with windows of attention, with
    recurrent layers or with fused kernels do not take them; whether others take them as they are
    meant is measured once for each network: some count positions from elsewhere.
    """
    network = model.get_base_model() if hasattr(model, "peft_config") else model
    config = network.config
    kinds = {
        *(getattr(config, "layer_types", None) or ()),
        *getattr(config, "attention_layers", ()),
    }
    windows = ("sliding_window", "attention_window", "local_attention")
    if (
        kinds - {"full_attention", "global"}
        or any(getattr(config, name, None) is not None for name in windows)
        or getattr(config, "_attn_implementation", "") not in ("sdpa", "eager")
        or not takes_positions(model)
    ):
        return False
    if network not in _SHARING:
        _SHARING[network] = _reads_shared_rows(network)
    return _SHARING[network]


def _reads_shared_rows(network: Any) -> bool:
    """Return whether ``a b | c d | e f`` in one row gives e and f the states of ``a b e f``."""
    import torch

    ids = torch.arange(6) + min(8, network.config.vocab_size - 6)
    seen = torch.ones(6, 6, dtype=torch.bool).tril()
    seen[4:, 2:4] = False
    mask = torch.zeros(6, 6, dtype=network.dtype)
    mask = mask.masked_fill(~seen, torch.finfo(network.dtype).min)[None, None]
    positions = torch.tensor([[0, 1, 2, 3, 2, 3]])
    shared = {"input_ids": ids[None], "position_ids": positions, "attention_mask": mask}
    try:
        with suspend_training(network):
            alone = network(input_ids=ids[None, [0, 1, 4, 5]].to(network.device)).logits[0, 2:]
            shared = {name: value.to(network.device) for name, value in shared.items()}
            beside = network(**shared, use_cache=False).logits[0, 4:]
    except Exception:  # a network that does not take such a mask raises anything
        return False
    rounding = 1e-3 if network.dtype == torch.float32 else 0.1
    apart = (alone - beside).float().abs().max()
    return bool(apart <= rounding * alone.float().abs().max())


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


def check_model_name(name: str | Path) -> None:
    """Raise what can be known before a model is loaded: `SettingsError`, `ExtraNotInstalled`."""
    if str(name) == "smollm2":
        gguf_file()
    elif not Path(name).expanduser().is_dir() and not _is_on_hub(name):
        raise SettingsError(
            f"There is no language model named {str(name)!r}, and no such folder; "
            f"{nearest(str(name), ['smollm2'])}"
        )


def _is_on_hub(name: str | Path) -> bool:
    """Return whether a name has the form of one on a hub."""
    return isinstance(name, str) and name.count("/") == 1 and not name.startswith((".", "/", "~"))


def _source(name: str | Path, what: str) -> Path:
    check_model_name(name)
    if str(name) == "smollm2":
        return smollm2_folder()
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else fetch_from_hub(str(name), what)
