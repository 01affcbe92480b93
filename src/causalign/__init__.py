"""Tune language models on what a text caused, not on what travelled with it."""

import logging
from importlib.metadata import version

import lazy_loader

# Whoever uses the library decides what of it is heard.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = version("causalign")
__all__ = [*__all__, "__version__"]
