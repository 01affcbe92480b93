"""Members of a stack: the same as alone, the same as a plain loop, each with its own best epoch."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from causalign.reward import (  # noqa: E402
    METHODS,
    Examples,
    Member,
    Multihead,
    NetworkTraining,
    Perceptron,
    fit_together,
)
from causalign.reward.networks.ensemble import RewardNetwork  # noqa: E402
from causalign.reward.networks.layers import draw_weights  # noqa: E402
from causalign.reward.networks.stack import _Order  # noqa: E402

# Products of a stack and of one member are summed in another order; 1e-4 of the spread of rewards
# is some thousand roundings of float32.
TOLERANCE = 1e-4

TEXTS, PAIRS, DIMENSION = 300, 400, 12
QUICK = NetworkTraining(learning_rate=1e-3, epochs=4, batch_size=32, device="cpu")


@pytest.fixture(scope="module")
def pairs():
    random = np.random.default_rng(0)
    X = random.normal(size=(TEXTS, DIMENSION)) * random.uniform(0.1, 3, DIMENSION) + 1
    first, second = random.integers(0, TEXTS, (2, PAIRS))
    second = np.where(second == first, (first + 1) % TEXTS, second)
    objectives = random.choice(["clear", "kind", "short"], PAIRS)
    gap = (X[first] - X[second]) @ random.normal(size=DIMENSION)
    return Examples.of_pairs(
        X,
        first,
        second,
        labels=(random.random(PAIRS) < 1 / (1 + np.exp(-gap))).astype(float),
        objectives=objectives,
        weights=random.uniform(0.5, 2, PAIRS),
        confounders=random.normal(size=(PAIRS, 2, 1)) + X[:, :1][np.stack([first, second], 1)],
    )


NETWORKS = {name: cls for name, cls in METHODS.items() if issubclass(cls, RewardNetwork)}
VARYING = (0.0, 1.0, 2.5)


def rewards(fit, X):
    head = fit.head
    if hasattr(head, "of"):
        return np.concatenate([head.of(name)(X) for name in head.heads])
    return head(X)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_member_is_the_same_alone(name, pairs):
    """Three seeds, settings and training sets of three sizes, so that members leave the stack."""
    random = np.random.default_rng(1)
    cls = NETWORKS[name]
    members = [
        Member(
            cls(
                "bradley-terry",
                width=16,
                training=QUICK,
                seed=seed,
                **dict.fromkeys(cls.varying, v),
            ),
            pairs,
            random.permutation(300)[:size],
            np.arange(320, 400),
        )
        for seed, (v, size) in enumerate(zip(VARYING, (150, 290, 64), strict=True))
    ]
    together = fit_together(members)
    for member, fit in zip(members, together, strict=True):
        alone = fit_together([member])[0]
        expected = rewards(alone, pairs.features)
        assert rewards(fit, pairs.features) == pytest.approx(
            expected, abs=TOLERANCE * expected.std()
        )
        assert fit.numbers["best_epoch"] == alone.numbers["best_epoch"]
        assert fit.epochs.num_rows == QUICK.epochs
    spread = np.std([rewards(fit, pairs.features) for fit in together], axis=0)
    assert spread.mean() > 100 * TOLERANCE, "the members differ, so equality says something"


def test_a_member_is_what_a_plain_loop_gives(pairs):
    """The same start and order of rows in torch's own modules and optimiser."""
    network = Perceptron("bradley-terry", width=16, training=QUICK, seed=5)
    rows, validation = np.arange(300), np.arange(320, 400)
    fit = fit_together([Member(network, pairs, rows, validation)])[0]
    drawn = draw_weights(network.layers(pairs), [5])
    X = (pairs.features - pairs.features.mean(0)) / pairs.features.std(0)
    X, sides = torch.tensor(X), torch.tensor(pairs.sides)
    label, weight = (torch.tensor(v).float() for v in (pairs.target, pairs.weight))
    linear = [torch.nn.Linear(DIMENSION, 16), torch.nn.Linear(16, 16), torch.nn.Linear(16, 1)]
    for i, layer in enumerate(linear):
        layer.weight.data = drawn[f"layer{i}.weight"][0].T.clone()
        layer.bias.data = drawn[f"layer{i}.bias"][0, 0].clone()
    gelu = torch.nn.GELU()
    net = torch.nn.Sequential(linear[0], gelu, linear[1], gelu, linear[2])
    adam, order = torch.optim.Adam(net.parameters(), lr=1e-3), _Order(rows, 32, 5)
    kept, best = {}, -1
    for _ in range(QUICK.epochs):
        while True:
            batch, real = order.deal()
            batch = torch.tensor(batch[real])
            gap = (net(X[sides[batch, 0]]) - net(X[sides[batch, 1]]))[:, 0]
            each = torch.nn.functional.binary_cross_entropy_with_logits(
                gap, label[batch], reduction="none"
            )
            adam.zero_grad()
            ((weight[batch] * each).sum() / weight[batch].sum()).backward()
            adam.step()
            if order.at_epoch_end:
                break
        with torch.no_grad():
            gap = (net(X[sides[validation, 0]]) - net(X[sides[validation, 1]]))[:, 0]
            right = ((gap > 0).float() == label[validation]).float()
            accuracy = (weight[validation] * right).sum() / weight[validation].sum()
        if accuracy > best:
            best, kept = accuracy, {n: w.clone() for n, w in net.state_dict().items()}
    net.load_state_dict(kept)
    with torch.no_grad():
        expected = net(X)[:, 0].double().numpy()
    assert fit.head(pairs.features) == pytest.approx(expected, abs=TOLERANCE * expected.std())
    assert fit.numbers["validation"] == pytest.approx(float(best), abs=1e-6)


def test_each_member_stops_by_its_own_patience(pairs):
    """Pure noise does not get better for long; what can be learned does."""
    noise = np.random.default_rng(3).random(TEXTS) > 0.5
    clear = pairs.features @ np.ones(DIMENSION) > 12
    how = NetworkTraining(learning_rate=3e-3, epochs=40, patience=2, batch_size=32, device="cpu")
    network = Perceptron("logistic", width=16, training=how)
    lengths = [
        fit_together([Member(network, Examples.of_outcomes(pairs.features, y))])[0]
        for y in (noise.astype(float), clear.astype(float))
    ]
    for fit in lengths:
        ran, best = fit.epochs.num_rows, fit.numbers["best_epoch"]
        assert ran == min(best + 2, 40)
        judged = fit.epochs["validation"].to_numpy()
        assert judged.argmax() + 1 == best
    assert lengths[0].epochs.num_rows < lengths[1].epochs.num_rows


def test_without_validation_the_last_epoch_is_kept(pairs):
    how = NetworkTraining(epochs=2, validation_share=0.0, device="cpu")
    fit = Perceptron("bradley-terry", width=8, training=how).fit_examples(pairs)
    assert fit.numbers["validation"] is None
    assert fit.epochs["kept"].to_pylist() == [False, True]
    assert "no validation rows" in fit.summary()


def test_half_precision_changes_rewards_little(pairs):
    full, half = (
        Multihead(
            width=32, training=NetworkTraining(1e-3, epochs=3, precision=precision, device="cpu")
        ).fit_examples(
            pairs,
            validation_rows=[],
            rows=np.arange(PAIRS),
        )
        for precision in ("float32", "bfloat16")
    )
    a, b = (rewards(fit, pairs.features) for fit in (full, half))
    assert np.corrcoef(a, b)[0, 1] > 0.99
    assert not np.array_equal(a, b)


def test_rows_of_a_group_are_not_parted_by_validation(pairs):
    """A copy of every text in the other half would otherwise give the label away."""
    groups = np.arange(PAIRS) // 4
    examples = Examples.of_outcomes(
        pairs.features[np.arange(PAIRS) % TEXTS], pairs.target, groups=groups
    )
    fit = Perceptron(
        "logistic", width=8, training=NetworkTraining(epochs=1, device="cpu")
    ).fit_examples(examples)
    assert fit.numbers["rows"] + fit.numbers["validation_rows"] == PAIRS
    assert fit.numbers["validation_rows"] % 4 == 0
