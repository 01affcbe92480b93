"""Small logs whose outcome is known: how often a text says yes; and ways to stop a training."""

from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import logsumexp

from causalign.lm import trainer
from causalign.lm.completions import tokenize
from causalign.lm.logprob import completion_logprobs
from causalign.logs import Logs, Pairs, Roles
from causalign.policy import SFT, Training

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


def _count_yes(completions, prompts=None):
    return np.array([float(text.count("yes")) for text in completions])


@pytest.fixture(scope="session")
def yeses():
    """The true mean outcome of texts."""
    return _count_yes


@pytest.fixture(scope="session")
def score():
    """Log-probabilities ``(n,)`` of the texts of some logs under a model."""

    def scored(model, logs):
        texts = tokenize(model.tokenizer, logs.prompts, logs.completions, max_length=48)
        return completion_logprobs(model, texts)

    return scored


@pytest.fixture(scope="session")
def value_on(score):
    """E[number of yes] under a policy restricted to the 64 texts: a finite sum."""

    def value(model, logs):
        first = logs.take(np.arange(64), "each text once")
        logprob = score(model, first)
        weight = np.exp(logprob - logsumexp(logprob))
        return float(weight @ _count_yes(first.completions))

    return value


class Killed(BaseException):
    """Stand for a signal: nothing catches it on the way."""


@pytest.fixture(scope="session")
def killed():
    """What a test raises to stop a training as a signal would."""
    return Killed


@pytest.fixture
def killing(monkeypatch):
    """Kill the training that runs in the block at a step."""

    @contextmanager
    def at(step):
        true = trainer.ObjectiveTrainer.training_step

        def dying(self, *arguments, **more):
            if self.state.global_step == step:
                raise Killed
            return true(self, *arguments, **more)

        with monkeypatch.context() as patch:
            patch.setattr(trainer.ObjectiveTrainer, "training_step", dying)
            with pytest.raises(Killed):
                yield

    return at
