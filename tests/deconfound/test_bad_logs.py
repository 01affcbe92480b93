"""Bad logs: every estimator raises a clear error, reports a finding or gives the right numbers.

Never a traceback, a RuntimeWarning or a silent number. Each row of the table changes good logs and
says what must happen, for each of the methods that it names.
"""

import warnings
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest

from causalign import deconfound
from causalign.deconfound import Additive
from causalign.errors import InputError, NotIdentified
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.results import Verdict

# Effects that are functions, by kernels or networks, have tests of their own.
FUNCTIONS = ("adversarial-gmm", "neural-instruments")
METHODS = {n: method() for n, method in deconfound.METHODS.items() if n not in FUNCTIONS}
ALL = tuple(METHODS)
EFFECTS = tuple(n for n in ALL if n != "permutation-weighting")
INSTRUMENTS = tuple(n for n in ALL if "instruments" in METHODS[n].needs)
TEXT = tuple(n for n in ALL if METHODS[n].reads_text)
FOLDS = tuple(n for n in ALL if hasattr(METHODS[n], "folds"))
LINEAR = tuple(n for n in ALL if getattr(METHODS[n], "reads_scans", False))
K_CLASS = tuple(n for n in LINEAR if n in INSTRUMENTS)
LIML = tuple(n for n in K_CLASS if hasattr(METHODS[n], "fuller"))


@dataclass(frozen=True)
class Bad:
    """``change`` makes good logs bad; ``methods`` then raise ``error`` with the words ``says``, or
    report the finding ``says``; without either they give the numbers of the good logs in units of
    ``scale``.
    """

    change: dict
    methods: tuple[str, ...] = ALL
    error: type | None = None
    says: str = ""
    scale: tuple[float, ...] = ()
    rows: int = 200
    roles: dict = field(default_factory=dict)


def good(rows=200):
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"text": [f"text {i}" for i in range(rows)]})
    data["x"], data["x2"], data["z"], data["z2"] = rng.normal(size=(4, rows))
    data["price"] = data.z + data.z2 + data.x + rng.normal(size=rows)
    data["age"] = data.z2 - data.z + rng.normal(size=rows)
    data["y"] = data.price + data.age + data.x + rng.normal(size=rows)
    data["season"] = rng.choice(list("abc"), rows)
    return data.assign(**{f"c{i}": rng.normal(size=rows) for i in range(9)})


def one(name, value, at=3):
    """Put one value into a column."""

    def change(data):
        column = data[name] if name in data else np.ones(len(data))
        return np.where(np.arange(len(data)) == at, value, column)

    return change


NINE = tuple(f"c{i}" for i in range(9))
THREE = {"instruments": ("z", "z2", "z3")}
SUM = {"confounders": ("price", "age", "sum"), "instruments": ("z", "z2", "x2")}
COPY = {"confounders": ("price", "copy")}
WEIGHT = {"weight": "w"}
INTEGER = "beyond 2.53, where numbers are rounded"
BAD = {
    # Confounders and instruments that say the same
    "a confounder is the sum of others": Bad(
        {"sum": lambda d: d.price + d.age}, EFFECTS, NotIdentified, "'sum' is a linear comb", (),
        roles=SUM,
    ),
    "the same at very different scales": Bad(
        {"sum": lambda d: 1e12 * d.price, "price": lambda d: 1e-9 * d.price},
        EFFECTS, NotIdentified, "'sum' is a linear combination of 'price'", roles=SUM,
    ),
    "a confounder twice": Bad(
        {"copy": lambda d: d.price}, EFFECTS, NotIdentified, "'copy' is a linear", roles=COPY
    ),
    "a confounder twice, but for rounding": Bad(
        {"copy": lambda d: d.price + 1e-12 * d.age}, EFFECTS, NotIdentified, "'copy' is a linear",
        roles=COPY,
    ),
    "a confounder twice, in other units": Bad(
        {"copy": lambda d: 32 + 1.8 * d.price}, EFFECTS, NotIdentified, "'copy' is a linear",
        roles=COPY,
    ),
    "an instrument is the sum of others": Bad(
        {"z3": lambda d: d.z + d.z2}, K_CLASS,
        NotIdentified, "'z3' is a linear combination of", roles=THREE,
    ),
    "an instrument twice": Bad(
        {"z3": lambda d: d.z}, INSTRUMENTS, NotIdentified, "'z3' is a linear", roles=THREE
    ),
    "an instrument copies a confounder": Bad(
        {"z3": lambda d: d.price}, INSTRUMENTS, None, "ID206", roles=THREE
    ),
    "an instrument is a confounder in other units": Bad(
        {"z3": lambda d: 32 + 1.8 * d.price}, INSTRUMENTS, None, "ID206", roles=THREE
    ),
    "fewer instruments than confounders": Bad(
        {}, INSTRUMENTS, NotIdentified, "at least 2 are needed .ID202.",
        roles={"instruments": ("z",)},
    ),
    "an instrument that does nothing": Bad(
        {}, INSTRUMENTS, None, "ID201",
        roles={"confounders": ("price",), "instruments": ("c0",)},
    ),
    # What does not vary
    "a constant confounder": Bad(
        {"age": lambda d: 0.1}, EFFECTS, NotIdentified, "confounder 'age' has the same value"
    ),
    "a category of one level": Bad(
        {"age": lambda d: "a"}, EFFECTS, NotIdentified, "confounder 'age' has the same value"
    ),
    "a constant instrument": Bad(
        {"z3": lambda d: 7}, INSTRUMENTS, NotIdentified, "instrument 'z3' has the same value",
        roles=THREE,
    ),
    "constant text features": Bad(
        {"x": lambda d: 1.0, "x2": lambda d: 2.0}, TEXT, InputError, "text feature is constant"
    ),
    # What varies too much
    "a category seen once": Bad(
        {"season": one("season", "rare")}, ("ordinary", "additive", "double-ml"), None, "DE101",
        roles={"confounders": ("price", "season")},
    ),
    "every row its own category": Bad(
        {}, ("ordinary", "double-ml", "double-ml-instruments"),
        NotIdentified, "200 rows for 201 coefficients",
        roles={"confounders": ("price", "name")},
    ),
    "every row its own category, absorbed": Bad(
        {}, ("additive",), NotIdentified, "Every row is alone in some category",
        roles={"confounders": ("price", "name")},
    ),
    "every row its own category, weighted": Bad(
        {}, ("permutation-weighting",), None, "DE204", rows=60,
        roles={"confounders": ("price", "name")},
    ),
    "more coefficients than rows": Bad(
        {}, ("ordinary", "additive", "double-ml"), NotIdentified, "8 rows for .* coefficients",
        rows=8, roles={"confounders": NINE},
    ),
    "more instruments than rows": Bad(
        {}, INSTRUMENTS, NotIdentified, "8 rows for .* coefficients", rows=8,
        roles={"confounders": ("price",), "instruments": NINE},
    ),
    "as many coefficients as rows": Bad(
        {}, ("ordinary", "two-stage"), NotIdentified, "no degrees of freedom", rows=3
    ),
    "two rows": Bad({}, LINEAR, NotIdentified, "2 rows for 3 coefficients", rows=2),
    "fewer rows than folds": Bad({}, FOLDS, InputError, "need at least 5 groups", rows=4),
    # Clusters
    "all one cluster": Bad(
        {"g": lambda d: 1}, LINEAR, NotIdentified, "at least two clusters", roles={"cluster": "g"}
    ),
    "all one cluster, to be cut in folds": Bad(
        {"g": lambda d: 1}, FOLDS, InputError, "need at least 5 groups; there are 1",
        roles={"cluster": "g"},
    ),
    "the second way is one cluster": Bad(
        {"g": lambda d: np.arange(len(d)) // 4, "h": lambda d: 1}, EFFECTS,
        NotIdentified, "at least two clusters", roles={"cluster": ("g", "h")},
    ),
    "two clusters for three coefficients": Bad(
        {"g": lambda d: np.arange(len(d)) % 2}, LINEAR, roles={"cluster": "g"}
    ),
    # Text and confounder
    "the text determines the confounder": Bad(
        {"price": lambda d: 2 * d.x}, ("additive",), NotIdentified, "'price' is a linear",
        roles={"confounders": ("price",)},
    ),
    "the text determines the confounder, cross-fitted": Bad(
        {"price": lambda d: 2 * d.x}, ("double-ml", "double-ml-instruments"),
        NotIdentified, "text features determine 'price'", roles={"confounders": ("price",)},
    ),
    "the text determines the instrument": Bad(
        {"z": lambda d: 2 * d.x}, ("double-ml-instruments",),
        NotIdentified, "text features determine 'z'",
        roles={"confounders": ("price",), "instruments": ("z",)},
    ),
    "perfect separation": Bad(
        {"price": lambda d: 100 * np.sign(d.x) + 1e-6 * d.z}, ("permutation-weighting",),
        None, "DE204", roles={"confounders": ("price",)},
    ),
    "the outcome is exactly h": Bad(
        {"y": lambda d: d.price + d.age}, LIML,
        NotIdentified, "outcome is an exact combination",
    ),
    # Numbers that computers do not hold
    "int64 at its end": Bad(
        {"price": lambda d: 2**63 - 1 - np.arange(len(d)) ** 2}, ALL, InputError, INTEGER
    ),
    "uint64 at its end": Bad(
        {"price": lambda d: np.uint64(2**64 - 1) - np.arange(len(d)).astype("uint64")},
        ALL, InputError, INTEGER,
    ),
    "integers that differ in their last digits": Bad(
        {"price": lambda d: 2**60 + np.arange(len(d))}, ALL, InputError, INTEGER
    ),
    "the outcome is such an integer": Bad(
        {"y": lambda d: 2**60 + np.arange(len(d))}, ALL, InputError, INTEGER
    ),
    "32-bit integers whose squares do not fit": Bad(
        {"price": lambda d: (d.price * 2e8).astype("int32")}, EFFECTS, scale=(2e8, 1)
    ),
    "16-bit integers whose squares do not fit": Bad(
        {"price": lambda d: (d.price * 5e3).astype("int16")}, EFFECTS, scale=(5e3, 1)
    ),
    "squares that overflow floats": Bad(
        {"price": lambda d: 1e200 * d.price}, ALL, InputError, "Change the unit"
    ),
    "squares that vanish": Bad(
        {"price": lambda d: 1e-200 * d.price}, ALL, InputError, "Change the unit"
    ),
    "the outcome's squares overflow": Bad(
        {"y": lambda d: 1e200 * d.y}, ALL, InputError, "Change the unit"
    ),
    "1e12 beside 1e-9": Bad(
        {"price": lambda d: 1e12 * d.price, "age": lambda d: 1e-9 * d.age},
        EFFECTS, scale=(1e12, 1e-9),
    ),
    "instruments of 1e-9": Bad(
        {"z": lambda d: 1e-9 * d.z, "z2": lambda d: 1e12 * d.z2}, INSTRUMENTS, scale=(1, 1)
    ),
    "a large offset": Bad(
        {"price": lambda d: 1e9 + d.price, "z": lambda d: 1e9 + d.z}, EFFECTS, scale=(1, 1)
    ),
    "NaN in a confounder": Bad(
        {"price": one("price", np.nan)}, ALL, InputError, "'price' has 1 missing"
    ),
    "an infinite confounder": Bad(
        {"price": one("price", np.inf)}, ALL, InputError, "row 3 is infinite"
    ),
    "NaN in an instrument": Bad({"z": one("z", np.nan)}, INSTRUMENTS, InputError, "1 missing"),
    "an infinite instrument": Bad({"z": one("z", np.inf)}, INSTRUMENTS, InputError, "row 3 is inf"),
    "an infinite outcome": Bad({"y": one("y", -np.inf)}, ALL, InputError, "row 3 is infinite"),
    "NaN in a text feature": Bad({"x": one("x", np.nan)}, TEXT, InputError, "1 missing"),
    # Weights
    "a negative weight": Bad({"w": one("w", -1.0)}, ALL, InputError, "not po.*row 3", roles=WEIGHT),
    "a weight of zero": Bad({"w": one("w", 0.0)}, ALL, InputError, "not pos.*row 3", roles=WEIGHT),
    "all weights zero": Bad({"w": lambda d: 0.0}, ALL, InputError, "200 weights", roles=WEIGHT),
    "a missing weight": Bad({"w": one("w", np.nan)}, ALL, InputError, "1 missing", roles=WEIGHT),
    "an infinite weight": Bad({"w": one("w", np.inf)}, ALL, InputError, "infinite", roles=WEIGHT),
    "one row weighs all": Bad(
        {"w": one("w", 1e18)}, ALL, InputError, "row 3 carries 100.0%", roles=WEIGHT
    ),
    "weights of 1e-30": Bad(
        {"w": lambda d: 1e-30}, EFFECTS, scale=(1, 1), roles=WEIGHT
    ),
}  # fmt: skip


def logs_of(bad, name):
    data = good(bad.rows).assign(name=lambda d: d.text)
    data = data.assign(**{column: change(data) for column, change in bad.change.items()})
    roles = {"confounders": ("price", "age"), "features": ("x", "x2"), "instruments": ("z", "z2")}
    roles |= bad.roles
    if name not in INSTRUMENTS:
        del roles["instruments"]
    taken = (*roles["confounders"], *roles.get("instruments", ()))
    roles["features"] = tuple(f for f in roles["features"] if f not in taken)
    return Logs.of(data, Roles("text", "y", **roles))


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for case, bad in BAD.items() for name in bad.methods]
)
def test_bad_logs(name, case):
    bad, method = BAD[case], METHODS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        if bad.error is not None:
            with pytest.raises(bad.error, match=bad.says):
                method.fit(logs_of(bad, name))
            return
        given = logs_of(bad, name)
        result = method.fit(given)
        result.section()
        if name in EFFECTS:
            assert np.isfinite(result.adjust(given).outcome).all()
    grave = {f.code for f in result.findings if f.verdict in (Verdict.WARN, Verdict.FAIL)}
    assert not bad.says or bad.says in grave
    if bad.scale:
        plain = Bad({}, roles={k: v for k, v in bad.roles.items() if k != "weight"})
        expected = method.fit(logs_of(plain, name))
        scale = np.array(bad.scale)
        # Rounding to integers, and to the last digits of a large offset, moves the numbers a bit.
        np.testing.assert_allclose(result.estimates * scale, expected.estimates, rtol=1e-3)
        errors = result.standard_errors * scale
        np.testing.assert_allclose(errors, expected.standard_errors, rtol=1e-3)
        assert [f.verdict for f in result.findings] == [f.verdict for f in expected.findings]


@pytest.mark.parametrize("name", INSTRUMENTS)
@pytest.mark.parametrize("moved", [("price", "age", "x"), ("z", "z2", "x")])
def test_no_diagnostic_depends_on_units(name, moved):
    """Every number of every finding is the same at 1e12, 1e-9 and 1e6 times the units."""
    scale = dict(zip(moved, (1e12, 1e-9, 1e6), strict=True))
    changed = {c: lambda d, c=c, s=s: s * d[c] for c, s in scale.items()}
    roles = {"instruments": ("z", "z2", "c0"), "features": ("x", "x2")}
    found = [METHODS[name].fit(logs_of(Bad(c, roles=roles), name)) for c in ({}, changed)]
    for plain, other in zip(*(effect.findings for effect in found), strict=True):
        assert plain.verdict is other.verdict
        for key, value in plain.numbers.items():
            assert other.numbers[key] == (
                value if isinstance(value, str) else pytest.approx(value, rel=1e-5, abs=1e-12)
            ), (plain.code, key)


def test_identifiers_beyond_the_floats_are_categories():
    """Twelve shops whose numbers differ in the last digit only are twelve shops."""
    data = good().assign(shop=lambda d: 2**60 + np.arange(len(d)) % 12)
    roles = Roles("text", "y", confounders=("shop",), features=("x",), categorical=("shop",))
    assert len(Additive().fit(Logs.of(data, roles)).names) == 12


@pytest.mark.parametrize("name", ["additive", "double-ml", "permutation-weighting"])
def test_features_given_as_an_array_are_checked_too(name):
    given = logs_of(Bad({}), name)
    features = np.ones((200, 2))
    with pytest.raises(InputError, match="constant"):
        METHODS[name].fit(given, text_features=features)
    features[3, 0] = 1e200
    with pytest.raises(InputError, match="beyond 1e\\+100"):
        METHODS[name].fit(given, text_features=features)
    features[3, 0] = np.nan
    with pytest.raises(InputError, match="finite"):
        METHODS[name].fit(given, text_features=features)
