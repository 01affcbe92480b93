"""Columns that once became what they are not: each with the number, error or kind that is right."""

import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign import Logs, Roles
from causalign.audit import audit_logs
from causalign.cli import main
from causalign.deconfound import Additive, OrdinaryLeastSquares
from causalign.errors import InputError
from causalign.logs import scan_logs

GENERATOR = np.random.default_rng(1)
ROWS = 600


def written(tmp_path, columns: dict[str, object]):
    """Write a csv whose cells stand as they are given, quoted."""
    lines = [
        ",".join(columns),
        *(",".join(f'"{c}"' for c in row) for row in zip(*columns.values(), strict=True)),
    ]
    path = tmp_path / "log.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def texts(rows=ROWS):
    return [f"mail {i}" for i in range(rows)]


def test_thousands_separators_are_no_categories(tmp_path):
    """Prices written 1,234 have the slope of the numbers; as text of a frame they are refused."""
    price = np.round(np.exp(GENERATOR.normal(7, 0.6, ROWS)))
    y = 0.01 * price + GENERATOR.normal(size=ROWS)
    roles = Roles("text", "y", confounders="price")
    cells = [f"{value:,.0f}" for value in price]
    path = written(tmp_path, {"text": texts(), "y": y, "price": cells})
    logs = Logs.read(path, roles)
    np.testing.assert_array_equal(logs.confounders[0].values, price)
    estimate = OrdinaryLeastSquares().fit(logs).estimates
    np.testing.assert_allclose(estimate, np.polyfit(price, y, 1)[:1])
    assert "between thousands" in logs.history[1]
    with pytest.raises(InputError, match="'price' holds numbers written as text, such as '1,"):
        Logs.of(pd.DataFrame({"text": texts(), "y": y, "price": cells}), roles)


@pytest.mark.parametrize("mark", ["null", r"\N", "-", "unknown", "n/a", "#REF!", "?"])
def test_one_word_makes_no_categories_of_numbers(mark, tmp_path):
    """The error names cell and row; without that row the slope is that of the numbers."""
    c = np.round(np.exp(GENERATOR.normal(6, 1, ROWS)))
    y = 0.01 * c + GENERATOR.normal(size=ROWS)
    cells = [f"{value:.0f}" for value in c]
    cells[7] = mark
    path = written(tmp_path, {"text": texts(), "y": y, "c": cells})
    roles = Roles("text", "y", confounders="c")
    with pytest.raises(InputError) as refused:
        Logs.read(path, roles)
    assert "row 7" in str(refused.value)
    assert repr(mark) in str(refused.value)
    logs = Logs.read(path, roles, drop_incomplete=True)
    assert "left out 1 incomplete rows" in logs.history[-1]
    others = np.arange(ROWS) != 7
    slope = np.polyfit(c[others], y[others], 1)[0]
    np.testing.assert_allclose(OrdinaryLeastSquares().fit(logs).estimates, [slope])


def test_names_of_a_class_label_are_its_categories(tmp_path):
    """The middle one of three regions moves the outcome: a slope on codes 0, 1, 2 is zero."""
    datasets = pytest.importorskip("datasets")
    code = np.arange(ROWS) % 3
    y = np.array([0.0, 5.0, 0.0])[code] + GENERATOR.normal(size=ROWS)
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "y": datasets.Value("float64"),
            "region": datasets.ClassLabel(names=["north", "south", "west"]),
        }
    )
    columns = {"text": texts(), "y": y.tolist(), "region": code.tolist()}
    data = datasets.Dataset.from_dict(columns, features=features)
    data.to_parquet(tmp_path / "log.parquet")
    roles = Roles("text", "y", confounders="region")
    right = np.array([y[code == k].mean() for k in range(3)]) - y.mean()
    for logs in (Logs.of(data, roles), Logs.read(tmp_path / "log.parquet", roles)):
        effect = OrdinaryLeastSquares().fit(logs)
        assert effect.names == ("region[north]", "region[south]", "region[west]")
        np.testing.assert_allclose(effect.estimates, right)
    streamed = OrdinaryLeastSquares().fit(scan_logs(tmp_path / "log.parquet", roles))
    np.testing.assert_allclose(streamed.estimates, right)


@pytest.mark.parametrize("make", [pl.DataFrame, pd.DataFrame, pa.table])
@pytest.mark.parametrize(
    "roles",
    [
        Roles("text", "y", cluster="g"),
        Roles("text", "y", group="g"),
        Roles("text", "y", confounders="g", categorical="g"),
    ],
    ids=["cluster", "group", "categorical"],
)
def test_rows_without_an_id_are_no_cluster(make, roles):
    """NaN beside null, in polars and Arrow, and nan written by astype(str) are missing ids."""
    ids = np.array([1.0, np.nan, 2.0, np.nan, 1.0])
    frame = {"text": texts(5), "y": np.arange(5.0)}
    for values in (ids, [str(value) for value in ids]):
        with pytest.raises(InputError, match="'g' has 2 missing values"):
            Logs.of(make(frame | {"g": values}), roles)
    logs = Logs.of(make(frame | {"g": ids}), roles, drop_incomplete=True)
    np.testing.assert_array_equal(logs.codes_of("g"), [0, 1, 0])


@pytest.mark.parametrize(
    ("cells", "codes"),
    [
        (["007", "7", "007"], [0, 1, 0]),
        (["1.10", "1.1", "1.10"], [1, 0, 1]),
        (["1e5", "100000", "1e5"], [1, 0, 1]),
        (["9007199254740993", "9007199254740992", "9007199254740993"], [1, 0, 1]),
        (["36893488147419103232", "36893488147419103233", "1"], [1, 2, 0]),
    ],
)
def test_ids_of_a_csv_are_as_written(cells, codes, tmp_path):
    path = written(tmp_path, {"text": texts(3), "y": range(3), "id": cells})
    for roles in (Roles("text", "y", cluster="id"), Roles("text", "y", group="id")):
        np.testing.assert_array_equal(
            Logs.read(path, roles).groups, codes if roles.group else range(3)
        )
        np.testing.assert_array_equal(Logs.read(path, roles).clusters, codes)
    named = Logs.read(path, Roles("text", "y", confounders="id", categorical="id"))
    assert set(named.confounders[0].levels) == set(cells)


def test_leading_zeros_are_names_without_being_told(tmp_path):
    path = written(
        tmp_path, {"text": texts(6), "y": range(6), "place": ["0501", "501", "00501"] * 2}
    )
    confounder = Logs.read(path, Roles("text", "y", confounders="place")).confounders[0]
    assert confounder.levels == ("00501", "0501", "501")


def test_texts_of_digits_stay_as_written(tmp_path):
    path = written(tmp_path, {"text": ["007", "1.50", "1e3"], "y": range(3)})
    assert Logs.read(path, Roles("text", "y")).completions == ["007", "1.50", "1e3"]


LONG = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (9 << 30, 9 << 30))
import numpy as np, pyarrow as pa
from causalign import Logs, Roles
from causalign.audit import audit_logs
from causalign.logs import draw_held_out, scan_logs
texts = [f"mail {i}" for i in range(3000)]
texts[7] = "x" * 1_000_000
y = np.random.default_rng(0).normal(size=3000)
columns = {"text": texts, "y": y, "c": np.arange(3000) % 3}
logs = Logs.of(pa.table(columns), Roles("text", "y", confounders="c"))
pairs = logs.matched_pairs(("c",), seed=0)
print(audit_logs(logs).rows, draw_held_out(logs, 0.2, 0).sum(), len(pairs))
"""


def test_one_long_text_costs_its_own_memory():
    """A table of 1 MB: nothing pads every text to the longest (3,000 rows would ask for 11 GiB)."""
    done = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True)
    assert done.stdout.split() == ["3000", "600", "1500"], done.stderr[-300:]


@pytest.mark.parametrize("role", ["confounders", "cluster", "group"])
def test_intervals_and_periods_of_pandas_are_names(role, tmp_path):
    frame = pd.DataFrame({"text": texts(90), "y": np.arange(90.0), "age": np.arange(90)})
    frame["bin"] = pd.cut(frame.age, [-1, 30, 50, 100])
    frame["month"] = pd.date_range("2024", periods=90, freq="D").to_period("M")
    bins = np.repeat([0, 1, 2], [31, 20, 39])
    for name, right in {"bin": bins, "month": np.repeat([0, 1, 2], [31, 29, 30])}.items():
        logs = Logs.of(frame, Roles("text", "y", **{role: name}))
        np.testing.assert_array_equal(logs.codes_of(name), right)
    frame[["text", "y", "month"]].to_parquet(tmp_path / "log.parquet")
    logs = Logs.read(tmp_path / "log.parquet", Roles("text", "y", confounders="month"))
    assert logs.confounders[0].levels == ("2024-01", "2024-02", "2024-03")


def test_integers_of_any_size_are_exact_names():
    frame = pd.DataFrame(
        {"text": texts(4), "y": range(4), "hash": [2**70 + i // 2 for i in range(4)]}
    )
    assert len(Logs.of(frame, Roles("text", "y"))) == 4
    np.testing.assert_array_equal(
        Logs.of(frame, Roles("text", "y", group="hash")).groups, [0, 0, 1, 1]
    )
    with pytest.raises(
        InputError, match=r"'hash' holds the integer 1180591620717411303424, beyond"
    ):
        Logs.of(frame, Roles("text", "y", confounders="hash"))


def test_a_mixed_column_is_named_and_refused_only_where_it_is_used():
    frame = pd.DataFrame({"text": texts(4), "y": range(4), "g": ["a", 1, "b", 2]})
    assert len(Logs.of(frame, Roles("text", "y"))) == 4
    with pytest.raises(
        InputError, match=r"'g' mixes types: str \(row 0 holds 'a'\) and int \(row 1"
    ):
        Logs.of(frame, Roles("text", "y", group="g"))


def test_sparse_columns_are_numbers():
    frame = pd.DataFrame(
        {"text": texts(4), "y": range(4), "s": pd.arrays.SparseArray([0, 0, 1, 1])}
    )
    logs = Logs.of(frame, Roles("text", "y", confounders="s"))
    np.testing.assert_array_equal(logs.confounders[0].values, [0, 0, 1, 1])


def test_bytes_are_text_where_they_are_utf8(tmp_path):
    """Old engines write text as BINARY; images that have no role refuse no log."""
    table = pa.table({"text": pa.array(["größer".encode(), b"b", b"c"]), "y": [1, 2, 3]})
    image = pa.array([b"\x89PNG\xff", b"\x00", b"\xfe"])
    pq.write_table(table.append_column("image", image), tmp_path / "log.parquet")
    for logs in (
        Logs.read(tmp_path / "log.parquet", Roles("text", "y")),
        Logs.of(table.append_column("image", image), Roles("text", "y")),
    ):
        assert logs.completions == ["größer", "b", "c"]
    with pytest.raises(InputError, match="'image' holds bytes that are not UTF-8"):
        Logs.of(table.append_column("image", image), Roles("image", "y"))


SPELLINGS = {
    "booleans": lambda click: click,
    "objects": lambda click: np.array(click, dtype=object),
    "yes and no": lambda click: np.where(click, "yes", "no"),
    "True and False": lambda click: np.where(click, "True", "False"),
    "Y and N": lambda click: np.where(click, "Y", "N"),
    "digits": lambda click: np.where(click, "1", "0"),
    "numbers": lambda click: click.astype(int),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_binary_outcome_is_the_same_at_all_doors(spelling, tmp_path, capsys):
    generator = np.random.default_rng(0)
    click, c = generator.random(ROWS) < 0.3, generator.normal(size=ROWS)
    frame = pd.DataFrame({"text": texts(), "click": SPELLINGS[spelling](click), "one": 1, "c": c})
    frame = frame.assign(g=np.arange(ROWS) % 40, lp=-2.0, tp=-2 + 0.1 * c)
    frame.to_parquet(tmp_path / "log.parquet")
    frame.to_csv(tmp_path / "log.csv", index=False)
    roles = Roles("text", "click", confounders="c")
    right = np.polyfit(c, click.astype(float), 1)[:1]
    for logs in (
        Logs.of(frame, roles),
        Logs.read(tmp_path / "log.parquet", roles),
        Logs.read(tmp_path / "log.csv", roles),
    ):
        np.testing.assert_array_equal(logs.outcome, click)
        np.testing.assert_allclose(OrdinaryLeastSquares().fit(logs).estimates, right)
    streamed = OrdinaryLeastSquares().fit(scan_logs(tmp_path / "log.parquet", roles))
    np.testing.assert_allclose(streamed.estimates, right)
    counts = Logs.of(frame, Roles("text", "click", trials="one", group="g"))
    assert len(counts.pairs(significance=0.5)) > 0
    columns = ["--outcome", "click", "--logging-logprob", "lp", "--target-logprob", "tp"]
    for name in ("log.parquet", "log.csv") if spelling in ("booleans", "yes and no") else ():
        with pytest.raises(SystemExit) as stopped:
            main(["evaluate", "value", str(tmp_path / name), *columns])
        assert stopped.value.code == 0, capsys.readouterr().err


def test_a_kind_that_differs_between_fit_and_predict_is_refused():
    """Dates against the same times in seconds: neither direction may give a number."""
    when = pd.date_range("2024-01-01", periods=ROWS, freq="h")
    seconds = (when - pd.Timestamp("1970")) // pd.Timedelta("1s")
    y = np.arange(ROWS) / 24 * 0.1 + GENERATOR.normal(size=ROWS)
    frame = pd.DataFrame({"text": texts(), "y": y})
    roles = Roles("text", "y", confounders="c")
    dates, numbers = (Logs.of(frame.assign(c=c), roles) for c in (when, seconds))
    names = Logs.of(frame.assign(c=np.where(np.arange(ROWS) % 2, "a", "b")), roles)
    words = {"dates": dates, "numbers": numbers, "categories": names}
    for fitted, logs in words.items():
        for formula in (None, "spline(c, 5)") if fitted != "categories" else (None,):
            effect = OrdinaryLeastSquares(formula=formula).fit(logs)
            assert effect.predict(logs).shape == (ROWS,)
            for here, others in words.items():
                if here != fitted:
                    with pytest.raises(InputError, match=f"held {fitted} in .* holds {here} here"):
                        effect.predict(others)


def test_truth_values_and_0_and_1_are_one_kind():
    c = np.arange(ROWS) % 3 == 0
    frame = pd.DataFrame({"text": texts(), "y": c + GENERATOR.normal(size=ROWS)})
    roles = Roles("text", "y", confounders="c")
    truth, digits = (
        Logs.of(frame.assign(c=c), roles),
        Logs.of(frame.assign(c=c.astype(int)), roles),
    )
    for fitted, other in ((truth, digits), (digits, truth)):
        effect = OrdinaryLeastSquares().fit(fitted)
        np.testing.assert_array_equal(effect.predict(fitted), effect.predict(other))
    with pytest.raises(InputError, match="held truth values"):
        OrdinaryLeastSquares().fit(truth).predict(Logs.of(frame.assign(c=np.arange(ROWS)), roles))


def test_the_additive_estimator_and_the_audit_read_alike(tmp_path):
    """What the columns are is decided once, so that no stage sees another kind."""
    price = np.round(np.exp(GENERATOR.normal(7, 0.6, 300)))
    cells = [f"{value:,.0f}".replace(",", "\u202f") for value in price]
    x = np.log(price) + GENERATOR.normal(size=300)
    columns = {"text": texts(300), "y": 0.01 * price, "price": cells, "x": x}
    path = written(tmp_path, columns)
    logs = Logs.read(path, Roles("text", "y", confounders="price", features="x"))
    assert "price" in audit_logs(logs).summary().splitlines()[0]
    assert Additive().fit(logs).names == ("price",)
