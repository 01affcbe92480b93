"""Ask what logs can support: findings on the data, what travels with the texts, which words."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
