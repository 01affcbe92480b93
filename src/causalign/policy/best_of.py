"""Choose the best of n candidates by a reward's lower bound, inside what its log covers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from causalign.checks.candidates import (
    OfferedTexts,
    choice_findings,
    count_reasons,
    find_nearest_logged,
    gather_candidates,
    refuse_outside,
)
from causalign.checks.limits import (
    Limit,
    guardrails_kept,
    hold_to_limits,
    read_limit,
    refuse_beyond,
    refuse_losses,
)
from causalign.errors import InputError, NotIdentified, SettingsError
from causalign.lm.writers import Prompts, Writer, ask_writer
from causalign.logs import Logs
from causalign.logs.outcome_model import AssessesTexts, AssessingReward, Assessment
from causalign.logs.roles import find_guardrail
from causalign.policy.best_texts import BestTexts, tabulate_candidates
from causalign.settings import require_number
from causalign.stats.best_of import (
    ChoiceWorth,
    Frontier,
    Valuation,
    choose_best,
    trade_off,
    worth_of_choice,
)

Floats = NDArray[np.float64]
# What the choice is worth, and the gain; what it does to guardrails; or nothing, and why.
_Valued = tuple[tuple[ChoiceWorth, ...], dict[str, ChoiceWorth], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOf:
    """Choose ``argmax r(T) - κ √(φ'Vφ)`` among n candidates inside the support of the log.

    Nothing is trained. A candidate outside the support (its leverage above the 99th percentile of
    the log's own) is refused, whatever the reward says of it, as are texts that are empty or were
    offered before; every refusal has its reason, and a prompt all of whose candidates are refused
    gets no text.

    Parameters
    ----------
    n : int
        Candidates for each prompt. The law of the chosen texts is at most ``log n - (n - 1)/n``
        nats from that of the writer.
    caution : float
        κ: how many standard errors of the reward are taken off. 0 chooses by the reward alone, and
        is the only choice for a reward that tells no standard error.
    limits : sequence of str
        By how much guardrails may differ from their mean in the log: ``"complaints <= 0.01"``. A
        candidate is refused where the upper end of a one-sided 95% interval lies beyond.
    most_loss : float, optional
        By how much an audience may earn less than it earned in the log, in units of the outcome: a
        candidate is refused under which some audience may lose more. Of a reward for audiences.
    seed : int
        Of the writer's draws, and of the cut of the log into halves.

    Raises
    ------
    SettingsError
        For settings out of range.

    References
    ----------
    Gao, Schulman and Hilton, arXiv 2210.10760, for best of n and how a proxy is over-optimised;
    Beirami et al., arXiv 2401.01879, for its divergence.
    """

    n: int = 16
    caution: float = 1.0
    limits: Sequence[str] = ()
    most_loss: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        require_number("n", self.n, least=1, whole=True)
        require_number("caution", self.caution, least=0)
        require_number("seed", self.seed, least=0, whole=True)
        if self.most_loss is not None:
            require_number("most_loss", self.most_loss, least=0)
        if isinstance(self.limits, str):
            raise SettingsError(f"limits are several: write [{self.limits!r}].")
        object.__setattr__(self, "limits", tuple(self.limits))
        self._read_limits()

    def _read_limits(self) -> list[Limit]:
        return [read_limit(limit) for limit in self.limits]

    def check(self, reward: AssessingReward, prompts: Prompts) -> None:
        """Raise before a writer is asked where the reward cannot choose.

        Parameters
        ----------
        reward, prompts
            As in :meth:`write`.

        Raises
        ------
        SettingsError
            If caution is asked for and the reward tells no standard error, a limit names a
            guardrail, or ``most_loss`` asks for audiences, that the reward does not know.
        InputError
            If the reward reads prompts and there are none.
        """
        if self.caution > 0 and not reward.has_covariance:
            raise SettingsError(
                f"caution={self.caution:g} takes standard errors off, and this reward tells none. "
                "Set caution to 0, or fit 'ridge', 'within-tests', 'pairwise' or 'pooled'."
            )
        for limit in self._read_limits():
            find_guardrail(limit.guardrail, reward.guardrails)
        if self.most_loss is not None and not reward.audiences:
            raise SettingsError(
                "most_loss asks what each audience loses; this reward is the same for all readers. "
                "Fit one for audiences: reward.ForAudience, --method for-audience."
            )
        if reward.reads_prompt and any(prompt is None for prompt in prompts):
            raise InputError("This reward reads prompts; give a file of prompts.")

    def write(
        self,
        writer: Writer,
        reward: AssessingReward,
        prompts: Prompts,
        *,
        logs: Logs | None = None,
        folder: str | Path | None = None,
        progress: bool = False,
    ) -> BestTexts:
        """Ask a writer for candidates, and choose.

        Parameters
        ----------
        writer : Writer
        reward : RewardModel
        prompts : sequence of str or None
            What is answered; ``[None] * k`` asks for k texts without prompts.
        logs : Logs, optional
            Those that the reward was fitted on: they tell the nearest logged texts, and what the
            choice is worth.
        folder : path, optional
            Where answers are kept, so that a killed call asks for none twice.
        progress : bool
        """
        self.check(reward, prompts)
        offers = ask_writer(writer, prompts, self.n, self.seed, folder, progress=progress)
        return self.choose(offers, reward, prompts, logs=logs)

    def choose(
        self,
        offers: Sequence[Sequence[str]],
        reward: AssessingReward,
        prompts: Prompts,
        *,
        logs: Logs | None = None,
    ) -> BestTexts:
        """Choose among candidates that were written elsewhere.

        Parameters
        ----------
        offers : sequence of sequences of str
            The candidates for each prompt.
        reward, prompts, logs
            As in :meth:`write`.

        Returns
        -------
        BestTexts
        """
        self.check(reward, prompts)
        formed = gather_candidates(prompts, offers)
        read = formed.kept
        assessed = _assess(reward, formed, read)
        limits, covered = self._read_limits(), refuse_outside(formed, assessed)
        candidates = refuse_beyond(covered, read, assessed, limits)
        if self.most_loss is not None:
            candidates = refuse_losses(candidates, read, assessed, self.most_loss)
        nearest: list[str | None] = [None] * len(candidates.texts)
        if logs is not None:
            nearest = find_nearest_logged(candidates, reward, logs)
        score, eligible = self._score(assessed), np.isin(read, candidates.kept)
        chosen = np.zeros(0, dtype=int)
        worth: _Valued = (), {}, "no candidate may be chosen"
        if eligible.any():
            code = np.unique(candidates.place[read[eligible]], return_inverse=True)[1].ravel()
            chosen = read[eligible][choose_best(score[eligible], code)]
            worth = self._value(reward, candidates, code, _take(assessed, eligible), logs)
        return BestTexts(
            self,
            tabulate_candidates(candidates, read, assessed, score, chosen, nearest),
            len(candidates.prompts),
            reward.units,
            *worth,
            count_reasons(candidates),
            _draw_frontiers(covered, read, assessed, score),
            (
                *choice_findings(
                    candidates, assessed, reward.has_covariance, self.n, self.caution, worth[0]
                ),
                guardrails_kept(worth[1], limits),
            ),
        )

    def _score(self, assessed: Assessment) -> Floats:
        """Return what is chosen by: the reward less so many of its standard errors."""
        if self.caution == 0 or assessed.standard_error is None:
            return assessed.reward
        return np.asarray(assessed.reward - self.caution * assessed.standard_error)

    def _value(
        self,
        reward: AssessingReward,
        candidates: OfferedTexts,
        code: NDArray[np.int64],
        whole: Assessment,
        logs: Logs | None,
    ) -> _Valued:
        """Value what is chosen without a part of the log by that part."""
        if logs is None:
            return (), {}, "no log was given whose parts could value the choice"
        if len(code) == code.max() + 1:
            return (), {}, "no prompt had two candidates to choose from"
        rows = candidates.kept
        try:
            fits = reward.fit_apart(logs, self.seed)
        except (SettingsError, InputError, NotIdentified) as reason:
            return (), {}, f"a part of the log makes no reward: {reason}".rstrip(".")
        scores, judged = [], []
        for chooser, judge in fits:
            assessed = _assess(chooser, candidates, rows)
            # A limit that no candidate keeps to, by this model, is broken as little as may be.
            scores.append(hold_to_limits(self._score(assessed), assessed, self._read_limits()))
            judged.append(_assess(judge, candidates, rows))
        own = self._score(whole)

        def value(by: Assessment, judges: Sequence[Assessment]) -> tuple[ChoiceWorth, ChoiceWorth]:
            ways = [
                Valuation(score, one.reward, one.factor)
                for score, one in zip(scores, judges, strict=True)
            ]
            return worth_of_choice(code, Valuation(own, by.reward), ways)

        changes = {
            name: value(change, [one.guardrails[name] for one in judged])[0]
            for name, change in whole.guardrails.items()
            if all(name in one.guardrails for one in judged)
        }
        return value(whole, judged), changes, ""


def _assess(reward: AssessesTexts, candidates: OfferedTexts, rows: NDArray[np.int64]) -> Assessment:
    texts = [candidates.texts[row] for row in rows]
    return reward.assess(texts, candidates.prompts_of(rows) if len(rows) else None)


def _draw_frontiers(
    covered: OfferedTexts, read: NDArray[np.int64], assessed: Assessment, score: Floats
) -> dict[str, Frontier]:
    """Return what each guardrail trades against the reward, among candidates in the support."""
    inside = np.isin(read, covered.kept)
    if not inside.any():
        return {}
    code = np.unique(covered.place[read[inside]], return_inverse=True)[1].ravel()
    return {
        name: trade_off(score[inside], assessed.reward[inside], change.reward[inside], code)
        for name, change in assessed.guardrails.items()
    }


def _take(assessed: Assessment, rows: NDArray[np.bool_]) -> Assessment:
    """Return what was said of some of the texts."""

    def pick(values: Floats | None) -> Floats | None:
        return None if values is None else values[rows]

    return replace(
        assessed,
        reward=assessed.reward[rows],
        standard_error=pick(assessed.standard_error),
        leverage=pick(assessed.leverage),
        factor=pick(assessed.factor),
        guardrails={name: _take(one, rows) for name, one in assessed.guardrails.items()},
        audiences={name: _take(one, rows) for name, one in assessed.audiences.items()},
    )
