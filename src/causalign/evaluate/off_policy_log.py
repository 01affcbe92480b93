"""What off-policy evaluation reads: arrays about logged texts, and about texts of the target."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from causalign.errors import ColumnNotFound, InputError, nearest
from causalign.logs.columns import settle_values
from causalign.logs.containers import to_arrow
from causalign.logs.covariates import codes, numeric
from causalign.stats.importance_weights import check_log_probabilities, log_importance_weights

Floats = NDArray[np.float64]

# Arrays with several columns for each text.
_OF_COLUMNS = ("features", "covariance_factor")
# Arrays that a model makes, so that no column of a table holds them.
_COMPUTED = (*_OF_COLUMNS, "shrinkage")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TargetSamples:
    """Arrays about m texts sampled from the target policy; give those that you have.

    Parameters
    ----------
    predicted : (m,) floats, optional
        An outcome model's prediction for the text, in units of the outcome.
    row : (m,) integers, optional
        Position of the logged row whose prompt the text answers; without it the texts are a sample
        of their own (there are no prompts, or prompts were drawn anew).
    target_logprob, logging_logprob : (m,) floats, optional
        Log-probability of the text under either policy.
    features : (m, d) floats, optional
        Its vector, from the encoder of the logged texts.
    covariance_factor : (m, k) floats, optional
        F, how uncertain the predictions are: ``F_i'F_j`` is the covariance of those of two texts,
        as `causalign.reward.RewardModel.covariance_factor` returns it.
    shrinkage : (m,) floats, optional
        What the penalty took from each prediction: `causalign.reward.RewardModel.shrinkage`.

    Raises
    ------
    InputError
        For values that are missing, of different lengths or no log-probabilities.
    """

    predicted: Floats | None = None
    row: NDArray[np.int64] | None = None
    target_logprob: Floats | None = None
    logging_logprob: Floats | None = None
    features: Floats | None = None
    covariance_factor: Floats | None = None
    shrinkage: Floats | None = None

    def __post_init__(self) -> None:
        given = [f.name for f in fields(self) if getattr(self, f.name) is not None]
        if not set(given) - {"row"}:
            raise InputError("TargetSamples hold nothing: give predictions, vectors or logprobs.")
        size = len(np.asarray(getattr(self, given[0])))
        _check_arrays(self, given, size, " of the target's samples", may_be_zero="logging_logprob")
        if self.row is not None:
            odd = np.flatnonzero(self.row != np.floor(self.row))
            if odd.size:
                raise InputError(
                    "row of the target's samples must be whole numbers, positions in the log; "
                    f"sample {odd[0]} has {self.row[odd[0]]:g}."
                )
            object.__setattr__(self, "row", self.row.astype(np.int64))

    @staticmethod
    def of(table: object, **computed: Floats) -> "TargetSamples":
        """Read the columns predicted, row, target_logprob and logging_logprob that a table has.

        Parameters
        ----------
        table : Arrow table, pandas or polars frame
            One row for each text; other columns are not read.
        **computed : (m, ...) floats
            Arrays that are given instead, by their names.

        Returns
        -------
        TargetSamples

        Raises
        ------
        ColumnNotFound
            When the table has none of these columns and nothing is given.
        """
        arrow = to_arrow(table)
        known = [f.name for f in fields(TargetSamples) if f.name not in _COMPUTED]
        columns = {
            name: numeric(name, settle_values(name, arrow[name], "propensity"))
            for name in known
            if name in arrow.column_names
        } | computed
        if not columns:
            raise ColumnNotFound(
                f"Samples need one of the columns {', '.join(known)}; the table has "
                f"{', '.join(arrow.column_names)}."
            )
        return TargetSamples(**columns)

    def __len__(self) -> int:
        return next(
            len(value) for f in fields(self) if (value := getattr(self, f.name)) is not None
        )

    def __repr__(self) -> str:
        return _card(self, "texts of the target")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PilotTexts:
    """Arrays about n texts that the target wrote and whose outcome was measured.

    Parameters
    ----------
    outcome : (n,) floats
        What happened after the text, in the units of the log.
    predicted : (n,) floats, optional
        What the model that predicts the samples says of it; the model has not seen the outcome.
    clusters : (n,) labels, optional
        Texts that are not independent (one user, one prompt) have one label.
    features : (n, d) floats, optional
        Vectors of the texts, from the encoder of the logged texts.

    Raises
    ------
    InputError
        For values that are missing or of different lengths, or fewer than two texts.
    """

    outcome: Floats
    predicted: Floats | None = None
    clusters: NDArray[np.int64] | None = None
    features: Floats | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "outcome", _numbers(self.outcome, "outcome of the pilot", None))
        n = len(self.outcome)
        if n < 2:
            raise InputError("The pilot has one text: nothing tells how far another would differ.")
        given = [name for name in ("predicted", "features") if getattr(self, name) is not None]
        _check_arrays(self, given, n, " of the pilot", may_be_zero="")
        _check_clusters(self.clusters, n, " of the pilot")

    @staticmethod
    def of(
        table: object, outcome: str, predicted: str | None = None, clusters: str | None = None
    ) -> "PilotTexts":
        """Read the columns of a table that need not hold texts.

        Parameters
        ----------
        table : Arrow table, pandas or polars frame
            One row for each text.
        outcome, predicted, clusters : str
            Names of columns. Predictions and clusters may lack: the pilot then stands alone, and
            its texts are independent.

        Returns
        -------
        PilotTexts

        Raises
        ------
        ColumnNotFound
            When there is no such outcome.
        """
        arrow = to_arrow(table)
        there = arrow.column_names
        if outcome not in there:
            raise ColumnNotFound(f"The pilot has no column {outcome!r}; {nearest(outcome, there)}")
        guess = labels = None
        if predicted is not None and predicted in there:
            guess = numeric(predicted, settle_values(predicted, arrow[predicted], "propensity"))
        if clusters is not None and clusters in there:
            labels = np.asarray(codes(settle_values(clusters, arrow[clusters], "cluster"))[0])
        measured = numeric(outcome, settle_values(outcome, arrow[outcome], "outcome"))
        return PilotTexts(measured, guess, labels)

    def __len__(self) -> int:
        return len(self.outcome)

    def __repr__(self) -> str:
        return _card(self, "texts of a pilot")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class OffPolicyLog:
    """Arrays about n logged texts: what happened, and what each policy thought of the text.

    Parameters
    ----------
    outcome : (n,) floats
        What happened after the text.
    target_logprob, logging_logprob : (n,) floats, optional
        Log-probability of the whole text given its prompt under the policy in question and under
        the one that wrote the log, as it wrote it (temperature, top-p and filters included).
    predicted : (n,) floats, optional
        An outcome model's prediction for the logged text by a fit that did not see the row.
    features : (n, d) floats, optional
        Vectors of the texts.
    clusters : (n,) labels, optional
        Rows that are not independent (a user, a prompt) have one label.
    samples : TargetSamples, optional
        Texts that the target would write.
    pilot : PilotTexts, optional
        Texts that the target wrote and whose outcome was measured.

    Raises
    ------
    InputError
        For values that are missing, of different lengths or no log-probabilities.
    """

    outcome: Floats
    target_logprob: Floats | None = None
    logging_logprob: Floats | None = None
    predicted: Floats | None = None
    features: Floats | None = None
    clusters: NDArray[np.int64] | None = None
    samples: TargetSamples | None = None
    pilot: PilotTexts | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "outcome", _numbers(self.outcome, "outcome", None))
        n = len(self.outcome)
        if (self.target_logprob is None) != (self.logging_logprob is None):
            raise InputError(
                "Weights need both log-probabilities, of the target and of the logging policy; "
                "one is missing."
            )
        names = ("predicted", "features", "logging_logprob", "target_logprob")
        given = [name for name in names if getattr(self, name) is not None]
        _check_arrays(self, given, n, "", may_be_zero="target_logprob")
        _check_clusters(self.clusters, n, "")
        self._check_samples()

    def __len__(self) -> int:
        return len(self.outcome)

    def __repr__(self) -> str:
        return _card(self, "logged texts")

    @property
    def log_weights(self) -> Floats:
        """Return ``log pi - log pi0`` of each logged text, ``(n,)``.

        Raises ``InputError`` without log-probabilities, ``NotIdentified`` when all weights are 0.
        """
        if self.target_logprob is None or self.logging_logprob is None:
            raise InputError(
                "This estimator weights logged texts: give target_logprob and logging_logprob. "
                "Without them, 'direct' needs predictions and 'kernel' needs vectors."
            )
        return log_importance_weights(self.target_logprob, self.logging_logprob)

    @property
    def vectors(self) -> tuple[Floats, Floats]:
        """The vectors of logged texts ``(n, d)`` and of samples ``(m, d)``.

        Raises ``InputError`` when either are missing.
        """
        if self.features is None or self.samples is None or self.samples.features is None:
            raise InputError(
                "This needs vectors of the logged texts, OffPolicyLog(features=...), and of texts "
                "sampled from the target, samples=TargetSamples(features=...)."
            )
        return self.features, self.samples.features

    def _check_samples(self) -> None:
        samples, n, pilot = self.samples, len(self), self.pilot
        if pilot is not None and pilot.features is not None and self.features is not None:
            _check_width(self.features, pilot.features, "the pilot")
        if samples is None:
            return
        if samples.row is not None:
            low, high = samples.row.min(), samples.row.max()
            if low < 0 or high >= n:
                raise InputError(
                    f"row of the target's samples must be positions 0 to {n - 1} in the log; "
                    f"found {low} to {high}."
                )
        if samples.features is not None and self.features is not None:
            _check_width(self.features, samples.features, "the target's samples")


def _check_width(logged: Floats, others: Floats, whose: str) -> None:
    """Raise ``InputError`` unless both have vectors of one length."""
    if others.shape[1] != logged.shape[1]:
        raise InputError(
            f"Vectors of logged texts have {logged.shape[1]} columns, those of {whose} "
            f"{others.shape[1]}: use one encoder for both."
        )


def _check_clusters(clusters: NDArray[np.int64] | None, n: int, of: str) -> None:
    """Raise ``InputError`` unless there is one label for each of n rows."""
    if clusters is not None and np.shape(clusters) != (n,):
        raise InputError(f"clusters{of} must be ({n},), not {np.shape(clusters)}.")
    labels = np.asarray(0 if clusters is None else clusters)
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise InputError(
            f"clusters{of} are missing (NaN) in row {int(np.isnan(labels).argmax())}: name them, "
            "or leave the row out everywhere."
        )


def _card(arrays: OffPolicyLog | TargetSamples | PilotTexts, what: str) -> str:
    """Return a line that says how many texts there are and which arrays."""
    given = [f.name for f in fields(arrays) if getattr(arrays, f.name) is not None]
    return f"{type(arrays).__name__}: {len(arrays):,} {what}, with {', '.join(given)}"


def _check_arrays(
    arrays: OffPolicyLog | TargetSamples | PilotTexts,
    names: list[str],
    size: int,
    of: str,
    may_be_zero: str,
) -> None:
    """Put checked arrays in the place of those given; raise ``InputError`` for what is none."""
    for name in names:
        values = getattr(arrays, name)
        if name.endswith("logprob"):
            zero = name == may_be_zero
            checked = check_log_probabilities(values, name + of, size=size, allow_zero=zero)
        else:
            checked = _numbers(values, name + of, size, columns=name in _OF_COLUMNS)
        object.__setattr__(arrays, name, checked)


def _numbers(values: object, name: str, size: int | None, *, columns: bool = False) -> Floats:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be numbers.") from error
    shape = "(n, d)" if columns else "(n,)"
    if array.ndim != (2 if columns else 1) or len(array) == 0:
        raise InputError(f"{name} must be {shape}, at least one row; found {array.shape}.")
    if size is not None and len(array) != size:
        raise InputError(f"{name} has {len(array)} rows where there are {size} texts.")
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))[0])
        raise InputError(f"{name} is missing or infinite in row {row}; remove the row everywhere.")
    return array
