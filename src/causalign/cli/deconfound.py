"""``causalign deconfound``: take the confounders' effect out of the outcome."""

from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
import typer

from causalign import config, deconfound
from causalign.cli import options as given
from causalign.cli.output import console, show_section
from causalign.logs import Logs
from causalign.results import Section, Verdict, worst


def command(
    logs: given.LogsPath,
    completion: given.Completion,
    outcome: given.Outcome,
    confounder: given.Confounders,
    out: Annotated[Path, typer.Option("--out", help="Folder for the result and adjusted logs.")],
    method: Annotated[
        str, typer.Option("--method", help=f"One of: {', '.join(deconfound.methods)}.")
    ] = "additive",
    instrument: given.Instruments = None,
    formula: given.Formula = None,
    instrument_formula: given.InstrumentFormula = None,
    trials: given.Trials = None,
    categorical: given.Categorical = None,
    group: given.Group = None,
    cluster: given.Cluster = None,
    scale: given.ScaleOption = "identity",
    drop_incomplete: given.DropIncomplete = False,
    encoder: given.Encoder = "minilm",
    strict: given.Strict = False,
) -> None:
    """Estimate what the confounders did to the outcome and subtract it.

    Writes `logs.parquet` with the adjusted outcome (for permutation-weighting: the weight of each
    row) in its last column. `causalign audit` says which method fits a log.

    Example: `causalign deconfound mails.csv --completion mail --outcome minutes
    --confounder weekday --out runs/adjusted`
    """
    read = given.read_logs(
        logs,
        completion=completion,
        outcome=outcome,
        trials=trials,
        confounders=confounder,
        instruments=instrument,
        categorical=categorical,
        group=group,
        cluster=cluster,
        scale=scale,
        drop_incomplete=drop_incomplete,
    )
    settings = {"method": method, "formula": formula, "instrument_formula": instrument_formula}
    section = _deconfound(read, settings, encoder, out)
    show_section(section)
    console.print(f"adjusted logs: {out / 'logs.parquet'}", markup=False, soft_wrap=True)
    if strict and worst(section.findings) is Verdict.FAIL:
        raise typer.Exit(1)


def _deconfound(read: Logs, asked: dict[str, str | None], encoder: str, out: Path) -> Section:
    settings = {key: value for key, value in asked.items() if value is not None}
    chosen = config.choose(deconfound.methods, settings, "method")
    needs_text = settings["method"] not in deconfound.text_free
    features = given.vectors(read.completions, encoder) if needs_text else None
    found = chosen.fit(read, text_features=features)
    adjusted = deconfound.adjusted(found, read)
    section = deconfound.with_sensitivity(found.section(), read, features)
    given.keep(
        section,
        out,
        {**settings, "encoder": encoder, "roles": read.roles},
        lambda folder: pq.write_table(adjusted.data, folder / "logs.parquet"),
    )
    return section
