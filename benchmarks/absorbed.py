"""Time additive fits that absorb thousands of users against pyfixest; print ratios and memory.

python benchmarks/absorbed.py [--repeat 5]

Each library fits each log in a process of its own: once cold (pyfixest compiles as it goes), then
warm, the best of ``repeat``. Ours reads and checks a table of strings before it fits; pyfixest is
given a data frame. Slope, standard error and peak memory stand beside the seconds.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import typer
from rich.console import Console
from rich.table import Table

SIZES = ((60_000, 15_000, 0), (200_000, 50_000, 500))
KEYS = ("rows", "users", "weeks")
LIBRARIES = ("causalign", "causalign, logs at hand", "pyfixest")


def sample(rows: int, users: int, weeks: int) -> pa.Table:
    """Draw a log whose users (and weeks) move price, text feature and outcome."""
    rng = np.random.default_rng(0)
    user, week = rng.integers(0, users, rows), rng.integers(0, max(weeks, 1), rows)
    own, season = rng.normal(size=users)[user], rng.normal(size=max(weeks, 1))[week]
    x = rng.normal(size=rows) + 0.5 * own
    price = rng.normal(size=rows) + 0.3 * x + 0.5 * season
    y = x + 2 * price + own + season + rng.normal(size=rows)
    data = {"text": [f"t{i}" for i in range(rows)], "y": y, "x": x, "price": price}
    data["user"] = [f"u{i}" for i in user]
    if weeks:
        data["week"] = [f"w{i}" for i in week]
    return pa.table(data)


def ours(table: pa.Table, *, at_hand: bool) -> Callable[[], tuple[float, float]]:
    """Return a fit of causalign: from the table on, or on logs that were read and checked."""
    from causalign.deconfound import Additive
    from causalign.logs import Logs
    from causalign.logs.roles import Roles

    confounders = tuple(name for name in ("price", "user", "week") if name in table.column_names)
    roles = Roles("text", "y", confounders=confounders, features=("x",))
    ready = Logs.of(table, roles) if at_hand else None

    def fit() -> tuple[float, float]:
        effect = Additive().fit(ready or Logs.of(table, roles))
        return float(effect.estimates[0]), float(effect.standard_errors[0])

    return fit


def theirs(table: pa.Table) -> Callable[[], tuple[float, float]]:
    """Return a fit of pyfixest, from a data frame on."""
    import pyfixest as pf

    factors = "user + week" if "week" in table.column_names else "user"
    frame = table.to_pandas()

    def fit() -> tuple[float, float]:
        found = pf.feols(f"y ~ x + price | {factors}", frame, vcov="hetero")
        return float(found.coef()["price"]), float(found.se()["price"])

    return fit


def measure(library: str, rows: int, users: int, weeks: int, repeat: int) -> dict[str, Any]:
    """Fit in this process; return seconds, what was found and the peak of memory."""
    table = sample(rows, users, weeks)
    fit = theirs(table) if library == "pyfixest" else ours(table, at_hand=library != "causalign")
    seconds, found = [], (0.0, 0.0)
    for _ in range(repeat + 1):
        started = time.perf_counter()
        found = fit()
        seconds.append(time.perf_counter() - started)
    with open("/proc/self/status") as status:
        peak = next(line for line in status if line.startswith("VmHWM")).split()[1]
    megabytes = int(peak) * 1024 / 1e6
    return {"cold": seconds[0], "warm": min(seconds[1:]), "found": found, "memory": megabytes}


def main(repeat: int = 5, library: str = "", rows: int = 0, users: int = 0, weeks: int = 0) -> None:
    """Compare both libraries on both logs; with a library, measure it on one log."""
    if library:
        print(json.dumps(measure(library, rows, users, weeks, repeat)))
        return
    shown = Table(title="additive, absorbed users, robust")
    for name in ("log", "", "cold s", "ratio", "warm s", "ratio", "slope", "s.e.", "peak MB"):
        shown.add_column(name)
    for size in SIZES:
        first: dict[str, Any] = {}
        for name in LIBRARIES:
            words = [
                f"--{key}={value}"
                for key, value in zip(("rows", "users", "weeks"), size, strict=True)
            ]
            command = [sys.executable, __file__, f"--library={name}", f"--repeat={repeat}", *words]
            done = subprocess.run(command, check=True, capture_output=True)
            one = json.loads(done.stdout.splitlines()[-1])
            first = first or one
            log = "{:,} rows, {:,} users, {} weeks".format(*size) if name == LIBRARIES[0] else ""
            shown.add_row(
                log,
                name,
                f"{one['cold']:.2f}",
                f"{one['cold'] / first['cold']:.2f}",
                f"{one['warm']:.3f}",
                f"{one['warm'] / first['warm']:.2f}",
                *(f"{value:.9f}" for value in one["found"]),
                f"{one['memory']:.0f}",
            )
    Console(width=140).print(shown)


if __name__ == "__main__":
    typer.run(main)
