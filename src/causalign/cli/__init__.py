"""The command line: one file per verb; each reads files, calls one function, writes a folder."""

import logging
import sys

import typer

from causalign.cli import (
    audit,
    data,
    deconfound,
    doctor,
    evaluate,
    explain,
    policy,
    report,
    reward,
    run,
    simulate,
)
from causalign.cli.options import name_option
from causalign.cli.output import Warnings, complain
from causalign.errors import CausalignError, RoleNotDeclared

__all__ = ["main"]

app = typer.Typer(
    name="causalign",
    help="Tune language models on what a text caused, not on what travelled with it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for verb in (run, audit, deconfound, policy, report, explain, simulate, doctor):
    app.command(name=verb.__name__.rsplit(".", 1)[-1])(verb.command)
app.add_typer(reward.app, name="reward")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(data.app, name="data")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit 0 when done, 1 under ``--strict``, 2 on bad input or settings."""
    logging.getLogger("causalign").handlers = [Warnings(logging.WARNING)]
    try:
        app(args=arguments, standalone_mode=True)
    except RoleNotDeclared as missing:
        complain(str(missing.reword("with", name_option)))
        sys.exit(2)
    except CausalignError as error:
        complain(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        complain("Stopped. Run the same command again to continue.")
        sys.exit(130)
