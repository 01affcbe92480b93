"""Networks on data whose truth is known: they find it, and the naive one is misled."""

import numpy as np
import pytest

pytest.importorskip("torch")

from causalign.reward import (
    Adversarial,
    BaseObjective,
    ClassHead,
    ConfounderInLayer,
    ConfounderInText,
    Examples,
    Multihead,
    NetworkHead,
    NetworkTraining,
    Perceptron,
)
from causalign.reward.heads import gelu
from causalign.reward.saved_model import build_head

ROWS, DIMENSION, SMALL = 1200, 16, 32
HOW = NetworkTraining(learning_rate=2e-3, epochs=12, batch_size=64, device="cpu")

LONG = NetworkTraining(learning_rate=2e-3, epochs=60, batch_size=64, device="cpu")


def correlation(a, b):
    return float(np.corrcoef(a, b)[0, 1])


def test_perceptron_finds_a_curve_that_no_line_can(entangled):
    X = entangled[0]
    curve = np.abs(X[:, 1] - 2)
    fit = Perceptron(width=SMALL, training=HOW).fit_examples(Examples.of_outcomes(X, 7 + 3 * curve))
    unseen = np.random.default_rng(1).normal(size=(500, DIMENSION)) * 0.5 + 2
    truth = np.abs(unseen[:, 1] - 2)
    assert correlation(fit.head(unseen), truth) > 0.85
    assert fit.head(unseen).mean() == pytest.approx((7 + 3 * truth).mean(), abs=0.3)
    assert fit.units == "units of the outcome"
    assert abs(correlation(unseen[:, 1], truth)) < 0.2, "a line would not do"


def test_confounder_in_layer_adjusts_and_the_plain_network_does_not(entangled):
    """Where the confounder says more than the text does of it: else see the page's warning."""
    X, _, truth, _ = entangled
    confounder = (X[:, 0] - 2) + np.random.default_rng(6).normal(size=ROWS)
    outcome = 50 + 10 * (truth + 2 * confounder)
    naive = Perceptron(width=SMALL, training=HOW).fit_examples(Examples.of_outcomes(X, outcome))
    examples = Examples.of_outcomes(X, outcome, confounders=confounder)
    adjusted = ConfounderInLayer(width=SMALL, training=LONG).fit_examples(examples)
    assert correlation(naive.head(X), truth) < 0.5
    assert correlation(adjusted.head(X), truth) > 0.8


@pytest.fixture(scope="module")
def judged():
    """Two objectives want opposite things of feature 1; feature 0 shows the type of prompt."""
    random = np.random.default_rng(2)
    objective = random.integers(0, 2, ROWS)
    X = random.normal(size=(2, ROWS, DIMENSION))
    X[:, :, 0] += 2 * (2 * objective - 1)
    gap = (2 * objective - 1) * (X[0] - X[1])[:, 1] * 2 + (X[0] - X[1])[:, 2]
    label = (random.random(ROWS) < 1 / (1 + np.exp(-2 * gap))).astype(float)
    names = np.where(objective == 1, "bold", "plain")
    pairs = np.arange(ROWS)
    return Examples.of_pairs(
        X.reshape(2 * ROWS, DIMENSION), pairs, pairs + ROWS, labels=label, objectives=names
    )


@pytest.mark.parametrize("network", [BaseObjective, Multihead, Adversarial])
def test_objectives_get_their_own_rewards(network, judged):
    fit = network(width=SMALL, training=HOW).fit_examples(judged)
    X = np.random.default_rng(4).normal(size=(400, DIMENSION))
    bold, plain = fit.head(X, "bold"), fit.head(X, "plain")
    clear = 0.3 if network is BaseObjective else 0.5
    assert correlation(bold, X[:, 1]) > clear
    assert correlation(plain, X[:, 1]) < -clear
    assert min(correlation(bold, X[:, 2]), correlation(plain, X[:, 2])) > 0.2
    mixed = fit.head(X, ["bold"] * 200 + ["plain"] * 200)
    assert np.array_equal(mixed, np.concatenate([bold[:200], plain[200:]]))


def test_the_adversary_hides_the_type_of_prompt(judged):
    """Feature 0 shows the type and is worth nothing: adversarial networks read it less."""
    how = NetworkTraining(2e-3, epochs=30, batch_size=64, validation_share=0.0, device="cpu")
    reads = []
    for strength in (0.0, 3.0):
        first = (
            Adversarial(strength=strength, width=SMALL, training=how)
            .fit_examples(judged)
            .head.of("bold")
            .weights[0]
        )
        reads.append(np.linalg.norm(first[0]) / np.linalg.norm(first[1]))
    assert reads[1] < 0.8 * reads[0]


def test_continuous_confounders_need_no_objectives(entangled):
    X, confounder, truth, outcome = entangled
    examples = Examples.of_outcomes(X, outcome, confounders=confounder)
    fit = Multihead("squared-error", width=SMALL, training=HOW).fit_examples(examples)
    assert correlation(fit.head(X, "all"), truth) > 0.6
    assert list(fit.head.heads) == ["all"]


@pytest.mark.parametrize("loss", ["ordinal", "multi-class"])
def test_levels_come_back_as_probabilities_and_expected_values(loss, entangled):
    X = entangled[0]
    random = np.random.default_rng(5)
    cuts = np.array([-0.5, 0.0, 0.8])
    latent = 2 * (X[:, 1] - 2)
    above = latent[:, None] + random.logistic(size=(ROWS, 1)) > cuts
    level = np.array([1, 2, 3, 5])[above.sum(axis=1)]
    fit = Perceptron(loss, width=SMALL, training=HOW).fit_examples(Examples.of_outcomes(X, level))
    assert isinstance(fit.head, ClassHead)
    probabilities = fit.head.probabilities(X)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(ROWS))
    assert (probabilities >= 0).all()
    assert probabilities.mean(axis=0) == pytest.approx(
        [np.mean(level == v) for v in (1, 2, 3, 5)], abs=0.05
    )
    assert fit.head(X) == pytest.approx(probabilities @ [1, 2, 3, 5])
    assert correlation(fit.head(X), X[:, 1]) > 0.85


def test_gelu_and_the_network_are_torchs(entangled):
    import torch

    x = np.linspace(-9, 9, 101)
    expected = torch.nn.functional.gelu(torch.tensor(x)).numpy()
    assert gelu(x) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("loss", ["squared-error", "ordinal", "multi-class"])
def test_a_head_is_made_again_from_its_parts(loss, entangled):
    X = entangled[0][:100]
    examples = Examples.of_outcomes(X, np.arange(100) % 4)
    head = (
        Perceptron(loss, width=8, training=NetworkTraining(epochs=1, device="cpu"))
        .fit_examples(examples)
        .head
    )
    again = build_head(head.kind, head.settings, head.tensors())
    assert np.array_equal(again(X), head(X))
    assert again.dimension == DIMENSION


def test_confounders_are_written_in_front_and_made_equal():
    way = ConfounderInText(("price", "week"), digits=1)
    assert way.write(["Buy now."], [[4.5, 2]]) == ["price: 4.5. week: 2.0. Buy now."]
    neutral = ConfounderInText(("price",)).neutral(["a", "b"], [1.0, 2.0])
    assert neutral == ["price: 1.50. a", "price: 1.50. b"]


def test_a_fit_tells_its_epochs_and_findings(judged):
    fit = Perceptron("bradley-terry", width=8, training=HOW).fit_examples(judged)
    assert fit.table().column_names == ["epoch", "training_loss", "validation", "kept"]
    assert fit.table()["training_loss"][-1].as_py() < fit.table()["training_loss"][0].as_py()
    assert {finding.code for finding in fit.findings} == {"RM104", "RM106"}
    assert fit.section().numbers["rows"] == 0.8 * ROWS
    assert "accuracy" in fit.answer()
    assert isinstance(fit.head, NetworkHead)
