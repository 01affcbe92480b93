"""Which policy a run tunes, and from which start: checked before the first costly stage."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from causalign import config, policy
from causalign.errors import SettingsError
from causalign.logs import Logs
from causalign.policy.ppo import checked_prompts
from causalign.policy.propensity import logged_propensities
from causalign.recipe import Recipe

__all__ = ["Tuning", "planned"]


@dataclass(frozen=True, slots=True)
class Tuning:
    """Hold the method that tunes, and the fine-tuning on logged texts before it, if any."""

    method: Any
    start: policy.SFT | None


def planned(recipe: Recipe, train: Logs) -> Tuning | None:
    """Return what to tune, or None; raise ``SettingsError`` for what these logs cannot teach."""
    if recipe.policy is None:
        if recipe.start is not None:
            raise SettingsError("'start' prepares a policy; name its method in 'policy'.")
        return None
    method = config.choose(policy.methods, recipe.policy, "policy")
    _check(method, train)
    return Tuning(method, None if recipe.start is None else _start(method, recipe.start))


def _check(method: Any, train: Logs) -> None:
    if isinstance(method, policy.PairedDPO):
        raise SettingsError(
            "'policy.method': paired-dpo needs a preference model in log-odds, which a run does "
            "not fit. Use dpo, or `causalign policy paired-dpo`."
        )
    if isinstance(method, policy.SFT) and method.temperature is None:
        raise SettingsError(
            "'policy.temperature' is not set, so sft reads no outcome and both policies would be "
            "the same. Set it, for instance to 1."
        )
    if isinstance(method, policy.PPO | policy.GRPO | policy.RLOO):
        checked_prompts(train.prompts, method.training)
    if isinstance(method, policy.CausalPreference) and method.objective != "outcome-model":
        logged_propensities(train, method.propensity, None)


def _start(method: Any, settings: Mapping[str, Any]) -> policy.SFT:
    """Return the fine-tuning before ``method``, on the same model in the same form."""
    shared = {"model", "adapter", "lora", "chat"}
    if given := sorted(shared & set(settings)):
        raise SettingsError(f"Set 'policy.{given[0]}'; 'start' uses the same.")
    found = config.construct(policy.SFT, settings, "start")
    return replace(found, **{name: getattr(method, name) for name in shared})
