"""Time the deconfounders against named peers on the same arrays in the same run; print ratios.

python benchmarks/deconfound.py [--rows 1000000] [--repeat 3]

Two-stage least squares first, then categories of thousands of levels (`absorbed.py`), double
machine learning (`double_ml.py`) and the memory of fits by record batches (`streamed.py`), which
also run on their own.
"""

import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial

import absorbed
import double_ml
import numpy as np
import pandas as pd
import streamed
import typer
from rich.console import Console
from rich.table import Table

from causalign.stats.least_squares import two_stage

EXOGENOUS, INSTRUMENTS = 20, 2


def design(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw one endogenous, 21 exogenous (with the intercept) and 2 instrument columns."""
    generator = np.random.default_rng(seed)
    Z = generator.normal(size=(rows, INSTRUMENTS))
    W = generator.normal(size=(rows, EXOGENOUS))
    hidden = generator.normal(size=rows)
    d = (
        Z @ [0.5, 0.3]
        + W @ np.linspace(-0.1, 0.1, EXOGENOUS)
        + hidden
        + generator.normal(size=rows)
    )
    y = 0.7 * d + W @ np.linspace(-1, 1, EXOGENOUS) + hidden + generator.normal(size=rows)
    return {"y": y, "d": d[:, None], "W": W, "Z": Z}


def ours(data: dict[str, np.ndarray]) -> tuple[float, float]:
    """Fit with causalign; return the estimate of d and its robust standard error."""
    exogenous = np.column_stack([np.ones(len(data["y"])), data["W"]])
    fit = two_stage(data["y"], data["d"], exogenous, data["Z"])
    return float(fit.coefficients[-1]), float(fit.standard_errors[-1])


def linearmodels(data: dict[str, np.ndarray]) -> tuple[float, float]:
    """Fit with linearmodels.iv.IV2SLS."""
    from linearmodels.iv import IV2SLS

    exogenous = np.column_stack([np.ones(len(data["y"])), data["W"]])
    fit = IV2SLS(data["y"], exogenous, data["d"], data["Z"]).fit(cov_type="robust")
    return float(fit.params.iloc[-1]), float(fit.std_errors.iloc[-1])


def pyfixest(data: dict[str, np.ndarray]) -> tuple[float, float]:
    """Fit with pyfixest.feols, without small-sample factor."""
    import pyfixest as pf

    names = [f"w{i}" for i in range(EXOGENOUS)]
    frame = pd.DataFrame(data["W"], columns=names)
    frame["y"], frame["d"] = data["y"], data["d"][:, 0]
    frame["z0"], frame["z1"] = data["Z"].T
    formula = f"y ~ {' + '.join(names)} | d ~ z0 + z1"
    fit = pf.feols(formula, frame, vcov="hetero", ssc=pf.ssc(k_adj=False, G_adj=False))
    return float(fit.coef()["d"]), float(fit.se()["d"])


Fit = Callable[[], tuple[float, float]]


def take_turns(
    fits: Mapping[str, Fit], repeat: int
) -> dict[str, tuple[float, float, tuple[float, float]]]:
    """Fit each in turn; return medians of seconds and of the processor's, and what was found."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in fits}
    found = {}
    for _ in range(repeat):
        for name, fit in fits.items():
            started = time.perf_counter(), time.process_time()
            found[name] = fit()
            seconds[name].append(
                (time.perf_counter() - started[0], time.process_time() - started[1])
            )
    medians = {name: np.median(pairs, axis=0) for name, pairs in seconds.items()}
    return {name: (float(m[0]), float(m[1]), found[name]) for name, m in medians.items()}


def main(rows: int = 1_000_000, repeat: int = 3) -> None:
    """Compare two-stage least squares with robust covariance."""
    warnings.simplefilter("ignore")
    data = design(rows)
    shown = Table(title=f"two-stage least squares, robust, {rows:,} rows × 24 columns")
    for name in ("", "seconds", "ratio", "of the processor", "ratio", "estimate", "robust s.e."):
        shown.add_column(name)
    fits = {fit.__name__: partial(fit, data) for fit in (ours, linearmodels, pyfixest)}
    measured = take_turns(fits, repeat)
    whole, own, _ = measured["ours"]
    for name, (seconds, busy, found) in measured.items():
        times = f"{seconds:.2f}", f"{seconds / whole:.1f}", f"{busy:.2f}", f"{busy / own:.1f}"
        shown.add_row(name, *times, *(f"{value:.10f}" for value in found))
    Console(width=120).print(shown)
    absorbed.main()
    double_ml.main()
    streamed.main()


if __name__ == "__main__":
    typer.run(main)
