"""Do texts and outcomes change together with time, beyond what the confounders explain?"""

import numpy as np
import pyarrow as pa

from causalign.audit.audited_rows import AuditedRows
from causalign.audit.basis import expand_curves
from causalign.checks import drift
from causalign.checks.confounding import Judged, judge
from causalign.errors import InputError
from causalign.logs import Logs
from causalign.logs.columns import holds_dates
from causalign.logs.covariates import Covariate, covariate
from causalign.results import Finding
from causalign.stats.confounder_part import confounder_part
from causalign.stats.confounding import confounding_tests

# A month is a season, and not the trend, only if the log saw some months twice.
DAYS_FOR_MONTHS = 400
DAYS_FOR_WEEKDAYS = 14
DAYS_FOR_HOURS = 2
SECOND = 1 / 86_400


def time_findings(rows: AuditedRows) -> tuple[Finding, ...]:
    """Return TM101 to TM103, or what hinders them.

    The sides of time are its trend and, of dates, weekday, hour and month. Whether a side confounds
    what the confounders (for the last three, the trend too) leave of the outcome, the rule decides
    that judges the confounders themselves. Rows of a group stay in one fold.
    """
    logs = rows.logs
    time = _read_time(logs)
    if not isinstance(time, Covariate) or np.ptp(time.values) == 0:
        return _say_why(logs, time)
    trend = _rank(time)
    without_confounders = _subtract_confounders(logs.outcome, logs.confounders)
    without_trend = _subtract_confounders(without_confounders, (trend,))
    seasons = _seasons(time.values) if time.kind == "datetime" else []

    def judged(sides: list[Covariate], outcome: np.ndarray) -> tuple[Judged, ...]:
        bases = [expand_curves([side], rows_for_a_level=2) for side in sides]
        cut = {"folds": rows.folds, "seed": rows.seed}
        tests = confounding_tests(bases, outcome, rows.groups, text=rows.text, **cut)
        return judge([side.name for side in sides], tests)

    first, last = _mean_at_ends(logs.outcome, time.values)
    checks = [
        drift.trend(*judged([trend], without_confounders), early=first, late=last),
        drift.seasons(judged(seasons, without_trend)),
    ]
    if time.kind == "datetime":
        checks.append(drift.gaps(time.values))
    return tuple(checks)


def _mean_at_ends(outcome: np.ndarray, time: np.ndarray) -> tuple[float, float]:
    """Return the mean outcome of the first and of the last quarter of the rows."""
    order = np.argsort(time, kind="stable")
    quarter = max(len(order) // 4, 1)
    return float(outcome[order[:quarter]].mean()), float(outcome[order[-quarter:]].mean())


def _subtract_confounders(outcome: np.ndarray, covariates: tuple[Covariate, ...]) -> np.ndarray:
    varying = [c for c in covariates if np.ptp(c.values) > 0]
    if not varying:
        return outcome
    basis = expand_curves(varying, rows_for_a_level=2)
    return outcome - confounder_part(outcome, basis).part


def _read_time(logs: Logs) -> Covariate | str | None:
    """Return the time as numbers, or why it has none, or None when there is no such role."""
    name = logs.roles.time
    if name is None:
        return None
    if pa.types.is_large_string(logs.data[name].type):
        return f"The time {name!r} is text that is no date such as 2024-01-31 08:00."
    try:
        time = covariate(name, logs.data[name])
    except InputError as error:
        return str(error)
    if time.kind in ("numeric", "datetime"):
        return time
    return f"The time {name!r} is neither a date nor a number."


def _say_why(logs: Logs, time: Covariate | str | None) -> tuple[Finding, ...]:
    if isinstance(time, str):
        return (drift.time_not_read(f"{time} Convert it, so that rows have an order."),)
    if time is not None:
        return (drift.time_not_read(f"The time {time.name!r} is the same in all rows."),)
    taken = logs.roles.columns()
    free = [
        name
        for name, column in zip(logs.data.column_names, logs.data.columns, strict=True)
        if name not in taken and holds_dates(column)
    ]
    if not free:
        return ()
    return (
        drift.time_not_read(
            f"No time is declared, and these columns hold dates: {', '.join(free)}. Name the one "
            "at which the text was shown in Roles(time=...), or with --time."
        ),
    )


def _rank(time: Covariate) -> Covariate:
    """Return the rank of the time, so that neither units nor gaps matter."""
    _, place = np.unique(time.values, return_inverse=True)
    size = np.bincount(place)
    rank = np.cumsum(size) - size / 2
    return Covariate("the trend", "numeric", rank[place] / len(place))


def _seasons(days: np.ndarray) -> list[Covariate]:
    """Return weekday, hour and month of days since 1970, where they vary and recur.

    Hours are those of the clock in which the time is given, UTC where it names a zone.
    """
    whole = np.floor(days)
    span, seasons = float(np.ptp(days)), []
    hour = np.floor((days - whole + SECOND / 2) * 24).astype(np.int64) % 24
    if span >= DAYS_FOR_WEEKDAYS:
        # 1970-01-01 was a Thursday.
        seasons.append(_cyclic("weekday", (whole.astype(np.int64) + 3) % 7, 7))
    if span >= DAYS_FOR_HOURS:
        seasons.append(_cyclic("hour", hour, 24))
    if span >= DAYS_FOR_MONTHS:
        date = whole.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        seasons.append(_cyclic("month", date % 12, 12))
    return [c for c in seasons if np.ptp(c.values) > 0]


def _cyclic(name: str, values: np.ndarray, count: int) -> Covariate:
    return Covariate(name, "categorical", values, tuple(str(i) for i in range(count)))
