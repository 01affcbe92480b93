"""A newsletter whose Mondays are busy and whose Monday mails say so (after 2506.00152, § 3.1)."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from causalign.errors import SettingsError
from causalign.logs import Logs
from causalign.logs.pairs import Pairs
from causalign.logs.roles import Roles
from causalign.simulate.simulated import Simulated, pair_up

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DAY_EFFECTS = np.array([1.6, 0.4, 0.2, 0.0, -0.2, -0.9, -1.1])
WEEKEND = DAYS.index("Saturday")
GREETINGS = ("Happy Monday! ", "Hello there! ", "Good news! ", "")
PRODUCTS = (
    "wool blankets", "coffee mugs", "desk lamps", "rain jackets", "garden chairs", "bread knives",
    "travel bags", "running shoes", "picture frames", "linen shirts", "kitchen scales",
    "wooden toys", "bicycle lights", "tea kettles", "yoga mats", "winter scarves", "bath towels",
    "cast-iron pans", "notebooks", "camping tents", "reading glasses", "wall clocks",
    "flower pots", "umbrellas",
)  # fmt: skip
BODIES = (
    "Our new {} have arrived", "We restocked the {} you asked for", "Take a look at our {}",
    "The {} of the season are here", "Readers love these {}", "Here is a guide to choosing {}",
    "Meet the people who make our {}", "A short story about {}",
)  # fmt: skip
OFFERS = (
    (" with free returns", 0.9),
    (" in three colours", 0.25),
    ("", 0.0),
    (" while stocks last", -0.25),
    (", terms and conditions apply", -0.9),
)


@dataclass(frozen=True, slots=True)
class Newsletter:
    """Simulate y = g(T) + h(C) + ε with C the weekday.

    g adds up the offer (free returns +0.9 … terms and conditions −0.9) and a small effect of the
    product; "Happy Monday!" has no effect at all, but opens ``marker_on_monday`` of Monday's mails
    and ``marker_otherwise`` of the others, while Mondays add 1.6 to everybody's minutes of
    reading. The firm makes its best offer when few read: free returns are in
    ``offer_on_weekend`` of the weekend's mails and ``offer_otherwise`` of the others, so that the
    weekday hides most of what they add. ε ~ N(0, ``noise``²). The experiment has ``pairs``
    comparisons of two random mails sent to halves of the same day's readers, greeting and offer
    drawn at random.

    Parameters
    ----------
    rows, pairs : int
        How many mails, and how many comparisons in the experiment.
    marker_on_monday, marker_otherwise : float
        How many mails open with "Happy Monday!", on Mondays and on other days.
    offer_on_weekend, offer_otherwise : float
        How many mails offer free returns, on weekends and on other days.
    noise : float
        Standard deviation of the outcome.
    seed : int
        Of all draws.
    """

    rows: int = 4000
    pairs: int = 2000
    marker_on_monday: float = 0.8
    marker_otherwise: float = 0.02
    offer_on_weekend: float = 0.6
    offer_otherwise: float = 0.1
    noise: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows < 20 or self.pairs < 2:
            raise SettingsError("A newsletter needs at least 20 rows and 2 pairs.")

    def simulate(self) -> Simulated:
        """Draw the logs, their truth and an experiment."""
        generator = np.random.default_rng(self.seed)
        day = generator.integers(len(DAYS), size=self.rows)
        share = np.where(day == 0, self.marker_on_monday, self.marker_otherwise)
        greeting = np.where(
            generator.random(self.rows) < share, 0, generator.integers(1, len(GREETINGS), self.rows)
        )
        best = np.where(day >= WEEKEND, self.offer_on_weekend, self.offer_otherwise)
        offer = np.where(
            generator.random(self.rows) < best, 0, generator.integers(1, len(OFFERS), self.rows)
        )
        texts, effect = self._mails(generator, greeting, offer)
        outcome = 5 + effect + DAY_EFFECTS[day] + generator.normal(0, self.noise, self.rows)
        table = pa.table(
            {"mail": texts, "weekday": [DAYS[d] for d in day], "minutes_read": outcome}
        )
        roles = Roles(completion="mail", outcome="minutes_read", confounders=("weekday",))
        return Simulated(
            logs=Logs.of(table, roles),
            text_effect=effect,
            confounder_effect=DAY_EFFECTS[day],
            experiment=self._experiment(generator),
            spurious=(GREETINGS[0].strip(),),
            causal=(OFFERS[0][0].strip(),),
        )

    def _mails(
        self, generator: np.random.Generator, greeting: np.ndarray, offer: np.ndarray
    ) -> tuple[list[str], np.ndarray]:
        size = len(greeting)
        product = generator.integers(len(PRODUCTS), size=size)
        body = generator.integers(len(BODIES), size=size)
        texts = [
            f"{GREETINGS[g]}{BODIES[b].format(PRODUCTS[p])}{OFFERS[o][0]}."
            for g, b, p, o in zip(greeting, body, product, offer, strict=True)
        ]
        appeal = np.linspace(-0.3, 0.3, len(PRODUCTS))
        return texts, np.array([value for _, value in OFFERS])[offer] + appeal[product]

    def _experiment(self, generator: np.random.Generator) -> Pairs:
        """Send two mails on the same day; the day's effect cancels in their difference."""
        sides = [
            self._mails(
                generator,
                generator.integers(len(GREETINGS), size=self.pairs),
                generator.integers(len(OFFERS), size=self.pairs),
            )
            for _ in range(2)
        ]
        noise = generator.normal(0, self.noise * np.sqrt(2) / 4, self.pairs)
        (first, value), second = sides
        return pair_up((first, value + noise), second)
