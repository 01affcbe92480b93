"""Regress on text and confounders together: what the text explains is not given to C."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from causalign.checks.check import Check
from causalign.deconfound.effect import ConfounderEffect, linear_effect
from causalign.deconfound.expansion import expand_confounders
from causalign.deconfound.inference import Covariance, check_covariance, positive_weights
from causalign.deconfound.levels import (
    AbsorbedDesign,
    absorb_categories,
    absorbed_terms,
    rows_behind_levels,
)
from causalign.deconfound.method import BlockPlan, FittedOnLogs, TextFeatures, refuse_formulas
from causalign.deconfound.rare_categories import categories_seen_once
from causalign.deconfound.streamed import fit_scan
from causalign.errors import InputError, NotIdentified, SettingsError
from causalign.lm.encoder import Encoder
from causalign.logs import Logs, LogScan
from causalign.results import Finding
from causalign.settings import require_choice, require_number
from causalign.stats.absorb import Absorber
from causalign.stats.directions import ROTATED, directions, remaining
from causalign.stats.least_squares import LinearFit
from causalign.stats.rounding import MARGIN, SINGLE

ASSUMPTION = (
    "the text features hold all that the text does to the outcome, text and confounders do not "
    "interact, and no confounder is missing"
)
CROWDED = 0.2


@dataclass(frozen=True, slots=True)
class Additive(FittedOnLogs[ConfounderEffect]):
    """Fit ``y = X g + C b + a_c + e``: text features X, numeric C, categories c absorbed.

    Assumption: the effect of the text lies in the span of the features, text and confounders do
    not interact, and no confounder is missing. Without penalty equal to `pyfixest.feols`, small
    sample factors included: (n - 1)/(n - k) G/(G - 1), k counting absorbed categories unless they
    are nested in the clusters. Rows that are the only one of a category are left out of the fit.

    Parameters
    ----------
    covariance : {"auto", "robust", "clustered"}
        ``auto`` clusters standard errors when the logs declare ``cluster`` or ``group``.
    penalty : float, optional
        A ridge penalty on the text coefficients alone, in units of the mean squared error for a
        feature of unit variance: ``mean (y - ...)^2 + penalty * sum_j (s_j g_j)^2``. It calms many
        features on few rows at a price: the part of the text's effect that it shrinks away is
        given to confounders that travel with the text.
    shrink : bool
        Pull the effects of categories towards their mean by empirical Bayes,
        ``d_l t^2/(t^2 + s^2/n_l)`` with the variance t^2 of the effects by moments, which predicts
        better when categories are many and small; their standard errors stay those before
        shrinking, which is cautious on average over the categories.
    formula : str, optional
        What h(C) is made of, as in ``"spline(price, 5) + season * region"``: combinations of
        categories are absorbed too.
    """

    name: ClassVar[str] = "additive"
    reads_text: ClassVar[bool] = True
    is_regression: ClassVar[bool] = True
    reads_scans: ClassVar[bool] = True

    covariance: Covariance = "auto"
    penalty: float | None = None
    shrink: bool = False
    formula: str | None = None

    def __post_init__(self) -> None:
        check_covariance(self.covariance)
        if self.penalty is not None:
            require_number("penalty", self.penalty, least=0)
        require_choice("shrink", self.shrink, (True, False))

    def _estimate(self, logs: Logs, features: TextFeatures) -> ConfounderEffect:
        """Estimate h(C) beside the text features.

        Features that the other features determine are left out, which changes nothing about h.
        Raises `NotIdentified`, naming the column, when a confounder cannot be told from the text or
        from the other confounders.
        """
        weights = positive_weights(logs)
        h = expand_confounders(logs, self.formula, weights)
        design = absorb_categories(logs, h, weights, self.covariance)
        text = self._text(design, features)
        penalty = self._penalise(design, text.left)
        fit = design.fit(text.left, text.rounding, text.names, penalty)
        X = np.hstack([text.columns, design.columns])
        linear = absorbed_terms(design, X, fit, shrink=self.shrink)
        used, features_given = text.columns.shape[1], features.columns.shape[1]
        return linear_effect(
            self,
            logs,
            linear,
            fit,
            carried=rows_behind_levels(design, X, fit),
            assumption=ASSUMPTION,
            findings=(
                categories_seen_once(linear.categories),
                _check_connected(design),
                _check_crowded(fit, used, self.penalty),
            ),
            numbers={
                "text_features": float(used),
                "redundant_text_features": float(features_given - used),
                "rows_alone_in_a_category": float((~design.used).sum()),
            },
        )

    def _estimate_scan(self, scan: LogScan, encoder: str | Encoder | None) -> ConfounderEffect:
        """Fit batch by batch; raise `SettingsError` for what needs all rows at once."""
        refuse_formulas(self.formula)
        if self.penalty is not None or self.shrink:
            raise SettingsError("Additive(penalty=..., shrink=...) needs all rows at once.")
        own = scan.roles.confounders
        plan = BlockPlan(ASSUMPTION, own, beside_features=True, leaves_out_single_rows=True)
        return fit_scan(self, plan, scan, encoder)

    def _text(self, design: AbsorbedDesign, features: TextFeatures) -> "_Text":
        """Return the directions of the text beside the categories; with a penalty, all features.

        A direction that varies between categories only belongs to the categories as much as to the
        text: that raises, and dropping it would give its effect to C.
        """
        absorber, given = design.absorber, features.columns[design.used]
        if self.penalty:
            return _all_features(given, features, absorber)
        varying = directions(given, features.roundoff)
        if not varying.columns.shape[1]:
            raise InputError("Every text feature is constant: texts cannot be told apart by them.")
        levels = sum(absorber.counts) - len(absorber.counts) + 1
        if varying.columns.shape[1] + levels + design.columns.shape[1] >= len(given):
            raise _saturated(varying.columns.shape[1], levels, design)
        inside = remaining(varying, absorber.within(varying.columns))
        if inside.lost.size:
            raise _not_separable([features.names[int(i)] for i in inside.lost])
        named = varying.names(features.names)
        if inside.rotated:
            named = (ROTATED,) * inside.columns.shape[1]
        return _Text(inside.columns, inside.left, inside.rounding, named)

    def _penalise(self, design: AbsorbedDesign, left: np.ndarray) -> np.ndarray | None:
        """Return the ridge penalty ``(p + k,)`` of each column, or None."""
        if not self.penalty:
            return None
        spread = np.average(left**2, axis=0, weights=design.absorber.weights)
        text = len(left) * self.penalty * spread
        return np.concatenate([text, np.zeros(design.columns.shape[1])])


@dataclass(frozen=True, slots=True, eq=False)
class _Text:
    """Hold columns of the text ``(m, p)``, what categories leave of them, and their rounding."""

    columns: np.ndarray
    left: np.ndarray
    rounding: np.ndarray
    names: tuple[str, ...]


def _all_features(given: np.ndarray, features: TextFeatures, absorber: Absorber) -> _Text:
    """Return the features that vary, each of which must vary within categories too."""
    centred, left = given - given.mean(axis=0), absorber.within(given)
    length = np.linalg.norm(centred, axis=0)
    lost = np.maximum(SINGLE * length, features.roundoff * np.linalg.norm(given, axis=0)) * MARGIN
    varies, stays = length > lost, np.linalg.norm(left, axis=0) > lost
    if not varies.any():
        raise InputError("Every text feature is constant: texts cannot be told apart by them.")
    if (varies & ~stays).any():
        raise _not_separable([features.names[int(i)] for i in np.flatnonzero(varies & ~stays)])
    names = tuple(name for name, use in zip(features.names, varies, strict=True) if use)
    # Under a penalty no direction is divided by its rounding.
    return _Text(given[:, varies], left[:, varies], np.zeros(len(names)), names)


def _saturated(text: int, levels: int, design: AbsorbedDesign) -> NotIdentified:
    """Say that as many coefficients as rows fit every outcome, whatever it is."""
    rest = design.columns.shape[1]
    return NotIdentified(
        f"{len(design.y):,} rows for {text + rest:,} coefficients ({text:,} independent directions "
        f"of the text, {rest:,} of confounders) beside {levels:,} of categories fit every outcome "
        "exactly: nothing tells the effects apart. Use fewer text features, a penalty, more rows, "
        "or double-ml, which predicts each row from the others."
    )


def _not_separable(names: Sequence[str]) -> NotIdentified:
    return NotIdentified(
        f"Text feature {names[0]!r} (of {len(names)} such) does not vary within the categories of "
        "the confounders once the other features are known, so that what the text did cannot be "
        "told from what the categories did. Use coarser categories, fewer features or more rows."
    )


def _check_connected(design: AbsorbedDesign) -> Finding:
    """Check that the effects of several categorical confounders can be told apart (DE102)."""
    title, categories = "Categories are connected", design.absorbed
    redundant = design.absorber.redundant
    if len(categories) < 2 or redundant is None:
        return Check("DE102", title).does_not_apply(
            "There are fewer than two categorical confounders, or too many categories."
        )
    surplus = max(redundant - (len(categories) - 1), 0)
    check = Check("DE102", title, surplus=float(surplus))
    if not surplus:
        return check.passes("Every category can be compared with every other of its column.")
    names = ", ".join(c.label for c in categories)
    return check.warns(
        f"The categories of {names} fall apart into groups that share no row: {surplus} of their "
        "effects follow from the others. What is subtracted from these logs is right, but how it "
        "is split between the columns is arbitrary. Leave one column out, or merge categories."
    )


def _check_crowded(fit: LinearFit, text: int, penalty: float | None) -> Finding:
    """Compare the number of coefficients with the number of rows (DE103)."""
    share = fit.degrees_of_freedom / len(fit.residuals)
    check = Check(
        "DE103",
        "Coefficients for the rows",
        share=share,
        text_features=float(text),
        rows=float(len(fit.residuals)),
    )
    counts = f"{fit.degrees_of_freedom:.0f} degrees of freedom for {len(fit.residuals)} rows"
    if share <= CROWDED:
        return check.passes(f"{counts}.")
    advice = "Use fewer text features" if penalty else "Use fewer text features, or a penalty"
    return check.warns(
        f"{counts}: more than {CROWDED:.0%}. Estimates are noisy and robust standard errors too "
        f"small. {advice}, or more rows."
    )
