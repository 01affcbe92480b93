"""``causalign explain``: how a finding is detected, why it matters, what to do."""

from typing import Annotated

import typer
from rich.markdown import Markdown

from causalign.checks.explained import explained
from causalign.cli.output import console


def command(
    codes: Annotated[
        list[str],
        typer.Argument(help="Codes as findings show them, such as CF101.", metavar="CODE"),
    ],
) -> None:
    """Say what a finding means: how it is detected, why it matters, what to do.

    Example: `causalign explain CF101 OV101`
    """
    pages = [explained(code.upper()) for code in codes]
    for page in pages:
        console.print(Markdown(page))
