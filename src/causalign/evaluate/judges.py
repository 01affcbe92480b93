"""Judges of generated texts: a reward model, or a command that reads and writes JSON lines."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError, SettingsError, UnreadableFile
from causalign.logs import OutcomeModel
from causalign.logs.outcome_model import predict_outcome
from causalign.settings import require_number

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
        if isinstance(self.command, str) or not self.command:
            raise SettingsError(
                "command must be a program and its arguments as a tuple, such as "
                "('python', 'judge.py'); no shell reads it."
            )
        require_number("timeout", self.timeout, above=0, why="seconds")

    def __call__(
        self, first: Sequence[str], second: Sequence[str], prompts: Sequence[str] | None = None
    ) -> Floats:
        """Return preferences ``(n,)``; raise ``InputError`` when the answers break the protocol."""
        questions = [
            {"id": i, "prompt": None if prompts is None else prompts[i], "first": a, "second": b}
            for i, (a, b) in enumerate(zip(first, second, strict=True))
        ]
        # ASCII only, so that a lone surrogate or a line separator in a text breaks no line.
        lines = "".join(json.dumps(question) + "\n" for question in questions)
        return _read_answers(self._run(lines), len(questions))

    def _run(self, lines: str) -> str:
        name = self.command[0]
        try:
            done = subprocess.run(
                self.command, input=lines.encode(), capture_output=True, timeout=self.timeout
            )
        except OSError as error:
            raise UnreadableFile(f"The judge {name!r} cannot be started: {error}") from error
        except subprocess.TimeoutExpired as error:
            raise InputError(
                f"The judge {name!r} was stopped after {self.timeout:g} seconds. Give it more "
                "time, or fewer pairs."
            ) from error
        if done.returncode != 0:
            tail = done.stderr.decode("utf-8", "replace").strip()[-300:]
            raise InputError(f"The judge {name!r} ended with code {done.returncode}: {tail}")
        try:
            return done.stdout.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"The judge {name!r} did not answer in UTF-8.") from error


def _read_answers(text: str, count: int) -> Floats:
    preferences = np.full(count, np.nan)
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            answer = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(
                f"Line {number} of the judge's answers is not JSON: {line[:80]!r}"
            ) from error
        if not isinstance(answer, dict) or set(answer) != {"id", "preference"}:
            raise InputError(
                f"Line {number} of the judge's answers must hold 'id' and 'preference' and nothing "
                f"else: {line[:80]!r}"
            )
        place, preference = answer["id"], answer["preference"]
        if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < count:
            raise InputError(f"Line {number} of the judge's answers has the unknown id {place!r}.")
        if not isinstance(preference, str) or preference not in PREFERENCES:
            raise InputError(
                f"Line {number} of the judge's answers prefers {preference!r}; 'first', 'second' "
                "or 'tie' is expected."
            )
        if not np.isnan(preferences[place]):
            raise InputError(f"The judge answered pair {place} twice (line {number}).")
        preferences[place] = PREFERENCES[preference]
    if np.isnan(preferences).any():
        raise InputError(
            f"The judge left out {int(np.isnan(preferences).sum())} of {count} pairs; the first is "
            f"{int(np.isnan(preferences).argmax())}."
        )
    return preferences
