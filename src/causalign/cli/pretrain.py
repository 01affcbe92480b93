"""``causalign pretrain``: a small language model of the texts at hand, in minutes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

import causalign as ca
from causalign.cli import options as given
from causalign.cli.produce import produce, require_writable

Texts = Annotated[str, typer.Argument(metavar="TEXTS", help="A table with a column of texts.")]


def command(
    context: typer.Context,
    source: Texts,
    completion: given.Completion,
    out: given.NeededOut,
    prompt: given.Prompt = None,
    settings: given.Settings = None,
    query: given.Query = None,
    strict: given.Strict = False,
) -> None:
    """Train a small language model (2 million weights) from nothing; go on where it was killed.

    For experiments that need many tunings: what takes SmolLM2 half an hour takes it a minute.
    `model/` is a folder that every command takes as a model: `causalign policy dpo ... --set
    model=runs/small/model --set lora=null`.

    Example: `causalign pretrain mails.csv --completion mail --out runs/small --set tokens=500000`
    """
    method = ca.config.construct(
        ca.policy.Pretraining, ca.config.override({}, settings or ()), "pretrain"
    )
    require_writable(out, source)
    source = given.fetch(context, source, query)

    def work(place: Path) -> tuple[ca.results.Section, Callable[[Path], object]]:
        columns = [column for column in (prompt, completion) if column is not None]
        texts = [t for name in columns for t in ca.logs.read_column(source, name).to_pylist()]
        fit = method.fit(texts, place, progress=given.shows_progress())
        return fit.section(), lambda folder: shutil.copytree(fit.model_folder, folder / "model")

    produce(context, work, out, strict=strict, closing=lambda: {"model": [out / "model"]})
