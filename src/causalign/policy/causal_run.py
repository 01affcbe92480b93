"""Put together a run of causal preference optimisation, and judge it at its end."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causalign.lm.completions import tokenized
from causalign.lm.generate import sample
from causalign.lm.language_model import LanguageModel, shares_prompts
from causalign.lm.layout import sorted_order
from causalign.lm.logprob import completion_logprobs
from causalign.lm.reference import reference_logprobs
from causalign.logs import Logs
from causalign.policy import findings
from causalign.policy.causal_rows import CausalRows, LoggedRows
from causalign.policy.fitted import PolicyFit
from causalign.policy.fresh_pool import FreshPool
from causalign.policy.outcome_model import OutcomeModel
from causalign.policy.tuning import (
    adapted,
    data_hash,
    opened,
    reference_of,
    require_whole_weights,
    tuned,
)
from causalign.policy.weights import WeightTable
from causalign.results import Finding
from causalign.splits import held_out_rows
from causalign.stats.importance_weights import typicality_coverage

__all__ = ["CausalRun"]

Numbers = dict[str, float]


@dataclass(slots=True)
class CausalRun:
    """Hold what one run needs: the model, the task, and the weights it started from."""

    method: Any
    model: LanguageModel
    prompts: list[str] | None
    logged: LoggedRows
    task: CausalRows
    uses_reference: bool
    before: WeightTable
    progress: bool

    @staticmethod
    def prepared(
        method: Any,
        logs: Logs,
        outcome: NDArray[np.float64],
        proposal: NDArray[np.float64] | None,
        outcome_model: OutcomeModel | None,
        progress: bool,
    ) -> "CausalRun":
        """Open the model, score the log under it once, and lay out the task.

        ``proposal`` (n,) is log P_R; None stands for the starting model.
        """
        require_whole_weights(method)
        start = opened(method)
        texts = tokenized(
            start.tokenizer,
            logs.prompts,
            logs.completions,
            max_length=min(method.training.max_length, start.window),
            chat=method.chat,
        )
        reference = reference_logprobs(start, texts, progress=progress)
        weight = np.ones(len(logs)) if logs.weights is None else logs.weights
        logged = LoggedRows(
            texts,
            outcome,
            reference if proposal is None else proposal,
            reference,
            weight / weight.mean(),
        )
        judge = np.zeros(len(logs), dtype=bool)
        if method.held_out and method.objective != "outcome-model":
            judge = held_out_rows(logs, method.held_out, method.training.seed)
        model = adapted(start, method)
        pool = None
        if outcome_model is not None:
            pool = _pool(method, model, logs, outcome_model)
        task = _task(method, model, logged, judge, pool)
        return CausalRun(
            method,
            model,
            logs.prompts,
            logged,
            task,
            proposal is None and method.objective != "outcome-model",
            logged.table(reference, method.weighting),
            progress,
        )

    def fit(self, out: Path) -> PolicyFit:
        """Train, or go on training, and tell how it went."""
        if self.task.pool is not None:
            self.task.pool.refresh(0)
        judged_before = None if self.task.judges is None else self.task.judged()
        # Propensities that the model itself computed may differ in their last bits another day.
        names = ["outcome", "weight", *([] if self.uses_reference else ["proposal"])]
        columns = {name: getattr(self.logged, name) for name in names}
        return tuned(
            self.method,
            self.model,
            self.task,
            out,
            data=data_hash(self.logged.completions, columns),
            finish=lambda trained: self._finished(trained, judged_before),
            assumption=self.method.assumption,
            drawn="value",
            progress=self.progress,
        )

    def _finished(
        self, trained: Any, judged_before: tuple[float, float] | None
    ) -> tuple[Numbers, tuple[Finding, ...]]:
        steps = len(self.task.order) // self.method.training.batch_size
        numbers: Numbers = {"rows": float(len(self.logged.outcome)), "steps": float(steps)}
        found = [
            findings.cut_texts(self.logged.completions.cut, self.method.training.max_length),
            findings.stopped(trained.trouble, trained.kept_step, steps),
        ]
        if self.method.objective != "outcome-model":
            found += self._weights_now(numbers)
        if self.task.pool is not None and trained.curve:
            self.task.pool.redraw(steps)
        if judged_before is not None:
            after = self.task.judged()
            numbers |= {
                "held_out_value_before": judged_before[0],
                "held_out_value_before_error": judged_before[1],
                "held_out_value_after": after[0],
                "held_out_value_after_error": after[1],
            }
        if self.task.pool is not None:
            pool = self.task.pool
            numbers["fresh_outcome"] = float(pool.outcome.mean()) if pool.total else float("nan")
            found.append(findings.sampled_texts(pool.empty, pool.unfinished, pool.total))
        return numbers, tuple(found)

    def _weights_now(self, numbers: Numbers) -> list[Finding]:
        """Score the whole log under the tuned policy and describe its weights."""
        logprob = completion_logprobs(self.model, self.logged.completions)
        table = self.logged.table(logprob, self.method.weighting)
        weights = table.diagnosed()
        coverage = self._coverage(logprob)
        numbers |= {
            "effective_rows": weights.effective_sample_size,
            "pareto_k": weights.pareto_shape,
            "largest_share": weights.largest_share,
            "log_weight_min": weights.lowest,
            "log_weight_max": weights.highest,
        }
        if coverage is not None:
            numbers["typicality_coverage"] = coverage
        return [
            findings.effective_rows(weights, self.method.weighting.stop_below),
            findings.tail_of_weights(weights),
            findings.clipped_weights(table.clipped_share(), self.method.weighting.clip),
            findings.typical_texts(coverage),
            findings.mean_weight(
                self.before.diagnosed(), normalised=self.method.weighting.normalise
            ),
            findings.same_model(self.uses_reference),
        ]

    def _coverage(self, logprob: NDArray[np.float64]) -> float | None:
        """Return which share of logged texts is as likely as what the policy itself writes."""
        count = self.method.samples.measured
        if count == 0:
            return None
        generator = np.random.default_rng([self.method.training.seed, 0xC0FE])
        asked: list[Any] = [None] * count
        if self.prompts is not None:
            rows = generator.integers(len(self.prompts), size=count)
            asked = [self.prompts[row] for row in rows]
        drawn = sample(
            self.model,
            asked,
            max_new_tokens=self.method.samples.max_new_tokens,
            seed=int(generator.integers(2**31)),
            chat=self.method.chat,
        )
        return typicality_coverage(logprob, drawn.logprob)


def _task(
    method: Any,
    model: LanguageModel,
    logged: LoggedRows,
    judge: NDArray[np.bool_],
    pool: FreshPool | None,
) -> CausalRows:
    training = method.training
    teach = logged.take(np.flatnonzero(~judge))
    alone = method.objective == "outcome-model"
    order = sorted_order(
        teach.completions.sizes,
        batch_size=training.batch_size,
        steps=training.steps_for(len(teach.outcome)),
        seed=training.seed,
    )
    return CausalRows(
        model,
        None if alone else teach,
        logged.take(np.flatnonzero(judge)) if judge.any() else None,
        pool,
        method.weighting,
        method.kl,
        order,
        shares_prompts(model.model),
        None if alone else teach.table(teach.reference, method.weighting),
    )


def _pool(method: Any, model: LanguageModel, logs: Logs, outcome_model: OutcomeModel) -> FreshPool:
    settings, training = method.samples, method.training
    steps = training.steps_for(round(len(logs) * (1 - method.held_out)))
    size = min(settings.every, steps) * training.batch_size * settings.for_each_row
    compared = method.kl > 0 or settings.defensive > 0
    return FreshPool(
        model,
        reference_of(model, method) if compared else None,
        logs.prompts,
        outcome_model,
        settings,
        size,
        method.chat,
        training.seed,
    )
