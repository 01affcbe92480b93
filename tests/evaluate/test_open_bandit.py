"""On Open Bandit each logging policy's value, estimated from the other's log, covers its own."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from causalign.evaluate import (
    ImportanceWeighting,
    Inference,
    OffPolicyLog,
    SelfNormalised,
    TargetSamples,
    logged_value,
)

ACTIONS = 80


def read(folder, policy):
    columns = ("item_id", "position", "propensity_score", "click")
    table = pq.read_table(folder / f"open_bandit_{policy}_all.parquet", columns=list(columns))
    return [table[name].to_numpy() for name in columns]


def uniform_from_sampling(folder):
    """Return BTS's log with the uniform policy as target: both probabilities are recorded."""
    _, _, propensity, click = read(folder, "bts")
    samples = None
    log = OffPolicyLog(
        click, np.full(len(click), -np.log(ACTIONS)), np.log(propensity), samples=samples
    )
    return log, logged_value(OffPolicyLog(read(folder, "random")[3]))


def sampling_from_uniform(folder):
    """Return the random log with BTS as target, its probabilities counted in its own log.

    BTS does not look at the user, but changes during the week. Counted is how often it chose an
    item at a position over the week; that is its average policy.
    """
    item, position, _, bts_click = read(folder, "bts")
    counts = np.zeros((4, ACTIONS))
    np.add.at(counts, (position, item), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        average = np.log(counts / counts.sum(axis=1, keepdims=True))
    logged_item, logged_position, _, click = read(folder, "random")
    samples = TargetSamples(
        target_logprob=average[position, item], logging_logprob=np.full(len(item), -np.log(ACTIONS))
    )
    log = OffPolicyLog(
        click,
        average[logged_position, logged_item],
        np.full(len(click), -np.log(ACTIONS)),
        samples=samples,
    )
    return log, logged_value(OffPolicyLog(bts_click))


@pytest.mark.parametrize("made", [uniform_from_sampling, sampling_from_uniform])
@pytest.mark.parametrize("estimator", [
    ImportanceWeighting(), SelfNormalised(), SelfNormalised(Inference(interval="bootstrap"))
])  # fmt: skip
def test_covers_what_the_policy_earned_itself(real_data, made, estimator):
    log, own = made(real_data)
    value = estimator.estimate(log)
    assert value.lower <= own.estimate <= value.upper
    apart = (value.estimate - own.estimate) / np.hypot(value.stderr, own.stderr)
    assert abs(apart) < 1.96
