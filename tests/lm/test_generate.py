"""What is written depends on seed, prompts and batch size: not on who writes, nor on what else."""

from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest

from causalign.lm.generate import sample, sample_on
from causalign.lm.language_model import load_language_model

HOW = {"max_new_tokens": 8, "batch_size": 4}


@pytest.fixture
def load(tiny_lm_folder):
    return partial(load_language_model, tiny_lm_folder, device="cpu")


def test_a_batch_does_not_depend_on_those_before_it(load):
    texts = sample_on("batches", load, ["Good day: "] * 10, seed=3, **HOW).texts
    other = sample_on("batches", load, ["What? "] * 4 + ["Good day: "] * 6, seed=3, **HOW).texts
    assert len(texts) == len(set(texts)) == 10  # batches draw apart from one another
    assert texts[4:] == other[4:]
    assert sample_on("batches", load, ["Good day: "] * 10, seed=4, **HOW).texts != texts
    model, first = load(), int(np.random.default_rng([3, 0]).integers(2**63))
    assert sample(model, ["Good day: "] * 4, seed=first, **HOW).texts == texts[:4]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
def test_workers_of_ray_write_the_same_texts(load, tmp_path):
    def load_and_tell():
        (tmp_path / f"{len(list(tmp_path.iterdir()))}-{id(load)}").touch()
        return load()

    prompts = ["Write " + "a mail " * (number % 5) for number in range(22)]
    alone = sample_on("batches", load, prompts, seed=3, **HOW)
    spread = sample_on("ray", load_and_tell, prompts, seed=3, **HOW)
    assert spread.texts == alone.texts
    assert spread.completions.completions == alone.completions.completions
    assert np.array_equal(spread.logprob, alone.logprob)
    assert 1 <= len(list(tmp_path.iterdir())) <= 2  # of six batches: once by each worker
