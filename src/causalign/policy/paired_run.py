"""Put together a run on logged and sampled pairs, and say how it ended."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from causalign.lm.completions import Completions
from causalign.lm.generate import sample
from causalign.lm.language_model import LanguageModel, shares_prompts
from causalign.lm.layout import Batch
from causalign.lm.processes import once
from causalign.lm.reference import reference_logprobs
from causalign.pairs import Pairs
from causalign.policy import findings
from causalign.policy.dpo import alternating
from causalign.policy.fitted import PolicyFit
from causalign.policy.objectives.paired_value import PairedPreference
from causalign.policy.paired_preference import PreferenceModel, symmetric_preference
from causalign.policy.rollout import prompts_drawn
from causalign.policy.rows import FixedRows, passes_over
from causalign.policy.tuning import adapted, data_hash, opened, tuned
from causalign.policy.weights import WeightTable
from causalign.results import Finding

__all__ = ["run"]

Floats = NDArray[np.float64]


def run(
    method: Any,
    pairs: Pairs,
    weight: Floats,
    proposal: Floats | None,
    believed: Floats,
    preference_model: PreferenceModel,
    out: Path,
    progress: bool,
) -> PolicyFit:
    """Write the pool of pairs, weigh the logged ones, train, and tell how it went.

    All are (p,): ``weight`` of the pairs, ``proposal`` log q, ``believed`` p̂ of logged pairs.
    """
    start = opened(method)
    window = min(method.training.max_length, start.window)
    texts = alternating(start.tokenizer, pairs, max_length=window, chat=method.chat)
    reference = reference_logprobs(start, texts, progress=progress)
    table = _table(method, reference, weight, proposal)
    pool, drawn, said, empty = _pool(method, start, pairs, preference_model, progress)
    columns = _columns(table, believed, said, np.concatenate([reference, drawn]).reshape(-1, 2))
    task = _task(method, start, Completions.joined([texts, pool]), columns)
    steps = len(task.order) // method.training.batch_size

    def finish(trained: Any) -> tuple[dict[str, float], tuple[Finding, ...]]:
        size = table.diagnosed().effective_sample_size
        counts = {"pairs": len(pairs), "sampled_pairs": len(said), "steps": steps}
        return {**counts, "effective_pairs": size}, (
            *_of_texts(texts, method.training.max_length, pool, empty),
            *_of_weights(table, proposal is None),
            findings.stopped(trained.trouble, trained.kept_step, steps),
        )

    read = {"weight": weight, "believed": believed}
    read |= {} if proposal is None else {"proposal": proposal}
    return tuned(
        method,
        adapted(start, method),
        task,
        out,
        data=data_hash(texts, read),
        finish=finish,
        assumption=method.assumption,
        drawn="accuracy",
        progress=progress,
    )


def _task(
    method: Any, start: LanguageModel, texts: Completions, columns: dict[str, NDArray[Any]]
) -> FixedRows:
    logged = int((columns["sampled"] == 0).sum())
    return FixedRows(
        _shared(PairedPreference(method.beta)),
        texts,
        columns,
        _order(method, logged),
        method.training.batch_size,
        shares_prompts(start.model),
        texts_in_row=2,
    )


def _table(method: Any, reference: Floats, weight: Floats, proposal: Floats | None) -> WeightTable:
    """Return log ν/q of the logged pairs; ν is the reference, twice (``reference`` is (2p,))."""
    target = reference.reshape(-1, 2).sum(axis=1)
    zeros = np.zeros(len(target))
    log_weight = zeros if proposal is None else target - proposal
    return WeightTable(log_weight, zeros, weight / weight.mean(), method.weighting)


def _pool(
    method: Any, start: LanguageModel, pairs: Pairs, model: PreferenceModel, progress: bool
) -> tuple[Completions, Floats, Floats, int]:
    """Return m sampled pairs (2m texts), their log-probabilities (2m,), p̂ (m,), empty texts."""
    generator = np.random.default_rng([method.training.seed, 0x9A12])
    count = len(pairs) * method.for_each_pair
    asked = prompts_drawn(pairs.prompt, count, generator)
    drawn = sample(
        start,
        [prompt for prompt in asked for _ in range(2)],
        max_new_tokens=method.max_new_tokens,
        seed=int(generator.integers(2**31)),
        chat=method.chat,
        progress=progress,
    )
    prompts = None if pairs.prompt is None else [str(prompt) for prompt in asked]
    said = once(lambda: symmetric_preference(model, prompts, drawn.texts[0::2], drawn.texts[1::2]))
    empty = sum(not text.strip() for text in drawn.texts)
    return drawn.completions, drawn.logprob, said, empty


def _columns(
    table: WeightTable, believed: Floats, said: Floats, reference: Floats
) -> dict[str, NDArray[Any]]:
    """Return what the objective reads: logged pairs, whose first text won, then sampled ones."""
    n, m = len(believed), len(said)
    return {
        "reference_logprob": reference,
        # Each stratum is averaged over its part of the batch.
        "share": np.concatenate([table.row_weight * (n + m) / n, np.full(m, (n + m) / m)]),
        "weight": np.concatenate([table.weights(), np.ones(m)]),
        "label": np.concatenate([np.ones(n), np.zeros(m)]),
        "preference": np.concatenate([believed, said]),
        "sampled": np.concatenate([np.zeros(n), np.ones(m)]),
    }


def _order(method: Any, count: int) -> NDArray[np.int64]:
    """Return the rows to read: after each logged pair its share of the sampled ones."""
    training, each = method.training, method.for_each_pair
    steps = training.steps_for(count * (1 + each))
    read = steps * training.batch_size // (1 + each)
    logged = passes_over(count, read, training.seed)
    sampled = count + passes_over(count * each, read * each, training.seed + 1)
    return np.column_stack([logged, sampled.reshape(-1, each)]).ravel()


def _shared(objective: PairedPreference) -> Callable[[Tensor, Batch], Any]:
    """Return the objective with shares that add up to two, one for each stratum of a batch."""

    def averaged(logprob: Tensor, batch: Batch) -> Any:
        return objective(logprob, batch | {"share": batch["share"] / len(batch["share"])})

    return averaged


def _of_texts(
    logged: Completions, max_length: int, pool: Completions, empty: int
) -> tuple[Finding, ...]:
    return (
        findings.cut_texts(logged.cut, max_length),
        findings.sampled_texts(empty, int(pool.cut.sum()), len(pool)),
    )


def _of_weights(table: WeightTable, uses_reference: bool) -> tuple[Finding, ...]:
    found = table.diagnosed()
    return (
        findings.effective_rows(found, table.weighting.stop_below),
        findings.tail_of_weights(found),
        findings.clipped_weights(table.clipped_share(), table.weighting.clip),
        findings.mean_weight(found, normalised=table.weighting.normalise),
        findings.same_model(uses_reference),
    )
