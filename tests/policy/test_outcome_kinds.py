"""Outcomes that happen or not, and outcomes in classes, tune a policy as numbers do."""

import numpy as np
import pytest

from causalign.errors import InputError
from causalign.lm import load_encoder
from causalign.logs import Logs
from causalign.policy import CausalPreference, FreshSamples, Training
from causalign.reward import (
    Examples,
    LinearHead,
    NetworkTraining,
    Perceptron,
    RewardModel,
)

# What is paid for no, one, two and three yeses.
PAID = {"logistic": [0.0, 1.0, 1.0, 1.0], "multi-class": [0.0, 0.0, 2.0, 5.0]}


def outcome_model(loss, texts, outcome):
    """Fit a head of its own kind to the outcomes, on counts of words."""
    encoder = load_encoder("hashing")
    X = encoder.encode(texts)
    training = NetworkTraining(learning_rate=0.02, epochs=60)
    network = Perceptron(loss=loss, depth=2, width=16, training=training)
    fit = network.fit_examples(Examples.of_outcomes(X, outcome))
    return RewardModel("hashing", fit.head, units=fit.units, encoder=encoder)


@pytest.mark.parametrize("loss", PAID)
def test_a_policy_is_tuned_on_it(loss, writer, logs, tmp_path):
    texts = logs.completions
    outcome = np.array([PAID[loss][text.count("yes")] for text in texts])
    table = logs.data.set_column(logs.data.column_names.index("y"), "y", [outcome])
    model = outcome_model(loss, texts, outcome)
    predicted = model.expected_outcome(texts)
    assert predicted.min() >= 0
    assert predicted.max() <= max(PAID[loss])
    assert np.corrcoef(predicted, outcome)[0, 1] > 0.9
    method = CausalPreference(
        objective="doubly-robust",
        model=str(writer.model_folder),
        training=Training(steps=16, batch_size=8, learning_rate=1e-2, max_length=48, save_every=8),
        samples=FreshSamples(refresh_every=4, max_new_tokens=12, evaluation_texts=0),
    )
    fit = method.fit(Logs.of(table, logs.roles), tmp_path / "run", reward=model.expected_outcome)
    gained = fit.numbers["validation_value_after"] - fit.numbers["validation_value_before"]
    assert gained > 0.05


def test_comparisons_predict_no_outcome():
    model = RewardModel("hashing", LinearHead(np.ones(2048), 0.0), units="log-odds")
    with pytest.raises(InputError, match="predicts no outcome"):
        model.expected_outcome(["yes"])
