"""What a reward leads to expect of a test, as past tests have shown: before it begins."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError
from causalign.experiment.running_tests import RunningTest
from causalign.logs import Logs, OutcomeModel
from causalign.logs.arms import read_arms
from causalign.logs.outcome_model import predict_outcome
from causalign.stats.within_groups import between_variance, deviate

Floats = NDArray[np.float64]

# τ is at least so much of what the reward says of an arm.
_LEAST_SPREAD = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    """Expect of arms i and j of a new test a difference ``N(a (r_i - r_j), 2τ²)``.

    Attributes
    ----------
    reward : callable
        ``reward(completions, prompts) -> (n,)``.
    slope : float
        a, what a difference of the reward was worth in past tests.
    spread : float
        τ, by how much an arm departed from that, sampling aside.
    in_odds : bool
        Whether a and τ are in log-odds of the outcome, or in its units.
    tests : int
        The past tests.
    """

    reward: OutcomeModel
    slope: float
    spread: float
    in_odds: bool
    tests: int

    def of(self, test: RunningTest) -> tuple[Floats, float]:
        """Return what is expected of each arm ``(K,)``, up to a constant, and the spread.

        Both are in units of the outcome: log-odds are turned into rates at the rate of the first
        day, p(1 - p), which is known before any later look.
        """
        if self.in_odds != test.counts:
            kind = "counts of trials" if self.in_odds else "numbers"
            raise InputError(
                f"The past tests hold {kind} and the running one does not: what a reward is worth "
                "there says nothing here."
            )
        scale = 1.0
        if self.in_odds:
            first = int(np.flatnonzero(test.shown.sum(axis=1) > 1)[0])
            readers = test.cells.readers[first]
            rate = (readers @ test.cells.mean[first] + 1) / (readers.sum() + 2)
            scale = float(rate * (1 - rate))
        rewards = predict_outcome(self.reward, test.arms, None)
        return scale * self.slope * rewards, scale * self.spread


def expect(reward: OutcomeModel, past: Logs) -> Expectation:
    """Ask past tests what a difference of the reward is worth, and how wrong it may be.

        z_ti = α_t + a r(T_ti) + e_ti,   e_ti ~ N(0, v_ti + τ²)

    over all arms i of past tests t, z log-odds or means with sampling variance v; τ² by restricted
    maximum likelihood, a by least squares within tests weighted by 1/(v + τ²), never below 0.
    The reward must not have been fitted on these tests, nor on the running one: else it looks
    better than it is.

    Parameters
    ----------
    reward : callable
        ``reward(completions, prompts) -> (n,)``, such as a `RewardModel`.
    past : Logs
        Finished tests: texts that were randomised within the role ``group``.

    Returns
    -------
    Expectation
        For `read`.

    Raises
    ------
    RoleNotDeclared
        When the past tests declare no group.
    InputError
        When no test has two texts, or sampling errors are unknown.
    """
    arms = read_arms(past, "What a reward is worth")
    if not arms.known:
        raise InputError(
            "The past tests do not tell how much readers differ: give counts of trials, or a row "
            "for each reader."
        )
    completions = past.completions
    rewards = predict_outcome(reward, [completions[row] for row in arms.rows], None)[:, None]
    between = between_variance(rewards, arms.outcome, arms.variance, arms.test)
    within = deviate(rewards, arms.outcome, arms.test, 1 / (arms.variance + between))
    gram, cross = within.products()
    slope = max(float(cross[0] / gram[0, 0]), 0.0) if gram[0, 0] > 0 else 0.0
    # Nothing is known exactly: with a spread of 0 an expectation would never give way to data.
    explained = slope * np.sqrt(gram[0, 0] / within.weights.sum())
    spread = max(np.sqrt(between), _LEAST_SPREAD * explained)
    if spread == 0:
        raise InputError("The arms of past tests differ by sampling only: there is nothing to use.")
    return Expectation(reward, slope, float(spread), arms.in_odds, int(arms.test.max()) + 1)
