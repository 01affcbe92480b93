"""Tune language models on what a text caused. No deep-learning library is imported."""

from causalign.lm.language_model import Lora
from causalign.lm.training import Training
from causalign.policy.causal_preference import CausalPreference
from causalign.policy.dpo import DPO
from causalign.policy.fitted import PolicyFit
from causalign.policy.outcome_model import CrossFitted
from causalign.policy.propensity import log_propensities, uniform_design
from causalign.policy.settings import FreshSamples, Weighting
from causalign.policy.sft import SFT

methods = {"sft": SFT, "dpo": DPO, "causal-preference": CausalPreference}

__all__ = [
    "DPO",
    "SFT",
    "CausalPreference",
    "CrossFitted",
    "FreshSamples",
    "Lora",
    "PolicyFit",
    "Training",
    "Weighting",
    "log_propensities",
    "methods",
    "uniform_design",
]
