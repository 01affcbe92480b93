"""A setting of the wrong type or out of its range is refused where it is given, with its range."""

import math
from dataclasses import fields

import pytest
from sklearn.linear_model import LinearRegression

from causalign import deconfound, evaluate
from causalign.errors import SettingsError

NUMBERS = [math.nan, -math.inf, -1, True, "5", [1]]
LEVEL = [*NUMBERS, 0, 1, 95, math.inf, None]
WHOLE = [*NUMBERS, 2.5, math.inf, None]
ABOVE_ZERO = [*NUMBERS, 0, math.inf]
NOT_NEGATIVE = [*NUMBERS, None]

EVALUATE = {
    ("Inference", "level"): LEVEL,
    ("Inference", "draws"): [*WHOLE, 0, 99],
    ("Inference", "seed"): WHOLE,
    ("Inference", "interval"): ["normal", None, True, []],
    ("Clipped", "largest"): ABOVE_ZERO,
    ("Clipped", "outcome_range"): [(1, 0), (0, 0), (0, math.nan), (0, math.inf), 5, (0, 1, 2)],
    ("Switch", "largest"): ABOVE_ZERO,
    ("KernelWeighting", "bandwidth"): ABOVE_ZERO,
    ("KernelWeighting", "components"): [*NUMBERS, 0, 1.5],
    ("DoublyRobust", "normalise"): ["no", None, 2],
    ("Direct", "bias"): NOT_NEGATIVE,
    ("Direct", "chosen_by_model"): ["no", None, 2],
    ("CrossFittedOutcome", "folds"): [*WHOLE, 0, 1],
    ("CrossFittedOutcome", "seed"): WHOLE,
    ("SupportLimits", "effective_rows"): NOT_NEGATIVE,
    ("SupportLimits", "pareto_shape"): NOT_NEGATIVE,
    ("SupportLimits", "mean_weight"): NOT_NEGATIVE,
    ("SupportLimits", "typical_rows"): NOT_NEGATIVE,
    ("SupportLimits", "support"): [*NUMBERS, 1.1, math.inf],
    ("SupportLimits", "cut"): [*NUMBERS, 1.1, math.inf],
    **{
        (method.__name__, setting): [None, 0.95]
        for method in evaluate.METHODS.values()
        for setting in ("inference", "limits")
    },
}
# Of every deconfounder that has the setting.
DECONFOUND = {
    "covariance": ["hc3", None, True, 1],
    "folds": [*WHOLE, 0, 1],
    "seed": WHOLE,
    "penalty": [*NUMBERS, math.inf],
    "shrink": ["yes", 1, None],
    "learner": ["ridge", 3],
    "kappa": [*NUMBERS, math.inf, None, "LIML"],
    "fuller": [*NUMBERS, math.inf, None],
    "repetitions": [*WHOLE, 0],
    "components": [*NUMBERS, 0, 1.5],
    "largest": [*NUMBERS, 0, 1, math.inf, None],
    "classifier": ["forest", None, 1],
    "width": [*WHOLE, 0],
    "steps": [*WHOLE, 0],
    "learning_rate": [*ABOVE_ZERO, None],
    "weight_decay": [*NUMBERS, math.inf, None],
    "landmarks": [*WHOLE, 0],
}
DECONFOUNDERS = [
    (method, field.name)
    for method in deconfound.METHODS.values()
    for field in fields(method)
    if field.name in DECONFOUND
]


@pytest.mark.parametrize(("name", "setting"), EVALUATE)
def test_settings_of_evaluation(name, setting):
    for value in EVALUATE[name, setting]:
        with pytest.raises(SettingsError, match=setting):
            getattr(evaluate, name)(**{setting: value})


@pytest.mark.parametrize(("method", "setting"), DECONFOUNDERS)
def test_settings_of_deconfounders(method, setting):
    for value in DECONFOUND[setting]:
        with pytest.raises(SettingsError, match=setting):
            method(**{setting: value})


def test_ridge_needs_a_third_fold_and_a_learner_does_not():
    for method, setting in DECONFOUNDERS:
        if setting == "learner":
            with pytest.raises(SettingsError, match="at least 3, not 2: without a learner"):
                method(folds=2)
            assert method(folds=2, learner=LinearRegression()).folds == 2


def test_settings_of_sensitivity():
    for value in LEVEL:
        with pytest.raises(SettingsError, match="level must be a number above 0 and below 1"):
            deconfound.UnobservedConfounding("price", level=value)
    for value in ((0.0,), (-1.0,), (math.nan,), (True,), ("1",), 2.0):
        with pytest.raises(SettingsError, match="multiples must be"):
            deconfound.UnobservedConfounding("price", multiples=value)


def test_every_number_of_every_method_is_checked():
    """A new setting with a number as default must be named above."""
    for package, named in ((evaluate, EVALUATE), (deconfound, DECONFOUND)):
        for method in package.METHODS.values():
            for field in fields(method()):
                if isinstance(getattr(method(), field.name), int | float):
                    names = field.name, (method.__name__, field.name)
                    assert any(name in named for name in names), names


def test_usual_settings_are_taken():
    evaluate.Clipped(largest=1, outcome_range=(0, 1))
    evaluate.SupportLimits(0, math.inf, math.inf, 0, 0, 1)
    evaluate.KernelWeighting(components=None, bandwidth=2)
    usual = {"penalty": [None, 0, 0.5], "kappa": ["liml", 0, 1], "components": [None, 3]}
    for method, setting in DECONFOUNDERS:
        for value in usual.get(setting, []):
            method(**{setting: value})
