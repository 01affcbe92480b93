"""Objectives: pure functions ``(logprob, batch) -> (loss, metrics)`` of tensors. They need torch.

``logprob`` holds log-probabilities of whole completions under the policy that is trained, with
gradients; ``batch`` the columns that an objective names in its docstring. The loss is what training
minimises, the metrics are for the log: floats, or pairs of a sum and a count.
"""

from causalign.policy.objectives.direct_preference import DirectPreference
from causalign.policy.objectives.outcome_value import OutcomeValue
from causalign.policy.objectives.paired_value import PairedPreference
from causalign.policy.objectives.proximal import ProximalPolicy
from causalign.policy.objectives.supervised import Supervised

__all__ = [
    "DirectPreference",
    "OutcomeValue",
    "PairedPreference",
    "ProximalPolicy",
    "Supervised",
]
