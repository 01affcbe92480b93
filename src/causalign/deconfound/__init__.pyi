import collections.abc

from .additive import Additive as Additive
from .adjust import adjust_logs as adjust_logs
from .adversarial_gmm import AdversarialGMM as AdversarialGMM
from .balancing import BalancingWeights as BalancingWeights
from .double_ml import DoubleML as DoubleML
from .double_ml_instruments import DoubleMLInstruments as DoubleMLInstruments
from .effect import ConfounderEffect as ConfounderEffect
from .limited_information import LimitedInformation as LimitedInformation
from .method import Adjustment as Adjustment
from .method import Deconfounder as Deconfounder
from .neural_instruments import NeuralInstruments as NeuralInstruments
from .ordinary import OrdinaryLeastSquares as OrdinaryLeastSquares
from .permutation_weighting import PermutationWeighting as PermutationWeighting
from .sensitivity import UnobservedConfounding as UnobservedConfounding
from .sensitivity import add_sensitivity as add_sensitivity
from .two_stage import TwoStageLeastSquares as TwoStageLeastSquares

METHODS: collections.abc.Mapping[str, type[Deconfounder]]
