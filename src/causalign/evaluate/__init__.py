"""What a policy would have earned, and which reward is right, on data that no fit has seen."""

from causalign.evaluate.against_baseline import AgainstBaseline, against_baseline
from causalign.evaluate.dependence import Dependence, confounder_outcome, dependence
from causalign.evaluate.direct import Direct
from causalign.evaluate.diversity import diversity
from causalign.evaluate.doubly_robust import DoublyRobust, Switch
from causalign.evaluate.generations import (
    Compared,
    MarkerShares,
    WinRate,
    marker_shares,
    mean_reward_difference,
    win_rate,
)
from causalign.evaluate.held_out import HeldOut
from causalign.evaluate.judges import CommandJudge, Judge, RewardJudge
from causalign.evaluate.kernel import KernelWeighting
from causalign.evaluate.limits import SupportLimits
from causalign.evaluate.markers import MarkerEffects, marker_effects
from causalign.evaluate.off_policy import (
    OffPolicyValues,
    applicable,
    logged_value,
    methods,
    off_policy,
    with_second_policy,
)
from causalign.evaluate.off_policy_log import OffPolicyLog, TargetSamples
from causalign.evaluate.outcome_model import CrossFittedOutcome
from causalign.evaluate.ranking import Ranking, rank
from causalign.evaluate.value import Inference, PolicyValue
from causalign.evaluate.weighting import Clipped, ImportanceWeighting, SelfNormalised

__all__ = [
    "AgainstBaseline",
    "Clipped",
    "CommandJudge",
    "Compared",
    "CrossFittedOutcome",
    "Dependence",
    "Direct",
    "DoublyRobust",
    "HeldOut",
    "ImportanceWeighting",
    "Inference",
    "Judge",
    "KernelWeighting",
    "MarkerEffects",
    "MarkerShares",
    "OffPolicyLog",
    "OffPolicyValues",
    "PolicyValue",
    "Ranking",
    "RewardJudge",
    "SelfNormalised",
    "SupportLimits",
    "Switch",
    "TargetSamples",
    "WinRate",
    "against_baseline",
    "applicable",
    "confounder_outcome",
    "dependence",
    "diversity",
    "logged_value",
    "marker_effects",
    "marker_shares",
    "mean_reward_difference",
    "methods",
    "off_policy",
    "rank",
    "win_rate",
    "with_second_policy",
]
