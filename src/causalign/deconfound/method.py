"""What a deconfounder is, and what it returns: logs from which a reward may be learned."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import ClassVar, Generic, Literal, Protocol, Self, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike

from causalign.errors import InputError, RoleNotDeclared, SettingsError
from causalign.lm.embedded_logs import embed_logs
from causalign.lm.encoder import Encoder
from causalign.logs import Logs, LogScan, hold_workers, require_memory
from causalign.logs.covariates import LARGEST, design, require_variation
from causalign.logs.roles import Roles
from causalign.results import Result
from causalign.stats.rounding import roundoff

L = TypeVar("L", bound=Logs | LogScan)


class Adjustment(Result):
    """What every deconfounder returns: an effect to subtract, or weights for the rows.

    ``is_of_rows`` says that it belongs to the rows, whatever happened after them: then it serves
    the guardrails as well as the outcome.
    """

    __slots__ = ()
    is_of_rows: ClassVar[bool] = False

    def beside(self, guardrails: Mapping[str, Self]) -> Self:
        """Return an adjustment that takes out of the guardrails what these say."""
        raise NotImplementedError

    @abstractmethod
    def adjust(self, logs: L) -> L:
        """Take the effect of the confounders out of the logs.

        Parameters
        ----------
        logs : Logs or LogScan
            The logs that were fitted.

        Returns
        -------
        Logs or LogScan
            Logs from which a reward may be learned; their history has one line more.
        """


def change_logs(logs: L, change: Callable[[Logs], Logs]) -> L:
    """Return changed logs; those on disk are changed when a batch of them is read."""
    if isinstance(logs, Logs):
        return cast(L, change(logs))
    first = change(next(logs.batches()))
    return cast(L, logs.change(change, first.roles, first.history[-1]))


class Deconfounder(Protocol):
    """Estimate what the confounders do, from logs; its settings are the fields of a dataclass.

    ``name`` is its name on the command line; ``reads_text`` says whether ``fit`` needs text
    features; ``is_regression`` whether sensitivity to unobserved confounding can be told beside
    it, see `add_sensitivity`.
    """

    name: ClassVar[str]
    reads_text: ClassVar[bool]
    is_regression: ClassVar[bool]

    def check_roles(self, roles: Roles) -> None:
        """Raise `RoleNotDeclared` or `SettingsError` before anything is read.

        Parameters
        ----------
        roles : Roles
            The roles of the logs that will be fitted.
        """
        ...

    def check_logs(self, logs: Logs | LogScan) -> None:
        """Raise before anything costly runs when the method cannot be fitted on these logs."""
        ...

    def fit(
        self,
        logs: Logs | LogScan,
        encoder: str | Encoder | None = None,
        *,
        text_features: ArrayLike | None = None,
    ) -> Adjustment:
        """Estimate the effect of the confounders, or weights that balance them.

        Parameters
        ----------
        logs : Logs or LogScan
            The logs.
        encoder : str or Encoder, optional
            What turns texts into features, such as ``"minilm"``.
        text_features : (n, p) array, optional
            Features of the texts, instead of an encoder; without both, the columns of the role
            ``features``.

        Returns
        -------
        Adjustment
            What ``adjust(logs)`` takes out of the logs.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TextFeatures:
    """Hold what is known of the texts: ``columns (n, p)`` and their p names.

    ``roundoff (p,)`` is by which share of itself each number of a column was rounded.
    """

    columns: np.ndarray
    names: tuple[str, ...]
    roundoff: np.ndarray


A = TypeVar("A", bound=Adjustment, covariant=True)
F = TypeVar("F", bound=Adjustment)


@dataclass(frozen=True, slots=True)
class FittedOnLogs(ABC, Generic[A]):
    """Give every deconfounder its one ``fit``; a class names the roles that it ``needs``."""

    name: ClassVar[str]
    reads_text: ClassVar[bool] = False
    is_regression: ClassVar[bool] = False
    reads_scans: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("confounders",)

    def check_roles(self, roles: Roles) -> None:
        """Ask whether the roles that the method needs are declared.

        Parameters
        ----------
        roles : Roles
            The roles of the logs that will be fitted.

        Raises
        ------
        RoleNotDeclared
            When one of them is missing.
        SettingsError
            When a setting of the method names a column that does not have the role it should.
        """
        for role in self.needs:
            if not getattr(roles, role):
                raise RoleNotDeclared(f"The method {self.name} needs {role}.", role)
        self._check_columns(roles)

    def check_logs(self, logs: Logs | LogScan) -> None:
        """Raise before anything costly runs when the method cannot be fitted on these logs."""
        self.check_roles(logs.roles)
        if isinstance(logs, LogScan) and self.reads_scans:
            return
        rows = require_memory(logs, f"The method {self.name}")
        for covariate in rows.confounders:
            require_variation("confounder", covariate)
        self._check_rows(rows)

    def _check_rows(self, logs: Logs) -> None:
        """Raise `InputError` for logs of too few rows or clusters."""

    def fit(
        self,
        logs: Logs | LogScan,
        encoder: str | Encoder | None = None,
        *,
        text_features: ArrayLike | None = None,
    ) -> A:
        """Estimate what the confounders did to the outcome.

        Parameters
        ----------
        logs : Logs or LogScan
            Logs with the roles that the method needs: confounders, or instruments too. A scan is
            read batch by batch; additive, ordinary, two-stage and limited information take one.
        encoder : str or Encoder, optional
            What turns texts into features, such as ``"minilm"``. Methods that do not read the
            text ignore it.
        text_features : (n, p) array, optional
            Features of the texts, instead of an encoder; without both, the columns of the role
            ``features``.

        Returns
        -------
        ConfounderEffect or BalancingWeights
            What ``adjust(logs)`` takes out of the logs.

        Raises
        ------
        RoleNotDeclared
            When a role that the method needs is missing, or there are no text features.
        InputError
            When the values cannot be used.
        NotIdentified
            When the logs do not determine the effect, naming the column.
        """
        if isinstance(logs, LogScan):
            self.check_logs(logs)
            with hold_workers(logs.engine):
                return _fit_each(logs, lambda scan: self._estimate_scan(scan, encoder))
        logs.require(*self.needs)
        self.check_roles(logs.roles)
        features = TextFeatures(np.zeros((len(logs), 0)), (), np.zeros(0))
        if self.reads_text:
            features = read_text_features(logs, encoder, text_features, self.name)
        return _fit_each(logs, lambda rows: self._estimate(rows, features))

    def _check_columns(self, roles: Roles) -> None:
        """Raise `SettingsError` when the settings name columns that do not have their role."""

    def _estimate_scan(self, scan: LogScan, encoder: str | Encoder | None) -> A:
        """Return the fit on logs that are read batch by batch, of a method that reads them."""
        raise NotImplementedError

    @abstractmethod
    def _estimate(self, logs: Logs, features: TextFeatures) -> A:
        """Return the fit, on logs whose roles were checked.

        A method that does not read the texts is given features without columns.
        """

    def settings(self) -> dict[str, object]:
        """Return the settings as JSON can hold them, objects by their repr."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = (str, int, float, tuple, type(None))
        return {k: v if isinstance(v, plain) else repr(v) for k, v in values.items()}


def _fit_each(logs: L, fit: Callable[[L], F]) -> F:
    """Return the adjustment of the outcome with those of the guardrails beside it."""
    fitted, names = fit(logs), logs.roles.guardrails
    if not names or fitted.is_of_rows:
        return fitted
    return fitted.beside({name: fit(take_guardrail(logs, name)) for name in names})


def take_guardrail(logs: L, name: str) -> L:
    """Return logs, or a scan, whose outcome is one of their guardrails."""
    change = partial(Logs.of_guardrail, name=name)
    if isinstance(logs, Logs):
        return cast(L, change(logs))
    roles = replace(logs.roles, outcome=name, guardrails=())
    return cast(L, logs.change(change, roles, f"{name} as the outcome"))


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """Say how a linear method is fitted on batches of rows.

    ``own`` confounders are regressors, beside the features of the text if ``beside_features``; the
    confounders ``moved`` need the ``instruments``, and ``kappa`` is that of the k-class.
    ``leaves_out_single_rows`` says that rows alone in a category are not fitted.
    """

    assumption: str
    own: tuple[str, ...]
    moved: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    beside_features: bool = False
    leaves_out_single_rows: bool = False
    kappa: float | Literal["liml"] = 1.0


def refuse_formulas(*formulas: str | None) -> None:
    """Raise `SettingsError` when a formula is given: blocks of rows cannot hold its knots."""
    if any(formula is not None for formula in formulas):
        raise SettingsError("A formula needs all rows at once, for its knots and combinations.")


def read_text_features(
    logs: Logs, encoder: str | Encoder | None, given: ArrayLike | None, method: str
) -> TextFeatures:
    """Return the features given, else of the encoder, else of the role ``features``.

    Raises `RoleNotDeclared` when there are none and `InputError` when they do not fit.
    """
    if given is None and encoder is not None:
        if not (isinstance(encoder, str) or hasattr(encoder, "encode")):
            raise SettingsError("Give an array of features by name: fit(logs, text_features=X).")
        given = embed_logs(logs, encoder).vectors
    if given is not None:
        # Before they become 64 bits, features of 16 bits say so.
        given = np.asarray(given)
        features = np.asarray(given, dtype=np.float64)
        if features.ndim != 2 or len(features) != len(logs) or not np.isfinite(features).all():
            raise InputError(
                f"text_features must be finite numbers ({len(logs)}, p), not {features.shape}."
            )
        names = tuple(f"text feature {i}" for i in range(features.shape[1]))
    elif logs.roles.features:
        features, names = design([logs.covariate(name) for name in logs.roles.features])
        given = features
    else:
        raise RoleNotDeclared(
            f"The method {method} compares texts by their features, and these logs declare "
            'none. Name an encoder, as in fit(logs, encoder="minilm"), or pass '
            "text_features, an array (n, p).",
            "features",
        )
    if features.shape[1] == 0:
        raise InputError("text_features has no columns: texts cannot be told apart by them.")
    if np.abs(features).max() > LARGEST:
        raise InputError(f"text_features holds numbers beyond {LARGEST:g}. Change their units.")
    if (features == features[0]).all():
        raise InputError("Every text feature is constant: texts cannot be told apart by them.")
    return TextFeatures(features, names, roundoff(given))
