"""Limited-information maximum likelihood: instruments that are many or weak mislead it less."""

from dataclasses import asdict, dataclass, replace

import numpy as np

from causalign.deconfound.effect import ConfounderEffect
from causalign.deconfound.expansion import expand_confounders, expand_instruments
from causalign.deconfound.inference import Covariance, positive_weights
from causalign.deconfound.two_stage import TwoStageLeastSquares
from causalign.errors import SettingsError
from causalign.logs import Logs

__all__ = ["LimitedInformation"]


@dataclass(frozen=True, slots=True)
class LimitedInformation:
    """Fit ``y = a + C b + e`` with instruments, as if all errors were normal (LIML).

    ``b = (C'(I - kappa M) C)^-1 C'(I - kappa M) y`` with M what the instruments leave unexplained
    and kappa the smallest root of ``|[y C]'M_1[y C] - kappa [y C]'M[y C]|``, M_1 what the exogenous
    columns leave unexplained: h(C) = C b. Assumption: that of `TwoStageLeastSquares` (instruments
    move the confounders and reach the outcome only through them); normal errors are *not* needed.
    With as many instruments as confounders both give the same numbers. The median of b is nearly
    right even with many or weak instruments, but b has no moments and may lie far out;
    ``fuller = 1`` takes ``kappa - 1/(n - q)`` instead, q the instruments and exogenous columns,
    which is nearly unbiased and has moments.

    ``covariance``: ``auto`` clusters standard errors when the logs declare ``cluster`` or
    ``group``; ``robust``; ``clustered``. ``exogenous`` names confounders that need no instrument.
    ``formula`` and ``instrument_formula`` as in `TwoStageLeastSquares`.
    Reference: Anderson and Rubin (1949); Fuller (1977).
    """

    covariance: Covariance = "auto"
    exogenous: tuple[str, ...] = ()
    fuller: float = 0.0
    formula: str | None = None
    instrument_formula: str | None = None

    def fit(self, logs: Logs, text_features: np.ndarray | None = None) -> ConfounderEffect:
        """Estimate h(C) from logs with ``confounders`` and ``instruments``.

        ``text_features`` is not used: the instruments stand in for it. Raises as
        `TwoStageLeastSquares`, and `SettingsError` unless ``fuller`` is a number from 0 on that
        leaves kappa positive.
        """
        del text_features
        plain = TwoStageLeastSquares(
            self.covariance, self.exogenous, "liml", self.formula, self.instrument_formula
        )
        effect = plain.fit(logs)
        if self.fuller != 0:
            kappa = self._reduced(effect.numbers["kappa"], logs)
            effect = replace(plain, kappa=kappa).fit(logs)
        return replace(effect, method="limited-information", settings=asdict(self))

    def _reduced(self, kappa: float, logs: Logs) -> float:
        """Return ``kappa - fuller / (n - q)``, q the columns of the first stage with intercept."""
        weights = positive_weights(logs)
        own = expand_confounders(logs, self.formula, weights, self.exogenous).exogenous
        Z = expand_instruments(logs, self.instrument_formula, weights, self.exogenous)
        columns = 1 + own + len(Z.names)
        reduced = kappa - self.fuller / (len(logs) - columns)
        if not (self.fuller >= 0 and reduced > 0):
            raise SettingsError(
                f"fuller must be 0 or more and less than {kappa * (len(logs) - columns):.4g} for "
                f"these logs, not {self.fuller!r}; 1 is usual."
            )
        return reduced
