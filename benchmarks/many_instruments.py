"""How often intervals hold the truth with 50 instruments that are clean only given the text.

    python benchmarks/many_instruments.py --draws 100 --features 50
    python benchmarks/many_instruments.py --draws 100 --features 200 --learner lasso
    python benchmarks/many_instruments.py --draws 100 --features 50 --confounders 3
    python benchmarks/many_instruments.py --draws 400 --weak

The design of Chernozhukov, Hansen and Spindler (2015), as `make_pliv_CHS2015` of DoubleML draws it:
features x of the text are normal with correlations 0.5^|j - k|, instruments z = x + ζ with
ζ ~ N(0, 1/4), the confounder d = Σ x_j / j² + Σ z_j / j² + u, the outcome y = d + Σ x_j / j² + e,
and e has correlation 0.6 to u. With k confounders, the l-th is moved by the instruments in turned
order (the l-th first), each u has correlation 0.6 / √k to e, and every effect is 1.

`DoubleML` is DoubleMLPLIV of the package, for one confounder: on the folds of ours, with the same
post-lasso, or with RidgeCV where ours is its own ridge. A file given by `--keep` holds each draw,
and a run that was stopped goes on from there.

`--weak` leaves the text out and asks how often sets hold the truth when q valid instruments have a
first-stage F of about 1 + s each: two-stage least squares, LIML with robust errors, with those of
Bekker (1994) and of Hansen, Hausman and Newey (2008), and the set of ID203. Errors have equal
variance or grow with |z|, and correlation 0.6 or 0.95 to those of the first stage.
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import ClassVar

import doubleml
import numpy as np
import pyarrow as pa
import sklearn
from scipy.linalg import toeplitz
from scipy.stats import norm
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import Lasso, RidgeCV

from causalign.deconfound import DoubleMLInstruments, TwoStageLeastSquares
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.stats.folds import group_folds
from causalign.stats.least_squares import two_stage
from causalign.stats.partial import partial_out
from causalign.stats.weak_instruments import weak_instrument_test

FOLDS, TRUTH = 5, 1.0


class PostLasso(RegressorMixin, BaseEstimator):
    """Least squares on what lasso selects, its penalty as Belloni et al. (2012) plug it in."""

    def fit(self, X, y):
        n, p = X.shape
        spread, level = y.std(), norm.ppf(1 - 0.05 / np.log(n) / p)
        for _ in range(2):
            chosen = Lasso(1.1 * spread * level / np.sqrt(n)).fit(X, y).coef_ != 0
            columns = np.column_stack([np.ones(n), X[:, chosen]])
            self.coef_ = np.linalg.lstsq(columns, y, rcond=None)[0]
            spread = (y - columns @ self.coef_).std()
        self.chosen_ = chosen
        return self

    def predict(self, X):
        return self.coef_[0] + X[:, self.chosen_] @ self.coef_[1:]


LEARNERS = {"lasso": PostLasso(), "ridge": RidgeCV(np.logspace(-1, 4, 20))}


class Remembered(RegressorMixin, BaseEstimator):
    """Fit each target on each set of rows once, whoever asks."""

    fits: ClassVar[dict[tuple[bytes, bytes], object]] = {}

    def __init__(self, learner=None):
        self.learner = learner

    def fit(self, X, y):
        key = X[:, 0].tobytes(), np.ravel(y).tobytes()
        if key not in self.fits:
            self.fits[key] = clone(self.learner).fit(X, np.ravel(y))
        self.fitted_ = self.fits[key]
        return self

    def predict(self, X):
        return self.fitted_.predict(X)


def sample(seed: int, rows: int, features: int, instruments: int, confounders: int):
    """Return logs and the features of their texts."""
    random = np.random.default_rng(seed)
    link = np.full(confounders, 0.6 / np.sqrt(confounders))
    u = random.normal(size=(rows, confounders))
    e = u @ link + np.sqrt(1 - link @ link) * random.normal(size=rows)
    root = np.linalg.cholesky(toeplitz(0.5 ** np.arange(features)))
    X = random.normal(size=(rows, features)) @ root.T
    Z = X[:, :instruments] + 0.5 * random.normal(size=(rows, instruments))
    of_text = X @ (1 / np.arange(1, features + 1) ** 2)
    moves = 1 / np.arange(1, instruments + 1) ** 2
    D = of_text[:, None] + u
    D += np.column_stack([Z @ np.roll(moves, place) for place in range(confounders)])
    columns = {"text": [f"{i}" for i in range(rows)], "y": TRUTH * D.sum(axis=1) + of_text + e}
    columns |= {f"d{i}": D[:, i] for i in range(confounders)}
    columns |= {f"z{i}": Z[:, i] for i in range(instruments)}
    names = tuple(columns)
    roles = Roles("text", "y", confounders=names[2:-instruments], instruments=names[-instruments:])
    return Logs.of(pa.table(columns), roles), X


def theirs(logs: Logs, X: np.ndarray, learner) -> tuple[float, float]:
    """Return the interval of DoubleMLPLIV."""
    Z = np.column_stack([logs.numbers(name) for name in logs.roles.instruments])
    data = doubleml.DoubleMLData.from_arrays(X, logs.outcome, logs.numbers("d0"), z=Z)
    model = doubleml.DoubleMLPLIV(
        data, learner, learner, learner, n_folds=FOLDS, draw_sample_splitting=False
    )
    member = group_folds(logs.codes_of("text"), FOLDS, 0)
    folds = [(np.flatnonzero(member != f), np.flatnonzero(member == f)) for f in range(FOLDS)]
    model.set_sample_splitting([folds])
    model.fit()
    return tuple(model.confint().to_numpy()[0])


def one_draw(seed: int, given: argparse.Namespace) -> dict[str, list[tuple[float, float]]]:
    """Return the intervals of every method, one for each confounder."""
    logs, X = sample(seed, given.rows, given.features, given.instruments, given.confounders)
    Remembered.fits.clear()
    learner = Remembered(LEARNERS[given.learner])
    ours = learner if given.learner == "lasso" else None
    found = {}
    for name, method in (
        ("two-stage, text left out", TwoStageLeastSquares()),
        ("double-ml-instruments", DoubleMLInstruments(ours, folds=FOLDS)),
        ("double-ml-instruments, kappa='liml'", DoubleMLInstruments(ours, FOLDS, kappa="liml")),
    ):
        effect = method.fit(logs, text_features=X)
        found[name] = [(row["lower"], row["upper"]) for row in effect.table().to_pylist()]
    if given.confounders == 1:
        numbers = next(f for f in effect.findings if f.code == "ID203").numbers
        whole = (-np.inf, np.inf)
        bounded = numbers["shape"] == "interval"
        found["set of ID203"] = [(numbers["lower"], numbers["upper"]) if bounded else whole]
        if not given.without_package:
            found["DoubleML"] = [theirs(logs, X, learner)]
    return found


def show(rows: list[dict]) -> None:
    """Print how often each method held the truth, its centre and its length."""
    print("| method | held | share | median centre | median length |\n" + "| --- " * 5 + "|")
    for name in rows[0]:
        ends = np.array([interval for row in rows for interval in row[name]])
        held = (ends[:, 0] <= TRUTH) & (ends[:, 1] >= TRUTH)
        centre, length = np.median(ends.mean(axis=1)), np.median(ends[:, 1] - ends[:, 0])
        print(
            f"| {name} | {held.sum()} of {len(held)} | {held.mean():.1%} "
            f"| {centre:.3f} | {length:.3f} |"
        )


def limited(y: np.ndarray, x: np.ndarray, basis: np.ndarray, kappa: float, b: float):
    """Return Bekker's standard error of LIML, and that of Hansen, Hausman and Newey (2008)."""
    n, q = basis.shape
    e, held = y - x * b, np.square(basis).sum(axis=1)

    def on(v: np.ndarray) -> np.ndarray:
        return basis @ (basis.T @ v)

    share, variance = 1 - 1 / kappa, e @ e / (n - 1)
    clean = x - e * (e @ x) / (e @ e)
    left, bread = clean - on(clean), x @ on(x) - share * (x @ x)
    bekker = variance * ((1 - share) ** 2 * (clean @ on(clean)) + share**2 * (clean @ left))
    spread, level = held @ held / q, q / n
    third = (held - level) @ on(x) * (e**2 @ left) / n
    fourth = q * (spread - level) * ((e**2 - variance) @ left**2)
    more = 2 * third + fourth / (n * (1 - 2 * level + spread * level))
    return np.sqrt(bekker) / abs(bread), np.sqrt(max(bekker + more, 0.0)) / abs(bread)


def weak_draw(seed: int, q: int, strength: float, link: float, uneven: bool, rows: int):
    """Return whether each set holds the truth, and whether that of ID203 is empty."""
    random = np.random.default_rng(seed)
    Z, u = random.normal(size=(rows, q)), random.normal(size=rows)
    e = link * u + np.sqrt(1 - link**2) * random.normal(size=rows)
    e *= 0.3 + np.abs(Z[:, 0]) if uneven else 1.0
    x = Z @ np.full(q, np.sqrt(strength / rows)) + u
    parts = partial_out(TRUTH * x + e, x[:, None], np.ones((rows, 1)), Z)
    nothing, held = np.empty((rows, 0)), []
    for kappa in (1.0, "liml"):
        fit = two_stage(parts.y, parts.X, nothing, parts.Z, kappa=kappa)
        off = abs(fit.coefficients[0] - TRUTH)
        held.append(off < 1.96 * fit.standard_errors[0])
    errors = limited(parts.y, parts.X[:, 0], parts.basis, fit.kappa, fit.coefficients[0])
    held += [off < 1.96 * error for error in errors]
    found = weak_instrument_test(parts).confidence_set()
    return [*held, found.contains(TRUTH), not found.pieces]


def show_weak(draws: int, rows: int) -> None:
    """Print the least and the greatest coverage over correlations and variances of the errors."""
    print("| q | F | two-stage | LIML | Bekker | Hansen et al. | set of ID203 | empty |")
    print("| --- " * 8 + "|")
    for q in (1, 3, 10, 50):
        for strength in (0.0, 0.5, 3.0, 10.0):
            shares = [
                np.mean(
                    [weak_draw(s, q, strength, link, uneven, rows) for s in range(draws)], axis=0
                )
                for link in (0.6, 0.95)
                for uneven in (False, True)
            ]
            low, high = np.min(shares, axis=0), np.max(shares, axis=0)
            cells = [f"{a:.1%} to {b:.1%}" for a, b in zip(low[:-1], high[:-1], strict=True)]
            print(f"| {q} | {1 + strength:g} | {' | '.join(cells)} | {high[-1]:.1%} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--features", type=int, default=200)
    parser.add_argument("--instruments", type=int, default=50)
    parser.add_argument("--confounders", type=int, default=1)
    parser.add_argument("--learner", choices=list(LEARNERS), default="ridge")
    parser.add_argument("--without-package", action="store_true", help="leave DoubleML out")
    parser.add_argument("--keep", type=Path, help="file that holds the draws")
    parser.add_argument("--weak", action="store_true", help="no text, instruments of all strengths")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    sklearn.set_config(assume_finite=True, skip_parameter_validation=True)
    if given.weak:
        show_weak(given.draws, given.rows)
        return
    kept = given.keep is not None and given.keep.exists()
    rows = [json.loads(line) for line in given.keep.read_text().splitlines()] if kept else []
    for seed in range(len(rows), given.draws):
        rows.append(one_draw(seed, given))
        if given.keep is not None:
            with given.keep.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    show(rows[: given.draws])


if __name__ == "__main__":
    main()
