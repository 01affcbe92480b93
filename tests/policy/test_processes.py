"""Two processes learn what one learns: losses, metrics and weights are those of the whole batch."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from causalign.errors import SettingsError
from causalign.lm import trainer
from causalign.lm.language_model import load_language_model
from causalign.policy import METHODS, PPO, CausalPreference, PolicyFit, Training

SCRIPT = Path(__file__).with_name("several.py")
CONFIGS = Path(__file__).parents[2] / "docs" / "how-to" / "accelerate"
# Those of TRL run as TRL runs them; causal preference by two of its objectives.
ALONE = {"grpo", "rloo", "causal-preference"}
OURS = [*(name for name in METHODS if name not in ALONE), "full", "weighted", "doubly-robust"]
# In float32 a mean of two halves rounds differently; Adam makes of a gradient that is nothing but
# rounding a step as long as any other, here of 0.01.
TOLERANCE, OF_WEIGHTS = 5e-6, 2e-4
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ACCELERATE = ["-m", "accelerate.commands.launch", "--main_process_port=0"]


def command(log, model, out, names, launcher=()):
    return [sys.executable, *launcher, SCRIPT, log, model, out, ",".join(names)]


def run(*arguments, **more):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command(*arguments, **more), env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def weighted_log(logs, tmp_path_factory) -> Path:
    """Write the log with weights of its rows, so that parts of a batch weigh differently."""
    path = tmp_path_factory.mktemp("log") / "logs.parquet"
    weight = np.random.default_rng(3).exponential(size=len(logs))
    pq.write_table(logs.data.append_column("w", pa.array(weight)), path)
    return path


@pytest.fixture(scope="module")
def by_one_and_by_two(weighted_log, tiny_lm_folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    run(weighted_log, tiny_lm_folder, out / "one", OURS)
    run(weighted_log, tiny_lm_folder, out / "two", OURS, launcher=TORCHRUN)
    return out


def weights(folder):
    return load_file(next((folder / "model").glob("*.safetensors")))


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
def test_two_processes_learn_what_one_learns(by_one_and_by_two, name):
    one, two = (PolicyFit.load(by_one_and_by_two / count / name) for count in ("one", "two"))
    assert one.curve.column_names == two.curve.column_names
    assert one.curve.num_rows == two.curve.num_rows == 6
    for column in set(one.curve.column_names) - {"grad_norm"}:
        first, second = one.curve[column].to_numpy(), two.curve[column].to_numpy()
        assert np.allclose(first, second, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True), column
    assert np.ptp(one.curve["loss"].to_numpy()) > 1e-3
    before, after = (weights(fit.folder) for fit in (one, two))
    assert max(np.abs(before[key] - after[key]).max() for key in before) < OF_WEIGHTS
    assert one.numbers == pytest.approx(two.numbers, rel=1e-5, abs=1e-5, nan_ok=True)
    assert [f.code for f in one.findings] == [f.code for f in two.findings]


@pytest.mark.slow
def test_a_killed_run_of_two_processes_goes_on(weighted_log, tiny_lm_folder, tmp_path):
    run(weighted_log, tiny_lm_folder, tmp_path / "whole", ["doubly-robust"], launcher=TORCHRUN)
    told = (weighted_log, tiny_lm_folder, tmp_path / "killed", ["doubly-robust"])
    training = tmp_path / "killed" / "doubly-robust" / "training"
    child = subprocess.Popen(
        command(*told, launcher=TORCHRUN),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    while not (training / "checkpoint-2" / "whole.json").exists() and child.poll() is None:
        time.sleep(0.01)
    for process in children(child.pid):
        os.kill(process, signal.SIGKILL)
    child.wait()
    assert training.exists()  # it was not finished
    run(*told, launcher=TORCHRUN)
    first, second = (weights(tmp_path / name / "doubly-robust") for name in ("whole", "killed"))
    assert all(np.array_equal(first[key], second[key]) for key in first)


def children(launcher: int) -> list[int]:
    """Return the launcher and the processes that it started."""
    found = [launcher]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, parent = stat.parent.name, stat.read_text().rsplit(")", 1)[1].split()[1]
        except OSError:
            continue  # it has ended meanwhile
        if int(parent) == launcher:
            found.append(int(number))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("config", ["two-cpus.yaml"])
def test_accelerate_starts_two_processes(by_one_and_by_two, weighted_log, tiny_lm_folder, config):
    launcher = [*ACCELERATE, f"--config_file={CONFIGS / config}"]
    out = by_one_and_by_two / "accelerate"
    run(weighted_log, tiny_lm_folder, out, ["sft"], launcher=launcher)
    first, second = (weights(by_one_and_by_two / n / "sft") for n in ("two", "accelerate"))
    assert all(np.array_equal(first[key], second[key]) for key in first)


@pytest.mark.slow
def test_grpo_runs_in_two_processes(weighted_log, tiny_lm_folder, tmp_path):
    pytest.importorskip("trl")
    run(weighted_log, tiny_lm_folder, tmp_path, ["grpo"], launcher=TORCHRUN)
    assert PolicyFit.load(tmp_path / "grpo").curve.num_rows == 6


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_reads_the_configurations_of_the_docs(config):
    from accelerate.commands.config.config_args import load_config_from_file

    read = load_config_from_file(str(config))
    assert read.num_processes == 2
    expected = {"fsdp": "FSDP", "deepspeed": "DEEPSPEED"}
    wanted = next((kind for name, kind in expected.items() if name in config.stem), "MULTI_GPU")
    assert read.distributed_type == wanted


@pytest.mark.parametrize(
    "told",
    [
        {"ACCELERATE_USE_FSDP": "true"},
        {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"},
    ],
)
def test_methods_that_write_refuse_a_model_in_pieces(
    tiny_lm_folder, logs, tmp_path, monkeypatch, told
):
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    for method in (
        CausalPreference(model=str(tiny_lm_folder), propensity="column"),
        PPO(model=str(tiny_lm_folder)),
    ):
        reward = {"reward": len} if isinstance(method, PPO) else {}
        with pytest.raises(SettingsError, match="second stage of ZeRO"):
            method.fit(["Hi"] if reward else logs, tmp_path / method.name, **reward)


@pytest.mark.parametrize(
    ("processes", "micro", "told"), [("3", None, "3 shares"), ("2", 3, "parts of 3")]
)
def test_a_batch_that_cannot_be_shared_evenly_is_refused(
    tiny_lm_folder, tmp_path, monkeypatch, processes, micro, told
):
    monkeypatch.setenv("WORLD_SIZE", processes)
    training = Training(batch_size=8, micro_batch_size=micro)
    model = load_language_model(tiny_lm_folder)
    with pytest.raises(SettingsError, match=told):
        trainer.training_arguments(model, training, 1, tmp_path)
