"""The one noun that flows: a table of texts and outcomes whose columns have causal roles."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
