"""Instruments as weak as you ask for: where two-stage least squares leans and its interval lies."""

from dataclasses import dataclass

import numpy as np

from causalign.errors import SettingsError
from causalign.simulate.simulated import SimulatedDesign, draw_up_logs


@dataclass(frozen=True, slots=True)
class WeakInstruments:
    """Simulate y = ``coefficient`` C + e, C = π Σ_j z_j + v, corr(e, v) = ``endogeneity``.

    z_j, e and v are standard normal and π² = ``strength`` / n, so that the first-stage F is about
    1 + ``strength`` whatever the number of rows; what the text adds to the outcome is the part of
    e that travels with v. Two-stage least squares is then off by about 1/F of what ordinary least
    squares is off by.

    After Staiger and Stock (1997), weak-instrument asymptotics.

    Parameters
    ----------
    rows, instruments : int
        How many of each.
    strength : float
        About the first-stage F, less 1.
    endogeneity : float
        The correlation of e and v.
    coefficient : float
        The effect of one unit of the confounder.
    seed : int
        Of all draws.
    """

    rows: int = 500
    instruments: int = 3
    strength: float = 2.0
    endogeneity: float = 0.8
    coefficient: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows < 10 or self.instruments < 1:
            raise SettingsError("The design needs at least 10 rows and 1 instrument.")
        if self.strength < 0 or not -1 <= self.endogeneity <= 1:
            raise SettingsError("strength must be at least 0 and endogeneity between -1 and 1.")

    def simulate(self) -> SimulatedDesign:
        """Draw logs with confounder ``price`` and instruments ``z0``, ``z1``, ..."""
        generator = np.random.default_rng(self.seed)
        Z = generator.normal(size=(self.rows, self.instruments))
        moved = generator.normal(size=self.rows)
        price = np.sqrt(self.strength / self.rows) * Z.sum(axis=1) + moved
        effect = self.endogeneity * moved
        own = np.sqrt(1 - self.endogeneity**2) * generator.normal(size=self.rows)
        outcome = self.coefficient * price + effect + own
        columns = {"price": price} | {f"z{j}": column for j, column in enumerate(Z.T)}
        costs = tuple(columns)[1:]
        return SimulatedDesign(
            logs=draw_up_logs(outcome, columns, confounders=("price",), instruments=costs),
            coefficient=self.coefficient,
            text_effect=effect,
            confounder_effect=self.coefficient * price,
        )
