"""Several processes that work as one: what is done once, and what each tells the others.

Every process runs the same program and reaches the same calls in the same order. Where there is
one process, nothing here does anything, and torch is not imported.
"""

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeVar

__all__ = ["all_of", "count", "held_once", "is_main", "join", "once", "rank", "weights_are_split"]

T = TypeVar("T")


def count() -> int:
    """Return how many processes work together, as torchrun and accelerate tell them."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def rank() -> int:
    """Return the number of this process, from 0."""
    return int(os.environ.get("RANK") or 0) if count() > 1 else 0


def is_main() -> bool:
    """Return whether this is the process that writes."""
    return rank() == 0


def weights_are_split() -> bool:
    """Return whether no process has all weights: FSDP, or the third stage of DeepSpeed's ZeRO."""
    told = os.environ.get
    fsdp = told("ACCELERATE_USE_FSDP", "").lower() == "true"
    deepspeed = told("ACCELERATE_USE_DEEPSPEED", "").lower() == "true"
    return fsdp or (deepspeed and told("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3")


def join() -> None:
    """Let the processes find each other, before any of them chooses a device."""
    if count() > 1:
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


def all_of(value: T) -> list[T]:
    """Return the values of all processes, in the order of their ranks."""
    if count() == 1:
        return [value]
    import torch

    join()
    found: list[Any] = [None] * count()
    torch.distributed.all_gather_object(found, value)
    return found


def once(compute: Callable[[], T]) -> T:
    """Return what ``compute`` gives in the main process; an error there is raised in all."""
    if count() == 1:
        return compute()
    import torch

    join()
    told: list[Any] = [None, None]
    if is_main():
        try:
            told[0] = compute()
        except Exception as error:
            told[1] = error
    torch.distributed.broadcast_object_list(told, src=0)
    if told[1] is not None:
        raise told[1]
    return told[0]


@contextmanager
def held_once(held: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    """Enter a context, such as a lock, in the main process alone; the others wait for it."""
    with ExitStack() as stack:

        def enter() -> None:
            stack.enter_context(held())

        once(enter)
        yield
