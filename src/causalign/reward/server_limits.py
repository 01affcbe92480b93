"""What a reward server takes from strangers: who may ask, how much, how fast, how slowly."""

import asyncio
import hmac
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from causalign.errors import needs_extra
from causalign.settings import require_number

with needs_extra("Serving a reward", "`pip install 'causalign[serve]'`"):
    import prometheus_client as prometheus
    from starlette.datastructures import Headers
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from uvicorn.protocols.http.h11_impl import H11Protocol

logger = logging.getLogger(__name__)

OPEN_TO_ALL = "/health"
_SECOND = 1.0


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """How much a reward server takes, so that its memory does not grow with who asks.

    Parameters
    ----------
    texts : int
        Of a request; more are answered with 413.
    request_bytes : int
        Of a request; more are answered with 413.
    waiting_bytes : int
        Of all requests that are read and not yet answered; what comes beyond is answered with 503
        and `Retry-After`.
    waiting_requests : int
        That are not yet answered; further ones are answered with 503 and `Retry-After`.
    connections : int
        Open ones without a request under way. Beyond so many, the one that waits longest is closed.
    requests_a_second : float, optional
        Of one address; more are answered with 429 and `Retry-After`. No limit unless given.
    seconds : float
        That a client may take to send a request or to take the answer; then it is cut off.

    Raises
    ------
    SettingsError
        For settings out of range.
    """

    texts: int = 1024
    request_bytes: int = 8 << 20
    waiting_bytes: int = 64 << 20
    waiting_requests: int = 512
    connections: int = 256
    requests_a_second: float | None = None
    seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in ("texts", "request_bytes", "waiting_requests", "connections"):
            require_number(name, getattr(self, name), least=1, whole=True)
        why = "it must hold at least one request of request_bytes"
        least = self.request_bytes
        require_number("waiting_bytes", self.waiting_bytes, least=least, whole=True, why=why)
        if self.requests_a_second is not None:
            require_number("requests_a_second", self.requests_a_second, above=0)
        require_number("seconds", self.seconds, above=0)


class Meter:
    """Count requests, texts and seconds, as Prometheus reads them; never what was asked."""

    def __init__(self) -> None:
        self.registry = registry = prometheus.CollectorRegistry()
        self.requests = prometheus.Counter(
            "causalign_requests", "Requests answered.", ("endpoint", "status"), registry=registry
        )
        self.texts = prometheus.Counter("causalign_texts", "Texts scored.", registry=registry)
        self.seconds = prometheus.Histogram(
            "causalign_request_seconds", "From a request's head to its answer.", registry=registry
        )
        self.scoring = prometheus.Histogram(
            "causalign_scoring_seconds", "That the model took for a request.", registry=registry
        )
        self.waiting = prometheus.Gauge(
            "causalign_waiting_requests", "Requests not yet answered.", registry=registry
        )
        self.waiting_bytes = prometheus.Gauge(
            "causalign_waiting_bytes", "Bytes of requests not yet answered.", registry=registry
        )


class Gate:
    """Let in whom the limits allow, as ASGI middleware; answer everything else in one line."""

    def __init__(self, app: ASGIApp, limits: ServerLimits, token: str | None, meter: Meter) -> None:
        self._app, self._limits, self._meter = app, limits, meter
        self._expected = None if token is None else f"Bearer {token}".encode()
        self._requests = self._bytes = 0
        self._since, self._of_client = 0.0, Counter[str]()
        self._too_large = f"A request may have {limits.request_bytes:,} bytes."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it before its body is read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, self._limits.seconds, self._take)
        started = time.perf_counter()
        with self._count(exchange, is_question=scope["method"] == "POST"):
            refusal = self._refuse(scope)
            try:
                await (refusal or self._app)(scope, exchange.receive, exchange.send)
            except Exception as failure:
                # Its words may hold a text: neither the log nor the client gets them.
                logger.error("A request failed: %s.", type(failure).__name__)
                if not exchange.status:
                    await answer_error(500, "The server failed.")(scope, receive, exchange.send)
        route = scope.get("route")
        endpoint = getattr(route, "path", "other")
        self._meter.requests.labels(endpoint, str(exchange.status or "gone")).inc()
        self._meter.seconds.observe(time.perf_counter() - started)

    @contextmanager
    def _count(self, exchange: "_Exchange", *, is_question: bool) -> Iterator[None]:
        self._requests += is_question
        self._meter.waiting.set(self._requests)
        try:
            yield
        finally:
            self._requests -= is_question
            self._bytes -= exchange.taken
            self._meter.waiting.set(self._requests)
            self._meter.waiting_bytes.set(self._bytes)

    def _take(self, size: int, taken: int) -> None:
        """Count bytes of a body; raise where it has too many, or more than may wait."""
        self._bytes += size
        self._meter.waiting_bytes.set(self._bytes)
        if taken > self._limits.request_bytes:
            raise HTTPException(413, self._too_large)
        if self._bytes > self._limits.waiting_bytes:
            words = "Too much waits to be scored. Ask again in a second."
            raise HTTPException(503, words, {"Retry-After": "1"})

    def _refuse(self, scope: Scope) -> JSONResponse | None:
        if scope["path"] == OPEN_TO_ALL:
            return None
        headers = Headers(scope=scope)
        client = (scope.get("client") or ("", 0))[0]
        if self._expected is not None:
            bearer = headers.get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(bearer, self._expected):
                words = "This server asks for a token: Authorization: Bearer TOKEN."
                return answer_error(401, words, {"WWW-Authenticate": "Bearer"})
        if scope["method"] != "POST":
            return None
        if self._is_too_fast(client):
            words = f"One address may ask {self._limits.requests_a_second:g} times a second."
            return answer_error(429, words, {"Retry-After": "1"})
        if self._requests > self._limits.waiting_requests:
            words = "Too many requests wait. Ask again in a second."
            return answer_error(503, words, {"Retry-After": "1"})
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return answer_error(415, "Send JSON, with the header Content-Type: application/json.")
        if headers.get("content-encoding", "identity").lower() != "identity":
            return answer_error(415, "Send the body as it is, without a content encoding.")
        if int(headers.get("content-length", 0)) > self._limits.request_bytes:
            return answer_error(413, self._too_large)
        return None

    def _is_too_fast(self, client: str) -> bool:
        if self._limits.requests_a_second is None:
            return False
        now, span = time.monotonic(), max(_SECOND, 1 / self._limits.requests_a_second)
        if now - self._since >= span:
            self._since, self._of_client = now, Counter()
        self._of_client[client] += 1
        return self._of_client[client] > self._limits.requests_a_second * span


class _Exchange:
    """One request and its answer, within the time that a client has for each."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        seconds: float,
        take: Callable[[int, int], None],
    ) -> None:
        self._receive, self._send, self._take = receive, send, take
        self._deadline = asyncio.get_running_loop().time() + seconds
        self.status = self.taken = 0

    async def receive(self) -> Message:
        """Return the next part of the body, of which all must come by the deadline."""
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(
                408, "The request came too slowly.", {"Connection": "close"}
            ) from None
        size = len(message.get("body", b""))
        self.taken += size
        self._take(size, self.taken)
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer, and remember how it ended."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


def answer_error(status: int, words: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an answer that says in words what was wrong, and nothing of what was sent."""
    return JSONResponse({"error": words}, status, headers)


def impatient_protocol(limits: ServerLimits) -> type[H11Protocol]:
    """Return uvicorn's protocol, which then hangs up on who neither asks nor listens.

    uvicorn itself waits for ever for the head of a first request, for the rest of any head, and for
    a client that does not read its answer.
    """
    idle: dict[H11Protocol, asyncio.TimerHandle] = {}

    def leave(line: H11Protocol) -> None:
        if line in idle:
            idle.pop(line).cancel()

    def hang_up(line: H11Protocol) -> None:
        leave(line)
        line.transport.abort()

    class ImpatientProtocol(H11Protocol):
        """Hang up on who is late, and on whoever waits longest where too many wait."""

        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            leave(self)
            self.resume_writing()
            super().connection_lost(exc)

        def handle_events(self) -> None:
            before = self.cycle
            super().handle_events()
            if self.cycle is not before:
                leave(self)

        def on_response_complete(self) -> None:
            self._wait()
            super().on_response_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(limits.seconds, hang_up, self)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._unread is not None:
                self._unread.cancel()

        def _wait(self) -> None:
            idle[self] = self.loop.call_later(limits.seconds, hang_up, self)
            if len(idle) > limits.connections:
                hang_up(next(iter(idle)))

    return ImpatientProtocol
