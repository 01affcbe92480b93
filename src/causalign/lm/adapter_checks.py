"""Put an adapter on the model that it was trained for, whole, or say why it does not fit."""

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causalign.errors import ArtifactError, SettingsError, needs_extra
from causalign.files import hash_file
from causalign.lm.model_checks import check_finite, read_settings, shorten
from causalign.lm.model_files import DESCRIPTION, hash_model_folder

if TYPE_CHECKING:
    import torch

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."


def put_adapter_on(
    network: Any, tokenizer: Any, folder: Path, *, base: str, public_name: str, revision: str
) -> tuple[Any, str]:
    """Return the network with the adapter of a folder on it, and a hash of the adapter.

    Parameters
    ----------
    network, tokenizer
        Of the base model.
    folder : Path
        What peft wrote.
    base, public_name, revision : str
        How the base model was named, is named among others, and is told from others.

    Raises
    ------
    SettingsError
        For an adapter of another kind than LoRA.
    ArtifactError
        If the folder holds no adapter, one of another base model, or weights that do not all fit.
    """
    with needs_extra("An adapter"):
        from peft import PeftModel
        from safetensors.torch import load_file
    config = _read_config(folder)
    _check_base(config, folder, base, public_name, revision)
    _check_tokenizer(tokenizer, folder, base)
    try:
        stored = load_file(folder / _WEIGHTS)
        unchanged = _equal_to_base(network, stored)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what peft warns of is checked below
            model = PeftModel.from_pretrained(network, str(folder), is_trainable=False)
    except Exception as failure:  # peft raises RuntimeError, ValueError, KeyError and others
        raise ArtifactError(
            f"The adapter in {folder} does not fit the base model {base!r}: {_first_size(failure)}"
        ) from failure
    _check_weights(model, stored, unchanged, folder, base)
    total = hash_file(folder / _WEIGHTS) + hash_file(folder / _CONFIG)
    return model, hashlib.sha256(total.encode()).hexdigest()


def _read_config(folder: Path) -> Mapping[str, Any]:
    missing = [name for name in (_CONFIG, _WEIGHTS) if not (folder / name).is_file()]
    if missing:
        hint = ""
        if (folder / "config.json").is_file():
            hint = " It holds a whole model: name that as the model."
        elif (folder / "adapter_model.bin").is_file():
            hint = " Weights in adapter_model.bin can run code: save them as safetensors."
        raise ArtifactError(f"There is no adapter in {folder}: {missing[0]} is missing.{hint}")
    config = read_settings(folder / _CONFIG)
    if config.get("peft_type") != "LORA":
        raise SettingsError(
            f"The adapter in {folder} is of the kind {config.get('peft_type')}; LoRA is supported. "
            "Merge it into its model and name that as the model."
        )
    return config


def _check_base(
    config: Mapping[str, Any], folder: Path, base: str, public_name: str, revision: str
) -> None:
    """Raise ``ArtifactError`` if the adapter is known to have been trained on another model."""
    described = folder / DESCRIPTION
    if described.is_file():
        fitted = read_settings(described).get("base_revision")
        if fitted != revision:
            raise ArtifactError(
                f"The adapter in {folder} was fitted to another base model (revision {fitted}) "
                f"than {base!r} (revision {revision}). Load the base that its README names."
            )
        return
    named = str(config.get("base_model_name_or_path") or "")
    same = {base, public_name, str(Path(base).expanduser().resolve())}
    if not named or named in same or str(Path(named).expanduser().resolve()) in same:
        return
    if Path(named).is_dir():
        other = hash_model_folder(Path(named)) != revision
    else:  # where either is a folder that is not here, names tell nothing
        other = _is_public(named) and _is_public(public_name)
    if other:
        raise ArtifactError(
            f"The adapter in {folder} was trained on {named!r}, another base model than {base!r}. "
            f"Load that one; if their weights are the same, name {base!r} in {_CONFIG}."
        )


def _is_public(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and not Path(name).is_dir()


def _check_tokenizer(tokenizer: Any, folder: Path, base: str) -> None:
    """Raise ``ArtifactError`` if a tokenizer beside the adapter cuts texts in another way."""
    if not (folder / "tokenizer.json").is_file():
        return
    from transformers import AutoTokenizer

    try:
        beside = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as failure:  # transformers raises anything from KeyError to OSError
        raise ArtifactError(
            f"The tokenizer in {folder} cannot be read: {shorten(failure)}"
        ) from failure
    if beside.get_vocab() != tokenizer.get_vocab():
        raise ArtifactError(
            f"The adapter in {folder} comes with another tokenizer than {base!r} has: it was "
            "trained on other tokens. Load the base model that has this tokenizer."
        )


def _equal_to_base(network: Any, stored: "Mapping[str, torch.Tensor]") -> set[str]:
    """Return the weights beside the adapter that only repeat those of the base model."""
    import torch

    known = network.state_dict()
    same = set()
    for key, values in stored.items():
        mine = known.get(key.removeprefix(_PREFIX).replace(".base_layer", ""))
        if mine is not None and torch.equal(mine.cpu(), values.to(mine.dtype)):
            same.add(key)
    return same


def _check_weights(
    model: Any,
    stored: "Mapping[str, torch.Tensor]",
    unchanged: set[str],
    folder: Path,
    base: str,
) -> None:
    """Raise ``ArtifactError`` unless each weight in the file has its place, and each place one."""
    from peft import get_peft_model_state_dict

    places = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    unplaced = sorted(set(stored) - places - unchanged)
    empty = sorted(places - set(stored))
    if unplaced or empty:
        what = (
            f"{len(unplaced)} of its {len(stored)} weights have no place in it, {unplaced[0]} first"
            if unplaced
            else f"{len(empty)} of {len(places)} weights are missing, {empty[0]} first"
        )
        raise ArtifactError(
            f"The adapter in {folder} does not fit the base model {base!r}: {what}. Load the base "
            "model that it was trained on, with the class that it was trained with."
        )
    check_finite(stored, f"The adapter in {folder}")


def _first_size(failure: BaseException) -> str:
    """Return what a library says of the first weight that does not fit."""
    lines = [line.strip() for line in str(failure).splitlines()]
    sizes = [line for line in lines if line.startswith("size mismatch")]
    return shorten(ValueError(sizes[0])) if sizes else shorten(failure)
