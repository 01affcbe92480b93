"""Train and test rows, cut by group so that no text is on both sides."""

import numpy as np

from causalign.errors import InputError
from causalign.logs import Logs


def unit_codes(logs: Logs) -> np.ndarray:
    """Return what folds keep together, ``(n,)``: clusters, else rows of the same text."""
    clusters = logs.clusters
    return logs.codes_of(logs.roles.completion) if clusters is None else clusters


def draw_held_out(logs: Logs, share: float, seed: int) -> np.ndarray:
    """Draw the held-out rows: a mask ``(n,)`` of about ``share`` of the groups.

    Groups are the role ``group``, else ``cluster``, else rows with the same text.

    Parameters
    ----------
    logs : Logs
    share : float
        Of the groups, above 0 and below 1.
    seed : int

    Returns
    -------
    (n,) booleans

    Raises
    ------
    InputError
        When one side would be empty.
    """
    unit = logs.groups if logs.roles.group is not None else unit_codes(logs)
    names = np.unique(unit)
    count = round(share * len(names))
    if not 0 < count < len(names):
        raise InputError(
            f"Holding out {share:.0%} of {len(names)} groups leaves one side empty. "
            "Name a finer group, or change data.held_out."
        )
    chosen = np.random.default_rng(seed).permutation(names)[:count]
    return np.isin(unit, chosen)


def draw_one_per_group(logs: Logs, seed: int) -> Logs:
    """Draw one row of each group: what a firm without tests would have kept.

    Parameters
    ----------
    logs : Logs
    seed : int

    Returns
    -------
    Logs
        Of as many rows as there are groups.
    """
    order = np.random.default_rng(seed).permutation(len(logs))
    _, first = np.unique(logs.groups[order], return_index=True)
    rows = np.sort(order[first])
    return logs.take(rows, f"kept one of the rows of each group ({len(rows)} rows)")
