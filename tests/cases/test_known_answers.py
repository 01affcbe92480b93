"""Formulas whose change no test noticed: each with an answer that was computed by hand."""

import numpy as np
import pandas as pd
import pytest

from causalign import Logs, Roles
from causalign.deconfound import METHODS, PermutationWeighting, permutation_weighting
from causalign.deconfound.balancing import Balance
from causalign.evaluate import (
    Direct,
    OffPolicyLog,
    SupportLimits,
    TargetSamples,
    measure_marker_payments,
)
from causalign.results import Verdict
from causalign.stats.permutation_weights import PermutationWeights, permutation_weights
from causalign.stats.sensitivity import Coefficient, robustness_value


def test_several_samples_of_a_row_are_averaged_before_rows_are():
    """Rows with 1, 2 and 3 samples: (4 + (1 + 3)/2 + (0 + 3 + 6)/3) / 3 = 3."""
    samples = TargetSamples(
        predicted=np.array([4.0, 1.0, 3.0, 0.0, 3.0, 6.0]), row=np.array([0, 1, 1, 2, 2, 2])
    )
    log = OffPolicyLog(np.array([0.0, 1.0, 0.0]), samples=samples)
    value = Direct(limits=SupportLimits(support=0.0)).estimate(log)
    assert value.estimate == pytest.approx(3.0)
    np.testing.assert_allclose(value.influence.rows, [1.0, -1.0, 0.0])


def test_a_reward_pays_what_changes_when_the_marker_is_written():
    """A reward of words and of "now": "now" adds one word and 5, "so" one word."""

    def reward(texts, _prompts):
        return np.array([len(t.split()) + 5.0 * ("now" in t.split()) for t in texts])

    found = measure_marker_payments({"r": reward}, ["a b", "a b c", "now a", "a b"], ["now", "so"])
    assert found.of("now", "r") == pytest.approx(6.0)
    assert found.of("so", "r") == pytest.approx(1.0)
    assert found.texts == (2, 3)  # distinct texts without the marker
    np.testing.assert_allclose(found.stderr, 0.0, atol=1e-12)

    def uneven(texts, _prompts):
        return np.array([2.0 if t == "so b" else 1.0 if t == "so a" else 0.0 for t in texts])

    spread = measure_marker_payments({"r": uneven}, ["a", "b"], ["so"])
    assert spread.of("so", "r") == pytest.approx(1.5)
    assert spread.stderr[0] == pytest.approx(0.5)


def test_the_robustness_value_of_a_t_statistic_by_hand():
    """f = t / sqrt(dof) = 1/2: (sqrt(1/16 + 1) - 1/4) / 2."""
    assert robustness_value(Coefficient(5.0, 1.0, 100)) == pytest.approx(
        (np.sqrt(1 / 16 + 1) - 1 / 4) / 2
    )
    assert Coefficient(2.0, 1.0, 96).partial_r2 == pytest.approx(4 / 100)


def test_default_limits_of_permutation_weighting():
    rng = np.random.default_rng(0)
    confounder = rng.normal(size=400)
    text = (2 * confounder + rng.normal(size=400))[:, None]
    method = PermutationWeighting()
    assert (method.folds, method.repetitions, method.components, method.largest) == (5, 4, 32, 20)
    folds = np.arange(400) % 5
    whole = permutation_weights(text, confounder[:, None], folds=folds, largest=1e9).weights
    assert whole.mean() == pytest.approx(1.0)
    for largest in (2.0, 3.0):
        found = permutation_weights(text, confounder[:, None], folds=folds, largest=largest)
        # The others keep their ratios, and the capped have so many times the mean of all.
        above = whole >= np.sort(whole)[-round(found.clipped * 400)]
        np.testing.assert_allclose(found.weights[above], largest)
        rest = whole[~above] * (400 - largest * above.sum()) / whole[~above].sum()
        np.testing.assert_allclose(found.weights[~above], rest)
        assert rest.max() < largest
        assert 0 < found.clipped < 0.2


def test_rows_of_weight_two_teach_networks_as_two_rows_do():
    """Half of the rows have another effect; weights say which half is believed."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    rows = 600
    z = rng.normal(size=rows)
    price = z + 0.2 * rng.normal(size=rows)
    up = np.arange(rows) % 2 == 0
    data = pd.DataFrame({"text": [f"t{i}" for i in range(rows)], "price": price, "z": z}).assign(
        y=np.where(up, 1.0, -1.0) * price + 0.1 * rng.normal(size=rows),
        heavy=np.where(up, 9.0, 1.0),
        light=np.where(up, 1.0, 9.0),
    )
    slopes = {}
    for weight in ("heavy", "light"):
        roles = Roles("text", "y", confounders="price", instruments="z", weight=weight)
        method = METHODS["neural-instruments"](folds=2, steps=150, width=8)
        slopes[weight] = method.fit(Logs.of(data, roles)).estimates[0]
    # (9 - 1) / 10 either way; without weights both would be 0.
    assert slopes["heavy"] == pytest.approx(0.8, abs=0.2)
    assert slopes["light"] == pytest.approx(-0.8, abs=0.2)


@pytest.mark.parametrize(("auc", "verdict"), [(0.98, Verdict.PASS), (0.99, Verdict.FAIL)])
def test_rows_that_a_classifier_tells_apart_are_separated(auc, verdict):
    fit = PermutationWeights(np.ones(4), auc, 0.0)
    assert permutation_weighting._check_separation(fit).verdict is verdict


@pytest.mark.parametrize(("after", "verdict"), [(0.14, Verdict.PASS), (0.16, Verdict.WARN)])
def test_balance_is_what_chance_would_give_and_half_more(after, verdict):
    """Of 100 rows worth, chance gives a correlation of .1."""
    balance = Balance(("c",), np.array([[0.5]]), np.array([[after]]))
    assert permutation_weighting._check_balance(balance, 100.0, ("c",)).verdict is verdict
