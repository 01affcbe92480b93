"""A marker that helps on busy days and harms on quiet ones: text and confounder interact."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.settings import require_number
from causalign.simulate.marker_log import (
    DAY_EFFECTS,
    DAYS,
    MEAN,
    Floats,
    Headlines,
    Mails,
    MarkerDesign,
    MarkerLog,
    conclude,
)


@dataclass(frozen=True, slots=True)
class MarkerByDay(MarkerDesign):
    """Simulate y = 5 + (τ + δ s_C) M + a(topic) + h_C + ε, with s_C the day's effect, centred.

    Headlines are real, C is the weekday on which one is sent, M whether "Don't miss this:" opens
    it: often on busy days, seldom on quiet ones. ε ~ N(0, 1). Averaged over days the marker adds
    τ, exactly, since days are equally frequent. A regression that lets text and confounder add up
    weighs days by the variance of the marker and finds more.

    Parameters
    ----------
    effect, interaction : float
        τ and δ.
    """

    effect: float = 0.3
    interaction: float = 0.8

    def __post_init__(self) -> None:
        MarkerDesign.__post_init__(self)
        for name in ("effect", "interaction"):
            require_number(name, getattr(self, name))

    @property
    def effects(self) -> Floats:
        """The effect of the marker on each day, ``(7,)``; their mean is ``effect``."""
        return np.asarray(self.effect + self.interaction * (DAY_EFFECTS - DAY_EFFECTS.mean()))

    def simulate(self) -> MarkerLog:
        """Draw a log in which text and confounder interact."""
        generator = self.generator()
        pool, others = Headlines.split(generator, self.texts)
        mails = Mails.draw(generator, pool, rows=self.rows)
        outcome = MEAN + self.effects[mails.day] * mails.marker + mails.appeal + mails.shift
        outcome += generator.normal(size=self.rows)
        days = np.array(DAYS)[mails.day]
        table = pa.table({"text": mails.texts, "weekday": days, "minutes_read": outcome})
        logs = Logs.of(table, Roles("text", "minutes_read", confounders=("weekday",)))
        return conclude(generator, logs, mails, others, self.effect, self.unseen)
