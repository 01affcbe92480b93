"""Logged rows, freshly drawn rows, or both: the task of tuning a policy on its value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from causalign.lm.completions import Completions
from causalign.lm.language_model import LanguageModel
from causalign.lm.layout import Batch, laid_out
from causalign.lm.logprob import completion_logprobs, sequence_logprobs
from causalign.lm.processes import all_of
from causalign.policy.fresh_pool import FreshPool
from causalign.policy.objectives.outcome_value import OutcomeValue
from causalign.policy.rows import tensors
from causalign.policy.settings import Weighting
from causalign.policy.weights import WeightTable

__all__ = ["CausalRows", "LoggedRows"]

Floats = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class LoggedRows:
    """Hold n logged texts: ``outcome`` Y, or Y − ĝ; ``proposal`` log P_R; ``reference`` log π_ref.

    ``weight`` are row weights of mean one. All are (n,).
    """

    completions: Completions
    outcome: Floats
    proposal: Floats
    reference: Floats
    weight: Floats

    def take(self, rows: NDArray[np.int64]) -> "LoggedRows":
        """Return some of the rows, their weights scaled to mean one."""
        return LoggedRows(
            self.completions.take(rows),
            self.outcome[rows],
            self.proposal[rows],
            self.reference[rows],
            self.weight[rows] / self.weight[rows].mean(),
        )

    def exponent(self, weighting: Weighting) -> Floats:
        """Return one, or one over the number of tokens, ``(n,)``."""
        return _exponent(self.completions, weighting)

    def table(self, logprob: Floats, weighting: Weighting) -> WeightTable:
        """Return the weights of a policy with these log-probabilities ``(n,)``."""
        log_weight = self.exponent(weighting) * (logprob - self.proposal)
        return WeightTable(log_weight, self.outcome, self.weight, weighting)


@dataclass(slots=True)
class CausalRows:
    """Estimate the value of the policy on each batch, with what the whole log says of its weights.

    ``logged`` teaches, ``judges`` rank the checkpoints and are never read in training. ``kl`` is
    paid on fresh rows if there are any, else on logged ones.
    """

    language_model: LanguageModel
    logged: LoggedRows | None
    judges: LoggedRows | None
    pool: FreshPool | None
    weighting: Weighting
    kl: float
    order: NDArray[np.int64]
    share_prompts: bool
    table: WeightTable | None
    collapsed: str | None = None

    def batch(self, positions: NDArray[np.int64], step: int) -> Batch:
        """Return the logged rows at these positions and their share of the fresh ones."""
        texts: list[Completions] = []
        columns: list[Columns] = []
        if self.logged is not None:
            rows = self.order[positions]
            texts.append(self.logged.completions.take(rows))
            columns.append(self._logged_columns(self.logged, rows))
        if self.pool is not None:
            drawn = self._drawn(self.pool, positions, step)
            texts.append(self.pool.texts().take(drawn))
            columns.append(self._fresh_columns(self.pool, drawn))
        joined = {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}
        laid = laid_out(Completions.joined(texts), share_prompts=self.share_prompts)
        return laid | tensors(joined)

    def _drawn(self, pool: FreshPool, positions: NDArray[Any], step: int) -> NDArray[np.int64]:
        pool.refresh(step)
        each = pool.settings.for_each_row
        return (positions[:, None] * each + np.arange(each)).ravel() % pool.size

    def _logged_columns(self, logged: LoggedRows, rows: NDArray[np.int64]) -> Columns:
        return {
            "row": rows,
            "share": logged.weight[rows] / len(rows),
            "outcome": logged.outcome[rows],
            "proposal_logprob": logged.proposal[rows],
            "reference_logprob": logged.reference[rows],
            "exponent": logged.exponent(self.weighting)[rows],
            "kl": np.full(len(rows), self.kl if self.pool is None else 0.0),
            "baseline": np.zeros(len(rows)),
        }

    def _fresh_columns(self, pool: FreshPool, drawn: NDArray[np.int64]) -> Columns:
        return {
            "row": np.full(len(drawn), -1),
            "share": np.full(len(drawn), 1.0 / len(drawn)),
            "outcome": pool.outcome[drawn],
            "proposal_logprob": pool.proposal[drawn],
            "reference_logprob": pool.reference[drawn],
            "exponent": _exponent(pool.texts(), self.weighting)[drawn],
            "kl": np.full(len(drawn), self.kl),
            "baseline": np.full(len(drawn), pool.outcome.mean()),
        }

    def loss(self, model: Any, batch: Batch) -> tuple[Tensor, Mapping[str, float]]:
        """Score the batch, bring the table up to date, and return the objective."""
        logprob = sequence_logprobs(model, batch)
        known = self._known(logprob.detach(), batch)
        loss, metrics = OutcomeValue(clip=self.weighting.clip)(logprob, batch | known)
        return loss, {**metrics, **self._measured()}

    def _known(self, logprob: Tensor, batch: Batch) -> Batch:
        """Write new weights into the table; return what the table says about these rows.

        Several processes write those of the whole batch, so that all tables are the same.
        """
        if self.table is None:
            return {}
        here = (batch["row"] >= 0).cpu().numpy()
        rows = batch["row"].cpu().numpy()[here]
        now = batch["exponent"].to(logprob) * (logprob - batch["proposal_logprob"].to(logprob))
        for part in all_of((rows, now.double().cpu().numpy()[here])):
            self.table.update(*part)
        columns = {
            "baseline": batch["baseline"].double().cpu().numpy(),
            "log_normaliser": np.zeros(len(here)),
            "log_adjustment": np.zeros(len(here)),
        }
        columns["baseline"][here] = self.table.baseline()
        columns["log_normaliser"][here] = self.table.log_normaliser()
        columns["log_adjustment"][here] = self.table.smoothing()[rows]
        return {name: value.to(logprob.device) for name, value in tensors(columns).items()}

    def _measured(self) -> dict[str, float]:
        found = {} if self.table is None else self.table.measured()
        fresh = 0.0 if self.pool is None else float(self.pool.outcome.mean())
        logged = 0.0 if self.table is None else self.table.value()[0]
        return found | {"value": logged + fresh}

    def trouble(self) -> str | None:
        """Return why training must stop: the weights have collapsed."""
        if self.collapsed is None and self.table is not None:
            self.collapsed = self.table.trouble()
        return self.collapsed

    def standing(self) -> float | None:
        """Return the value on the rows that judge, minus one standard error.

        All of these are scored by the policy as it is, while the table remembers what most rows
        weighed some steps ago: a collapse shows here first. Then nothing is returned.
        """
        if self.judges is None or self.logged is None:
            return None
        value, error = self.judged()
        return None if self.collapsed else value - error

    def judged(self) -> tuple[float, float]:
        """Return the value on the rows that judge and its standard error, all scored anew.

        With an outcome model both hold the mean over the pool as well, which was drawn at most
        ``every`` steps ago.
        """
        assert self.judges is not None
        logprob = completion_logprobs(self.language_model, self.judges.completions)
        table = self.judges.table(logprob, self.weighting)
        if self.logged is not None:
            share = len(self.judges.outcome) / len(self.logged.outcome)
            self.collapsed = self.collapsed or table.trouble(share)
        value, error = table.value()
        if self.pool is None:
            return value, error
        fresh = self.pool.outcome
        return value + float(fresh.mean()), float(np.hypot(error, fresh.std() / len(fresh) ** 0.5))

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the table of weights and the pool."""
        table = {} if self.table is None else self.table.state()
        reason = (self.collapsed or "").encode()
        table["collapsed"] = np.frombuffer(reason, dtype=np.uint8)
        return table | ({} if self.pool is None else self.pool.state())

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up what :meth:`state` returned."""
        self.collapsed = state["collapsed"].tobytes().decode() or None
        if self.table is not None:
            self.table.log_weight = state["log_weight"].copy()
        if self.pool is not None:
            self.pool.restore(state)


def _exponent(completions: Completions, weighting: Weighting) -> Floats:
    lengths = completions.lengths
    return 1.0 / lengths if weighting.level == "length" else np.ones(len(lengths))
