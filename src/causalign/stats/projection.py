"""Project columns on exogenous ones and instruments, and factor their projections."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causalign.errors import NotIdentified
from causalign.stats.factor import (
    COLLINEAR,
    GRAM_IS_SAFE,
    Factorisation,
    factorise,
    factorise_products,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """Hold how X follows from W: ``W @ slopes``, of which ``fitted (n, p)`` are the endogenous
    columns, the ``rounding (m + p,)`` of all of them, and ``gram``, the cross products of W.
    """

    fitted: Floats
    slopes: Floats
    rounding: Floats
    gram: Floats

    def factorise(
        self, W: Floats, names: Sequence[str], reason: str = ""
    ) -> tuple[Factorisation, Floats, Floats]:
        """Factor the cross products of ``W @ slopes``; raise `NotIdentified` as `factorise`.

        Also return columns ``(n, c)`` and a turn ``(c, m + p)`` whose product ``W @ slopes`` is: W
        and the slopes, or, where long columns of W cancel to short ones, the product itself.
        """
        gram = self.slopes.T @ self.gram @ self.slopes
        long = np.sqrt(np.diag(self.gram)) @ np.abs(self.slopes)
        short = np.sqrt(np.maximum(np.diag(gram), np.finfo(float).tiny))
        lost = np.maximum(self.rounding, GRAM_IS_SAFE * long**2 / short)
        factor = factorise_products(gram, lost)
        if factor is not None:
            return factor, W, self.slopes
        fitted = W @ self.slopes
        factor = factorise(fitted, names, rounding=self.rounding, reason=reason)
        return factor, fitted, np.eye(fitted.shape[1])


def project(
    endogenous: Floats,
    W: Floats,
    m: int,
    labels: tuple[Sequence[str], Sequence[str]],
    rounding: Floats,
) -> Projection:
    """Project ``[exogenous, endogenous]`` on ``W (n, m + q)``, whose first m columns are exogenous.

    ``labels`` are the names of X and of W, ``rounding`` the lengths of endogenous columns and W.
    Raises `NotIdentified` for redundant columns and instruments that move nothing.
    """
    p, gram = endogenous.shape[1], W.T @ W
    factor = factorise_products(gram, rounding[p:])
    factor = factor or factorise(W, labels[1], rounding=rounding[p:])
    slopes = factor.solve(W.T @ endogenous)
    slopes += factor.solve(W.T @ (endogenous - W @ slopes))
    fitted = W @ slopes
    moved = np.linalg.norm(fitted, axis=0) > COLLINEAR * np.linalg.norm(endogenous, axis=0)
    if not moved.all():
        raise NotIdentified(
            f"The instruments do not move {labels[0][m + int(np.argmin(moved))]!r} at all. "
            "Name others in `Roles(instruments=...)`."
        )
    lost = np.sqrt(rounding[:p] ** 2 + np.square(slopes).T @ np.square(rounding[p:]))
    return Projection(
        fitted,
        np.hstack([np.eye(len(slopes), m), slopes]),
        np.concatenate([rounding[p : p + m], lost]),
        gram,
    )
