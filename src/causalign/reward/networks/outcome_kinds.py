"""Which examples fit a loss: pairs for Bradley-Terry, classes for classes, shares for logistic."""

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError, SettingsError, nearest
from causalign.reward.examples import Examples

__all__ = ["EVENT_ODDS", "UNITS", "check_loss", "class_values"]

EVENT_ODDS = "log-odds of the event"
UNITS = {
    "bradley-terry": "log-odds",
    "logistic": EVENT_ODDS,
    "squared-error": "units of the outcome",
    "multi-class": "units of the classes",
    "ordinal": "units of the levels",
}

_MOST_CLASSES = 100


def check_loss(loss: str, examples: Examples, allowed: tuple[str, ...] = tuple(UNITS)) -> None:
    """Raise ``SettingsError`` for an unknown loss, ``InputError`` for examples it cannot use."""
    if loss not in allowed:
        raise SettingsError(f"There is no loss {loss!r} here; {nearest(loss, allowed)}")
    if examples.are_pairs != (loss == "bradley-terry"):
        found, other = ("pairs", "of_outcomes") if examples.are_pairs else ("outcomes", "of_pairs")
        raise InputError(f"The loss {loss!r} does not fit {found}; use Examples.{other}.")
    if loss == "logistic":
        share = examples.target
        if ((share < 0) | (share > 1)).any():
            raise InputError("A logistic loss needs outcomes in [0, 1]; use 'squared-error'.")
    if loss in ("logistic", "squared-error", "multi-class", "ordinal"):
        counted = examples.target[examples.weight > 0]
        if (counted == counted[0]).all():
            raise InputError(
                f"The outcome is {counted[0]:g} in every example; there is nothing to learn."
            )
    if loss in ("multi-class", "ordinal"):
        class_values(examples)


def class_values(examples: Examples) -> NDArray[np.float64]:
    """Return the distinct values of the outcome, ascending; raise ``InputError`` for too many."""
    values = np.unique(examples.target)
    if len(values) > _MOST_CLASSES:
        raise InputError(
            f"The outcome has {len(values)} distinct values, more than the {_MOST_CLASSES} classes "
            "that are allowed; it is a quantity. Use 'squared-error'."
        )
    return values
