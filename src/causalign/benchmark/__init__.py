"""Compare estimators on semi-synthetic logs whose truth is known: real texts, a known effect."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
