"""One family of findings on weights, for evaluation and for policies."""

from dataclasses import replace

import numpy as np
import pytest

from causalign.checks.weights import SupportLimits, effective_rows, mean_weight, weight_tail
from causalign.errors import SettingsError
from causalign.results import Verdict
from causalign.stats.importance_weights import diagnose_weights

LIMITS = SupportLimits()
EVEN = diagnose_weights(np.zeros(100))


def test_rows_are_counted_against_the_limit_and_against_the_log():
    assert effective_rows(EVEN, LIMITS).verdict is Verdict.PASS
    spiked = diagnose_weights(np.where(np.arange(100) == 0, 8.0, 0.0))
    finding = effective_rows(spiked, LIMITS)
    assert (finding.code, finding.verdict) == ("EV201", Verdict.FAIL)
    assert "a handful of texts" in finding.explanation
    assert effective_rows(spiked, SupportLimits(effective_rows=1)).verdict is Verdict.WARN


def test_a_heavy_tail_fails_and_few_rows_tell_nothing():
    generator = np.random.default_rng(0)
    heavy = diagnose_weights(1.5 * generator.standard_exponential(500))
    finding = weight_tail(heavy, LIMITS)
    assert (finding.code, finding.verdict) == ("EV202", Verdict.FAIL)
    assert weight_tail(EVEN, LIMITS).verdict is Verdict.PASS
    few = diagnose_weights(np.zeros(10))
    assert weight_tail(few, LIMITS).verdict is Verdict.NOT_APPLICABLE
    middle = replace(heavy, pareto_shape=0.55)
    assert weight_tail(middle, LIMITS).verdict is Verdict.WARN


@pytest.mark.parametrize(
    ("mean", "error", "verdict", "normalised"),
    [
        (1.0, 0.0, Verdict.PASS, Verdict.PASS),
        (1.6, 0.01, Verdict.FAIL, Verdict.WARN),
        (1.6, 1.0, Verdict.PASS, Verdict.PASS),
        (1.05, 0.01, Verdict.WARN, Verdict.WARN),
        (0.3, 0.0, Verdict.FAIL, Verdict.WARN),
        (np.inf, np.inf, Verdict.FAIL, Verdict.WARN),
    ],
)
def test_a_mean_weight_far_from_one_is_judged_alike_everywhere(mean, error, verdict, normalised):
    weights = replace(EVEN, mean=mean, mean_error=error)
    assert mean_weight(weights, LIMITS, normalised=False).verdict is verdict
    finding = mean_weight(weights, LIMITS, normalised=True)
    assert (finding.code, finding.verdict) == ("EV203", normalised)
    assert mean_weight(weights, SupportLimits(mean_weight=np.inf)).verdict is not Verdict.FAIL


def test_limits_have_ranges():
    with pytest.raises(SettingsError, match="support must be a number at least 0 and at most 1"):
        SupportLimits(support=2)
    with pytest.raises(SettingsError, match="must be a number at least 0"):
        SupportLimits(effective_rows=-1)
