"""Which rows teach and which judge: cut by group, so that no text is on both sides."""

import numpy as np

from causalign.errors import InputError
from causalign.logs import Logs


def held_out_rows(logs: Logs, share: float, seed: int) -> np.ndarray:
    """Return a mask ``(n,)`` of the rows that judge, about ``share`` of the groups.

    Groups are the role ``group``, else ``cluster``, else rows with the same text.
    """
    unit = logs.clusters
    if logs.roles.group is not None:
        unit = logs.groups
    if unit is None:
        unit = logs.codes_of(logs.roles.completion)
    names = np.unique(unit)
    count = round(share * len(names))
    if not 0 < count < len(names):
        raise InputError(
            f"Holding out {share:.0%} of {len(names)} groups leaves one side empty. "
            "Name a finer group, or change data.held_out."
        )
    chosen = np.random.default_rng(seed).permutation(names)[:count]
    return np.isin(unit, chosen)


def one_per_group(logs: Logs, seed: int) -> Logs:
    """Return one row of each group, drawn at random: what a firm without tests would have kept."""
    order = np.random.default_rng(seed).permutation(len(logs))
    _, first = np.unique(logs.groups[order], return_index=True)
    rows = np.sort(order[first])
    return logs.take(rows, f"kept one of the rows of each group ({len(rows)} rows)")
