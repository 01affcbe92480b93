"""Ridge from sums over batches is ridge on all rows, folds cut by the same hash."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign.errors import SettingsError
from causalign.lm import encode_block, load_encoder
from causalign.logs import Logs, Roles, hash_folds, scan_logs
from causalign.reward import Ridge, WithinTests
from causalign.stats.ridge_path import ridge_path

ROWS = 3000


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    random = np.random.default_rng(2)
    words = np.array([f"word{k}" for k in range(40)])
    picked = words[random.integers(40, size=(ROWS, 5))]
    holds = (picked == "word3").any(axis=1)
    table = pa.table(
        {
            "text": [" ".join(row) + "!" * int(h) for row, h in zip(picked, holds, strict=True)],
            "y": 5 + 2 * holds + random.normal(size=ROWS),
            "user": [f"user {k}" for k in random.integers(500, size=ROWS)],
            "w": random.uniform(0.5, 2, ROWS),
        }
    )
    path = tmp_path_factory.mktemp("ridge") / "log.parquet"
    pq.write_table(table, path, row_group_size=400)
    return path


@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize("name", ["hashing+style", "style"])
def test_sums_over_batches_give_what_all_rows_give(name, weight, log):
    roles = Roles("text", "y", weight=weight, cluster="user")
    logs, scan = Logs.read(log, roles), scan_logs(log, roles, batch_rows=700)
    encoder = load_encoder(name, training_texts=logs.texts)
    fit = Ridge().fit(scan, encoder)
    X = encode_block(encoder, logs.texts).dense().astype(np.float64)
    path = ridge_path(X, logs.outcome, folds=hash_folds(logs, 5, 0), weights=logs.weights)
    head = fit.model.head
    assert fit.estimate.penalty == pytest.approx(float(path.penalties[path.best]), rel=1e-5)
    np.testing.assert_allclose(fit.estimate.path["cv_error"].to_numpy(), path.cv_error, rtol=1e-5)
    np.testing.assert_allclose(head.coefficients, path.coefficients[path.best], atol=1e-5)
    np.testing.assert_allclose(
        fit.predict(logs.texts), X @ path.coefficients[path.best] + path.intercepts[path.best],
        rtol=1e-5,
    )  # fmt: skip
    # 500 clusters in 4,096 sums: few share one.
    factor = path.covariance_factor(
        X, logs.outcome, path.best, weights=logs.weights, groups=logs.clusters
    )
    told = np.linalg.norm(np.column_stack([np.ones(50), X[:50]]) @ factor[:, :-1], axis=1)
    np.testing.assert_allclose(fit.model.standard_error(logs.texts[:50]), told, rtol=0.05)
    assert fit.out_of_fold is None


def test_it_is_as_good_on_new_texts_as_the_fit_in_memory(log):
    roles = Roles("text", "y")
    scan = scan_logs(log, roles)
    fit, whole = Ridge().fit(scan, "hashing"), Ridge().fit(Logs.read(log, roles), "hashing")
    texts = [f"word{k} word3 word{k + 1}" for k in range(8)]
    np.testing.assert_allclose(fit.predict(texts), whole.predict(texts), atol=0.1)
    np.testing.assert_allclose(
        fit.model.standard_error(texts), whole.model.standard_error(texts), rtol=0.2
    )


def test_what_needs_all_rows_says_so(log):
    scan = scan_logs(log, Roles("text", "y", confounders=("w",), group="user"))
    for method in (Ridge(choose="ranking"), WithinTests()):
        with pytest.raises(SettingsError, match="sample"):
            method.fit(scan, "hashing")


def test_costly_vectors_are_made_once_for_both_passes(log, tmp_path, monkeypatch):
    monkeypatch.setenv("CAUSALIGN_CACHE", str(tmp_path / "cache"))
    style = load_encoder("style", training_texts=Logs.read(log, Roles("text", "y")).texts)
    encoded = []

    class Costly:
        name, revision, dimension = "costly", "1", style.dimension

        def encode(self, texts, progress=False):
            encoded.extend(texts)
            return style.encode(texts)

    scan = scan_logs(log, Roles("text", "y"), batch_rows=700)
    fit = Ridge().fit(scan, Costly())
    assert len(encoded) == len(set(encoded))
    texts = sorted(set(encoded))[:50]
    np.testing.assert_allclose(
        fit.model.head(style.encode(texts)), Ridge().fit(scan, style).predict(texts), atol=1e-5
    )
