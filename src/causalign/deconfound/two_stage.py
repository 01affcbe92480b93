"""Instruments: use only that part of the confounders which something outside the text moved."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from causalign.checks.check import Check
from causalign.checks.instruments import instrument_findings, strength_of_instruments
from causalign.deconfound.effect import ConfounderEffect, linear_effect
from causalign.deconfound.expansion import Expansion, expand_confounders, expand_instruments
from causalign.deconfound.inference import (
    Covariance,
    check_covariance,
    clusters_for,
    positive_weights,
    rows_behind,
)
from causalign.deconfound.method import BlockPlan, FittedOnLogs, refuse_formulas
from causalign.deconfound.rare_categories import categories_seen_once
from causalign.deconfound.streamed import fit_scan
from causalign.errors import NotIdentified, SettingsError, nearest
from causalign.lm.encoder import Encoder
from causalign.logs import Logs, LogScan
from causalign.logs.roles import Roles
from causalign.results import Finding
from causalign.settings import require_number
from causalign.stats.factor import residualise
from causalign.stats.least_squares import LinearFit, first_stage, two_stage
from causalign.stats.partial import partial_out

Kappa = float | Literal["liml"]


@dataclass(frozen=True, slots=True, eq=False)
class KClassDesign:
    """Hold what every estimator of the k-class regresses: confounders h, instruments Z, rows.

    ``columns`` are endogenous columns, exogenous ones with the intercept, and instruments;
    ``rounding`` is the length of each that may be rounding, exogenous first.
    """

    logs: Logs
    h: Expansion
    Z: Expansion
    columns: tuple[np.ndarray, np.ndarray, np.ndarray]
    rounding: np.ndarray
    weights: np.ndarray
    clusters: np.ndarray | None

    def fit(self, kappa: Kappa) -> LinearFit:
        """Return the fit with this kappa."""
        return two_stage(
            self.logs.outcome,
            *self.columns,
            kappa=kappa,
            weights=self.weights,
            clusters=self.clusters,
            correction="min",
            rounding=self.rounding,
            names=("intercept", *self.h.names, *self.Z.names),
        )


def _design(
    logs: Logs, h: Expansion, Z: Expansion, weights: np.ndarray, clusters: np.ndarray | None
) -> KClassDesign:
    confounders, instruments = h.columns, Z.columns
    own, moved = np.hsplit(confounders, [h.exogenous])
    columns = moved, np.column_stack([np.ones(len(logs)), own]), instruments
    rounding = np.concatenate(
        [[0.0], h.rounding_of(h.parts, confounders), Z.rounding_of(Z.parts, instruments)]
    )
    return KClassDesign(logs, h, Z, columns, rounding, weights, clusters)


@dataclass(frozen=True, slots=True)
class KClass(FittedOnLogs[ConfounderEffect]):
    """Fit ``y = a + C b + e`` with instruments; a class says with which kappa."""

    reads_scans: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("confounders", "instruments")

    covariance: Covariance = "auto"
    exogenous: tuple[str, ...] = ()
    formula: str | None = None
    instrument_formula: str | None = None

    def __post_init__(self) -> None:
        check_covariance(self.covariance)

    def _check_columns(self, roles: Roles) -> None:
        moved_by_instruments(roles, self.exogenous)

    @abstractmethod
    def _fit(self, design: KClassDesign) -> LinearFit:
        """Return the fit of the columns."""

    def _estimate(self, logs: Logs, *_: object) -> ConfounderEffect:
        """Estimate h(C); the instruments stand in for the text.

        Raises `NotIdentified` when there are fewer instruments than confounders that need one,
        when columns are redundant, or when the instruments do not move a confounder.
        """
        w, clusters = positive_weights(logs), clusters_for(logs, self.covariance)
        h = expand_confounders(logs, self.formula, w, self.exogenous)
        Z = expand_instruments(logs, self.instrument_formula, w, self.exogenous)
        names = h.names[h.exogenous :]
        order = check_instruments(names, Z.names)
        design = _design(logs, h, Z, w, clusters)
        fit, columns = self._fit(design), design.columns
        strength = first_stage(*columns, weights=w, clusters=clusters)
        parts = partial_out(logs.outcome, *columns, weights=w, clusters=clusters)
        linear = h.terms(fit.coefficients[1:], fit.covariance[1:, 1:], fit.repaired[1:])
        return linear_effect(
            self,
            logs,
            linear,
            fit,
            carried=rows_behind(project(*columns, w), fit.bread[1:], h.contrast, w, clusters),
            assumption=instruments_assumption(
                logs.roles, moved_by_instruments(logs.roles, self.exogenous)
            ),
            findings=(
                order,
                strength_of_instruments(
                    strength,
                    names,
                    leans_towards="ordinary least squares",
                    is_two_stage=fit.kappa == 1,
                ),
                *instrument_findings(parts, names),
                categories_seen_once(h.categories),
            ),
            numbers={"first_stage_f": float(strength.f.min()), "kappa": fit.kappa},
        )


@dataclass(frozen=True, slots=True)
class TwoStageLeastSquares(KClass):
    """Regress the outcome on what the instruments say about the confounders.

    First stage ``C = a + Z d + v``, second stage ``y = a + C^ b + e``: h(C) = C b. Assumption: the
    instruments Z move the confounders, are independent of the text and of other causes of the
    outcome, and reach the outcome only through the confounders.

    Parameters
    ----------
    covariance : {"auto", "robust", "clustered"}
        ``auto`` clusters standard errors when the logs declare ``cluster`` or ``group``.
    exogenous : tuple of str
        Confounders that need no instrument.
    kappa : float or "liml"
        1 for two-stage least squares; ``"liml"`` for maximum likelihood with limited information,
        which is less biased when instruments are many or weak.
    formula : str, optional
        What h(C) is made of, as in ``"spline(price, 5) + season"``.
    instrument_formula : str, optional
        The same of the instruments, which may be multiplied with exogenous confounders; a curve
        needs as many instrument columns as it has itself: ``"spline(cost, 6)"``.

    References
    ----------
    arXiv:2506.00152, section 4.1.
    """

    name: ClassVar[str] = "two-stage"

    kappa: Kappa = 1.0

    def __post_init__(self) -> None:
        KClass.__post_init__(self)
        check_kappa(self.kappa)

    def _fit(self, design: KClassDesign) -> LinearFit:
        return design.fit(self.kappa)

    def _estimate_scan(self, scan: LogScan, encoder: str | Encoder | None) -> ConfounderEffect:
        """Fit batch by batch; raise `SettingsError` for what needs all rows at once."""
        refuse_formulas(self.formula, self.instrument_formula)
        return fit_scan(self, plan_instruments(self, scan.roles, self.kappa), scan, encoder)


def check_kappa(kappa: Kappa) -> None:
    """Raise `SettingsError` unless kappa is "liml" or a number from 0 on."""
    if kappa != "liml":
        require_number("kappa", kappa, least=0, why="or 'liml'")


def project(
    endogenous: np.ndarray, exogenous: np.ndarray, instruments: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the exogenous columns, and the endogenous ones as the first stage predicts them."""
    root = np.sqrt(weights)[:, None]
    first = np.hstack([exogenous, instruments]) * root
    left = residualise(endogenous * root, first) / root
    return np.hstack([exogenous, endogenous - left])


def moved_by_instruments(
    roles: Roles, exogenous: Sequence[str], without: str = "OrdinaryLeastSquares"
) -> tuple[str, ...]:
    """Return the confounders that need an instrument: all but the ``exogenous`` ones."""
    confounders = roles.confounders
    for name in exogenous:
        if name not in confounders:
            raise SettingsError(
                f"exogenous names {name!r}, which is no confounder; {nearest(name, confounders)}"
            )
    moved = tuple(name for name in confounders if name not in exogenous)
    if not moved:
        raise SettingsError(f"Every confounder is exogenous: use {without}.")
    return moved


def plan_instruments(method: KClass, roles: Roles, kappa: float | Literal["liml"]) -> BlockPlan:
    """Return how a method of the k-class is fitted on batches of rows."""
    moved = moved_by_instruments(roles, method.exogenous)
    assumption = instruments_assumption(roles, moved)
    return BlockPlan(assumption, method.exogenous, moved, roles.instruments, kappa=kappa)


def check_instruments(confounders: Sequence[str], instruments: Sequence[str]) -> Finding:
    """Count instruments against confounders (ID202); raise when there are too few."""
    have, need = len(instruments), len(confounders)
    if have < need:
        raise NotIdentified(
            f"{have} instrument columns ({_few(instruments)}) cannot identify {need} confounder "
            f"columns ({_few(confounders)}): at least {need} are needed (ID202). Declare more "
            "instruments, merge categories, or name confounders that need no instrument in "
            "the setting `exogenous`."
        )
    check = Check("ID202", "Enough instruments", instruments=have, confounders=need)
    return check.passes(f"{have} instrument columns for {need} confounder columns.")


def instruments_assumption(roles: Roles, moved: Sequence[str]) -> str:
    """Say in words what must hold of the instruments of the confounders ``moved``."""
    return (
        f"{', '.join(roles.instruments)} moved the outcome only through "
        f"{', '.join(moved)} and had nothing to do with the text"
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
