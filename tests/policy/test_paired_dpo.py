"""The doubly robust DPO: either of its two sources may be wrong."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from causalign.errors import InputError, RoleNotDeclared, SettingsError
from causalign.logs import Logs
from causalign.policy import DPO, PairedDPO, Training, Weighting
from causalign.policy.paired_dpo import symmetric_preference
from causalign.results import Verdict


class Model:
    """A preference model that is right, or says the opposite."""

    def __init__(self, sign=1):
        self.sign = sign

    def preference(self, first, second, prompts=None):
        """The noise of an outcome has a deviation of .3, that of a difference of .42."""
        sides = zip(first, second, strict=True)
        gap = np.array([a.count("yes") - b.count("yes") for a, b in sides])
        return 1 / (1 + np.exp(-4 * self.sign * gap))


class Constant:
    """A preference model that says the same of all pairs, in either order."""

    def __init__(self, *values):
        self.values = values

    def preference(self, first, second, prompts=None):
        return list(self.values)


right, wrong = Model(), Model(-1)


def method(writer, training, **changes):
    settings = {"model": str(writer.model_folder), "training": training, "max_new_tokens": 12}
    return PairedDPO(**settings | changes)


@pytest.mark.parametrize("model", [right, wrong])
def test_right_propensities_move_the_policy_whatever_the_model(
    writer, logs, pairs, training, tmp_path, value_on, model
):
    even = np.full(len(pairs), 2 * np.log(1 / 64))
    fit = method(writer, replace(training, steps=60)).fit(
        pairs, tmp_path / "run", reward=model, log_propensity=even
    )
    before = value_on(writer.language_model(), logs)
    assert value_on(fit.language_model(), logs) > before + 0.1
    found = {f.code: f.verdict for f in fit.findings}
    assert found["PO107"] is found["PO108"] is found["PO109"] is Verdict.PASS
    mean = next(f for f in fit.findings if f.code == "EV203").numbers["mean"]
    assert 0.5 < mean < 2  # that of the writer is about one
    assert fit.numbers["sampled_pairs"] == len(pairs) == 64


def misled(pairs):
    """Propensities that are wrong where it hurts: pairs whose winner says yes count for little."""
    gap = [
        a.count("yes") > b.count("yes") for a, b in zip(pairs.chosen, pairs.rejected, strict=True)
    ]
    return np.where(gap, -2.0, -12.0)


def test_a_right_model_moves_the_policy_whatever_the_propensities(
    writer, logs, pairs, training, tmp_path, value_on
):
    before = value_on(writer.language_model(), logs)
    settings = method(writer, replace(training, steps=60), weighting=Weighting(smooth=False))
    moved = {}
    for model in (right, wrong):
        fit = settings.fit(
            pairs, tmp_path / str(model.sign), reward=model, log_propensity=misled(pairs)
        )
        moved[model] = value_on(fit.language_model(), logs) - before
    assert moved[right] > 0.1
    assert moved[wrong] < 0  # both are wrong: nothing is left to correct the model


def test_at_the_start_the_loss_is_that_of_no_difference(writer, pairs, training, tmp_path):
    fit = method(writer, replace(training, steps=2)).fit(
        pairs, tmp_path / "run", reward=right, log_propensity=np.full(64, -8.0)
    )
    assert fit.curve["loss"][0].as_py() == pytest.approx(np.log(2), abs=1e-4)


def test_micro_batches_add_up(writer, pairs, training, tmp_path):
    losses = []
    for micro in (8, 2):
        short = replace(training, steps=4, micro_batch_size=micro)
        fit = method(writer, short, propensity="reference", lora=None).fit(
            pairs, tmp_path / str(micro), reward=right
        )
        losses.append(fit.curve["loss"].to_numpy())
        assert {f.code: f.verdict for f in fit.findings}["PO107"] is Verdict.WARN
    assert np.allclose(*losses, atol=1e-4)


def test_the_order_of_a_pair_does_not_matter():
    assert np.allclose(symmetric_preference(Constant(0.7), ["a"], ["b"], None), 0.5)
    p = symmetric_preference(right, ["yes", "no"], ["no", "yes"], None)
    assert p[0] == pytest.approx(1 - p[1])
    for broken in (Constant(1.5), Constant(np.nan), Constant(0.5, 0.5)):
        with pytest.raises(InputError, match="1 probabilities"):
            symmetric_preference(broken, ["a"], ["b"], None)


def test_pairs_of_logs_were_logged_with_both_propensities(logs, tmp_path):
    """Groups of four rows; a row is as likely as its column says, a pair as both of its rows."""
    table = logs.data.append_column("test", pa.array(np.arange(len(logs)) // 4))
    grouped = Logs.of(table, replace(logs.roles, group="test"))
    pairs, proposal = PairedDPO()._read(grouped, None)
    assert np.allclose(proposal, 2 * np.log(1 / 64))
    assert len(pairs) == len(grouped.pairs()) == len(proposal)
    assert PairedDPO(propensity="reference")._read(grouped, None)[1] is None
    bare = Logs.of(table, replace(grouped.roles, propensity=None))
    with pytest.raises(RoleNotDeclared, match="propensity"):
        PairedDPO().fit(bare, tmp_path, reward=right)
    with pytest.raises(RoleNotDeclared, match="group"):
        PairedDPO().check(logs)
    with pytest.raises(SettingsError, match="preference model"):
        PairedDPO().fit(grouped, tmp_path, reward=len)


def test_what_cannot_be_is_refused(pairs, tmp_path):
    with pytest.raises(SettingsError, match="propensity='reference'"):
        PairedDPO().fit(pairs, tmp_path, reward=right)
    with pytest.raises(InputError, match="1 propensities for 64"):
        PairedDPO().fit(pairs, tmp_path, reward=right, log_propensity=[-1.0])
    for build in (
        lambda: PairedDPO(beta=0),
        lambda: PairedDPO(samples_per_pair=2),
        lambda: PairedDPO(weighting=Weighting(level="length")),
    ):
        with pytest.raises(SettingsError):
            build()
    assert PairedDPO(training=Training(batch_size=9), samples_per_pair=2).beta == DPO().beta
