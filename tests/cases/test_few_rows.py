"""A confounder that few rows have: the interval covers, and a finding says on how few it rests."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from causalign import Logs, Roles
from causalign.deconfound import Additive, DoubleML, DoubleMLInstruments, OrdinaryLeastSquares
from causalign.results import Verdict


def draw(seed, treated=4, rows=600):
    """Return logs in which ``treated`` rows have a flag that adds 1, and the text adds ``a``."""
    rng = np.random.default_rng(seed)
    x, flag = rng.normal(size=(rows, 2)), np.zeros(rows, bool)
    flag[rng.choice(rows, treated, replace=False)] = True
    data = pd.DataFrame(
        {"text": [f"t{i}" for i in range(rows)], "y": x[:, 0] + flag + rng.normal(size=rows)}
    ).assign(c=flag, told=flag, a=x[:, 0], b=x[:, 1])
    declared = {"confounders": "c", "features": ("a", "b")}
    return Logs.of(data, Roles("text", "y", **declared)), Logs.of(
        data, Roles("text", "y", instruments="told", **declared)
    )


METHODS = [DoubleML(), OrdinaryLeastSquares(), Additive(), DoubleMLInstruments()]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_four_of_six_hundred_rows(method):
    """The true effect is 1; the usual intervals hold it in 2 of 3 to 4 of 5 logs."""
    draws, hits, usual, said = 60, 0, 0, 0
    for seed in range(draws):
        effect = method.fit(draw(seed)["instruments" in method.needs])
        row = effect.table().to_pylist()[0]
        hits += row["lower"] <= 1 <= row["upper"]
        usual += abs(row["estimate"] - 1) <= 1.96 * row["stderr"]
        said += any(f.code == "DE104" and f.verdict is Verdict.WARN for f in effect.findings)
    assert said == draws
    assert hits >= stats.binom.ppf(0.001, draws, 0.95)
    assert usual < hits
