"""A setting of the wrong type or out of its range is refused where it is given, with its range."""

import math
from dataclasses import fields

import pytest

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
FOLDS, COVARIANCE = [*WHOLE, 0, 1], ["hc3", None, True, 1]
DECONFOUND = {
    ("Additive", "penalty"): [*NUMBERS, math.inf],
    ("Additive", "shrink"): ["yes", 1, None],
    ("DoubleML", "folds"): [*FOLDS, 2],
    ("DoubleML", "seed"): WHOLE,
    ("DoubleML", "learner"): ["ridge", 3],
    ("DoubleMLInstruments", "folds"): [*FOLDS, 2],
    ("DoubleMLInstruments", "seed"): WHOLE,
    ("TwoStageLeastSquares", "kappa"): [*NUMBERS, math.inf, None, "LIML"],
    ("LimitedInformation", "fuller"): [*NUMBERS, math.inf, None],
    ("PermutationWeighting", "folds"): FOLDS,
    ("PermutationWeighting", "seed"): WHOLE,
    ("PermutationWeighting", "repetitions"): [*WHOLE, 0],
    ("PermutationWeighting", "components"): [*NUMBERS, 0, 1.5],
    ("PermutationWeighting", "largest"): [*NUMBERS, 0, 1, math.inf, None],
    ("PermutationWeighting", "classifier"): ["forest", None, 1],
    ("NeuralInstruments", "width"): [*WHOLE, 0],
    ("NeuralInstruments", "steps"): [*WHOLE, 0],
    ("NeuralInstruments", "folds"): FOLDS,
    ("NeuralInstruments", "seed"): WHOLE,
    ("NeuralInstruments", "learning_rate"): [*ABOVE_ZERO, None],
    ("NeuralInstruments", "weight_decay"): [*NUMBERS, math.inf, None],
    ("AdversarialGMM", "landmarks"): [*WHOLE, 0],
    ("AdversarialGMM", "folds"): FOLDS,
    ("AdversarialGMM", "seed"): WHOLE,
    **{
        (name, "covariance"): COVARIANCE
        for name in (
            "Additive",
            "OrdinaryLeastSquares",
            "DoubleML",
            "DoubleMLInstruments",
            "TwoStageLeastSquares",
            "LimitedInformation",
            "AdversarialGMM",
        )
    },
}


@pytest.mark.parametrize(("name", "setting"), EVALUATE)
def test_settings_of_evaluation(name, setting):
    for value in EVALUATE[name, setting]:
        with pytest.raises(SettingsError, match=setting):
            getattr(evaluate, name)(**{setting: value})


@pytest.mark.parametrize(("name", "setting"), DECONFOUND)
def test_settings_of_deconfounders(name, setting):
    for value in DECONFOUND[name, setting]:
        with pytest.raises(SettingsError, match=setting):
            getattr(deconfound, name)(**{setting: value})


def test_settings_of_sensitivity():
    for value in LEVEL:
        with pytest.raises(SettingsError, match="level must be a number above 0 and below 1"):
            deconfound.UnobservedConfounding("price", level=value)
    for value in ((0.0,), (-1.0,), (math.nan,), (True,), ("1",), 2.0):
        with pytest.raises(SettingsError, match="multiples must be"):
            deconfound.UnobservedConfounding("price", multiples=value)


def test_every_number_of_every_method_is_checked():
    """A new setting with a number as default must be named above."""
    named = EVALUATE | DECONFOUND
    for package in (evaluate, deconfound):
        for name, method in package.METHODS.items():
            made = method() if isinstance(method, type) else method
            for field in fields(made):
                setting = field.name
                if isinstance(getattr(made, setting), int | float):
                    assert (type(made).__name__, setting) in named, (name, setting)


def test_usual_settings_are_taken():
    evaluate.Clipped(largest=1, outcome_range=(0, 1))
    evaluate.SupportLimits(0, math.inf, math.inf, 0, 0, 1)
    evaluate.KernelWeighting(components=None, bandwidth=2)
    deconfound.Additive(penalty=0, shrink=True)
    deconfound.TwoStageLeastSquares(kappa="liml")
    deconfound.TwoStageLeastSquares(kappa=0)
    deconfound.PermutationWeighting(components=None, classifier="boosting")
