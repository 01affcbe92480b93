"""What could be tested: texts that may compete, and how much one reader's outcome varies."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError, SettingsError
from causalign.logs import Logs
from causalign.settings import require_choice, require_number

Codes = NDArray[np.int64]
SCALES = ("logit", "identity")


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
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
        group, prompts = logs.roles.group, logs.prompts
        columns = [logs.completions]
        if group is not None:
            columns.append([str(label) for label in logs.data[group].to_pylist()])
        if prompts is not None:
            columns.append(prompts)
        texts, *more = map(list, zip(*dict.fromkeys(zip(*columns, strict=True)), strict=True))
        return cls(
            texts,
            groups=more[0] if group is not None else None,
            prompts=more[-1] if prompts is not None else None,
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
        return np.unique(labels, return_inverse=True)[1].ravel().astype(np.int64)


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

    Raises
    ------
    SettingsError
        For a variance that is not above 0, or a negative one between arms.
    """

    variance: float
    between: float = 0.0

    def __post_init__(self) -> None:
        require_number("variance", self.variance, above=0)
        require_number("between", self.between, least=0)

    @classmethod
    def of_rate(cls, rate: float, *, scale: str = "logit", between: float = 0.0) -> "ReaderNoise":
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
        return cls(1 / spread if scale == "logit" else spread, between)

    @classmethod
    def of(cls, logs: Logs, *, scale: str | None = None, between: float = 0.0) -> "ReaderNoise":
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
