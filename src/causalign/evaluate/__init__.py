"""What a policy would have earned, and which reward is right, on data that no fit has seen."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
