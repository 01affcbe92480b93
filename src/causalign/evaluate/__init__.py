"""Which reward is right, judged on data that no fit has seen."""

from causalign.evaluate.dependence import Dependence, confounder_outcome, dependence
from causalign.evaluate.held_out import HeldOut
from causalign.evaluate.markers import MarkerEffects, marker_effects
from causalign.evaluate.ranking import Ranking, rank

__all__ = [
    "Dependence",
    "HeldOut",
    "MarkerEffects",
    "Ranking",
    "confounder_outcome",
    "dependence",
    "marker_effects",
    "rank",
]
