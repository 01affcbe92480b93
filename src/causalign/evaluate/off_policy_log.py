"""What off-policy evaluation reads: arrays about logged texts, and about texts of the target."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError
from causalign.stats.importance_weights import check_log_probabilities, log_importance_weights

__all__ = ["OffPolicyLog", "TargetSamples"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class TargetSamples:
    """Hold m texts sampled from the target policy; give the arrays that you have, all of length m.

    ``row`` is the position of the logged row whose prompt the text answers; without it the texts
    are a sample of their own (there are no prompts, or prompts were drawn anew). ``predicted`` is
    the outcome model's prediction, in units of the outcome; ``target_logprob`` and
    ``logging_logprob`` the log-probability of the text under either policy; ``features`` ``(m, d)``
    its vector, from the encoder of the logged texts.

    Raises ``InputError`` for values that are missing, of different lengths or no log-probabilities.
    """

    predicted: Floats | None = None
    row: NDArray[np.int64] | None = None
    target_logprob: Floats | None = None
    logging_logprob: Floats | None = None
    features: Floats | None = None

    def __post_init__(self) -> None:
        given = [f.name for f in fields(self) if getattr(self, f.name) is not None]
        if not set(given) - {"row"}:
            raise InputError("TargetSamples hold nothing: give predictions, vectors or logprobs.")
        size = len(np.asarray(getattr(self, given[0])))
        for name in given:
            where = f"{name} of the target's samples"
            values = getattr(self, name)
            if name.endswith("logprob"):
                zero = name == "logging_logprob"
                values = check_log_probabilities(values, where, size=size, allow_zero=zero)
            else:
                values = _numbers(values, where, size, columns=name == "features")
            object.__setattr__(self, name, values.astype(np.int64) if name == "row" else values)

    def __len__(self) -> int:
        return next(
            len(value) for f in fields(self) if (value := getattr(self, f.name)) is not None
        )


@dataclass(frozen=True, slots=True, eq=False)
class OffPolicyLog:
    """Hold n logged texts as arrays: what happened, and what each policy thought of the text.

    ``outcome (n,)``; ``target_logprob`` and ``logging_logprob`` ``(n,)``: log-probability of the
    whole text given its prompt under the policy in question and under the one that wrote the log,
    as it wrote it (temperature, top-p and filters included). ``predicted (n,)``: an outcome model's
    prediction for the logged text by a fit that did not see the row; ``features (n, d)``: vectors
    of the texts; ``clusters (n,)``: rows that are not independent (a user, a prompt).
    ``samples``: texts that the target would write.

    Raises ``InputError`` for values that are missing, of different lengths or no log-probabilities,
    ``NotIdentified`` when the target would write none of the logged texts.
    """

    outcome: Floats
    target_logprob: Floats | None = None
    logging_logprob: Floats | None = None
    predicted: Floats | None = None
    features: Floats | None = None
    clusters: NDArray | None = None
    samples: TargetSamples | None = None

    def __post_init__(self) -> None:
        outcome = _numbers(self.outcome, "outcome", None)
        n = len(outcome)
        object.__setattr__(self, "outcome", outcome)
        for name in ("predicted", "features"):
            if getattr(self, name) is not None:
                values = _numbers(getattr(self, name), name, n, columns=name == "features")
                object.__setattr__(self, name, values)
        if (self.target_logprob is None) != (self.logging_logprob is None):
            raise InputError(
                "Weights need both log-probabilities, of the target and of the logging policy; "
                "one is missing."
            )
        if self.target_logprob is not None and self.logging_logprob is not None:
            for name in ("logging_logprob", "target_logprob"):
                zero = name == "target_logprob"
                checked = check_log_probabilities(
                    getattr(self, name), name, size=n, allow_zero=zero
                )
                object.__setattr__(self, name, checked)
        if self.clusters is not None and np.shape(self.clusters) != (n,):
            raise InputError(f"clusters must be ({n},), not {np.shape(self.clusters)}.")
        self._check_samples()

    def __len__(self) -> int:
        return len(self.outcome)

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

    def _check_samples(self) -> None:
        samples, n = self.samples, len(self)
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
            width, logged = samples.features.shape[1], self.features.shape[1]
            if width != logged:
                raise InputError(
                    f"Vectors of logged texts have {logged} columns, those of the target's samples "
                    f"{width}: use one encoder for both."
                )


def _numbers(values: object, name: str, size: int | None, *, columns: bool = False) -> Floats:
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be numbers.") from error
    shape = "(n, d)" if columns else "(n,)"
    if found.ndim != (2 if columns else 1) or len(found) == 0:
        raise InputError(f"{name} must be {shape}, at least one row; found {found.shape}.")
    if size is not None and len(found) != size:
        raise InputError(f"{name} has {len(found)} rows where there are {size} texts.")
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found.reshape(len(found), -1)).all(axis=1))[0])
        raise InputError(f"{name} is missing or infinite in row {row}; remove the row everywhere.")
    return found
