"""The door for logs reads roles, columns, outcome models and samples; the arrays are the same."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from causalign.errors import ColumnNotFound, InputError, RoleNotDeclared, SettingsError
from causalign.evaluate import (
    METHODS,
    Clipped,
    CrossFittedOutcome,
    OffPolicyLog,
    SelfNormalised,
    TargetSamples,
    off_policy,
    off_policy_arrays,
    read_columns,
)
from causalign.logs import CrossFitted, Logs, Roles

N = 300


def columns(seed=0):
    generator = np.random.default_rng(seed)
    logged = -4 - generator.random(N)
    tuned = np.minimum(logged + 0.2 * generator.normal(size=N) - 0.02, 0)
    return {
        "text": [f"text {i % 40}" for i in range(N)],
        "prompt": [f"prompt {i % 10}" for i in range(N)],
        "y": generator.random(N),
        "logged": logged,
        "tuned": tuned,
        "user": np.arange(N) // 2,
        "a": generator.normal(size=N),
        "b": generator.normal(size=N),
    }


def logs_of(table, **roles):
    return Logs.of(pa.table(table), Roles("text", "y", cluster="user", **roles))


def same(first, second):
    assert first.method == second.method
    one, other = (values.table().to_pandas().set_index("method") for values in (first, second))
    # Codes of clusters may come in another order, so that sums are rounded differently.
    pd.testing.assert_frame_equal(one, other, rtol=1e-12)


@pytest.mark.parametrize("form", ["log-probability", "probability"])
def test_logs_give_what_arrays_give(form):
    table = columns()
    log = OffPolicyLog(table["y"], table["tuned"], table["logged"], clusters=table["user"])
    arrays = off_policy_arrays(log)
    given = table | ({"logged": np.exp(table["logged"])} if form == "probability" else {})
    values = off_policy(logs_of(given, propensity="logged"), target_logprob="tuned")
    np.testing.assert_allclose(values.headline.estimate, arrays.headline.estimate, rtol=1e-12)
    np.testing.assert_allclose(values.headline.stderr, arrays.headline.stderr, rtol=1e-12)
    by_array = off_policy(logs_of(table), target_logprob=table["tuned"], logging_logprob="logged")
    same(by_array, arrays)
    same(off_policy_arrays(read_columns(pa.table(table), outcome="y", target_logprob="tuned",
                                        logging_logprob="logged", clusters="user")),
         arrays)  # fmt: skip


def length(texts, prompts):
    return np.array([len(t) + len(p) for t, p in zip(texts, prompts, strict=True)]) / 20


def test_an_outcome_model_predicts_logged_texts_and_samples():
    table = columns()
    logs = logs_of(table, prompt="prompt", propensity="logged")
    samples = pa.table(
        {
            "text": ["a text of the target"] * N,
            "row": np.arange(N)[::-1],
            "target_logprob": table["tuned"],
            "logging_logprob": table["logged"],
        }
    )
    values = off_policy(logs, target_logprob="tuned", samples=samples, outcome_model=length)
    asked = table["prompt"][::-1]
    log = OffPolicyLog(
        table["y"],
        table["tuned"],
        table["logged"],
        predicted=length(table["text"], table["prompt"]),
        clusters=table["user"],
        samples=TargetSamples(
            length(samples["text"].to_pylist(), asked), np.arange(N)[::-1], table["tuned"],
            table["logged"],
        ),
    )  # fmt: skip
    assert values.method == "doubly-robust"
    same(values, off_policy_arrays(log))


def test_a_cross_fitted_model_never_predicts_a_row_that_it_saw():
    table = columns()
    logs = logs_of(table, propensity="logged")
    fold = np.arange(N) % 2
    models = tuple(lambda t, p, k=k: np.full(len(t), float(k)) for k in range(2))
    samples = {"text": ["x"] * 5}

    class Reward:
        def cross_fit(self, given):
            assert given is logs
            return CrossFitted(models, fold)

        def __call__(self, texts, prompts=None):
            raise AssertionError("it saw these rows")

    refit = off_policy(
        logs, target_logprob="tuned", samples=pa.table(samples), outcome_model=Reward()
    )
    whole = off_policy_arrays(
        OffPolicyLog(
            table["y"],
            table["tuned"],
            table["logged"],
            predicted=fold.astype(float),
            clusters=table["user"],
            samples=TargetSamples(predicted=np.full(5, 0.5)),
        )
    )
    same(refit, whole)


def test_features_of_both_sides_serve_kernel_and_ridge():
    table = columns()
    logs = logs_of(table, propensity="logged", features=("a", "b"))
    samples = pa.table({"a": table["b"], "b": table["a"]})
    values = off_policy(
        logs, target_logprob="tuned", samples=samples, outcome_model=CrossFittedOutcome()
    )
    vectors = np.column_stack([table["a"], table["b"]])
    log = OffPolicyLog(
        table["y"],
        table["tuned"],
        table["logged"],
        features=vectors,
        clusters=logs.clusters,
        samples=TargetSamples(features=vectors[:, ::-1]),
    )
    same(values, off_policy_arrays(CrossFittedOutcome().predict(log)))
    assert {v.method for v in values.values} == set(METHODS) - {"pilot"}
    assert values.of("direct").lower is not None


class Lengths:
    name, revision, dimension, worth_caching = "lengths", "1", 2, False

    def encode(self, texts):
        return np.array([[len(t), t.count("1")] for t in texts], dtype=np.float32)


def test_an_encoder_reads_texts_below_their_prompts():
    table = columns()
    logs = logs_of(table, prompt="prompt")
    samples = pa.table({"text": table["text"], "prompt": table["prompt"]})
    values = off_policy(logs, samples=samples, encoder=Lengths())
    vectors = Lengths().encode(logs.texts)
    log = OffPolicyLog(
        table["y"],
        features=vectors,
        clusters=table["user"],
        samples=TargetSamples(features=vectors),
    )
    same(values, off_policy_arrays(log))


def test_what_is_missing_is_said_by_its_role_or_column():
    table = columns()
    with pytest.raises(RoleNotDeclared, match="propensity"):
        off_policy(logs_of(table), target_logprob="tuned")
    with pytest.raises(ColumnNotFound, match="did you mean 'tuned'"):
        off_policy(logs_of(table), target_logprob="tuner", logging_logprob="logged")
    with pytest.raises(ColumnNotFound, match="Samples need one of the columns"):
        off_policy(logs_of(table), samples=pa.table({"text": ["a"]}))
    with pytest.raises(ColumnNotFound, match="no column 'text'"):
        off_policy(logs_of(table, prompt="prompt"), samples=pa.table({"row": [1]}),
                   outcome_model=length)  # fmt: skip
    with pytest.raises(SettingsError, match="not by both"):
        off_policy(logs_of(table), target_predicted="a", samples=TargetSamples(np.zeros(N)))
    with pytest.raises(InputError, match="Nothing can be estimated"):
        off_policy(logs_of(table))


def test_a_range_makes_the_clipped_estimator_one_of_bounds():
    logs = logs_of(columns(), propensity="logged")
    values = off_policy(logs, target_logprob="tuned", outcome_range=(0.0, 1.0))
    own = off_policy(logs, target_logprob="tuned", estimators=[Clipped(outcome_range=(0.0, 1.0))])
    assert values.of("clipped").table().equals(own.of("clipped").table())
    assert [v.method for v in values.values] == ["importance", "self-normalised", "clipped"]


def test_results_show_themselves_in_a_few_escaped_lines():
    logs = logs_of(columns(), propensity="logged")
    values = off_policy(logs, target_logprob="tuned")
    for result in (values, values.headline, values.gain()):
        assert len(repr(result).splitlines()) <= 12
        assert "<table>" in result._repr_html_()
        assert result.plot() is not None
    assert "Holds if" in values.summary()
    log = OffPolicyLog(np.arange(3.0))
    assert repr(log) == "OffPolicyLog: 3 logged texts, with outcome"
    assert SelfNormalised.name == "self-normalised"
