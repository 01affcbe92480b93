"""A killed training goes on to the weights of one that was not killed, bit by bit."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from causalign.errors import ArtifactError
from causalign.lm import trainer
from causalign.lm.checkpoints import find_last_whole
from causalign.logs import Logs, Roles
from causalign.policy import (
    METHODS,
    SFT,
    CausalPreference,
    FreshSamples,
    Lora,
    Training,
    Weighting,
)

OURS = [name for name in METHODS if name not in ("grpo", "rloo", "ppo")]
# What any method is given of these, if it has such a setting: dropout, fresh samples and a table
# of weights, all of which must survive.
SETTINGS = {
    "lora": Lora(dropout=0.2),
    "max_new_tokens": 6,
    "objective": "doubly-robust",
    "samples": FreshSamples(
        refresh_every=5,
        max_new_tokens=6,
        evaluation_texts=0,
        samples_per_row=1,
        defensive_share=0.25,
    ),
    "kl_coef": 0.01,
    "weighting": Weighting(clip=20.0, stop_below=2.0),
}


class Reward:
    """Counts yes; prefers no text."""

    def __call__(self, completions, prompts=None):
        return np.array([float(text.count("yes")) for text in completions])

    def preference(self, first, second, prompts=None):
        return np.full(len(first), 0.4)


def build(name, folder, training):
    """Return a method by its name; ``full`` trains all weights."""
    given = SETTINGS | {"model": str(folder), "training": training}
    if name == "full":
        return SFT(model=str(folder), training=training, lora=None, temperature=1.0)
    kind = METHODS[name]
    if kind.reads == "pairs":
        given["propensity"] = "reference"
    return kind(**{f.name: given[f.name] for f in fields(kind) if f.name in given})


def run(method, out, logs, pairs):
    data = pairs if method.reads == "pairs" else logs
    return method.fit(data, out, reward=Reward() if method.needs else None)


def weights(fit):
    name = next(fit.model_folder.glob("*.safetensors"))
    return load_file(name)


def same(one, other):
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@contextmanager
def failing_at(checkpoint, error):
    """Raise an error instead of writing the last file of a checkpoint."""
    true = trainer.save_file

    def failing(state, path):
        if checkpoint in str(path):
            raise error
        return true(state, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "save_file", failing)
        yield


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("full", 9),
        ("causal-preference", 10),
        *(
            pytest.param(name, step, marks=pytest.mark.slow)
            for name, step in [("sft", 3), *((name, 9) for name in OURS)]
        ),
    ],
)
def test_a_run_that_died_ends_like_one_that_did_not(
    tiny_lm_folder, logs, pairs, training, tmp_path, killing, name, step
):
    training = replace(training, steps=12, save_every=4, learning_rate=1e-2)
    method = build(name, tiny_lm_folder, training)
    whole = run(method, tmp_path / "whole", logs, pairs)
    with killing(step):
        run(method, tmp_path / "died", logs, pairs)
    resumed = run(method, tmp_path / "died", logs, pairs)
    assert same(resumed, whole)
    same_columns = [n for n in whole.curve.column_names if n != "grad_norm"]
    assert resumed.curve.select(same_columns).equals(whole.curve.select(same_columns))
    assert not (tmp_path / "died" / "training").exists()


def test_a_checkpoint_that_is_not_whole_does_not_count(
    tiny_lm_folder, logs, pairs, training, tmp_path, killed
):
    """The process dies while it writes the checkpoint of step 8: the one of step 4 is used."""
    training = replace(training, steps=12, save_every=4)
    method = build("sft", tiny_lm_folder, training)
    whole = run(method, tmp_path / "whole", logs, pairs)
    with failing_at("checkpoint-8", killed()), pytest.raises(killed):
        run(method, tmp_path / "died", logs, pairs)
    left = {p.name for p in (tmp_path / "died" / "training").iterdir()}
    assert {"checkpoint-4", "checkpoint-8"} <= left
    assert same(run(method, tmp_path / "died", logs, pairs), whole)


def test_killed_while_an_old_checkpoint_is_deleted(
    tiny_lm_folder, logs, pairs, training, tmp_path, monkeypatch, killed
):
    """What is half deleted does not count, however young it looks, and the newest stays whole."""
    training = replace(training, steps=16, save_every=4)
    method = build("sft", tiny_lm_folder, training)
    whole = run(method, tmp_path / "whole", logs, pairs)
    true = trainer.shutil.rmtree

    def halfway(path, **how):
        if not (Path(path) / "optimizer.pt").exists():
            return true(path, **how)
        (path / "optimizer.pt").unlink()
        raise killed

    monkeypatch.setattr(trainer.shutil, "rmtree", halfway)
    with pytest.raises(killed):
        run(method, tmp_path / "died", logs, pairs)
    monkeypatch.setattr(trainer.shutil, "rmtree", true)
    folder = tmp_path / "died" / "training"
    old, newest = folder / "checkpoint-4", folder / "checkpoint-8"
    assert find_last_whole(folder) == newest
    os.utime(newest, (0, 0))
    assert old.is_dir()
    with failing_at("checkpoint-12", killed()), pytest.raises(killed):
        run(method, tmp_path / "died", logs, pairs)
    assert find_last_whole(folder) == newest
    assert same(run(method, tmp_path / "died", logs, pairs), whole)


def test_a_full_disk_says_from_where_training_goes_on(
    tiny_lm_folder, logs, pairs, training, tmp_path
):
    training = replace(training, steps=12, save_every=4)
    method = build("sft", tiny_lm_folder, training)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    refused = pytest.raises(ArtifactError, match="No space left.*from step 4")
    with failing_at("checkpoint-8", full), refused:
        run(method, tmp_path / "run", logs, pairs)
    left = {p.name for p in (tmp_path / "run" / "training").iterdir()}
    assert "checkpoint-8" not in left
    whole = run(method, tmp_path / "whole", logs, pairs)
    assert same(run(method, tmp_path / "run", logs, pairs), whole)


LIMITED = """
import resource, sys
from causalign.errors import ArtifactError
from causalign.policy import SFT, Training
from causalign import Logs, Roles
logs = Logs.read(sys.argv[1], Roles(completion="text", outcome="y"))
training = Training(steps=4, batch_size=8, max_length=48, save_every=2)
method = SFT(model=sys.argv[2], training=training)
import causalign.lm.trainer
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    method.fit(logs, sys.argv[3])
except ArtifactError as error:
    print("refused:", error)
"""


@pytest.mark.slow
def test_a_file_system_that_refuses_to_write_is_reported(tiny_lm_folder, logs, tmp_path):
    pq.write_table(logs.data, tmp_path / "logs.parquet")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path / "logs.parquet", tiny_lm_folder, tmp_path / "o"],
        capture_output=True,
        text=True,
    )
    assert "refused: The checkpoint of step 2 cannot be written" in done.stdout, done.stderr[-2000:]
    assert "from the start" in done.stdout


# What a training imports: the children of a process that has loaded it start at once.
LOADED = ["causalign.lm.trainer", "causalign.policy.causal_preference", "causalign.logs", "peft"]


def tune(table: Path, model: Path, out: Path) -> None:
    roles = Roles(completion="text", outcome="y", propensity="p", prompt="prompt")
    method = CausalPreference(
        objective="doubly-robust",
        model=str(model),
        training=Training(steps=150, batch_size=8, learning_rate=5e-3, max_length=48, save_every=2),
        samples=FreshSamples(
            refresh_every=4, max_new_tokens=6, evaluation_texts=0, samples_per_row=1
        ),
        weighting=Weighting(stop_below=2.0),
    )
    method.fit(Logs.read(table, roles), out, reward=Reward())


@pytest.mark.slow
def test_twenty_kills_at_random_moments_leave_the_weights_as_they_are(
    tiny_lm_folder, logs, tmp_path
):
    pq.write_table(logs.data, tmp_path / "logs.parquet")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)

    def start(name):
        what = (tmp_path / "logs.parquet", tiny_lm_folder, tmp_path / name)
        child = context.Process(target=tune, args=what)
        child.start()
        return child

    def finish(name):
        child = start(name)
        child.join()
        assert child.exitcode == 0

    finish("whole")
    rng = np.random.default_rng(0)
    training = tmp_path / "killed" / "training"
    for _ in range(20):
        child = start("killed")
        while not any(training.glob("checkpoint-*/whole.json")) and child.is_alive():
            time.sleep(0.05)
        seen = newest(training)
        while newest(training) == seen and child.is_alive():
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL
    finish("killed")
    one, other = (
        load_file(tmp_path / name / "model" / "adapter_model.safetensors")
        for name in ("whole", "killed")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def newest(training: Path) -> int:
    steps = [int(p.name.split("-")[1]) for p in training.glob("checkpoint-*")]
    return max(steps, default=-1)
