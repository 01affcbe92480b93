"""What the tuned policy writes, beside what it wrote before: rewards, divergence, findings."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from causalign.lm.language_model import LanguageModel
from causalign.policy.findings import sampled_texts
from causalign.policy.outcome_model import OutcomeModel
from causalign.policy.rollout import Rollout, prompts_drawn, rolled_out
from causalign.policy.writing_findings import divergence
from causalign.results import Finding

__all__ = ["before_and_after", "collapsed", "judging"]


def judging(
    method: Any,
    language_model: LanguageModel,
    reference_model: Any,
    prompts: Sequence[str] | None,
    reward: OutcomeModel,
    seed: int,
) -> Rollout:
    """Let a model write ``method.measured`` texts; the same seed asks with the same prompts."""
    generator = np.random.default_rng([method.training.seed, seed])
    asked = prompts_drawn(prompts, method.measured, generator)
    return rolled_out(
        language_model,
        reference_model,
        asked,
        reward,
        max_new_tokens=method.max_new_tokens,
        seed=int(generator.integers(2**31)),
        chat=method.chat,
        values=False,
    )


def before_and_after(
    method: Any,
    language_model: LanguageModel,
    reference_model: Any,
    prompts: Sequence[str] | None,
    reward: OutcomeModel,
    *,
    far: float,
) -> tuple[dict[str, float], tuple[Finding, ...]]:
    """Return the mean reward of the starting and of the tuned model, and how far they are apart.

    The prompts and the seed are others than those that ranked the checkpoints. More than ``far``
    nats are too many.
    """
    if method.measured == 0:
        return {}, ()
    given = (reference_model, prompts, reward, 0xAF7E)
    with reference_model() as reference:
        before = judging(method, reference, *given)
    after = judging(method, language_model, *given)
    numbers = {}
    for name, rollout in (("before", before), ("after", after)):
        score = rollout.score
        numbers[f"reward_{name}"] = float(score.mean())
        numbers[f"reward_{name}_error"] = float(score.std(ddof=1) / np.sqrt(len(score)))
    numbers["kl_after"] = float(after.log_ratio.mean())
    cut = int(after.completions.cut.sum())
    return numbers, (
        sampled_texts(after.empty, cut, len(after.score)),
        divergence(numbers["kl_after"], far),
    )


def collapsed(rollout: Rollout, stop_kl: float) -> str | None:
    """Return in which way the policy that wrote these texts has collapsed, or None."""
    if rollout.empty == len(rollout.score):
        return f"all {rollout.empty} texts that the policy wrote are empty"
    moved = float(rollout.log_ratio.mean())
    if moved > stop_kl:
        return f"the divergence from the starting model is {moved:.0f} nats, above {stop_kl:g}"
    return None
