"""Small logs whose outcome is known: how often a text says yes."""

import numpy as np
import pyarrow as pa
import pytest

from causalign.logs import Logs
from causalign.pairs import Pairs
from causalign.policy import SFT, Training
from causalign.roles import Roles

WORDS = ["yes", "no", "good", "bad"]


@pytest.fixture(scope="session")
def logs() -> Logs:
    """64 texts of three words out of four, each three times, drawn evenly; Y = yeses + noise."""
    rng = np.random.default_rng(0)
    texts = [" ".join((a, b, c)) for a in WORDS for b in WORDS for c in WORDS] * 3
    outcome = [text.count("yes") + rng.normal(scale=0.3) for text in texts]
    table = pa.table(
        {
            "text": texts,
            "y": outcome,
            "p": [1 / 64] * len(texts),
            "prompt": ["Say three words: "] * len(texts),
        }
    )
    return Logs.of(table, Roles(completion="text", outcome="y", propensity="p", prompt="prompt"))


@pytest.fixture(scope="session")
def pairs(logs) -> Pairs:
    rng = np.random.default_rng(1)
    rows = rng.permutation(len(logs))[:128].reshape(-1, 2)
    y = logs.outcome
    rows = np.where((y[rows[:, 0]] >= y[rows[:, 1]])[:, None], rows, rows[:, ::-1])
    texts, prompts = logs.completions, logs.prompts
    return Pairs(
        chosen=[texts[i] for i in rows[:, 0]],
        rejected=[texts[i] for i in rows[:, 1]],
        margin=y[rows[:, 0]] - y[rows[:, 1]],
        weight=np.ones(len(rows)),
        group=np.arange(len(rows)),
        prompt=[prompts[i] for i in rows[:, 0]],
        rows=rows,
    )


@pytest.fixture(scope="session")
def writer(tiny_lm_folder, logs, tmp_path_factory):
    """A model that has learned to write like the log, all 64 texts evenly."""
    method = SFT(
        model=str(tiny_lm_folder),
        lora=None,
        training=Training(steps=120, batch_size=32, learning_rate=1e-2, max_length=48),
    )
    return method.fit(logs, tmp_path_factory.mktemp("writer") / "run")


@pytest.fixture
def training() -> Training:
    return Training(steps=24, batch_size=8, learning_rate=2e-2, max_length=48, save_every=6)


def yeses(prompts, completions):
    return np.array([float(text.count("yes")) for text in completions])
