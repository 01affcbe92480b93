"""Directions longer than rounding: what copies of features leave, in any units and order."""

import numpy as np
import pytest

from causalign.stats.directions import ROTATED, directions, remaining
from causalign.stats.rounding import DOUBLE, HALF, SINGLE, rounding_lengths, roundoff


def span(columns):
    basis = np.linalg.qr(columns)[0]
    return basis @ basis.T


def repeated(n=80, dtype=np.float32):
    rng = np.random.default_rng(0)
    base = rng.normal(size=(n, 3))
    near = base * (1 + 1e-7 * rng.uniform(-1, 1, (n, 3)))
    return base, np.hstack([base, near, 3 * base, base.sum(axis=1, keepdims=True)]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copies_add_no_direction(dtype):
    base, text = repeated(dtype=dtype)
    found = directions(text)
    assert found.columns.shape == (80, 3)
    assert found.rotated
    assert found.names([f"f{j}" for j in range(10)]) == (ROTATED,) * 3
    expected = span(base - base.mean(axis=0))
    np.testing.assert_allclose(span(found.columns), expected, atol=1e-6)
    unit = text.astype(float) - text.astype(float).mean(axis=0)
    unit /= np.linalg.norm(unit, axis=0)
    np.testing.assert_allclose(unit @ found.loadings, found.columns, atol=1e-9)


def test_units_order_and_offsets_do_not_matter():
    text = repeated()[1].astype(float)
    expected = span(directions(text).columns)
    for other in (text[:, ::-1], text * 10.0 ** np.arange(-5, 5), text + 100.0):
        np.testing.assert_allclose(span(directions(other).columns), expected, atol=1e-6)


def test_independent_features_stay_themselves():
    base = repeated()[0]
    found = directions(np.column_stack([base, np.ones(80)]))
    assert not found.rotated
    assert found.names(["a", "b", "c", "one"]) == ("a", "b", "c")


def test_more_columns_than_rows():
    text = np.random.default_rng(0).normal(size=(12, 40)).astype(np.float32)
    found = directions(text)
    assert found.columns.shape == (12, 11)
    np.testing.assert_allclose(found.columns.T @ found.columns, np.eye(11), atol=1e-6)
    unit = text - text.astype(float).mean(axis=0)
    unit /= np.linalg.norm(unit, axis=0)
    np.testing.assert_allclose(unit @ found.loadings, found.columns, atol=1e-9)


def test_a_direction_of_which_nothing_is_left_names_its_feature():
    base = repeated()[0]
    group = (np.arange(80) % 2).astype(float)
    text = np.column_stack([base, base[:, 0] + group])
    found = directions(text)
    means = np.array([found.columns[group == g].mean(axis=0) for g in (0, 1)])
    kept = remaining(found, found.columns - means[group.astype(int)])
    assert kept.left.shape == (80, 3)
    assert kept.lost.size == 1
    assert kept.lost[0] in (0, 3)


def test_what_is_lost_within_rounding_is_no_loss():
    text = repeated()[1]
    found = directions(text)
    kept = remaining(found, found.columns)
    assert kept.lost.size == 0
    np.testing.assert_allclose(span(kept.left), span(found.columns), atol=1e-9)


def test_roundoff_is_read_from_type_or_numbers():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 1))
    assert roundoff(x) == DOUBLE
    assert roundoff(x.astype(np.float32)) == SINGLE
    assert roundoff(x.astype(np.float32).astype(float)) == SINGLE
    assert roundoff(x.astype(np.float16)) == HALF
    assert roundoff(np.rint(100 * x)) == DOUBLE
    assert roundoff(np.rint(100 * x).astype(np.float32)) == DOUBLE
    # Seconds since 1970 do not fit into 32 bits: whole as they are, they were rounded.
    assert roundoff((1.7e9 + 1e6 * x).astype(np.float32).astype(float)) == SINGLE
    assert roundoff(np.full((3, 1), 1e300)) == DOUBLE
    # An offset makes rounding longer, whether or not it is subtracted afterwards.
    offset = (x + 1000).astype(np.float32)
    share = rounding_lengths(offset) / np.linalg.norm(x)
    assert 500 * 16 * SINGLE < share[0] < 2000 * 16 * SINGLE
