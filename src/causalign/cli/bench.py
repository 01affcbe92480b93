"""``causalign bench``: how far is each estimator from the truth, on logs whose truth is known?"""

from __future__ import annotations

from typing import Annotated

import typer

import causalign as ca
from causalign.cli import options as given
from causalign.cli.output import give, manner, note, say, say_path, show_table

SMOKE_DRAWS, SMOKE_ROWS = 2, 500


Design = Annotated[
    list[str] | None,
    typer.Option(
        "--design", help=f"One of {', '.join(ca.simulate.DESIGNS)} (repeatable); default: all."
    ),
]
Estimator = Annotated[
    list[str] | None,
    typer.Option("--estimator", help="Name in the table (repeatable); default: all."),
]
Draws = Annotated[int, typer.Option("--draws", help="Logs of each design.")]
Rows = Annotated[int, typer.Option("--rows", help="Rows of a log.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the first draw; the next is one more.")]
Texts = Annotated[
    str | None,
    typer.Option(
        "--texts",
        metavar="FILE",
        help="Real texts with a topic each; built-in templates unless given.",
    ),
]
TextColumn = Annotated[str, typer.Option("--completion", help="Column of --texts with the text.")]
Topic = Annotated[
    str, typer.Option("--topic", help="Column of --texts with what the text is about.")
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Writes the texts of written-by-model: a folder, smollm2, or small, which is trained "
        "on --texts in a few minutes, once. Without it that design is left out.",
    ),
]
Smoke = Annotated[bool, typer.Option("--smoke", help="Two draws of 500 rows: does it all run?")]


def command(
    design: Design = None,
    estimator: Estimator = None,
    draws: Draws = 20,
    rows: Rows = 2000,
    seed: Seed = 0,
    texts: Texts = None,
    completion: TextColumn = "text",
    topic: Topic = "topic",
    model: Model = None,
    smoke: Smoke = False,
    out: given.Out = None,
) -> None:
    """Compare estimators on semi-synthetic logs: real texts, a marker with a known effect.

    The folder gets the table as csv, json and markdown, and a line for each answer in
    `answers.jsonl`: the same command again goes on where it was stopped.

    Examples:

    - `causalign bench --smoke`
    - `causalign bench --texts news.parquet --completion title --topic category --model small
      --draws 50 --out runs/bench`
    """
    chosen = dict(ca.benchmark.ESTIMATORS)
    for name in estimator or ():
        if name not in chosen:
            raise ca.errors.SettingsError(
                f"There is no estimator named {name!r}; {ca.errors.nearest(name, chosen)}"
            )
    if estimator:
        chosen = {name: chosen[name] for name in estimator}
    if out is not None:
        ca.artifacts.require_writable(out)
        ca.artifacts.require_apart(out, texts)
    if texts is None:
        note("texts: built-in templates; real ones by --texts FILE")
    board = ca.benchmark.run(
        design or None,
        chosen,
        draws=SMOKE_DRAWS if smoke else draws,
        rows=SMOKE_ROWS if smoke else rows,
        seed=seed,
        texts=texts if texts is None else ca.simulate.read_labelled_texts(texts, completion, topic),
        model=model,
        out=out,
        progress=given.shows_progress(),
    )
    if manner.json:
        give(table=board.table().to_pylist(), **board.settings)
    else:
        for one in board.designs:
            show_table(one, board.brief(one))
        for line in board.details():
            say(line)
    if out is not None:
        say_path("folder", out)
