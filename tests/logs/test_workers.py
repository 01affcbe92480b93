"""Workers of Ray: one that dies is replaced; a job that kills all of them ends with its name."""

import os
import signal
import time
from importlib.util import find_spec

import pytest

from causalign.errors import InputError, SettingsError, WorkerDied
from causalign.logs.workers import map_on_workers, require_engine

WITH_RAY = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")


def test_an_engine_that_there_is_not_is_named():
    with pytest.raises(SettingsError, match="spark"):
        require_engine("spark")


def test_no_jobs_start_no_workers():
    assert list(map_on_workers(lambda: None, [])) == []


@pytest.mark.slow
@WITH_RAY
def test_what_a_worker_that_died_had_to_do_is_done_once_more(tmp_path):
    def make():
        def do(job):
            mark = tmp_path / str(job)
            died_before = mark.exists()
            mark.touch()
            if job == 2 and not died_before:
                os.kill(os.getpid(), signal.SIGKILL)
            return 10 * job

        return do

    assert list(map_on_workers(make, range(5))) == [0, 10, 20, 30, 40]


@pytest.mark.slow
@WITH_RAY
def test_a_job_that_kills_every_worker_does_not_go_on_for_ever():
    def make():
        def do(job):
            if job == "part 1":
                os.kill(os.getpid(), signal.SIGKILL)
            return job

        return do

    with pytest.raises(
        WorkerDied, match=r"4 workers died.*what is done is kept.*The job is part 1"
    ):
        list(map_on_workers(make, ["part 0", "part 1"]))


@pytest.mark.slow
@WITH_RAY
def test_a_refusal_comes_in_its_own_words():
    def make():
        def do(job):
            raise InputError(f"Part {job} is damaged.")

        return do

    with pytest.raises(InputError, match=r"^Part 7 is damaged\.$"):
        list(map_on_workers(make, [7]))


@pytest.mark.slow
@WITH_RAY
def test_each_worker_has_a_gpu_of_its_own_where_there_are_some():
    import ray

    def make():
        def do(job):
            time.sleep(0.5)  # so that no worker does all jobs
            return job, os.environ["CUDA_VISIBLE_DEVICES"]

        return do

    # What Ray believes is enough to see who gets which.
    ray.init(num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
    try:
        done = list(map_on_workers(make, range(6)))
    finally:
        ray.shutdown()
    assert [job for job, _ in done] == list(range(6))
    assert {gpu for _, gpu in done} == {"0", "1"}


@pytest.mark.slow
@WITH_RAY
def test_more_threads_than_a_machine_has_are_not_waited_for():
    threads = 2 * (os.cpu_count() or 1)
    assert list(map_on_workers(lambda: lambda job: 10 * job, range(3), threads)) == [0, 10, 20]
