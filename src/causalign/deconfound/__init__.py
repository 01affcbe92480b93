"""Estimate the effect h(C) of confounders and subtract it: one estimator for each file."""

from causalign.deconfound.additive import Additive
from causalign.deconfound.adjusted import adjusted
from causalign.deconfound.adversarial_gmm import AdversarialGMM
from causalign.deconfound.balancing import BalancingWeights
from causalign.deconfound.double_ml import DoubleML
from causalign.deconfound.double_ml_instruments import DoubleMLInstruments
from causalign.deconfound.effect import ConfounderEffect
from causalign.deconfound.limited_information import LimitedInformation
from causalign.deconfound.neural_instruments import NeuralInstruments
from causalign.deconfound.ordinary import OrdinaryLeastSquares
from causalign.deconfound.permutation_weighting import PermutationWeighting
from causalign.deconfound.sensitivity import UnrecordedConfounding
from causalign.deconfound.streamed import fit_parquet
from causalign.deconfound.two_stage import TwoStageLeastSquares
from causalign.deconfound.unrecorded import with_sensitivity

__all__ = [
    "Additive",
    "AdversarialGMM",
    "BalancingWeights",
    "ConfounderEffect",
    "DoubleML",
    "DoubleMLInstruments",
    "LimitedInformation",
    "NeuralInstruments",
    "OrdinaryLeastSquares",
    "PermutationWeighting",
    "TwoStageLeastSquares",
    "UnrecordedConfounding",
    "adjusted",
    "fit_parquet",
    "methods",
    "text_free",
    "with_sensitivity",
]

methods = {
    "ordinary": OrdinaryLeastSquares,
    "two-stage": TwoStageLeastSquares,
    "limited-information": LimitedInformation,
    "additive": Additive,
    "double-ml": DoubleML,
    "double-ml-instruments": DoubleMLInstruments,
    "permutation-weighting": PermutationWeighting,
    "adversarial-gmm": AdversarialGMM,
    "neural-instruments": NeuralInstruments,
}

# Instruments stand in for the text: these methods do not read its features.
text_free = ("two-stage", "limited-information", "adversarial-gmm", "neural-instruments")
