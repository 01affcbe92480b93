"""How wrong a log may be: intervals that count bias cover new truths, those that ignore it fail."""

import numpy as np
import pyarrow as pa
import pytest

from causalign import Logs, Roles
from causalign.errors import InputError, NotIdentified
from causalign.evaluate import bias_arrays, bias_of_log
from causalign.results import Verdict
from causalign.reward import Ridge
from tests.reward.experiments import DIMENSION, simulate


def verdicts(found):
    return {finding.code: finding.verdict for finding in found.findings}


def test_intervals_cover_what_unseen_tests_find_and_true_differences_of_new_texts():
    logs, L, experiments, E, b = simulate(0, tests=300, bias=1)
    found = bias_arrays(logs, L, experiments, E)
    assert found.counting[-1].share == pytest.approx(0.95, abs=0.02)
    assert found.ignoring[-1].share < 0.85
    assert verdicts(found)["EV403"] is Verdict.PASS
    # New texts, whose true differences are known: no test, no noise.
    log = Ridge().fit_arrays(L, logs.outcome).head
    A, B = np.random.default_rng(1).normal(size=(2, 4000, DIMENSION))
    lower, upper = found.interval(log(A) - log(B)).T
    truth = (A - B) @ b
    covered = np.mean((lower < truth) & (truth < upper))
    assert 0.94 < covered < 0.985
    # Arms of the simulated tests differ by 0.05 each beside their texts, which ω counts too.
    departure = np.std(truth - found.bias.slope * (log(A) - log(B)))
    assert found.omega == pytest.approx(np.hypot(departure, 0.05 * np.sqrt(2)), rel=0.1)


def test_a_log_that_is_right_has_a_slope_of_one_and_one_that_misleads_is_told():
    logs, L, experiments, E, _ = simulate(1, tests=150, bias=0)
    right = bias_arrays(logs, L, experiments, E)
    assert right.bias.slope == pytest.approx(1, abs=0.25)
    same = bias_arrays(
        logs.with_outcome(right.bias.slope * logs.outcome, "to scale"), L, experiments, E
    )
    assert verdicts(same)["EV402"] is Verdict.PASS
    double = bias_arrays(logs.with_outcome(2 * logs.outcome, "twice"), L, experiments, E)
    assert double.bias.slope == pytest.approx(right.bias.slope / 2, rel=0.05)
    assert verdicts(double)["EV402"] is Verdict.WARN
    assert "exaggerates" in double.findings[0].explanation
    assert double.omega == pytest.approx(right.omega, rel=0.05)
    upside = bias_arrays(logs.with_outcome(-logs.outcome, "reversed"), L, experiments, E)
    assert verdicts(upside)["EV402"] is Verdict.FAIL


def test_a_departure_that_is_not_normal_is_found():
    logs, L, experiments, E, _ = simulate(2, tests=400, bias=0)
    rows = experiments.data.to_pandas()
    lucky = np.random.default_rng(0).random(len(rows)) < 0.06
    rows.loc[lucky, "clicks"] = rows.loc[lucky, "shown"] // 2  # a few arms are worlds apart
    found = bias_arrays(logs, L, Logs.of(rows, experiments.roles), E)
    assert verdicts(found)["EV403"] is Verdict.WARN


def test_without_tests_it_cannot_be_known():
    logs, *_ = simulate(0, tests=2, bias=0, rows=50)
    unknown = bias_of_log(logs)
    assert verdicts(unknown) == {"EV402": Verdict.NOT_APPLICABLE}
    assert "cannot be known" in unknown.answer()
    assert unknown.omega is None
    assert unknown.section().answer == unknown.answer()
    with pytest.raises(NotIdentified, match="experiments"):
        unknown.interval([1.0])


def test_arms_without_a_variance_of_their_own_leave_their_noise_to_the_interval():
    rng = np.random.default_rng(0)
    words = rng.choice(["good", "bad", "fair", "odd"], size=(400, 3))
    value = ((words == "good").sum(axis=1) - (words == "bad").sum(axis=1)).astype(float)
    texts = [f"{' '.join(row)} {i}" for i, row in enumerate(words)]
    noise = rng.normal(scale=0.5, size=(2, 400))
    tested = {"text": texts, "y": value + noise[0], "test": np.repeat(np.arange(100), 4)}
    experiments = Logs.of(pa.table(tested), Roles("text", "y", group="test"))
    log = {"text": [f"log {text}" for text in texts], "y": value + noise[1]}
    found = bias_of_log(Logs.of(pa.table(log), Roles("text", "y")), experiments, "hashing")
    assert found.omega == pytest.approx(0.5 * np.sqrt(2), rel=0.2)
    assert found.counting[-1].share == pytest.approx(0.95, abs=0.03)
    assert found.units == "units of the outcome"
    assert found.ignoring == ()
    assert found.table().num_rows == 3
    assert "<svg" in found.drawing().figure().svg
    few = Logs.of(pa.table(log).slice(0, 20), Roles("text", "y"))
    with pytest.raises(InputError, match="rows"):
        bias_of_log(few, experiments, "hashing")
