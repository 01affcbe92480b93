"""Regress on text and confounders together: what the text explains is not given to C."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from causalign.checks.check import Check
from causalign.deconfound.effect import ConfounderEffect, linear_effect
from causalign.deconfound.expansion import expand_confounders
from causalign.deconfound.inference import (
    Covariance,
    check_covariance,
    clusters_for,
    positive_weights,
)
from causalign.deconfound.levels import Absorbed, absorbed_terms, rows_behind_levels
from causalign.deconfound.method import BlockPlan, FittedOnLogs, TextFeatures, refuse_formulas
from causalign.deconfound.rare_categories import categories_seen_once
from causalign.errors import InputError, NotIdentified, SettingsError
from causalign.logs import Logs
from causalign.logs.covariates import Covariate
from causalign.results import Finding
from causalign.settings import require_choice, require_number
from causalign.stats.absorb import Absorber, absorb, degrees_of_freedom, singletons
from causalign.stats.factor import COLLINEAR, independent_columns
from causalign.stats.least_squares import LinearFit, ordinary

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
        text, feature_names = features.columns, features.names
        weights = positive_weights(logs)
        h = expand_confounders(logs, self.formula, weights)
        categories = [c.covariate() for part in h.parts if (c := part.category) is not None]
        # Without categories, one category of all rows is absorbed: the intercept.
        codes = [c.values for c in categories] or [np.zeros(len(logs), dtype=np.int64)]
        used_rows = _rows_with_company(codes)
        levels, compact = zip(
            *(np.unique(code[used_rows], return_inverse=True) for code in codes), strict=True
        )
        absorber = absorb(compact, weights[used_rows])
        columns, names = h.without_categories()
        clusters = clusters_for(logs.take(used_rows, "not alone in a category"), self.covariance)
        used = self._usable(absorber, text[used_rows], feature_names)
        X = np.column_stack([text[used_rows][:, used], columns[used_rows]])
        y, all_names = logs.outcome[used_rows], (*(feature_names[i] for i in used), *names)
        fit = self._regress(y, X, absorber, clusters, len(used), all_names)
        absorbed = Absorbed(levels, absorber, X, y, fit, clusters, self.shrink)
        linear = absorbed_terms(absorbed, h)
        return linear_effect(
            self,
            logs,
            linear,
            fit,
            carried=rows_behind_levels(absorbed, linear.contrast),
            assumption=ASSUMPTION,
            findings=(
                categories_seen_once(h.categories),
                _check_connected(categories, absorber),
                _check_crowded(fit, len(used), self.penalty),
            ),
            numbers={
                "text_features": float(len(used)),
                "redundant_text_features": float(text.shape[1] - len(used)),
                "rows_alone_in_a_category": float((~used_rows).sum()),
            },
        )

    def plan_blocks(self) -> BlockPlan:
        """Return how to fit block by block; raise `SettingsError` for what needs all rows."""
        refuse_formulas(self.formula)
        if self.penalty is not None or self.shrink:
            raise SettingsError("Additive(penalty=..., shrink=...) needs all rows at once.")
        return BlockPlan(ASSUMPTION, beside_features=True)

    def _usable(self, absorber: Absorber, features: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Return the positions of features that vary and, without penalty, are not redundant.

        A direction of the features that varies between categories only belongs to the categories
        as much as to the text: that raises, and dropping it would give its effect to C.
        """
        centred, within = features - features.mean(axis=0), absorber.within(features)
        varies = _length(centred) > COLLINEAR * _length(features)
        stays = _length(within) > COLLINEAR * _length(features)
        if not varies.any():
            raise InputError("Every text feature is constant: texts cannot be told apart by them.")
        if (varies & ~stays).any():
            raise _not_separable([names[int(i)] for i in np.flatnonzero(varies & ~stays)])
        usable = np.flatnonzero(varies)
        if self.penalty:
            return usable
        before = usable[independent_columns(centred[:, usable])]
        after = usable[independent_columns(within[:, usable])]
        if len(after) < len(before):
            raise _not_separable([names[int(i)] for i in before if i not in set(after.tolist())])
        return after

    def _regress(
        self,
        y: np.ndarray,
        X: np.ndarray,
        absorber: Absorber,
        clusters: np.ndarray | None,
        text: int,
        names: Sequence[str],
    ) -> LinearFit:
        within = absorber.within(X)
        gone = _length(within) <= COLLINEAR * _length(X)
        if gone.any():
            raise NotIdentified(
                f"Confounder {names[int(np.argmax(gone))]!r} does not vary within the categories "
                "of the other confounders, so that its effect cannot be told from theirs. Leave "
                "one of them out."
            )
        penalty = None
        if self.penalty:
            spread = np.average(within[:, :text] ** 2, axis=0, weights=absorber.weights)
            penalty = np.zeros(X.shape[1])
            penalty[:text] = len(y) * self.penalty * spread
        return ordinary(
            absorber.within(y),
            within,
            weights=absorber.weights,
            clusters=clusters,
            correction="min",
            absorbed=degrees_of_freedom(absorber.codes, clusters),
            penalty=penalty,
            names=names,
        )


def _length(columns: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(columns, axis=0))


def _not_separable(names: Sequence[str]) -> NotIdentified:
    return NotIdentified(
        f"Text feature {names[0]!r} (of {len(names)} such) does not vary within the categories of "
        "the confounders once the other features are known, so that what the text did cannot be "
        "told from what the categories did. Use coarser categories, fewer features or more rows."
    )


def _rows_with_company(codes: Sequence[np.ndarray]) -> np.ndarray:
    """Return the rows ``(n,)`` that share each of their categories with another row."""
    shared = ~singletons(codes)
    if not shared.any():
        raise NotIdentified("Every row is alone in some category. Use coarser confounders.")
    return shared


def _check_connected(categories: Sequence[Covariate], absorber: Absorber) -> Finding:
    """Check that the effects of several categorical confounders can be told apart (DE102)."""
    title = "Categories are connected"
    if len(categories) < 2 or absorber.redundant is None:
        return Check("DE102", title).does_not_apply(
            "There are fewer than two categorical confounders, or too many categories."
        )
    surplus = max(absorber.redundant - (len(categories) - 1), 0)
    check = Check("DE102", title, surplus=float(surplus))
    if not surplus:
        return check.passes("Every category can be compared with every other of its column.")
    names = ", ".join(c.name for c in categories)
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
