"""A reward as a regressor of scikit-learn, for its pipelines, cross-validation and searches."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from causalign.errors import InputError, SettingsError, nearest
from causalign.lm.encoder import Encoder
from causalign.logs import Logs, Roles
from causalign.reward.model import RewardMethod
from causalign.reward.ridge import Ridge

DEFAULT_METHOD = Ridge()


class RewardRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Learn from texts and outcomes as an estimator of scikit-learn; numbers as by ``method.fit``.

    It takes what it is given as the effect of the texts: ``y`` is the outcome of logs that were
    deconfounded. Settings of the method are parameters too, such as ``method__choose``.

    Parameters
    ----------
    method : RewardMethod
        One that learns from outcomes and needs no further role.
    encoder : str or Encoder, optional
        What turns texts into vectors; without one the default of `causalign.lm.load_encoder`.

    Attributes
    ----------
    reward_ : RewardFit
        What ``method.fit`` returned; its ``model`` can be saved.

    Examples
    --------
    >>> from sklearn.model_selection import cross_val_score
    >>> cross_val_score(RewardRegressor(encoder="tfidf"), logs.completions, logs.outcome)
    """

    def __init__(
        self, method: RewardMethod = DEFAULT_METHOD, encoder: str | Encoder | None = None
    ) -> None:
        self.method = method
        self.encoder = encoder

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit the method.

        Parameters
        ----------
        X : n strings
            A sequence, a column of a frame, or a frame of one column.
        y : (n,) array
            What happened after each text.
        sample_weight : (n,) array, optional
            How much a row counts: the role ``weight``.
        groups : (n,) array, optional
            What folds within the fit keep together: the role ``cluster``.

        Raises
        ------
        InputError
            For texts, numbers or lengths that cannot be used.
        SettingsError
            If the method compares texts, so that it predicts no outcome.
        RoleNotDeclared
            If the method needs more than texts and outcomes.
        """
        if self.method.compares:
            raise SettingsError(
                f"The method {self.method.name!r} compares texts and predicts no outcome. Use "
                "causalign.reward with logs that name a group."
            )
        extra = {"weight": sample_weight, "cluster": groups}
        given = {role: np.asarray(values) for role, values in extra.items() if values is not None}
        columns = {"completion": _read_texts(X), "outcome": np.asarray(y), **given}
        roles = Roles(
            completion="completion",
            outcome="outcome",
            weight="weight" if "weight" in given else None,
            cluster="cluster" if "cluster" in given else None,
        )
        self.reward_ = self.method.fit(Logs.of(columns, roles), self.encoder)
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the expected outcome ``(n,)`` of each text, given as to :meth:`fit`."""
        check_is_fitted(self)
        return self.reward_.model.expected_outcome(_read_texts(X))

    def get_params(self, deep: bool = True) -> dict[str, object]:
        """Return the parameters; unless ``deep`` is False, also the settings of the method."""
        own: dict[str, object] = super().get_params(deep=False)
        if not deep:
            return own
        return own | {f"method__{n}": getattr(self.method, n) for n in _settings(self.method)}

    def set_params(self, **params: object) -> Self:
        """Set parameters, and settings of the method by names such as ``method__choose``.

        Raises
        ------
        SettingsError
            For a setting that the method does not have, or a value out of range.
        """
        settings = {n.removeprefix("method__"): params.pop(n) for n in list(params)
                    if n.startswith("method__")}  # fmt: skip
        super().set_params(**params)
        names = _settings(self.method)
        for name in settings.keys() - set(names):
            raise SettingsError(
                f"The method {self.method.name!r} has no setting {name!r}; {nearest(name, names)}"
            )
        method = self.method
        if settings and is_dataclass(method) and not isinstance(method, type):
            self.method = replace(method, **settings)
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


def _settings(method: RewardMethod) -> list[str]:
    return [f.name for f in fields(method)] if is_dataclass(method) else []


def _read_texts(X: ArrayLike) -> list[str]:
    column = np.asarray(X, dtype=object)
    if column.ndim == 2 and column.shape[1] == 1:
        column = column[:, 0]
    if column.ndim != 1:
        raise InputError(
            f"Give one column of texts as X; found an array of shape {column.shape}. Choose a "
            "column, by sklearn.compose.ColumnTransformer or before."
        )
    texts: list[str] = column.tolist()
    return texts
