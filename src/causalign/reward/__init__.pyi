import causalign.config

from .audience_head import AudienceHead as AudienceHead
from .comparison import compare as compare
from .confounder_in_text import ConfounderInText as ConfounderInText
from .diagnostics import Diagnostics as Diagnostics
from .diagnostics import add_diagnostics as add_diagnostics
from .diagnostics import diagnose as diagnose
from .diagnostics import diagnose_pairs as diagnose_pairs
from .estimates import LanguageModelFit as LanguageModelFit
from .estimates import LinearHeadFit as LinearHeadFit
from .estimates import NetworkFit as NetworkFit
from .examples import Examples as Examples
from .for_audience import AudienceGains as AudienceGains
from .for_audience import ForAudience as ForAudience
from .for_audience import audience_gains as audience_gains
from .heads import ClassHead as ClassHead
from .heads import Head as Head
from .heads import LinearHead as LinearHead
from .heads import NetworkHead as NetworkHead
from .heads import ObjectiveHeads as ObjectiveHeads
from .language_model_reward import LanguageModelReward as LanguageModelReward
from .mlflow_logging import log_to_mlflow as log_to_mlflow
from .model import RewardFit as RewardFit
from .model import RewardMethod as RewardMethod
from .model import RewardModel as RewardModel
from .model import choose as choose
from .model import cross_fit as cross_fit
from .network_training import NetworkTraining as NetworkTraining
from .networks.adversarial import Adversarial as Adversarial
from .networks.base_objective import BaseObjective as BaseObjective
from .networks.confounder_in_layer import ConfounderInLayer as ConfounderInLayer
from .networks.ensemble import Member as Member
from .networks.ensemble import fit_together as fit_together
from .networks.multihead import Multihead as Multihead
from .networks.odin import Odin as Odin
from .networks.perceptron import Perceptron as Perceptron
from .pairwise import Pairwise as Pairwise
from .pooled import Pooled as Pooled
from .regressor import RewardRegressor as RewardRegressor
from .ridge import Ridge as Ridge
from .scoring import ScoredLogs as ScoredLogs
from .scoring import score_logs as score_logs
from .served_reward import ServedReward as ServedReward
from .server import RewardServer as RewardServer
from .server_limits import ServerLimits as ServerLimits
from .trl_reward import trl_reward_function as trl_reward_function
from .within_tests import WithinTests as WithinTests

METHODS: causalign.config.Methods[RewardMethod]
CHOICES: causalign.config.Methods[RewardMethod]
