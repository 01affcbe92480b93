"""Logs whose truth is known, one design for each estimator, with the estimator that is fooled."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from causalign.checks.instruments import interval_if_weak
from causalign.deconfound import (
    Additive,
    AdversarialGMM,
    DoubleML,
    DoubleMLInstruments,
    OrdinaryLeastSquares,
    TwoStageLeastSquares,
)
from causalign.logs import Logs
from causalign.logs.covariates import design
from causalign.logs.roles import Roles
from causalign.results import Finding
from causalign.simulate import NonlinearInstruments, PartiallyLinear, WeakInstruments
from causalign.simulate.nonlinear_instruments import CURVES
from causalign.stats.partial import partial_out
from causalign.stats.weak_instruments import weak_instrument_test

SLOPE = 0.5
LEVEL = 0.95
Pieces = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """Hold simulated logs, the features of their texts and the true value of ``name``."""

    logs: Logs
    name: str = "price"
    truth: float = SLOPE
    features: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """Hold a design, an estimator whose assumption it meets and one whose assumption it breaks.

    ``assumption`` and ``naive_error`` say so in words; the two estimators return the pieces of
    their 95% set.
    """

    rows: int
    draw: Callable[[int], Draw]
    estimator: Callable[[Draw], Pieces]
    naive: Callable[[Draw], Pieces]
    assumption: str
    naive_error: str


def fitted(method, one: Draw) -> Pieces:
    """Return the interval that a method gives for the effect in question."""
    table = method.fit(one.logs, text_features=one.features).table(LEVEL).to_pylist()
    row = next(row for row in table if row["name"] == one.name)
    return ((row["lower"], row["upper"]),)


def set_if_weak(one: Draw) -> Pieces:
    """Return the set that weak instruments cannot spoil, that of finding ID203."""
    logs = one.logs
    parts = partial_out(
        logs.outcome,
        design(logs.confounders)[0],
        np.ones((len(logs), 1)),
        design(logs.instruments)[0],
    )
    found = weak_instrument_test(parts).confidence_set(LEVEL)
    told: Finding = interval_if_weak(parts, ["price"])
    assert told.numbers["shape"] == found.shape
    return found.pieces


def logs_of(columns: dict[str, np.ndarray], confounders: tuple[str, ...], **roles) -> Logs:
    """Return logs with a text, and outcome ``y``, from columns."""
    rows = len(columns["y"])
    table = pa.table({"text": [f"text {i}" for i in range(rows)], **columns})
    return Logs.of(table, Roles("text", "y", confounders=confounders, **roles))


def independent(seed: int, rows: int) -> Draw:
    """Let price and season travel with each other and with nothing else."""
    rng = np.random.default_rng(seed)
    season = rng.normal(size=rows)
    price = 0.7 * season + rng.normal(size=rows)
    noise = rng.normal(size=rows) * (0.5 + np.abs(price))
    y = SLOPE * price + season + rng.normal(size=rows) + noise
    return Draw(logs_of({"y": y, "price": price, "season": season}, ("price", "season")))


def only_price(one: Draw) -> Draw:
    """Return the logs with the price as the only declared confounder."""
    roles = Roles("text", "y", confounders=("price",))
    return Draw(Logs.of(one.logs.data, roles), one.name, one.truth)


def weekly(seed: int, weeks: int, each: int) -> Draw:
    """Let all mails of a week share a price and a shock."""
    rng = np.random.default_rng(seed)
    week = np.repeat(np.arange(weeks), each)
    price = rng.normal(size=weeks)[week] + 0.1 * rng.normal(size=len(week))
    shock = rng.normal(size=weeks)[week]
    y = SLOPE * price + shock + 0.5 * rng.normal(size=len(week))
    return Draw(logs_of({"y": y, "price": price, "week": week}, ("price",), cluster="week"))


def instrumented(seed: int, rows: int, instruments: int = 1, clusters: int | None = None) -> Draw:
    """Let the text move price and outcome; instruments move the price and nothing else."""
    rng = np.random.default_rng(seed)
    shop = np.arange(rows) % (clusters or rows)
    text = rng.normal(size=rows)
    Z = rng.normal(size=(rows, instruments))
    if clusters is not None:
        Z += rng.normal(size=(clusters, instruments))[shop]
    week = rng.integers(0, 8, rows)
    price = Z.sum(axis=1) / np.sqrt(instruments) + text + 0.2 * week + rng.normal(size=rows)
    noise = rng.normal(size=rows) * (0.5 + np.abs(Z[:, 0]))
    if clusters is not None:
        noise += 1.5 * rng.normal(size=clusters)[shop]
    y = SLOPE * price + 2 * text + np.cos(week) + noise
    columns = {"y": y, "price": price, "week": week, "shop": shop}
    names = tuple(f"z{j}" for j in range(instruments))
    columns |= dict(zip(names, Z.T, strict=True))
    declared = {"instruments": names, "categorical": ("week",)}
    if clusters is not None:
        declared["cluster"] = "shop"
    return Draw(logs_of(columns, ("price", "week"), **declared))


def additive(seed: int, rows: int, about: str = "price", clusters: int | None = None) -> Draw:
    """Let the text, told by two features, travel with the price and with 10 weeks."""
    rng = np.random.default_rng(seed)
    author = np.arange(rows) % (clusters or rows)
    effects = np.cos(np.arange(10))
    week = rng.integers(0, 10, rows)
    X = rng.normal(size=(rows, 2)) + np.outer(effects[week], [1.0, 1.0])
    price = X @ [0.8, 0.4] + 0.3 * rng.normal(size=10)[week] + rng.normal(size=rows)
    noise = rng.normal(size=rows) * (0.5 + 0.5 * np.abs(price))
    if clusters is not None:
        price += rng.normal(size=clusters)[author]
        noise += rng.normal(size=clusters)[author]
    y = SLOPE * price + effects[week] + X @ [1.5, 1.5] + noise
    columns = {"y": y, "price": price, "week": week, "author": author}
    columns |= {"x0": X[:, 0], "x1": X[:, 1]}
    declared = {"features": ("x0", "x1"), "categorical": ("week",)}
    if clusters is not None:
        declared["cluster"] = "author"
    logs = logs_of(columns, ("price", "week"), **declared)
    if about == "price":
        return Draw(logs)
    return Draw(logs, about, float(effects[int(about[5:-1])] - effects[week].mean()))


def crossed(seed: int, rows: int, authors: int, weeks: int) -> Draw:
    """Let rows share shocks with their author and with their week."""
    rng = np.random.default_rng(seed)
    author, week = rng.integers(0, authors, rows), rng.integers(0, weeks, rows)
    shared = rng.normal(size=(2, authors))[:, author] + rng.normal(size=(2, weeks))[:, week]
    X = rng.normal(size=(rows, 2))
    price = X @ [1.5, 1.0] + shared[0] + rng.normal(size=rows)
    y = SLOPE * price + X @ [3.0, 3.0] + shared[1] + rng.normal(size=rows)
    columns = {"y": y, "price": price, "author": author, "week": week}
    columns |= {"x0": X[:, 0], "x1": X[:, 1]}
    ways = ("author", "week")
    return Draw(logs_of(columns, ("price",), features=("x0", "x1"), cluster=ways))


def bent(seed: int, rows: int) -> Draw:
    """Let the effect of the price be a curve; asked is its value at the median price."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 2))
    price = np.abs(X @ [1.0, 0.5] + rng.normal(size=rows))
    effect = price**3 / 4 - price**2
    y = effect + 2 * X[:, 0] ** 2 + rng.normal(size=rows) * (0.5 + price / 2)
    columns = {"y": y, "price": price, "x0": X[:, 0], "x1": X[:, 0] ** 2}
    median = float(np.median(price))
    truth = median**3 / 4 - median**2 - effect.mean()
    name = f"spline(price) at {median:.4g}"
    return Draw(logs_of(columns, ("price",), features=("x0", "x1")), name, float(truth))


def embedded(seed: int, rows: int, authors: int | None = None) -> Draw:
    """Let a text of 8 features move price and outcome; authors may share shocks."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 8))
    author = np.arange(rows) % (authors or rows)
    shock = rng.normal(size=(2, authors or rows))[:, author]
    price = X[:, 0] + 0.5 * X[:, 1] + shock[0] + 0.5 * rng.normal(size=rows)
    noise = shock[1] + rng.normal(size=rows) * (0.5 + np.abs(price) / 2)
    y = SLOPE * price + 2 * X[:, 0] - X[:, 2] + noise
    columns = {"y": y, "price": price, "author": author}
    cluster = None if authors is None else "author"
    return Draw(logs_of(columns, ("price",), cluster=cluster), features=X)


def curved(seed: int, rows: int) -> Draw:
    """Return Robinson's partially linear model: the text's part is a curve."""
    found = PartiallyLinear(rows=rows, features=3, coefficient=SLOPE, seed=seed).simulate()
    return Draw(found.logs, "dose", SLOPE, found.text_features)


def read_instrument(seed: int, rows: int) -> Draw:
    """Let the instrument depend on the text, and something hidden move price and outcome."""
    rng = np.random.default_rng(seed)
    X, hidden = rng.normal(size=(rows, 8)), rng.normal(size=rows)
    z = X[:, 0] + rng.normal(size=rows)
    price = z + X[:, 1] + hidden + rng.normal(size=rows)
    y = SLOPE * price + 2 * X[:, 0] + 2 * hidden + rng.normal(size=rows)
    logs = logs_of({"y": y, "price": price, "z": z}, ("price",), instruments=("z",))
    return Draw(logs, features=X)


def read_instruments(seed: int, rows: int, instruments: int, confounders: int = 1) -> Draw:
    """Let instruments depend on the text; a hidden cause moves outcome and confounders.

    The squared lengths of what the instruments do to a confounder add up to twice their number.
    """
    rng = np.random.default_rng(seed)
    X, hidden = rng.normal(size=(rows, 8)), rng.normal(size=rows)
    Z = X[:, :1] + rng.normal(size=(rows, instruments))
    moves = rng.permuted(np.tile(np.arange(instruments) % 3 - 1.0, (confounders, 1)), axis=1)
    moves *= np.sqrt(2 * instruments / np.square(moves).sum(axis=1, keepdims=True) / rows)
    D = Z @ moves.T * (1.0 if confounders == 1 else 3.0)
    D += X[:, [1]] + hidden[:, None] + rng.normal(size=D.shape)
    y = SLOPE * D[:, 0] - D[:, 1:].sum(axis=1) + 2 * X[:, 0] + X[:, 1] + 2 * hidden
    columns = {"y": y + rng.normal(size=rows), "price": D[:, 0]}
    columns |= {f"other{j}": D[:, j] for j in range(1, confounders)}
    names = tuple(columns)[1:]
    columns |= {f"z{j}": Z[:, j] for j in range(instruments)}
    logs = logs_of(columns, names, instruments=tuple(f"z{j}" for j in range(instruments)))
    return Draw(logs, features=X)


def weak(seed: int, rows: int) -> Draw:
    """Return instruments with a first-stage F of about 1.5, and much hidden confounding."""
    found = WeakInstruments(
        rows=rows, instruments=10, strength=0.5, endogeneity=0.98, coefficient=SLOPE, seed=seed
    ).simulate()
    return Draw(found.logs)


def sloped(seed: int, rows: int) -> Draw:
    """Let the price act by an S-shaped curve that its instrument moves; asked: its mean slope."""
    found = NonlinearInstruments("sigmoid", rows=rows, seed=seed).simulate()
    price = found.logs.numbers("price")
    curve, step = CURVES["sigmoid"], 1e-3 * price.std()
    # The outcome was standardised after the curve was added: h is the curve times this scale.
    scale = np.polyfit(curve(price), found.confounder_effect, 1)[0]
    slope = scale * np.mean(curve(price + step) - curve(price - step)) / (2 * step)
    return Draw(found.logs, "price", float(slope))


def splines() -> object:
    """Return a learner that follows smooth curves."""
    return make_pipeline(SplineTransformer(n_knots=5), Ridge(alpha=1.0))


ordinary = OrdinaryLeastSquares()
least_squares = partial(fitted, ordinary)

CASES = {
    "ordinary": Case(
        500,
        partial(independent, rows=500),
        least_squares,
        lambda one: least_squares(only_price(one)),
        "price and season are independent of the text",
        "the same, the season left out",
    ),
    "ordinary, clusters": Case(
        37_500,
        partial(weekly, weeks=250, each=150),
        least_squares,
        partial(fitted, OrdinaryLeastSquares(covariance="robust")),
        "250 weeks, each with one shock, are independent of each other",
        "the same, mails taken as independent",
    ),
    "two-stage": Case(
        500,
        partial(instrumented, rows=500),
        partial(fitted, TwoStageLeastSquares(exogenous=("week",))),
        least_squares,
        "the instrument moves the price, and the outcome through it only",
        "ordinary least squares",
    ),
    "two-stage, clusters": Case(
        1000,
        partial(instrumented, rows=1000, clusters=100),
        partial(fitted, TwoStageLeastSquares(exogenous=("week",))),
        least_squares,
        "the same; 100 shops share shocks and instruments",
        "ordinary least squares",
    ),
    "LIML": Case(
        800,
        partial(instrumented, rows=800, instruments=10),
        partial(fitted, TwoStageLeastSquares(kappa="liml", exogenous=("week",))),
        least_squares,
        "10 instruments move the price, and the outcome through it only",
        "ordinary least squares",
    ),
    "interval of ID203": Case(
        2000,
        partial(weak, rows=2000),
        set_if_weak,
        partial(fitted, TwoStageLeastSquares()),
        "10 valid instruments, first-stage F about 1.5",
        "two-stage least squares",
    ),
    "additive": Case(
        500,
        partial(additive, rows=500),
        partial(fitted, Additive()),
        least_squares,
        "the text acts through its two features; weeks absorbed",
        "ordinary least squares",
    ),
    "additive, a category": Case(
        500,
        partial(additive, rows=500, about="week[3]"),
        partial(fitted, Additive()),
        least_squares,
        "the same; the effect of one week against the average",
        "ordinary least squares",
    ),
    "additive, clusters": Case(
        800,
        partial(additive, rows=800, clusters=100),
        partial(fitted, Additive()),
        least_squares,
        "the same; 100 authors share shocks",
        "ordinary least squares",
    ),
    "additive, clusters two ways": Case(
        4000,
        partial(crossed, rows=4000, authors=300, weeks=300),
        partial(fitted, Additive()),
        least_squares,
        "the same; 300 authors and 300 weeks share shocks",
        "ordinary least squares",
    ),
    "additive, a curve": Case(
        600,
        partial(bent, rows=600),
        partial(fitted, Additive(formula="spline(price, 4)")),
        partial(fitted, OrdinaryLeastSquares(formula="spline(price, 4)")),
        "the same; the effect of the median price, h a cubic",
        "ordinary least squares",
    ),
    "adversarial-gmm": Case(
        2000,
        partial(sloped, rows=2000),
        partial(fitted, AdversarialGMM()),
        least_squares,
        "the instrument moves the price, which acts by a smooth curve",
        "ordinary least squares",
    ),
    "double-ml": Case(
        1500,
        partial(embedded, rows=1500),
        partial(fitted, DoubleML()),
        least_squares,
        "price as good as random given 8 text features; ridge",
        "ordinary least squares",
    ),
    "double-ml, clusters": Case(
        1500,
        partial(embedded, rows=1500, authors=300),
        partial(fitted, DoubleML()),
        least_squares,
        "the same; 300 authors share shocks",
        "ordinary least squares",
    ),
    "double-ml, a learner": Case(
        1000,
        partial(curved, rows=1000),
        partial(fitted, DoubleML(learner=splines())),
        least_squares,
        "dose as good as random given 3 features whose effect is a curve; splines",
        "ordinary least squares",
    ),
    "double-ml-instruments": Case(
        1500,
        partial(read_instrument, rows=1500),
        partial(fitted, DoubleMLInstruments()),
        partial(fitted, TwoStageLeastSquares()),
        "the instrument is as good as random given 8 text features; ridge",
        "two-stage least squares",
    ),
    "double-ml-instruments, LIML": Case(
        1500,
        partial(read_instruments, rows=1500, instruments=50),
        partial(fitted, DoubleMLInstruments(kappa="liml")),
        partial(fitted, DoubleMLInstruments()),
        "the same of 50 instruments, first-stage F about 2",
        "the same with two-stage least squares",
    ),
    "double-ml-instruments, 3 confounders": Case(
        1500,
        partial(read_instruments, rows=1500, instruments=9, confounders=3),
        partial(fitted, DoubleMLInstruments(kappa="liml")),
        partial(fitted, DoubleML()),
        "the same of 9 instruments of three confounders, asked for the first",
        "the same, without instruments",
    ),
}


# The same designs with fewer rows or clusters: how coverage depends on them.
SMALLER = {
    **{
        f"ordinary, {weeks} clusters": replace(
            CASES["ordinary, clusters"],
            rows=weeks * 150,
            draw=partial(weekly, weeks=weeks, each=150),
            assumption=f"{weeks} weeks, each with one shock, are independent of each other",
        )
        for weeks in (50, 100)
    },
    **{
        f"interval of ID203, {rows} rows": replace(
            CASES["interval of ID203"], rows=rows, draw=partial(weak, rows=rows)
        )
        for rows in (500, 1000)
    },
    "adversarial-gmm, 1000 rows": replace(
        CASES["adversarial-gmm"], rows=1000, draw=partial(sloped, rows=1000)
    ),
    "double-ml, 800 rows": replace(CASES["double-ml"], rows=800, draw=partial(embedded, rows=800)),
    "additive, 150 clusters two ways": replace(
        CASES["additive, clusters two ways"],
        rows=3000,
        draw=partial(crossed, rows=3000, authors=150, weeks=150),
        assumption="the same; 150 authors and 150 weeks share shocks",
    ),
}


def holds(pieces: Pieces, truth: float) -> bool:
    """Return whether the set holds the truth."""
    return any(lower <= truth <= upper for lower, upper in pieces)


def width(pieces: Pieces) -> float:
    """Return the length of the set, infinite where it is unbounded."""
    return float(sum(upper - lower for lower, upper in pieces))
