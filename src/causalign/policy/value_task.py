"""The task of causal preference optimisation: logged and fresh rows, weighed back to π."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalign.lm.completions import Completions
from causalign.lm.language_model import LanguageModel
from causalign.lm.layout import Batch, lay_out
from causalign.lm.logprob import completion_logprobs, sequence_logprobs
from causalign.lm.processes import gather
from causalign.lm.trainer import Metrics
from causalign.policy.rows import Columns, Network, tensors
from causalign.policy.samples import FreshPool
from causalign.policy.weights import Weighting, WeightTable

Floats = NDArray[np.float64]
Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class OutcomeValue:
    """Minimise minus the estimated value of the policy, ``V(π) = E_{T∼π}[Y(T)]``.

    Rows come from two places and are weighted back to π in the same way::

        V̂ = Σ_i s_i [ w_i (y_i − κ_i log π/π_ref (T_i) − b_i) + b_i ],   w_i = π(T_i) / q_i(T_i)

    - *logged* rows: y = Y, q = P_R, s = 1/n. Alone they are the importance-weighted estimate.
    - *sampled* rows: y = ĝ, q = the policy they were drawn from, s = 1/m. Alone they are the
      estimate of the outcome model.
    - both, with y = Y − ĝ on the logged ones: the doubly robust estimate, unbiased if P_R is right
      or ĝ is.

    The gradient is that of the unclipped estimate, ``Σ s w (y − κ log π/π_ref − b) ∇log π``: a
    changed weight multiplies the score function, so that a clipped row still counts. The baseline
    b changes neither expectation, since E_q[w] = 1 and E_q[w ∇log π] = 0.

    Weights are ``exp(e (log π − log q) − log Z)``, clipped at ``clip``. e is 1, or one over the
    number of tokens; Z is a running mean of weights (self-normalised) or 1.

    Columns, all (n,): ``share`` s, ``outcome`` y, ``proposal_logprob`` log q; optional
    ``baseline`` b, ``exponent`` e, ``log_normaliser`` log Z, ``log_adjustment`` (smoothed minus
    raw log-weight), ``kl`` κ with ``reference_logprob``.

    Parameters
    ----------
    clip : float, optional
        The largest weight; larger ones are cut to it.

    References
    ----------
    Lin, Ben-Michael and Morency (2024), arXiv 2402.14979 (their CPO, OO-RLHF, DR-CPO).
    """

    clip: float | None = None

    def __call__(self, logprob: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and its metrics; ``logprob`` is (n,)."""
        fixed = logprob.detach()
        exponent = batch["exponent"].to(fixed) if "exponent" in batch else torch.ones_like(fixed)
        log_weight = exponent * (fixed - batch["proposal_logprob"].to(fixed))
        for name, sign in (("log_normaliser", -1), ("log_adjustment", 1)):
            if name in batch:
                log_weight = log_weight + sign * batch[name].to(fixed)
        weight = log_weight.exp()
        clipped = weight if self.clip is None else weight.clamp(max=self.clip)
        outcome = batch["outcome"].to(fixed)
        if "kl" in batch:
            outcome = outcome - batch["kl"].to(fixed) * (
                fixed - batch["reference_logprob"].to(fixed)
            )
        baseline = batch["baseline"].to(fixed) if "baseline" in batch else torch.zeros_like(fixed)
        # One in value, with the gradient of the exponent times the log-probability.
        one = (exponent * (logprob - fixed)).exp()
        terms = clipped * one * (outcome - baseline) + baseline
        value = (batch["share"].to(fixed) * terms).sum()
        return -value, {
            "value": value.item(),
            "log_weight_min": log_weight.min().item(),
            "log_weight_max": log_weight.max().item(),
            "clipped_share": (weight > clipped).float().mean().item(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class LoggedRows:
    """n logged texts: ``residual`` Y, or Y − ĝ; ``proposal`` log P_R; ``reference`` log π_ref.

    ``weight`` are row weights of mean one. All are (n,).
    """

    completions: Completions
    residual: Floats
    proposal: Floats
    reference: Floats
    weight: Floats

    def take(self, rows: NDArray[np.int64]) -> "LoggedRows":
        """Return some of the rows, their weights scaled to mean one."""
        return LoggedRows(
            self.completions.take(rows),
            self.residual[rows],
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
        return WeightTable(log_weight, self.residual, self.weight, weighting)


@dataclass(slots=True)
class ValueTask:
    """Estimate the value of the policy on each batch, with what the whole log says of its weights.

    ``logged`` are the training rows; ``validation`` rows rank the checkpoints and are never read in
    training. The divergence is paid on fresh rows if there are any, else on logged ones.
    """

    language_model: LanguageModel
    logged: LoggedRows | None
    validation: LoggedRows | None
    pool: FreshPool | None
    weighting: Weighting
    kl_coef: float
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
            fresh = self._fresh_rows(self.pool, positions, step)
            texts.append(self.pool.texts().take(fresh))
            columns.append(self._fresh_columns(self.pool, fresh))
        joined = {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}
        laid = lay_out(Completions.concatenate(texts), share_prompts=self.share_prompts)
        return laid | tensors(joined)

    def _fresh_rows(
        self, pool: FreshPool, positions: NDArray[np.int64], step: int
    ) -> NDArray[np.int64]:
        pool.refresh(step)
        each = pool.settings.samples_per_row
        return (positions[:, None] * each + np.arange(each)).ravel() % pool.size

    def _logged_columns(self, logged: LoggedRows, rows: NDArray[np.int64]) -> Arrays:
        return {
            "row": rows,
            "share": logged.weight[rows] / len(rows),
            "outcome": logged.residual[rows],
            "proposal_logprob": logged.proposal[rows],
            "reference_logprob": logged.reference[rows],
            "exponent": logged.exponent(self.weighting)[rows],
            "kl": np.full(len(rows), self.kl_coef if self.pool is None else 0.0),
            "baseline": np.zeros(len(rows)),
        }

    def _fresh_columns(self, pool: FreshPool, fresh: NDArray[np.int64]) -> Arrays:
        return {
            "row": np.full(len(fresh), -1),
            "share": np.full(len(fresh), 1.0 / len(fresh)),
            "outcome": pool.outcome[fresh],
            "proposal_logprob": pool.proposal[fresh],
            "reference_logprob": pool.reference[fresh],
            "exponent": _exponent(pool.texts(), self.weighting)[fresh],
            "kl": np.full(len(fresh), self.kl_coef),
            "baseline": np.full(len(fresh), pool.outcome.mean()),
        }

    def loss(self, model: Network, batch: Batch) -> tuple[Tensor, Metrics]:
        """Score the batch, bring the table up to date, and return the objective."""
        logprob = sequence_logprobs(model, batch)
        known = self._read_table(logprob.detach(), batch)
        loss, metrics = OutcomeValue(clip=self.weighting.clip)(logprob, batch | known)
        return loss, {**metrics, **self._metrics()}

    def _read_table(self, logprob: Tensor, batch: Batch) -> Batch:
        """Write new weights into the table; return what the table says about these rows.

        Several processes write those of the whole batch, so that all tables are the same.
        """
        if self.table is None:
            return {}
        here = (batch["row"] >= 0).cpu().numpy()
        rows = batch["row"].cpu().numpy()[here]
        now = batch["exponent"].to(logprob) * (logprob - batch["proposal_logprob"].to(logprob))
        for part in gather((rows, now.double().cpu().numpy()[here])):
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

    def _metrics(self) -> dict[str, float]:
        weights = {} if self.table is None else self.table.metrics()
        fresh = 0.0 if self.pool is None else float(self.pool.outcome.mean())
        logged = 0.0 if self.table is None else self.table.value()[0]
        return weights | {"value": logged + fresh}

    def stop_reason(self) -> str | None:
        """Return why training must stop: the weights have collapsed."""
        if self.collapsed is None and self.table is not None:
            self.collapsed = self.table.collapse_reason()
        return self.collapsed

    def validation_score(self) -> float | None:
        """Return the value on the validation rows, minus one standard error.

        All of these are scored by the policy as it is, while the table remembers what most rows
        weighed some steps ago: a collapse shows here first. Then nothing is returned.
        """
        if self.validation is None or self.logged is None:
            return None
        value, error = self.validate()
        return None if self.collapsed else value - error

    def validate(self) -> tuple[float, float]:
        """Return the value on the validation rows and its standard error, all scored anew.

        With an outcome model both hold the mean over the pool as well, which was drawn at most
        ``refresh_every`` steps ago.
        """
        assert self.validation is not None
        logprob = completion_logprobs(self.language_model, self.validation.completions)
        table = self.validation.table(logprob, self.weighting)
        if self.logged is not None:
            share = len(self.validation.residual) / len(self.logged.residual)
            self.collapsed = self.collapsed or table.collapse_reason(share)
        value, error = table.value()
        if self.pool is None:
            return value, error
        fresh = self.pool.outcome
        return value + float(fresh.mean()), float(np.hypot(error, fresh.std() / len(fresh) ** 0.5))

    def state(self) -> Arrays:
        """Return the table of weights and the pool."""
        table: Arrays = {}
        if self.table is not None:
            table["log_weight"] = self.table.log_weight
        reason = (self.collapsed or "").encode()
        table["collapsed"] = np.frombuffer(reason, dtype=np.uint8)
        return table | ({} if self.pool is None else self.pool.state())

    def restore(self, state: Columns) -> None:
        """Take up what :meth:`state` returned."""
        self.collapsed = state["collapsed"].tobytes().decode() or None
        if self.table is not None:
            self.table.log_weight = state["log_weight"].copy()
        if self.pool is not None:
            self.pool.restore(state)


def _exponent(completions: Completions, weighting: Weighting) -> Floats:
    lengths = completions.lengths
    return 1.0 / lengths if weighting.level == "length" else np.ones(len(lengths))
