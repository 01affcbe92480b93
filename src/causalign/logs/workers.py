"""Spread jobs over workers of Ray Data, and leave nothing of Ray behind."""

import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from causalign.errors import CausalignError, ExtraNotInstalled, SettingsError, WorkerDied

Job = TypeVar("Job")
T = TypeVar("T")
Engine = Literal["batches", "ray"]
ENGINES = ("batches", "ray")
# What limits the threads of the libraries that multiply matrices.
_THREADS = "OMP_NUM_THREADS"
# Ray itself would go on for ever.
_ATTEMPTS = 4


def require_engine(engine: str) -> None:
    """Raise `SettingsError` for an engine that there is not."""
    if engine not in ENGINES:
        raise SettingsError(f"engine must be 'batches' or 'ray'; found {engine!r}.")


def map_on_workers(
    make: Callable[[], Callable[[Job], T]], jobs: Sequence[Job], threads: int | None = None
) -> Iterator[T]:
    """Let workers of Ray do jobs; yield what each returns, in the order of the jobs.

    ``make`` is called once by each worker and returns what does a job. A job is done again where a
    worker dies, four times in all: one that always takes too much memory must end. Each worker
    computes on so many threads, by default as many as ``$OMP_NUM_THREADS`` says, or one. Where
    there are GPUs, each worker has one.

    Raises `ExtraNotInstalled` without Ray and `WorkerDied` when a job kills its workers; what a job
    raises as a `CausalignError` is raised here.
    """
    ray = _import_ray()
    if jobs:
        with _running_ray(ray):
            yield from _spread(ray, make, jobs, threads or int(os.environ.get(_THREADS, "1")))


@contextmanager
def hold_workers(engine: Engine) -> Iterator[None]:
    """Keep Ray running for the whole block, where it is the engine: to start it takes seconds.

    Parameters
    ----------
    engine : {"batches", "ray"}
    """
    if engine == "batches":
        yield
        return
    with _running_ray(_import_ray()):
        yield


def _import_ray() -> ModuleType:
    try:
        import ray
    except ImportError:
        raise ExtraNotInstalled(
            "The engine 'ray' needs ray, which is not installed: `pip install 'causalign[ray]'`; "
            "or use 'batches'."
        ) from None
    return ray


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


def _spread(
    ray: ModuleType, make: Callable[[], Callable[[Job], T]], jobs: Sequence[Job], threads: int
) -> Iterator[T]:
    machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
    cores = [int(machine.get("CPU", 0)) for machine in machines]
    # A worker that asks for more than a machine has would be waited for without end.
    own = max(1, min(threads, max(cores)))
    places = sum(count // own for count in cores)
    gpus = sum(int(machine.get("GPU", 0)) for machine in machines)
    workers = max(1, min(len(jobs), places, gpus or places))
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    # Once Ray has set up its own: errors reach the reader in our words.
    logging.getLogger("ray.data").setLevel(logging.ERROR)

    attempt = _count_attempts(ray)

    class Worker:
        def __init__(self) -> None:
            os.environ[_THREADS] = str(threads)
            self.do = make()

        def __call__(self, batch: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.object_]]:
            done, number = np.empty(1, dtype=object), int(batch["job"][0])
            try:
                _require_alive(attempt(number), jobs[number])
                done[0] = True, self.do(jobs[number])
            except CausalignError as refusal:  # its own words, not those of Ray about a task
                done[0] = False, refusal
            return {"done": done}

    # One block for each job: to cut blocks later would need processors that the workers hold.
    numbers = ray.data.from_items(
        [{"job": i} for i in range(len(jobs))], override_num_blocks=len(jobs)
    )
    done = numbers.map_batches(
        Worker,
        batch_size=1,
        num_cpus=own,
        num_gpus=1 if gpus else None,
        compute=ray.data.ActorPoolStrategy(size=workers),
    )
    for row in done.iter_rows():
        fine, result = row["done"]
        if not fine:
            raise result
        yield result


def _count_attempts(ray: ModuleType) -> Callable[[int], int]:
    """Return what counts the attempts at each job, whichever worker makes them."""

    class Attempts:
        def __init__(self) -> None:
            self.made = Counter[int]()

        def count(self, job: int) -> int:
            self.made[job] += 1
            return self.made[job]

    attempts = ray.remote(num_cpus=0)(Attempts).remote()
    return lambda job: int(ray.get(attempts.count.remote(job)))


def _require_alive(attempt: int, job: object) -> None:
    """Raise where a job killed so many workers that it will kill the next."""
    if attempt > _ATTEMPTS:
        raise WorkerDied(
            f"{_ATTEMPTS} workers died one after the other of one job, perhaps for want of memory. "
            "Give them more memory or fewer rows at a time, and run again: what is done is kept. "
            f"The job is {str(job)[:300]}"
        )
