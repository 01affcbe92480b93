"""Logs whose truth is known: each simulator returns the logs, the true effect and fair pairs."""

from causalign.simulate.entangled_news import EntangledNews
from causalign.simulate.interacting import Interacting
from causalign.simulate.newsletter import Newsletter
from causalign.simulate.nonlinear_instruments import NonlinearInstruments
from causalign.simulate.partially_linear import PartiallyLinear
from causalign.simulate.pricing import Pricing
from causalign.simulate.simulated import Simulated, SimulatedDesign
from causalign.simulate.weak_instruments import WeakInstruments

simulators = {"newsletter": Newsletter, "interacting": Interacting, "pricing": Pricing}

__all__ = [
    "EntangledNews",
    "Interacting",
    "Newsletter",
    "NonlinearInstruments",
    "PartiallyLinear",
    "Pricing",
    "Simulated",
    "SimulatedDesign",
    "WeakInstruments",
    "simulators",
]
