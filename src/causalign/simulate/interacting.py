"""A shop that writes about the goods that suit the weather: text and confounder interact."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from causalign.errors import SettingsError
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.simulate.simulated import Simulated, pair_up

# How much better a text does for each unit of warmth, and how well on a day of average weather.
GOODS = (
    ("sun cream", 1.6, -0.6),
    ("garden chairs", 1.2, -0.3),
    ("beach towels", 0.9, 0.0),
    ("bicycle lights", 0.3, 0.6),
    ("coffee mugs", 0.1, 1.0),
    ("notebooks", 0.0, 0.8),
    ("bread knives", -0.1, 0.4),
    ("desk lamps", -0.3, 0.2),
    ("tea kettles", -0.7, -0.1),
    ("wool blankets", -1.0, -0.2),
    ("winter scarves", -1.3, -0.5),
    ("snow shovels", -1.6, -0.8),
)
BODIES = (
    ("Our new {} have arrived.", 0.1),
    ("Take a look at our {}.", 0.0),
    ("Readers love these {}.", 0.2),
    ("A short story about {}.", -0.2),
)
MEAN = 5.0


@dataclass(frozen=True, slots=True)
class Interacting:
    """Simulate y = 5 + g(T) + q(T) C + h C + ε, with texts chosen for the weather C ~ N(0, 1).

    The goods of a text have an appeal g and a season q; P(T | C) ∝ exp(``choice`` q(T) C) in all
    but a share ``at_random`` of the mails, ε ~ N(0, ``noise``²). A seasonal text was therefore
    seen when it does well. Averaged over the weather, its effect is g(T), since C has mean 0; an
    estimator that subtracts h(C) and regresses the rest on the text finds about
    g(T) + q(T) E[C | T] instead, which grows with q² and turns the ranking round. The ranking of
    `text_effect` is that of E[y | do(T)].

    After the motivation of permutation weighting, Arbour, Dimmery and Sondhi (2021),
    arXiv:1901.01230: effects that are not additive in treatment and covariates.

    Parameters
    ----------
    rows, pairs : int
        How many mails, and how many comparisons in the experiment.
    choice : float
        How strongly texts are chosen for the weather.
    at_random : float
        The share of mails whose text is drawn at random.
    confounder_slope : float
        h, the effect of one unit of warmth.
    noise : float
        Standard deviation of the outcome.
    seed : int
        Of all draws.
    """

    rows: int = 4000
    pairs: int = 2000
    choice: float = 1.5
    at_random: float = 0.2
    confounder_slope: float = 0.5
    noise: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows < 20 or self.pairs < 2:
            raise SettingsError("This shop needs at least 20 rows and 2 pairs.")
        if not 0 < self.at_random <= 1:
            raise SettingsError(
                f"at_random must lie between 0 (excluded) and 1, not {self.at_random!r}: without "
                "chance, no text is ever seen outside its weather."
            )

    def simulate(self) -> Simulated:
        """Draw the logs, the average effect of each text and an experiment."""
        generator = np.random.default_rng(self.seed)
        warmth = generator.normal(size=self.rows)
        goods = self._goods(generator, warmth)
        texts, effect = _mails(generator, goods)
        season = np.array([q for _, q, _ in GOODS])[goods]
        noise = generator.normal(0, self.noise, self.rows)
        shift = self.confounder_slope * warmth
        table = {"mail": texts, "warmth": warmth}
        table |= {"minutes_read": MEAN + effect + season * warmth + shift + noise}
        roles = Roles(completion="mail", outcome="minutes_read", confounders=("warmth",))
        sides = []
        for _ in range(2):
            anything = generator.integers(len(GOODS), size=self.pairs)
            others, value = _mails(generator, anything)
            # Each pair was sent on many days, so that the weather averages out.
            sides.append((others, value + generator.normal(0, self.noise / 4, self.pairs)))
        return Simulated(
            logs=Logs.of(pa.table(table), roles),
            text_effect=effect,
            confounder_effect=shift,
            experiment=pair_up(sides[0], sides[1]),
            spurious=("sun cream", "snow shovels"),
            causal=("coffee mugs", "notebooks"),
        )

    def _goods(self, generator: np.random.Generator, warmth: np.ndarray) -> np.ndarray:
        """Choose the goods of each mail ``(n,)`` for the weather, or at random."""
        season = np.array([q for _, q, _ in GOODS])
        score = self.choice * warmth[:, None] * season
        # The largest of scores with Gumbel noise is a draw from the softmax.
        chosen = np.argmax(score + generator.gumbel(size=score.shape), axis=1)
        anything = generator.integers(len(GOODS), size=self.rows)
        return np.where(generator.random(self.rows) < self.at_random, anything, chosen)


def _mails(generator: np.random.Generator, goods: np.ndarray) -> tuple[list[str], np.ndarray]:
    body = generator.integers(len(BODIES), size=len(goods))
    texts = [BODIES[b][0].format(GOODS[g][0]) for b, g in zip(body, goods, strict=True)]
    appeal = np.array([value for _, _, value in GOODS])[goods]
    return texts, appeal + np.array([value for _, value in BODIES])[body]
