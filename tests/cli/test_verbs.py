"""Each verb does its job from files to files, and says so."""

import json

import pyarrow.parquet as pq
import pytest

import causalign as ca
from causalign.cli import main, make_command

pytest.importorskip("torch")


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    return stopped.value.code, capsys.readouterr()


@pytest.fixture
def data(tmp_path, capsys):
    made = call(capsys, "simulate", "newsletter", "--out", tmp_path / "data", "--set", "rows=400",
                "--set", "pairs=80")  # fmt: skip
    assert made[0] == 0
    assert "400 rows and 80 pairs" in made[1].out
    return tmp_path / "data"


def test_audit_deconfound_reward_evaluate(data, tiny_encoder_folder, tmp_path, capsys):
    shared = ["--completion", "mail", "--encoder", tiny_encoder_folder]
    logs = [data / "logs.parquet", *shared, "--outcome", "minutes_read", "--confounder", "weekday"]
    code, said = call(capsys, "audit", *logs, "--out", tmp_path / "audit")
    assert code == 0
    assert "weekday" in said.out
    assert json.loads((tmp_path / "audit" / "result.json").read_text())["stage"] == "audit"

    code, said = call(capsys, "deconfound", *logs, "--out", tmp_path / "adjusted")
    assert code == 0
    adjusted = tmp_path / "adjusted" / "logs.parquet"
    name = pq.read_table(adjusted).column_names[-1]

    for outcome in ("minutes_read", name):
        place = tmp_path / outcome
        code, said = call(
            capsys, "reward", "fit", adjusted, *shared, "--outcome", outcome, "--out", place
        )
        assert code == 0, said
    models = [tmp_path / n / "model" for n in ("minutes_read", name)]
    code, said = call(capsys, "evaluate", "pairs", data / "experiment.parquet", *models)
    pairs = ca.Pairs.read(data / "experiment.parquet")
    rewards = {str(m): ca.reward.RewardModel.load(m) for m in models}
    gain = ca.evaluate.choose_between(rewards, pairs).gain_of(str(models[0])).estimate
    assert "earned by choosing between two texts" in said.out
    assert ca.results.write_number(gain) in said.out
    assert code == 0
    assert "ranks the 80 pairs best" in said.out


def test_reward_from_pairs_within_groups(data, tiny_encoder_folder, tmp_path, capsys):
    arguments = ["reward", "fit", data / "logs.parquet", "--completion", "mail", "--outcome",
                 "minutes_read", "--group", "weekday", "--method", "pairwise", "--encoder",
                 tiny_encoder_folder, "--out", tmp_path / "r"]  # fmt: skip
    code, said = call(capsys, *arguments)
    assert code == 0, said.err
    assert (tmp_path / "r" / "model" / "reward_model.json").exists()


def test_nothing_of_the_user_is_overwritten(data, tiny_encoder_folder, tmp_path, capsys):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years of work")
    logs = [data / "logs.parquet", "--completion", "mail", "--outcome", "minutes_read",
            "--encoder", tiny_encoder_folder, "--out", precious]  # fmt: skip
    code, said = call(capsys, "reward", "fit", *logs)
    assert code == 2
    assert "holds other files" in said.err
    assert (precious / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("verb", sorted(make_command().commands))
def test_help_has_an_example(verb, capsys):
    code, said = call(capsys, verb, "--help")
    assert code == 0
    assert f"causalign {verb}" in " ".join(said.out.split())


def test_doctor_says_what_is_there(capsys):
    code, said = call(capsys, "doctor")
    assert "DR102" in said.out
    assert code in (0, 1)


def test_the_version_is_that_of_the_package(capsys):
    code, said = call(capsys, "--version")
    assert (code, said.out.strip()) == (0, f"causalign {ca.__version__}")
