"""Two audiences of opposite taste: what most readers like, newcomers do not (METHODS, 4.6)."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from causalign.errors import SettingsError
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.simulate.newsletter import BODIES, DAY_EFFECTS, DAYS, OFFERS, PRODUCTS
from causalign.simulate.simulated import Simulated, pair_up

AUDIENCES = ("new", "regular")
# What every mail earns in an audience, whatever it says.
LEVELS = np.array([3.0, 5.0])
OPENING = "Last chance! "


@dataclass(frozen=True, slots=True)
class OppositeTastes:
    """Simulate y = a(u) + g(T) + q(u) 1("Last chance!" opens T) + h(C) + ε.

    C is the weekday, u the reader: ``newcomers`` of them are new, the others regular. g adds up the
    offer of the mail, the same for both. Regular readers stay ``liked`` longer with mails that open
    with "Last chance!", new ones ``disliked`` less long, so that the marker is good on average.
    Most mails of Monday open with it, when everybody reads 1.6 minutes longer: as logged it looks
    good for new readers too. ε ~ N(0, ``noise``²). In the experiment two random mails go to halves
    of the same readers of a day.

    Parameters
    ----------
    rows, pairs : int
        How many mails, and how many comparisons in the experiment.
    newcomers : float
        The share of new readers.
    liked, disliked : float
        What the opening does to regular readers, and takes from new ones, in minutes.
    noise : float
        Standard deviation of the outcome.
    seed : int
        Of all draws.
    """

    rows: int = 4000
    pairs: int = 2000
    newcomers: float = 0.1
    liked: float = 0.6
    disliked: float = 0.9
    noise: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows < 20 or self.pairs < 2 or not 0 < self.newcomers < 1:
            raise SettingsError(
                "Tastes need at least 20 rows, 2 pairs, and newcomers between 0 and 1."
            )

    def simulate(self) -> Simulated:
        """Draw the logs, the effect of each text on its own reader, and an experiment."""
        generator = np.random.default_rng(self.seed)
        day = generator.integers(len(DAYS), size=self.rows)
        regular = (generator.random(self.rows) >= self.newcomers).astype(np.int64)
        opens = generator.random(self.rows) < np.where(day == 0, 0.8, 0.3)
        texts, offered = _mails(generator, opens)
        effect = offered + opens * self._taste()[regular]
        noise = generator.normal(0, self.noise, self.rows)
        table = {
            "mail": texts,
            "weekday": [DAYS[d] for d in day],
            "reader": [AUDIENCES[u] for u in regular],
            "minutes_read": LEVELS[regular] + effect + DAY_EFFECTS[day] + noise,
        }
        roles = Roles("mail", "minutes_read", confounders=("weekday",), audience=("reader",))
        return Simulated(
            logs=Logs.of(pa.table(table), roles),
            text_effect=effect,
            confounder_effect=DAY_EFFECTS[day],
            experiment=pair_up(self._send(generator), self._send(generator)),
            spurious=(),
            causal=(OPENING.strip(), OFFERS[0][0].strip()),
        )

    def _taste(self) -> np.ndarray:
        """Return what the opening does in each audience."""
        return np.array([-self.disliked, self.liked])

    def _send(self, generator: np.random.Generator) -> tuple[list[str], np.ndarray]:
        """Return random mails, and what they earn on average over the readers."""
        opens = generator.random(self.pairs) < 0.5
        texts, offered = _mails(generator, opens)
        mean = np.array([self.newcomers, 1 - self.newcomers]) @ self._taste()
        noise = generator.normal(0, self.noise / 4, self.pairs)
        return texts, offered + opens * mean + noise


def _mails(generator: np.random.Generator, opens: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return mails ``(n,)`` and what their offers are worth to anybody."""
    size = len(opens)
    body = generator.integers(len(BODIES), size=size)
    product = generator.integers(len(PRODUCTS), size=size)
    offer = generator.integers(len(OFFERS), size=size)
    texts = [
        f"{OPENING if first else ''}{BODIES[b].format(PRODUCTS[p])}{OFFERS[o][0]}."
        for first, b, p, o in zip(opens, body, product, offer, strict=True)
    ]
    return texts, np.array([value for _, value in OFFERS])[offer]
