"""The spread of the doubly robust estimate against the number and the freshness of its samples."""

import numpy as np
import pytest
import torch

from causalign.policy import OutcomeValue

N = 500


@pytest.fixture
def setting(language):
    """A policy some way from the one it started as, a rough model, outcomes with noise."""
    generator = torch.Generator().manual_seed(5)
    reference = language.reference
    step = 0.6 * torch.randn(64, generator=generator).double()
    policy = (reference + step).log_softmax(0)
    logged = torch.full((64,), -np.log(64)).double()
    model = language.outcome + 0.3 * torch.randn(64, generator=generator).double()
    return policy, reference, logged, language.outcome, model


def spread(policy, logged, outcome, parts, noise=0.5):
    """Return the exact standard deviation of a sum of independent means.

    Each part is (probabilities it is drawn from, log-proposal, outcome, number, noise)."""
    total = 0.0
    for drawn, proposal, y, number, sigma in parts:
        weight = (policy - proposal).exp()
        mean = (drawn * weight * y).sum()
        second = (drawn * weight**2 * (y**2 + sigma**2)).sum()
        total += float(second - mean**2) / number
    return np.sqrt(total)


def designs(setting):
    policy, reference, logged, outcome, model = setting
    residual = (logged.exp(), logged, outcome - model, N, 0.5)
    sampled = lambda q, m: (q.exp(), q, model, m, 0.0)  # noqa: E731
    return {
        "weighted": [(logged.exp(), logged, outcome, N, 0.5)],
        "stale": [residual, sampled(reference, N)],
        "fresh": [residual, sampled(policy, N)],
        "many": [residual, sampled(policy, 10 * N)],
    }


def test_fresh_samples_and_many_of_them_buy_the_precision(setting):
    policy, _, logged, outcome, _ = setting
    found = {k: spread(policy, logged, outcome, v) for k, v in designs(setting).items()}
    assert found["many"] < 0.9 * found["fresh"] < found["stale"]
    assert found["fresh"] < found["weighted"]


@pytest.mark.parametrize("name", ["weighted", "stale", "fresh", "many"])
def test_the_objective_has_that_spread_and_the_true_mean(setting, name):
    policy, _, logged, outcome, _ = setting
    parts = designs(setting)[name]
    rng = np.random.default_rng(0)
    repeats = 400
    estimates = []
    for _ in range(repeats):
        rows: dict[str, list] = {"share": [], "outcome": [], "proposal_logprob": [], "log": []}
        for drawn, proposal, y, number, sigma in parts:
            pick = rng.choice(64, number, p=(drawn / drawn.sum()).numpy())
            rows["share"].append(torch.full((number,), 1 / number).double())
            rows["outcome"].append(y[pick] + sigma * torch.from_numpy(rng.normal(size=number)))
            rows["proposal_logprob"].append(proposal[pick])
            rows["log"].append(policy[pick])
        columns = {key: torch.cat(value) for key, value in rows.items()}
        estimates.append(-OutcomeValue()(columns.pop("log"), columns)[0].item())
    exact = spread(policy, logged, outcome, parts)
    truth = float((policy.exp() * outcome).sum())
    assert abs(np.mean(estimates) - truth) < 4 * exact / np.sqrt(repeats)
    assert abs(np.std(estimates) / exact - 1) < 0.15
