"""Double machine learning with instruments: the text is taken out of y, C and Z alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

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
from causalign.deconfound.method import TextFeatures
from causalign.deconfound.nuisance import NOTHING, PartialledOutTexts
from causalign.deconfound.rare_categories import categories_seen_once
from causalign.deconfound.two_stage import (
    Kappa,
    check_instruments,
    check_kappa,
    moved_by_instruments,
    project,
)
from causalign.errors import NotIdentified
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.stats.least_squares import LinearFit, first_stage, two_stage
from causalign.stats.partial import partial_out

Blocks = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True)
class DoubleMLInstruments(PartialledOutTexts):
    """Fit ``y = C b + g(text) + e`` with instruments Z that are clean only given the text.

    With ``u, w, v`` what cross-fitted predictions from the text leave of y, C and Z, two-stage
    least squares of u on w with instruments v: ``b = (w'P w)⁻¹ w'P u``, P the projection on v (and
    on a column of ones when there are more instruments than confounders, as DoubleML does). With
    many instruments this leans towards `DoubleML`; ``kappa="liml"`` does not.
    Assumption: among texts with the same features, Z moves the confounders and reaches the outcome
    through them only. So Z may depend on the text, which two-stage least squares does not allow.
    Equal to DoubleMLPLIV of DoubleML with one confounder, the same folds and learners.

    Parameters
    ----------
    learner, folds, seed, covariance
        As in `DoubleML`.
    exogenous : tuple of str
        Confounders that need no instrument.
    kappa : float or "liml"
        Of the second stage, as in `TwoStageLeastSquares`.
    formula, instrument_formula : str, optional
        As in `TwoStageLeastSquares`.

    References
    ----------
    Chernozhukov et al. (2018), arXiv:1608.00060, section 4.2; Anderson and Rubin (1949).
    """

    name: ClassVar[str] = "double-ml-instruments"
    needs: ClassVar[tuple[str, ...]] = ("confounders", "instruments")

    covariance: Covariance = "auto"
    exogenous: tuple[str, ...] = ()
    kappa: Kappa = 1.0
    formula: str | None = None
    instrument_formula: str | None = None

    def __post_init__(self) -> None:
        PartialledOutTexts.__post_init__(self)
        check_covariance(self.covariance)
        check_kappa(self.kappa)

    def _check_columns(self, roles: Roles) -> None:
        moved_by_instruments(roles, self.exogenous, "DoubleML")

    def _estimate(self, logs: Logs, features: TextFeatures) -> ConfounderEffect:
        """Estimate h(C) from what the text leaves of confounders and instruments.

        Raises `NotIdentified` when there are fewer instruments than confounders that need one,
        when the text determines an instrument, or when columns are redundant.
        """
        weights, clusters = positive_weights(logs), clusters_for(logs, self.covariance)
        h, Z = self._expand(logs, weights)
        names = h.names[h.exogenous :]
        order = check_instruments(names, Z.names)
        blocks, left = self._residuals(logs, features.columns, h, Z)
        u, exogenous, endogenous, instruments = blocks
        strength = first_stage(
            endogenous, exogenous, instruments, weights=weights, clusters=clusters
        )
        with_ones = np.column_stack([np.ones(len(u)), exogenous])
        parts = partial_out(
            u, endogenous, with_ones, instruments, weights=weights, clusters=clusters
        )
        fit = self._second_stage(blocks, [*h.names, *Z.names], weights, clusters)
        linear = h.terms(fit.coefficients, fit.covariance, fit.repaired)
        moved = project(endogenous, exogenous, _with_ones(endogenous, instruments), weights)
        return linear_effect(
            self,
            logs,
            linear,
            fit,
            carried=rows_behind(moved, fit.bread, h.contrast, weights, clusters),
            assumption=_assumption(logs.roles, self.exogenous),
            findings=(
                strength_of_instruments(
                    strength, names, leans_towards="double-ml", is_two_stage=self.kappa == 1
                ),
                *instrument_findings(parts, names),
                order,
                categories_seen_once(h.categories),
            ),
            numbers={
                "first_stage_f": float(strength.f.min()),
                "kappa": fit.kappa,
                "text_explains_outcome": float(1 - left[0]),
                "text_explains_instruments": float(1 - left[-instruments.shape[1] :].min()),
            },
        )

    def _expand(self, logs: Logs, weights: np.ndarray) -> tuple[Expansion, Expansion]:
        """Return the columns of h and the instruments; raise when one follows from others."""
        h = expand_confounders(logs, self.formula, weights, self.exogenous)
        Z = expand_instruments(logs, self.instrument_formula, weights, self.exogenous)
        # Each column is predicted with its own penalty, which would hide that two are copies.
        h.require_independent()
        Z.require_independent()
        return h, Z

    def _residuals(
        self, logs: Logs, features: np.ndarray, h: Expansion, Z: Expansion
    ) -> tuple[Blocks, np.ndarray]:
        """Return what the text leaves of y, exogenous and endogenous confounders and instruments.

        With them ``left (m,)``, the shares of variance that remain.
        """
        own, endogenous = np.hsplit(h.columns, [h.exogenous])
        parts = (logs.outcome[:, None], own, endogenous, Z.columns)
        out = self._partial_out(logs, features, np.hstack(parts))
        for name, share in zip((*h.names, *Z.names), out.left[1:], strict=True):
            if share < NOTHING:
                raise NotIdentified(
                    f"The text features determine {name!r}: nothing of it is left to compare. "
                    "Leave out the feature that copies it, or the column."
                )
        ends = np.cumsum([part.shape[1] for part in parts])[:-1]
        u, *rest = np.hsplit(out.residuals, ends)
        return (u[:, 0], rest[0], rest[1], rest[2]), out.left

    def _second_stage(
        self,
        blocks: Blocks,
        labels: list[str],
        weights: np.ndarray,
        clusters: np.ndarray | None,
    ) -> LinearFit:
        u, exogenous, endogenous, instruments = blocks
        used = _with_ones(endogenous, instruments)
        if used.shape[1] > instruments.shape[1]:
            labels = [*labels, "intercept"]
        return two_stage(
            u,
            endogenous,
            exogenous,
            used,
            kappa=self.kappa,
            weights=weights,
            clusters=clusters,
            names=labels,
        )


def _with_ones(endogenous: np.ndarray, instruments: np.ndarray) -> np.ndarray:
    """Return the instruments, with a column of ones where there are more than confounders."""
    if instruments.shape[1] <= endogenous.shape[1]:
        return instruments
    return np.column_stack([instruments, np.ones(len(instruments))])


def _assumption(roles: Roles, exogenous: Sequence[str]) -> str:
    moved = moved_by_instruments(roles, exogenous)
    return (
        f"among texts with the same features, {', '.join(roles.instruments)} moved the "
        f"outcome only through {', '.join(moved)} and had nothing to do with its "
        "other causes"
    )
