"""``causalign deconfound``: take the confounders' effect out of the outcome."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

import causalign as ca
from causalign.cli import options as given
from causalign.cli.produce import produce, require_writable
from causalign.deconfound import METHODS

Method = Annotated[str, typer.Option("--method", help=f"One of: {', '.join(METHODS)}.")]


def command(
    context: typer.Context,
    logs: given.LogsPath,
    completion: given.Completion,
    outcome: given.Outcome,
    confounder: given.Confounders,
    out: given.NeededOut,
    method: Method = "additive",
    settings: given.Settings = None,
    instrument: given.Instruments = None,
    formula: given.Formula = None,
    instrument_formula: given.InstrumentFormula = None,
    trials: given.Trials = None,
    categorical: given.Categorical = None,
    guardrail: given.Guardrails = None,
    weight: given.Weight = None,
    group: given.Group = None,
    cluster: given.Cluster = None,
    scale: given.ScaleOption = "identity",
    drop_incomplete: given.DropIncomplete = False,
    engine: given.Engine = None,
    encoder: given.Encoder = None,
    query: given.Query = None,
    to: given.To = None,
    table: given.Table = None,
    strict: given.Strict = False,
) -> None:
    """Estimate what the confounders did to the outcome and subtract it.

    Writes `logs.parquet` with the adjusted outcome (for permutation-weighting: the weight of each
    row) in its last column, behind it each adjusted `--guardrail`. `causalign audit` says which
    method fits a log.

    Example: `causalign deconfound mails.csv --completion mail --outcome minutes
    --confounder weekday --out runs/adjusted`
    """
    deconfounder = _choose(method, settings, formula, instrument_formula)
    moved = {"confounders": confounder, "instruments": instrument, "categorical": categorical}
    columns = {"trials": trials, "weight": weight, "group": group}
    roles = given.declare_roles(
        completion, outcome, cluster=cluster, guardrails=guardrail, **moved, **columns
    )
    deconfounder.check_roles(roles)
    require_writable(out, logs)
    given.require_target(to, table)
    logs = given.fetch(context, logs, query)

    def work(_place: Path) -> tuple[ca.results.Section, Callable[[Path], object]]:
        read = given.scan_or_read(logs, roles, engine, scale, drop_incomplete)
        adjusted, section = ca.deconfound.adjust_logs(deconfounder, read, encoder)
        return section, adjusted.save

    closing = {"adjusted logs": [out / "logs.parquet"]}
    produce(context, work, out, strict=strict, closing=lambda: closing)
    given.write_back(to, table, partial(ca.logs.write_table, ca.Logs.load(out).data))


def _choose(
    method: str, settings: list[str] | None, formula: str | None, instrument_formula: str | None
) -> ca.deconfound.Deconfounder:
    formulas = {"formula": formula, "instrument_formula": instrument_formula}
    asked = {"method": method} | {name: text for name, text in formulas.items() if text is not None}
    return ca.config.choose(METHODS, ca.config.override(asked, settings or ()))
