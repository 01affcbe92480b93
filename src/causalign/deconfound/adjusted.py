"""Apply what was found to the logs: subtract an effect, or weight the rows."""

from causalign.deconfound.balancing import BalancingWeights
from causalign.deconfound.effect import ConfounderEffect
from causalign.logs import Logs

__all__ = ["adjusted"]


def adjusted(found: ConfounderEffect | BalancingWeights, logs: Logs) -> Logs:
    """Return logs from which a reward may be learned; the history gains one line.

    An effect h(C) is subtracted from the outcome; balancing weights leave the outcome and weight
    the rows, which must be those that were fitted. Raises what `ConfounderEffect.subtract_from`
    and `BalancingWeights.weight` do.
    """
    if isinstance(found, BalancingWeights):
        return found.weight(logs)
    return found.subtract_from(logs)
