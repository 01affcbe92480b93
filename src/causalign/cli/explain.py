"""``causalign explain``: how a finding is detected, why it matters, what to do."""

from __future__ import annotations

from typing import Annotated

import typer

import causalign as ca
from causalign.cli.output import show_pages


def command(
    codes: Annotated[
        list[str],
        typer.Argument(help="Codes as findings show them, such as CF101.", metavar="CODE"),
    ],
) -> None:
    """Say what a finding means: how it is detected, why it matters, what to do.

    Example: `causalign explain CF101 OV101`
    """
    show_pages({code.upper(): ca.checks.explain(code.upper()) for code in codes})
