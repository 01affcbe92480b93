"""Spread numbered jobs over actors of Ray Data, and leave nothing of Ray behind."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from causalign.errors import ExtraNotInstalled


def spread_over_actors(scorer: type, parts: int, threads: int) -> Iterator[int]:
    """Let actors do the jobs ``0 ... parts - 1``; yield what each says of its ``rows``.

    ``scorer`` is called with ``{"part": (1,) array}`` and returns ``{"rows": (1,) array}``; each
    actor computes on so many threads. Raises ``ExtraNotInstalled`` without Ray.
    """
    try:
        import ray
    except ImportError:
        raise ExtraNotInstalled(
            "The engine 'ray' needs ray, which is not installed: `pip install 'causalign[ray]'`; "
            "or use 'batches'."
        ) from None
    if parts:
        with _running_ray(ray):
            yield from _spread(ray, parts, scorer, threads)


@contextmanager
def _running_ray(ray: ModuleType) -> Iterator[None]:
    """Start Ray unless it runs; end what was started, however the block ends."""
    if ray.is_initialized():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray takes the signal for itself
    try:
        yield
    finally:
        ray.shutdown()


def _spread(ray: ModuleType, parts: int, scorer: type, threads: int) -> Iterator[int]:
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    available = int(ray.cluster_resources().get("CPU", 1))
    workers = max(1, min(parts, available // threads))
    ray.data.DataContext.get_current().enable_progress_bars = False
    # One block for each part: to cut blocks later would need processors that the actors hold.
    jobs = ray.data.from_items([{"part": i} for i in range(parts)], override_num_blocks=parts)
    scored = jobs.map_batches(
        scorer, batch_size=1, num_cpus=threads, compute=ray.data.ActorPoolStrategy(size=workers)
    )
    for row in scored.iter_rows():
        yield int(row["rows"])
