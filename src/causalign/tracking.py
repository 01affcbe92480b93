"""Tell what stages found to a tracker of experiments: TensorBoard, MLflow, W&B, Trackio."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from causalign.errors import SettingsError, nearest, needs_extra
from causalign.results import Result, Section

# What MLflow's names may not hold; others take them as they are.
_ODD = re.compile(r"[^\w.: -]+")


def check_trackers(names: Sequence[str]) -> None:
    """Raise unless every tracker is known to accelerate and installed.

    Parameters
    ----------
    names : sequence of str
        Such as ``("tensorboard",)``.

    Raises
    ------
    SettingsError
        For a name that is unknown, or whose library is not installed.
    ExtraNotInstalled
        Without accelerate.
    """
    with needs_extra("Tracking"):
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
    known = [str(name) for name in LOGGER_TYPE_TO_CLASS]
    there = [str(name) for name in get_available_trackers()]
    for name in names:
        if name not in known:
            raise SettingsError(f"There is no tracker {name!r}; {nearest(name, known)}")
        if name not in there:
            raise SettingsError(f"The tracker {name!r} is not installed: `pip install {name}`.")


def track(
    *results: Result | Section,
    report_to: Sequence[str],
    project: str = "causalign",
    folder: str | Path = "tracking",
    page: str | Path | None = None,
) -> None:
    """Log numbers, answers and findings, and tables and a page where the tracker keeps such.

    Numbers are named ``STAGE/NUMBER``. Trackers read their own variables of the environment, such
    as ``MLFLOW_TRACKING_URI``.

    Parameters
    ----------
    *results : Result or Section
        What stages returned; the sections of a run.
    report_to : sequence of str
        Trackers of accelerate: "tensorboard", "mlflow", "wandb", "trackio" and others.
    project : str
        Under which the tracker files them.
    folder : path
        Where trackers that write files write them.
    page : path, optional
        The folder of a report, for trackers that keep files.

    Raises
    ------
    SettingsError, ExtraNotInstalled
        As `check_trackers`.
    """
    check_trackers(report_to)
    from accelerate import Accelerator

    sections = [one if isinstance(one, Section) else one.section() for one in results]
    tracked = Accelerator(log_with=list(report_to), project_dir=folder)
    answers = {f"{section.stage}.answer": section.answer for section in sections}
    # A run of MLflow that the caller started stays open: ours is one within it.
    tracked.init_trackers(project, config=answers, init_kwargs={"mlflow": {"nested_run": True}})
    for section in sections:
        tracked.log(_numbers(section))
    for tracker in tracked.trackers:
        if hasattr(tracker, "log_table"):
            for section in sections:
                for name, table in section.tables.items():
                    rows = [list(row.values()) for row in table.to_pylist()]
                    tracker.log_table(
                        f"{section.stage}/{name}", columns=table.column_names, data=rows
                    )
        if page is not None and hasattr(tracker, "log_artifacts"):
            tracker.log_artifacts(str(page), "report")
    tracked.end_training()


def _numbers(section: Section) -> dict[str, float]:
    """Return the finite numbers of a section, and how many of its findings have each verdict."""
    numbers = {
        _ODD.sub("-", name): float(value)
        for name, value in section.numbers.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
    for finding in section.findings:
        name = f"findings: {finding.verdict}"
        numbers[name] = numbers.get(name, 0.0) + 1
    return {f"{section.stage}/{name}": value for name, value in numbers.items()}
