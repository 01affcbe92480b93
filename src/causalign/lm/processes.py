"""Several processes that work as one: what is done once, and what each tells the others.

Every process runs the same program and reaches the same calls in the same order. Where there is
one process, nothing here does anything, and torch is not imported.
"""

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.util import find_spec
from typing import TypeVar, cast

T = TypeVar("T")


def process_count() -> int:
    """Return how many processes work together, as torchrun and accelerate tell them."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def process_rank() -> int:
    """Return the number of this process, from 0."""
    return int(os.environ.get("RANK") or 0) if process_count() > 1 else 0


def is_main_process() -> bool:
    """Return whether this is the process that writes."""
    return process_rank() == 0


def weights_are_split() -> bool:
    """Return whether no process has all weights: FSDP, or the third stage of DeepSpeed's ZeRO."""
    setting = os.environ.get
    fsdp = setting("ACCELERATE_USE_FSDP", "").lower() == "true"
    deepspeed = setting("ACCELERATE_USE_DEEPSPEED", "").lower() == "true"
    return fsdp or (deepspeed and setting("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3")


def join_processes() -> None:
    """Let the processes find each other, before any of them chooses a device."""
    if process_count() > 1:
        import torch
        from accelerate import PartialState

        if not torch.distributed.is_initialized():
            PartialState(cpu=not torch.cuda.is_available())
            atexit.register(_leave)


def _leave() -> None:
    """End the threads that listen to the others; without this, the interpreter may abort."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def gather(value: T) -> list[T]:
    """Return the values of all processes, in the order of their ranks."""
    values = [value] * process_count()
    if len(values) > 1:
        import torch

        join_processes()
        torch.distributed.all_gather_object(values, value)
    return values


def run_once(compute: Callable[[], T]) -> T:
    """Return what ``compute`` gives in the main process; an error there is raised in all.

    Parameters
    ----------
    compute : callable
        Takes nothing. What it gives goes to the other processes, so it must be picklable.
    """
    if process_count() == 1:
        return compute()
    import torch

    join_processes()
    shared: list[object] = [None, None]  # what it gave, and the error that it raised
    if is_main_process():
        try:
            shared[0] = compute()
        except Exception as error:
            shared[1] = error
    torch.distributed.broadcast_object_list(shared, src=0)
    if isinstance(shared[1], Exception):
        raise shared[1]
    return cast(T, shared[0])


@contextmanager
def enter_once(context: Callable[[], AbstractContextManager[object]]) -> Iterator[None]:
    """Enter a context, such as a lock, in the main process alone; the others wait for it."""
    with ExitStack() as stack:

        def enter() -> None:
            stack.enter_context(context())

        run_once(enter)
        yield


def thread_count() -> int:
    """Return on how many threads torch computes, 1 without torch.

    A process that continues another's work uses as many: sums depend on it.
    """
    if find_spec("torch") is None:
        return 1
    import torch

    return int(torch.get_num_threads())


def set_threads(count: int) -> None:
    """Let torch compute on ``count`` threads, if it is installed."""
    if find_spec("torch") is not None:
        import torch

        torch.set_num_threads(count)
