"""Logs whose truth is known: each simulator returns the logs, the true effect and fair pairs."""

from causalign.config import Methods
from causalign.namespaces import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)

SIMULATORS = Methods(
    __name__,
    {
        "newsletter": "Newsletter",
        "interacting": "Interacting",
        "opposite-tastes": "OppositeTastes",
        "pricing": "Pricing",
    },
)
# Designs of `causalign bench`: semi-synthetic logs in which one marker has a known effect.
DESIGNS = Methods(
    __name__,
    {
        "text-cause": "TextCause",
        "marker-by-day": "MarkerByDay",
        "hidden-promotion": "HiddenPromotion",
        "silent-readers": "SilentReaders",
        "written-by-model": "WrittenByModel",
    },
)
__all__ = [*__all__, "DESIGNS", "SIMULATORS"]
