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
        answer = self._ask("score", ServedRewards, completions, prompts)
        return np.array(answer.reward, dtype=np.float64)

    def assess(
        self, completions: Sequence[str], prompts: Sequence[str] | None = None
    ) -> Assessment:
        """Return the reward of each completion, its standard error, and how far it is supported.

        Parameters
        ----------
        completions, prompts
            As in :meth:`__call__`, which also says what is raised.
        """
        answer = self._ask("assess", AssessedRewards, completions, prompts)
        error, leverage = (
            None if numbers is None else np.array(numbers, dtype=np.float64)
            for numbers in (answer.standard_error, answer.leverage)
        )
        reward = np.array(answer.reward, dtype=np.float64)
        return Assessment(reward, error, leverage, answer.limit, answer.truncated, factor=None)

    def _ask(
        self,
        path: str,
        kind: type[_Rewards],
        completions: Sequence[str],
        prompts: Sequence[str] | None,
    ) -> _Rewards:
        question = {"completions": list(completions)}
        if prompts is not None:
            question["prompts"] = list(prompts)
        answered = self._send(path, json.dumps(question).encode())
        try:
            answer = kind.model_validate(json.loads(answered))
            if len(answer.reward) != len(completions):
                raise ValueError("another number of rewards")
        except ValueError:
            raise ArtifactError(
                f"What answers at {mask_address(self.address)} is no reward server."
            ) from None
        return answer

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


def _read_pause(seconds: str | None) -> float:
    return float(seconds) if seconds and seconds.isdecimal() else 1.0
