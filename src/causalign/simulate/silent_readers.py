"""Readers who liked a text answer more often: outcomes that are missing not at random."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.special import expit

from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.settings import require_number
from causalign.simulate.marker_log import (
    DAYS,
    MEAN,
    Headlines,
    Mails,
    MarkerDesign,
    MarkerLog,
    conclude,
)


@dataclass(frozen=True, slots=True)
class SilentReaders(MarkerDesign):
    """Simulate y = 5 + τ M + a(topic) + h_C + ε, seen where P(R = 1) = σ(α + λ (y - 5) + μ M).

    The marker invites answers, but whether somebody answers depends on the outcome itself: nothing
    in the answers alone says how much is missing (missing not at random). Of those who stay silent
    a share is asked again, drawn at random, and all of these answer (double sampling): their rows
    have the weight 1/share, so that the weighted rows stand for all. The logs hold the rows with an
    outcome; estimators that ignore the weight treat answers as if they were everybody's. Effects
    are those of all rows.

    Parameters
    ----------
    effect, base, slope, invitation : float
        τ, α, λ and μ.
    asked_again : float
        The share of silent readers that is asked again.

    References
    ----------
    Hansen and Hurwitz (1946), The problem of non-response in sample surveys, Journal of the
    American Statistical Association 41.
    """

    effect: float = 0.3
    base: float = -0.5
    slope: float = 1.5
    invitation: float = 2.0
    asked_again: float = 0.3

    def __post_init__(self) -> None:
        MarkerDesign.__post_init__(self)
        for name in ("effect", "base", "slope", "invitation"):
            require_number(name, getattr(self, name))
        require_number("asked_again", self.asked_again, above=0, most=1)

    def simulate(self) -> MarkerLog:
        """Draw a log of those who answered at once or when they were asked again."""
        generator = self.generator()
        pool, others = Headlines.split(generator, self.texts)
        mails = Mails.draw(generator, pool, rows=self.rows)
        outcome = MEAN + self.effect * mails.marker + mails.appeal + mails.shift
        outcome += generator.normal(size=self.rows)
        score = self.base + self.slope * (outcome - MEAN) + self.invitation * mails.marker
        answered = generator.random(self.rows) < expit(score)
        again = ~answered & (generator.random(self.rows) < self.asked_again)
        rows = np.flatnonzero(answered | again)
        mails = Mails(
            mails.day[rows],
            tuple(mails.headline[row] for row in rows),
            mails.appeal[rows],
            mails.marker[rows],
        )
        table = pa.table(
            {
                "text": mails.texts,
                "weekday": np.array(DAYS)[mails.day],
                "minutes_read": outcome[rows],
                "weight": np.where(again[rows], 1 / self.asked_again, 1.0),
            }
        )
        roles = Roles("text", "minutes_read", confounders=("weekday",), weight="weight")
        return conclude(generator, Logs.of(table, roles), mails, others, self.effect, self.unseen)
