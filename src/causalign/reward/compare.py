"""Tell several fits side by side: the same reward from different outcomes or data."""

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from causalign.results import Section
from causalign.reward.fitted import RewardFit

__all__ = ["compare"]


def compare(fits: Mapping[str, RewardFit], stage_name: str = "reward") -> Section:
    """Return one section about all fits: a table of one row for each, a path figure for each.

    Shares of variance of different outcomes are not comparable with each other: what deconfounding
    took away can no longer be predicted. Which reward is better is for the evaluation to say.
    """
    names = list(fits)
    columns = ("cv_r2", "cv_error", "cv_accuracy", "penalty")
    table = pa.table(
        {
            "fit": names,
            "method": [fits[name].method for name in names],
            **{
                column: pa.array([fits[name].numbers.get(column) for name in names], pa.float64())
                for column in columns
            },
            "error": [fits[name].error_name for name in names],
        }
    )
    return Section(
        stage=stage_name,
        question="What outcome is a text expected to earn, and how well is that predicted?",
        answer=" ".join(f"{name.capitalize()}: {fits[name].answer()}" for name in names),
        assumption=" ".join(dict.fromkeys(fit.assumption for fit in fits.values())),
        numbers={
            f"{name}.{key}": value
            for name, fit in fits.items()
            for key, value in fit.numbers.items()
        },
        tables={"fits": table} | {f"penalties-{n}": fit.path for n, fit in fits.items()},
        figures=tuple(fit.figure(f"penalty-path-{name}") for name, fit in fits.items()),
        findings=tuple(
            replace(finding, title=f"{finding.title} ({name})")
            for name, fit in fits.items()
            for finding in fit.findings
        ),
        details={name: {"method": fit.method, "units": fit.units} for name, fit in fits.items()},
    )
