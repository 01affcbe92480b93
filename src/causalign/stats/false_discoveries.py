"""Adjust many p-values so that few of the discoveries are false, however the tests depend."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["q_values"]


def q_values(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return Benjamini and Yekutieli's q-values ``(m,)``; NaN where there is no p-value.

    Calling a discovery what has ``q <= α`` keeps the expected share of false discoveries at or
    below α under any dependence of the tests. Phrases share words and exclude each other, and
    tests are two-sided, so that the condition of Benjamini and Hochberg (1995) is not known to
    hold; the price is the factor ``Σ_{i <= m} 1/i``, about ``ln m + 0.58``.

    Assumption: each p-value is valid by itself. Reference: Benjamini and Yekutieli (2001).
    """
    # Here, because all of scipy.stats takes a while to import.
    from scipy.stats import false_discovery_control

    p = np.asarray(p_values, dtype=np.float64)
    q = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    if known.any():
        q[known] = false_discovery_control(p[known], method="by")
    return q
