"""Gather sums over the rows of logs, batch by batch: in this process, or on the workers of Ray."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, Self, TypeVar

import numpy as np

from causalign.logs.scan import LogScan
from causalign.logs.table import Logs
from causalign.logs.workers import map_on_workers

# Batches are added up within a part, parts within a branch, and then the branches: whoever adds,
# in the same order, so that an engine changes no bit of a sum.
BRANCHES = 16


class Total(Protocol):
    """What is gathered over rows; it starts with none."""

    def add(self, logs: Logs) -> None:
        """Add some rows."""
        ...

    def merge(self, other: Self) -> None:
        """Add what was gathered over later rows."""
        ...


T = TypeVar("T", bound=Total)


def gather(logs: Logs | LogScan, start: Callable[[], T], *, texts: bool = True) -> T:
    """Gather a total over all rows.

    Parameters
    ----------
    logs : Logs or LogScan
        A scan says by its engine where its parts are read.
    start : function that returns a Total
        What gathers, before it has seen a row.
    texts : bool
        Whether a scan reads its texts.

    Returns
    -------
    Total
        That of all rows. It does not depend on the engine.
    """
    if isinstance(logs, Logs):
        return _add_batches(start(), logs)
    parts = logs.split()
    places = np.array_split(np.arange(len(parts)), min(BRANCHES, len(parts)))
    branches = [[parts[i] for i in some] for some in places]
    add = partial(_add_branch, start=start, texts=texts)
    whole = start()
    for branch in (
        map_on_workers(lambda: add, branches) if logs.engine == "ray" else map(add, branches)
    ):
        whole.merge(branch)
    return whole


def _add_branch(parts: Sequence[LogScan], start: Callable[[], T], texts: bool) -> T:
    branch = start()
    for part in parts:
        own = start()
        for logs in part.batches(texts=texts):
            own.add(logs)
        branch.merge(own)
    return branch


def _add_batches(gathered: T, logs: Logs) -> T:
    for batch in logs.batches():
        gathered.add(batch)
    return gathered
