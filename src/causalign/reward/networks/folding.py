"""Write what a network was told about its inputs into its layers, so that raw vectors go in."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from causalign.reward.network_head import NetworkHead
from causalign.reward.networks.network import Scales

__all__ = ["fold_inputs", "head_of_layers", "in_units"]

Array = NDArray[np.float64]
Layered = tuple[Array, Array]


def fold_inputs(weight: Array, bias: Array, scales: Scales) -> Layered:
    """Return the first layer for vectors as they come: ``W / s`` and ``b - (c / s)'W``.

    Rows of ``weight`` beyond the features, such as those of a confounder at its mean, are dropped:
    standardised, the mean is 0.
    """
    center, scale = scales.features
    kept = weight[: len(center)]
    return kept / scale[:, None], bias.ravel() - (center / scale) @ kept


def in_units(weight: Array, bias: Array, scales: Scales, loss: str) -> Layered:
    """Return the last layer in units of the outcome, which a fit by squared error standardised."""
    if loss != "squared-error":
        return weight, bias.ravel()
    center, scale = scales.target
    return weight * scale, bias.ravel() * scale + center


def head_of_layers(
    weights: Mapping[str, Array], names: Sequence[str], scales: Scales, loss: str
) -> NetworkHead:
    """Return the perceptron of these layers as a head that reads raw vectors."""
    layers = [(weights[f"{name}.weight"], weights[f"{name}.bias"].ravel()) for name in names]
    layers[0] = fold_inputs(*layers[0], scales)
    layers[-1] = in_units(*layers[-1], scales, loss)
    return NetworkHead(tuple(w for w, _ in layers), tuple(b for _, b in layers))
