"""Limited-information maximum likelihood: instruments that are many or weak mislead it less."""

from dataclasses import dataclass
from typing import ClassVar

from causalign.deconfound.effect import ConfounderEffect
from causalign.deconfound.method import refuse_formulas
from causalign.deconfound.streamed import fit_scan
from causalign.deconfound.two_stage import KClass, KClassDesign, plan_instruments
from causalign.errors import SettingsError
from causalign.lm.encoder import Encoder
from causalign.logs import LogScan
from causalign.settings import require_number
from causalign.stats.least_squares import LinearFit


@dataclass(frozen=True, slots=True)
class LimitedInformation(KClass):
    """Fit ``y = a + C b + e`` with instruments, as if all errors were normal (LIML).

    ``b = (C'(I - kappa M) C)^-1 C'(I - kappa M) y`` with M what the instruments leave unexplained
    and kappa the smallest root of ``|[y C]'M_1[y C] - kappa [y C]'M[y C]|``, M_1 what the exogenous
    columns leave unexplained: h(C) = C b. Assumption: that of `TwoStageLeastSquares` (instruments
    move the confounders and reach the outcome only through them); normal errors are *not* needed.
    With as many instruments as confounders both give the same numbers. The median of b is nearly
    right even with many or weak instruments, but b has no moments and may lie far out.

    Parameters
    ----------
    covariance : {"auto", "robust", "clustered"}
        ``auto`` clusters standard errors when the logs declare ``cluster`` or ``group``.
    exogenous : tuple of str
        Confounders that need no instrument.
    fuller : float
        1 takes ``kappa - 1/(n - q)`` instead, q the instruments and exogenous columns, which is
        nearly unbiased and has moments.
    formula, instrument_formula : str, optional
        As in `TwoStageLeastSquares`.

    References
    ----------
    Anderson and Rubin (1949); Fuller (1977).
    """

    name: ClassVar[str] = "limited-information"

    fuller: float = 0.0

    def __post_init__(self) -> None:
        KClass.__post_init__(self)
        require_number("fuller", self.fuller, least=0)

    def _fit(self, design: KClassDesign) -> LinearFit:
        """Raise `SettingsError` unless ``fuller`` leaves kappa positive."""
        fit = design.fit("liml")
        return design.fit(self._reduce(fit.kappa, design)) if self.fuller else fit

    def _estimate_scan(self, scan: LogScan, encoder: str | Encoder | None) -> ConfounderEffect:
        """Fit batch by batch; raise `SettingsError` for what needs all rows at once."""
        refuse_formulas(self.formula, self.instrument_formula)
        if self.fuller:
            raise SettingsError("LimitedInformation(fuller=...) needs all rows at once.")
        return fit_scan(self, plan_instruments(self, scan.roles, "liml"), scan, encoder)

    def _reduce(self, kappa: float, design: KClassDesign) -> float:
        """Return ``kappa - fuller / (n - q)``, q the columns of the first stage with intercept."""
        freedom = len(design.logs) - 1 - design.h.exogenous - len(design.Z.names)
        reduced = kappa - self.fuller / freedom
        if not reduced > 0:
            raise SettingsError(
                f"fuller must be less than {kappa * freedom:.4g} for "
                f"these logs, not {self.fuller!r}; 1 is usual."
            )
        return reduced
