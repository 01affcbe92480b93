"""A log whose promoted texts nobody recorded, beside a small experiment: a hidden confounder."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.settings import require_number
from causalign.simulate.marker_log import (
    DAYS,
    MEAN,
    Floats,
    Headlines,
    Mails,
    MarkerDesign,
    MarkerLog,
    conclude,
    write_marker,
)

PROMOTED = 0.4


@dataclass(frozen=True, slots=True)
class HiddenPromotion(MarkerDesign):
    """Simulate y = 5 + τ M + a(topic) + h_C + κ U + ε with U, whether a text was promoted, hidden.

    As `MarkerByDay` without interaction; promotion (U = 1, in two of five mails) multiplies the
    odds of the marker by ``odds`` and adds κ. No adjustment for the weekday can take U out. The
    firm also ran ``tests``: in each, two headlines with and without the marker, ``readers`` of
    each, on one day and without promotion, so that differences within a test are causal.

    Parameters
    ----------
    effect, hidden : float
        τ and κ.
    odds : float
        How much more likely promotion makes the marker.
    tests, readers : int
        The experiment; 0 tests for none.
    """

    effect: float = 0.3
    hidden: float = 1.0
    odds: float = 6.0
    tests: int = 25
    readers: int = 8

    def __post_init__(self) -> None:
        MarkerDesign.__post_init__(self)
        for name in ("effect", "hidden"):
            require_number(name, getattr(self, name))
        require_number("odds", self.odds, above=0)
        require_number("tests", self.tests, least=0, whole=True)
        require_number("readers", self.readers, least=2, whole=True)

    def simulate(self) -> MarkerLog:
        """Draw a log with a hidden confounder, and the experiment."""
        generator = self.generator()
        pool, others = Headlines.split(generator, self.texts)
        promoted = generator.random(self.rows) < PROMOTED
        mails = Mails.draw(generator, pool, np.where(promoted, self.odds, 1.0), rows=self.rows)
        outcome = MEAN + self.effect * mails.marker + mails.appeal + mails.shift
        outcome += self.hidden * promoted + generator.normal(size=self.rows)
        days = np.array(DAYS)[mails.day]
        table = pa.table({"text": mails.texts, "weekday": days, "minutes_read": outcome})
        logs = Logs.of(table, Roles("text", "minutes_read", confounders=("weekday",)))
        tests = self._experiments(generator, pool) if self.tests else (None, np.zeros(0))
        return conclude(generator, logs, mails, others, self.effect, self.unseen, tests)

    def _experiments(self, generator: np.random.Generator, pool: Headlines) -> tuple[Logs, Floats]:
        """Send two headlines, with and without the marker, to readers of one day each."""
        drawn = Mails.draw(generator, pool, rows=2 * self.tests)
        of_pair = np.repeat(np.arange(self.tests), 2)
        arm = np.repeat(np.arange(2 * self.tests), 2)
        marker = np.tile([0.0, 1.0], 2 * self.tests)
        row = np.repeat(np.arange(len(arm)), self.readers)
        level = MEAN + generator.normal(size=self.tests)[of_pair[arm]]
        mean = level + self.effect * marker + drawn.appeal[arm]
        texts = write_marker([drawn.headline[k] for k in arm], marker)
        table = pa.table(
            {
                "text": [texts[k] for k in row],
                "minutes_read": mean[row] + generator.normal(size=len(row)),
                "test": [f"test {k}" for k in of_pair[arm][row]],
            }
        )
        return Logs.of(table, Roles("text", "minutes_read", group="test")), marker[row]
