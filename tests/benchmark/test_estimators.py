"""Estimators do what they say: known regressions, and the truth where their assumption holds."""

import numpy as np
import pytest

import causalign as ca
from causalign.benchmark import ESTIMATORS, BlindLog, run
from causalign.simulate import HiddenPromotion, MarkerByDay, SilentReaders, TextCause

SMALL = {"rows": 800, "unseen": 100}


@pytest.fixture(scope="module")
def blind():
    return BlindLog.of(MarkerByDay(**SMALL).simulate())


def days(blind):
    return np.eye(7)[blind.logs.codes_of("weekday")]


def test_naive_is_welchs_difference(blind):
    y, t = blind.logs.outcome, blind.marker
    estimate = ESTIMATORS["naive"](blind)
    assert estimate.effect == pytest.approx(y[t == 1].mean() - y[t == 0].mean())
    error = np.sqrt(sum(y[t == k].var() / (t == k).sum() for k in (0, 1)))
    assert (estimate.upper - estimate.lower) / 2 == pytest.approx(1.96 * error, rel=0.01)


def test_additive_is_least_squares_with_dummies(blind):
    fit = ca.stats.least_squares.ordinary(
        blind.logs.outcome, np.column_stack([blind.marker, days(blind)])
    )
    estimate = ESTIMATORS["additive"](blind)
    assert estimate.effect == pytest.approx(fit.coefficients[0], rel=1e-6)
    half = (estimate.upper - estimate.lower) / 2
    assert half == pytest.approx(1.96 * np.sqrt(fit.covariance[0, 0]), rel=0.01)


def test_hashed_buckets_are_least_squares_on_buckets(blind):
    from causalign.benchmark.estimators import _hash_words

    buckets = _hash_words(blind.rest)
    assert np.linalg.norm(buckets, axis=1) == pytest.approx(1)
    X = np.column_stack([blind.marker, days(blind), buckets])
    fit = np.linalg.lstsq(X, blind.logs.outcome, rcond=None)[0]
    assert ESTIMATORS["hashed-buckets"](blind).effect == pytest.approx(fit[0], rel=1e-6)


def test_hashed_buckets_are_those_of_statspai(blind):
    """Of `text_treatment_effect(..., covariates=days)` in StatsPAI 1.40.2 on the same log."""
    estimate = ESTIMATORS["hashed-buckets"](blind)
    found = (estimate.effect, estimate.lower, estimate.upper)
    assert found == pytest.approx((0.5631586455, 0.3764486887, 0.7498686024), rel=1e-8)


def test_what_does_not_apply_says_nothing(blind):
    applies = {name for name, ask in ESTIMATORS.items() if ask(blind) is not None}
    assert "permutation-weighting" in applies
    assert applies.isdisjoint({"two-stage", "weights-ignored", "tests-alone", "log-and-tests"})
    hidden = BlindLog.of(HiddenPromotion(**SMALL).simulate())
    assert ESTIMATORS["tests-alone"](hidden) is not None
    silent = BlindLog.of(SilentReaders(**SMALL).simulate())
    assert ESTIMATORS["weights-ignored"](silent) is not None


def test_tests_alone_are_the_mean_of_differences():
    blind = BlindLog.of(HiddenPromotion(**SMALL).simulate())
    y, t = blind.experiments.outcome, blind.experiment_marker
    estimate = ESTIMATORS["tests-alone"](blind)
    assert estimate.effect == pytest.approx(y[t == 1].mean() - y[t == 0].mean())
    assert estimate.scores.shape == (100,)


def test_the_truth_is_not_in_the_blind(blind):
    assert set(blind.__slots__).isdisjoint({"effect", "unseen_effect"})


def test_texts_that_cannot_be_edited_have_no_edit():
    blind = BlindLog.of(TextCause(**SMALL).simulate())
    assert blind.edit is None
    assert blind.rest == tuple(blind.logs.texts)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("design", "right", "wrong"),
    [
        ("text-cause", "permutation-weighting", "naive"),
        ("marker-by-day", "permutation-weighting", "naive"),
        ("hidden-promotion", "tests-alone", "additive"),
        ("silent-readers", "additive", "weights-ignored"),
    ],
)
def test_right_estimators_cover_and_wrong_ones_fail(design, right, wrong):
    board = run([design], {name: ESTIMATORS[name] for name in (right, wrong)}, draws=12)
    covered = {row["estimator"]: row["covered"] for row in board.table().to_pylist()}
    assert covered[right] >= 9
    assert covered[wrong] <= 7
