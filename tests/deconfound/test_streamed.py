import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign import Logs, Roles, artifacts
from causalign.cli import main
from causalign.deconfound import (
    METHODS,
    Additive,
    OrdinaryLeastSquares,
    TwoStageLeastSquares,
)
from causalign.deconfound.method import FittedOnLogs
from causalign.errors import (
    ColumnNotFound,
    InputError,
    NotIdentified,
    SettingsError,
    UnreadableFile,
)
from causalign.lm.word_counts import HashingEncoder
from causalign.logs import scan_logs, scan_saved
from causalign.stats import block_scores, cluster_sums

ON_SCANS = [
    method
    for method in METHODS.values()
    if getattr(method, "_estimate_scan", None) is not FittedOnLogs._estimate_scan
]


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
        for method in ON_SCANS
    ],
    ids=lambda m: type(m).__name__,
)
def test_batches_give_what_all_rows_give(method, cluster, weight, log):
    named = roles(cluster=cluster, weight=weight)
    whole = method.fit(Logs.read(log, named))
    found = method.fit(scan_logs(log, named, batch_rows=333))
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
    naive = OrdinaryLeastSquares().fit(scan_logs(log, roles()))
    right = TwoStageLeastSquares(exogenous=("month",)).fit(scan_logs(log, roles()))
    at = right.names.index("price")
    error = np.sqrt(right.covariance[at, at])
    assert abs(right.estimates[at] - 0.3) < 4 * error
    assert abs(naive.estimates[naive.names.index("price")] - 0.3) > 4 * error


def test_bad_input_is_said(log, tmp_path):
    with pytest.raises(UnreadableFile, match="There is no file"):
        Additive().fit(scan_logs(tmp_path / "none.parquet", roles()))
    with pytest.raises(ColumnNotFound, match="did you mean 'price'"):
        Additive().fit(scan_logs(log, roles(confounders=("prise",))))
    with pytest.raises(SettingsError, match="all rows at once"):
        Additive(penalty=1.0).fit(scan_logs(log, roles()))
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UnreadableFile, match="damaged"):
        Additive().fit(scan_logs(tmp_path / "x.parquet", roles()))
    bad = pa.table({"text": ["a", "b"], "y": [1.0, None], "price": [1.0, 2.0]})
    pq.write_table(bad, tmp_path / "bad.parquet")
    with pytest.raises(InputError, match="'y' has 1 missing values"):
        OrdinaryLeastSquares().fit(
            scan_logs(tmp_path / "bad.parquet", Roles("text", "y", confounders="price"))
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
    found = OrdinaryLeastSquares().fit(scan_logs(tmp_path, named))
    assert whole.observations == found.observations == 3000
    assert found.names == whole.names
    np.testing.assert_allclose(found.estimates, whole.estimates, rtol=1e-7)
    assert OrdinaryLeastSquares().fit(scan_logs(tmp_path / "week=*", named)).names == whole.names


def test_text_of_impala_is_a_category(log, tmp_path):
    table = pq.read_table(log)
    place = table.column_names.index("month")
    written = table.set_column(place, "month", table["month"].cast(pa.binary()))
    pq.write_table(written, tmp_path / "a.parquet")
    found = OrdinaryLeastSquares().fit(scan_logs(tmp_path, roles()))
    np.testing.assert_allclose(
        found.estimates, OrdinaryLeastSquares().fit(scan_logs(log, roles())).estimates, rtol=1e-9
    )


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Return a log of short texts, weeks, prices and shops."""
    generator = np.random.default_rng(5)
    n = 6000
    words = np.array([f"word{k}" for k in range(60)])
    picked = words[generator.integers(60, size=(n, 5))]
    week = generator.integers(90, size=n)
    week[:3] = [200, 201, 202]  # alone in their weeks
    price = 1e3 + generator.normal(size=n) + (picked == "word3").any(axis=1)
    y = 0.2 * price + np.sin(week) + (picked == "word3").any(axis=1) + generator.normal(size=n)
    table = pa.table(
        {
            "text": [" ".join(row) for row in picked],
            "y": y,
            "week": week,
            "price": price,
            "shop": [f"shop {k}" for k in generator.integers(70, size=n)],
            "w": generator.uniform(0.5, 2, size=n),
        }
    )
    folder = tmp_path_factory.mktemp("texts")
    pq.write_table(table, folder / "log.parquet", row_group_size=500)
    return folder / "log.parquet"


@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize("cluster", [None, "shop"])
def test_sparse_words_in_batches_give_what_all_rows_give(weight, cluster, texts):
    encoder = HashingEncoder(100)
    named = Roles(
        *("text", "y"),
        confounders=("week", "price"),
        categorical=("week",),
        cluster=cluster,
        weight=weight,
    )
    whole = Additive().fit(Logs.read(texts, named), encoder)
    found = Additive().fit(scan_logs(texts, named, batch_rows=777), encoder)
    assert sorted(found.names) == sorted(whole.names)
    order = [found.names.index(name) for name in whole.names]
    np.testing.assert_allclose(found.estimates[order], whole.estimates, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(found.standard_errors[order], whole.standard_errors, rtol=1e-7)
    np.testing.assert_allclose(found.carried[order], whole.carried, rtol=1e-6)
    assert found.observations == whole.observations == 5997
    logs = Logs.read(texts, named)
    # Relative to the average of the rows that were fitted, here without those alone in a week.
    assert np.ptp(found.predict(logs) - whole.predict(logs)) < 1e-8


def test_more_clusters_than_sums_leave_the_errors_right(texts, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_sums, "MOST_NUMBERS", 0)
    monkeypatch.setattr(cluster_sums, "FEWEST_BUCKETS", 1024)
    named = Roles("text", "y", confounders=("price", "w"), cluster="row")
    table = pq.read_table(texts)
    rows = pa.array([f"row {i // 2}" for i in range(len(table))])
    pq.write_table(table.append_column("row", rows), tmp_path / "log.parquet")
    texts = tmp_path / "log.parquet"
    scan = scan_logs(texts, named)
    found = OrdinaryLeastSquares().fit(scan)
    whole = OrdinaryLeastSquares().fit(Logs.read(texts, named))
    np.testing.assert_allclose(found.estimates, whole.estimates, rtol=1e-8)
    # Of 1,024 sums the errors are known to about √(1/2,048) = 2 %.
    np.testing.assert_allclose(found.standard_errors, whole.standard_errors, rtol=0.1)


def test_rows_behind_many_levels_are_counted(texts, monkeypatch):
    named = Roles("text", "y", confounders=("week", "price"), categorical=("week",))
    encoder = HashingEncoder(100)
    whole = Additive().fit(scan_logs(texts, named), encoder)
    monkeypatch.setattr(block_scores, "MOST_READ", 5)
    found = Additive().fit(scan_logs(texts, named), encoder)
    np.testing.assert_allclose(found.carried, whole.carried, rtol=0.15)
    rows = pq.read_table(texts)["week"].to_pylist()
    for name in found.names[:5]:
        counted = found.carried[found.names.index(name)]
        assert counted == pytest.approx(rows.count(int(name[5:-1])))


def test_what_needs_all_rows_says_what_to_do(texts):
    scan = scan_logs(texts, Roles("text", "y", confounders=("price",)))
    with pytest.raises(SettingsError, match="sample"):
        METHODS["double-ml"]().fit(scan, "hashing")


def test_a_scan_is_adjusted_saved_and_read_back(texts, tmp_path):
    named = Roles("text", "y", confounders=("week", "price"), categorical=("week",))
    logs, scan = Logs.read(texts, named), scan_logs(texts, named, batch_rows=900)
    effect = Additive().fit(scan, HashingEncoder(100))
    adjusted, whole = effect.adjust(scan), effect.adjust(logs)
    assert adjusted.roles == whole.roles
    outcome = np.concatenate([batch.outcome for batch in adjusted.batches()])
    np.testing.assert_allclose(outcome, whole.outcome, atol=1e-9)
    adjusted.save(tmp_path / "kept")
    kept = scan_saved(tmp_path / "kept")
    assert kept.history == adjusted.history
    assert len(kept) == len(logs)
    again = Logs.load(tmp_path / "kept")
    np.testing.assert_allclose(again.outcome, whole.outcome, atol=1e-9)
    assert again.completions == logs.completions


def test_an_effect_estimated_on_some_rows_adjusts_all(texts):
    named = Roles("text", "y", confounders=("price",))
    scan = scan_logs(texts, named)
    effect = METHODS["double-ml"]().fit(scan.sample(2000), HashingEncoder(100))
    adjusted = effect.adjust(scan)
    first = next(adjusted.batches())
    np.testing.assert_allclose(
        first.outcome, effect.adjust(next(scan.batches())).outcome, atol=1e-12
    )


def run(words):
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code


def test_the_command_line_reads_batches(texts, tmp_path, capsys):
    words = [*("--completion", "text", "--outcome", "y", "--confounder", "week")]
    words += [*("--confounder", "price", "--categorical", "week", "--encoder", "style")]
    for engine in ((), ("--engine", "batches")):
        out = tmp_path / f"out{len(engine)}"
        assert run(["deconfound", str(texts), *words, *engine, "--out", str(out)]) == 0
    effects = [
        artifacts.read_stage(tmp_path / out).tables["effects"].to_pydict()
        for out in ("out0", "out2")
    ]
    at = [table["name"].index("price") for table in effects]
    estimates = [table["estimate"][i] for table, i in zip(effects, at, strict=True)]
    assert estimates[0] == pytest.approx(estimates[1], rel=1e-4)
    capsys.readouterr()
    assert run(["deconfound", str(texts), *words, "--engine", "spark", "--out", "x"]) == 2
    assert "engine must be" in capsys.readouterr().err
    assert run(["deconfound", str(texts), *words, "--engine", "batches", "--method", "double-ml",
                 "--out", str(tmp_path / "no")]) == 2  # fmt: skip
    assert "all rows" in capsys.readouterr().err


def test_levels_of_rows_that_were_held_out_have_no_effect(texts):
    named = Roles("text", "y", confounders=("week", "price"), categorical=("week",))
    encoder = HashingEncoder(100)
    train, held = scan_logs(texts, named, batch_rows=900).hold_out(0.5, seed=3)
    rows = pa.concat_tables([batch.data for batch in train.batches()])
    weeks = rows["week"].cast(pa.large_string()).to_pylist()
    alone = {week for week in weeks if weeks.count(week) == 1}
    gone = {"200", "201", "202"} - set(weeks)
    assert alone | gone == {"200", "201", "202"}
    assert gone
    found = Additive().fit(train, encoder)
    assert not any(f"week[{week}]" in found.names for week in alone | gone)
    whole = Additive().fit(train.sample(len(train)), encoder)
    order = [found.names.index(name) for name in whole.names]
    np.testing.assert_allclose(found.estimates[order], whole.estimates, rtol=1e-7, atol=1e-8)
    assert np.isfinite(found.adjust(held).sample(10_000).outcome).all()


def test_copies_in_32_bits_are_copies_beside_words_too(texts, tmp_path):
    table = pq.read_table(texts)
    celsius = np.random.default_rng(1).normal(300, 8, len(table)).astype(np.float32)
    table = table.append_column("celsius", [celsius])
    table = table.append_column("fahrenheit", [(celsius * np.float32(1.8) + np.float32(32))])
    pq.write_table(table, tmp_path / "log.parquet")
    named = Roles("text", "y", confounders=("celsius", "fahrenheit"))
    with pytest.raises(NotIdentified, match="'fahrenheit' is a linear combination"):
        Additive().fit(scan_logs(tmp_path / "log.parquet", named), HashingEncoder(100))
