"""Tune language models on what a text caused. One method for each file."""

from causalign.config import Methods
from causalign.namespaces import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)

METHODS = Methods(
    __name__,
    {
        "sft": "SFT",
        "dpo": "DPO",
        "kto": "KTO",
        "causal-preference": "CausalPreference",
        "ppo": "PPO",
        "grpo": "GRPO",
        "rloo": "RLOO",
        "paired-dpo": "PairedDPO",
    },
)
__all__ = [*__all__, "METHODS"]
