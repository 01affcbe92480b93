"""Tune language models on what a text caused, not on what travelled with it."""

from importlib.metadata import version

from causalign import errors
from causalign.audit import audit
from causalign.logs import Logs
from causalign.pairs import Pairs
from causalign.roles import Roles

__version__ = version("causalign")

__all__ = ["Logs", "Pairs", "Roles", "__version__", "audit", "errors"]
