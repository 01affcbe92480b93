"""Robinson's partially linear model: what the text does is a curve, the confounder a slope."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import toeplitz
from scipy.special import expit

from causalign.errors import SettingsError
from causalign.simulate.simulated import SimulatedDesign, draw_up_logs


@dataclass(frozen=True, slots=True)
class PartiallyLinear:
    """Simulate y = ``coefficient`` C + g(X) + ζ, C = m(X) + v, with X the features of the text.

    X ~ N(0, Σ), Σ_jk = 0.7^|j-k|; m(X) = x₁ + ¼ σ(x₃), g(X) = σ(x₁) + ¼ x₃ with σ the logistic
    function; v and ζ ~ N(0, 1). A regression of y on C takes part of g with it.

    Model: Robinson (1988); functions: Chernozhukov et al. (2018), as in DoubleML's
    ``make_plr_CCDDHNR2018``.

    Parameters
    ----------
    rows, features : int
        How many rows, and how many features describe a text.
    coefficient : float
        The effect of one unit of the confounder.
    seed : int
        Of all draws.
    """

    rows: int = 500
    features: int = 20
    coefficient: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.features < 3 or self.rows < 10:
            raise SettingsError("The design needs at least 3 features and 10 rows.")

    def simulate(self) -> SimulatedDesign:
        """Draw logs with confounder ``dose`` and features ``x0``, ``x1``, ..."""
        generator = np.random.default_rng(self.seed)
        root = np.linalg.cholesky(toeplitz(0.7 ** np.arange(self.features)))
        X = generator.normal(size=(self.rows, self.features)) @ root.T
        dose = X[:, 0] + 0.25 * expit(X[:, 2]) + generator.normal(size=self.rows)
        effect = expit(X[:, 0]) + 0.25 * X[:, 2]
        outcome = self.coefficient * dose + effect + generator.normal(size=self.rows)
        columns = {"dose": dose} | {f"x{j}": column for j, column in enumerate(X.T)}
        features = tuple(columns)[1:]
        return SimulatedDesign(
            logs=draw_up_logs(outcome, columns, confounders=("dose",), features=features),
            coefficient=self.coefficient,
            text_effect=effect,
            confounder_effect=self.coefficient * dose,
            text_features=X,
        )
