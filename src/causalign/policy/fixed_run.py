"""Put together a run on rows that do not change, and say how it ended."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causalign.lm.completions import Completions
from causalign.lm.language_model import LanguageModel, shares_prompts
from causalign.lm.layout import sorted_order
from causalign.policy.findings import cut_texts, effective_rows, stopped
from causalign.policy.fitted import PolicyFit
from causalign.policy.rows import Columns, FixedRows
from causalign.policy.tuning import adapted, data_hash, tuned
from causalign.results import Finding
from causalign.stats.importance_weights import diagnosed

__all__ = ["run_on_fixed_rows"]

LEAST_ROWS = 10.0


def run_on_fixed_rows(
    method: Any,
    start: LanguageModel,
    objective: Any,
    texts: Completions,
    columns: Columns,
    out: Path,
    *,
    log_weight: NDArray[np.float64],
    assumption: str,
    drawn: str,
    progress: bool,
) -> PolicyFit:
    """Train ``objective`` on n rows, each of as many texts as there are for each weight.

    ``log_weight`` (n,) are the rows' weights, for the findings; ``drawn`` is the metric to show.
    """
    training = method.training
    each = len(texts) // len(log_weight)
    steps = training.steps_for(len(log_weight))
    order = sorted_order(
        texts.sizes.reshape(-1, each).sum(axis=1),
        batch_size=training.batch_size,
        steps=steps,
        seed=training.seed,
    )
    share = shares_prompts(start.model)
    task = FixedRows(objective, texts, columns, order, training.batch_size, share, each)

    def finish(trained: Any) -> Any:
        return _finished(trained, texts, log_weight, training.max_length, steps)

    # What the model itself computed may differ in its last bits on another day.
    read = {name: value for name, value in columns.items() if name != "reference_logprob"}
    return tuned(
        method,
        adapted(start, method),
        task,
        out,
        data=data_hash(texts, read),
        finish=finish,
        assumption=assumption,
        drawn=drawn,
        progress=progress,
    )


def _finished(
    trained: Any,
    texts: Completions,
    log_weight: NDArray[np.float64],
    max_length: int,
    steps: int,
) -> tuple[dict[str, float], tuple[Finding, ...]]:
    found = diagnosed(log_weight)
    numbers = {
        "rows": float(len(log_weight)),
        "steps": float(len(trained.curve)),
        "effective_rows": found.effective_sample_size,
    }
    return numbers, (
        cut_texts(texts.cut, max_length),
        effective_rows(found, LEAST_ROWS),
        stopped(trained.trouble, trained.kept_step, steps),
    )
