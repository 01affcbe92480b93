"""Instruments: use only that part of the confounders which something outside the text moved."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from causalign.checks.instruments import instrument_findings, strength_of_instruments
from causalign.deconfound.effect import ConfounderEffect
from causalign.deconfound.expansion import expand_confounders, expand_instruments
from causalign.deconfound.inference import (
    Covariance,
    clusters_for,
    interval_degrees_of_freedom,
    positive_weights,
)
from causalign.deconfound.overlap import categories_seen_once
from causalign.errors import NotIdentified, SettingsError, nearest
from causalign.logs import Logs
from causalign.results import Finding, Verdict
from causalign.roles import Roles
from causalign.stats.least_squares import first_stage, two_stage
from causalign.stats.partial import partial_out

__all__ = [
    "TwoStageLeastSquares",
    "instruments_assumption",
    "moved_by_instruments",
    "order_condition",
]


@dataclass(frozen=True, slots=True)
class TwoStageLeastSquares:
    """Regress the outcome on what the instruments say about the confounders.

    First stage ``C = a + Z d + v``, second stage ``y = a + C^ b + e``: h(C) = C b. Assumption: the
    instruments Z move the confounders, are independent of the text and of other causes of the
    outcome, and reach the outcome only through the confounders. Reference: arXiv:2506.00152,
    section 4.1.

    ``covariance``: ``auto`` clusters standard errors when the logs declare ``cluster`` or
    ``group``; ``robust``; ``clustered``. ``exogenous`` names confounders that need no instrument.
    ``kappa``: 1 for two-stage least squares, ``"liml"`` for limited-information maximum likelihood,
    which is less biased when instruments are many or weak. ``formula`` says what h(C) is made of,
    as in ``"spline(price, 5) + season"``, and ``instrument_formula`` the same of the instruments,
    which may be multiplied with exogenous confounders; a curve needs as many instrument columns as
    it has itself: ``"spline(cost, 6)"``.
    """

    covariance: Covariance = "auto"
    exogenous: tuple[str, ...] = ()
    kappa: float | Literal["liml"] = 1.0
    formula: str | None = None
    instrument_formula: str | None = None

    def fit(self, logs: Logs, text_features: np.ndarray | None = None) -> ConfounderEffect:
        """Estimate h(C) from logs with ``confounders`` and ``instruments``.

        ``text_features`` is not used: the instruments stand in for it. Raises `RoleNotDeclared`,
        `SettingsError`, and `NotIdentified` when there are fewer instruments than confounders that
        need one, when columns are redundant, or when the instruments do not move a confounder.
        """
        del text_features
        logs.require("confounders", "instruments")
        moved = moved_by_instruments(logs, self.exogenous)
        weights, clusters = positive_weights(logs), clusters_for(logs, self.covariance)
        h = expand_confounders(logs, self.formula, weights, self.exogenous)
        Z = expand_instruments(logs, self.instrument_formula, weights, self.exogenous)
        names = h.names[h.exogenous :]
        order = order_condition(names, Z.names)
        exogenous = np.column_stack([np.ones(len(logs)), h.columns[:, : h.exogenous]])
        columns = (h.columns[:, h.exogenous :], exogenous, Z.columns)
        fit = two_stage(
            logs.outcome,
            *columns,
            kappa=self.kappa,
            weights=weights,
            clusters=clusters,
            correction="min",
            names=("intercept", *h.names, *Z.names),
        )
        strength = first_stage(*columns, weights=weights, clusters=clusters)
        parts = partial_out(logs.outcome, *columns, weights=weights, clusters=clusters)
        linear = h.terms(fit.coefficients[1:], fit.covariance[1:, 1:])
        return ConfounderEffect(
            method="two-stage",
            names=linear.names,
            estimates=linear.estimates,
            covariance=linear.covariance,
            terms=linear.terms,
            observations=len(logs),
            outcome=logs.roles.outcome,
            assumption=instruments_assumption(logs.roles, moved),
            findings=(
                order,
                strength_of_instruments(
                    strength, names, leans_towards="ordinary least squares", remedy=self._remedy()
                ),
                *instrument_findings(parts, names),
                categories_seen_once(h.categories),
            ),
            degrees_of_freedom=interval_degrees_of_freedom(fit),
            numbers={"first_stage_f": float(strength.f.min()), "kappa": fit.kappa},
            settings=asdict(self),
        )

    def _remedy(self) -> str:
        return "use limited-information" if self.kappa == 1 else "read the set of ID203 instead"


def moved_by_instruments(
    logs: Logs, exogenous: Sequence[str], without: str = "OrdinaryLeastSquares"
) -> tuple[str, ...]:
    """Return the confounders that need an instrument: all but the ``exogenous`` ones."""
    confounders = logs.roles.confounders
    for name in exogenous:
        if name not in confounders:
            raise SettingsError(
                f"exogenous names {name!r}, which is no confounder; {nearest(name, confounders)}"
            )
    moved = tuple(name for name in confounders if name not in exogenous)
    if not moved:
        raise SettingsError(f"Every confounder is exogenous: use {without}.")
    return moved


def order_condition(confounders: Sequence[str], instruments: Sequence[str]) -> Finding:
    """Count instruments against confounders (ID202); raise when there are too few."""
    have, need = len(instruments), len(confounders)
    if have < need:
        raise NotIdentified(
            f"{have} instrument columns ({_few(instruments)}) cannot identify {need} confounder "
            f"columns ({_few(confounders)}): at least {need} are needed (ID202). Declare more "
            "instruments, merge categories, or name confounders that need no instrument in "
            "the setting `exogenous`."
        )
    return Finding(
        "ID202",
        "Enough instruments",
        Verdict.PASS,
        f"{have} instrument columns for {need} confounder columns.",
        {"instruments": have, "confounders": need},
    )


def instruments_assumption(roles: Roles, moved: Sequence[str]) -> str:
    """Say in words what must hold of the instruments of the confounders ``moved``."""
    return (
        f"{', '.join(roles.instruments)} moved the outcome only through "
        f"{', '.join(moved)} and had nothing to do with the text"
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
