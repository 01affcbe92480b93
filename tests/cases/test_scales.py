"""Log-odds of few trials: a week has the effect of the binomial likelihood, and a finding."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from causalign import Logs, Roles
from causalign.audit import audit_logs as audit
from causalign.deconfound import Additive, DoubleML, OrdinaryLeastSquares
from causalign.logs import rescale
from causalign.results import Verdict


def mails(seed=0, small=0.02, large=0.02, rows=4000):
    """Return mails of two weeks: 10 impressions each in one, 10,000 in the other."""
    rng = np.random.default_rng(seed)
    few = rng.integers(0, 2, rows).astype(bool)
    shown = np.where(few, 10, 10_000)
    return pd.DataFrame(
        {
            "text": [f"mail {i}" for i in range(rows)],
            "clicks": rng.binomial(shown, np.where(few, small, large)),
            "n": shown,
            "week": np.where(few, "small", "large"),
            "x": rng.normal(size=rows),
        }
    )


def logs_of(data):
    return Logs.of(data, Roles("text", "clicks", trials="n", confounders="week", features="x"))


def gap(effect):
    rows = {row["name"]: row["estimate"] for row in effect.table().to_pylist()}
    return rows["week[small]"] - rows["week[large]"]


def likelihood(data):
    """Return the effect of the week, and its error, by a binomial regression."""
    columns = sm.add_constant(np.column_stack([data.week == "small", data.x]).astype(float))
    both = np.column_stack([data.clicks, data.n - data.clicks])
    fit = sm.GLM(both, columns, family=sm.families.Binomial()).fit(cov_type="HC0")
    return fit.params[1], fit.bse[1]


@pytest.mark.parametrize("small", [0.02, 0.04])
@pytest.mark.parametrize("method", [Additive(), OrdinaryLeastSquares(), DoubleML()])
def test_two_weeks_of_few_and_of_many_trials(method, small):
    """Without a difference, empirical log-odds invent 1.09; with one, 0.71 is true."""
    data = mails(small=small)
    effect = method.fit(rescale(logs_of(data), "logit"))
    expected, error = likelihood(data)
    assert gap(effect) == pytest.approx(expected, abs=0.01)
    truth = np.log(small / (1 - small)) - np.log(0.02 / 0.98)
    assert abs(gap(effect) - truth) < 4 * error
    # Two deviations from one mean: their errors add up to that of the gap.
    assert effect.standard_errors.sum() == pytest.approx(error, rel=0.1)


def test_a_finding_tells_the_share_of_rows_with_few_counts():
    scaled = rescale(logs_of(mails()), "logit")
    for findings in (audit(scaled).findings, Additive().fit(scaled).findings):
        said = next(f for f in findings if f.code == "DA106")
        assert said.verdict is Verdict.WARN
        assert said.numbers["share"] == pytest.approx(0.5, abs=0.03)
    adjusted = Additive().fit(scaled).adjust(scaled)
    assert any(f.code == "DA106" and f.verdict is Verdict.WARN for f in audit(adjusted).findings)


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_intervals_of_a_week_with_few_trials_cover(spread):
    """Mails may differ by half a log-odd among themselves, which no week did."""
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        data = mails(seed, rows=800)
        odds = np.log(0.02 / 0.98) + spread * rng.normal(size=len(data))
        data["clicks"] = rng.binomial(data.n, 1 / (1 + np.exp(-odds)))
        row = Additive().fit(rescale(logs_of(data), "logit")).table().to_pylist()[1]
        hits += row["lower"] <= 0 <= row["upper"]
    assert 178 <= hits <= 199
