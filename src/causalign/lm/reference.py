"""Log-probabilities under a model that does not change: computed once, kept on disk."""

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from causalign.lm.cache import default_cache_folder
from causalign.lm.completions import Completions
from causalign.lm.language_model import LanguageModel
from causalign.lm.processes import once

__all__ = ["reference_logprobs"]


def reference_logprobs(
    language_model: LanguageModel,
    completions: Completions,
    *,
    cache: str | Path | None = None,
    progress: bool = False,
) -> NDArray[np.float64]:
    """Return log-probabilities ``(n,)`` under the model as it is, from disk where known.

    The key holds the model's revision, its precision and every token, so another model, tokenizer
    or window is another entry. A folder that cannot be written costs the reuse and nothing else.
    """
    from causalign.lm.logprob import completion_logprobs

    folder = default_cache_folder() if cache is None else Path(cache).expanduser()
    path = folder / "logprobs" / f"{_key(language_model, completions)}.npy"
    known = once(lambda: _stored(path, len(completions)))
    if known is not None:
        return known
    found = completion_logprobs(language_model, completions, progress=progress)
    once(lambda: _store(path, found))
    return found


def _key(language_model: LanguageModel, completions: Completions) -> str:
    digest = hashlib.sha256(f"1:{language_model.revision}:{language_model.model.dtype}".encode())
    for pair in zip(completions.prompts, completions.completions, strict=True):
        for ids in pair:
            digest.update(len(ids).to_bytes(4, "little") + np.array(ids, dtype="<i4").tobytes())
    return digest.hexdigest()[:32]


def _stored(path: Path, size: int) -> NDArray[np.float64] | None:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None  # not there, or damaged by a kill: computed again
    return found if found.shape == (size,) and np.isfinite(found).all() else None


def _store(path: Path, values: NDArray[np.float64]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".partial")
        try:
            with os.fdopen(handle, "wb") as file:
                np.save(file, values, allow_pickle=False)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError:
        return  # the cache is a convenience; the values are returned in any case
