"""Language models. ``import causalign.lm`` itself needs no deep-learning library."""

from causalign.namespaces import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
