"""The only place that knows the order: logs → audit → deconfound → reward → policy → evaluate."""

from causalign.namespaces import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
