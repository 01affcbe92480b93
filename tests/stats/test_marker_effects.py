"""Sums over sparse markers equal the formulas written out with dense arrays, to rounding."""

import numpy as np
import pytest
from scipy import sparse

from causalign.stats import marker_influence, row_blocks
from causalign.stats.confounder_part import confounder_part
from causalign.stats.fold_ridge import FoldRidge
from causalign.stats.marker_alone import marker_alone
from causalign.stats.marker_effects import marker_effects
from causalign.stats.sandwich import group_rows, sum_groups


def dense_errors(Z, v, y, part, groups, add=0.0):
    """Influence of each row, divided by one minus leverage, with that of γ; t's freedom."""
    w, n = part.weights, len(y)
    estimate = v.T @ y
    own = v * ((y - w @ y / n)[:, None] - estimate * Z)
    basis, influence = (b.read(slice(0, n)) for b in (part.basis, part.influence))
    through = add * (influence @ (basis.T @ v))
    terms, effective = [], []
    for _, codes, count in groups:
        share = sum_groups(v * Z, codes, count)
        leverage = share + sum_groups(np.ones_like(Z) * w[:, None] / n, codes, count)
        total = sum_groups(own, codes, count) / (1 - np.clip(leverage, 0, 1 - 1e-9))
        total = total + sum_groups(through, codes, count)
        terms.append((total**2).sum(axis=0))
        effective.append(1 / (share**2).sum(axis=0))
    if len(terms) == 3:
        both = terms[0] + terms[1] - terms[2]
        terms[0] = np.maximum(both, np.maximum(terms[0], terms[1]))
    freedom = np.maximum(np.min(effective[:2], axis=0) - 1, 1)
    return estimate, np.sqrt(terms[0]), freedom


def draw(n, weighted, clusters):
    generator = np.random.default_rng(5)
    share = np.r_[generator.uniform(0.002, 0.3, 8), 0.6, 0.9, 0.97]
    X = (generator.random((n, len(share))) < share) * 1.0
    # A phrase beyond its word, and numbers: centred as lengths are, and far from zero.
    X = np.column_stack(
        [X, X[:, 3] - 0.3 * X[:, 4], np.array([0, 3]) + generator.normal(size=(n, 2))]
    )
    code, c = generator.integers(5, size=n), generator.normal(size=n) + X[:, 0]
    basis = np.column_stack([code[:, None] == np.arange(5), c]) * 1.0
    text = np.column_stack([generator.normal(size=(n, 4)), X[:, 2]])
    y = X[:, 1] + code + c + text[:, 0] + generator.normal(size=n) * (1 + X[:, 2])
    # Few large clusters beside many small ones.
    ways = np.column_stack([generator.geometric(0.02, n), generator.integers(n // 3, size=n)])
    given = {"rows": None, "clusters": ways[:, 0], "two ways": ways}[clusters]
    return X, y, basis, text, generator.lognormal(size=n) if weighted else None, given


@pytest.mark.parametrize("clusters", ["rows", "clusters", "two ways"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [200, 3000])
def test_sparse_sums_equal_dense_ones(n, weighted, clusters, monkeypatch):
    monkeypatch.setattr(row_blocks, "BLOCK", 700)
    monkeypatch.setattr(marker_influence, "ENTRIES", 900)
    X, y, basis, text, weights, ways = draw(n, weighted, clusters)
    part = confounder_part(y, basis, text=FoldRidge.of(text, np.arange(n) % 4, weights))
    found = marker_effects(sparse.csc_array(X), y, part, clusters=ways)
    w, groups = part.weights, group_rows(ways, n)
    Z = X - w @ X / n
    v = w[:, None] * Z / (w @ Z**2)
    y = y - w @ y / n
    for values, sign, effects in (
        (y, 0.0, found.naive),
        (part.part, 1.0, found.distance),
        (y - part.part, -1.0, found.deconfounded),
    ):
        estimate, stderr, freedom = dense_errors(Z, v, values, part, groups, sign)
        np.testing.assert_allclose(effects.estimate, estimate, atol=1e-9 * stderr.max())
        np.testing.assert_allclose(effects.stderr, stderr, rtol=1e-8)
        np.testing.assert_allclose(effects.degrees_of_freedom, freedom, rtol=1e-8)
    travels = v.T @ part.basis.read(slice(0, n))
    r2 = (w @ Z**2) * np.einsum("jk,kl,jl->j", travels, part.inverse, travels)
    np.testing.assert_allclose(found.r2_on_confounders, r2, atol=1e-10)


@pytest.mark.parametrize("clusters", ["rows", "clusters"])
def test_errors_under_independence_are_those_of_a_shuffled_outcome(clusters):
    X, y, basis, _, _, ways = draw(900, False, clusters)
    found = marker_effects(sparse.csr_array(X), y, confounder_part(y, basis), clusters=ways)
    Z = X - X.mean(axis=0)
    least = np.sqrt(np.var(y, ddof=1) / (Z**2).sum(axis=0))
    if clusters == "rows":
        np.testing.assert_allclose(found.naive.independent, least, rtol=1e-10)
    else:
        assert (found.naive.independent >= least - 1e-12).all()


@pytest.mark.parametrize("clusters", ["rows", "two ways"])
def test_alone_is_least_squares_of_residuals(clusters, monkeypatch):
    monkeypatch.setattr(row_blocks, "BLOCK", 700)
    X, y, basis, text, weights, ways = draw(3000, True, clusters)
    ridge = FoldRidge.of(text, np.arange(3000) % 4, weights)
    part = confounder_part(y, basis, text=ridge)
    found, left = marker_alone(sparse.csr_array(X), part, clusters=ways)
    w, everything = part.weights, slice(0, 3000)
    rest = ridge.rest(row_blocks.RowBlocks.of(X - w @ X / 3000)).read(everything)
    V = part.basis_left.read(everything) * np.sqrt(w)[:, None]
    slopes = np.linalg.lstsq(V, rest * np.sqrt(w)[:, None], rcond=1e-9)[0]
    rest = rest - part.basis_left.read(everything) @ slopes
    share = (w @ rest**2) / (w @ (X - w @ X / 3000) ** 2)
    np.testing.assert_allclose(left, share, atol=1e-10)
    told = share >= 0.05
    assert not told.all()
    np.testing.assert_array_equal(np.isfinite(found.estimate), told)
    rest = rest[:, told]
    v = w[:, None] * rest / (w @ rest**2)
    np.testing.assert_allclose(found.estimate[told], v.T @ part.error, atol=1e-10)
    influence = v * (part.error[:, None] - (v.T @ part.error) * rest)
    terms = []
    for _, codes, count in group_rows(ways, 3000):
        share = sum_groups(v * rest, codes, count)
        terms.append(((sum_groups(influence, codes, count) / (1 - share)) ** 2).sum(axis=0))
    if len(terms) == 3:
        both = terms[0] + terms[1] - terms[2]
        terms[0] = np.maximum(both, np.maximum(terms[0], terms[1]))
    np.testing.assert_allclose(found.stderr[told], np.sqrt(terms[0]), rtol=1e-8)


def test_a_marker_in_no_text_or_in_all_has_no_effect():
    y = np.random.default_rng(0).normal(size=400)
    part = confounder_part(y, np.random.default_rng(1).normal(size=(400, 2)))
    X = np.column_stack([np.zeros(400), np.ones(400)])
    found = marker_effects(sparse.csr_array(X), y, part)
    assert np.isnan(found.distance.p_value).all()
