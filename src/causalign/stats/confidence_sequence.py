"""Intervals and e-values that hold at every look: asymptotic confidence sequences, e-BH, stopping.

An estimate with standard error s is looked at as often as anybody likes. Time is counted by the
ratio x of information so far to the information at which a unit prior would weigh as much as the
data (``t ρ²`` of the reference). All functions take and return arrays of numpy.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import lambertw
from scipy.stats import norm

from causalign.errors import InputError
from causalign.settings import require_number

Array = NDArray[np.float64]


def narrowest_ratio(alpha: float) -> float:
    """Return the ratio x at which `reach` is smallest: ``x = -W₋₁(-α²/e) - 1``.

    About 8.2 at α = 0.05. So x(t) = x t/t* makes the interval narrowest after t* readers. Raises
    ``SettingsError`` unless 0 < α < 1.
    """
    require_number("alpha", alpha, above=0, below=1)
    return float(-lambertw(-(alpha**2) * np.exp(-1), -1).real - 1)


def reach(ratio: ArrayLike, alpha: float) -> Array:
    """Return how many standard errors an interval must reach to hold at every look.

        √( (1 + 1/x) (ln(1 + x) + 2 ln(1/α)) ),

    which is ``√(2(tρ² + 1)/(tρ²) · ln(√(tρ² + 1)/α))`` with x = tρ². Assumption: independent
    readers with finite variance; errors vanish as readers grow in number. Reference: Waudby-Smith,
    Arbour, Sinha, Kennedy and Ramdas, arXiv 2103.06476, theorem 2.2.
    """
    x = np.asarray(ratio, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.sqrt((1 + 1 / x) * (np.log1p(x) - 2 * np.log(alpha))))


def one_sided_reach(ratio: ArrayLike, alpha: float) -> Array:
    """Return how many standard errors a bound on one side must reach to hold at every look.

    ``√(2(1 + 1/x) ln(1 + √(1 + x)/(2α)))``. Reference: arXiv 2103.06476, appendix B.1.
    """
    x = np.asarray(ratio, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.sqrt(2 * (1 + 1 / x) * np.log1p(np.sqrt(1 + x) / (2 * alpha))))


def log_e_value(z: ArrayLike, ratio: ArrayLike) -> Array:
    """Return the logarithm of the e-value against "no difference".

    ``ln E = x z²/(2(1 + x)) - ln(1 + x)/2``, z the estimate over its standard error. E ≥ 1/α just
    where the interval of `reach` at α leaves out 0. Under no difference the probability that E ever
    reaches 1/α is at most α.
    """
    x = np.asarray(ratio, dtype=np.float64)
    return np.asarray(x / (2 * (1 + x)) * np.asarray(z) ** 2 - np.log1p(x) / 2)


def expecting_reach(
    estimate: ArrayLike, error: ArrayLike, mean: ArrayLike, spread: ArrayLike, alpha: float
) -> Array:
    """Return the reach, in standard errors, where a difference N(m, ω²) was expected beforehand.

        √( 2 ln(1/α) + ln(1 + ω²/s²) + (Δ̂ - m)²/(s² + ω²) )

    The interval holds at every look whatever m and ω are, as long as both were settled before the
    test; it is narrow where the expectation is right and wide where it is wrong. It holds each
    value θ whose e-value `expecting_log_e_value` is below 1/α. Reference: Waudby-Smith and Ramdas,
    arXiv 2006.04347 (the prior-posterior-ratio martingale).
    """
    s2, w2 = np.asarray(error, dtype=np.float64) ** 2, np.asarray(spread, dtype=np.float64) ** 2
    away = (np.asarray(estimate) - np.asarray(mean)) ** 2 / (s2 + w2)
    return np.asarray(np.sqrt(-2 * np.log(alpha) + np.log1p(w2 / s2) + away))


def expecting_log_e_value(
    estimate: ArrayLike,
    error: ArrayLike,
    mean: ArrayLike,
    spread: ArrayLike,
    value: ArrayLike = 0.0,
) -> Array:
    """Return the logarithm of the e-value against a difference of ``value``.

    ``E(θ) = N(Δ̂; m, s² + ω²) / N(Δ̂; θ, s²)``, the likelihood ratio of what was expected.
    """
    s2, w2 = np.asarray(error, dtype=np.float64) ** 2, np.asarray(spread, dtype=np.float64) ** 2
    estimates = np.asarray(estimate, dtype=np.float64)
    away = (estimates - np.asarray(mean)) ** 2 / (s2 + w2)
    null = (estimates - np.asarray(value)) ** 2 / s2
    return np.asarray((null - away - np.log1p(w2 / s2)) / 2)


def count_discoveries(log_e_values: ArrayLike, alpha: float, family: int | None = None) -> int:
    """Return how many of the largest e-values are discoveries by the e-BH procedure.

    The largest k with ``E₍ₖ₎ ≥ m/(αk)``. The expected share of false ones among them is at most α,
    however the e-values depend on each other. Those k are the ones whose interval at level
    1 - αk/m leaves out 0. Reference: Wang and Ramdas (2022), arXiv 2009.02824.

    Parameters
    ----------
    log_e_values : (K,) array
        Natural logarithms.
    alpha : float
        False-discovery rate.
    family : int, optional
        m, the number of comparisons made; K unless given.
    """
    ordered = np.sort(np.asarray(log_e_values, dtype=np.float64))[::-1]
    total = len(ordered) if family is None else family
    ranks = np.arange(1, len(ordered) + 1)
    passing = ordered >= np.log(total / (alpha * ranks))
    return int(ranks[passing].max(initial=0))


@dataclass(frozen=True, slots=True, eq=False)
class StoppingLaw:
    """Hold when a test stops: the probability ``(L,)`` to leave at each look, above and below."""

    above: Array
    below: Array

    @property
    def power(self) -> float:
        """The probability to stop by the last look."""
        return float(self.above.sum() + self.below.sum())

    def expected_share(self, information: ArrayLike) -> float:
        """Return the mean information when the test ends, over that of the last look."""
        at = np.asarray(information, dtype=np.float64)
        stopped = self.above + self.below
        return float(stopped @ at / at[-1] + 1 - stopped.sum())


def stopping_law(reaches: ArrayLike, information: ArrayLike, drift: float) -> StoppingLaw:
    """Integrate when a difference leaves its boundary, at finitely many looks.

    The score S at information t is N(δt, t) with independent increments; the test goes on while
    ``|S| < reach √t``. The density of S among tests that go on is carried from look to look by
    Gauss-Legendre integration.

    Parameters
    ----------
    reaches : (L,) array
        Boundaries in standard errors.
    information : (L,) array
        1/s² at each look, ascending.
    drift : float
        The true difference δ.

    Raises
    ------
    InputError
        When the looks are not in order or of different numbers.

    References
    ----------
    Armitage, McPherson and Rowe (1969), Journal of the Royal Statistical Society A 132.
    """
    bound, at = np.asarray(reaches, dtype=np.float64), np.asarray(information, dtype=np.float64)
    if bound.shape != at.shape or bound.ndim != 1 or not (np.diff(at, prepend=0.0) > 0).all():
        raise InputError("reaches and information must be (L,), the information ascending.")
    above, below = np.empty(len(at)), np.empty(len(at))
    places, mass = np.zeros(1), np.ones(1)
    # The more looks, the narrower the steps that the nodes of the integral must show.
    nodes, weights = np.polynomial.legendre.leggauss(64 + 8 * int(np.sqrt(len(at))))
    for look, (limit, step) in enumerate(
        zip(bound * np.sqrt(at), np.diff(at, prepend=0.0), strict=True)
    ):
        width = np.sqrt(step)
        above[look] = mass @ norm.sf((limit - places - drift * step) / width)
        below[look] = mass @ norm.cdf((-limit - places - drift * step) / width)
        ahead = (limit * nodes[:, None] - places - drift * step) / width
        density = np.exp(-(ahead**2) / 2) @ mass / (width * np.sqrt(2 * np.pi))
        places, mass = limit * nodes, density * weights * limit
    return StoppingLaw(above, below)
