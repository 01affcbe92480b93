"""How a command ends early: signals become one exception, and a closed pipe loses no work."""

import errno
import io
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import IO

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SECONDS_TO_DELIVER_AGAIN = 0.02


class Stopped(BaseException):
    """Say that a signal asked the command to stop; no library takes it for an error of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What shells expect of a command that a signal ended."""
        return 128 + self.number

    @property
    def sentence(self) -> str:
        """What is kept, and how to go on."""
        return (
            f"Stopped by {signal.Signals(self.number).name}: what was finished is kept whole; run "
            "the same command again to go on from there."
        )


class SignalWatch:
    """What signals asked for so far."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self.stopped: Stopped | None = None
        self._say = say

    def stop(self, number: int, frame: FrameType | None = None) -> None:
        """Raise `Stopped`; the second time end the process, whatever it is doing."""
        del frame  # the signature is the library's
        if self.stopped is not None:
            self._say(self.stopped.sentence)
            os._exit(self.stopped.exit_code)
        self.stopped = Stopped(number)
        raise self.stopped

    def deliver_again(self, lost: "sys.UnraisableHookArgs") -> None:
        """Send a signal anew whose exception came where none can be raised, as in a finaliser."""
        if not isinstance(lost.exc_value, Stopped):
            sys.__unraisablehook__(lost)
            return
        number, self.stopped = lost.exc_value.number, None
        threading.Timer(_SECONDS_TO_DELIVER_AGAIN, os.kill, (os.getpid(), number)).start()


@contextmanager
def watch_signals(say: Callable[[str], object]) -> Iterator[SignalWatch]:
    """Let SIGINT and SIGTERM raise `Stopped` in the block; ``say`` prints a sentence.

    Only the main thread of a process can do so; in others the block runs as it is.
    """
    watch = SignalWatch(say)
    if threading.current_thread() is not threading.main_thread():
        yield watch
        return
    before = {number: signal.signal(number, watch.stop) for number in SIGNALS}
    hook, sys.unraisablehook = sys.unraisablehook, watch.deliver_again
    try:
        yield watch
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


class _Forgiving(io.RawIOBase):
    """Write to a descriptor; once that fails, take everything and remember why."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.descriptor

    def isatty(self) -> bool:
        return os.isatty(self.descriptor)

    def write(self, data: "memoryview | bytes") -> int:  # type: ignore[override]
        while self.failure is None:
            try:
                return os.write(self.descriptor, data)
            except BlockingIOError:
                select.select([], [self.descriptor], [])
            except OSError as failure:
                self.failure = failure
        return len(data)


@contextmanager
def forgiving_streams() -> Iterator[Callable[[], str | None]]:
    """Let the block print to a closed pipe, a full disk or a stream without UTF-8, and go on.

    Gives a function that says why standard output could not be written, if it could not, though
    somebody was reading. What a stream cannot encode is written as an escape: a minus sign that
    became a question mark would change a number.
    """
    before = sys.stdout, sys.stderr
    raws: list[_Forgiving] = []
    replaced: list[IO[str]] = []
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started the command
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        elif stream is getattr(sys, f"__{name}__"):
            stream.flush()
            raws.append(_Forgiving(descriptor))
            stream = io.TextIOWrapper(
                io.BufferedWriter(raws[-1]),
                encoding=stream.encoding,
                errors="backslashreplace",
                line_buffering=True,
            )
            replaced.append(stream)
        setattr(sys, name, stream)

    def tell_failure() -> str | None:
        for stream in replaced:
            stream.flush()
        failure = next((raw.failure for raw in raws if raw.descriptor == 1), None)
        if failure is None or failure.errno in (errno.EPIPE, errno.EBADF):
            return None
        return failure.strerror

    try:
        yield tell_failure
    finally:
        for stream in replaced:
            stream.flush()
        sys.stdout, sys.stderr = before
