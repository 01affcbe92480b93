"""Read what off-policy evaluation needs from logs: roles, columns, outcome models, samples."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from causalign.errors import ColumnNotFound, InputError, RoleNotDeclared, SettingsError, nearest
from causalign.evaluate.off_policy_log import OffPolicyLog, PilotTexts, TargetSamples
from causalign.lm.cache import EmbeddingCache
from causalign.lm.embeddings import embed
from causalign.lm.encoder import Encoder
from causalign.logs import CrossFitted, Logs, OutcomeModel, Roles
from causalign.logs.columns import settle_values
from causalign.logs.containers import to_arrow
from causalign.logs.covariates import codes, numeric
from causalign.logs.outcome_model import UncertainReward, predict_outcome
from causalign.logs.pairs import join_prompts
from causalign.logs.propensity import log_propensities

Floats = NDArray[np.float64]
Column = str | ArrayLike  # the name of a column, or its values (n,)


def read_columns(
    table: object,
    *,
    outcome: Column,
    target_logprob: Column | None = None,
    logging_logprob: Column | None = None,
    predicted: Column | None = None,
    target_predicted: Column | None = None,
    clusters: str | NDArray[np.int64] | None = None,
    samples: TargetSamples | None = None,
    features: Floats | None = None,
    pilot: PilotTexts | None = None,
) -> OffPolicyLog:
    """Read the columns of a table that need not hold texts.

    Parameters
    ----------
    table : Arrow table, pandas or polars frame
        One row for each logged text.
    outcome, target_logprob, logging_logprob, predicted : name or (n,)
        As in `OffPolicyLog`.
    target_predicted : name or (n,), optional
        An outcome model's prediction for a text that the target wrote for the prompt of the row.
    clusters : name or (n,) labels, optional
        Rows that are not independent.
    samples : TargetSamples, optional
        Texts of the target.
    features : (n, d) floats, optional
        Vectors of the texts.
    pilot : PilotTexts, optional
        Texts of the target whose outcome was measured.

    Returns
    -------
    OffPolicyLog

    Raises
    ------
    ColumnNotFound
        When a column that is named is not there.
    InputError
        When values are missing or no log-probabilities.
    """
    arrow = to_arrow(table)
    if target_predicted is not None:
        samples = _answer_each_row(_values(arrow, target_predicted), samples)
    return OffPolicyLog(
        outcome=_values(arrow, outcome, "outcome"),
        target_logprob=None if target_logprob is None else _values(arrow, target_logprob),
        logging_logprob=None if logging_logprob is None else _values(arrow, logging_logprob),
        predicted=None if predicted is None else _values(arrow, predicted),
        features=features,
        clusters=_clusters(arrow, clusters) if isinstance(clusters, str) else clusters,
        samples=samples,
        pilot=pilot,
    )


def read_pilot(
    pilot: object,
    logs: Logs,
    *,
    model: OutcomeModel | None = None,
    predicted: Column | None = None,
    encoder: Encoder | None = None,
) -> PilotTexts | None:
    """Read the texts of the target whose outcome was measured.

    Parameters
    ----------
    pilot : Logs, table, frame, PilotTexts or None
        With the columns of the logs.
    logs : Logs
        Whose roles name the columns.
    model : callable, optional
        Predicts the outcome of the texts, which it has not seen.
    predicted : column, optional
        The name of the column of predictions, where no model makes them.
    encoder : Encoder, optional
        Makes the vectors; by default the role ``features`` of the logs.

    Raises
    ------
    ColumnNotFound
        When the outcome, or the text that a model reads, is not there.
    """
    if pilot is None or isinstance(pilot, PilotTexts):
        return pilot
    table = pilot.data if isinstance(pilot, Logs) else to_arrow(pilot)
    roles, there = logs.roles, set(table.column_names)
    ways = roles.cluster_columns()
    own = Roles(
        roles.completion,
        roles.outcome,
        trials=roles.trials,
        prompt=roles.prompt,
        cluster=ways if set(ways) <= there else None,
        features=roles.features if set(roles.features) <= there else (),
    )
    measured = Logs.of(table, own)
    guess = None
    if model is not None:
        guess = predict_outcome(model, measured.completions, measured.prompts)
    elif isinstance(predicted, str):
        guess = _values(table, predicted)
    vectors = measured.features
    if encoder is not None:
        vectors = embed(measured.texts, encoder, EmbeddingCache()).vectors.astype(np.float64)
    return PilotTexts(measured.outcome, guess, measured.clusters, vectors)


class TargetTexts:
    """A table of texts that the target wrote, with the columns that the logs have too."""

    def __init__(self, samples: object, logs: Logs) -> None:
        self.table = samples.data if isinstance(samples, Logs) else to_arrow(samples)
        self.logs = logs

    @property
    def features(self) -> Floats | None:
        """The columns that describe the texts, where the samples have them."""
        names = self.logs.roles.features
        if not names or not set(names) <= set(self.table.column_names):
            return None
        return np.column_stack([_values(self.table, name) for name in names])

    def read(self) -> tuple[list[str], list[str] | None]:
        """Return the texts and their prompts: their own, or those of the rows that they answer."""
        roles = self.logs.roles
        texts = _settled(self.table, roles.completion, "completion").to_pylist()
        if roles.prompt is None:
            return texts, None
        if roles.prompt in self.table.column_names or "row" not in self.table.column_names:
            return texts, _settled(self.table, roles.prompt, "prompt").to_pylist()
        prompts = self.logs.prompts or []
        return texts, [prompts[int(row)] for row in _values(self.table, "row")]

    def arrays(self, features: Floats | None, model: OutcomeModel | None) -> TargetSamples:
        """Return the arrays of the samples, with vectors and predictions where there are any."""
        computed: dict[str, Floats | None] = {"features": features}
        if model is not None:
            computed["predicted"] = predict_outcome(model, *self.read())
            computed |= _uncertainty(model, *self.read())
        return TargetSamples.of(
            self.table, **{n: values for n, values in computed.items() if values is not None}
        )


def _uncertainty(
    model: OutcomeModel, completions: Sequence[str], prompts: Sequence[str] | None
) -> dict[str, Floats | None]:
    """Return how uncertain the predictions are, where the model tells.

    K fits without a fold each have, together, the noise of a fit on all rows; as each saw fewer,
    its penalty shrank more.
    """
    more, certain = 1.0, model.whole if isinstance(model, CrossFitted) else model
    if isinstance(model, CrossFitted):
        more = len(model.models) / max(len(model.models) - 1, 1)
    if not isinstance(certain, UncertainReward):
        return {}
    return {
        "covariance_factor": certain.covariance_factor(completions, prompts),
        "shrinkage": more * certain.shrinkage(completions, prompts),
    }


def embed_both(
    logs: Logs, samples: TargetTexts | None, encoder: Encoder
) -> tuple[Floats, Floats | None]:
    """Return the vectors of logged and sampled texts by one encoder."""
    sides: list[Sequence[str]] = [logs.texts]
    if samples is not None:
        sides.append(join_prompts(*samples.read()))
    cache = EmbeddingCache()
    vectors = [embed(side, encoder, cache).vectors.astype(np.float64) for side in sides]
    return vectors[0], vectors[1] if samples is not None else None


def log_propensity(logs: Logs) -> Floats:
    """Return the log-probability with which each logged text was written, by the role."""
    name = logs.roles.propensity
    if name is None:
        raise RoleNotDeclared(
            "Importance weights need the probability with which each logged text was written.",
            "propensity",
        )
    return log_propensities(logs.numbers(name), name)


def _answer_each_row(predicted: Floats, samples: TargetSamples | None) -> TargetSamples:
    """Return samples with one prediction for each logged row; both must be of one length."""
    row = np.arange(len(predicted))
    if samples is None:
        return TargetSamples(predicted=predicted, row=row)
    if samples.predicted is not None:
        raise SettingsError("Give predictions for texts of the target by the log or by the "
                            "samples, not by both.")  # fmt: skip
    return replace(samples, predicted=predicted, row=row)


def _values(table: pa.Table, given: Column, role: str = "propensity") -> Floats:
    if isinstance(given, str):
        return numeric(given, _settled(table, given, role))
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("Columns that are given as arrays must hold numbers.") from error


def _clusters(table: pa.Table, name: str) -> NDArray[np.int64]:
    return np.asarray(codes(_settled(table, name, "cluster"))[0])


def _settled(table: pa.Table, name: str, role: str) -> pa.ChunkedArray:
    """Return a column as what it is in a role; raise `ColumnNotFound` when there is none."""
    if name not in table.column_names:
        raise ColumnNotFound(f"There is no column {name!r}; {nearest(name, table.column_names)}")
    return settle_values(name, table[name], role, table.schema.field(name))
