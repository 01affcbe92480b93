"""Read the Hong Kong texts for benchmarks/policy_curves.py: teachers, judges, rewards."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1] / "reproductions/cpo/hongkong"))
DATA = "hongkong_wave1.parquet"
JUDGES, TEACHERS, FOLDS, LEAST_GAP = 300, 160, 3, 1
Floats = np.ndarray


@dataclass(frozen=True)
class Texts:
    """Hold texts that teach policies, texts that measure, and rewards of neither's making.

    ``crossed`` is fitted without the row that it predicts, ``reward`` on all rows but the judges.
    """

    teach: Any
    judge: Any
    crossed: Any
    reward: Any
    spread: float


def read() -> Texts:
    """Read the texts of two snippets with log P_R, and fit the rewards."""
    import snippets
    import torch

    from causalign.lm.cache import EmbeddingCache
    from causalign.lm.embed import embed
    from causalign.lm.encoder import load_encoder
    from causalign.logs import Logs
    from causalign.policy import CrossFitted
    from causalign.reward import RewardModel, RidgeReward
    from causalign.roles import Roles

    designed = snippets.read(DATA)
    order, sizes = designed.order, designed.sizes
    none = torch.zeros(len(sizes), dtype=torch.float64)
    treatments = snippets.log_policy(none, torch.tensor(order), torch.tensor(sizes).double())
    within = np.where(order >= 0, np.log(sizes)[order], 0.0).sum(axis=1)
    rows = np.random.default_rng(0).permutation(np.flatnonzero((order >= 0).sum(axis=1) == 2))
    judge, rest = rows[:JUDGES], rows[JUDGES:]
    has = np.column_stack([np.ones(len(order)), designed.present()])
    answered = np.setdiff1d(np.arange(len(order)), judge)
    effect = np.linalg.lstsq(has[answered], designed.outcome[answered], rcond=None)[0]
    table = pq.read_table(Path(os.environ["CAUSALIGN_DATA"]) / DATA, columns=["text", "resp"])
    table = table.append_column("log_propensity", pa.array(treatments.numpy() - within))
    table = table.append_column("support", pa.array(has @ effect))
    roles = Roles(completion="text", outcome="support", propensity="log_propensity")
    logs = Logs.of(table, roles)
    fold = np.arange(len(rest)) % FOLDS
    others = logs.take(rest, "all but the judges")
    encoder = load_encoder("minilm")
    vectors = embed(others.completions, encoder, EmbeddingCache()).vectors

    def reward_on(rows: np.ndarray) -> RewardModel:
        head = RidgeReward().fit(vectors[rows], others.outcome[rows]).head
        return RewardModel("minilm", head, encoder=encoder)

    models = tuple(reward_on(np.flatnonzero(fold != k)) for k in range(FOLDS))
    missed = others.outcome.copy()
    for k, model in enumerate(models):
        missed[fold == k] -= model.head(vectors[fold == k])
    print(f"explained without the row: {1 - missed.var() / others.outcome.var():.3f}", flush=True)
    reward = reward_on(np.arange(len(rest)))
    return Texts(
        logs.take(rest[:TEACHERS], "texts that teach"),
        logs.take(judge, "texts that judge"),
        CrossFitted(models, fold[:TEACHERS]),
        reward.expected_outcome,
        float(missed.std()),
    )


def pairs_of(logs: Any, count: int) -> Any:
    """Pair texts at random; the one with the better outcome is chosen, near ties are left out."""
    from causalign.pairs import Pairs

    outcome = logs.outcome
    random = np.random.default_rng(1)
    rows = np.concatenate([random.permutation(len(logs)) for _ in range(8)]).reshape(-1, 2)
    rows = np.take_along_axis(rows, np.argsort(-outcome[rows], axis=1), axis=1)
    gap = outcome[rows[:, 0]] - outcome[rows[:, 1]]
    rows, gap = rows[gap > LEAST_GAP][:count], gap[gap > LEAST_GAP][:count]
    chosen, rejected = ([logs.completions[row] for row in side] for side in rows.T)
    groups = np.arange(len(rows))
    return Pairs(chosen, rejected, gap, np.ones(len(rows)), groups, rows=rows)


def preference(texts: Texts) -> Callable[..., Floats]:
    """Return P(first is stated better) if both outcomes scatter normally around the reward."""
    from scipy.stats import norm

    def believed(_prompts: Any, first: Any, second: Any) -> Floats:
        gap = np.subtract(texts.crossed(None, first), texts.crossed(None, second))
        return norm.cdf(gap / (texts.spread * 2**0.5))

    return believed
