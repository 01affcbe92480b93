import numpy as np
import pytest
from scipy.special import expit

from causalign.errors import InputError
from causalign.results import Verdict
from causalign.reward import Pairwise


def pairs(n=2000, d=6, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n, d))
    truth = np.linspace(1.5, -1, d)
    first = rng.random(n) < expit((a - b) @ truth)
    return np.where(first[:, None], a, b), np.where(first[:, None], b, a), truth


def test_the_head_recovers_bradley_terry():
    chosen, rejected, truth = pairs(n=8000)
    fit = Pairwise().fit_arrays(chosen, rejected)
    np.testing.assert_allclose(fit.head.coefficients, truth, atol=0.12)
    assert fit.head.intercept == 0
    assert fit.units == "log-odds"
    assert 0.7 < fit.numbers["cv_accuracy"] < 0.95
    assert np.mean(fit.out_of_fold > 0) == pytest.approx(fit.numbers["cv_accuracy"])


def test_identical_sides_are_dropped_and_counted():
    chosen, rejected, _ = pairs()
    rejected[:50] = chosen[:50]
    weights = np.random.default_rng(1).uniform(1, 2, size=2000)
    groups = np.arange(2000) // 2
    fit = Pairwise().fit_arrays(chosen, rejected, groups=groups, weights=weights)
    (finding,) = [f for f in fit.findings if f.code == "RM104"]
    assert finding.verdict is Verdict.WARN
    assert finding.numbers["dropped"] == 50
    assert fit.out_of_fold.shape == (2000,)
    assert not fit.out_of_fold[:50].any()
    assert fit.numbers["pairs"] == 1950
    rest = Pairwise().fit_arrays(
        chosen[50:], rejected[50:], groups=groups[50:], weights=weights[50:]
    )
    np.testing.assert_allclose(fit.head.coefficients, rest.head.coefficients)


def test_preferences_without_signal_fail():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 300, 30))
    fit = Pairwise(penalties=[0.01, 0.1]).fit_arrays(a, b)
    assert {f.code: f.verdict for f in fit.findings}["RM103"] is Verdict.FAIL


def test_margins_widen_the_reward():
    chosen, rejected, _ = pairs()
    plain = Pairwise(penalties=[10.0]).fit_arrays(chosen, rejected)
    wide = Pairwise(penalties=[10.0]).fit_arrays(chosen, rejected, margins=np.full(2000, 2.0))
    assert np.linalg.norm(wide.head.coefficients) > np.linalg.norm(plain.head.coefficients)


def test_the_heavier_choice_and_the_section():
    chosen, rejected, _ = pairs(n=300)
    fit = Pairwise(choose="one-standard-error").fit_arrays(chosen, rejected)
    assert fit.penalty >= fit.numbers["best_penalty"]
    assert "negative log-likelihood" in fit.section().answer


def test_invalid_input_is_refused():
    chosen, rejected, _ = pairs(n=50)
    with pytest.raises(InputError, match="one shape"):
        Pairwise().fit_arrays(chosen, rejected[:-1])
    with pytest.raises(InputError, match="different sides"):
        Pairwise().fit_arrays(chosen, chosen)
    with pytest.raises(InputError, match="margins"):
        Pairwise().fit_arrays(chosen, rejected, margins=[1.0])
    with pytest.raises(InputError, match="missing"):
        Pairwise().fit_arrays(np.where(chosen > 1, np.nan, chosen), rejected)
