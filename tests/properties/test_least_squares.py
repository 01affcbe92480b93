"""Random designs with copies, rounding, odd units and few clusters equal the pseudo-inverse.

Reference: least squares on the directions of the features that are longer than the rounding of 32
bits, and on the confounders, with numpy's pseudo-inverse, HC1 or clustered.
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalign import Logs, Roles
from causalign.deconfound import Additive, OrdinaryLeastSquares
from causalign.logs import scan_logs


def reference(y, text, own, weights, clusters):
    """Return slopes and standard errors of ``own (n, k)`` beside ``text (n, p)``, by SVD."""
    n = len(y)
    centred = text - text.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    varies = length > 1e-6 * np.linalg.norm(text, axis=0)
    U, s, _ = np.linalg.svd(centred[:, varies] / length[varies], full_matrices=False)
    Z = np.hstack([own, np.ones((n, 1)), U[:, s > 1e-6]])
    unit = np.linalg.norm(Z, axis=0)
    w = weights / weights.mean()
    root = np.sqrt(w)[:, None]
    inverse = np.linalg.pinv(Z / unit * root, rcond=1e-12) / unit[:, None]
    b = inverse @ (root[:, 0] * y)
    influence = (inverse * root.T * (y - Z @ b)).T
    k = Z.shape[1]
    factor = n / (n - k)
    if clusters is not None:
        influence = np.array([influence[clusters == g].sum(axis=0) for g in np.unique(clusters)])
        groups = len(influence)
        factor = groups / (groups - 1) * (n - 1) / (n - k)
    error = np.sqrt(factor * np.square(influence).sum(axis=0))
    return b[: own.shape[1]], error[: own.shape[1]]


def draw(seed):
    """Draw logs of which the text repeats itself: copies, near copies, sums, constants."""
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(60, 160)), int(rng.integers(1, 12))
    base = rng.normal(size=(n, p)) * (rng.random((n, p)) < rng.choice([0.3, 1.0]))
    base[0] += 1.0
    near = base[:, rng.integers(0, p, 4)] * (1 + 1e-7 * rng.uniform(-1, 1, (n, 4)))
    copies = base[:, rng.integers(0, p, 3)] * rng.choice([1.0, 0.5, 3.0], 3)
    total = base.sum(axis=1, keepdims=True)
    text = np.hstack([base, near, copies, total, np.full((n, 1), 0.1)])
    text = text.astype(np.float32).astype(float)
    own = rng.normal(size=(n, 2)) + base[:, :1] + rng.choice([0.0, 100.0])
    y = own @ [1.0, -2.0] + base.sum(axis=1) + rng.normal(size=n)
    clusters = rng.integers(0, rng.integers(3, 20), n) if rng.random() < 0.5 else None
    weights = rng.uniform(0.2, 3, n) if rng.random() < 0.5 else np.ones(n)
    return rng, y, text, own, weights, clusters


def logs_of(y, own, weights, clusters, text=None):
    columns = {"text": ["t"] * len(y), "y": y, "a": own[:, 0], "b": own[:, 1], "w": weights}
    columns["g"] = np.arange(len(y)) if clusters is None else clusters
    names = tuple(f"f{j}" for j in range(0 if text is None else text.shape[1]))
    columns |= {name: text[:, j] for j, name in enumerate(names)}
    roles = Roles(
        "text",
        "y",
        confounders=("a", "b"),
        weight="w",
        features=names,
        cluster=None if clusters is None else "g",
    )
    return Logs.of(pa.table(columns), roles)


def numbers(effect):
    return np.concatenate([effect.estimates, effect.standard_errors])


@given(st.integers(0, 100_000))
@settings(max_examples=15, deadline=None)
def test_additive_is_the_pseudo_inverse_in_any_units_and_order(seed):
    rng, y, text, own, weights, clusters = draw(seed)
    expected = np.concatenate(reference(y, text, own, weights, clusters))
    logs = logs_of(y, own, weights, clusters)
    plain = numbers(Additive().fit(logs, text_features=text))
    np.testing.assert_allclose(plain, expected, rtol=1e-6, atol=1e-9)
    units = 10.0 ** rng.integers(-6, 7, text.shape[1])
    rows = rng.permutation(len(y))
    kept = None if clusters is None else clusters[rows]
    turned = {
        "columns in another order": (logs, text[:, ::-1]),
        "other units": (logs, text * units),
        "32 bits": (logs, text.astype(np.float32)),
        "a constant more": (logs, text + 5.0),
        "rows in another order": (logs_of(y[rows], own[rows], weights[rows], kept), text[rows]),
    }
    for name, (given_logs, features) in turned.items():
        found = numbers(Additive().fit(given_logs, text_features=features))
        np.testing.assert_allclose(found, plain, rtol=1e-6, atol=1e-9, err_msg=name)


@given(st.integers(0, 100_000), st.floats(1e-6, 1e6), st.floats(-1e3, 1e3))
@settings(max_examples=10, deadline=None)
def test_units_and_offsets_of_confounders_do_not_matter(seed, unit, offset):
    _, y, text, own, weights, clusters = draw(seed)
    plain = Additive().fit(logs_of(y, own, weights, clusters), text_features=text)
    moved = own * [unit, 1.0] + [unit * offset, 0.0]
    other = Additive().fit(logs_of(y, moved, weights, clusters), text_features=text)
    scale = np.array([unit, 1.0])
    np.testing.assert_allclose(other.estimates * scale, plain.estimates, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(other.standard_errors * scale, plain.standard_errors, rtol=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_blocks_of_rows_give_the_same(seed, tmp_path):
    _, y, text, own, weights, clusters = draw(seed)
    logs = logs_of(y, own, weights, clusters, text)
    pq.write_table(logs.data, tmp_path / "log.parquet")
    whole = Additive().fit(logs)
    found = Additive().fit(scan_logs(tmp_path / "log.parquet", logs.roles, batch_rows=37))
    np.testing.assert_allclose(numbers(found), numbers(whole), rtol=1e-6, atol=1e-9)
    assert found.degrees_of_freedom == whole.degrees_of_freedom


@pytest.mark.parametrize("seed", range(6))
def test_without_text_it_is_the_pseudo_inverse_too(seed):
    _, y, _, own, weights, clusters = draw(seed)
    own[:, 1] = own[:, 0] + 1e-6 * own[:, 1]
    expected = np.concatenate(reference(y, np.ones((len(y), 1)), own, weights, clusters))
    found = numbers(OrdinaryLeastSquares().fit(logs_of(y, own, weights, clusters)))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
