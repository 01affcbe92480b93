"""Gather sums over the rows of logs, batch by batch: in this process, or on the workers of Ray."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, Self, TypeVar

import numpy as np

from causalign.logs.scan import LogScan
from causalign.logs.table import Logs
from causalign.logs.workers import map_on_workers

# On workers batches are added up within a branch, and then the branches in their order: whatever
# worker is first, the sum is the same.
BRANCHES = 64


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
        That of all rows: the same from every engine, but for the rounding of sums.
    """
    whole = start()
    if isinstance(logs, LogScan) and logs.engine == "ray":
        parts = logs.split()
        places = np.array_split(np.arange(len(parts)), min(BRANCHES, len(parts)))
        add = partial(_add_branch, start=start, texts=texts)
        for branch in map_on_workers(lambda: add, [[parts[i] for i in some] for some in places]):
            whole.merge(branch)
        return whole
    return _add_batches(whole, logs, texts)


def _add_branch(parts: Sequence[LogScan], start: Callable[[], T], texts: bool) -> T:
    branch = start()
    for part in parts:
        _add_batches(branch, part, texts)
    return branch


def _add_batches(gathered: T, logs: Logs | LogScan, texts: bool) -> T:
    for batch in logs.batches(texts=texts) if isinstance(logs, LogScan) else logs.batches():
        gathered.add(batch)
    return gathered
