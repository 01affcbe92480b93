"""Off-policy evaluation: what would another policy have earned, by every estimator that can say?"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from causalign.checks.weights import SupportLimits
from causalign.errors import InputError
from causalign.evaluate.cross_fitted_outcome import CrossFittedOutcome
from causalign.evaluate.doubly_robust import Direct, DoublyRobust, Switch
from causalign.evaluate.kernel import KernelWeighting
from causalign.evaluate.off_policy_inputs import (
    Column,
    TargetTexts,
    embed_both,
    log_propensity,
    read_columns,
    read_pilot,
)
from causalign.evaluate.off_policy_log import OffPolicyLog, TargetSamples
from causalign.evaluate.off_policy_values import PREFERENCE, OffPolicyValues
from causalign.evaluate.pilot import Pilot
from causalign.evaluate.support_findings import shared_findings
from causalign.evaluate.value import Estimator, Inference, PolicyValue
from causalign.evaluate.weighting import Clipped, ImportanceWeighting, SelfNormalised
from causalign.lm.encoder import Encoder
from causalign.lm.encoders import load_encoder
from causalign.logs import CrossFitted, Logs, OutcomeModel
from causalign.logs.outcome_model import CrossFittable, predict_outcome
from causalign.stats.ratio_of_means import RatioOfMeans

METHODS: Mapping[str, type[Estimator]] = MappingProxyType(
    {
        method.name: method
        for method in (
            Direct,
            ImportanceWeighting,
            SelfNormalised,
            Clipped,
            Switch,
            DoublyRobust,
            KernelWeighting,
            Pilot,
        )
    }
)


def off_policy(
    logs: Logs,
    *,
    target_logprob: Column | None = None,
    logging_logprob: Column | None = None,
    predicted: Column | None = None,
    target_predicted: Column | None = None,
    outcome_model: OutcomeModel | CrossFittedOutcome | None = None,
    samples: object = None,
    pilot: object = None,
    encoder: str | Encoder | None = None,
    estimators: Sequence[Estimator] | None = None,
    inference: Inference | None = None,
    limits: SupportLimits | None = None,
    outcome_range: tuple[float, float] | None = None,
) -> OffPolicyValues:
    """Estimate what another policy would have earned on the prompts of these logs.

    Outcome, clusters and prompts are those of the roles. Row weights are not read: a value is a
    mean over the log as it was written.

    Parameters
    ----------
    logs : Logs
        Texts that were written by the logging policy, and their outcomes.
    target_logprob : column or (n,) floats, optional
        Log-probability of each whole text, given its prompt, under the policy in question.
    logging_logprob : column or (n,) floats, optional
        The same under the policy that wrote the log; by default the role ``propensity``, which
        holds probabilities or their logarithms.
    predicted : column or (n,) floats, optional
        Predictions for the logged texts by fits that did not see their rows.
    target_predicted : column or (n,) floats, optional
        A prediction for a text that the target wrote for the prompt of each row.
    outcome_model : callable, CrossFitted, RewardModel or CrossFittedOutcome, optional
        Makes the predictions: ``model(completions, prompts) -> (n,)``. A reward model is fitted
        again without each fold, a `CrossFittedOutcome` fits the vectors; any other callable is
        asked as it is, so that it must not have seen these rows. A linear reward tells how
        uncertain its coefficients are, and gives ``direct`` its interval. One that learned from
        experiments, or from other logs, is given as ``reward.freeze()``.
    samples : Logs, table, frame or TargetSamples, optional
        Texts sampled from the target, with the columns ``target_logprob``, ``logging_logprob``,
        ``predicted`` and ``row`` that there are; texts, prompts and features have the columns of
        the logs.
    pilot : Logs, table, frame or PilotTexts, optional
        Texts of the target whose outcome was measured, with the columns of the logs for text,
        prompt, outcome, trials and cluster, and the one that ``predicted`` names unless a model
        predicts. The outcome is in the units of the logs; where it was deconfounded there, by the
        same effect. No model may have learned from it.
    encoder : str or Encoder, optional
        Makes the vectors of logged texts and samples; by default the role ``features``.
    estimators : sequence of Estimator, optional
        By default all whose inputs there are.
    inference, limits, outcome_range : optional
        Settings of the default estimators; see `choose_estimators`.

    Returns
    -------
    OffPolicyValues

    Raises
    ------
    RoleNotDeclared
        When log-probabilities of the logging policy are needed and nothing says them.
    InputError
        When there is nothing to estimate from, or values are missing or no log-probabilities.
    NotIdentified
        When the target would write none of the logged texts, or all rows are one cluster.

    References
    ----------
    Dudik, Langford and Li (2011), arXiv:1103.4601; docs/methods/off-policy.md for the rest.
    """
    if target_logprob is not None and logging_logprob is None:
        logging_logprob = log_propensity(logs)
    own = samples if isinstance(samples, TargetSamples) else None
    texts = None if samples is own else TargetTexts(samples, logs)
    vectors, of_samples = logs.features, None if texts is None else texts.features
    if isinstance(encoder, str):
        encoder = load_encoder(encoder, training_texts=logs.texts)
    if encoder is not None:
        vectors, of_samples = embed_both(logs, texts, encoder)
    model = None if isinstance(outcome_model, CrossFittedOutcome) else outcome_model
    if isinstance(model, CrossFittable):
        model = model.cross_fit(logs)
    measured = read_pilot(pilot, logs, model=model, predicted=predicted, encoder=encoder)
    if model is not None:
        predicted = _predict_logged(model, logs)
    if texts is not None:
        own = texts.arrays(of_samples, model)
    log = read_columns(
        logs.data,
        outcome=logs.outcome,
        target_logprob=target_logprob,
        logging_logprob=logging_logprob,
        predicted=predicted,
        target_predicted=target_predicted,
        clusters=logs.clusters,
        samples=own,
        features=vectors,
        pilot=measured,
    )
    if isinstance(outcome_model, CrossFittedOutcome):
        log = outcome_model.predict(log)
    if estimators is None:
        estimators = choose_estimators(log, inference, limits, outcome_range)
    return off_policy_arrays(log, estimators)


def _predict_logged(model: OutcomeModel, logs: Logs) -> NDArray[np.float64]:
    """Return predictions of the logged texts, by fits that did not see them where there are any."""
    if isinstance(model, CrossFitted):
        return model.predict_logged(logs.completions, logs.prompts)
    return predict_outcome(model, logs.completions, logs.prompts)


def off_policy_arrays(
    log: OffPolicyLog, estimators: Sequence[Estimator] | None = None
) -> OffPolicyValues:
    """Estimate the value of the target from arrays, for research; see `off_policy`.

    Parameters
    ----------
    log : OffPolicyLog
        The arrays.
    estimators : sequence of Estimator, optional
        By default all that the log allows.

    Returns
    -------
    OffPolicyValues

    Raises
    ------
    InputError
        When the log holds neither log-probabilities, nor predictions for texts of the target, nor
        vectors of both.
    """
    chosen = choose_estimators(log) if estimators is None else tuple(estimators)
    if not chosen:
        raise InputError(
            "Nothing can be estimated from outcomes alone: give log-probabilities under target and "
            "logging policy, predictions or vectors of texts sampled from the target, or a pilot."
        )
    values = tuple(e.estimate(log) for e in chosen)
    names = [v.method for v in values]
    method = next((name for name in PREFERENCE if name in names), names[0])
    weights = None if log.target_logprob is None else log.log_weights
    return OffPolicyValues(values, logged_value(log), method, weights)


def choose_estimators(
    log: OffPolicyLog,
    inference: Inference | None = None,
    limits: SupportLimits | None = None,
    outcome_range: tuple[float, float] | None = None,
) -> tuple[Estimator, ...]:
    """Return the estimators whose inputs the log holds.

    Parameters
    ----------
    log : OffPolicyLog
        The arrays.
    inference : Inference, optional
        How intervals are made.
    limits : SupportLimits, optional
        Beyond which values are refused.
    outcome_range : (float, float), optional
        Lowest and highest outcome possible: ``clipped`` then gives sure bounds.

    Returns
    -------
    tuple of Estimator
    """
    weighted = log.target_logprob is not None
    sampled = log.samples is not None and log.samples.predicted is not None
    vectors = log.samples is not None and log.samples.features is not None
    holds: Mapping[str, bool] = {
        "direct": sampled,
        "importance": weighted,
        "self-normalised": weighted,
        "clipped": weighted,
        "switch": weighted and sampled and log.predicted is not None,
        "doubly-robust": weighted and sampled and log.predicted is not None,
        "kernel": vectors and log.features is not None,
        "pilot": log.pilot is not None,
    }
    chosen: list[Estimator] = []
    how, bounds = inference or Inference(), limits or SupportLimits()
    for name, usable in holds.items():
        if not usable:
            continue
        # Kernel weights have one interval only, whatever the others use.
        own = Inference(level=how.level) if name == "kernel" else how
        chosen.append(METHODS[name](inference=own, limits=bounds))
        if name == "clipped" and outcome_range is not None:
            chosen[-1] = Clipped(inference=own, limits=bounds, outcome_range=outcome_range)
    return tuple(chosen)


class Logged(Estimator):
    """The mean outcome of the log itself."""

    __slots__ = ()

    name: ClassVar[str] = "logged"

    def estimate(self, log: OffPolicyLog) -> PolicyValue:
        """Return the value of the logging policy."""
        return self.conclude(
            log,
            RatioOfMeans(log.outcome, np.ones(len(log)), np.zeros(len(log)), np.empty(0)),
            assumption="Rows, or clusters, are independent.",
            findings=shared_findings(log, SupportLimits(support=0.0))[1:],
        )


def logged_value(log: OffPolicyLog, inference: Inference | None = None) -> PolicyValue:
    """Return what the logging policy earned: the mean outcome, with a clustered interval.

    Parameters
    ----------
    log : OffPolicyLog
        The arrays.
    inference : Inference, optional
        How the interval is made.

    Returns
    -------
    PolicyValue
    """
    return Logged(inference=inference or Inference()).estimate(log)
