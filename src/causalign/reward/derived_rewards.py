"""Rewards that read a model otherwise: frozen, priced, or calibrated on rows it did not see."""

import operator
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError, SettingsError
from causalign.logs import CrossFitted, Logs, Pairs
from causalign.logs.outcome_model import Assessment, CrossFittable
from causalign.logs.roles import find_guardrail
from causalign.logs.stories import rows_together
from causalign.reward.audience_head import AudienceHead
from causalign.reward.examples import EVENT_ODDS
from causalign.reward.text_scorer import TextScorer
from causalign.settings import require_number
from causalign.stats.least_squares import ordinary
from causalign.stats.pair_metrics import odds_slope

Texts = Sequence[str]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DerivesRewards(TextScorer):
    """Make of a model the rewards that read it otherwise."""

    def freeze(self) -> "FrozenReward":
        """Return an outcome model that off-policy evaluation asks as it is, and never fits again.

        For a reward that learned from experiments, or from other logs.
        """
        return FrozenReward(self)

    def for_audience(self, audience: str) -> Self:
        """Return the reward for one audience; the model itself is for the mean of the readers.

        Parameters
        ----------
        audience : str
            As the log names it; of several columns the levels, joined by ", ".

        Raises
        ------
        SettingsError
            If the model knows no audiences: `causalign.reward.ForAudience` fits one that does.
        InputError
            For an audience that was not learned from, naming those that were.
        """
        if not isinstance(self.head, AudienceHead):
            raise SettingsError(
                "This reward is the same for every reader. Fit one with reward.ForAudience, on the "
                "command line `causalign reward fit --method for-audience --audience COLUMN`."
            )
        # Fitted again, it would be the whole model.
        return replace(self, head=self.head.of(audience), settings=None)

    @property
    def audiences(self) -> tuple[str, ...]:
        """The audiences that were learned from; none where the reward is the same for all."""
        return tuple(self.head.audiences) if isinstance(self.head, AudienceHead) else ()

    @property
    def guardrails(self) -> dict[str, Self]:
        """What texts do to further outcomes, by name: models of the same vectors."""
        return {
            name: replace(self, head=head, guardrail_heads={}, settings=None)
            for name, head in self.guardrail_heads.items()
        }

    def price(self, prices: Mapping[str, float]) -> "PricedReward":
        """Return what texts earn less what they cost: ``r(T) - Σ_g price_g ĝ(T)``.

        Parameters
        ----------
        prices : mapping from str to float
            What one of a guardrail costs, in ``units`` of the reward.

        Raises
        ------
        SettingsError
            For a guardrail that the model does not know, or a price that is no number.
        """
        named = {find_guardrail(name, self.guardrail_heads): p for name, p in prices.items()}
        for name, price in named.items():
            require_number(f"the price of {name}", price)
        return PricedReward(self, named)

    def calibrate(self, logs: Logs) -> "CalibratedReward":
        """Return what the outcomes of logs that the fit did not see say of its rewards.

        Parameters
        ----------
        logs : Logs

        Raises
        ------
        InputError
            If all rewards of the logs are the same, or comparisons in them tell no slope.
        """
        if self.units == "log-odds":
            return _calibrate_pairs(self, logs.pairs())
        known, guardrails = logs.roles.guardrails, {}
        for name, model in self.guardrails.items() if known else ():
            # A harm too rare for its model to tell texts apart is valued by nobody.
            with suppress(InputError):
                own = logs.of_guardrail(find_guardrail(name, known))
                guardrails[name] = _calibrate((model, self), own)
        return replace(_calibrate((self,), logs), guardrails=guardrails)


@dataclass(frozen=True, slots=True, eq=False)
class CalibratedReward:
    """Value texts by the line ``a + s'(r - centre)`` that outcomes of unseen rows follow.

    A reward is shrunk, and rates too well what it chose itself. The line is neither: s says what a
    difference of one in r was worth in rows that the fit did not see. A guardrail has two
    directions, its own model and the reward that texts are chosen by. Assumption: the line is the
    same for texts such as are valued.
    """

    models: tuple[TextScorer, ...]
    line: NDArray[np.float64]
    centre: NDArray[np.float64]
    root: NDArray[np.float64]
    guardrails: "Mapping[str, CalibratedReward]" = field(default_factory=dict)

    def assess(self, completions: Texts, prompts: Texts | None = None) -> Assessment:
        """Return the expected outcome of texts and its standard error, by the line."""
        changes = {
            name: one.assess_along(completions, prompts, level=0.0)
            for name, one in self.guardrails.items()
        }
        return replace(self.assess_along(completions, prompts, level=1.0), guardrails=changes)

    def assess_along(
        self, completions: Texts, prompts: Texts | None, *, level: float
    ) -> Assessment:
        """Return the line at texts, or with ``level`` 0 its difference from the average row."""
        r = _score_by(self.models, completions, prompts) - self.centre
        at = np.column_stack([np.full(len(r), level), r])
        factor = at @ self.root
        return Assessment(at @ self.line, np.linalg.norm(factor, axis=1), None, None, 0, factor)


def _calibrate(models: tuple[TextScorer, ...], logs: Logs) -> CalibratedReward:
    """Fit the line of outcomes on what models say of unseen rows."""
    r = _score_by(models, logs.completions, logs.prompts)
    if np.ptp(r[:, 0]) == 0:
        raise InputError("it gives all texts of the other half the same reward")
    centre = r.mean(axis=0)
    if len(models) > 1 and np.linalg.matrix_rank(r - centre) < len(models):
        return _calibrate(models[:1], logs)
    design = np.column_stack([np.ones(len(r)), r - centre])
    line = ordinary(logs.outcome, design, clusters=rows_together(logs), weights=logs.weights)
    # Where all rows of a part agree, a harm that did not happen, nothing is left to be uncertain.
    spread, directions = np.linalg.eigh(line.covariance)
    root = np.asarray(directions * np.sqrt(np.clip(spread, 0, None)), dtype=np.float64)
    return CalibratedReward(models, line.coefficients, centre, root)


def _calibrate_pairs(model: TextScorer, pairs: Pairs) -> CalibratedReward:
    """Fit the log-odds with which unseen pairs were won on what the model says of them.

    They have no level: only differences of texts are valued.
    """
    chosen, rejected = (
        _score_by((model,), side, pairs.prompt) for side in (pairs.chosen, pairs.rejected)
    )
    slope, variance = odds_slope((chosen - rejected)[:, 0], pairs.weight, pairs.group)
    centre = (chosen + rejected).mean(axis=0) / 2
    return CalibratedReward(
        (model,), np.array([0.0, slope]), centre, np.diag([0.0, np.sqrt(variance)])
    )


def _score_by(
    models: Sequence[TextScorer], completions: Texts, prompts: Texts | None
) -> NDArray[np.float64]:
    """Return what each model says of texts ``(n, k)``."""
    return np.column_stack([m(completions, prompts if m.reads_prompt else None) for m in models])


@dataclass(frozen=True, slots=True, eq=False)
class FrozenReward:
    """Predict outcomes by a fitted reward as it is; see :meth:`TextScorer.freeze`."""

    model: TextScorer

    def __call__(self, completions: Texts, prompts: Texts | None = None) -> NDArray[np.float64]:
        """Return ``E[Y | T]`` ``(n,)``, as :meth:`TextScorer.expected_outcome` does."""
        return self.model.expected_outcome(completions, prompts)

    def covariance_factor(
        self, completions: Texts, prompts: Texts | None = None
    ) -> NDArray[np.float64]:
        """Return F ``(n, k)`` of the expected outcomes; of a probability p its slope is p(1 - p).

        See :meth:`TextScorer.covariance_factor`.
        """
        factor = self.model.covariance_factor(completions, prompts)
        return factor * self._slope(completions, prompts)[:, None]

    def shrinkage(self, completions: Texts, prompts: Texts | None = None) -> NDArray[np.float64]:
        """Return what the penalty took from the expected outcomes ``(n,)``, by their slope."""
        return self.model.shrinkage(completions, prompts) * self._slope(completions, prompts)

    def _slope(self, completions: Texts, prompts: Texts | None) -> NDArray[np.float64]:
        if self.model.units != EVENT_ODDS:
            return np.ones(len(completions))
        p = self(completions, prompts)
        return p * (1 - p)


@dataclass(frozen=True, slots=True, eq=False)
class PricedReward:
    """Score texts by what they earn less what they cost; `RewardModel.price` makes one."""

    model: TextScorer
    prices: Mapping[str, float]

    def __call__(self, completions: Texts, prompts: Texts | None = None) -> NDArray[np.float64]:
        """Return ``r(T) - Σ_g price_g ĝ(T)`` ``(n,)``; texts are encoded once."""
        heads = [self.model.head, *(self.model.guardrail_heads[name] for name in self.prices)]
        (earned, *costs), _ = self.model.apply_heads(heads, completions, prompts)
        return np.asarray(earned - sum(map(operator.mul, self.prices.values(), costs)))

    def cross_fit(self, logs: Logs) -> CrossFitted:
        """Fit the method again without each fold of logs whose outcome is priced as well.

        Raises ``InputError`` for logs that still have the guardrails.
        """
        if logs.roles.guardrails:
            raise InputError(
                "The reward counts what texts cost and the outcome of the logs does not. Price "
                "them too: logs.price(prices)."
            )
        assert isinstance(self.model, CrossFittable)
        return self.model.cross_fit(logs)
