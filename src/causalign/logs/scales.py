"""The scale on which effects add up: the outcome as it is, its logarithm, or its log-odds."""

from typing import Literal, get_args

import numpy as np

from causalign.errors import InputError, SettingsError
from causalign.logs import Logs

Scale = Literal["identity", "log", "logit"]


def rescale(logs: Logs, scale: Scale) -> Logs:
    """Put the outcome on the scale on which effects add up.

    ``log`` is ln y for outcomes above 0, where effects multiply (revenue, views). ``logit`` is
    ln(p / (1 − p)) for rates; with the role ``trials`` it is the empirical logit
    ln((s + ½) / (n − s + ½)), finite also for 0 and all successes (Haldane 1956). A week that
    doubles everybody's odds then adds a constant, which is what additive deconfounding assumes.

    Parameters
    ----------
    logs : Logs
    scale : {"identity", "log", "logit"}

    Raises
    ------
    InputError
        For outcomes outside the scale's domain.
    SettingsError
        For another scale.
    """
    if scale not in get_args(Scale):
        raise SettingsError(f"Unknown scale {scale!r}; there are: {', '.join(get_args(Scale))}")
    if scale == "identity":
        return logs
    outcome = logs.outcome
    if scale == "log":
        if outcome.min() <= 0:
            raise InputError(
                f"The log scale needs outcomes above 0; the smallest is {outcome.min():g}."
            )
        values = np.log(outcome)
    elif logs.roles.trials is not None:
        failures = logs.trials * (1 - outcome)
        values = np.log((logs.trials * outcome + 0.5) / (failures + 0.5))
    else:
        if outcome.min() <= 0 or outcome.max() >= 1:
            raise InputError(
                "The logit scale needs rates strictly between 0 and 1, or counts with the role "
                f"'trials'; outcomes reach from {outcome.min():g} to {outcome.max():g}."
            )
        values = np.log(outcome / (1 - outcome))
    return logs.with_outcome(values, f"outcome on the {scale} scale")
