"""Ordinary least squares recovers the effect when nothing else travels with the confounder."""

import numpy as np
import pyarrow as pa
import pytest

from causalign.deconfound import OrdinaryLeastSquares
from causalign.errors import InputError, NotIdentified
from causalign.logs import Logs
from causalign.logs.roles import Roles


def make(**columns):
    n = len(columns["y"])
    return pa.table({"text": [str(i) for i in range(n)], **columns})


def test_an_exact_line_and_exact_categories():
    price = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    site = ["a", "b", "a", "b", "a", "b"]
    data = make(y=3 * price + np.array([0.0, 4.0] * 3), price=price, site=site)
    effect = OrdinaryLeastSquares().fit(
        Logs.of(data, Roles("text", "y", confounders=("price", "site")))
    )
    assert effect.names == ("price", "site[a]", "site[b]")
    np.testing.assert_allclose(effect.estimates, [3.0, -2.0, 2.0], atol=1e-12)
    assert effect.predict(Logs.of(data, Roles("text", "y")))[0] == pytest.approx(3 * -2.5 - 2)


def test_it_takes_the_effect_of_the_text_along():
    rng = np.random.default_rng(0)
    text = rng.normal(size=5000)
    price = text + rng.normal(size=5000)
    data = make(y=price + text + 0.1 * rng.normal(size=5000), price=price)
    effect = OrdinaryLeastSquares().fit(Logs.of(data, Roles("text", "y", confounders=("price",))))
    # cov(price + text, price) / var(price) = 1 + 1/2
    assert effect.estimates[0] == pytest.approx(1.5, abs=0.05)


def test_redundant_confounders_are_named():
    rng = np.random.default_rng(0)
    price = rng.normal(size=20)
    data = make(y=rng.normal(size=20), price=price, cents=100 * price, w=[0.0] + [1.0] * 19)
    roles = Roles("text", "y", confounders=("price", "cents"))
    with pytest.raises(NotIdentified, match="'cents' is a linear combination of 'price'"):
        OrdinaryLeastSquares().fit(Logs.of(data, roles))
    with pytest.raises(InputError, match="not positive"):
        OrdinaryLeastSquares().fit(
            Logs.of(data, Roles("text", "y", confounders=("price",), weight="w"))
        )
