"""The doubly robust DPO: either of its two sources may be wrong."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp

from causalign.errors import InputError, SettingsError
from causalign.lm.completions import tokenized
from causalign.lm.logprob import completion_logprobs
from causalign.policy import DPO, PairedDPO, Training, Weighting
from causalign.policy.paired_preference import symmetric_preference
from causalign.results import Verdict


def right(prompts, first, second):
    """The noise of an outcome has a deviation of .3, that of a difference of .42."""
    gap = np.array([a.count("yes") - b.count("yes") for a, b in zip(first, second, strict=True)])
    return 1 / (1 + np.exp(-4 * gap))


def wrong(prompts, first, second):
    return 1 - right(prompts, first, second)


def value_on(model, logs):
    """Return E[number of yes] under the policy restricted to the 64 texts: a finite sum."""
    first = logs.take(np.arange(64), "each text once")
    texts = tokenized(model.tokenizer, first.prompts, first.completions, max_length=48)
    logprob = completion_logprobs(model, texts)
    weight = np.exp(logprob - logsumexp(logprob))
    return float(weight @ np.array([text.count("yes") for text in first.completions]))


def method(writer, training, **changes):
    settings = {"model": str(writer.model_folder), "training": training, "max_new_tokens": 12}
    return PairedDPO(**settings | changes)


@pytest.mark.parametrize("model", [right, wrong])
def test_right_propensities_move_the_policy_whatever_the_model(
    writer, logs, pairs, training, tmp_path, model
):
    even = np.full(len(pairs), 2 * np.log(1 / 64))
    fit = method(writer, replace(training, steps=60)).fit(
        pairs, tmp_path / "run", preference_model=model, log_propensity=even
    )
    before = value_on(writer.language_model(), logs)
    assert value_on(fit.language_model(), logs) > before + 0.1
    found = {f.code: f.verdict for f in fit.findings}
    assert found["PO106"] is found["PO107"] is found["PO108"] is found["PO109"] is Verdict.PASS
    assert fit.numbers["sampled_pairs"] == len(pairs) == 64


def misled(pairs):
    """Propensities that are wrong where it hurts: pairs whose winner says yes count for little."""
    gap = [
        a.count("yes") > b.count("yes") for a, b in zip(pairs.chosen, pairs.rejected, strict=True)
    ]
    return np.where(gap, -2.0, -12.0)


def test_a_right_model_moves_the_policy_whatever_the_propensities(
    writer, logs, pairs, training, tmp_path
):
    before = value_on(writer.language_model(), logs)
    settings = method(writer, replace(training, steps=60), weighting=Weighting(smooth=False))
    moved = {}
    for model in (right, wrong):
        fit = settings.fit(
            pairs, tmp_path / model.__name__, preference_model=model, log_propensity=misled(pairs)
        )
        moved[model] = value_on(fit.language_model(), logs) - before
    assert moved[right] > 0.1
    assert moved[wrong] < 0  # both are wrong: nothing is left to correct the model


def test_at_the_start_the_loss_is_that_of_no_difference(writer, pairs, training, tmp_path):
    fit = method(writer, replace(training, steps=2)).fit(
        pairs, tmp_path / "run", preference_model=right, log_propensity=np.full(64, -8.0)
    )
    assert fit.curve["loss"][0].as_py() == pytest.approx(np.log(2), abs=1e-4)


def test_micro_batches_add_up(writer, pairs, training, tmp_path):
    losses = []
    for micro in (8, 2):
        short = replace(training, steps=4, micro_batch_size=micro)
        fit = method(writer, short, propensity="reference", lora=None).fit(
            pairs, tmp_path / str(micro), preference_model=right
        )
        losses.append(fit.curve["loss"].to_numpy())
        assert {f.code: f.verdict for f in fit.findings}["PO107"] is Verdict.WARN
    assert np.allclose(*losses, atol=1e-4)


def test_the_order_of_a_pair_does_not_matter():
    def lopsided(prompts, first, second):
        return np.full(len(first), 0.7)

    assert np.allclose(symmetric_preference(lopsided, None, ["a"], ["b"]), 0.5)
    said = symmetric_preference(right, None, ["yes", "no"], ["no", "yes"])
    assert said[0] == pytest.approx(1 - said[1])
    for broken in (lambda p, a, b: [1.5], lambda p, a, b: [np.nan], lambda p, a, b: [0.5, 0.5]):
        with pytest.raises(InputError, match="1 probabilities"):
            symmetric_preference(broken, None, ["a"], ["b"])


def test_what_cannot_be_is_refused(pairs, tmp_path):
    with pytest.raises(SettingsError, match="propensity='reference'"):
        PairedDPO().fit(pairs, tmp_path, preference_model=right)
    with pytest.raises(InputError, match="1 propensities for 64"):
        PairedDPO().fit(pairs, tmp_path, preference_model=right, log_propensity=[-1.0])
    for build in (
        lambda: PairedDPO(beta=0),
        lambda: PairedDPO(for_each_pair=2),
        lambda: PairedDPO(weighting=Weighting(level="length")),
    ):
        with pytest.raises(SettingsError):
            build()
    assert PairedDPO(training=Training(batch_size=9), for_each_pair=2).beta == DPO().beta
