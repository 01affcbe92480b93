"""Judges of generated texts: a reward model, or a command that reads and writes JSON lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError
from causalign.logs import OutcomeModel
from causalign.logs.outcome_model import predict_outcome
from causalign.programs import Program

Floats = NDArray[np.float64]
Score = OutcomeModel  # score(completions, prompts) -> (n,); any reward model is one
PREFERENCES = {"first": 1.0, "tie": 0.5, "second": 0.0}


class Judge(Protocol):
    """A judge of generated texts: says of each pair which text is better."""

    def __call__(
        self, first: Sequence[str], second: Sequence[str], prompts: Sequence[str] | None = None
    ) -> Floats:
        """Return preferences ``(n,)``: 1 for the first text, 0 for the second, 0.5 for a tie."""
        ...


@dataclass(frozen=True, slots=True)
class RewardJudge:
    """A judge that prefers the text with the higher score, whatever the order of the two.

    Parameters
    ----------
    score : callable
        ``score(completions, prompts) -> (n,)``; any reward model serves.
    """

    score: Score

    def __call__(
        self, first: Sequence[str], second: Sequence[str], prompts: Sequence[str] | None = None
    ) -> Floats:
        """Return preferences ``(n,)``; raise ``InputError`` for scores that are not finite."""
        above, below = (predict_outcome(self.score, texts, prompts) for texts in (first, second))
        return np.asarray(0.5 + 0.5 * np.sign(above - below), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class CommandJudge:
    """A judge that is a program: one JSON object a line in, one a line out, in any order.

    In: ``{"id": 0, "prompt": "...", "first": "...", "second": "..."}`` (``prompt`` may be null).
    Out: ``{"id": 0, "preference": "first"}``, or ``"second"`` or ``"tie"``. The program is started
    once for all pairs, without a shell, so that no text can become a command. Anything else than
    one answer for each id is an error.

    Parameters
    ----------
    command : tuple of str
        The program and its arguments.
    timeout : float
        Seconds after which it is killed.

    Raises
    ------
    SettingsError
        When ``command`` is one string, or ``timeout`` is not above 0.
    """

    command: tuple[str, ...]
    timeout: float = 600.0

    def __post_init__(self) -> None:
        self._program()

    def __call__(
        self, first: Sequence[str], second: Sequence[str], prompts: Sequence[str] | None = None
    ) -> Floats:
        """Return preferences ``(n,)``; raise ``InputError`` when the answers break the protocol."""
        questions = [
            {"prompt": None if prompts is None else prompts[i], "first": a, "second": b}
            for i, (a, b) in enumerate(zip(first, second, strict=True))
        ]
        return np.array(self._program().ask(questions, "preference", _read_preference))

    def _program(self) -> Program:
        return Program(self.command, "judge", "pair", self.timeout)


def _read_preference(preference: object, where: str) -> float:
    if not isinstance(preference, str) or preference not in PREFERENCES:
        raise InputError(f"{where} prefers {preference!r}; 'first', 'second' or 'tie' is expected.")
    return PREFERENCES[preference]
