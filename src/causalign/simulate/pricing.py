"""A shop whose prices follow cost, quality and demand: the textbook case for an instrument."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from causalign.errors import SettingsError
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.simulate.simulated import Simulated, pair_up

# A word's effect on sales, and the price at which the shop likes to use it.
TONES = (
    ("an affordable", 0.0, -1.5),
    ("a simple", 0.1, -0.5),
    ("a handy", 0.2, 0.0),
    ("a beautiful", 0.5, 0.3),
    ("a premium", 0.0, 1.5),
)
THINGS = ("teapot", "lamp", "jacket", "knife", "chair", "bag", "frame", "kettle")
PROMISES = ((", repaired for free", 0.8), (", made to last", 0.4), ("", 0.0), (", as is", -0.6))
BASE = 20.0


@dataclass(frozen=True, slots=True)
class Pricing:
    """Simulate y = 20 + g(T) + ``slope`` · price + ``demand`` · u + ε, sales of a product.

    price = 10 + ``pass_through`` · cost + tone(T) + u + N(0, 0.5²): the wholesale cost ~ N(0, 1)
    is an instrument, the demand u ~ N(0, 1) is recorded nowhere and raises both price and sales.
    "affordable" and "premium" sell nothing of themselves but are written on cheap and dear goods.
    So regressions of sales on the price, with or without the text, are wrong, and two-stage least
    squares is right. ε ~ N(0, ``noise``²).

    After Wright (1928), *The Tariff on Animal and Vegetable Oils*, appendix B.

    Parameters
    ----------
    rows, pairs : int
        How many products, and how many comparisons in the experiment.
    slope : float
        The effect of the price on sales.
    pass_through : float
        How much of the wholesale cost is in the price.
    demand : float
        The effect of the demand on sales.
    noise : float
        Standard deviation of sales.
    seed : int
        Of all draws.
    """

    rows: int = 4000
    pairs: int = 2000
    slope: float = -0.8
    pass_through: float = 1.0
    demand: float = 1.0
    noise: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows < 20 or self.pairs < 2:
            raise SettingsError("A pricing log needs at least 20 rows and 2 pairs.")

    def simulate(self) -> Simulated:
        """Draw the logs, their truth and an experiment at equal prices."""
        generator = np.random.default_rng(self.seed)
        texts, effect, tone = _blurbs(generator, self.rows)
        cost, demand = generator.normal(size=(2, self.rows))
        price = 10 + self.pass_through * cost + tone + demand
        price += generator.normal(0, 0.5, self.rows)
        shift = self.slope * price
        noise = generator.normal(0, self.noise, self.rows)
        sales = BASE + effect + shift + self.demand * demand + noise
        table = pa.table({"blurb": texts, "price": price, "cost": cost, "sales": sales})
        roles = Roles(
            completion="blurb", outcome="sales", confounders=("price",), instruments=("cost",)
        )
        sides = []
        for _ in range(2):
            others, value, _tone = _blurbs(generator, self.pairs)
            sides.append((others, value + generator.normal(0, self.noise / 4, self.pairs)))
        return Simulated(
            logs=Logs.of(table, roles),
            text_effect=effect,
            confounder_effect=shift,
            experiment=pair_up(sides[0], sides[1]),
            spurious=("affordable", "premium"),
            causal=("repaired for free", "made to last"),
        )


def _blurbs(generator: np.random.Generator, size: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return texts, their effects ``(n,)`` and the prices that go with their tone ``(n,)``."""
    tone = generator.integers(len(TONES), size=size)
    thing = generator.integers(len(THINGS), size=size)
    promise = generator.integers(len(PROMISES), size=size)
    texts = [
        f"This is {TONES[a][0]} {THINGS[b]}{PROMISES[c][0]}."
        for a, b, c in zip(tone, thing, promise, strict=True)
    ]
    effect = np.array([value for _, value, _ in TONES])[tone]
    effect = effect + np.array([value for _, value in PROMISES])[promise]
    return texts, effect, np.array([price for _, _, price in TONES])[tone]
