"""Numbers that rounding, rank, clusters or memory once made wrong or missing without a word."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign import Logs, Roles
from causalign.deconfound import (
    METHODS,
    Additive,
    OrdinaryLeastSquares,
    PermutationWeighting,
    TwoStageLeastSquares,
)
from causalign.errors import InputError, NotIdentified
from causalign.lm import embed, load_encoder
from causalign.logs import scan_logs
from causalign.results import Verdict
from causalign.simulate import Newsletter


def finding(effect, code):
    return next((f for f in effect.findings if f.code == code), None)


def by_directions(y, X, D, clusters=None):
    """Return deviations of the categories D and their errors beside X, by SVD above 32 bits."""
    U, s, _ = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    Z = np.hstack([D, U[:, s > 1e-6 * s[0]]])
    n, k = Z.shape
    P = np.linalg.pinv(Z.T @ Z)
    b = P @ (Z.T @ y)
    influence = (Z * (y - Z @ b)[:, None]) @ P
    factor = n / (n - k)
    if clusters is not None:
        influence = np.array([influence[clusters == g].sum(axis=0) for g in np.unique(clusters)])
        factor = len(influence) / (len(influence) - 1) * (n - 1) / (n - k)
    A = np.zeros((D.shape[1], k))
    A[:, : D.shape[1]] = np.eye(D.shape[1]) - D.mean(axis=0)
    return A @ b, np.sqrt(factor * np.square(influence @ A.T).sum(axis=0))


@pytest.fixture(scope="module")
def newsletter():
    """900 mails made from templates: words that always stand together repeat each other."""
    data = Newsletter(rows=900, pairs=50).simulate().logs.data
    data = data.append_column("g", pa.array(np.arange(900) // 10))
    texts = data["mail"].to_pylist()
    return data, embed(texts, load_encoder("tfidf", training_texts=texts)).vectors


@pytest.mark.parametrize("cluster", [None, "g"])
def test_features_in_32_bits_that_repeat_each_other(newsletter, cluster, tmp_path):
    data, vectors = newsletter
    roles = Roles("mail", "minutes_read", confounders="weekday", cluster=cluster)
    logs = Logs.of(data, roles)
    day = logs.covariate("weekday")
    groups = None if cluster is None else np.arange(900) // 10
    X = vectors.astype(float)
    estimates, errors = by_directions(logs.outcome, X, day.dummies(drop_first=False), groups)
    for given in (vectors, X, X[:, ::-1] * 1e6):
        effect = Additive().fit(logs, text_features=given)
        np.testing.assert_allclose(effect.estimates, estimates, rtol=1e-6)
        np.testing.assert_allclose(effect.standard_errors, errors, rtol=1e-6)
        assert np.linalg.eigvalsh(effect.covariance).min() > -1e-12
    names = tuple(f"f{j}" for j in range(X.shape[1]))
    columns = {name: vectors[:, j] for j, name in enumerate(names)}
    wide = pa.table({**{n: data[n] for n in data.column_names}, **columns})
    pq.write_table(wide, tmp_path / "log.parquet")
    roles = Roles("mail", "minutes_read", confounders="weekday", cluster=cluster, features=names)
    streamed = Additive().fit(scan_logs(tmp_path / "log.parquet", roles, batch_rows=400))
    np.testing.assert_allclose(streamed.estimates, estimates, rtol=1e-6)
    np.testing.assert_allclose(streamed.standard_errors, errors, rtol=1e-6)


def words(rng, distinct, rows, length=12, vocabulary=2500):
    """Draw ``rows`` texts of which ``distinct`` differ, of more words than tfidf has columns."""
    drawn = [
        " ".join(f"w{i}" for i in rng.integers(0, vocabulary, length)) for _ in range(distinct)
    ]
    return [drawn[i % distinct] for i in range(rows)]


def wide_log(distinct):
    rng = np.random.default_rng(0)
    texts = words(rng, distinct, 900)
    X = embed(texts, load_encoder("tfidf", training_texts=texts)).vectors
    assert X.shape == (900, 2048)
    day = rng.integers(0, 7, 900)
    y = X[:, :50].sum(axis=1) + 0.3 * day + rng.normal(size=900)
    data = pa.table({"text": texts, "y": y, "day": [f"d{d}" for d in day]})
    return Logs.of(data, Roles("text", "y", confounders="day")), X, (day[:, None] == np.arange(7))


def test_two_thousand_columns_of_four_hundred_texts_on_900_rows():
    logs, X, D = wide_log(400)
    estimates, errors = by_directions(logs.outcome, X.astype(float), D.astype(float))
    effect = Additive().fit(logs, text_features=X)
    np.testing.assert_allclose(effect.estimates, estimates, rtol=1e-6)
    np.testing.assert_allclose(effect.standard_errors, errors, rtol=1e-6)
    assert finding(effect, "DE103").verdict is Verdict.WARN


def test_as_many_independent_texts_as_rows_leave_nothing_and_say_so():
    logs, X, _ = wide_log(900)
    with pytest.raises(NotIdentified, match="900 rows for 899 coefficients .899 independent"):
        Additive().fit(logs, text_features=X)
    few = np.argsort(-np.abs(X).sum(axis=0))[:950]
    effect = Additive(penalty=1.0).fit(logs, text_features=X[:, few])
    assert (effect.standard_errors > 0).all()


@pytest.mark.parametrize("name", ["ordinary", "additive", "double-ml", "two-stage"])
def test_a_copy_in_32_bits_is_a_copy(name, tmp_path):
    """Celsius and Fahrenheit, each rounded to 32 bits, differ in the eighth digit alone."""
    rng = np.random.default_rng(0)
    celsius = rng.normal(20, 5, 300).astype(np.float32)
    data = {"text": ["t"] * 300, "y": celsius + rng.normal(size=300), "celsius": celsius}
    data |= {"fahrenheit": np.float32(32) + np.float32(1.8) * celsius, "x": rng.normal(size=300)}
    data |= {f"z{j}": celsius + rng.normal(size=300) for j in range(2)}
    method = METHODS[name]()
    roles = Roles(
        "text",
        "y",
        confounders=("celsius", "fahrenheit"),
        features="x",
        instruments=("z0", "z1") if "instruments" in method.needs else (),
    )
    with pytest.raises(NotIdentified, match="'fahrenheit' is a linear combination of 'celsius'"):
        method.fit(Logs.of(pa.table(data), roles))
    if getattr(method, "reads_scans", False):
        pq.write_table(pa.table(data), tmp_path / "log.parquet")
        with pytest.raises(NotIdentified, match="'fahrenheit' is a linear combination of 'cels"):
            method.fit(scan_logs(tmp_path / "log.parquet", roles, batch_rows=64))


def test_columns_that_64_bits_tell_apart_stay_apart(tmp_path):
    rng = np.random.default_rng(0)
    price = rng.normal(size=400)
    other = price + 1e-6 * rng.normal(size=400)
    data = pa.table(
        {"text": ["t"] * 400, "y": price + rng.normal(size=400), "a": price, "b": other}
    )
    roles = Roles("text", "y", confounders=("a", "b"))
    effect = OrdinaryLeastSquares().fit(Logs.of(data, roles))
    X = np.column_stack([np.ones(400), price, (other - price) * 1e6])
    b = np.linalg.lstsq(X, data["y"].to_numpy(), rcond=None)[0]
    np.testing.assert_allclose(effect.estimates, [b[1] - 1e6 * b[2], 1e6 * b[2]], rtol=1e-7)
    pq.write_table(data, tmp_path / "log.parquet")
    streamed = OrdinaryLeastSquares().fit(scan_logs(tmp_path / "log.parquet", roles, batch_rows=99))
    np.testing.assert_allclose(streamed.estimates, effect.estimates, rtol=1e-6)
    np.testing.assert_allclose(streamed.standard_errors, effect.standard_errors, rtol=1e-6)


def two_ways(seed, **more):
    rng = np.random.default_rng(seed)
    data = {"text": ["t"] * 40, "y": rng.normal(size=40), "p": rng.normal(size=40)}
    data |= {"g": rng.integers(0, 3, 40), "h": rng.integers(0, 3, 40)}
    data["season"] = rng.choice(list("abc"), 40)
    return Logs.of(pa.table(data), Roles("text", "y", **({"confounders": "p"} | more)))


@pytest.mark.parametrize("confounders", ["p", ("p", "season")])
def test_two_ways_of_clustering_give_no_negative_variance(confounders):
    repaired = 0
    for seed in range(40):
        logs = two_ways(seed, confounders=confounders, cluster=("g", "h"))
        effect = OrdinaryLeastSquares().fit(logs)
        said, known = finding(effect, "DE105"), np.isfinite(effect.standard_errors)
        assert said is not None or known.all()
        assert (effect.standard_errors[known] > 0).all()
        part = effect.covariance[np.ix_(known, known)]
        assert np.linalg.eigvalsh(part).min(initial=0) > -1e-9 * np.abs(part).max(initial=1)
        repaired += said is not None
    assert 3 < repaired < 40


def test_a_negative_variance_is_repaired_by_eigenvalues_in_any_units():
    plain = OrdinaryLeastSquares().fit(two_ways(7, cluster=("g", "h")))
    assert finding(plain, "DE105").verdict is Verdict.WARN
    one = [OrdinaryLeastSquares().fit(two_ways(7, cluster=c)).standard_errors[0] for c in "gh"]
    assert 0.1 * max(one) < plain.standard_errors[0] < 1.5 * max(one)
    data = two_ways(7).data
    wide = data.set_column(2, "p", pa.array(1e6 * data["p"].to_numpy()))
    logs = Logs.of(wide, Roles("text", "y", confounders="p", cluster=("g", "h")))
    other = OrdinaryLeastSquares().fit(logs)
    np.testing.assert_allclose(other.standard_errors * 1e6, plain.standard_errors, rtol=1e-8)


@pytest.mark.parametrize("method", [OrdinaryLeastSquares(), Additive()])
def test_no_standard_error_is_zero_or_missing_without_a_reason(method):
    rng = np.random.default_rng(0)
    shop = rng.integers(0, 4, 200)
    data = {"text": ["t"] * 200, "x": rng.normal(size=200), "p": rng.normal(size=200)}
    data |= {"y": shop + rng.normal(size=200), "g": shop, "shop": [f"s{s}" for s in shop]}
    data["exact"] = 2 * data["p"] + 1
    log = pa.table(data)
    roles = {"features": "x", "cluster": "g"}
    # A category that is a cluster: its errors sum to zero, whatever they are. What is left of its
    # variance is that of the other columns, 30 times too little.
    effect = method.fit(Logs.of(log, Roles("text", "y", confounders=("p", "shop"), **roles)))
    assert np.isfinite(effect.standard_errors[0])
    assert np.isnan(effect.standard_errors[1:]).all()
    said = finding(effect, "DE105")
    assert said.verdict is Verdict.WARN
    assert "shop[s0], shop[s1], shop[s2] and 1 more are without one" in said.explanation
    # An outcome that the columns determine.
    effect = method.fit(Logs.of(log, Roles("text", "exact", confounders="p", features="x")))
    assert effect.estimates[0] == pytest.approx(2)
    assert finding(effect, "DE105").verdict is Verdict.WARN
    # Without any of that there is nothing to say.
    effect = method.fit(Logs.of(log, Roles("text", "y", confounders="p", features="x")))
    assert finding(effect, "DE105") is None


@pytest.fixture(scope="module")
def users():
    """A category of 15,000 users on 60,000 rows, whose indicators would take 6.6 GiB."""
    rng = np.random.default_rng(0)
    user, x = rng.integers(0, 15_000, 60_000), rng.normal(size=60_000)
    p = rng.normal(size=60_000) + 0.3 * x
    y = x + 2 * p + rng.normal(size=15_000)[user] + rng.normal(size=60_000)
    data = {"text": ["t"] * 60_000, "y": y, "x": x, "p": p, "user": user.astype(str)}
    data |= {"z": p + rng.normal(size=60_000), "day": rng.choice(list("abcdefg"), 60_000)}
    return pa.table(data)


@pytest.mark.parametrize("method", [Additive(), OrdinaryLeastSquares()])
def test_many_levels_are_absorbed_in_little_memory(users, method):
    roles = Roles("text", "y", confounders=("p", "user", "day"), features="x")
    tracemalloc.start()
    effect = method.fit(Logs.of(users, roles))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300 * 2**20
    # By group means: p (and x) less the mean of the user and of the day, on users of two rows.
    frame = users.to_pandas()
    frame = frame[frame.user.duplicated(keep=False)]
    left = frame[["y", "p", "x"]].copy()
    for _ in range(30):
        left -= left.groupby(frame.user).transform("mean")
        left -= left.groupby(frame.day).transform("mean")
    X = left[["p", "x"] if method.reads_text else ["p"]].to_numpy()
    b = np.linalg.lstsq(X, left.y, rcond=None)[0]
    n, k = len(X), X.shape[1] + frame.user.nunique() + 6
    influence = (X * (left.y - X @ b).to_numpy()[:, None]) @ np.linalg.inv(X.T @ X)
    error = np.sqrt(n / (n - k) * np.square(influence[:, 0]).sum())
    at = effect.names.index("p")
    assert effect.estimates[at] == pytest.approx(b[0], rel=1e-7)
    assert effect.standard_errors[at] == pytest.approx(error, rel=1e-7)
    days = [effect.names.index(f"day[{d}]") for d in "abcdefg"]
    assert (effect.standard_errors[days] > 0).all()
    said = finding(effect, "DE105")
    assert said.verdict is Verdict.WARN
    assert "no covariances are computed" in said.explanation
    assert np.isfinite(effect.adjust(Logs.of(users, roles)).outcome).all()


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"additive", "ordinary"}))
def test_what_needs_columns_for_many_levels_says_how_many_rows_and_levels(users, name):
    method = METHODS[name]()
    roles = {"confounders": ("p", "user"), "features": "x"}
    if "instruments" in method.needs:
        roles = {"confounders": "p", "instruments": "user", "features": "x"}
    with pytest.raises(InputError, match="60,000 rows with 1.,... columns.*'user'"):
        method.fit(Logs.of(users, Roles("text", "y", **roles)))


def test_blocks_of_rows_say_it_too(users, tmp_path):
    pq.write_table(users, tmp_path / "log.parquet")
    roles = Roles("text", "y", confounders=("p", "user"), features="x")
    with pytest.raises(InputError, match="60,000 rows with 1.,... columns.*'user'"):
        Additive().fit(scan_logs(tmp_path / "log.parquet", roles))


def test_hundreds_of_levels_are_too_many_for_products_with_the_text(users):
    roles = Roles("text", "y", confounders=("user",), features="x")
    with pytest.raises(InputError, match="20,000 rows with 11,0.. columns of confounders"):
        PermutationWeighting().fit(Logs.of(users.slice(0, 20_000), roles))


@pytest.mark.parametrize("levels", [100, 200])
def test_judges_as_instruments_equal_linearmodels(levels):
    iv = pytest.importorskip("linearmodels.iv")
    rng = np.random.default_rng(0)
    z, u = rng.normal(size=(2, 1500))
    p = z + u + rng.normal(size=1500)
    y = 2 * p + 3 * u + rng.normal(size=1500)
    judge = np.argsort(np.argsort(z)) * levels // 1500
    Z = (judge[:, None] == np.arange(1, levels)).astype(float)
    ones = np.ones((1500, 1))
    expected = iv.IV2SLS(y, ones, p[:, None], Z).fit(cov_type="robust", debiased=True)
    data = pa.table({"text": ["t"] * 1500, "y": y, "p": p, "judge": judge.astype(str)})
    roles = Roles("text", "y", confounders="p", instruments="judge")
    effect = TwoStageLeastSquares().fit(Logs.of(data, roles))
    assert effect.estimates[0] == pytest.approx(expected.params.iloc[-1], rel=1e-8)
    assert effect.standard_errors[0] == pytest.approx(expected.std_errors.iloc[-1], rel=1e-8)
