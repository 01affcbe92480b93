"""Running tests for tests: counts by day and arm, from known rates."""

from collections.abc import Sequence

import numpy as np

import causalign as ca

ROLES = ca.Roles("text", "clicks", trials="shown", time="day")
START = np.datetime64("2024-03-01")


def count_days(
    rates: Sequence[float], days: int = 14, readers: int = 1_000, seed: int = 0, **more: float
) -> list[dict]:
    """Return counts by day and arm; ``more`` names further outcomes of all arms, with rates."""
    rng = np.random.default_rng(seed)
    return [
        {
            "day": str(START + day),
            "text": f"text {chr(65 + arm)}",
            "shown": readers,
            "clicks": int(rng.binomial(readers, rate)),
            **{name: int(rng.binomial(readers, value)) for name, value in more.items()},
        }
        for day in range(days)
        for arm, rate in enumerate(rates)
    ]


def logs_of(rows: Sequence[dict], **roles: object) -> ca.Logs:
    """Return the logs of rows; ``roles`` are added to those of counts by day."""
    known = {"completion": "text", "outcome": "clicks", "trials": "shown", "time": "day"}
    return ca.Logs.of(list(rows), ca.Roles(**(known | roles)))
