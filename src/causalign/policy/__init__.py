"""Tune language models on what a text caused. No deep-learning library is imported."""

from causalign.lm.language_model import Lora
from causalign.lm.training import Training
from causalign.policy.causal_preference import CausalPreference
from causalign.policy.dpo import DPO
from causalign.policy.fitted import PolicyFit
from causalign.policy.grpo import GRPO, RLOO
from causalign.policy.outcome_model import CrossFitted
from causalign.policy.paired_preference import PairedDPO
from causalign.policy.ppo import PPO
from causalign.policy.propensity import log_propensities, uniform_design
from causalign.policy.settings import FreshSamples, Weighting
from causalign.policy.sft import SFT

methods = {
    "sft": SFT,
    "dpo": DPO,
    "causal-preference": CausalPreference,
    "ppo": PPO,
    "grpo": GRPO,
    "rloo": RLOO,
    "paired-dpo": PairedDPO,
}

__all__ = [
    "DPO",
    "GRPO",
    "PPO",
    "RLOO",
    "SFT",
    "CausalPreference",
    "CrossFitted",
    "FreshSamples",
    "Lora",
    "PairedDPO",
    "PolicyFit",
    "Training",
    "Weighting",
    "log_propensities",
    "methods",
    "uniform_design",
]
