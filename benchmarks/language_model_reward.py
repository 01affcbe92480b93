"""Compare a language model tuned into a reward with linear rewards on frozen vectors.

python benchmarks/language_model_reward.py [--pairs 500] [--judges 500] [--seed 0]

Upworthy (in CAUSALIGN_DATA): pairs of headlines of one test and one image whose click rates differ
at 5 %. Some teach, of which a fifth chooses the step; pairs of other tests judge. The fit stays in
--out, and goes on there when it was killed.
"""

import os
from pathlib import Path

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from causalign.lm import embed, load_encoder
from causalign.lm.language_model import Lora
from causalign.lm.training import Training
from causalign.logs import Logs
from causalign.logs.pairs import Pairs
from causalign.logs.roles import Roles
from causalign.reward import LanguageModelReward, Pairwise, RewardModel


def pairs_of_tests(count: int, judges: int, seed: int) -> tuple[Pairs, Pairs]:
    """Return pairs that teach and pairs of other tests that judge."""
    roles = Roles(
        completion="headline",
        outcome="clicks",
        trials="impressions",
        group="clickability_test_id",
    )
    logs = Logs.read(Path(os.environ["CAUSALIGN_DATA"]) / "upworthy.parquet", roles)
    pairs = logs.pairs(["clickability_test_id", "eyecatcher_id"], significance=0.05)
    assert pairs.rows is not None
    test = logs.groups[pairs.rows[:, 0]]
    order = np.random.default_rng(seed).permutation(np.unique(test))
    place = np.argsort(np.argsort(order))[np.searchsorted(np.unique(test), test)]
    rows = np.argsort(place, kind="stable")
    first = rows[:count]
    rest = rows[~np.isin(test[rows], test[first])]
    return _grouped(pairs, test, first), _grouped(pairs, test, rest[:judges])


def _grouped(pairs: Pairs, test: np.ndarray, rows: np.ndarray) -> Pairs:
    taken = pairs.take(rows)
    return Pairs(taken.chosen, taken.rejected, taken.margin, np.ones(len(rows)), test[rows])


def frozen(encoder: str, pairs: Pairs) -> RewardModel:
    """Fit a Bradley-Terry reward on vectors of an untouched encoder."""
    read = load_encoder(encoder)
    sides = [embed(list(s), read).vectors.astype(float) for s in (pairs.chosen, pairs.rejected)]
    fit = Pairwise().fit_arrays(*sides, groups=pairs.group)
    return RewardModel(read.name, fit.head, units=fit.units, encoder=read)


def judged(model: RewardModel, pairs: Pairs) -> tuple[np.ndarray, float]:
    """Return which pairs are ranked rightly ``(n,)``, and the log-likelihood explained."""
    gap = model(list(pairs.chosen)) - model(list(pairs.rejected))
    return gap > 0, float(1 - np.logaddexp(0, -gap).mean() / np.log(2))


def main(
    pairs: int = 500,
    judges: int = 500,
    seed: int = 0,
    steps: int = 50,
    out: Path = Path("runs/language-model-reward"),
) -> None:
    """Fit all rewards and print how well they rank the pairs that judge."""
    teach, judge = pairs_of_tests(pairs, judges, seed)
    method = LanguageModelReward(
        loss="bradley-terry",
        lora=Lora(rank=8),
        training=Training(steps=steps, batch_size=16, learning_rate=1e-4, save_every=10, seed=seed),
    )
    fit = method.fit_pairs(
        teach.chosen, teach.rejected, out / f"{pairs}-{steps}-{seed}", groups=teach.group,
        progress=True,
    )  # fmt: skip
    print(fit.summary())
    rewards = {
        "language model, smollm2 tuned": RewardModel.load(fit.folder / "model"),
        "pairwise on frozen smollm2": frozen("smollm2:last", teach),
        "pairwise on frozen minilm": frozen("minilm", teach),
    }
    found = {name: judged(model, judge) for name, model in rewards.items()}
    tuned = found["language model, smollm2 tuned"][0]
    shown = Table(title=f"{len(teach)} pairs teach, {len(judge)} judge")
    for name in ("reward", "accuracy", "tuned less this", "log-likelihood explained"):
        shown.add_column(name)
    for name, (right, explained) in found.items():
        less = tuned.astype(float) - right
        shown.add_row(
            name,
            f"{right.mean():.3f} ± {right.std() / len(right) ** 0.5:.3f}",
            f"{less.mean():+.3f} ± {less.std() / len(less) ** 0.5:.3f}",
            f"{explained:.3f}",
        )
    Console(width=100).print(shown)


if __name__ == "__main__":
    typer.run(main)
