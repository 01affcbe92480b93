"""Ask a reward that ``causalign serve`` serves, as if its model were here."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import ClassVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
from numpy.typing import NDArray

from causalign.errors import ArtifactError, InputError, SettingsError, mask_address
from causalign.settings import require_number

TOKEN_VARIABLE = "CAUSALIGN_TOKEN"
_BUSY = (429, 503)
_LONGEST_ANSWER = 64 << 20


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
        question = {"completions": list(completions)}
        if prompts is not None:
            question["prompts"] = list(prompts)
        reward = self._ask(json.dumps(question).encode()).get("reward")
        if not isinstance(reward, list) or len(reward) != len(completions):
            raise ArtifactError(
                f"What answers at {mask_address(self.address)} is no reward server."
            )
        return np.array(reward, dtype=np.float64)

    def _ask(self, body: bytes) -> dict[str, object]:
        headers = {"Content-Type": "application/json"}
        if token := os.environ.get(TOKEN_VARIABLE):
            headers["Authorization"] = f"Bearer {token}"
        request = Request(f"{self.address.rstrip('/')}/score", body, headers)
        deadline = time.monotonic() + self.seconds
        while True:
            left = max(deadline - time.monotonic(), 0.001)
            try:
                with urlopen(request, timeout=left) as answer:
                    return _read_object(answer.read(_LONGEST_ANSWER))
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
        try:
            words = _read_object(refusal.read(_LONGEST_ANSWER)).get("error", refusal.reason)
        except (OSError, ValueError, HTTPException):
            words = refusal.reason
        return (
            f"The reward server at {mask_address(self.address)} refuses ({refusal.code}): {words}"
        )


def _read_object(answer: bytes) -> dict[str, object]:
    read = json.loads(answer)
    return read if isinstance(read, dict) else {}


def _read_pause(seconds: str | None) -> float:
    return float(seconds) if seconds and seconds.isdecimal() else 1.0
