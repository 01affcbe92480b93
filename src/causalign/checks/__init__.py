"""What a log, a fit or a policy must satisfy: one function for each finding, each with a page."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
