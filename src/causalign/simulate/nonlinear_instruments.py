"""Prices with an instrument whose effect is any curve: the design of adversarial GMM's authors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from causalign.errors import SettingsError, nearest
from causalign.simulate.simulated import SimulatedDesign, draw_up_logs

Curve = Callable[[np.ndarray], np.ndarray]
CURVES: Mapping[str, Curve] = MappingProxyType(
    {
        "abs": np.abs,
        "2dpoly": lambda x: -1.5 * x + 0.9 * x**2,
        "sigmoid": lambda x: 2 / (1 + np.exp(-2 * x)),
        "sin": np.sin,
        "step": lambda x: np.where(x < 0, 1.0, 2.5),
        "3dpoly": lambda x: -1.5 * x + 0.9 * x**2 + x**3,
        "linear": lambda x: x,
    }
)


@dataclass(frozen=True, slots=True)
class NonlinearInstruments:
    """Simulate y = h(C) + 2 u + N(0, 0.1²), C = 2 γ z + 2 (1 - γ) u + N(0, 0.1²).

    z, u ~ N(0, 1), γ = ``strength``: z is an instrument, u is what the text adds to the outcome and
    travels with C. ``curve`` names h: ``abs``, ``2dpoly``, ``sigmoid``, ``sin``, ``step``,
    ``3dpoly`` or ``linear``. As in the paper y is divided by its standard deviation, after its mean
    is taken out. ``coefficient`` of the result is NaN: there is no single one.

    After Dikkala et al. (2020), arXiv:2006.07201, the experiments' second design.

    Parameters
    ----------
    curve : str
        The name of h.
    rows : int
        How many rows.
    strength : float
        γ, from 0 to 1.
    seed : int
        Of all draws.
    """

    curve: str = "abs"
    rows: int = 2000
    strength: float = 0.6
    seed: int = 0

    def __post_init__(self) -> None:
        if self.curve not in CURVES:
            raise SettingsError(f"Unknown curve {self.curve!r}; {nearest(self.curve, CURVES)}")
        if self.rows < 20 or not 0 <= self.strength <= 1:
            raise SettingsError("At least 20 rows are needed, and strength between 0 and 1.")

    def simulate(self) -> SimulatedDesign:
        """Draw logs with confounder ``price`` and instrument ``cost``."""
        generator = np.random.default_rng(self.seed)
        hidden, cost = generator.normal(size=(2, self.rows))
        price = 2 * self.strength * cost + 2 * (1 - self.strength) * hidden
        price += generator.normal(0, 0.1, self.rows)
        effect = CURVES[self.curve](price)
        outcome = effect + 2 * hidden + generator.normal(0, 0.1, self.rows)
        centre, scale = outcome.mean(), outcome.std()
        return SimulatedDesign(
            logs=draw_up_logs(
                (outcome - centre) / scale,
                {"price": price, "cost": cost},
                confounders=("price",),
                instruments=("cost",),
            ),
            coefficient=float("nan"),
            text_effect=2 * hidden / scale,
            confounder_effect=(effect - centre) / scale,
        )
