"""Show how far long work has come: a bar on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from causalign.lm.processes import is_main

__all__ = ["progress_of"]

_LINES = 10


@contextmanager
def progress_of(label: str, total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """Yield ``advance(count)``; report progress on standard error while ``shown``, once."""
    if not shown or total == 0 or not is_main():
        yield _say_nothing
        return
    if sys.stderr.isatty():
        with _bar(label, total) as advance:
            yield advance
        return
    done = 0

    def advance_by_line(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        if done * _LINES // total > before * _LINES // total:
            print(f"{label}: {done:,} of {total:,}", file=sys.stderr, flush=True)

    yield advance_by_line


def _say_nothing(_count: int) -> None:
    """Take the place of a report that nobody asked for."""


@contextmanager
def _bar(label: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=total)
        yield lambda count: progress.advance(task, count)
