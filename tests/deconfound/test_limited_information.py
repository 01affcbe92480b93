"""Limited information: the numbers of linearmodels, and a known answer with many instruments."""

import numpy as np
import pyarrow as pa
import pytest

from causalign.deconfound import METHODS, LimitedInformation, TwoStageLeastSquares
from causalign.errors import NotIdentified, RoleNotDeclared, SettingsError
from causalign.logs import Logs
from causalign.logs.roles import Roles

TOLERANCE = {"rtol": 1e-8, "atol": 1e-8}


def sample(seed=0, n=400, instruments=3, strength=0.5):
    """Return a table whose hidden text quality moves price and outcome; the price's effect is 1."""
    rng = np.random.default_rng(seed)
    z, quality = rng.normal(size=(n, instruments)), rng.normal(size=n)
    price = strength * z[:, :3].sum(axis=1) + quality + rng.normal(size=n)
    year = rng.normal(2015, 4, n)
    y = price + 2 * quality + 0.01 * year + rng.normal(size=n) * np.abs(z[:, 0])
    columns = {"y": y, "price": price, "year": year, "site": rng.integers(0, 40, n)}
    return {"text": ["t"] * n, **columns, **{f"z{i}": z[:, i] for i in range(instruments)}}


def logs_of(table, **roles):
    names = tuple(name for name in table if name.startswith("z"))
    declared = {"confounders": ("year", "price"), "instruments": names} | roles
    return Logs.of(pa.table(table), Roles("text", "y", **declared))


@pytest.mark.parametrize("fuller", [0.0, 1.0])
@pytest.mark.parametrize("cluster", [None, "site"])
def test_equals_linearmodels(cluster, fuller):
    iv = pytest.importorskip("linearmodels.iv")
    table = sample()
    exogenous = np.column_stack([np.ones(400), table["year"]])
    Z = np.column_stack([table[f"z{i}"] for i in range(3)])
    kind = {"cov_type": "robust"}
    if cluster:
        kind = {"cov_type": "clustered", "clusters": table["site"]}
    model = iv.IVLIML(table["y"], exogenous, table["price"], Z, fuller=fuller)
    reference = model.fit(debiased=True, **kind)
    effect = LimitedInformation(exogenous=("year",), fuller=fuller).fit(
        logs_of(table, cluster=cluster)
    )
    np.testing.assert_allclose(effect.estimates, reference.params.iloc[1:], **TOLERANCE)
    np.testing.assert_allclose(effect.standard_errors, reference.std_errors.iloc[1:], **TOLERANCE)
    assert effect.numbers["kappa"] == pytest.approx(reference.kappa, rel=1e-10)


def test_one_instrument_gives_two_stage_least_squares():
    given = logs_of(sample(), confounders=("price",), instruments=("z0",))
    limited, staged = LimitedInformation().fit(given), TwoStageLeastSquares().fit(given)
    np.testing.assert_allclose(limited.estimates, staged.estimates, **TOLERANCE)
    assert limited.method == "limited-information"
    assert limited.settings["fuller"] == 0
    assert limited.settings["exogenous"] == ()


def test_many_instruments_mislead_it_less():
    """The median over samples is near the truth of 1, where that of two stages is not."""
    found = {name: [] for name in ("limited-information", "two-stage")}
    for seed in range(40):
        given = logs_of(sample(seed, 200, 30, 0.2), confounders=("price",))
        for name, estimates in found.items():
            estimates.append(METHODS[name]().fit(given).estimates[0])
    assert abs(np.median(found["limited-information"]) - 1) < 0.15
    assert np.median(found["two-stage"]) > 1.3


def test_bad_input_is_named():
    with pytest.raises(RoleNotDeclared, match="instruments"):
        LimitedInformation().fit(logs_of(sample(), instruments=()))
    with pytest.raises(NotIdentified, match="at least 2 are needed"):
        LimitedInformation().fit(logs_of(sample(), instruments=("z0",)))
    for fuller in (-1.0, 1e6):
        with pytest.raises(SettingsError, match="fuller must be"):
            LimitedInformation(exogenous=("year",), fuller=fuller).fit(logs_of(sample()))
