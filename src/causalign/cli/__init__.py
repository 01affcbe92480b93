"""The command line: one file per verb; each reads files, calls one function, writes a folder."""

import logging
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import causalign as ca
from causalign.cli import (
    audit,
    bench,
    data,
    deconfound,
    design,
    doctor,
    evaluate,
    experiment,
    explain,
    init,
    policy,
    pretrain,
    recipes,
    report,
    reward,
    run,
    serve,
    simulate,
    write,
)
from causalign.cli.options import name_option
from causalign.cli.output import Messages, complain, manner, print_document, say
from causalign.errors import CausalignError, RoleNotDeclared, hide_secrets
from causalign.lm.processes import is_main_process
from causalign.terminal import Stopped, forgiving_streams, watch_signals

__all__ = ["main"]

# What typer raises for arguments that cannot be read; newer versions have no public name for it.
_USAGE: Any = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="causalign",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _show_version(asked: bool) -> None:
    if asked:
        say(f"causalign {ca.__version__}")
        raise typer.Exit


@app.callback()
def describe(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Tune language models on what a text caused, not on what travelled with it."""


def _choose_json(asked: bool) -> None:
    manner.json = manner.json or asked


def _be_quiet(asked: bool) -> None:
    if asked:
        manner.set_loudness(-1)


def _say_more(times: int) -> None:
    if times:
        manner.set_loudness(manner.loudness + times)


# What every verb takes; `causalign --json VERB` and `causalign VERB --json` are the same.
_shared = typer.Typer(add_completion=False)


@_shared.command()
def _speak(
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            callback=_choose_json,
            help="One JSON document on standard output, messages on standard error.",
            rich_help_panel="Output",
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            callback=_be_quiet,
            help="Results and errors alone.",
            rich_help_panel="Output",
        ),
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            callback=_say_more,
            help="Say what is decided on the way; -vv says more.",
            rich_help_panel="Output",
        ),
    ] = 0,
) -> None:
    """Say how a verb is to speak."""


for verb in (
    init,
    run,
    audit,
    deconfound,
    policy,
    pretrain,
    write,
    design,
    serve,
    report,
    explain,
    simulate,
    bench,
    doctor,
):
    app.command(name=verb.__name__.rsplit(".", 1)[-1])(verb.command)
app.add_typer(reward.app, name="reward")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(experiment.app, name="experiment")
app.add_typer(recipes.app, name="recipes")
app.add_typer(data.app, name="data")


def make_command() -> TyperGroup:
    """Return the command line, every verb with the options that all of them take."""
    root, shared = typer.main.get_command(app), typer.main.get_command(_shared).params
    assert isinstance(root, TyperGroup)
    for option in shared:
        option.expose_value = False
    below = [root]
    while below:
        command = below.pop()
        command.params += shared
        below += getattr(command, "commands", {}).values()
    return root


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    Exits with 0 when done, 1 under ``--strict``, 2 on bad input or settings, 130 and 143 when
    SIGINT or SIGTERM stopped it. Whoever closes the pipe loses what would have been shown, and
    nothing that is kept.
    """
    logging.getLogger("causalign").handlers = [Messages()]
    manner.begin()
    with forgiving_streams() as tell_failure, watch_signals(complain) as watch:
        try:
            # A verb gives nothing; what ends it early, as --help does, gives an exit code.
            code = make_command()(args=arguments, standalone_mode=False) or 0
            print_document()
            failure = tell_failure()
            if failure is not None and not code:
                complain(f"Standard output cannot be written: {failure}. What was kept is whole.")
                code = 2
            sys.exit(code)
        except SystemExit:
            raise
        except BaseException as error:
            stopped = error if isinstance(error, Stopped) else watch.stopped
            if stopped is not None:
                if is_main_process():
                    complain(stopped.sentence)
                sys.exit(stopped.exit_code)
            complain(_explain(error))
            sys.exit(2)


def _explain(error: BaseException) -> str:
    """Return what a person needs to know of an error; raise it when it is a fault of ours."""
    if isinstance(error, RoleNotDeclared):
        return str(error.reword("with", name_option))
    if isinstance(error, CausalignError):
        return str(error)
    if isinstance(error, _USAGE):
        context = getattr(error, "ctx", None)
        path = "causalign" if context is None else context.command_path
        message = str(getattr(error, "format_message", str)()) or "Say what is to be done."
        return f"{message.rstrip('.')}. Try: {path} --help"
    if isinstance(error, MemoryError):
        return "The memory is full. Read fewer rows, or use a machine with more of it."
    if isinstance(error, OSError) and error.errno is not None:
        where = "" if error.filename is None else f": {str(error.filename)!r}"
        return hide_secrets(f"{os.strerror(error.errno)}{where}.")
    raise error
