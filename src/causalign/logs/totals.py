"""Sums over the rows of logs, batch by batch: in this process, or on the workers of Ray."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from causalign.logs.scan import LogScan
from causalign.logs.table import Logs
from causalign.logs.workers import map_on_workers

T = TypeVar("T")
Work = Callable[[Logs], T]
Combine = Callable[[T, T], T]

# Batches are added up within a part, parts within a branch, and then the branches: whoever adds,
# in the same order, so that an engine changes no bit of a sum.
BRANCHES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Hold sums over rows, several arrays, which are added one by one.

    Parameters
    ----------
    arrays : tuple of arrays
    """

    arrays: tuple[NDArray[np.float64], ...]

    def __add__(self, other: "Sums") -> "Sums":
        """Return the sums over the rows of both."""
        return Sums(tuple(a + b for a, b in zip(self.arrays, other.arrays, strict=True)))


def total(
    logs: Logs | LogScan, work: Work[T], combine: Combine[T] = operator.add, *, texts: bool = True
) -> T:
    """Combine what a function makes of each batch of rows.

    Parameters
    ----------
    logs : Logs or LogScan
        A scan says by its engine where its parts are read.
    work : function from Logs
        What is done with a batch.
    combine : function of two results
        Adds two of them, the left one being of earlier rows.
    texts : bool
        Whether a scan reads its texts.

    Returns
    -------
    What ``work`` returns, over all rows. It does not depend on the engine.
    """
    if isinstance(logs, Logs):
        return reduce(combine, map(work, logs.batches()))
    parts = logs.split()
    places = np.array_split(np.arange(len(parts)), min(BRANCHES, len(parts)))
    branches = [[parts[i] for i in some] for some in places]
    add = partial(_add_branch, work=work, combine=combine, texts=texts)
    done = map_on_workers(lambda: add, branches) if logs.engine == "ray" else map(add, branches)
    return reduce(combine, (one for branch in done for one in branch))


def _add_branch(
    parts: Sequence[LogScan], work: Work[T], combine: Combine[T], texts: bool
) -> list[T]:
    """Return the sum over some parts, or nothing where they hold no rows."""
    sums: list[T] = []
    for part in parts:
        own: list[T] = []
        for logs in part.batches(texts=texts):
            own = [reduce(combine, [*own, work(logs)])]
        sums = [reduce(combine, [*sums, *own])] if own else sums
    return sums
