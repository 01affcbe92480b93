"""``causalign simulate``: write a log whose truth is known."""

from __future__ import annotations

from typing import Annotated

import typer

import causalign as ca
from causalign.cli import options as given
from causalign.cli.output import give, say
from causalign.simulate import SIMULATORS


def command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help=f"Simulator: {', '.join(SIMULATORS)}.")
    ],
    out: given.NeededOut,
    settings: given.Settings = None,
) -> None:
    """Write `logs.parquet`, the truth beside it, and `experiment.parquet` with fair pairs.

    Example: `causalign simulate newsletter --out runs/demo/data --set rows=2000 --set seed=1`
    """
    asked = ca.config.override({"method": name}, settings or ())
    ca.artifacts.require_writable(out)
    simulated = ca.config.choose(SIMULATORS, asked, "simulate").simulate()
    simulated.write(ca.artifacts.open_run(out))
    say(f"{len(simulated.logs)} rows and {len(simulated.experiment)} pairs in {out}")
    give(folder=out, rows=len(simulated.logs), pairs=len(simulated.experiment))
