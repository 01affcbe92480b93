"""Time double machine learning with ridge against the package DoubleML on the same log.

python benchmarks/double_ml.py [--rows 20000] [--features 384] [--repeat 3]

The learner is ridge with its penalty chosen inside the training folds from 30 values: by folds in
ours, by leave-one-out in `RidgeCV`, the fastest that scikit-learn has. The last row gives DoubleML
a `Ridge` whose penalty is already known, so that it chooses nothing.
"""

import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import typer
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalign.deconfound import DoubleML
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.stats.folds import group_folds

FOLDS, TRUTH = 5, 0.5


def sample(rows: int, features: int, seed: int = 0) -> tuple[Logs, np.ndarray]:
    """Draw a partially linear log whose text features move the price and the outcome."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(rows, features)) @ np.diag(np.linspace(2, 0.2, features))
    price = X @ generator.normal(size=features) / features**0.5 + generator.normal(size=rows)
    y = TRUTH * price + X @ generator.normal(size=features) / features**0.5
    y = y + generator.normal(size=rows)
    table = pa.table({"text": [f"{i}" for i in range(rows)], "y": y, "price": price})
    return Logs.of(table, Roles("text", "y", confounders=("price",))), X


def ours(logs: Logs, X: np.ndarray) -> tuple[float, float]:
    """Fit with causalign."""
    effect = DoubleML(folds=FOLDS).fit(logs, text_features=X)
    return float(effect.estimates[0]), float(effect.standard_errors[0])


def theirs(logs: Logs, X: np.ndarray, learner: Any) -> tuple[float, float]:
    """Fit DoubleMLPLR on the same folds."""
    import doubleml

    data = doubleml.DoubleMLData.from_arrays(X, logs.outcome, logs.numbers("price"))
    model = doubleml.DoubleMLPLR(data, learner, learner, n_folds=FOLDS, draw_sample_splitting=False)
    member = group_folds(logs.codes_of("text"), FOLDS, 0)
    folds = [(np.flatnonzero(member != f), np.flatnonzero(member == f)) for f in range(FOLDS)]
    model.set_sample_splitting([folds])
    model.fit()
    return float(model.coef[0]), float(model.se[0])


def main(rows: int = 20_000, features: int = 384, repeat: int = 3) -> None:
    """Print the processor's seconds (medians of turns), ratio, estimate and error of each."""
    warnings.simplefilter("ignore")
    logs, X = sample(rows, features)
    penalties = rows * np.logspace(-6, 3, 30)
    fits = {
        "causalign": lambda: ours(logs, X),
        "DoubleML, RidgeCV": lambda: theirs(
            logs, X, make_pipeline(StandardScaler(), RidgeCV(penalties))
        ),
        "DoubleML, Ridge": lambda: theirs(logs, X, make_pipeline(StandardScaler(), Ridge(1.0))),
    }
    times: dict[str, list[float]] = {name: [] for name in fits}
    found = {}
    for _ in range(repeat):
        for name, fit in fits.items():
            started = time.process_time()
            found[name] = fit()
            times[name].append(time.process_time() - started)
    records = [(name, float(np.median(times[name])), *found[name]) for name in fits]
    frame = pd.DataFrame(records, columns=["", "seconds", "estimate", "s.e."])
    frame.insert(2, "ratio", frame["seconds"] / frame["seconds"].iloc[0])
    shown = Table(title=f"double ML, ridge, {FOLDS} folds, {rows:,} × {features} features")
    for name in frame.columns:
        shown.add_column(name)
    for row in frame.itertuples(index=False):
        shown.add_row(row[0], *(f"{value:.4g}" for value in row[1:]))
    Console().print(shown)


if __name__ == "__main__":
    typer.run(main)
