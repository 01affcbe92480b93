import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign import Logs, Roles
from causalign.deconfound import (
    METHODS,
    Additive,
    OrdinaryLeastSquares,
    TwoStageLeastSquares,
    fit_parquet,
)
from causalign.errors import ColumnNotFound, InputError, SettingsError, UnreadableFile


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    generator = np.random.default_rng(3)
    n = 5000
    z = generator.normal(size=(n, 3))
    f = generator.normal(size=(n, 4))
    hidden = generator.normal(size=n)
    price = 1e4 + z @ [1.0, 0.5, 0.2] + f[:, 0] + hidden + generator.normal(size=n)
    month = generator.integers(12, size=n)
    y = 2e6 + 0.3 * price + 0.1 * month + f @ [1, 2, 0, -1] + hidden + generator.normal(size=n)
    table = pa.table(
        {
            "text": [f"t{i}" for i in range(n)],
            "y": y,
            "price": price,
            "month": [f"m{m:02d}" for m in month],
            "shop": generator.integers(60, size=n),
            "w": generator.uniform(0.5, 2, size=n),
            **{f"z{i}": z[:, i] for i in range(3)},
            **{f"f{i}": f[:, i] for i in range(4)},
        }
    )
    folder = tmp_path_factory.mktemp("log")
    pq.write_table(table.slice(0, 2000), folder / "a.parquet")
    pq.write_table(table.slice(2000), folder / "b.parquet", row_group_size=700)
    return folder


def roles(**more):
    given = {"confounders": ("price", "month"), "instruments": ("z0", "z1", "z2"),
             "features": ("f0", "f1", "f2", "f3")}  # fmt: skip
    return Roles("text", "y", **{**given, **more})


@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize("cluster", [None, "shop"])
@pytest.mark.parametrize(
    "method",
    [
        method(exogenous=("month",)) if "instruments" in method.needs else method()
        for method in METHODS.values()
        if hasattr(method, "plan_blocks")
    ],
    ids=lambda m: type(m).__name__,
)
def test_batches_give_what_all_rows_give(method, cluster, weight, log):
    named = roles(cluster=cluster, weight=weight)
    whole = method.fit(Logs.read(log, named))
    found = fit_parquet(method, log, named, batch_rows=333)
    assert (found.method, found.assumption) == (whole.method, whole.assumption)
    assert found.names == whole.names or set(found.names) == set(whole.names)
    order = [found.names.index(name) for name in whole.names]
    np.testing.assert_allclose(found.estimates[order], whole.estimates, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(
        np.sqrt(np.diag(found.covariance))[order], np.sqrt(np.diag(whole.covariance)), rtol=1e-7
    )
    np.testing.assert_allclose(found.carried[order], whole.carried, rtol=1e-6)
    logs = Logs.read(log, named)
    np.testing.assert_allclose(found.predict(logs), whole.predict(logs), atol=1e-7)


def test_the_naive_estimate_is_wrong_and_the_streamed_one_is_not(log):
    naive = fit_parquet(OrdinaryLeastSquares(), log, roles())
    right = fit_parquet(TwoStageLeastSquares(exogenous=("month",)), log, roles())
    at = right.names.index("price")
    error = np.sqrt(right.covariance[at, at])
    assert abs(right.estimates[at] - 0.3) < 4 * error
    assert abs(naive.estimates[naive.names.index("price")] - 0.3) > 4 * error


def test_bad_input_is_said(log, tmp_path):
    with pytest.raises(UnreadableFile, match="There is no file"):
        fit_parquet(Additive(), tmp_path / "none.parquet", roles())
    with pytest.raises(ColumnNotFound, match="did you mean 'price'"):
        fit_parquet(Additive(), log, roles(confounders=("prise",)))
    with pytest.raises(SettingsError, match="all rows at once"):
        fit_parquet(Additive(penalty=1.0), log, roles())
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UnreadableFile, match="damaged"):
        fit_parquet(Additive(), tmp_path / "x.parquet", roles())
    bad = pa.table({"text": ["a", "b"], "y": [1.0, None], "price": [1.0, 2.0]})
    pq.write_table(bad, tmp_path / "bad.parquet")
    with pytest.raises(InputError, match="'y' has 1 missing values"):
        fit_parquet(
            OrdinaryLeastSquares(),
            tmp_path / "bad.parquet",
            Roles("text", "y", confounders="price"),
        )


@pytest.mark.parametrize("weeks", [("1", "2", "10"), ("a", "b", "c")])
def test_partitions_and_hidden_files_are_read_as_from_memory(weeks, log, tmp_path):
    table = pq.read_table(log)
    for number, week in enumerate(weeks):
        (tmp_path / f"week={week}").mkdir()
        pq.write_table(table.slice(number * 1000, 1000), tmp_path / f"week={week}" / "p.parquet")
    (tmp_path / "_temporary").mkdir()
    pq.write_table(table, tmp_path / "_temporary" / "p.parquet")
    named = roles(confounders=("price", "week"), instruments=())
    whole = OrdinaryLeastSquares().fit(Logs.read(tmp_path, named))
    found = fit_parquet(OrdinaryLeastSquares(), tmp_path, named)
    assert whole.observations == found.observations == 3000
    assert found.names == whole.names
    np.testing.assert_allclose(found.estimates, whole.estimates, rtol=1e-7)
    assert fit_parquet(OrdinaryLeastSquares(), tmp_path / "week=*", named).names == whole.names


def test_text_of_impala_is_a_category(log, tmp_path):
    table = pq.read_table(log)
    place = table.column_names.index("month")
    written = table.set_column(place, "month", table["month"].cast(pa.binary()))
    pq.write_table(written, tmp_path / "a.parquet")
    found = fit_parquet(OrdinaryLeastSquares(), tmp_path, roles())
    np.testing.assert_allclose(
        found.estimates, fit_parquet(OrdinaryLeastSquares(), log, roles()).estimates, rtol=1e-9
    )
