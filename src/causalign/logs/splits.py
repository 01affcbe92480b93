"""Train and test rows, cut by story so that no text is on both sides."""

import numpy as np

from causalign.errors import InputError
from causalign.logs.stories import find_stories
from causalign.logs.table import Logs


def draw_held_out(logs: Logs, share: float, seed: int) -> np.ndarray:
    """Draw the held-out rows: a mask ``(n,)`` of about ``share`` of the stories.

    A story is all groups (else clusters, else rows) that share a text, equal or nearly so, one by
    way of another: :func:`causalign.logs.stories.find_stories`.

    Parameters
    ----------
    logs : Logs
    share : float
        Of the stories, above 0 and below 1.
    seed : int

    Returns
    -------
    (n,) booleans

    Raises
    ------
    InputError
        When one side would be empty.
    """
    stories = find_stories(logs)
    names = np.unique(stories.unit)
    count = round(share * len(names))
    chosen = np.random.default_rng(seed).permutation(names)[:count]
    # A story goes where its first unit goes, so that one shared text does not move all others.
    first = np.full(stories.story.max() + 1, names.max())
    np.minimum.at(first, stories.story, stories.unit)
    held_out = np.isin(first, chosen)[stories.story]
    if held_out.all() or not held_out.any():
        raise InputError(
            f"Holding out {share:.0%} of {len(first)} groups that share no text leaves one side "
            "empty. Name a finer group, or change data.held_out."
        )
    return np.asarray(held_out)


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
