"""Estimate the effect h(C) of confounders and subtract it: one estimator for each file."""

from causalign.deconfound.additive import Additive
from causalign.deconfound.effect import ConfounderEffect
from causalign.deconfound.limited_information import LimitedInformation
from causalign.deconfound.ordinary import OrdinaryLeastSquares
from causalign.deconfound.two_stage import TwoStageLeastSquares

__all__ = [
    "Additive",
    "ConfounderEffect",
    "LimitedInformation",
    "OrdinaryLeastSquares",
    "TwoStageLeastSquares",
    "methods",
]

methods = {
    "ordinary": OrdinaryLeastSquares,
    "two-stage": TwoStageLeastSquares,
    "limited-information": LimitedInformation,
    "additive": Additive,
}
