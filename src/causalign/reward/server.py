"""Serve a reward: texts in, rewards out, in the words in which trainers ask for them."""

import ipaddress
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, TypeVar

import numpy as np
from numpy.typing import NDArray

from causalign.errors import CausalignError, SettingsError, needs_extra
from causalign.reward.served_reward import TOKEN_VARIABLE, AssessedRewards, ServedRewards
from causalign.reward.server_limits import (
    OPEN_TO_ALL,
    Gate,
    Meter,
    ServerLimits,
    answer_error,
    impatient_protocol,
)
from causalign.reward.text_scorer import TextScorer
from causalign.settings import require_number
from causalign.terminal import SIGNALS

with needs_extra("Serving a reward", "`pip install 'causalign[serve]'`"):
    import uvicorn
    from anyio import CapacityLimiter, to_thread
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse, PlainTextResponse
    from prometheus_client import generate_latest
    from pydantic import BaseModel, Field
    from starlette.exceptions import HTTPException

_T = TypeVar("_T")
_UNREADABLE = 400  # by FastAPI, for what json gives up on: too deep, other encodings
_SHORTEST_TOKEN = 16
_SECONDS_TO_END = 5
# Trainers decode what was generated with its marks; a reward reads what people read.
_MARKS_AT_END = re.compile(r"(?:\s*(?:<\|[^<>|]{1,40}\|>|</?s>|<(?:eos|pad|end_of_turn)>))+\s*\Z")

# The first wrong text ends the check: one error for each of a million would fill the memory.
_Texts = Annotated[list[str], Field(fail_fast=True)]
_PerhapsTexts = Annotated[list[str] | None, Field(fail_fast=True)]


class Question(BaseModel):
    """Texts to be scored, each perhaps with what it answers."""

    completions: _Texts
    prompts: _PerhapsTexts = None


class OpenRLHFQuestion(BaseModel):
    """What OpenRLHF sends: prompts with what followed them, and the prompts."""

    query: _Texts
    prompts: _PerhapsTexts = None


class OpenRLHFAnswer(BaseModel):
    """What OpenRLHF reads."""

    rewards: list[float]
    scores: list[float]
    extra_logs: dict[str, float]


class Description(BaseModel):
    """What is served."""

    units: str
    reads_prompt: bool
    encoder: str
    head: str
    tells_standard_error: bool
    tells_support: bool
    most_texts: int
    most_bytes: int


class _Service:
    """Answer by one model, one request after the other.

    Requests are never scored together, since the last bits of a number may depend on the texts
    beside it; so each client gets what `RewardModel` says of its texts.
    """

    def __init__(self, model: TextScorer, limits: ServerLimits, meter: Meter) -> None:
        self._model, self._limits, self._meter = model, limits, meter
        self._one = CapacityLimiter(1)

    async def score(self, question: Question) -> ServedRewards:
        """Score texts."""
        return await self._ask(self._score, question.completions, question.prompts)

    async def assess(self, question: Question) -> AssessedRewards:
        """Score texts, and say how sure the model is, and whether its fit covers them."""
        return await self._ask(self._assess, question.completions, question.prompts)

    async def get_reward(self, question: OpenRLHFQuestion) -> OpenRLHFAnswer:
        """Score texts as OpenRLHF asks for it."""
        texts = _split_queries(question.query, question.prompts)
        rewards = (await self._ask(self._score, texts, question.prompts)).reward
        return OpenRLHFAnswer(rewards=rewards, scores=rewards, extra_logs={})

    async def describe(self) -> Description:
        """Say what is served."""
        model, limits = self._model, self._limits
        return Description(
            units=model.units,
            reads_prompt=model.reads_prompt,
            encoder=model.encoder_name,
            head=model.head.kind,
            tells_standard_error=model.has_covariance,
            tells_support=model.has_support,
            most_texts=limits.texts,
            most_bytes=limits.request_bytes,
        )

    async def report_health(self) -> dict[str, str]:
        """Say that the server answers."""
        return {"status": "ok"}

    async def report_metrics(self) -> PlainTextResponse:
        """Return counts and times as Prometheus reads them."""
        words = generate_latest(self._meter.registry).decode()
        return PlainTextResponse(words, media_type="text/plain; version=0.0.4")

    async def _ask(
        self,
        score: Callable[[Sequence[str], Sequence[str] | None], _T],
        completions: Sequence[str],
        prompts: Sequence[str] | None,
    ) -> _T:
        self._check(completions, prompts)

        def work() -> _T:
            with self._meter.scoring.time():
                return score(completions, prompts)

        try:
            answer = await to_thread.run_sync(work, limiter=self._one)
        except CausalignError as failure:
            # Its words may hold a text.
            words = f"The model cannot score these texts ({type(failure).__name__})."
            raise HTTPException(500, words) from None
        self._meter.texts.inc(len(completions))
        return answer

    def _check(self, completions: Sequence[str], prompts: Sequence[str] | None) -> None:
        most = self._limits.texts
        if len(completions) > most:
            raise HTTPException(413, f"{len(completions)} texts; at most {most} a request.")
        if prompts is not None and len(prompts) != len(completions):
            raise HTTPException(422, f"{len(completions)} texts and {len(prompts)} prompts.")
        if self._model.reads_prompt and prompts is None:
            raise HTTPException(422, "This reward reads prompts: send one for each text.")
        for text in (*completions, *(prompts or ())):
            try:
                text.encode()
            except UnicodeEncodeError:
                raise HTTPException(422, "A text holds half of a surrogate pair.") from None

    def _score(self, completions: Sequence[str], prompts: Sequence[str] | None) -> ServedRewards:
        reward, truncated = self._model.score(completions, prompts)
        return ServedRewards(reward=_numbers(reward), truncated=truncated, units=self._model.units)

    def _assess(self, completions: Sequence[str], prompts: Sequence[str] | None) -> AssessedRewards:
        assessed = self._model.assess(completions, prompts)
        error, inside, leverage = assessed.standard_error, assessed.in_support, assessed.leverage
        return AssessedRewards(
            reward=_numbers(assessed.reward),
            truncated=assessed.truncated,
            units=self._model.units,
            standard_error=None if error is None else _numbers(error),
            in_support=None if inside is None else list(map(bool, inside)),
            leverage=None if leverage is None else _numbers(leverage),
            limit=assessed.limit,
        )


def _numbers(numbers: NDArray[np.float64]) -> list[float]:
    return list(map(float, numbers))


def _split_queries(queries: Sequence[str], prompts: Sequence[str] | None) -> list[str]:
    """Return what follows each prompt, without marks such as ``<|im_end|>`` at its end."""
    texts = list(queries)
    if prompts is not None and len(prompts) == len(queries):
        for row, (query, prompt) in enumerate(zip(queries, prompts, strict=True)):
            _, between, texts[row] = query.partition(prompt) if prompt else ("", "-", query)
            if not between:
                raise HTTPException(422, f"query.{row} does not hold its prompt.")
    return [_MARKS_AT_END.sub("", text) for text in texts]


class RewardServer:
    """Listen for requests, and answer them by a reward model.

    Parameters
    ----------
    model : RewardModel
        Its encoder is loaded, and a text scored, before anybody is listened to.
    host : str
        The address to listen at. One that other machines reach needs a token.
    port : int
        0 takes a free one.
    limits : ServerLimits, optional
    token : str, optional
        That requests must bear: ``Authorization: Bearer TOKEN``.

    Attributes
    ----------
    address : str
        ``http://HOST:PORT``.

    Raises
    ------
    ExtraNotInstalled
        Without the extra ``serve``.
    SettingsError
        For an address that cannot be listened at, or that others reach without a token; for a
        token that is short.
    """

    def __init__(
        self,
        model: TextScorer,
        *,
        host: str = "127.0.0.1",
        port: int = 8017,
        limits: ServerLimits | None = None,
        token: str | None = None,
    ) -> None:
        require_number("port", port, least=0, most=65535, whole=True)
        _check_token(token)
        limits = limits or ServerLimits()
        model(["A text to be scored."], ["What it answers."] if model.reads_prompt else None)
        self._socket = _listen(host, port, is_guarded=token is not None)
        name, number = self._socket.getsockname()[:2]
        self.address = f"http://{f'[{name}]' if ':' in name else name}:{number}"
        config = uvicorn.Config(
            _build_app(model, limits, token),
            http=impatient_protocol(limits),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",  # a line for each bad request would fill a disk
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_SECONDS_TO_END,
        )
        self._server = _QuietServer(config)

    def run(self) -> None:
        """Answer until SIGINT or SIGTERM, or until `stop` is called; what is under way is ended."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Let `run`, in another thread, return."""
        self._server.should_exit = True


class _QuietServer(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let signals end the server; uvicorn would raise them once more when it has ended."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _listen(host: str, port: int, *, is_guarded: bool) -> socket.socket:
    """Return a socket that listens; raise `SettingsError` where none can, or none should."""
    try:
        family, _, _, _, place = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        if not (is_guarded or ipaddress.ip_address(str(place[0])).is_loopback):
            raise SettingsError(
                f"Other machines reach {host!r}, and nobody would be asked for a token. Put one "
                f"into the environment as {TOKEN_VARIABLE}, or listen at 127.0.0.1."
            )
        return socket.create_server(place[:2], family=family, backlog=2048)
    except OSError as failure:
        # Python adds to the words of the system where they stand.
        number = failure.errno or 0
        why = os.strerror(number) if number > 0 else failure.strerror or failure
        raise SettingsError(
            f"Nobody can listen at {host!r}, port {port}: {why}. Choose another port, or 0 for "
            "any that is free."
        ) from failure


def _check_token(token: str | None) -> None:
    if token is None:
        return
    if len(token) < _SHORTEST_TOKEN or not (token.isascii() and token.isprintable()):
        raise SettingsError(
            f"A token must be at least {_SHORTEST_TOKEN} printable characters of ASCII. Make one: "
            'python -c "import secrets; print(secrets.token_urlsafe())"'
        )


def _build_app(model: TextScorer, limits: ServerLimits, token: str | None) -> FastAPI:
    meter = Meter()
    service = _Service(model, limits, meter)
    app = FastAPI(
        title="causalign serve",
        docs_url=None,  # they load scripts from elsewhere; /openapi.json says the same
        redoc_url=None,
        exception_handlers={
            HTTPException: _tell_refusal,
            RequestValidationError: _tell_what_is_wrong,
        },
    )
    app.add_middleware(Gate, limits=limits, token=token, meter=meter)
    app.post("/score")(service.score)
    app.post("/assess")(service.assess)
    app.post("/get_reward")(service.get_reward)
    app.get("/model")(service.describe)
    app.get(OPEN_TO_ALL)(service.report_health)
    app.get("/metrics", include_in_schema=False)(service.report_metrics)
    return app


async def _tell_refusal(request: Request, refusal: HTTPException) -> JSONResponse:
    del request  # nothing of it is told
    unread = refusal.status_code == _UNREADABLE
    words = "The body cannot be read. Send JSON in UTF-8." if unread else str(refusal.detail)
    return answer_error(refusal.status_code, words, dict(refusal.headers or {}))


async def _tell_what_is_wrong(request: Request, wrong: RequestValidationError) -> JSONResponse:
    del request
    first = wrong.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:])
    if first["type"] == "json_invalid":
        return answer_error(422, f"The body is no JSON from character {place} on.")
    return answer_error(422, f"{place or 'The body'}: {first['msg']}.")
