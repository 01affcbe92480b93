"""Propensities that cannot be, and what the findings say."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from causalign.errors import InputError, SettingsError
from causalign.logs import Logs
from causalign.pairs import Pairs
from causalign.policy import DPO, CausalPreference, Weighting, findings
from causalign.policy.fresh_pool import mixture_logprob
from causalign.policy.propensity import log_propensities, logged_propensities, uniform_design
from causalign.policy.weights import WeightTable
from causalign.results import Verdict
from causalign.roles import Roles
from causalign.stats.importance_weights import diagnosed


def test_probabilities_and_their_logarithms_are_told_apart():
    p = np.array([0.5, 1.0, 1e-12])
    assert np.allclose(log_propensities(p), np.log(p))
    assert np.allclose(log_propensities(np.log(p)), np.log(p))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.5, 0.0], "0 in row 1"),
        ([0.5, 1.5], "1.5 in row 1, above 1"),
        ([12.5, 80.0], "above 1"),
        ([-3.0, 0.5], "mixes"),
        ([0.5, np.nan], "nan in row 1"),
        ([-np.inf, -1.0], "-inf in row 0"),
        ([], "one number for each row"),
    ],
)
def test_propensities_that_cannot_be_are_refused(values, said):
    with pytest.raises(InputError, match=said):
        log_propensities(values)


def test_a_uniform_design_counts_the_texts_of_each_prompt():
    table = pa.table(
        {"q": ["a", "a", "a", "b"], "t": ["x", "y", "x", "z"], "y": [1.0, 2.0, 3.0, 4.0]}
    )
    logs = Logs.of(table, Roles(completion="t", outcome="y", prompt="q"))
    assert np.allclose(uniform_design(logs), -np.log([2, 2, 2, 1]))


def test_the_source_of_propensities_must_be_named(logs):
    bare = replace(logs, roles=replace(logs.roles, propensity=None))
    with pytest.raises(SettingsError, match="Roles\\(propensity"):
        logged_propensities(bare, None, None)
    assert logged_propensities(bare, "reference", None) is None
    with pytest.raises(InputError, match="1 log-propensities for 192"):
        logged_propensities(logs, None, [-1.0])
    with pytest.raises(SettingsError, match="'guess'"):
        logged_propensities(logs, "guess", None)


def test_pairs_that_say_nothing_are_refused(tmp_path, tiny_lm_folder):
    none = Pairs([], [], np.zeros(0), np.zeros(0), np.zeros(0))
    bad = Pairs(["a"], ["b"], np.array([np.nan]), np.ones(1), np.zeros(1))
    idle = Pairs(["a"], ["b"], np.ones(1), np.zeros(1), np.zeros(1))
    for pairs, said in ((bad, "margin of pair 0"), (idle, "weight 0")):
        with pytest.raises(InputError, match=said):
            DPO(model=str(tiny_lm_folder)).fit(pairs, tmp_path)
    with pytest.raises(InputError, match="no pairs"):
        DPO(model=str(tiny_lm_folder)).fit(none, tmp_path)


def test_outcome_models_must_return_finite_numbers(logs, tmp_path):
    method = CausalPreference(objective="doubly-robust")
    for broken in (lambda p, c: np.full(len(c), np.nan), lambda p, c: np.zeros(1)):
        with pytest.raises(InputError, match="finite numbers"):
            method.fit(logs, tmp_path, outcome_model=broken)


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


def test_collapsed_weights_are_trouble():
    assert table(np.zeros(50)).trouble() is None
    assert "worth 1.0" in table(np.where(np.arange(50) == 0, 0.0, -50.0)).trouble()
    exploding = table(np.full(50, 70.0), normalise=False)
    assert "exp(70)" in exploding.trouble()
    assert table(np.full(50, 70.0), normalise=False, clip=5.0).trouble() is None


def test_a_defensive_mixture_bounds_the_weights():
    own, reference = np.array([-1.0, -50.0]), np.array([-3.0, -2.0])
    mixed = mixture_logprob(own, reference, 0.25)
    assert np.allclose(np.exp(mixed), 0.75 * np.exp(own) + 0.25 * np.exp(reference))
    assert mixture_logprob(own, reference, 0.0) is own


def test_findings_turn_with_their_numbers():
    even = diagnosed(np.zeros(100))
    spiked = diagnosed(np.where(np.arange(100) == 0, 8.0, 0.0))
    heavy = diagnosed(1.5 * np.random.default_rng(0).standard_exponential(500))
    verdict = {
        "even": findings.effective_rows(even, 10).verdict,
        "spiked": findings.effective_rows(spiked, 10).verdict,
        "heavy": findings.tail_of_weights(heavy).verdict,
        "tailless": findings.tail_of_weights(even).verdict,
        "typical": findings.typical_texts(0.88).verdict,
        "strange": findings.typical_texts(0.5).verdict,
        "foreign": findings.typical_texts(0.05).verdict,
        "unclipped": findings.clipped_weights(0.0, None).verdict,
        "clipped": findings.clipped_weights(0.2, 5.0).verdict,
        "mean": findings.mean_weight(even, normalised=False).verdict,
        "off": findings.mean_weight(diagnosed(np.full(100, 5.0)), normalised=False).verdict,
        "off but normalised": findings.mean_weight(
            diagnosed(np.full(100, 5.0)), normalised=True
        ).verdict,
        "cut": findings.cut_texts(np.array([True, False, False]), 8).verdict,
        "silent": findings.sampled_texts(50, 0, 100).verdict,
    }
    assert verdict == {
        "even": Verdict.PASS,
        "spiked": Verdict.FAIL,
        "heavy": Verdict.FAIL,
        "tailless": Verdict.PASS,
        "typical": Verdict.PASS,
        "strange": Verdict.WARN,
        "foreign": Verdict.FAIL,
        "unclipped": Verdict.NOT_APPLICABLE,
        "clipped": Verdict.WARN,
        "mean": Verdict.PASS,
        "off": Verdict.FAIL,
        "off but normalised": Verdict.WARN,
        "cut": Verdict.WARN,
        "silent": Verdict.WARN,
    }
