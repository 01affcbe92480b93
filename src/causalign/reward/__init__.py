"""Reward models: what outcome a text is expected to earn. No deep-learning library is imported."""

from causalign.reward.class_head import ClassHead
from causalign.reward.compare import compare
from causalign.reward.confounder_in_text import ConfounderInText
from causalign.reward.diagnostics import (
    Diagnostics,
    diagnose,
    diagnose_pairs,
    with_diagnostics,
)
from causalign.reward.ensemble import Member, fit_together
from causalign.reward.examples import Examples
from causalign.reward.findings import truncated_texts
from causalign.reward.fitted import RewardFit
from causalign.reward.head import LinearHead
from causalign.reward.heads import Head
from causalign.reward.language_model_fit import LanguageModelFit
from causalign.reward.language_model_reward import LanguageModelReward
from causalign.reward.model import RewardModel, reward_texts
from causalign.reward.network_fit import NetworkFit
from causalign.reward.network_head import NetworkHead
from causalign.reward.networks.base_objective import BaseObjective
from causalign.reward.networks.confounder_in_layer import ConfounderInLayer
from causalign.reward.networks.multihead import Adversarial, Multihead
from causalign.reward.networks.objectives import ObjectiveHeads
from causalign.reward.networks.odin import Odin
from causalign.reward.networks.perceptron import Perceptron
from causalign.reward.pairwise import PairwiseReward
from causalign.reward.ridge import RidgeReward
from causalign.reward.scoring import ScoredLogs, score_logs
from causalign.reward.training import Training
from causalign.reward.trl_reward import trl_reward_function

pointwise_methods = {"ridge": RidgeReward}
methods = {
    "ridge": RidgeReward,
    "pairwise": PairwiseReward,
    "perceptron": Perceptron,
    "confounder-in-layer": ConfounderInLayer,
    "confounder-in-text": ConfounderInText,
    "odin": Odin,
    "base": BaseObjective,
    "multihead": Multihead,
    "adversarial": Adversarial,
    "language-model": LanguageModelReward,
}

__all__ = [
    "Adversarial",
    "BaseObjective",
    "ClassHead",
    "ConfounderInLayer",
    "ConfounderInText",
    "Diagnostics",
    "Examples",
    "Head",
    "LanguageModelFit",
    "LanguageModelReward",
    "LinearHead",
    "Member",
    "Multihead",
    "NetworkFit",
    "NetworkHead",
    "ObjectiveHeads",
    "Odin",
    "PairwiseReward",
    "Perceptron",
    "RewardFit",
    "RewardModel",
    "RidgeReward",
    "ScoredLogs",
    "Training",
    "compare",
    "diagnose",
    "diagnose_pairs",
    "fit_together",
    "methods",
    "pointwise_methods",
    "reward_texts",
    "score_logs",
    "trl_reward_function",
    "truncated_texts",
    "with_diagnostics",
]
