"""Log-probabilities under a model that does not change: computed once, kept on disk."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from causalign.files import write_whole
from causalign.lm.cache import default_cache_folder, make_cache_folder, require_trusted
from causalign.lm.completions import Completions
from causalign.lm.language_model import LanguageModel
from causalign.lm.logprob import completion_logprobs
from causalign.lm.processes import run_once


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
    folder = default_cache_folder() if cache is None else Path(cache).expanduser()
    path = folder / "logprobs" / f"{_key(language_model, completions)}.npy"
    logprobs = run_once(lambda: _load(path, len(completions)))
    if logprobs is None:
        logprobs = completion_logprobs(language_model, completions, progress=progress)
        run_once(lambda: _store(path, logprobs))
    return logprobs


def _key(language_model: LanguageModel, completions: Completions) -> str:
    digest = hashlib.sha256(f"1:{language_model.revision}:{language_model.model.dtype}".encode())
    for pair in zip(completions.prompts, completions.completions, strict=True):
        for ids in pair:
            digest.update(len(ids).to_bytes(4, "little") + np.array(ids, dtype="<i4").tobytes())
    return digest.hexdigest()[:32]


def _load(path: Path, size: int) -> NDArray[np.float64] | None:
    try:
        require_trusted(path.parents[1], path.parent, path)
        values: NDArray[np.float64] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None  # not there, damaged by a kill, or of a stranger: computed again
    return values if values.shape == (size,) and np.isfinite(values).all() else None


def _store(path: Path, values: NDArray[np.float64]) -> None:
    try:
        make_cache_folder(path.parents[1])
        with write_whole(path) as partial:
            np.save(partial, values, allow_pickle=False)
    except OSError:
        return  # the cache is a convenience; the values are returned in any case
