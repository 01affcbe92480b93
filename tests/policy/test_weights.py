"""The table of weights of a whole log, and what the findings say of it."""

import numpy as np
import pytest

from causalign.policy.weights import Weighting, WeightTable, check_weights
from causalign.results import Verdict


def table(log_weight, outcome=None, **settings):
    y = np.arange(len(log_weight), dtype=float) if outcome is None else outcome
    return WeightTable(
        np.asarray(log_weight, dtype=float), y, np.ones(len(y)), Weighting(**settings)
    )


def test_the_table_normalises_over_the_whole_log():
    rng = np.random.default_rng(0)
    log_weight = rng.normal(size=200)
    found = table(log_weight, smooth=False)
    assert found.weights().mean() == pytest.approx(1)
    w = np.exp(log_weight)
    assert found.value()[0] == pytest.approx(w @ np.arange(200) / w.sum())
    shifted = table(log_weight - 40, smooth=False)
    assert shifted.value() == pytest.approx(found.value())
    found.update(np.array([3]), np.array([9.0]))
    assert found.log_weight[3] == 9.0
    assert found.weights().mean() == pytest.approx(1)


def test_without_normalisation_the_value_is_the_plain_weighted_mean():
    log_weight = np.log([0.5, 1.5, 1.0])
    found = table(log_weight, normalise=False, smooth=False, outcome=np.array([1.0, 2.0, 3.0]))
    terms = np.array([0.5, 3.0, 3.0])
    assert found.value() == pytest.approx((terms.mean(), terms.std(ddof=1) / np.sqrt(3)))


def test_clipping_and_smoothing_bound_the_weights():
    log_weight = np.random.default_rng(0).normal(scale=3, size=300)
    assert table(log_weight, smooth=False, clip=2.0).weights().max() == 2.0
    assert table(log_weight, smooth=False, clip=2.0).clipped_share() > 0.01
    raw, smooth = table(log_weight, smooth=False), table(log_weight, smooth=True)
    assert smooth.smoothing().min() < 0
    assert not np.allclose(raw.weights(), smooth.weights())


def test_collapsed_weights_are_a_reason_to_stop():
    assert table(np.zeros(50)).collapse_reason() is None
    assert "worth 1.0" in table(np.where(np.arange(50) == 0, 0.0, -50.0)).collapse_reason()
    exploding = table(np.full(50, 70.0), normalise=False)
    assert "exp(70)" in exploding.collapse_reason()
    assert table(np.full(50, 70.0), normalise=False, clip=5.0).collapse_reason() is None


def verdicts(log_weight, **settings):
    return {f.code: f.verdict for f in check_weights(table(log_weight, **settings))}


def test_findings_on_weights_turn_with_their_numbers():
    even = verdicts(np.zeros(100))
    assert even["EV201"] is even["EV202"] is even["EV203"] is Verdict.PASS
    assert even["PO103"] is Verdict.NOT_APPLICABLE
    spiked = verdicts(np.where(np.arange(100) == 0, 8.0, 0.0), clip=5.0)
    assert spiked["EV201"] is Verdict.FAIL
    assert spiked["PO103"] is Verdict.PASS  # one of a hundred
    heavy = verdicts(1.5 * np.random.default_rng(0).standard_exponential(500))
    assert heavy["EV202"] is Verdict.FAIL
    off = np.full(100, 5.0)
    assert verdicts(off, normalise=False)["EV203"] is Verdict.FAIL
    assert verdicts(off)["EV203"] is Verdict.WARN
