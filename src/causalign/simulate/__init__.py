"""Logs whose truth is known: each simulator returns the logs, the true effect and fair pairs."""

from causalign.simulate.newsletter import Newsletter
from causalign.simulate.simulated import Simulated

simulators = {"newsletter": Newsletter}

__all__ = ["Newsletter", "Simulated", "simulators"]
