"""``causalign policy``: from a file to a model folder, and what it refuses."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from causalign.cli import app, main

SET = ["--set", "training.steps=3", "--set", "training.max_length=48"]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    words = ["yes", "no", "good", "bad"]
    texts = [f"{a} {b}" for a in words for b in words] * 4
    path = tmp_path_factory.mktemp("policy") / "log.parquet"
    table = pa.table(
        {
            "text": texts,
            "y": [float(text.count("yes")) + i % 3 for i, text in enumerate(texts)],
            "p": [1 / 16] * 64,
            "test": [i // 4 for i in range(64)],
        }
    )
    pq.write_table(table, path)
    return str(path)


def arguments(method, log, model, out, *more):
    named = ["--completion", "text", "--outcome", "y", "--set", f"model={model}", *SET]
    return ["policy", method, log, *named, "--out", str(out), *more]


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("sft", []),
        ("dpo", ["--group", "test"]),
        ("causal-preference", ["--propensity", "p", "--set", "samples.evaluation_texts=0"]),
    ],
)
def test_each_method_writes_a_model_with_its_section(log, tiny_lm_folder, tmp_path, method, more):
    out = tmp_path / "out"
    done = CliRunner().invoke(app, arguments(method, log, tiny_lm_folder, out, *more))
    assert done.exit_code == 0, done.output
    assert "3 steps" in done.output
    for name in ("result.json", "summary.md", "training.csv", "model/README.md"):
        assert (out / name).exists(), name
    assert (out / "model" / "adapter_model.safetensors").exists()
    assert not (tmp_path / "out.training").exists()


@pytest.fixture(scope="module")
def rewards(log, tmp_path_factory):
    """A reward of the outcome and one of pairs, by their folders."""
    made = {}
    for method in ("ridge", "pairwise"):
        out = tmp_path_factory.mktemp("rewards") / method
        named = ["--completion", "text", "--outcome", "y", "--group", "test", "--out", str(out)]
        encoder = ["--encoder", "hashing", "--method", method]
        done = CliRunner().invoke(app, ["reward", "fit", log, *named, *encoder])
        assert done.exit_code == 0, done.output
        made[method] = str(out / "model")
    return made


WRITING = ["--set", "max_new_tokens=4", "--set", "training.batch_size=4"]


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("ppo", ["--set", "rollout_size=4", "--set", "evaluation_texts=4"]),
        ("grpo", ["--set", "num_generations=2", "--set", "evaluation_texts=4"]),
        ("rloo", ["--set", "num_generations=2", "--set", "evaluation_texts=4"]),
    ],
)
def test_a_reward_model_tunes_a_policy(log, rewards, tiny_lm_folder, tmp_path, method, more):
    out = tmp_path / "out"
    said = ["policy", method, log, "--prompt", "text", "--reward-model", rewards["ridge"]]
    model = ["--set", f"model={tiny_lm_folder}", "--out", str(out)]
    done = CliRunner().invoke(app, [*said, *model, *SET, *WRITING, *more])
    assert done.exit_code == 0, done.output
    assert (out / "model" / "adapter_model.safetensors").exists()
    assert "reward went from" in " ".join(done.output.split())


def test_pairs_of_a_log_and_a_preference_model(log, rewards, tiny_lm_folder, tmp_path, capsys):
    more = ["--group", "test", "--propensity", "p", *WRITING, "--reward-model"]
    said = arguments("paired-dpo", log, tiny_lm_folder, tmp_path / "out", *more)
    done = CliRunner().invoke(app, [*said, rewards["pairwise"]])
    assert done.exit_code == 0, done.output
    with pytest.raises(SystemExit):
        main(
            [*arguments("paired-dpo", log, tiny_lm_folder, tmp_path / "b", *more), rewards["ridge"]]
        )
    assert "no log-odds of winning" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("method", "more", "said"),
    [
        ("sftt", [], "did you mean 'sft'"),
        ("sft", ["--set", "stepz=3"], "Unknown setting"),
        ("sft", ["--set", "training.batch_size=0"], "batch_size"),
        ("causal-preference", [], "propensity"),
        ("causal-preference", ["--propensity", "test"], "is 0 in row 0"),
        ("causal-preference", ["--set", "objective=doubly-robust"], "--reward-model"),
        ("dpo", [], "group"),
        ("ppo", ["--prompt", "text"], "--reward-model"),
        ("grpo", ["--set", "num_generations=3"], "multiple"),
        ("paired-dpo", ["--group", "test"], "--reward-model"),
    ],
)
def test_bad_input_is_one_line_without_a_traceback(
    log, tiny_lm_folder, tmp_path, capsys, method, more, said
):
    import re

    with pytest.raises(SystemExit) as stopped:
        main(arguments(method, log, tiny_lm_folder, tmp_path / "out", *more))
    assert stopped.value.code == 2
    shown = capsys.readouterr().err
    assert re.search(said, shown), shown
    assert "Traceback" not in shown
    assert not (tmp_path / "out").exists()


def test_a_prompt_column_that_is_not_there_is_answered_with_the_nearest(
    log, rewards, tmp_path, capsys
):
    named = ["--prompt", "texts", "--reward-model", rewards["ridge"], "--out", str(tmp_path / "o")]
    with pytest.raises(SystemExit) as stopped:
        main(["policy", "ppo", log, *named])
    assert stopped.value.code == 2
    assert "did you mean 'text'" in " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="module")
def guarded(log, tmp_path_factory):
    """The log with a guardrail, and a reward that knows it."""
    place = tmp_path_factory.mktemp("guarded")
    table = pq.read_table(log)
    left = [float(text.count("bad")) + i % 2 for i, text in enumerate(table["text"].to_pylist())]
    pq.write_table(table.append_column("left", pa.array(left)), place / "log.parquet")
    named = ["--completion", "text", "--outcome", "y", "--guardrail", "left"]
    fit = ["reward", "fit", str(place / "log.parquet"), *named, "--encoder", "hashing"]
    done = CliRunner().invoke(app, [*fit, "--out", str(place / "reward")])
    assert done.exit_code == 0, done.output
    return str(place / "log.parquet"), str(place / "reward" / "model")


@pytest.mark.parametrize("from_reward", [True, False])
def test_a_price_turns_who_wins(guarded, log, tiny_lm_folder, tmp_path, from_reward):
    path, model = guarded
    out = tmp_path / "out"
    # The log without the column is enough where the reward knows what texts cost.
    source = ["--reward-model", model] if from_reward else ["--group", "test"]
    asked = arguments("dpo", log if from_reward else path, tiny_lm_folder, out, *source)
    done = CliRunner().invoke(app, [*asked, "--price", "left=9"])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("price", "said"),
    [
        ("left", "write GUARDRAIL=PRICE"),
        ("left=much", "write GUARDRAIL=PRICE"),
        ("lift=1", "There is no guardrail 'lift'; did you mean 'left'?"),
    ],
)
def test_a_price_that_cannot_be_read_is_refused(
    guarded, log, tiny_lm_folder, tmp_path, capsys, price, said
):
    more = ["--reward-model", guarded[1], "--price", price]
    with pytest.raises(SystemExit) as stopped:
        main(arguments("dpo", log, tiny_lm_folder, tmp_path / "out", *more))
    assert stopped.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
