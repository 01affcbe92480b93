"""Fit a reward for each audience: what texts do to all readers, and what they do to some."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cholesky

from causalign.errors import RoleNotDeclared, SettingsError
from causalign.logs import Logs, LogScan, Roles, read_audiences
from causalign.results import Card
from causalign.reward.audience_head import AudienceHead
from causalign.reward.estimates import LinearHeadFit
from causalign.reward.findings import no_signal
from causalign.reward.from_logs import Vectors, learning_rows
from causalign.reward.heads import LinearHead
from causalign.reward.model import RewardModel
from causalign.reward.vector_method import LinearMethod
from causalign.stats.audience_ridge import AudienceRidge, audience_ridge
from causalign.stats.folds import group_folds
from causalign.stats.support import Support, measure_support

Array = NDArray[np.float64]
Texts = Sequence[str]

_ASSUMPTION = (
    "What a text does in an audience is linear in the features, and who belongs to an audience was "
    "settled before the text was sent; it is the effect of the text only as far as the outcome was "
    "deconfounded or the texts were randomised, within every audience."
)


@dataclass(frozen=True, slots=True)
class ForAudience(LinearMethod):
    """Fit ``r(x, u) = a_u + x'c_u`` with penalties ``λ_s‖b‖² + λ_a Σ_u ‖c_u - b‖²``.

    b is what texts do to all readers, ``c_u - b`` what they do to audience u beside it: the role
    ``audience``, several columns crossed, numbers cut into thirds. λ_a decides how far audiences
    may differ, from not at all to each by itself. Both penalties have the least error in unseen
    folds. ``a_u``, what an audience does whatever the text, is not penalised, so that it never
    counts as an effect of a text.

    The model scores for the mean of the readers as they are mixed in the log;
    ``model.for_audience("new")`` scores for one audience. Both tell their errors.

    Assumption: the outcome, deconfounded, is the effect of the text in that audience plus noise
    independent of it; the audience is no consequence of the text.

    Parameters
    ----------
    penalties : sequence of floats, optional
        The λ_s to try; 33 that are scaled to the data, unless given.
    folds : int
    choose : {"minimum"}
    seed : int
        Of the cut into folds.

    Raises
    ------
    SettingsError
        For settings out of range.

    References
    ----------
    Evgeniou and Pontil (2004), KDD, for the two penalties.
    """

    choose: Literal["minimum"] = "minimum"

    name: ClassVar[str] = "for-audience"
    rules: ClassVar[tuple[str, ...]] = ("minimum",)

    def check_roles(self, roles: Roles) -> None:
        """Raise ``RoleNotDeclared`` without an audience."""
        LinearMethod.check_roles(self, roles)
        if not roles.audience:
            raise RoleNotDeclared(f"The method {self.name!r} learns for audiences.", "audience")

    def check_logs(self, logs: Logs | LogScan) -> None:
        """Raise before anything costly runs when the method cannot learn from these logs."""
        LinearMethod.check_logs(self, logs)
        if isinstance(logs, Logs):
            read_audiences(logs)

    def _check_groups(self, groups: NDArray[np.int64]) -> None:
        group_folds(groups, self.folds, self.seed)

    def _fit_logs(self, logs: Logs, vectors: Vectors) -> LinearHeadFit:
        rows, audiences = learning_rows(logs, pairs=False), read_audiences(logs)
        return self.fit_arrays(
            vectors,
            logs.outcome,
            audiences.codes,
            names=audiences.names,
            groups=rows.groups,
            weights=rows.weights,
        )

    def fit_arrays(
        self,
        features: ArrayLike,
        outcome: ArrayLike,
        audience: ArrayLike,
        *,
        names: Sequence[str] | None = None,
        groups: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> LinearHeadFit:
        """Fit on vectors of texts.

        Parameters
        ----------
        features : (n, d) array
        outcome : (n,) array
        audience : (n,) integers
            From 0 to a - 1.
        names : sequence of a str, optional
            Of the audiences; their numbers unless given.
        groups : (n,) array, optional
            Rows of one group share a fold, and their errors are not independent.
        weights : (n,) array, optional

        Raises
        ------
        InputError
            If shapes or values do not fit.
        NotIdentified
            If the features do not vary within audiences.
        """
        X = np.asarray(features, dtype=np.float64)
        fit = audience_ridge(
            X,
            outcome,
            audience,
            folds=group_folds(len(X) if groups is None else groups, self.folds, self.seed),
            penalties=self.penalties,
            weights=weights,
            groups=groups,
        )
        called = tuple(map(str, range(len(fit.shares)))) if names is None else tuple(names)
        region = measure_support(X, fit.pairs.chosen[0], weights)
        return _tell(fit, len(X), called, region)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AudienceGains(Card):
    """What n texts earn in a audiences beyond the mean outcome of each.

    Parameters
    ----------
    names : tuple of a str
        Of the audiences.
    gain, error : (n, a) arrays
        Gains and their standard errors, in units of the outcome.
    """

    names: tuple[str, ...]
    gain: Array
    error: Array

    def card_lines(self) -> list[str]:
        """Return what a card says: the mean gain in each audience."""
        means = zip(self.names, self.gain.mean(axis=0), strict=True)
        listed = ", ".join(f"{name} {mean:+.3g}" for name, mean in means)
        return [f"{len(self.gain):,} texts; mean gain by audience: {listed}"]

    @property
    def worst(self) -> Array:
        """Return the gain in the audience that gains least ``(n,)``: a score for maximin choice."""
        return np.asarray(self.gain.min(axis=1))


def audience_gains(
    model: RewardModel, completions: Texts, prompts: Texts | None = None
) -> AudienceGains:
    """Return what texts earn in each audience beyond what its readers earned in the log.

    Parameters
    ----------
    model : RewardModel
        That `ForAudience` fitted.
    completions, prompts
        As a reward model is given them.

    Raises
    ------
    SettingsError
        For a model that knows no audiences.
    """
    gains = model.assess(completions, prompts).audiences
    if not gains:
        raise SettingsError("This reward knows no audiences. Fit one with ForAudience.")
    return AudienceGains(
        tuple(gains),
        np.column_stack([one.reward for one in gains.values()]),
        np.array([one.standard_error for one in gains.values()], dtype=np.float64).T,
    )


def _tell(fit: AudienceRidge, rows: int, names: tuple[str, ...], region: Support) -> LinearHeadFit:
    """Return the fit with a head for the mean of the readers, and one for each audience."""
    unit = np.eye(len(fit.shares))
    # What all readers share is learned from all rows, so that one region is that of each audience.
    heads = [_make_head(fit, of_one, region) for of_one in unit]
    mean = _make_head(fit, fit.shares, region)
    head = AudienceHead(
        mean.coefficients,
        mean.intercept,
        mean.factor,
        mean.support,
        dict(zip(names, heads, strict=True)),
        fit.levels,
    )
    pairs, (apart, index) = fit.pairs, fit.pairs.best
    error, alike = float(pairs.error[apart, index]), float(pairs.error[-1].min())
    null = max(pairs.null_error, np.finfo(float).tiny)
    table = pa.table(
        {
            "penalty": pairs.shared,
            "cv_error": pairs.error[apart],
            "cv_standard_error": pairs.spread[apart],
            "chosen": np.arange(len(pairs.shared)) == index,
        }
    )
    shared, of_differences = pairs.chosen
    return LinearHeadFit(
        method=ForAudience.name,
        head=head,
        penalty=shared,
        path=table,
        error_name="mean squared error",
        units="units of the outcome",
        assumption=_ASSUMPTION,
        out_of_fold=fit.out_of_fold,
        numbers={
            "rows": float(rows),
            "audiences": float(len(names)),
            "features": float(len(head.coefficients)),
            "penalty": shared,
            "best_penalty": shared,
            "penalty_apart": of_differences,
            "cv_error": error,
            "cv_r2": 1 - error / null,
            "cv_r2_alike": 1 - alike / null,
        },
        findings=(
            no_signal(1 - error / null, "the share of variance within audiences explained (R²)"),
        ),
    )


def _make_head(fit: AudienceRidge, mix: Array, region: Support) -> LinearHead:
    """Return the head for a mixture ``(a,)`` of the audiences, with the factor of its errors."""
    size = fit.coefficients.shape[1]
    coefficients = mix @ fit.coefficients
    levels = fit.levels - np.einsum("ad,ad->a", fit.centres, fit.coefficients)
    # Intercept and coefficients as sums over audiences: a_u = level_u - centre_u'c_u.
    contrasts = np.stack(
        [m * np.column_stack([-c, np.eye(size)]) for m, c in zip(mix, fit.centres, strict=True)]
    )
    of_levels = np.column_stack([mix, np.zeros((len(mix), size))])
    coded = fit.contrast(contrasts, of_levels)
    covariance = coded.noise + coded.prior
    # What keeps a matrix of rank less than full from failing by rounding.
    floor = 1e-12 * float(covariance.diagonal().max())
    root = cholesky(covariance + floor * np.eye(len(covariance)), lower=True)
    # In the order of a saved file, so that a loaded head rounds alike.
    factor = np.ascontiguousarray(np.column_stack([root, coded.shrunk]), dtype=np.float32)
    return LinearHead(coefficients, float(mix @ levels), factor, region)
