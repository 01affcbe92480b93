"""Demand for tickets whose price effect bends over the year: the design of deep IV's authors."""

from dataclasses import dataclass

import numpy as np

from causalign.errors import SettingsError
from causalign.logs import Logs
from causalign.simulate.simulated import SimulatedDesign, draw_up_logs

COLUMNS = ("price", "time", "customer")


@dataclass(frozen=True, slots=True)
class Demand:
    """Simulate y = 100 + (10 + p) s ψ(t) - 2 p + σ e, p = 25 + (c + 3) ψ(t) + v.

    ``ψ(t) = 2 ((t - 5)⁴/600 + exp(-4 (t - 5)²) + t/10 - 2)``, the time t ~ U(0, 10), the kind of
    customer s uniform on 1 … 7, the cost c and v standard normal, and e standard normal with
    correlation ρ to v: e is what the text adds to the outcome and travels with the price p. t and s
    are exogenous, c is the instrument of the price. ``coefficient`` of the result is NaN: there is
    no single one.

    After Hartford et al. (2017), Deep IV. σ is 1 there, of an outcome whose standard deviation is
    above 100, so that confounding hardly matters; a larger σ makes it matter.

    Parameters
    ----------
    rows : int
        How many rows.
    correlation : float
        ρ, from -1 to 1.
    scale : float
        σ.
    seed : int
        Of all draws.
    """

    rows: int = 1000
    correlation: float = 0.5
    scale: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows < 20 or not -1 <= self.correlation <= 1 or self.scale < 0:
            raise SettingsError(
                "At least 20 rows are needed, correlation between -1 and 1, and scale at least 0."
            )

    def simulate(self) -> SimulatedDesign:
        """Draw logs with confounders ``price``, ``time``, ``customer`` and instrument ``cost``."""
        generator = np.random.default_rng(self.seed)
        time = generator.uniform(0, 10, self.rows)
        customer = generator.integers(1, 8, self.rows).astype(float)
        cost, moved = generator.normal(size=(2, self.rows))
        price = 25 + (cost + 3) * bend(time) + moved
        hidden = np.sqrt(1 - self.correlation**2) * generator.normal(size=self.rows)
        text_effect = self.scale * (self.correlation * moved + hidden)
        effect = expected_demand(price, time, customer)
        return SimulatedDesign(
            logs=_logs(effect + text_effect, price, time, customer, cost),
            coefficient=float("nan"),
            text_effect=text_effect,
            confounder_effect=effect,
        )


def demand_grid() -> tuple[Logs, np.ndarray]:
    """Return the 2,800 rows at which fits are judged, and h ``(2800,)`` there.

    20 prices from 10 to 25, 20 times from 0 to 10, 7 kinds of customers: the grid of Singh et al.
    (2019), Kernel Instrumental Variable Regression. The costs of its rows are 0.
    """
    axes = np.linspace(10, 25, 20), np.linspace(0, 10, 20), np.arange(1.0, 8.0)
    price, time, customer = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    effect = expected_demand(price, time, customer)
    return _logs(effect, price, time, customer, np.zeros(len(price))), effect


def expected_demand(price: np.ndarray, time: np.ndarray, customer: np.ndarray) -> np.ndarray:
    """Return h(p, t, s)."""
    demand: np.ndarray = 100 + (10 + price) * customer * bend(time) - 2 * price
    return demand


def bend(time: np.ndarray) -> np.ndarray:
    """Return ψ(t)."""
    season: np.ndarray = 2 * ((time - 5) ** 4 / 600 + np.exp(-4 * (time - 5) ** 2) + time / 10 - 2)
    return season


def _logs(outcome: np.ndarray, *columns: np.ndarray) -> Logs:
    named = dict(zip((*COLUMNS, "cost"), columns, strict=True))
    return draw_up_logs(outcome, named, confounders=COLUMNS, instruments=("cost",))
