"""What choosing between two texts by a reward earns, in units of the outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from causalign import figures
from causalign.evaluate.judges import Score
from causalign.evaluate.measure import Measure
from causalign.logs import Pairs
from causalign.logs.outcome_model import predict_outcome
from causalign.results import Section
from causalign.stats.pair_metrics import RankingMetric, clustered_metric

Floats = NDArray[np.float64]
SHOWN = 12
TABLE = "earned by choosing between two texts"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Choices(Measure):
    """What each reward earns on held-out pairs, the first reward the baseline.

    With m_i the outcome of the better text of pair i less that of the other, and s_i = 1 where the
    reward prefers it, -1 where it prefers the other and 0 where it tells no difference,

        gain = (1/n) Σ_i s_i m_i / 2

    is what the reward's choice earns above the toss of a coin, for each text that is chosen.
    Assumption: the pairs took no part in fitting any of the rewards, and were not selected by how
    large their margins are, ties included, which would make every gain too large.

    Attributes
    ----------
    differences : mapping of str to (n,) floats
        Score differences of each reward, the better text's less the other's.
    pairs : Pairs
        The pairs, with their margins; those of one group are not independent.
    unit : str
        What one of the outcome is, such as ``minutes_read`` or ``clicks per impressions``.
    """

    question: ClassVar[str] = "What does choosing between two texts by each reward earn?"
    assumption: ClassVar[str] = (
        "The pairs took no part in fitting any of the rewards and were not selected by margin."
    )

    differences: Mapping[str, Floats]
    pairs: Pairs
    unit: str

    @property
    def rewards(self) -> tuple[str, ...]:
        """The names of the rewards."""
        return tuple(self.differences)

    def gain_of(self, reward: str) -> RankingMetric:
        """Return what one reward earns above the toss of a coin."""
        return self._mean("gain of choosing", self._gains(reward))

    def difference(self, reward: str, other: str) -> RankingMetric:
        """Return what one reward earns above another, on the same pairs.

        Parameters
        ----------
        reward, other : str
            Names of the rewards.
        """
        return self._mean("difference in gain", self._gains(reward) - self._gains(other))

    def table(self) -> pa.Table:
        """Return one row for each reward."""
        gains = [self.gain_of(name) for name in self.rewards]
        above = [self.difference(name, self.rewards[0]) for name in self.rewards]
        return pa.table(
            {
                "reward": list(self.rewards),
                "gain": [m.estimate for m in gains],
                "lower": [m.lower for m in gains],
                "upper": [m.upper for m in gains],
                f"above {self.rewards[0]}": [m.estimate for m in above],
                "above lower": [m.lower for m in above],
                "above upper": [m.upper for m in above],
                "unit": [self.unit] * len(gains),
                "pairs": [len(self.pairs)] * len(gains),
            }
        )

    def disagreements(self, first: str, second: str) -> pa.Table:
        """Return the texts of the pairs on which two rewards differ most, the widest first.

        How far they differ is the smaller of the two score differences, each in standard deviations
        of its reward; which side turned out better plays no part.

        Parameters
        ----------
        first, second : str
            Names of the rewards.

        Returns
        -------
        pyarrow.Table
            With the text that each would choose, and ``better``: the name of who was right.
        """
        one, other = (self.differences[name] for name in (first, second))
        apart = np.minimum(abs(one) / (one.std() or 1), abs(other) / (other.std() or 1))
        rows = np.flatnonzero((one * other < 0) & (self.pairs.margin > 0))
        rows = rows[np.argsort(-apart[rows], kind="stable")]
        seen: set[str] = set()
        shown: list[dict[str, str]] = []
        for row in map(int, rows):
            sides = self.pairs.chosen[row], self.pairs.rejected[row]
            if len(shown) == SHOWN or seen & set(sides):
                continue
            seen.update(sides)
            right, wrong = (first, second) if one[row] > 0 else (second, first)
            choice = {right: sides[0], wrong: sides[1]}
            shown.append({first: choice[first], second: choice[second], "better": right})
        return pa.Table.from_pylist(
            shown, pa.schema([(name, pa.string()) for name in (first, second, "better")])
        )

    def answer(self) -> str:
        """Return what the choice of the best reward earns."""
        best = max(self.rewards, key=lambda name: self.gain_of(name).estimate)
        gain = self.gain_of(best)
        return (
            f"Choosing by the {best} reward earns {gain.estimate:.3g} {self.unit} more for each "
            f"text than the toss of a coin (95 % interval {gain.lower:.3g} to {gain.upper:.3g})."
        )

    def drawing(self) -> figures.Drawing:
        """Return what each reward earns, with its interval."""
        gains = {name: self.gain_of(name) for name in self.rewards}
        return figures.forest(
            "choosing",
            list(gains),
            [m.estimate for m in gains.values()],
            [m.lower for m in gains.values()],
            [m.upper for m in gains.values()],
            xlabel=f"{self.unit} above the toss of a coin",
            caption="What choosing between two texts earns, with 95 % intervals.",
            alt="; ".join(f"{name}: {m.estimate:.3g}" for name, m in gains.items()),
        )

    def _gains(self, reward: str) -> Floats:
        gains: Floats = np.sign(self.differences[reward]) * self.pairs.margin / 2
        return gains

    def _mean(self, name: str, values: Floats) -> RankingMetric:
        mean = float(values.mean())
        ends = (-np.inf, np.inf)
        return clustered_metric(name, mean, values - mean, self.pairs.group, 0.95, *ends)


def choose_between(
    models: Mapping[str, Score], pairs: Pairs, *, unit: str = "units of the outcome"
) -> Choices | None:
    """Let rewards choose the text of each pair; None of a single group.

    Parameters
    ----------
    models : mapping of str to callable
        ``reward(completions, prompts) -> (n,)`` by name, the baseline first.
    pairs : Pairs
        Held-out comparisons with the margins of their outcomes, ties too; an interval needs two
        groups.
    unit : str
        What one of the outcome is.

    Returns
    -------
    Choices or None

    Raises
    ------
    InputError
        When a reward returns no finite score for a text.
    """
    if len(np.unique(pairs.group)) < 2:
        return None
    differences = {}
    for name, model in models.items():
        sides = (pairs.chosen, pairs.rejected)
        chosen, rejected = (predict_outcome(model, side, pairs.prompt) for side in sides)
        differences[name] = chosen - rejected
    return Choices(differences, pairs, unit)


def add_choices(section: Section, choices: Choices) -> Section:
    """Return a section with what choosing earns added to it.

    Parameters
    ----------
    section : Section
        That of a ranking of the same rewards.
    choices : Choices
        What `choose_between` returned.
    """
    return replace(
        section,
        answer=f"{section.answer} {choices.answer()}",
        tables={**section.tables, TABLE: choices.table()},
        figures=(*section.figures, *figures.draw_figures(choices.drawing())),
    )
