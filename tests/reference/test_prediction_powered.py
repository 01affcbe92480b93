"""The pilot's value agrees with ppi-python, by the authors of prediction-powered inference."""

import numpy as np
import pytest

from causalign.evaluate import OffPolicyLog, Pilot, PilotTexts, TargetSamples


@pytest.mark.parametrize("slope", [0.0, 0.4, 1.0])
def test_value_and_interval_are_theirs(slope):
    ppi = pytest.importorskip("ppi_py")
    rng = np.random.default_rng(0)
    guess, others = rng.normal(size=4000), rng.normal(size=9000)
    outcome = 2 + slope * guess + rng.normal(size=4000)
    log = OffPolicyLog(
        rng.random(4000),
        samples=TargetSamples(predicted=others),
        pilot=PilotTexts(outcome, guess),
    )
    value = Pilot().estimate(log)
    weight = value.settings["tuning"]
    theirs = ppi.ppi_mean_pointestimate(outcome, guess, others, lam=weight)
    assert value.estimate == pytest.approx(float(np.squeeze(theirs)), rel=1e-12)
    lower, upper = ppi.ppi_mean_ci(outcome, guess, others, alpha=0.05, lam=weight)
    ends = float(np.squeeze(lower)), float(np.squeeze(upper))
    # Theirs are normal quantiles and divide by n; ours are Student's t and divide by n - 1.
    assert (value.lower, value.upper) == pytest.approx(ends, abs=1e-3 * value.stderr)
    tuned = ppi.ppi_mean_pointestimate(outcome, guess, others)
    assert value.estimate == pytest.approx(float(np.squeeze(tuned)), abs=0.1 * value.stderr)
