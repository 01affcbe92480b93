"""Value and full parameter gradient of every objective equal finite sums over 64 sentences."""

import numpy as np
import pytest
import torch

from causalign.lm.completions import Completions
from causalign.lm.layout import lay_out
from causalign.lm.logprob import sequence_logprobs
from causalign.policy import (
    DirectPreference,
    OutcomeValue,
    PairedPreference,
    Supervised,
)

TOLERANCE = 1e-6


def equal(language, loss, value):
    """Compare minus the loss with the exact value, and their gradients."""
    assert abs(-loss.item() - value.item()) < TOLERANCE
    ours, exact = language.gradient(-loss), language.gradient(value)
    assert ours.abs().max() > 1e-3
    assert torch.allclose(ours, exact, atol=TOLERANCE, rtol=0)


def logged_rows(language, **more):
    """The log in expectation: every sentence, counted as often as P_R writes it."""
    return {
        "share": language.logged.exp(),
        "outcome": language.outcome,
        "proposal_logprob": language.logged,
        "length": language.batch["length"],
    } | more


def sampled_rows(language, model, proposal):
    return {"share": proposal.exp(), "outcome": model, "proposal_logprob": proposal}


def stacked(language, *parts):
    logprob = torch.cat([language.logprob() for _ in parts])
    names = ("share", "outcome", "proposal_logprob")
    return logprob, {name: torch.cat([part[name] for part in parts]) for name in names}


def wrong(tensor, seed=11):
    noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(seed)).double()
    return tensor + noise


def test_the_policy_is_a_distribution_over_the_sentences(language):
    assert torch.allclose(language.logprob().exp().sum(), torch.ones(()).double())
    assert torch.allclose(language.reference.exp().sum(), torch.ones(()).double())


def test_importance_weighting(language):
    loss, metrics = OutcomeValue()(language.logprob(), logged_rows(language))
    equal(language, loss, language.value())
    assert abs(metrics["value"] - language.value().item()) < TOLERANCE


def test_importance_weighting_with_a_baseline(language):
    rows = logged_rows(language, baseline=torch.full((64,), 0.8).double())
    equal(language, OutcomeValue()(language.logprob(), rows)[0], language.value())


def test_self_normalised_weights(language):
    """Every sentence logged once; P_R known up to a constant only."""
    log_weight = language.logprob().detach() - language.logged
    normaliser = torch.logsumexp(log_weight, 0) - torch.tensor(64.0).log()
    logprob = language.logprob()
    weight = (logprob - language.logged).softmax(0)
    exact = (weight * language.outcome).sum()
    rows = logged_rows(
        language,
        share=torch.full((64,), 1 / 64).double(),
        baseline=exact.detach().expand(64),
        log_normaliser=normaliser.expand(64),
    )
    equal(language, OutcomeValue()(language.logprob(), rows)[0], exact)
    shifted = rows | {
        "proposal_logprob": language.logged + 5.0,
        "log_normaliser": rows["log_normaliser"] - 5.0,
    }
    weight = (language.logprob() - language.logged).softmax(0)
    exact = (weight * language.outcome).sum()
    equal(language, OutcomeValue()(language.logprob(), shifted)[0], exact)


def test_outcome_model_only(language):
    """Texts come from the reference, the outcome from the model."""
    rows = sampled_rows(language, language.outcome, language.reference)
    equal(language, OutcomeValue()(language.logprob(), rows)[0], language.value())


def test_penalty_for_leaving_the_reference(language):
    rows = logged_rows(language, kl=torch.full((64,), 0.3).double())
    rows["reference_logprob"] = language.reference
    loss, _ = OutcomeValue()(language.logprob(), rows)
    logprob = language.logprob()
    divergence = (logprob.exp() * (logprob - language.reference)).sum()
    equal(language, loss, language.value() - 0.3 * divergence)


def test_length_normalised_weights(language):
    """The mean ratio of a token: another objective, whose gradient is exact as well."""
    third = torch.full((64,), 1 / 3).double()
    loss, _ = OutcomeValue()(language.logprob(), logged_rows(language, exponent=third))
    weight = ((language.logprob() - language.logged) / 3).exp()
    equal(language, loss, (language.logged.exp() * weight * language.outcome).sum())


def test_clipping_keeps_the_score_function(language):
    loss, metrics = OutcomeValue(clip=1.0)(language.logprob(), logged_rows(language))
    logprob = language.logprob()
    weight = (logprob.detach() - language.logged).exp().clamp(max=1.0)
    share = language.logged.exp() * weight * language.outcome
    assert abs(-loss.item() - share.sum().item()) < TOLERANCE
    surrogate = (share * logprob).sum()
    assert torch.allclose(language.gradient(-loss), language.gradient(surrogate), atol=TOLERANCE)
    assert 0 < metrics["clipped_share"] < 1


@pytest.mark.parametrize(
    ("model_is_right", "propensity_is_right", "unbiased"),
    [(True, True, True), (True, False, True), (False, True, True), (False, False, False)],
)
def test_doubly_robust_needs_one_of_two(language, model_is_right, propensity_is_right, unbiased):
    """The log is drawn from P_R; the weights use what the user believes P_R to be."""
    model = language.outcome if model_is_right else wrong(language.outcome)
    believed = language.logged if propensity_is_right else wrong(language.logged).log_softmax(0)
    logged = {
        "share": language.logged.exp(),
        "outcome": language.outcome - model,
        "proposal_logprob": believed,
    }
    sampled = sampled_rows(language, model, language.reference)
    logprob, rows = stacked(language, logged, sampled)
    loss, _ = OutcomeValue()(logprob, rows)
    if unbiased:
        equal(language, loss, language.value())
    else:
        assert abs(-loss.item() - language.value().item()) > 0.1
        ours, exact = language.gradient(-loss), language.gradient(language.value())
        assert (ours - exact).abs().max() > 0.1


@pytest.mark.parametrize("wanted", ["weighted", "model"])
def test_either_part_alone_is_biased_where_doubly_robust_is_not(language, wanted):
    if wanted == "weighted":
        rows = logged_rows(language, proposal_logprob=wrong(language.logged).log_softmax(0))
    else:
        rows = sampled_rows(language, wrong(language.outcome), language.reference)
    loss, _ = OutcomeValue()(language.logprob(), rows)
    assert abs(-loss.item() - language.value().item()) > 0.1


def test_supervised(language):
    share = language.logged.exp()
    weight = share * torch.exp(language.outcome)
    weight = weight / weight.mean()
    rows = {"weight": weight, "length": language.batch["length"]}
    loss, _ = Supervised()(language.logprob(), rows)
    exact = (weight / 64 * language.logprob()).sum() / 3
    equal(language, loss, exact)


# Pairs: all 64 * 64 of them, one row for each.


@pytest.fixture
def pairs(language):
    rows, columns = torch.cartesian_prod(torch.arange(64), torch.arange(64)).T
    both = torch.stack([rows, columns], dim=1)  # (4096, 2)
    preference = torch.sigmoid(language.outcome[rows] - language.outcome[columns])

    def logprob():
        return language.logprob()[both.ravel()]  # alternating texts

    columns_of = {"reference_logprob": language.reference[both.ravel()]}
    logged = language.logged[both].sum(1)
    target = language.reference[both].sum(1)
    return logprob, columns_of, preference, logged, target


def bernoulli_risk(logit, preference):
    return -(
        preference * torch.nn.functional.logsigmoid(logit)
        + (1 - preference) * torch.nn.functional.logsigmoid(-logit)
    )


def test_direct_preference(language, pairs):
    """In expectation over pairs and labels, each pair stands there twice: as won and as lost."""
    logprob, columns, preference, logged, _ = pairs
    share = logged.exp()
    flipped = logprob().reshape(-1, 2).flip(1).ravel()
    reference = columns["reference_logprob"]
    rows = {
        "reference_logprob": torch.cat([reference, reference.reshape(-1, 2).flip(1).ravel()]),
        "weight": 2 * 4096 * torch.cat([share * preference, share * (1 - preference)]),
        "margin": torch.zeros(2 * 4096),
    }
    loss, _ = DirectPreference(beta=0.5)(torch.cat([logprob(), flipped]), rows)
    logit = 0.5 * (logprob() - reference).reshape(-1, 2) @ torch.tensor([1.0, -1.0]).double()
    equal(language, loss, -(share * bernoulli_risk(logit, preference)).sum())


@pytest.mark.parametrize(
    ("model_is_right", "propensity_is_right", "unbiased"),
    [(True, True, True), (True, False, True), (False, True, True), (False, False, False)],
)
def test_paired_preference_needs_one_of_two(
    language, pairs, model_is_right, propensity_is_right, unbiased
):
    logprob, columns, preference, logged, target = pairs
    model = preference if model_is_right else torch.sigmoid(wrong(preference.logit()))
    believed = logged
    if not propensity_is_right:
        text = wrong(language.logged).log_softmax(0)
        believed = (text[:, None] + text[None, :]).ravel()
    zeros, ones = torch.zeros(4096).double(), torch.ones(4096).double()
    rows = {
        "reference_logprob": columns["reference_logprob"].repeat(2),
        "share": torch.cat([logged.exp(), target.exp()]),
        "weight": torch.cat([(target - believed).exp(), ones]),
        "label": torch.cat([preference, zeros]),
        "preference": torch.cat([model, model]),
        "sampled": torch.cat([zeros, ones]),
    }
    both = logprob()
    loss, _ = PairedPreference(beta=0.5)(torch.cat([both, both]), rows)
    ratio = (logprob() - columns["reference_logprob"]).reshape(-1, 2)
    exact = -(target.exp() * bernoulli_risk(0.5 * (ratio[:, 0] - ratio[:, 1]), preference)).sum()
    if unbiased:
        equal(language, loss, exact)
    else:
        assert abs(loss.item() + exact.item()) > 0.01
        assert (language.gradient(-loss) - language.gradient(exact)).abs().max() > 0.01


def test_prompts_shared_by_a_pair_leave_the_gradient_exact(language):
    """Both sentences behind one copy of a long prompt, against one row for each."""
    prompt = (0, 1, 2, 3, 1)
    pair = Completions((prompt, prompt), ((1, 2), (3, 0)), np.zeros(2, dtype=bool))
    rows = {"reference_logprob": torch.zeros(2), "weight": torch.ones(1), "margin": torch.ones(1)}
    losses = []
    for share in (True, False):
        batch = lay_out(pair, share_prompts=share)
        assert ("segment" in batch) == share
        logprob = sequence_logprobs(language.policy, batch)
        losses.append(DirectPreference(beta=0.5, margin_scale=0.2)(logprob, rows)[0])
    gradients = [language.gradient(loss) for loss in losses]
    assert torch.allclose(losses[0], losses[1], atol=1e-10)
    assert torch.allclose(*gradients, atol=1e-10)
