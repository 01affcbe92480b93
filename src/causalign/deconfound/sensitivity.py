"""Sensitivity to unobserved confounding: how strong must it be to change an effect or a ranking?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from causalign.deconfound.inference import positive_weights
from causalign.deconfound.method import Deconfounder, read_text_features
from causalign.deconfound.robustness import Benchmark, Sensitivity
from causalign.errors import InputError, NotIdentified, RoleNotDeclared, SettingsError, nearest
from causalign.figures import draw_figures
from causalign.lm.encoder import Encoder
from causalign.logs import Logs
from causalign.logs.covariates import Covariate
from causalign.logs.roles import Roles
from causalign.results import Section
from causalign.settings import require_number
from causalign.stats.absorb import absorb
from causalign.stats.directions import ROTATED, Directions, directions, remaining
from causalign.stats.least_squares import LinearFit, ordinary
from causalign.stats.rounding import rounding_lengths
from causalign.stats.sensitivity import Coefficient, benchmark_bounds


@dataclass(frozen=True, slots=True)
class UnobservedConfounding:
    """Sensitivity of one effect to a confounder that was not observed.

    The effect b of one numeric ``confounder`` D is that of ``y = a + D b + C c + X g + e``, C the
    other confounders and X the text features. An unobserved U that explains the shares R2_d of D
    and R2_y of y, of what the others leave, moves b by ``se sqrt(dof) sqrt(R2_y R2_d / (1 -
    R2_d))`` at most. Assumption: U is independent of what is observed; standard errors are
    classical, for which the formulas hold.

    Parameters
    ----------
    confounder : str
        The numeric confounder D.
    benchmarks : tuple of str
        Which confounders say what is plausible (default: all others): U as strong as each of them,
        times ``multiples``.
    multiples : tuple of float
        How many times as strong.
    level : float
        The coverage of the intervals.

    References
    ----------
    Cinelli and Hazlett (2020); Chernozhukov et al. (2022), arXiv:2112.13398.
    """

    confounder: str
    benchmarks: tuple[str, ...] = ()
    multiples: tuple[float, ...] = (1.0, 2.0, 3.0)
    level: float = 0.95

    def __post_init__(self) -> None:
        require_number("level", self.level, above=0, below=1)
        if not isinstance(self.multiples, tuple | list):
            raise SettingsError(f"multiples must be several numbers, not {self.multiples!r}.")
        for multiple in self.multiples:
            require_number("each of multiples", multiple, above=0)

    def check_roles(self, roles: Roles) -> None:
        """Ask whether the names are those of confounders.

        Parameters
        ----------
        roles : Roles
            The roles of the logs that will be analysed.

        Raises
        ------
        RoleNotDeclared
            Without confounders.
        SettingsError
            For a name that is none of them.
        """
        names = roles.confounders
        if not names:
            raise RoleNotDeclared("Sensitivity is that of a confounder's effect.", "confounders")
        for name in (self.confounder, *self.benchmarks):
            if name not in names:
                raise SettingsError(f"{name!r} is no confounder; {nearest(name, names)}")

    def fit(
        self,
        logs: Logs,
        encoder: str | Encoder | None = None,
        *,
        text_features: ArrayLike | None = None,
    ) -> Sensitivity:
        """Compute how strong an unobserved confounder must be.

        Parameters
        ----------
        logs : Logs
            Logs with the role ``confounders``.
        encoder : str or Encoder, optional
            What turns texts into features, such as ``"minilm"``.
        text_features : (n, p) array, optional
            Features of the texts, instead of an encoder; without both, the columns of the role
            ``features``, or none.

        Returns
        -------
        Sensitivity
            The effect, the bounds, and what they mean for a reward.

        Raises
        ------
        RoleNotDeclared, SettingsError
            For names that are no confounders or multiples that are not positive.
        InputError
            When the confounder is a category.
        NotIdentified
            For redundant columns, and an outcome of which nothing is left.
        """
        logs.require("confounders")
        self.check_roles(logs.roles)
        features = _directions_of(logs, encoder, text_features)
        return self._analyse(logs, features)

    def _analyse(self, logs: Logs, features: Directions) -> Sensitivity:
        treated, others, chosen = self._columns(logs)
        weights = positive_weights(logs)
        full = _Regression.of(logs.outcome, treated, others, features, weights)
        fit = full.outcome_fit()
        if not fit.standard_errors[0] > 0:
            raise NotIdentified(
                f"Text and confounders leave nothing of {logs.roles.outcome!r} that somebody could "
                "have failed to record."
            )
        coefficient = Coefficient(
            float(fit.coefficients[0]),
            float(fit.standard_errors[0]),
            len(logs) - fit.degrees_of_freedom,
        )
        without = {
            name: _Regression.of(
                logs.outcome, treated, [c for c in others if c.name != name], features, weights
            )
            for name in chosen
        }
        benchmarks = tuple(
            Benchmark(name, multiple, *benchmark_bounds(d, y, multiple))
            for name in chosen
            for d, y in [full.gain_over(without[name])]
            for multiple in self.multiples
        )
        return Sensitivity(
            confounder=self.confounder,
            outcome=logs.roles.outcome,
            observations=len(logs),
            coefficient=coefficient,
            benchmarks=benchmarks,
            predicted=full.predict_from_text(features),
            level=self.level,
        )

    def _columns(self, logs: Logs) -> tuple[Covariate, tuple[Covariate, ...], tuple[str, ...]]:
        """Return the confounder in question, the others, and the names of the benchmarks."""
        if self.confounder in self.benchmarks:
            raise SettingsError(f"Benchmarks are other confounders than {self.confounder!r}.")
        treated = logs.covariate(self.confounder)
        if treated.is_categorical:
            raise InputError(
                f"{self.confounder!r} is a category: this analysis is of one numeric column. Make "
                "a 0/1 column of the category in question."
            )
        others = tuple(c for c in logs.confounders if c.name != self.confounder)
        return treated, others, self.benchmarks or tuple(c.name for c in others)


def add_sensitivity(
    section: Section,
    method: Deconfounder,
    logs: Logs,
    text_features: ArrayLike | None = None,
) -> Section:
    """Add sensitivity to unobserved confounding to the section of a fit.

    Assumption and reference are those of `UnobservedConfounding`. A method that is no regression
    answers another question and gets nothing, nor does a confounder that the regression cannot
    tell from the text.

    Parameters
    ----------
    section : Section
        The section of the fit.
    method : Deconfounder
        The method that was fitted.
    logs : Logs
        The logs that were fitted.
    text_features : (n, p) array, optional
        Features of the texts; without them, the columns of the role ``features``, or none.

    Returns
    -------
    Section
        With a table, a figure and a finding for each numeric confounder.
    """
    if not method.is_regression:
        return section
    numeric = [c.name for c in logs.confounders if not c.is_categorical]
    analyses = [one for name in numeric if (one := _analyse(name, logs, text_features))]
    return replace(
        section,
        tables={**section.tables, **{f"unrecorded {s.confounder}": s.table() for s in analyses}},
        figures=(
            *section.figures,
            *draw_figures(
                *(replace(s.drawing(), name=f"unrecorded-{s.confounder}") for s in analyses)
            ),
        ),
        findings=(*section.findings, *(f for s in analyses for f in s.findings)),
    )


def _analyse(name: str, logs: Logs, text_features: ArrayLike | None) -> Sensitivity | None:
    try:
        return UnobservedConfounding(name).fit(logs, text_features=text_features)
    except NotIdentified:
        # The fit itself says which columns are redundant; there is no effect to be sensitive.
        return None


def _directions_of(
    logs: Logs, encoder: str | Encoder | None, given: ArrayLike | None
) -> Directions:
    """Return the directions ``(n, r)`` of the features: what is rounding changes nothing."""
    if given is None and encoder is None and not logs.roles.features:
        return directions(np.zeros((len(logs), 0)))
    features = read_text_features(logs, encoder, given, "sensitivity")
    return directions(features.columns, features.roundoff)


@dataclass(frozen=True, slots=True, eq=False)
class _Regression:
    """Hold a regression on the confounder in question and others, categories absorbed.

    ``outcome (n,)``, ``treated (n,)`` and ``columns (n, k)``, other confounders first and then the
    text, are what the categories leave; ``turned (n, r)`` are the columns of the text before.
    """

    outcome: np.ndarray
    treated: np.ndarray
    columns: np.ndarray
    turned: np.ndarray
    rounding: np.ndarray
    names: tuple[str, ...]
    weights: np.ndarray
    spent: int

    @staticmethod
    def of(
        outcome: np.ndarray,
        treated: Covariate,
        others: Sequence[Covariate],
        features: Directions,
        weights: np.ndarray,
    ) -> "_Regression":
        """Take the categories among ``others`` out of all columns."""
        rows = len(outcome)
        codes = [np.unique(c.values, return_inverse=True)[1] for c in others if c.is_categorical]
        absorber = absorb(codes or [np.zeros(rows, dtype=np.int64)], weights)
        numbers = [c for c in others if not c.is_categorical]
        values = np.column_stack([treated.values, *(c.values for c in numbers)])
        text = remaining(features, absorber.within(features.columns))
        if text.lost.size:
            raise NotIdentified("Some of the text does not vary within the categories.")
        within = absorber.within(values)
        redundant = len(codes) - 1 if absorber.redundant is None else absorber.redundant
        return _Regression(
            absorber.within(outcome),
            within[:, 0],
            np.hstack([within[:, 1:], text.left]),
            text.columns,
            np.concatenate([rounding_lengths(values), text.rounding]),
            (treated.name, *(c.name for c in numbers), *[ROTATED] * text.left.shape[1]),
            weights,
            sum(absorber.counts) - max(redundant, 0),
        )

    def outcome_fit(self) -> LinearFit:
        """Fit the outcome on everything; the confounder in question is column 0."""
        return ordinary(
            self.outcome,
            np.column_stack([self.treated, self.columns]),
            weights=self.weights,
            kind="unadjusted",
            correction="conventional",
            absorbed=self.spent,
            rounding=self.rounding,
            names=self.names,
        )

    def gain_over(self, smaller: "_Regression") -> tuple[float, float]:
        """Return what one more confounder adds to explaining the column, then the outcome."""
        return (
            max(1 - self._unexplained() / smaller._unexplained(), 0.0),
            max(1 - self._left_of(self.outcome_fit()) / self._left_of(smaller.outcome_fit()), 0.0),
        )

    def predict_from_text(self, features: Directions) -> np.ndarray:
        """Return the confounder as the features predict it, given the other confounders."""
        if features.columns.shape[1] == 0:
            return np.asarray(self.treated - self.treated.mean())
        fit = self._fit_treated()
        predicted = self.turned @ fit.coefficients[-self.turned.shape[1] :]
        return np.asarray(predicted - predicted.mean())

    def _unexplained(self) -> float:
        """Return the weighted squares of what the others leave of the confounder in question."""
        return self._left_of(self._fit_treated())

    def _fit_treated(self) -> LinearFit:
        return ordinary(
            self.treated,
            self.columns,
            weights=self.weights,
            rounding=self.rounding[1:],
            names=self.names[1:],
        )

    def _left_of(self, fit: LinearFit) -> float:
        return float(self.weights @ np.square(fit.residuals))
