"""Turn the sections of a run into one page to read: HTML that needs nothing else, and Markdown."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
