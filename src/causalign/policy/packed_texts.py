"""Token ids of texts as flat arrays, so that a checkpoint can hold them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causalign.lm.completions import Completions

__all__ = ["packed", "unpacked"]

Arrays = dict[str, NDArray[Any]]


def packed(completions: Completions, prefix: str) -> Arrays:
    """Return the texts as arrays named after ``prefix``; ids of different lengths follow."""
    parts = (completions.prompts, completions.completions)
    return {
        f"{prefix}_prompt_ids": np.array([t for ids in parts[0] for t in ids], dtype=np.int64),
        f"{prefix}_prompt_sizes": np.array([len(ids) for ids in parts[0]], dtype=np.int64),
        f"{prefix}_ids": np.array([t for ids in parts[1] for t in ids], dtype=np.int64),
        f"{prefix}_sizes": np.array([len(ids) for ids in parts[1]], dtype=np.int64),
        f"{prefix}_cut": completions.cut,
    }


def unpacked(state: Mapping[str, NDArray[Any]], prefix: str) -> Completions:
    """Return the texts that :func:`packed` made arrays of."""
    return Completions(
        _split(state[f"{prefix}_prompt_ids"], state[f"{prefix}_prompt_sizes"]),
        _split(state[f"{prefix}_ids"], state[f"{prefix}_sizes"]),
        state[f"{prefix}_cut"].astype(bool),
    )


def _split(ids: NDArray[Any], sizes: NDArray[Any]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(part.tolist()) for part in np.split(ids, np.cumsum(sizes)[:-1]))
