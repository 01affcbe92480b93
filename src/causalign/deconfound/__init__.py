"""Estimate the effect h(C) of confounders and subtract it: one estimator for each file."""

from causalign.deconfound.additive import Additive
from causalign.deconfound.balancing import BalancingWeights
from causalign.deconfound.double_ml import DoubleML
from causalign.deconfound.double_ml_instruments import DoubleMLInstruments
from causalign.deconfound.effect import ConfounderEffect
from causalign.deconfound.limited_information import LimitedInformation
from causalign.deconfound.ordinary import OrdinaryLeastSquares
from causalign.deconfound.permutation_weighting import PermutationWeighting
from causalign.deconfound.sensitivity import UnrecordedConfounding
from causalign.deconfound.streamed import fit_parquet
from causalign.deconfound.two_stage import TwoStageLeastSquares

__all__ = [
    "Additive",
    "BalancingWeights",
    "ConfounderEffect",
    "DoubleML",
    "DoubleMLInstruments",
    "LimitedInformation",
    "OrdinaryLeastSquares",
    "PermutationWeighting",
    "TwoStageLeastSquares",
    "UnrecordedConfounding",
    "fit_parquet",
    "methods",
]

methods = {
    "ordinary": OrdinaryLeastSquares,
    "two-stage": TwoStageLeastSquares,
    "limited-information": LimitedInformation,
    "additive": Additive,
    "double-ml": DoubleML,
    "double-ml-instruments": DoubleMLInstruments,
}
