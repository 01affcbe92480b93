"""Double machine learning with instruments: the text is taken out of y, C and Z alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from causalign.checks.instruments import instrument_findings, strength_of_instruments
from causalign.deconfound.effect import ConfounderEffect
from causalign.deconfound.expansion import Expansion, expand_confounders, expand_instruments
from causalign.deconfound.inference import (
    Covariance,
    clusters_for,
    interval_degrees_of_freedom,
    positive_weights,
)
from causalign.deconfound.nuisance import Nuisance, text_features_of
from causalign.deconfound.overlap import categories_seen_once
from causalign.deconfound.two_stage import moved_by_instruments, order_condition
from causalign.errors import NotIdentified
from causalign.logs import Logs
from causalign.stats.least_squares import LinearFit, first_stage, two_stage
from causalign.stats.partial import partial_out

__all__ = ["DoubleMLInstruments"]

WEAK = 10.0
NOTHING = 1e-8


@dataclass(frozen=True, slots=True)
class DoubleMLInstruments:
    """Fit ``y = C b + g(text) + e`` with instruments Z that are clean only given the text.

    With ``u, w, v`` what cross-fitted predictions from the text leave of y, C and Z, two-stage
    least squares of u on w with instruments v: ``b = (w'P w)⁻¹ w'P u``, P the projection on v (and
    on a column of ones when there are more instruments than confounders, as DoubleML does).
    Assumption: among texts with the same features, Z moves the confounders and reaches the outcome
    through them only. So Z may depend on the text, which two-stage least squares does not allow.

    ``exogenous`` names confounders that need no instrument; ``formula`` and
    ``instrument_formula`` as in `TwoStageLeastSquares`. The other settings are those of `DoubleML`.
    Equal to DoubleMLPLIV of DoubleML with one confounder, the same folds and learners.
    Reference: Chernozhukov et al. (2018), arXiv:1608.00060, section 4.2.
    """

    learner: Any = None
    folds: int = 5
    seed: int = 0
    covariance: Covariance = "auto"
    exogenous: tuple[str, ...] = ()
    formula: str | None = None
    instrument_formula: str | None = None

    def __post_init__(self) -> None:
        Nuisance(self.learner, self.folds, self.seed)

    def fit(self, logs: Logs, text_features: np.ndarray | None = None) -> ConfounderEffect:
        """Estimate h(C) with ``text_features (n, p)``, or the columns of the role ``features``.

        Raises `RoleNotDeclared`, `InputError`, `SettingsError`, and `NotIdentified` when there are
        fewer instruments than confounders that need one, when the text determines an instrument,
        or when columns are redundant.
        """
        logs.require("confounders", "instruments")
        features, _ = text_features_of(logs, text_features, "double-ml-instruments")
        moved = moved_by_instruments(logs, self.exogenous, "DoubleML")
        nuisance = Nuisance(self.learner, self.folds, self.seed)
        weights, clusters = positive_weights(logs), clusters_for(logs, self.covariance)
        h, Z = self._expanded(logs, weights)
        order = order_condition(h.names[h.exogenous :], Z.names)
        blocks, names, left = _residuals(nuisance, logs, features, h, Z)
        u, exogenous, endogenous, instruments = blocks
        strength = first_stage(
            endogenous, exogenous, instruments, weights=weights, clusters=clusters
        )
        with_ones = np.column_stack([np.ones(len(u)), exogenous])
        parts = partial_out(
            u, endogenous, with_ones, instruments, weights=weights, clusters=clusters
        )
        fit = _second_stage(blocks, names, weights, clusters)
        linear = h.terms(fit.coefficients, fit.covariance)
        return ConfounderEffect(
            method="double-ml-instruments",
            names=linear.names,
            estimates=linear.estimates,
            covariance=linear.covariance,
            terms=linear.terms,
            observations=len(logs),
            outcome=logs.roles.outcome,
            assumption=_assumption(logs, moved),
            findings=(
                strength_of_instruments(
                    strength, names[1], leans_towards="double-ml", remedy="read the set of ID203"
                ),
                *instrument_findings(parts, names[1]),
                order,
                categories_seen_once(h.categories),
            ),
            degrees_of_freedom=interval_degrees_of_freedom(fit),
            numbers={
                "first_stage_f": float(strength.f.min()),
                "text_explains_outcome": float(1 - left[0]),
                "text_explains_instruments": float(1 - left[-instruments.shape[1] :].min()),
            },
            settings=self._settings(nuisance),
        )

    def _settings(self, nuisance: Nuisance) -> dict[str, Any]:
        return {
            **nuisance.settings(),
            "covariance": self.covariance,
            "exogenous": self.exogenous,
            "formula": self.formula,
            "instrument_formula": self.instrument_formula,
        }

    def _expanded(self, logs: Logs, weights: np.ndarray) -> tuple[Expansion, Expansion]:
        """Return the columns of h and the instruments; raise when one follows from others."""
        h = expand_confounders(logs, self.formula, weights, self.exogenous)
        Z = expand_instruments(logs, self.instrument_formula, weights, self.exogenous)
        # Each column is predicted with its own penalty, which would hide that two are copies.
        h.require_independent()
        Z.require_independent()
        return h, Z


Blocks = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Names = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


def _residuals(
    nuisance: Nuisance,
    logs: Logs,
    features: np.ndarray,
    h: Expansion,
    Z: Expansion,
) -> tuple[Blocks, Names, np.ndarray]:
    """Return what the text leaves of y, exogenous and endogenous confounders and instruments.

    The names are those of the last three; ``left (m,)`` the shares of variance that remain.
    """
    own_names, names = h.names[: h.exogenous], h.names[h.exogenous :]
    own, endogenous = np.hsplit(h.columns, [h.exogenous])
    parts = (logs.outcome[:, None], own, endogenous, Z.columns)
    out = nuisance.partial_out(logs, features, np.hstack(parts))
    for name, share in zip((*h.names, *Z.names), out.left[1:], strict=True):
        if share < NOTHING:
            raise NotIdentified(
                f"The text features determine {name!r}: nothing of it is left to compare. Leave "
                "out the feature that copies it, or the column."
            )
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]
    u, *rest = np.hsplit(out.residuals, ends)
    blocks = (u[:, 0], rest[0], rest[1], rest[2])
    return blocks, (own_names, names, Z.names), out.left


def _second_stage(
    blocks: Blocks, names: Names, weights: np.ndarray, clusters: np.ndarray | None
) -> LinearFit:
    u, exogenous, endogenous, instruments = blocks
    labels = [*names[0], *names[1], *names[2]]
    if instruments.shape[1] > endogenous.shape[1]:
        instruments = np.column_stack([instruments, np.ones(len(u))])
        labels.append("intercept")
    return two_stage(
        u, endogenous, exogenous, instruments, weights=weights, clusters=clusters, names=labels
    )


def _assumption(logs: Logs, moved: Sequence[str]) -> str:
    return (
        f"among texts with the same features, {', '.join(logs.roles.instruments)} moved the "
        f"outcome only through {', '.join(moved)} and had nothing to do with its "
        "other causes"
    )
