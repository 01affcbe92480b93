"""Show how far long work has come, a bar or plain lines, and keep libraries quiet meanwhile."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from causalign.lm.processes import is_main_process

_LINES = 10
# Work that is done sooner says nothing; what is slow says so at least that often.
_SHORTEST_SECONDS, _LONGEST_SECONDS = 1.0, 30.0


@contextmanager
def show_progress(label: str, total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """Yield ``advance(count)``, which reports on standard error: of one process, if ``shown``."""
    if not shown or total == 0 or not is_main_process():
        yield ignore_advance
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(label, total=total)
            yield lambda count: bar.advance(task, count)
        return
    done, line, last = 0, 0, time.monotonic()

    def advance_by_line(count: int) -> None:
        nonlocal done, line, last
        done += count
        tenth, passed = done * _LINES // total, time.monotonic() - last
        if passed >= _LONGEST_SECONDS or (tenth > line and passed >= _SHORTEST_SECONDS):
            print(f"{label}: {done:,} of {total:,}", file=sys.stderr, flush=True)
            line, last = tenth, time.monotonic()

    yield advance_by_line


def ignore_advance(_count: int) -> None:
    """Take the place of a report that nobody asked for."""


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Hide the bars and the advice of transformers inside the block; restore them after it."""
    logging: Any = import_module("transformers.utils.logging")
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
