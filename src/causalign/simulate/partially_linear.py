"""Robinson's partially linear model: what the text does is a curve, the confounder a slope."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.linalg import toeplitz
from scipy.special import expit

from causalign.errors import SettingsError
from causalign.logs import Logs
from causalign.roles import Roles
from causalign.simulate.simulated import SimulatedDesign

__all__ = ["PartiallyLinear"]


@dataclass(frozen=True, slots=True)
class PartiallyLinear:
    """Simulate y = ``coefficient`` C + g(X) + ζ, C = m(X) + v, with X the features of the text.

    X ~ N(0, Σ), Σ_jk = 0.7^|j-k|; m(X) = x₁ + ¼ σ(x₃), g(X) = σ(x₁) + ¼ x₃ with σ the logistic
    function; v and ζ ~ N(0, 1). A regression of y on C takes part of g with it.

    Model: Robinson (1988); functions: Chernozhukov et al. (2018), as in DoubleML's
    ``make_plr_CCDDHNR2018``.
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
        names = tuple(f"x{j}" for j in range(self.features))
        table = {"text": [f"text {i}" for i in range(self.rows)], "outcome": outcome, "dose": dose}
        table |= dict(zip(names, X.T, strict=True))
        roles = Roles("text", "outcome", confounders=("dose",), features=names)
        return SimulatedDesign(
            logs=Logs.of(pa.table(table), roles),
            coefficient=self.coefficient,
            text_effect=effect,
            confounder_effect=self.coefficient * dose,
            text_features=X,
        )
