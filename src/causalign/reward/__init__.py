"""Reward models: what outcome a text is expected to earn. No deep-learning library is imported."""

from causalign.reward.compare import compare
from causalign.reward.findings import truncated_texts
from causalign.reward.fitted import RewardFit
from causalign.reward.head import LinearHead
from causalign.reward.model import RewardModel, reward_texts
from causalign.reward.pairwise import PairwiseReward
from causalign.reward.ridge import RidgeReward

pointwise_methods = {"ridge": RidgeReward}
methods = {"ridge": RidgeReward, "pairwise": PairwiseReward}

__all__ = [
    "LinearHead",
    "PairwiseReward",
    "RewardFit",
    "RewardModel",
    "RidgeReward",
    "compare",
    "methods",
    "pointwise_methods",
    "reward_texts",
    "truncated_texts",
]
