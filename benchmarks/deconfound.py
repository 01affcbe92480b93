"""Time the deconfounders against named peers on the same arrays in the same run; print ratios.

python benchmarks/deconfound.py [--rows 1000000] [--repeat 3]

Two-stage least squares first, then categories of thousands of levels (`absorbed.py`), double
machine learning (`double_ml.py`) and the memory of fits by record batches (`streamed.py`), which
also run on their own.
"""

import time
import warnings
from collections.abc import Callable

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


def best_of(
    work: Callable[[], tuple[float, float]], repeat: int
) -> tuple[float, tuple[float, float]]:
    """Return the shortest of several times, in seconds, and the result."""
    times, result = [], (0.0, 0.0)
    for _ in range(repeat):
        started = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - started)
    return min(times), result


def main(rows: int = 1_000_000, repeat: int = 3) -> None:
    """Compare two-stage least squares with robust covariance."""
    warnings.simplefilter("ignore")
    data = design(rows)
    shown = Table(title=f"two-stage least squares, robust, {rows:,} rows × 24 columns")
    for name in ("", "seconds", "ratio", "estimate", "robust s.e."):
        shown.add_column(name)
    first = None
    for name, fit in (("causalign", ours), ("linearmodels", linearmodels), ("pyfixest", pyfixest)):
        seconds, (estimate, error) = best_of(lambda f=fit: f(data), repeat)
        first = first or seconds
        shown.add_row(
            name, f"{seconds:.2f}", f"{seconds / first:.1f}", f"{estimate:.10f}", f"{error:.10f}"
        )
    Console().print(shown)
    absorbed.main()
    double_ml.main()
    streamed.main()


if __name__ == "__main__":
    typer.run(main)
