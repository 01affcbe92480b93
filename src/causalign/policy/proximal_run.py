"""Put together a run of proximal policy optimisation, and say how it ended."""

from pathlib import Path
from typing import Any

import numpy as np

from causalign import artifacts
from causalign.lm.language_model import LanguageModel, shares_prompts
from causalign.lm.value_head import add_value_head, remove_value_head
from causalign.lm.vllm_server import VllmServer
from causalign.policy.findings import stopped
from causalign.policy.fitted import PolicyFit
from causalign.policy.outcome_model import OutcomeModel
from causalign.policy.proximal_task import ProximalTask
from causalign.policy.rollout import Rollout, prompts_drawn, rolled_out
from causalign.policy.rows import passes_over
from causalign.policy.tuning import adapted, opened, reference_of, require_whole_weights, tuned
from causalign.policy.writing_findings import clipped_ratios, value_head
from causalign.policy.written import before_and_after, judging
from causalign.results import Finding

__all__ = ["run"]


def run(
    method: Any, prompts: list[str] | None, reward: OutcomeModel, out: Path, progress: bool
) -> PolicyFit:
    """Train, or go on training, and tell how it went."""
    require_whole_weights(method)
    model = adapted(opened(method), method)
    reference = reference_of(model, method)
    task = _task(method, model, reference, prompts, reward)
    steps = len(task.order) // method.training.batch_size

    def finish(trained: Any) -> tuple[dict[str, float], tuple[Finding, ...]]:
        remove_value_head(model)
        numbers = {"steps": float(steps), "prompts": float(len(prompts or ()))}
        measured, found = before_and_after(
            method, model, reference, prompts, reward, far=method.stop_kl
        )
        ended = stopped(trained.trouble, trained.kept_step, steps)
        return numbers | measured, (ended, *found, *_of_curve(trained.curve, method.clip))

    return tuned(
        method,
        model,
        task,
        out,
        data=artifacts.fingerprint(prompts),
        finish=finish,
        assumption=method.assumption,
        drawn="reward",
        progress=progress,
    )


def _task(
    method: Any,
    model: LanguageModel,
    reference: Any,
    prompts: list[str] | None,
    reward: OutcomeModel,
) -> ProximalTask:
    training, head = method.training, add_value_head(model)
    texts = len(prompts or ()) * method.passes
    rows = training.steps_for(texts) * training.batch_size
    address, budget = method.vllm, method.max_new_tokens
    server = None if address is None else VllmServer(model, address, budget)

    def write(step: int) -> Rollout:
        generator = np.random.default_rng([training.seed, step])
        return rolled_out(
            model,
            reference,
            prompts_drawn(prompts, method.rollout, generator),
            reward,
            max_new_tokens=budget,
            seed=int(generator.integers(2**31)),
            chat=method.chat,
            writer=server,
        )

    def judge() -> Rollout:
        return judging(method, model, reference, prompts, reward, 0x3D6E)

    return ProximalTask(
        model,
        head,
        method,
        write,
        judge if method.measured else None,
        passes_over(method.rollout, rows, training.seed),
        method.passes * method.rollout // training.batch_size,
        shares_prompts(model.model),
    )


def _of_curve(curve: list[dict[str, float]], clip: float) -> tuple[Finding, ...]:
    """Return the findings of the last quarter of training; none where no step was made."""
    if not curve:
        return ()
    last = curve[-max(1, len(curve) // 4) :]
    share = float(np.mean([entry["clip_share"] for entry in last]))
    explained = np.array([entry["explained_variance"] for entry in last])
    known = explained[~np.isnan(explained)]
    return clipped_ratios(share, clip), value_head(float(known.mean()) if len(known) else np.nan)
