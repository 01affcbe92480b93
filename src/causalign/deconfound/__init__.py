"""Estimate the effect h(C) of confounders and subtract it: one estimator for each file."""

import lazy_loader

from causalign.config import Methods

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

METHODS = Methods(
    __name__,
    {
        "ordinary": "OrdinaryLeastSquares",
        "two-stage": "TwoStageLeastSquares",
        "limited-information": "LimitedInformation",
        "additive": "Additive",
        "double-ml": "DoubleML",
        "double-ml-instruments": "DoubleMLInstruments",
        "permutation-weighting": "PermutationWeighting",
        "adversarial-gmm": "AdversarialGMM",
        "neural-instruments": "NeuralInstruments",
    },
)
__all__ = [*__all__, "METHODS"]
