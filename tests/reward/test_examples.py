"""Bad input to networks: an error that says what was found and what to do, or a finding."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign.errors import InputError, SettingsError
from causalign.logs.pairs import Pairs
from causalign.results import Verdict
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

X = np.random.default_rng(0).normal(size=(40, 3))
FIRST, SECOND = np.arange(20), np.arange(20, 40)
NAMES = np.array(["a", "b"] * 10)
ONCE = NetworkTraining(epochs=1, device="cpu")


def pairs(**given):
    return Examples.of_pairs(X, FIRST, SECOND, **given)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Examples.of_pairs(X, [], []), "There are no first sides"),
        (lambda: Examples.of_pairs(X, FIRST, SECOND + 1), "Every side of a pair needs a text"),
        (lambda: Examples.of_pairs(X, FIRST, FIRST), "No pair has two different sides"),
        (lambda: Examples.of_pairs(X, FIRST, SECOND.astype(float)), "whole positions"),
        (lambda: pairs(labels=np.full(20, 2.0)), "probabilities in"),
        (lambda: pairs(weights=-np.ones(20)), "Weights must not be negative"),
        (lambda: pairs(weights=np.zeros(20)), "not all zero"),
        (lambda: pairs(weights=np.ones(19)), r"weights must have shape \(20,\)"),
        (lambda: pairs(weights=[np.nan] * 20), "not finite"),
        (lambda: pairs(margins=np.ones((20, 1))), "margins must have shape"),
        (lambda: pairs(objectives=NAMES[:3]), "objectives must have shape"),
        (lambda: pairs(groups=np.arange(3)), "groups must have shape"),
        (lambda: pairs(confounders=np.ones(19)), "Confounders must be finite"),
        (lambda: Examples.of_outcomes(X[:0], []), "neither zero"),
        (lambda: Examples.of_outcomes(np.where(X > 2, np.nan, X), np.ones(40)), "not finite"),
        (lambda: Examples.of_outcomes(X, np.ones(39)), "outcome must have shape"),
        (lambda: NetworkHead((X[:, :2],), (np.zeros(3),)), "follow each other"),
        (lambda: ClassHead(NetworkHead((X[:3],), (np.zeros(3),)), np.arange(2.0)), "do not fit"),
        (lambda: ConfounderInText(("price",)).write(["a"], [np.inf]), "finite confounders"),
    ],
)
def test_examples_say_what_is_wrong(make, says):
    with pytest.raises(InputError, match=says):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: NetworkTraining(learning_rate=0),
        lambda: NetworkTraining(epochs=0),
        lambda: NetworkTraining(batch_size=1.5),
        lambda: NetworkTraining(patience=0),
        lambda: NetworkTraining(validation_share=1.0),
        lambda: NetworkTraining(precision="float16"),
        lambda: Perceptron(depth=1),
        lambda: Adversarial(strength=-1),
        lambda: ConfounderInText(digits=-1),
    ],
)
def test_settings_out_of_range(make):
    with pytest.raises(SettingsError):
        make()


def outcomes(y, **given):
    return Examples.of_outcomes(X, y, **given)


LEVELS = np.arange(40) % 4


@pytest.mark.parametrize(
    ("network", "examples", "says"),
    [
        (Multihead(), pairs(), "tell objectives apart"),
        (BaseObjective(), pairs(objectives=["a"] * 20), "have 'a'"),
        (ConfounderInLayer("bradley-terry"), pairs(), "no confounders"),
        (Perceptron(), pairs(), r"does not fit pairs; use Examples.of_outcomes"),
        (Perceptron("bradley-terry"), outcomes(LEVELS), "use Examples.of_pairs"),
        (Perceptron("logistic"), outcomes(LEVELS), "needs outcomes in"),
        (Perceptron("logistic"), outcomes(np.ones(40)), "nothing to learn"),
        (Perceptron("ordinal"), outcomes(np.ones(40)), "nothing to learn"),
    ],
)
def test_networks_refuse_examples_that_they_cannot_learn_from(network, examples, says):
    pytest.importorskip("torch")
    with pytest.raises(InputError, match=says):
        network.fit_examples(examples)


@pytest.mark.parametrize("side", ["chosen", "rejected"])
@pytest.mark.parametrize("empty", ["", "  ", None])
def test_a_pair_with_an_empty_side_is_refused(tmp_path, side, empty):
    columns = {"chosen": ["a", "b"], "rejected": ["c", "d"]} | {side: ["e", empty]}
    pq.write_table(pa.table(columns), tmp_path / "pairs.parquet")
    with pytest.raises(InputError, match=f"{side!r} holds no text in row 1"):
        Pairs.read(tmp_path / "pairs.parquet")


def test_too_many_classes_are_a_quantity():
    pytest.importorskip("torch")
    many = Examples.of_outcomes(np.arange(300.0).reshape(150, 2), np.arange(150))
    with pytest.raises(InputError, match="Use 'squared-error'"):
        Perceptron("multi-class", training=ONCE).fit_examples(many)


@pytest.mark.parametrize(
    ("rows", "validation_rows", "says"),
    [
        ([0, 1, 2], [2, 3], "in training and in validation"),
        ([], [0, 1], "No rows are left to train on"),
        ([0, 41], None, "outside the 40 examples"),
        ([0.5], None, "whole positions"),
        ([0, 1, 2, 4, 5, 6], [3, 7], "has the class 3"),
    ],
)
def test_rows_that_do_not_fit(rows, validation_rows, says):
    pytest.importorskip("torch")
    with pytest.raises(InputError, match=says):
        Perceptron("ordinal", width=4, training=ONCE).fit_examples(
            outcomes(LEVELS), rows=rows, validation_rows=validation_rows
        )


def test_an_objective_without_training_rows():
    pytest.importorskip("torch")
    with pytest.raises(InputError, match="No training row has the objective 'b'"):
        Multihead(width=4, training=ONCE).fit_examples(
            pairs(objectives=NAMES),
            rows=np.arange(0, 20, 2),
            validation_rows=[1, 3],
        )


def test_an_objective_that_was_never_fitted():
    pytest.importorskip("torch")
    fit = Multihead(width=4, training=ONCE).fit_examples(pairs(objectives=NAMES))
    with pytest.raises(InputError, match="No reward was fitted for the objective 'c'"):
        fit.head.of("c")
    with pytest.raises(InputError, match="Use the encoder it was fitted with"):
        fit.head.of("a")(X[:, :2])


def test_one_kind_of_label_under_an_objective_is_a_finding():
    pytest.importorskip("torch")
    names = np.array(["a", "b"] * 20)
    y = np.where(names == "a", 1.0, np.arange(40) // 2 % 2)
    fit = Multihead("logistic", width=4, training=ONCE).fit_examples(outcomes(y, objectives=names))
    found = {finding.code: finding for finding in fit.findings}["RM105"]
    assert found.verdict is Verdict.WARN
    assert "'a'" in found.explanation
    mixed = outcomes(np.arange(40) // 2 % 2, objectives=names)
    fit = Multihead("logistic", width=4, training=ONCE).fit_examples(mixed)
    assert {f.code: f.verdict for f in fit.findings}["RM105"] is Verdict.PASS


def test_identical_sides_are_counted_and_have_no_weight():
    pytest.importorskip("torch")
    second = SECOND.copy()
    second[:3] = FIRST[:3]
    examples = Examples.of_pairs(X, FIRST, second)
    assert examples.identical == 3
    assert (examples.weight[:3] == 0).all()
    fit = Perceptron("bradley-terry", width=4, training=ONCE).fit_examples(examples)
    found = {finding.code: finding for finding in fit.findings}["RM104"]
    assert found.verdict is Verdict.WARN
    assert found.numbers["dropped"] == 3


def test_training_that_diverges_says_so():
    pytest.importorskip("torch")
    with pytest.raises(SettingsError, match="smaller learning rate"):
        Perceptron(
            width=4, training=NetworkTraining(learning_rate=1e30, epochs=5, device="cpu")
        ).fit_examples(outcomes(LEVELS))
