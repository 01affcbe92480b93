"""The column that says how likely each logged text was to be drawn."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError


def log_propensities(values: ArrayLike, name: str = "propensity") -> NDArray[np.float64]:
    """Return log P_R from probabilities or from log-probabilities.

    Parameters
    ----------
    values : (n,)
        Logarithms where no number is positive, probabilities where none is negative.
    name : str
        What to call the values in messages.

    Returns
    -------
    (n,) floats

    Raises
    ------
    InputError
        For zeros, values above one, mixtures and missing values.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise InputError(f"{name} must hold one number for each row; its shape is {numbers.shape}.")
    if not np.isfinite(numbers).all():
        row = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise InputError(
            f"{name} holds {numbers[row]} in row {row}. A logged text had a positive probability; "
            "remove the row, or correct the column."
        )
    if (numbers < 0).any():
        if (numbers > 0).any():
            row = int(np.flatnonzero(numbers > 0)[0])
            raise InputError(
                f"{name} mixes negative numbers, which are log-probabilities, with positive ones "
                f"(row {row} holds {numbers[row]:g}). Write all as logarithms, or all as "
                "probabilities."
            )
        return numbers
    if (numbers == 0).any():
        row = int(np.flatnonzero(numbers == 0)[0])
        raise InputError(
            f"{name} is 0 in row {row}, but that text was logged. For very small probabilities "
            "write logarithms."
        )
    if (numbers > 1).any():
        row = int(np.flatnonzero(numbers > 1)[0])
        raise InputError(
            f"{name} is {numbers[row]:g} in row {row}, above 1. It must hold probabilities or "
            "log-probabilities; minus log-probabilities need their sign changed."
        )
    return np.log(numbers)
