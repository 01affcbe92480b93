"""``causalign evaluate``: judge saved reward models on a file of pairs."""

from pathlib import Path
from typing import Annotated

import typer

from causalign.cli import options as given
from causalign.cli.output import show_section
from causalign.evaluate import rank
from causalign.lm import EmbeddingCache
from causalign.pairs import Pairs
from causalign.results import Section
from causalign.reward import RewardModel


def command(
    pairs: Annotated[
        str, typer.Argument(metavar="PAIRS", help="File with the columns chosen and rejected.")
    ],
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="Reward models, the baseline first.")
    ],
    out: given.Out = None,
) -> None:
    """Rank held-out pairs with one or more saved reward models: AUC and accuracy, with intervals.

    Example: `causalign evaluate experiment.parquet runs/demo/3-reward/naive
    runs/demo/3-reward/deconfounded`
    """
    judge = Pairs.read(pairs)
    short = len({place.name for place in models}) == len(models)
    differences = {}
    for place in models:
        model, cache = RewardModel.load(place), EmbeddingCache()
        sides = [model(judge.prompt, s, cache) for s in (judge.chosen, judge.rejected)]
        differences[place.name if short else str(place)] = sides[0] - sides[1]
    ranking = rank(differences, judge.group)
    best = max(ranking.rewards, key=lambda name: ranking.auc_of(name).estimate)
    section = Section(
        stage="evaluate",
        question="Which reward ranks these pairs best?",
        answer=f"{best} ranks the {ranking.pairs:,} pairs best, with AUC "
        f"{ranking.auc_of(best).estimate:.3f}.",
        assumption="The pairs took no part in fitting any of the rewards.",
        tables={"ranking": ranking.table()},
    )
    show_section(section)
    given.keep(section, out, {"models": [str(m) for m in models]})
