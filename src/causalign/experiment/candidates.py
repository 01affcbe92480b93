"""What could be tested: texts that may compete, and how much one reader's outcome varies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError, SettingsError
from causalign.logs import Logs
from causalign.logs.covariates import number_labels
from causalign.results import Card
from causalign.settings import require_choice, require_number
from causalign.stats.optimal_design import improve_on_leader, pair_variance

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Scale = Literal["logit", "identity"]
SCALES: tuple[Scale, ...] = ("logit", "identity")
# More pairs than this are drawn from, at random.
MOST_PAIRS = 1_000_000
# The value of the best text is computed for so many pairs times texts, and for so many pairs.
MOST_VALUES, FEWEST_VALUED = 2_000_000, 100


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Candidates(Card):
    """Texts of which some could be tested against each other.

    Parameters
    ----------
    texts : sequence of n str
        At least two.
    groups : sequence of n labels, optional
        Texts can compete within a group: a story, a mail to one audience. The prompts are the
        groups unless others are given; without either, all texts are one group.
    prompts : sequence of n str, optional
        What each text answers.

    Raises
    ------
    InputError
        For lengths that differ, texts that are no strings, or when no group has two texts.
    """

    texts: Sequence[str]
    groups: Sequence[object] | None = None
    prompts: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name, values in (("groups", self.groups), ("prompts", self.prompts)):
            if values is not None and len(values) != len(self.texts):
                raise InputError(
                    f"There are {len(self.texts):,} texts and {len(values):,} {name}. Give one for "
                    "each text."
                )
        broken = [place for place, text in enumerate(self.texts) if not isinstance(text, str)]
        if broken:
            raise InputError(
                f"Text {broken[0] + 1} of the candidates is no string but "
                f"{self.texts[broken[0]]!r}."
            )
        if len(set(self.texts)) < 2:
            raise InputError(
                f"A test compares two texts; there is {len(set(self.texts))} to choose from. Give "
                "more candidates, or make minimal pairs of the text."
            )
        if np.bincount(self.codes).max() < 2:
            raise InputError(
                f"Each of the {len(self.texts):,} groups has one text, so nothing can compete. "
                "Name as group what the texts are written for, or name none to let all compete."
            )

    @classmethod
    def of(cls, logs: Logs) -> "Candidates":
        """Return the distinct texts of logs, within their role ``group`` if they have one."""
        group = logs.roles.group
        labels = None if group is None else logs.data[group].to_pylist()
        return cls.distinct(logs.completions, labels, logs.prompts)

    @classmethod
    def distinct(
        cls,
        texts: Sequence[str],
        groups: Sequence[object] | None = None,
        prompts: Sequence[str] | None = None,
    ) -> "Candidates":
        """Return candidates of rows, each text once for a group and prompt.

        Parameters
        ----------
        texts, groups, prompts
            As in the class.
        """
        given = [column for column in (texts, groups, prompts) if column is not None]
        if len({len(column) for column in given}) > 1:
            return cls(texts, groups, prompts)  # which says what is wrong
        first = {row: place for place, row in reversed([*enumerate(zip(*given, strict=True))])}
        places = sorted(first.values())
        return cls(
            [texts[place] for place in places],
            None if groups is None else [groups[place] for place in places],
            None if prompts is None else [prompts[place] for place in places],
        )

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def labels(self) -> list[str] | None:
        """The group of each text in words, or None where all are one group."""
        given = self.prompts if self.groups is None else self.groups
        return None if given is None else [str(label) for label in given]

    @property
    def codes(self) -> Codes:
        """The group of each text ``(n,)`` as a number."""
        labels = self.labels
        if labels is None:
            return np.zeros(len(self.texts), dtype=np.int64)
        return number_labels(labels)


@dataclass(frozen=True, slots=True)
class ReaderNoise:
    """How much what one reader does varies, in squared units of the reward.

    Parameters
    ----------
    variance : float
        Of one reader.
    between : float
        τ², the variance of arms about what the reward explains; more readers do not lower it
        (`between_variance` among the numbers of `WithinTests`).
    rate : float, optional
        How often the event happens, where the outcome is one.
    scale : {"logit", "identity"}, optional
        Of the reward, where the outcome is an event.

    Raises
    ------
    SettingsError
        For a variance that is not above 0, or a negative one between arms.
    """

    variance: float
    between: float = 0.0
    rate: float | None = None
    scale: Scale | None = None

    def __post_init__(self) -> None:
        require_number("variance", self.variance, above=0)
        require_number("between", self.between, least=0)

    @classmethod
    def of_rate(cls, rate: float, *, scale: Scale = "logit", between: float = 0.0) -> "ReaderNoise":
        """Return the noise of an event, such as a click: ``1/(p(1 - p))`` on the log-odds scale.

        Parameters
        ----------
        rate : float
            The probability p of the event, between 0 and 1.
        scale : {"logit", "identity"}
            Whether the reward is in log-odds, or in rates, where the noise is ``p(1 - p)``.
        between : float
            As in the class.
        """
        require_number("rate", rate, above=0, below=1, why="how often the event happens")
        require_choice("scale", scale, SCALES)
        spread = rate * (1 - rate)
        return cls(1 / spread if scale == "logit" else spread, between, rate, scale)

    @classmethod
    def of(cls, logs: Logs, *, scale: Scale | None = None, between: float = 0.0) -> "ReaderNoise":
        """Return the noise of logs: of their rate where they count trials, else of their outcome.

        Parameters
        ----------
        logs : Logs
            Whose rows, or trials, are readers.
        scale : {"logit", "identity"}, optional
            As in `of_rate`; "logit" unless given, if the logs count trials, else "identity".
        between : float
            As in the class.
        """
        if logs.roles.trials is None and scale != "logit":
            spread = float(np.var(logs.outcome))
            if not spread > 0:
                raise InputError(
                    f"The outcome {logs.roles.outcome!r} is the same in every row: how much it "
                    "varies is unknown. Name another column."
                )
            return cls(spread, between)
        shown = logs.trials if logs.roles.trials else np.ones(len(logs))
        rate = float(logs.outcome @ shown / shown.sum())
        if not 0 < rate < 1:
            raise InputError(
                f"The outcome {logs.roles.outcome!r} happens at a rate of {rate:g}; log-odds need "
                "one between 0 and 1."
            )
        return cls.of_rate(rate, scale=scale or "logit", between=between)

    def of_difference(self, readers: int) -> float:
        """Return the variance of the difference that a test with so many readers an arm finds."""
        if isinstance(readers, bool) or not readers > 0:
            raise SettingsError(f"readers must be above 0, not {readers!r}.")
        return 2 * (self.variance / readers + self.between)


@dataclass(frozen=True, slots=True, eq=False)
class CandidatePairs:
    """Hold m pairs of candidates that may be tested, of ``total`` that there are.

    ``first`` and ``second`` ``(m,)`` are positions of texts; ``how`` says which pairs these are
    where they are not all.
    """

    first: Codes
    second: Codes
    total: int
    how: str = ""


def draw_pairs(candidates: Candidates, seed: int, most: int = MOST_PAIRS) -> CandidatePairs:
    """Return the pairs of different texts within groups: all, or ``most`` drawn at random."""
    code = candidates.codes
    order = np.argsort(code, kind="stable")
    sizes = np.bincount(code)
    starts = np.cumsum(sizes) - sizes
    counts = sizes * (sizes - 1) // 2
    total, how = int(counts.sum()), ""
    number = np.arange(min(total, most))
    if total > most:
        how = f"drawn at random with seed {seed}"
        number = np.unique(np.random.default_rng(seed).integers(0, total, size=most))
    ends = np.cumsum(counts)
    group = np.searchsorted(ends, number, side="right")
    within = number - (ends - counts)[group]
    # Pair number p of a group is (b, a), b < a, with p = a(a - 1)/2 + b.
    a = np.floor((1 + np.sqrt(1 + 8 * within.astype(np.float64))) / 2).astype(np.int64)
    b = within - a * (a - 1) // 2
    first, second = order[starts[group] + b], order[starts[group] + a]
    text = np.unique(np.asarray(candidates.texts, dtype=object), return_inverse=True)[1].ravel()
    different = text[first] != text[second]
    first, second = first[different], second[different]
    return CandidatePairs(first, second, total if how else len(first), how)


def prune_pairs(
    pairs: CandidatePairs, mean: Array, factor: Array, group: Codes, fewest: int = FEWEST_VALUED
) -> CandidatePairs:
    """Keep the pairs for which the value of the best text is worth computing.

    Half are a text and the leader of its group, those first that gain most if both are known;
    half are the pairs whose difference is known least, which teach about other groups. At least
    ``fewest`` stay.
    """
    room = max(fewest, MOST_VALUES // len(mean))
    if len(pairs.first) <= room:
        return pairs
    leader, gain = improve_on_leader(mean, factor, group)
    challenger = np.argsort(-gain)[: room // 2]
    challenger = challenger[gain[challenger] > 0]
    spread = pair_variance(factor, pairs.first, pairs.second)
    widest = np.argsort(-spread)[: room - len(challenger)]
    first = np.concatenate([challenger, pairs.first[widest]])
    second = np.concatenate([leader[challenger], pairs.second[widest]])
    sides = np.sort(np.column_stack([first, second]), axis=1)
    first, second = np.unique(sides, axis=0).T
    how = "texts that may overtake the best of their group, and pairs known least"
    return CandidatePairs(first, second, pairs.total, how)
