"""``causalign simulate``: write a log whose truth is known."""

from pathlib import Path
from typing import Annotated

import typer

from causalign import artifacts, config
from causalign.cli.output import console
from causalign.simulate import simulators


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Simulator: newsletter.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for logs and experiment.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Setting of the simulator, e.g. rows=1000.")
    ] = None,
) -> None:
    """Write `logs.parquet`, the truth beside it, and `experiment.parquet` with fair pairs.

    Example: `causalign simulate newsletter --out runs/demo/data --set rows=2000 --set seed=1`
    """
    wanted = config.override({"method": name}, settings or ())
    simulated = config.choose(simulators, wanted, "simulate").simulate()
    simulated.write(artifacts.open_run(out))
    console.print(
        f"{len(simulated.logs)} rows and {len(simulated.experiment)} pairs in {out}",
        markup=False,
        soft_wrap=True,
    )
