"""Cut rows into folds for cross-fitting, never splitting a group."""

from heapq import heapreplace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError, SettingsError


def group_folds(groups: int | ArrayLike, folds: int = 5, seed: int = 0) -> NDArray[np.int64]:
    """Return the fold of each row, ``0 ... folds - 1``, with every group inside one fold.

    ``groups`` is the number of rows (each row its own group) or the group of each row, ``(n,)``.
    Groups are dealt from the largest to the smallest, each to the fold that holds the fewest rows;
    groups of equal size are dealt in an order drawn from ``seed``. The same input and seed give
    the same folds. Without group structure, fold sizes differ by at most one row.

    Raises ``SettingsError`` when there are fewer than two folds, ``InputError`` when there are
    fewer groups than folds.
    """
    if folds < 2:
        raise SettingsError(f"Cross-validation needs at least 2 folds; folds={folds} was given.")
    labels = np.arange(groups) if isinstance(groups, int | np.integer) else np.asarray(groups)
    if labels.ndim != 1:
        raise InputError(f"groups must hold one label for each row; its shape is {labels.shape}.")
    member, count = _number(labels)
    if count < folds:
        raise InputError(
            f"{folds} folds need at least {folds} groups; there are {count}. "
            "Ask for fewer folds, or name a finer group."
        )
    sizes = np.bincount(member, minlength=count)
    shuffled = np.random.default_rng(seed).permutation(count)
    dealt = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    fold_of_group = np.empty(count, dtype=np.int64)
    held = [(0, fold) for fold in range(folds)]  # the lightest first
    lightest = []
    for size in sizes[dealt].tolist():
        rows, fold = held[0]
        lightest.append(fold)
        heapreplace(held, (rows + size, fold))
    fold_of_group[dealt] = lightest
    return fold_of_group[member]


def check_folds(folds: ArrayLike, rows: int) -> NDArray[np.int64]:
    """Return the folds as integers ``0 ... k - 1``; raise ``InputError`` if they do not fit."""
    given = np.asarray(folds)
    if given.shape != (rows,):
        raise InputError(f"folds must have shape ({rows},); its shape is {given.shape}.")
    member, count = _number(given)
    if count < 2:
        raise InputError("All rows are in one fold; cross-validation needs at least two.")
    return member


def number_clusters(clusters: ArrayLike | None, rows: int) -> tuple[NDArray[np.int64], int]:
    """Return the number ``(n,)`` of each row's cluster, and how many there are; by row if None."""
    labels = np.arange(rows) if clusters is None else np.asarray(clusters)
    if labels.shape != (rows,):
        raise InputError(f"clusters must have shape ({rows},); its shape is {labels.shape}.")
    values, member = np.unique(labels, return_inverse=True)
    return member.astype(np.int64), len(values)


def _number(labels: NDArray[np.generic]) -> tuple[NDArray[np.int64], int]:
    """Number the distinct labels; return the number of each row's label and how many there are."""
    if labels.dtype == object:
        # Sorting fails where text and missing values are mixed; order of appearance never does.
        seen = {label: number for number, label in enumerate(dict.fromkeys(labels.tolist()))}
        return np.fromiter((seen[v] for v in labels.tolist()), np.int64, len(labels)), len(seen)
    values, member = np.unique(labels, return_inverse=True)
    return member.astype(np.int64), len(values)
