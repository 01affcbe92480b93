"""Ask a program questions: one JSON object a line in, one a line out, each answered once."""

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from causalign.errors import InputError, SettingsError, UnreadableFile
from causalign.settings import require_number

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Program:
    """A program that answers questions, started once for all of them and without a shell.

    No text can become a command. In: ``{"id": 0, ...}``, a line for each question. Out: ``{"id":
    0, FIELD: ...}`` in any order, and nothing else.

    Parameters
    ----------
    command : tuple of str
        The program and its arguments.
    role : str
        What messages call it: "judge".
    asked : str
        What it is asked about: "pair".
    timeout : float
        Seconds after which it is killed.

    Raises
    ------
    SettingsError
        When ``command`` is one string, or ``timeout`` is not above 0.
    """

    command: tuple[str, ...]
    role: str
    asked: str
    timeout: float = 600.0

    def __post_init__(self) -> None:
        if isinstance(self.command, str) or not self.command:
            raise SettingsError(
                "command must be a program and its arguments as a tuple, such as "
                f"('python', '{self.role}.py'); no shell reads it."
            )
        require_number("timeout", self.timeout, above=0, why="seconds")

    def ask(
        self,
        questions: Sequence[Mapping[str, object]],
        field: str,
        read: Callable[[object, str], Answer],
    ) -> list[Answer]:
        """Return the answer to each question, in the order of the questions.

        Parameters
        ----------
        questions : sequence of n mappings
            What the lines hold beside ``id``.
        field : str
            The one key that an answer has beside ``id``.
        read : callable
            Of its value and of words that name the line: returns the answer or raises
            ``InputError``.

        Raises
        ------
        UnreadableFile
            When the program cannot be started.
        InputError
            When it fails, or its answers are not one for each id.
        """
        numbered = [{"id": place} | dict(question) for place, question in enumerate(questions)]
        # ASCII only, so that a lone surrogate or a line separator in a text breaks no line.
        output = self._run("".join(json.dumps(question) + "\n" for question in numbered))
        answers: dict[int, Answer] = {}
        for number, line in enumerate(output.split("\n"), 1):
            if line.strip():
                where = f"Line {number} of the {self.role}'s answers"
                place, value = _read_line(line, where, field, len(questions))
                answer = read(value, where)
                if place in answers:
                    raise InputError(
                        f"The {self.role} answered {self.asked} {place} twice (line {number})."
                    )
                answers[place] = answer
        missing = [place for place in range(len(questions)) if place not in answers]
        if missing:
            raise InputError(
                f"The {self.role} left out {len(missing)} of {len(questions)} {self.asked}s; the "
                f"first is {missing[0]}."
            )
        return [answers[place] for place in range(len(questions))]

    def _run(self, lines: str) -> str:
        name = self.command[0]
        try:
            done = subprocess.run(
                self.command, input=lines.encode(), capture_output=True, timeout=self.timeout
            )
        except OSError as error:
            raise UnreadableFile(f"The {self.role} {name!r} cannot be started: {error}") from error
        except subprocess.TimeoutExpired as error:
            raise InputError(
                f"The {self.role} {name!r} was stopped after {self.timeout:g} seconds. Give it "
                f"more time, or fewer {self.asked}s."
            ) from error
        if done.returncode != 0:
            tail = done.stderr.decode("utf-8", "replace").strip()[-300:]
            raise InputError(f"The {self.role} {name!r} ended with code {done.returncode}: {tail}")
        try:
            return done.stdout.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"The {self.role} {name!r} did not answer in UTF-8.") from error


def _read_line(line: str, where: str, field: str, count: int) -> tuple[int, object]:
    try:
        answer = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {line[:80]!r}") from error
    if not isinstance(answer, dict) or set(answer) != {"id", field}:
        raise InputError(f"{where} must hold 'id' and {field!r} and nothing else: {line[:80]!r}")
    place = answer["id"]
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < count:
        raise InputError(f"{where} has the unknown id {place!r}.")
    return place, answer[field]
