"""Splines are patsy's between their outer knots and straight beyond them."""

import numpy as np
import pytest

from causalign.deconfound.factors import spline_columns, spline_knots
from causalign.errors import InputError


@pytest.mark.parametrize("columns", [3, 4, 7])
def test_equal_to_patsy(columns):
    patsy = pytest.importorskip("patsy")
    x = np.random.default_rng(0).exponential(size=300) * 1e6
    expected = np.asarray(patsy.dmatrix(f"bs(x, df={columns}) - 1", {"x": x}))
    found = spline_columns(x, spline_knots(x, columns))
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_straight_and_without_a_kink_beyond_the_outer_knots():
    knots = spline_knots(np.linspace(0, 1, 50), 5)
    step = 1e-6
    for edge, sign in ((0.0, -1), (1.0, 1)):
        inside = spline_columns([edge, edge - sign * step], knots)
        outside = spline_columns([edge, edge + sign, edge + 2 * sign], knots)
        slope = (inside[0] - inside[1]) / (sign * step)
        np.testing.assert_allclose(outside[1] - outside[0], sign * slope, atol=1e-4)
        np.testing.assert_allclose(outside[2] - outside[1], outside[1] - outside[0], atol=1e-12)


@pytest.mark.parametrize(
    ("values", "columns"), [([0, 1] * 20, 3), ([5] * 40 + [1, 2, 3, 4, 6, 7], 6), (range(9), 2)]
)
def test_too_few_values_are_refused(values, columns):
    with pytest.raises(InputError, match="distinct values|at least 3"):
        spline_knots(list(values), columns)
