import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.api as sm

from causalign import Logs, Roles
from causalign.checks.data import few_counts
from causalign.errors import InputError, SettingsError
from causalign.logs.scales import rescale, share_of_few_counts
from causalign.results import Verdict


def logs(y, n=None, **roles):
    table = {
        "text": [f"t{i % 7}" for i in range(len(y))],
        "y": y,
        "g": [i // 3 for i in range(len(y))],
    }
    if n is not None:
        table["n"] = n
    return Logs.of(
        pa.table(table), Roles("text", "y", trials="n" if n is not None else None, **roles)
    )


def weighted_mean(scaled):
    return np.average(scaled.outcome, weights=scaled.weights)


def test_many_counts_give_the_empirical_logit():
    found = rescale(logs([20, 50, 80], [100, 100, 100]), "logit")
    np.testing.assert_allclose(found.outcome, np.log([20.5 / 80.5, 1.0, 80.5 / 20.5]))
    assert share_of_few_counts(found) == 0.0
    assert found.roles.trials is None
    found = rescale(logs([0, 50, 100], [100, 100, 100]), "log")
    np.testing.assert_allclose(found.outcome, np.log(np.array([0.5, 50.5, 100.5]) / 100.5))


def test_few_counts_give_the_working_response_of_the_binomial_likelihood():
    """Rates of 1/4 on average, no spread beyond chance: ln(1/3) + (p - 1/4)/(3/16)."""
    found = rescale(logs([0, 1, 2, 1], [4, 4, 4, 4]), "logit")
    np.testing.assert_allclose(
        found.outcome, np.log(1 / 3) + (np.array([0, 0.25, 0.5, 0.25]) - 0.25) * 16 / 3
    )
    np.testing.assert_allclose(found.weights, 1.0)
    found = rescale(logs([0, 1, 2, 1], [4, 4, 4, 4]), "log")
    np.testing.assert_allclose(
        found.outcome, np.log(1 / 4) + (np.array([0, 0.25, 0.5, 0.25]) - 0.25) * 4
    )
    assert share_of_few_counts(found) == 1.0


def test_the_spread_between_rows_shortens_weights_and_is_taken_from_the_curve():
    """One text in ten draws 13 of 100 and the others 3 of 100, at an average of 4."""
    y, n = [13] + [3] * 9, [100] * 10
    scaled = rescale(logs(y, n), "logit")
    mu, v = 0.04, 1 / (100 * 0.04 * 0.96)
    deviation = (np.array(y) / 100 - mu) / (mu * (1 - mu))
    between = (deviation @ deviation / v - 9) / (9 / v)  # moments, of equal information
    assert between > 0.2
    expected = np.log(mu / (1 - mu)) + deviation - between * (1 - 2 * mu) / 2
    np.testing.assert_allclose(scaled.outcome, expected)
    np.testing.assert_allclose(scaled.weights, 1.0)
    uneven = rescale(logs([6, 13, *[3] * 8], [200, 100, *[100] * 8]), "logit")
    assert 1 < uneven.weights[0] / uneven.weights[1] < 1.8


def test_weights_are_those_of_the_likelihood_and_multiply_given_ones():
    y, n = [2, 20, 3, 18], [10, 100, 10, 100]
    plain = rescale(logs(y, n), "logit")
    np.testing.assert_allclose(plain.weights, np.array([10, 100, 10, 100]) / 55)
    frame = pd.DataFrame({"text": list("abcd"), "y": y, "n": n, "w": [1.0, 2.0, 3.0, 4.0]})
    both = rescale(Logs.of(frame, Roles("text", "y", trials="n", weight="w")), "logit")
    np.testing.assert_allclose(both.weights, plain.weights * [1, 2, 3, 4], rtol=1e-6)
    assert both.numbers("w").tolist() == [1.0, 2.0, 3.0, 4.0]
    assert len(plain.history) == 2


@pytest.mark.parametrize("scale", ["log", "logit"])
@pytest.mark.parametrize("trials", [3, 30, 3000])
def test_a_common_rate_is_estimated_without_leaning(scale, trials):
    """Whatever the trials, the weighted mean of many rows is the scale of the rate."""
    rng = np.random.default_rng(1)
    y = rng.binomial(trials, 0.03, 60_000 // trials + 2000)
    scaled = rescale(logs(y, np.full(len(y), trials)), scale)
    rate = y.sum() / (trials * len(y))
    truth = np.log(rate) if scale == "log" else np.log(rate / (1 - rate))
    assert weighted_mean(scaled) == pytest.approx(truth, abs=0.01)


def test_confounders_of_every_kind_get_the_coefficients_of_the_likelihood():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"price": rng.uniform(0, 50, 3000), "week": rng.choice(list("abc"), 3000)})
    odds = -3 + 0.02 * frame.price + frame.week.map({"a": 0.0, "b": 0.5, "c": 1.0})
    frame["n"] = rng.integers(2, 40, len(frame))
    frame["y"] = rng.binomial(frame.n, 1 / (1 + np.exp(-odds)))
    frame["text"] = [f"t{i}" for i in range(len(frame))]
    roles = Roles("text", "y", trials="n", confounders=("price", "week"))
    scaled = rescale(Logs.of(frame, roles), "logit")
    columns = np.column_stack([np.ones(3000), frame.price, frame.week == "b", frame.week == "c"])
    both = np.column_stack([frame.y, frame.n - frame.y])
    expected = sm.GLM(both, columns.astype(float), family=sm.families.Binomial()).fit()
    found = sm.WLS(scaled.outcome, columns.astype(float), weights=scaled.weights).fit()
    assert (np.abs(found.params - expected.params) < 0.2 * expected.bse).all()
    np.testing.assert_allclose(found.HC0_se, expected.bse, rtol=0.15)


def test_events_that_happened_or_not_are_counts_of_one_trial():
    y = [0, 1] * 20 + [1] * 10
    scaled = rescale(logs(y, [1] * 50), "logit")
    assert weighted_mean(scaled) == pytest.approx(np.log(3 / 2), abs=0.01)
    with pytest.raises(InputError, match="a column of ones is that of the trials"):
        rescale(logs([0.0, 1.0, 1.0]), "logit")


def test_weeks_without_a_click_or_with_nothing_else_stay_finite():
    frame = pd.DataFrame({"week": ["a", "b", "c"] * 20, "n": 10}).assign(
        y=lambda d: d.week.map({"a": 0, "b": 10, "c": 3}), text=lambda d: d.index.astype(str)
    )
    roles = Roles("text", "y", trials="n", confounders="week")
    for scale in ("log", "logit"):
        scaled = rescale(Logs.of(frame, roles), scale)
        means = frame.assign(z=scaled.outcome).groupby("week").z.mean()
        assert np.isfinite(scaled.outcome).all()
        assert means["a"] < means["c"] < means["b"]
        assert (scaled.weights > 0).all()


def test_many_levels_take_no_matrix_of_indicators():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"user": rng.integers(0, 30_000, 60_000).astype(str), "n": 20})
    frame["y"] = rng.binomial(20, 0.1, len(frame))
    frame["text"] = frame.index.astype(str)
    roles = Roles("text", "y", trials="n", confounders="user")
    scaled = rescale(Logs.of(frame, roles), "logit")  # 60,000 x 30,000 floats are 14 GB
    assert weighted_mean(scaled) == pytest.approx(np.log(0.1 / 0.9), abs=0.1)


def test_counts_that_all_ended_alike_are_refused():
    never = Logs(logs([0, 1, 2], [5, 5, 5]).data.slice(0, 1), Roles("text", "y", trials="n"))
    with pytest.raises(InputError, match="ended alike"):
        rescale(never, "logit")


def test_the_finding_travels_with_the_outcome_and_through_files(tmp_path):
    scaled = rescale(logs([0, 1, 0, 300] * 30, [10, 10, 10, 1000] * 30), "logit")
    scaled.save(tmp_path / "logs")
    for given in (scaled, Logs.load(tmp_path / "logs"), scaled.take(np.arange(50), "some")):
        assert few_counts(given).verdict is Verdict.WARN
        assert "75% of the rows" in few_counts(given).explanation
    adjusted = scaled.with_outcome(scaled.outcome * 2, "doubled")
    assert share_of_few_counts(adjusted) == 0.75
    assert few_counts(logs([1, 2], [5, 5])).verdict is Verdict.NOT_APPLICABLE
    many = rescale(logs([100, 300] * 30, [1000, 1000] * 30), "logit")
    assert few_counts(many).verdict is Verdict.PASS


def test_log_and_logit_of_plain_outcomes():
    np.testing.assert_allclose(rescale(logs([1.0, np.e]), "log").outcome, [0, 1])
    np.testing.assert_allclose(rescale(logs([0.5, 0.75]), "logit").outcome, [0, np.log(3)])
    assert rescale(logs([1.0, np.e]), "log").weights is None
    given = logs([1, 2], [5, 5])
    assert rescale(given, "identity") is given
    with pytest.raises(InputError, match="above 0"):
        rescale(logs([0.0, 1.0]), "log")
    with pytest.raises(InputError, match="strictly between 0 and 1"):
        rescale(logs([0.5, 1.0]), "logit")
    with pytest.raises(SettingsError, match="identity, log, logit"):
        rescale(logs([0.0, 1.0]), "cube")
