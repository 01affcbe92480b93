import collections.abc

from .best_of import BestOf as BestOf
from .best_texts import BestTexts as BestTexts
from .causal_preference import CausalPreference as CausalPreference
from .dpo import DPO as DPO
from .dpo import DirectPreference as DirectPreference
from .fit import PolicyFit as PolicyFit
from .grpo import GRPO as GRPO
from .grpo import RLOO as RLOO
from .kto import KTO as KTO
from .kto import KahnemanTversky as KahnemanTversky
from .method import Data as Data
from .method import Lora as Lora
from .method import PolicyMethod as PolicyMethod
from .method import Training as Training
from .method import tune as tune
from .paired_dpo import PairedDPO as PairedDPO
from .paired_dpo import PairedPreference as PairedPreference
from .ppo import PPO as PPO
from .ppo_task import ProximalPolicy as ProximalPolicy
from .pretraining import Pretraining as Pretraining
from .propensity import log_propensities as log_propensities
from .propensity import uniform_design as uniform_design
from .rewards import CrossFittable as CrossFittable
from .rewards import PredictsOutcome as PredictsOutcome
from .rewards import PredictsPreference as PredictsPreference
from .rewards import Reward as Reward
from .samples import FreshSamples as FreshSamples
from .sft import SFT as SFT
from .sft import Supervised as Supervised
from .value_task import OutcomeValue as OutcomeValue
from .weights import Weighting as Weighting

METHODS: collections.abc.Mapping[str, type[PolicyMethod]]
