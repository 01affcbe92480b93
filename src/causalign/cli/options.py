"""The options that several verbs share: where the logs are and what their columns mean."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from causalign import artifacts, lm
from causalign.cli.output import warn
from causalign.logs import Logs
from causalign.results import Section
from causalign.roles import Roles
from causalign.scales import Scale, rescaled

LogsPath = Annotated[
    str, typer.Argument(metavar="LOGS", help="csv, tsv, jsonl or parquet; a folder or a glob.")
]
Completion = Annotated[str, typer.Option("--completion", help="Column that holds the text.")]
Outcome = Annotated[str, typer.Option("--outcome", help="Column with what happened after it.")]
Trials = Annotated[
    str | None, typer.Option("--trials", help="Column with the trials the outcome counts.")
]
Confounders = Annotated[
    list[str] | None, typer.Option("--confounder", help="Column with a confounder (repeatable).")
]
Instruments = Annotated[
    list[str] | None, typer.Option("--instrument", help="Column with an instrument (repeatable).")
]
Categorical = Annotated[
    list[str] | None,
    typer.Option("--categorical", help="Column whose numbers are names (repeatable)."),
]
Group = Annotated[
    str | None, typer.Option("--group", help="Column of texts that compete: a test, a question.")
]
Cluster = Annotated[
    list[str] | None,
    typer.Option("--cluster", help="Column of rows that are not independent (once or twice)."),
]
Time = Annotated[
    str | None, typer.Option("--time", help="Column with the time at which the text was shown.")
]
Formula = Annotated[
    str | None,
    typer.Option("--formula", help='What h is made of: "spline(price, 5) + season * region".'),
]
InstrumentFormula = Annotated[
    str | None, typer.Option("--instrument-formula", help='Of instruments: "spline(cost, 6)".')
]
ScaleOption = Annotated[
    str, typer.Option("--scale", help="Scale on which effects add up: identity, log, logit.")
]
DropIncomplete = Annotated[
    bool, typer.Option("--drop-incomplete", help="Leave out rows that miss a value.")
]
Encoder = Annotated[
    str,
    typer.Option(
        "--encoder",
        help="Text encoder: minilm, smollm2, smollm2:mean, tfidf, hashing, a local model folder, "
        "or owner/name on a hub.",
    ),
]
Out = Annotated[Path | None, typer.Option("--out", help="Folder to write the result to.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 when a finding failed.")]


def read_logs(
    path: str,
    *,
    completion: str,
    outcome: str,
    prompt: str | None = None,
    trials: str | None = None,
    confounders: list[str] | None = None,
    instruments: list[str] | None = None,
    categorical: list[str] | None = None,
    group: str | None = None,
    cluster: list[str] | None = None,
    time: str | None = None,
    objective: str | None = None,
    weight: str | None = None,
    scale: str = "identity",
    drop_incomplete: bool = False,
) -> Logs:
    """Read logs as the shared options say."""
    roles = Roles(
        completion=completion,
        prompt=prompt,
        outcome=outcome,
        trials=trials,
        confounders=tuple(confounders or ()),
        instruments=tuple(instruments or ()),
        categorical=tuple(categorical or ()),
        group=group,
        cluster=tuple(cluster) if cluster else None,
        time=time,
        objective=objective,
        weight=weight,
    )
    logs = Logs.read(path, roles, drop_incomplete=drop_incomplete)
    chosen: Scale = scale  # type: ignore[assignment]
    return rescaled(logs, chosen)


def vectors(texts: Sequence[str], encoder: str) -> np.ndarray:
    """Embed texts with the named encoder and the cache on disk."""
    loaded = lm.load_encoder(encoder, training_texts=texts)
    return embedded(texts, loaded).vectors.astype(np.float64)


def embedded(texts: Sequence[str], encoder: lm.Encoder) -> lm.Embeddings:
    """Embed texts with the cache on disk; say so where it cannot be used."""
    found = lm.embed(texts, encoder, lm.EmbeddingCache(), progress=sys.stderr.isatty())
    if found.cache_problem is not None:
        warn(found.cache_problem)
    return found


def keep(
    section: Section,
    out: Path | None,
    settings: Any,
    payload: Callable[[Path], object] | None = None,
) -> None:
    """Write a stage to the folder that was asked for, whole or not at all."""
    if out is None:
        return
    artifacts.open_run(out.parent)
    key = artifacts.fingerprint(section.stage, settings)
    artifacts.require_free(out)
    artifacts.is_done(out, key, replace=False)
    artifacts.write_stage(out, section, key=key, settings=settings, payload=payload)
