"""``causalign init``: from a file of logs to a recipe that runs, with what there is to decide."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated

import typer

import causalign as ca
from causalign.cli import options as given
from causalign.cli.output import give, say, say_path, show_table

# Counts of style help one-line texts and hurt paragraphs; see docs/methods/encoders.md.
PARAGRAPH = 60
# Stands in a recipe for an address that holds a password.
ADDRESS = "CAUSALIGN_LOGS"
HELD_OUT = 0.3
# Of which a vector of an encoder consists, at most; with fewer rows for each DE103 warns.
NUMBERS, MOST_NUMBERS = {"minilm": 384, "minilm+style": 460}, 2120
ROWS_PER_NUMBER = 5


def command(
    context: typer.Context,
    logs: given.LogsPath,
    completion: Annotated[
        str | None, typer.Option("--completion", help="Column of the texts; guessed without.")
    ] = None,
    outcome: Annotated[
        str | None,
        typer.Option("--outcome", help="Column of what happened after them; guessed without."),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FILE", help="The recipe to write.", parser=given.read_output
        ),
    ] = Path("pipeline.yaml"),
    query: given.Query = None,
) -> None:
    """Guess what the columns of a file are, and write a recipe that `causalign run` takes.

    Columns of what came after the text are named and left out. Read the recipe before you run it:
    whether a column was known before the text was written, no file can say.

    Examples: `causalign init mails.csv`; `causalign init listings.parquet --outcome bookings --out
    listings.yaml`
    """
    if out.exists():
        raise ca.errors.InputError(f"{str(out)!r} is there already. Name another file: --out.")
    if logs == "-":
        raise ca.errors.InputError("A run cannot read standard input again: save it to a file.")
    if "$" in logs and ca.errors.mask_address(logs) == logs:  # what is secret is not written
        raise ca.errors.InputError(
            f"The path {logs!r} holds a $, which a recipe reads as a variable of the environment. "
            "Give the file another name, or a link to it."
        )
    read = ca.logs.read_table(given.fetch(context, logs, query))
    guesses = ca.logs.guess_roles(read, completion=completion, outcome=outcome)
    recipe = draft_recipe(guesses, logs, out, query)
    out.parent.mkdir(parents=True, exist_ok=True)
    with ca.files.write_whole(out) as place:
        place.write_text(recipe, encoding="utf-8")
    address = ca.errors.mask_address(logs)
    show_table(f"columns of {address}", guesses.table())
    for line in what_to_decide(guesses):
        say(f"decide: {line}")
    if address != logs:
        say(f"decide: the address is a secret; a run takes it from the environment: {ADDRESS}.")
    give(decide=what_to_decide(guesses), roles=guesses.roles)
    say_path("recipe", out)
    first = "" if guesses.roles.confounders else "name a confounder in the recipe, then "
    say(f"next: {first}causalign run {out}")


def what_to_decide(guesses: ca.logs.RoleGuesses) -> list[str]:
    """Return the questions that only who knows the log can answer."""
    text, outcome = guesses.roles.completion, guesses.roles.outcome
    questions = [f"is {outcome!r} what a text {text!r} is meant to earn? Else name it: --outcome."]
    confounders = guesses.columns_of("confounder")
    if confounders:
        questions.append(
            f"was each of {', '.join(confounders)} known before the text was written? What came "
            "after it is no confounder: delete it."
        )
    else:
        known = "the time alone is one so far" if guesses.columns_of("time") else "a run needs one"
        questions.append(
            "what else moved the outcome (the weekday, the place, the price)? Add it as a column "
            f"to the file, and to confounders in the recipe: {known}."
        )
    if guesses.columns_of("time"):
        questions.append(f"does {guesses.columns_of('time')[0]!r} say when the text was sent?")
    if guesses.columns_of("group"):
        questions.append(
            f"were texts of one {guesses.columns_of('group')[0]!r} shown to readers at random? "
            "They judge the rewards as if they were."
        )
    return questions


def draft_recipe(
    guesses: ca.logs.RoleGuesses, logs: str, out: Path, query: str | None = None
) -> str:
    """Return the text of a recipe with comments.

    Parameters
    ----------
    guesses : RoleGuesses
    logs : str
        Where the logs lie, as given on the command line.
    out : path
        Where the recipe will lie: paths in it are relative to its folder.
    query : str, optional
        What is selected, where the logs lie in a database.
    """
    roles = guesses.roles
    lines = [
        "# Drafted by `causalign init`. What a column is was guessed from its name and its values:",
        "# read this before you run it.",
        f"name: {_name(logs)}",
        f"version: {ca.recipe.VERSION}   # of the form of recipes",
        "data:",
        *_write_source(logs, out, query),
        "  roles:",
        f"    completion: {_quote(roles.completion)}   # the text",
        f"    outcome: {_quote(roles.outcome)}   # what happened after it",
    ]
    for name, why in (
        ("trials", "the outcome counts successes out of so many"),
        ("prompt", "what the text answers"),
        ("group", "texts that competed"),
        ("cluster", "rows of one are not independent"),
        ("time", "when the text was sent"),
    ):
        value = getattr(roles, name)
        if value is not None:
            lines.append(f"    {name}: {_quote(value)}   # {why}")
    lines.append("    # What was known before the text was written; delete the rest.")
    lines.append(f"    confounders: [{', '.join(map(_quote, roles.confounders))}]")
    if roles.categorical:
        names = ", ".join(map(_quote, roles.categorical))
        lines.append(f"    categorical: [{names}]   # their numbers are names")
    left = [guess for guess in guesses.columns if not guess.part]
    lines += [f"    # left out: {g.column!r}, {' '.join(g.because.split())}" for g in left]
    if roles.trials is not None:
        lines.append("  scale: logit   # what helps multiplies the odds")
    if guesses.missing:
        gaps = f"{guesses.missing:,} in the column with most of them"
        lines.append(f"  drop_incomplete: true   # rows without a value are left out: {gaps}")
    encoder, why = choose_encoder(guesses.words)
    lines += [f"  held_out: {HELD_OUT}   # judges only", f"encoder: {encoder}   # {why}"]
    method, why = choose_deconfounder(guesses.rows, encoder)
    lines += ["deconfound:", f"  method: {method}   # {why}", "reward:", "  method: ridge"]
    if roles.group is not None:
        lines += ["evaluate:", f"  pairs_by: [{_quote(roles.group)}]"]
        if roles.trials is not None:
            lines.append("  significance: 0.05   # pairs whose rates differ by more than chance")
    elif roles.confounders:
        lines += ["evaluate:", "  # No experiment: held-out rows alike in all confounders judge."]
        lines.append("  alike: true")
    return "\n".join(lines) + "\n"


def choose_encoder(words: float) -> tuple[str, str]:
    """Return the encoder for texts of so many words that runs with what is installed, and why."""
    default = ca.lm.default_encoder()
    if not default.startswith("minilm"):
        return default, "sentence encoders need `pip install 'causalign[lm]'`"
    if words > PARAGRAPH:
        return "minilm", "a sentence encoder; counts of style add noise to long texts"
    return default, "a sentence encoder, and counts of what it does not see"


def _write_source(logs: str, out: Path, query: str | None) -> list[str]:
    """Return the lines that say where logs lie; what is secret in it stays in the environment."""
    place = logs if "://" in logs else os.path.relpath(logs, out.parent)
    if ca.errors.mask_address(logs) != logs:
        place = f"${{{ADDRESS}}}"
    if query is None:
        return [f"  path: {_quote(place)}"]
    return [f"  uri: {_quote(place)}", f"  query: {_quote(query)}"]


def choose_deconfounder(rows: int, encoder: str) -> tuple[str, str]:
    """Return the method for so many rows and numbers of a text, and why."""
    if (1 - HELD_OUT) * rows < ROWS_PER_NUMBER * NUMBERS.get(encoder, MOST_NUMBERS):
        return "double-ml", "few rows for the numbers of a text: each is predicted from the others"
    return "additive", "text and confounders are fitted together"


def _name(logs: str) -> str:
    plain = ca.errors.mask_address(logs).replace("***", "")
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(plain).stem).strip("-")
    return (stem or "log")[:60]


def _quote(name: object) -> str:
    return json.dumps(name, ensure_ascii=False)
