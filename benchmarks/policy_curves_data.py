"""Read the Hong Kong texts for benchmarks/policy_curves.py: teachers, judges, rewards."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DATA = "hongkong_wave1.parquet"
TREATMENTS = ("treatycommit", "brave", "evil", "flag", "threat", "economy", "treatyviolation")
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
    from causalign.lm.cache import EmbeddingCache
    from causalign.lm.embeddings import embed
    from causalign.lm.encoders import load_encoder
    from causalign.logs import CrossFitted, Logs
    from causalign.logs.roles import Roles
    from causalign.reward import RewardModel, Ridge

    table = pq.read_table(Path(os.environ["CAUSALIGN_DATA"]) / DATA)
    present = np.column_stack([table[name].to_numpy() for name in TREATMENTS])
    log_propensity = of_two_snippets(table, present)
    rows = np.random.default_rng(0).permutation(np.flatnonzero(np.isfinite(log_propensity)))
    judge, rest = rows[:JUDGES], rows[JUDGES:]
    has = np.column_stack([np.ones(len(present)), present])
    answered = np.setdiff1d(np.arange(len(present)), judge)
    effect = np.linalg.lstsq(has[answered], table["resp"].to_numpy()[answered], rcond=None)[0]
    table = table.append_column("log_propensity", pa.array(np.nan_to_num(log_propensity)))
    table = table.append_column("support", pa.array(has @ effect))
    roles = Roles(completion="text", outcome="support", propensity="log_propensity")
    logs = Logs.of(table, roles)
    fold = np.arange(len(rest)) % FOLDS
    others = logs.take(rest, "all but the judges")
    encoder = load_encoder("minilm")
    vectors = embed(others.completions, encoder, EmbeddingCache()).vectors

    def reward_on(rows: np.ndarray) -> RewardModel:
        head = Ridge().fit_arrays(vectors[rows], others.outcome[rows]).head
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


def of_two_snippets(table: pa.Table, present: np.ndarray) -> Floats:
    """Return log P_R ``(n,)`` of texts of two snippets, NaN for others.

    The first snippet is drawn from all, the second from those of another treatment; ``present``
    (n, 7) says which treatments a text has, and the one that all texts with a snippet share is the
    snippet's.
    """
    first, second = (table[name].to_pylist() for name in ("text1", "text2"))
    held: dict[str, np.ndarray] = {}
    for name in ("text1", "text2", "text3"):
        for snippet, has in zip(table[name].to_pylist(), present > 0, strict=True):
            if snippet:
                held[snippet] = held.get(snippet, True) & has
    sizes = np.sum(list(held.values()), axis=0)
    assert sizes.sum() == len(held), "each snippet has one treatment"
    allowed = [len(held) - sizes[held[s]].sum() if s else np.nan for s in first]
    log_propensity = -np.log(len(held)) - np.log(allowed)
    two = (table["numtexts"].to_numpy() == 2) & np.array([bool(s) for s in second])
    return np.where(two, log_propensity, np.nan)


def pairs_of(logs: Any, count: int) -> Any:
    """Pair texts at random; the one with the better outcome is chosen, near ties are left out."""
    from causalign.logs.pairs import Pairs

    outcome = logs.outcome
    random = np.random.default_rng(1)
    rows = np.concatenate([random.permutation(len(logs)) for _ in range(8)]).reshape(-1, 2)
    rows = np.take_along_axis(rows, np.argsort(-outcome[rows], axis=1), axis=1)
    gap = outcome[rows[:, 0]] - outcome[rows[:, 1]]
    rows, gap = rows[gap > LEAST_GAP][:count], gap[gap > LEAST_GAP][:count]
    chosen, rejected = ([logs.completions[row] for row in side] for side in rows.T)
    groups = np.arange(len(rows))
    return Pairs(chosen, rejected, gap, np.ones(len(rows)), groups, rows=rows)


@dataclass(frozen=True)
class Preference:
    """P(first is stated better) if both outcomes scatter normally around the reward."""

    texts: Texts

    def preference(self, first: Any, second: Any, prompts: Any = None) -> Floats:
        from scipy.stats import norm

        gap = np.subtract(self.texts.crossed(first, prompts), self.texts.crossed(second, prompts))
        return norm.cdf(gap / (self.texts.spread * 2**0.5))
