"""Ask a reward that ``causalign serve`` serves, as if its model were here."""

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from typing import ClassVar, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from causalign.errors import ArtifactError, InputError, SettingsError, mask_address
from causalign.logs.outcome_model import Assessment
from causalign.settings import require_number

TOKEN_VARIABLE = "CAUSALIGN_TOKEN"
_BUSY = (429, 503)
_TEXTS_AT_ONCE = 1024  # as many as a server takes unless it was told otherwise
_LONGEST_ANSWER = 64 << 20
_Rewards = TypeVar("_Rewards", bound="ServedRewards")


class ServedRewards(BaseModel):
    """What a server says of each text, in the order of the question."""

    reward: list[float]
    truncated: int
    units: str


class AssessedRewards(ServedRewards):
    """What it says of texts beside: how sure the model is, and whether its fit covers them."""

    standard_error: list[float] | None
    in_support: list[bool] | None
    leverage: list[float] | None
    limit: float | None


class Refusal(BaseModel):
    """What a server says instead, in words."""

    error: str


@dataclass(frozen=True, slots=True)
class ServedReward:
    """Score texts by a reward server: what takes a reward takes this.

    The token, where the server asks for one, is read from the environment: ``CAUSALIGN_TOKEN``.

    Parameters
    ----------
    address : str
        As `causalign serve` prints it.
    seconds : float
        How long to wait for an answer. A server that is busy is asked again in this time.

    Raises
    ------
    SettingsError
        For an address that is none.
    """

    address: str = "http://127.0.0.1:8017"
    seconds: float = 60.0

    # Prompts are sent wherever there are some; the server knows whether its model reads them.
    reads_prompt: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_number("seconds", self.seconds, above=0)
        if not self.address.startswith(("http://", "https://")):
            raise SettingsError(
                f"The address of a reward server begins with http:// or https://, not "
                f"{mask_address(self.address)!r}."
            )

    def __call__(
        self, completions: Sequence[str], prompts: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """Return the reward ``(n,)`` of each completion: to the bit what the model says of them.

        Of more than 1,024 at once, what it says of 1,024 at a time.

        Parameters
        ----------
        completions : n strings
        prompts : n strings, optional

        Raises
        ------
        InputError
            For what the server refuses, in its words.
        ArtifactError
            When no reward server answers.
        """
        answers = self._ask("score", ServedRewards, completions, prompts)
        return np.concatenate([answer.reward for answer in answers], dtype=np.float64)

    def assess(
        self, completions: Sequence[str], prompts: Sequence[str] | None = None
    ) -> Assessment:
        """Return the reward of each completion, its standard error, and how far it is supported.

        Parameters
        ----------
        completions, prompts
            As in :meth:`__call__`, which also says what is raised.
        """
        answers = self._ask("assess", AssessedRewards, completions, prompts)
        return Assessment(
            np.concatenate([answer.reward for answer in answers], dtype=np.float64),
            _join([answer.standard_error for answer in answers]),
            _join([answer.leverage for answer in answers]),
            answers[0].limit,
            sum(answer.truncated for answer in answers),
            factor=None,  # thousands of numbers a text: it stays with the model
        )

    def _ask(
        self,
        path: str,
        kind: type[_Rewards],
        completions: Sequence[str],
        prompts: Sequence[str] | None,
    ) -> list[_Rewards]:
        answers = []
        for start in range(0, max(len(completions), 1), _TEXTS_AT_ONCE):
            part = slice(start, start + _TEXTS_AT_ONCE)
            question = {"completions": list(completions[part])}
            if prompts is not None:
                question["prompts"] = list(prompts[part])
            read = self._send(path, json.dumps(question).encode())
            try:
                answers.append(kind.model_validate(json.loads(read)))
                if len(answers[-1].reward) != len(question["completions"]):
                    raise ValueError("another number of rewards")
            except ValueError:
                raise ArtifactError(
                    f"What answers at {mask_address(self.address)} is no reward server."
                ) from None
        return answers

    def _send(self, path: str, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        if token := os.environ.get(TOKEN_VARIABLE):
            headers["Authorization"] = f"Bearer {token}"
        request = Request(f"{self.address.rstrip('/')}/{path}", body, headers)
        deadline = time.monotonic() + self.seconds
        while True:
            left = max(deadline - time.monotonic(), 0.001)
            try:
                with urlopen(request, timeout=left) as answer:
                    return bytes(answer.read(_LONGEST_ANSWER))
            except HTTPError as refusal:
                pause = _read_pause(refusal.headers.get("Retry-After"))
                if refusal.code not in _BUSY or time.monotonic() + pause > deadline:
                    raise InputError(self._tell(refusal)) from None
                time.sleep(pause)
            except (OSError, ValueError, HTTPException) as failure:
                why = getattr(failure, "reason", failure)
                raise ArtifactError(
                    f"No reward server answers at {mask_address(self.address)}: {why}. Start it "
                    "with `causalign serve MODEL`."
                ) from None

    def _tell(self, refusal: HTTPError) -> str:
        words = refusal.reason
        with suppress(OSError, ValueError, HTTPException):
            words = Refusal.model_validate_json(refusal.read(_LONGEST_ANSWER)).error
        return (
            f"The reward server at {mask_address(self.address)} refuses ({refusal.code}): {words}"
        )


def _join(parts: list[list[float] | None]) -> NDArray[np.float64] | None:
    numbers = [part for part in parts if part is not None]
    return np.concatenate(numbers, dtype=np.float64) if len(numbers) == len(parts) else None


def _read_pause(seconds: str | None) -> float:
    return float(seconds) if seconds and seconds.isdecimal() else 1.0
